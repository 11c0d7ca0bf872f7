"""Reads the header of an AVIF or HEIC file: its kind, its size, and whether it is animated.

Both are HEIF: boxes as in an MP4. AVIF is read by Pillow; HEIC by the package `pillow-heif` where
somebody has installed it.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib import import_module, util
from typing import TYPE_CHECKING, Any, Final

from halftone.imaging.needs import refuse

if TYPE_CHECKING:
    import io

    from PIL import ImageFile

_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis"})
_MOST_BOXES: Final = 4_096
_MOST_DEPTH: Final = 6
_BYTES_PER_PIXEL: Final = 12
"""Planes of brightness and colour in 16 bits, and the colours made of them."""
# Where further boxes begin behind the head of a box.
_PARENTS: Final = {b"meta": 4, b"iprp": 0, b"ipco": 0}


def find_kind(content: bytes) -> str:
    """Return `AVIF`, `HEIC`, or an empty string for any other file."""
    if content[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(content[:4], "big"), 512)
    brands = {content[8:12], *(content[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC else ""


def is_sequence(content: bytes) -> bool:
    """Return whether a file is a film."""
    return content[8:12] in {b"avis", b"hevc", b"msf1"}


def can_read(kind: str) -> bool:
    """Return whether files of a kind can be read in this installation."""
    if kind == "AVIF":
        return _can_read_avif()
    return kind == "HEIC" and util.find_spec("pillow_heif") is not None


def open_file(kind: str, stream: io.BytesIO) -> ImageFile.ImageFile:
    """Open a file. Its pixels are not decoded yet."""
    if kind == "AVIF":
        picture: Any = import_module("PIL.AvifImagePlugin").AvifImageFile(stream)
    else:
        module: Any = import_module("pillow_heif")
        module.options.DECODE_THREADS = 1
        picture = import_module("pillow_heif.as_plugin").HeifImageFile(stream)
    opened: ImageFile.ImageFile = picture
    return opened


def find_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height of the largest picture in the file; None if none is named.

    Raises:
        errors.ImageRejected: The file has too many boxes (`TOO_EXPENSIVE`).
    """
    sizes: list[tuple[int, int]] = []
    _read(content, 0, len(content), sizes=sizes, count=[0], depth=0)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def check(content: bytes) -> int:
    """Refuse a file that is too expensive, and return the bytes that its decoder allocates.

    Raises:
        errors.ImageRejected: The file has too many boxes (`TOO_EXPENSIVE`).
    """
    width, height = find_size(content) or (0, 0)
    return _BYTES_PER_PIXEL * width * height


def ends_early(content: bytes) -> bool:
    """Return whether the last box is longer than the file."""
    at = 0
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if length == 0:
            return False
        at += max(8, length)
    return at != len(content)


def _read(
    content: bytes,
    at: int,
    end: int,
    *,
    sizes: list[tuple[int, int]],
    count: list[int],
    depth: int,
) -> None:
    while at + 8 <= end:
        length, name = struct.unpack_from(">I4s", content, at)
        count[0] += 1
        if count[0] > _MOST_BOXES:
            raise refuse("HEIF", "boxes", most=_MOST_BOXES)
        last = min(end, at + length if length > 8 else end)  # noqa: PLR2004 - the head of a box
        if name == b"ispe" and at + 20 <= end:
            sizes.append(struct.unpack_from(">II", content, at + 12))
        elif name in _PARENTS and depth < _MOST_DEPTH:
            start = at + 8 + _PARENTS[name]
            _read(content, start, last, sizes=sizes, count=count, depth=depth + 1)
        at = last


@cache
def _can_read_avif() -> bool:
    return util.find_spec("PIL._avif") is not None
