"""Read what an image file says before it is decoded: its kind, its canvas, where it ends.

How the directories of a TIFF are read is in `tiff`, and the headers of JPEG 2000, AVIF and HEIC in
`jpeg2000` and `heif`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from halftone.imaging.formats import heif, jpeg2000, tiff

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    *((prefix, "TIFF") for prefix in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    *((prefix, jpeg2000.KIND) for prefix in jpeg2000.SIGNATURES),
)
# Formats that people do hand in; naming them in the refusal saves a search.
_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"AT&TFORM", "DjVu"),
    (b"\0\0\1\0", "ICO"),
    *((b"P%d" % kind + space, "Netpbm") for kind in range(1, 7) for space in (b"\n", b" ")),
)


def kind_of(content: bytes) -> str:
    """Return the format by its first bytes, as `formats.FORMATS` names it, or an empty string."""
    for prefix, name in _SIGNATURES:
        if content.startswith(prefix):
            return name
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    return heif.find_kind(content)


def is_cut_signature(content: bytes) -> bool:
    """Return whether the file ends within the first bytes of a format that `kind_of` knows."""
    return any(prefix.startswith(content) for prefix, _ in (*_SIGNATURES, (b"RIFF", "WebP")))


def foreign_kind(content: bytes) -> str:
    """Return the name of a known format that is not read here, or an empty string."""
    for prefix, name in _FOREIGN:
        if content.startswith(prefix):
            return name
    if content[4:8] == b"ftyp":
        return "HEIF" if content[8:12] in (b"mif1", b"msf1") else "Video"
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "SVG"
    return ""


def png_exif(content: bytes) -> bytes:
    """Return the EXIF block of a PNG, wherever it stands; empty when there is none."""
    position = 8
    while position + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if name == b"eXIf":
            return content[position + 8 : position + 8 + length]
        position += 12 + length
    return b""


def webp_canvas(content: bytes) -> tuple[int, int] | None:
    """Return width and height from the header (RFC 9649), or None if it is damaged."""
    name, body = content[12:16], content[20:30]
    if len(body) < 10:  # noqa: PLR2004  # up to where all three kinds of header keep the size
        return None
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def ends_early(  # noqa: PLR0911 - one for each format
    kind: str, content: bytes, *, parts: Iterable[tuple[int, int]]
) -> bool:
    """Return whether a file that could not be decoded was cut off: whether its end is missing.

    Args:
        kind: The format, as `kind_of` returns it.
        content: The file's bytes.
        parts: Offset and length of the strips or tiles that a TIFF's directory names.
    """
    match kind:
        case "JPEG":
            return b"\xff\xd9" not in content[-1024:]
        case "PNG":
            return b"IEND" not in content[-1024:]
        case "GIF":
            return not content.rstrip(b"\0").endswith(b";")
        case "WebP":
            return len(content) < int.from_bytes(content[4:8], "little") + 8
        case "BMP":
            return len(content) < int.from_bytes(content[2:6], "little")
        case "AVIF" | "HEIC":
            return heif.ends_early(content)
        case jpeg2000.KIND:
            return jpeg2000.ends_early(content)
        case _:
            return tiff.ends_in_directory(content) or any(
                start + length > len(content) for start, length in parts
            )
