"""Refuses files whose structure costs more than a picture needs, before a decoder sees them.

Decoders read marker by marker and chunk by chunk, some of them in Python, and allocate what a
directory says. Files of real scanners and programs stay far below each limit here. The walks go by
the lengths that a file states and stop at a limit, so they take microseconds for good pictures and
milliseconds for the worst file.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.imaging import directories
from halftone.imaging.formats import heif, jpeg2000
from halftone.imaging.needs import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_MARKERS: Final = 2_000
_MOST_JUNK: Final = 1 << 16
_MOST_EXIF_BLOCKS: Final = 16
_MOST_EXIF_BYTES: Final = 1 << 20
_MOST_SCANS: Final = 64
_MOST_SCANNED_PIXELS: Final = 3_200_000_000
"""Each scan passes over all pixels: 32 scans of the largest picture that is read."""
_FEW_SCANS: Final = 16
"""Scans that every picture may have. Programs make about ten."""
_FEW_BLOCKS: Final = 10_000
_SMALL_BLOCK: Final = 32
"""Bytes. The blocks of a GIF's pixels have 255, but for the last."""
_MOST_PNG_CHUNKS: Final = 32_768
_MOST_PNG_METADATA: Final = 2_048
_MOST_WEBP_CHUNKS: Final = 4_096
_MOST_GIF_EXTENSIONS: Final = 2_000
_MOST_GIF_TEXTS: Final = 16_384
_MOST_GIF_BLOCKS: Final = 200_000

_EXIF: Final = b"Exif\0\0"
# What ends a scan: a marker that is no byte of data and no restart.
_FRAME_BYTES: Final = 6
_COEFFICIENT_BYTES: Final = 2
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_FRAMES: Final = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xCD, 0xCE))
_PROGRESSIVE: Final = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))


def check(kind: str, content: bytes) -> int:
    """Refuse a file whose structure is too expensive.

    Args:
        kind: The format, as `headers.kind_of` returns it.
        content: The file's bytes.

    Returns:
        The bytes that its decoder allocates besides the pixels, as far as the structure says.

    Raises:
        errors.ImageRejected: The file has too many of something (`TOO_EXPENSIVE`).
    """
    known = _CHECKS.get(kind)
    return known(content) if known else 0


class _Segment(NamedTuple):
    """A marker of a JPEG: its number, and where what belongs to it begins and ends."""

    marker: int
    start: int
    end: int


def _check_jpeg(content: bytes) -> int:
    exifs = size = pixels = components = 0
    progressive = False
    for segment in _walk_jpeg(content, start=2, what="markers"):
        if segment.marker == _APP1 and content.startswith(_EXIF, segment.start):
            exifs, size = exifs + 1, size + segment.end - segment.start
            if exifs > _MOST_EXIF_BLOCKS:
                raise refuse("JPEG", "EXIF blocks", most=_MOST_EXIF_BLOCKS)
            if size > _MOST_EXIF_BYTES:
                raise refuse("JPEG", "bytes of EXIF", most=_MOST_EXIF_BYTES)
            directories.check(content[segment.start + len(_EXIF) : segment.end], kind="JPEG")
        elif segment.marker in _FRAMES and segment.end - segment.start >= _FRAME_BYTES:
            _, height, width, components = struct.unpack_from(">BHHB", content, segment.start)
            pixels = max(pixels, height * width)
            progressive = progressive or segment.marker in _PROGRESSIVE
        elif segment.marker == _SCAN and segment.start < len(content):
            if not progressive and content[segment.start] >= components:
                return 0  # a single scan, decoded row by row
            _check_scans(content, segment.end, pixels=pixels)
            # All coefficients are kept until the last scan, whatever size was asked for.
            return _COEFFICIENT_BYTES * pixels * components
    return 0


def _walk_jpeg(content: bytes, *, start: int, what: str) -> Iterator[_Segment]:
    """Yield the segments of a JPEG up to its end, without what lies in scans."""
    at, markers, junk = start, 0, 0
    while True:
        found = content.find(b"\xff", at)
        if found < 0 or found + 1 >= len(content):
            return
        marker = content[found + 1]
        if marker in (0x00, 0xFF):
            junk += found + 1 - at
            at = found + (1 if marker else 2)
        else:
            junk += found - at
            markers += 1
            end = found + 2
            if marker == _END_OF_IMAGE:
                return
            if marker not in _WITHOUT_LENGTH:
                if end + 2 > len(content):
                    return
                end += max(2, int.from_bytes(content[end : end + 2], "big"))
            yield _Segment(marker, min(found + 4, end), min(end, len(content)))
            at = end
        if markers > _MOST_MARKERS:
            raise refuse("JPEG", what, most=_MOST_MARKERS)
        if junk > _MOST_JUNK:
            raise refuse("JPEG", "bytes between its markers", most=_MOST_JUNK)


def _check_scans(content: bytes, start: int, *, pixels: int) -> None:
    """Refuse a JPEG with too many scans.

    Args:
        content: The file's bytes.
        start: Where the data of the first scan begin.
        pixels: The pixels that each scan passes over.
    """
    most = min(_MOST_SCANS, max(_FEW_SCANS, _MOST_SCANNED_PIXELS // max(1, pixels)))
    scans, markers = 1, 0
    at = start
    while (found := _END_OF_SCAN.search(content, at)) is not None:
        marker, end = content[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE or end + 2 > len(content):
            return
        markers += 1
        scans += marker == _SCAN
        if scans > most:
            raise refuse("JPEG", f"scans of {pixels:,} pixels", most=most)
        if markers > _MOST_MARKERS:
            raise refuse("JPEG", "markers between its scans", most=_MOST_MARKERS)
        at = end
        if marker not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(content[end : end + 2], "big"))


def _check_png(content: bytes) -> int:
    at, chunks, metadata = 8, 0, 0
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        if name == b"IEND":
            break  # no decoder reads what lies behind it
        chunks += 1
        metadata += name != b"IDAT"
        if chunks > _MOST_PNG_CHUNKS:
            raise refuse("PNG", "chunks", most=_MOST_PNG_CHUNKS)
        if metadata > _MOST_PNG_METADATA:
            raise refuse("PNG", "chunks that are no pixels", most=_MOST_PNG_METADATA)
        if name == b"eXIf":
            directories.check(content[at + 8 : at + 8 + length], kind="PNG")
        at += 12 + length
    return 0


def _check_webp(content: bytes) -> int:
    at, chunks = 12, 0
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        chunks += 1
        if chunks > _MOST_WEBP_CHUNKS:
            raise refuse("WebP", "chunks", most=_MOST_WEBP_CHUNKS)
        if name == b"EXIF":
            block = content[at + 8 : at + 8 + length]
            directories.check(block.removeprefix(_EXIF), kind="WebP")
        at += 8 + length + length % 2
    return 0


def _check_gif(content: bytes) -> int:
    """Walk up to the second picture: Pillow looks whether there is one."""
    if len(content) < 13:  # noqa: PLR2004 - the header
        return 0
    at = 13 + _colours(content[10])
    extensions = texts = blocks = images = junk = 0
    while at < len(content) and content[at] != ord(";"):
        separator = content[at]
        at += 1
        if separator == ord("!"):
            extensions += 1
            at, count = _skip_blocks(content, at + 1, most=_MOST_GIF_TEXTS - texts)
            texts += count
        elif separator == ord(","):
            images += 1
            if images > 1 or at + 9 > len(content):
                return 0
            start = at + 10 + _colours(content[at + 8])
            at, blocks = _skip_blocks(content, start, most=_FEW_BLOCKS)
            if blocks > _FEW_BLOCKS:
                if at - start < _SMALL_BLOCK * blocks:
                    raise refuse("GIF", "blocks of a few bytes", most=_FEW_BLOCKS)
                at, blocks = _skip_blocks(content, start, most=_MOST_GIF_BLOCKS)
        else:
            junk += 1
        for number, what, most in (
            (extensions, "extensions", _MOST_GIF_EXTENSIONS),
            (texts, "blocks of comments", _MOST_GIF_TEXTS),
            (blocks, "blocks of pixels", _MOST_GIF_BLOCKS),
            (junk, "bytes between its blocks", _MOST_JUNK),
        ):
            if number > most:
                raise refuse("GIF", what, most=most)
    return 0


def _colours(flags: int) -> int:
    """Return the bytes of a table of colours."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(content: bytes, at: int, *, most: int) -> tuple[int, int]:
    """Return where a chain of blocks ends, and how many there are; at most one more than `most`."""
    count, end = 0, len(content)
    while at < end and (length := content[at]):
        at += 1 + length
        count += 1
        if count > most:
            break
    return at + 1, count


def _check_tiff(content: bytes) -> int:
    return directories.check_picture(content)


_CHECKS: Final[dict[str, Callable[[bytes], int]]] = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "WebP": _check_webp,
    "GIF": _check_gif,
    "TIFF": _check_tiff,
    "JPEG 2000": jpeg2000.check,
    "AVIF": heif.check,
    "HEIC": heif.check,
}
