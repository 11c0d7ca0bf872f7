"""Refuses directories of TIFF and EXIF that cost more than a picture needs.

Pillow copies the values of every tag when it opens a file, and libtiff allocates what the tags say:
a tile of 40,000 by 40,000 pixels in a picture of 64 by 64, a table of four million strips.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.imaging.formats import tiff
from halftone.imaging.needs import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_TAGS: Final = 512
_MOST_PARTS: Final = 100_000
"""Strips or tiles: a picture of 100 million pixels in tiles of 64 by 64 has a quarter of it."""
_MOST_VALUES: Final = 262_144
"""Numbers in one tag; a table of colours of 16 bits has 196,608."""
_MOST_DIRECTORIES: Final = 16
_SPARE_BYTES: Final = 1 << 16
_MOST_PADDING: Final = 1 << 22
"""Pixels of a tile that may be larger than its picture: 2,048 by 2,048."""
_MOST_SCANS: Final = 8
"""Scans of JPEG in a strip or tile; it has one."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_SAMPLES, _ROWS, _PLANAR = 277, 278, 284
_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES = 273, 279, 324, 325
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_LINKS: Final = frozenset({34665, 34853, 40965})
_JPEGS: Final = frozenset({6, 7})
_SEPARATE: Final = 2
_BYTES: Final = frozenset({1, 2, 6, 7})


class _Tag(NamedTuple):
    """A tag: its number, the type and number of its values, and where they are."""

    number: int
    type: int
    length: int
    at: int


def check(block: bytes, *, kind: str) -> None:
    """Refuse a file with a block of EXIF that is too expensive to read.

    A damaged block costs its picture nothing but the orientation, so only what Pillow would read
    counts.

    Args:
        block: The bytes, from the byte order on.
        kind: The format of the file.

    Raises:
        errors.ImageRejected: There are too many tags or values (`TOO_EXPENSIVE`).
    """
    for _ in _read(block, kind=kind, where=" of EXIF"):
        pass


def check_picture(content: bytes) -> int:
    """Refuse a TIFF that is too expensive to decode.

    Returns:
        The bytes of a strip or tile, which libtiff allocates besides the pixels.

    Raises:
        errors.ImageRejected: There are too many tags, strips or tiles, or a tile is much larger
            than the picture (`TOO_EXPENSIVE`).
    """
    order = "<" if content.startswith(b"II") else ">"
    tags: dict[int, _Tag] = {}
    for main, tag in _read(content, kind="TIFF", where=""):
        if main:
            tags[tag.number] = tag

    def get(number: int, default: int) -> int:
        return _get_largest(content, tags.get(number), order=order, default=default)

    width, height = get(_WIDTH, 0), get(_HEIGHT, 0)
    samples = max(1, get(_SAMPLES, 1))
    planes = samples if get(_PLANAR, 1) == _SEPARATE else 1
    parts = max((tags[each].length for each in (_STRIPS, _TILES) if each in tags), default=0)
    if _STRIPS in tags and parts > max(64, height * planes):
        raise refuse("TIFF", f"strips for {height:,} rows", most=max(64, height * planes))
    if get(_COMPRESSION, 1) in _JPEGS:
        most = _MOST_SCANS * max(8, parts)
        if content.count(b"\xff\xda") > most:
            raise refuse("TIFF", "scans in its strips or tiles", most=most)
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags:
        across, down = get(_TILE_WIDTH, width), get(_TILE_HEIGHT, height)
        most = max(4 * width * height, _MOST_PADDING)
        if across * down > most:
            raise refuse(
                "TIFF",
                f"pixels in a tile of {across:,} x {down:,}",
                most=most,
                number=across * down,
            )
    else:
        across, down = width, min(height, get(_ROWS, height) or height)
    return across * down * (samples // planes) * -(-max(1, get(_BITS, 1)) // 8)


def _read(content: bytes, *, kind: str, where: str) -> Iterator[tuple[bool, _Tag]]:
    """Yield the tags of the first directory (True) and of those it links to (False)."""
    try:
        layout = tiff.read_layout(content)
    except struct.error:
        return
    waiting, seen, copied, count = [(layout.directory, True)], set[int](), 0, 0
    while waiting:
        directory, main = waiting.pop()
        if directory in seen or len(seen) == _MOST_DIRECTORIES:
            continue
        seen.add(directory)
        try:
            for tag in _walk(content, directory, layout=layout):
                count += 1
                if count > _MOST_TAGS:
                    raise refuse(kind, f"tags{where}", most=_MOST_TAGS)
                size = tiff.SIZES[tag.type] * tag.length
                copied += max(0, min(size, len(content) - tag.at))
                if copied > len(content) + _SPARE_BYTES:
                    raise refuse(
                        kind, f"bytes in its tags{where}", most=len(content) + _SPARE_BYTES
                    )
                _check_tag(tag, kind=kind)
                if tag.number in _LINKS and tag.length == 1:
                    link = _get_largest(content, tag, order=layout.order, default=0)
                    waiting.append((link, False))
                yield main, tag
        except struct.error:
            # The decoder says what is missing.
            continue


def _walk(content: bytes, directory: int, *, layout: tiff.Layout) -> Iterator[_Tag]:
    """Yield the tags of a directory whose type is known; nobody reads the others' values."""
    (count,) = tiff.unpack(layout.order + layout.tags, content, directory)
    place = struct.calcsize(layout.order + layout.offset)
    for number in range(count):
        start = layout.find_tag(directory, number=number)
        tag, form, length = tiff.unpack(layout.order + layout.tag, content, start)
        if form not in tiff.SIZES:
            continue
        at = start + struct.calcsize(layout.order + layout.tag)
        if tiff.SIZES[form] * length > place:
            (at,) = tiff.unpack(layout.order + layout.offset, content, at)
        yield _Tag(tag, form, length, at)


def _check_tag(tag: _Tag, *, kind: str) -> None:
    if tag.number in (_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES):
        what, most = "strips or tiles", _MOST_PARTS
    elif tag.type in _BYTES:
        return
    else:
        what, most = f"values in tag {tag.number}", _MOST_VALUES
    if tag.length > most:
        raise refuse(kind, what, most=most, number=tag.length)


def _get_largest(content: bytes, tag: _Tag | None, *, order: str, default: int) -> int:
    """Return the largest of a tag's first numbers; `default` if there is none."""
    form = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}.get(tag.type if tag else 0)
    if tag is None or form is None or not tag.length:
        return default
    try:
        return max(tiff.unpack(f"{order}{min(tag.length, 8)}{form}", content, tag.at))
    except struct.error:
        return default
