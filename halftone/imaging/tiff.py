"""Reads the directories of TIFF and BigTIFF files, in either byte order.

A TIFF is a chain of directories, one for each page. A directory is a list of tags, each with a type
and values. BigTIFF has the same with 64-bit offsets
(https://libtiff.gitlab.io/libtiff/specification/bigtiff.html).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BIG: Final = 43
_MOST_TAGS: Final = 4096
_MOST_PAGES: Final = 10_000
# Tags are sorted, and no tag of the standard comes before those that say what a page is. The limit
# is for files with overlapping directories: a small one can have 10,000 with 4,096 tags each.
_MOST_FIRST_TAGS: Final = 16
SIZES: Final = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
"""The bytes of one value of each type."""
# Types of BigTIFF, with the types of TIFF for the same values in 32 bits.
_NARROW: Final = {16: (4, "Q", "L"), 17: (9, "q", "l"), 18: (13, "Q", "L")}
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_REDUCED, _MASK = 1, 4
_OLD_REDUCED: Final = 2
# These point to further directories: SubIFDs, and those of EXIF, GPS and interoperability.
_POINTERS: Final = frozenset({330, 34665, 34853, 40965})


class Layout(NamedTuple):
    """Where a file keeps what.

    Attributes:
        order: The byte order, as in `struct`.
        directory: The offset of the first directory.
        tags: The format of a directory's number of tags.
        tag: The format of a tag without its values: number, type and count.
        offset: The format of an offset. As many bytes of values lie in a tag itself.
    """

    order: str
    directory: int
    tags: str
    tag: str
    offset: str

    def find_tag(self, directory: int, *, number: int) -> int:
        """Return the offset of a tag."""
        size = struct.calcsize(self.order + self.tag + self.offset)
        return directory + struct.calcsize(self.order + self.tags) + number * size

    def find_link(self, directory: int, *, count: int) -> int:
        """Return the offset of the link to the next directory, behind all `count` tags."""
        return self.find_tag(directory, number=count)


def count_pages(content: bytes) -> int:
    """Return the number of pages of a TIFF; 1 for any other file.

    Pictures in a smaller size and masks, which some programs keep beside a picture, are no pages.
    Pages behind damage are not counted.
    """
    if not content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return 1
    pages = 0
    try:
        layout = read_layout(content)
        for directory in _walk(content, layout=layout):
            tags = dict(_read_first_tags(content, directory, layout))
            kind = tags.get(_SUBFILE_TYPE, 0)
            old = tags.get(_OLD_SUBFILE_TYPE, 0)
            pages += not (kind & (_REDUCED | _MASK) or old == _OLD_REDUCED)
    except struct.error:
        pass
    return max(1, pages)


def ends_in_directory(content: bytes) -> bool:
    """Return whether a TIFF ends in or before its first directory, which is often at its end."""
    try:
        layout = read_layout(content)
        (count,) = unpack(layout.order + layout.tags, content, layout.directory)
    except struct.error:
        return True
    return count <= _MOST_TAGS and layout.find_link(layout.directory, count=count) > len(content)


def is_big_endian_big(content: bytes) -> bool:
    """Return whether a file is a BigTIFF in big-endian byte order."""
    return content.startswith(b"MM\0+")


def make_classic(content: bytes) -> bytes:
    """Return the first page of a big-endian BigTIFF as a classic TIFF.

    Pillow 13 reads BigTIFF in little-endian order only: it looks for the number 43 in one of two
    bytes. The pixels stay where they are; a new directory is written behind them.

    Raises:
        ValueError: The directory is damaged.
        struct.error: The file ends within it.
    """
    layout = read_layout(content)
    (count,) = unpack(">Q", content, layout.directory)
    if count > _MOST_TAGS:
        raise ValueError(f"{count} tags")
    pixels = content[8:] + b"\0" * (len(content) % 2)
    tags, values = bytearray(), bytearray()
    written = 0
    for number in range(count):
        start = layout.find_tag(layout.directory, number=number)
        tag, kind, length = unpack(">HHQ", content, start)
        if kind not in SIZES or tag in _POINTERS:
            continue
        size = SIZES[kind] * length
        if size > 8:  # noqa: PLR2004 - what does not fit into an offset
            (at,) = unpack(">Q", content, start + 12)
        else:
            at = start + 12
        # Many tags may name the same bytes, which must not grow into gigabytes.
        if at + size > len(content) or len(values) + size > len(content):
            raise ValueError(f"tag {tag} is longer than the file")
        data = content[at : at + size]
        if kind in _NARROW:
            kind, wide, narrow = _NARROW[kind]
            data = struct.pack(f">{length}{narrow}", *struct.unpack(f">{length}{wide}", data))
        if len(data) <= 4:  # noqa: PLR2004 - as above
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack(">L", 8 + len(pixels) + len(values))
            values += data + b"\0" * (len(data) % 2)
        tags += struct.pack(">HHL", tag, kind, length) + place
        written += 1
    directory = 8 + len(pixels) + len(values)
    head = b"MM\0*" + struct.pack(">L", directory)
    return b"".join((head, pixels, values, struct.pack(">H", written), tags, b"\0" * 4))


def unpack(form: str, content: bytes, at: int) -> tuple[int, ...]:
    """Return the numbers at an offset.

    Raises:
        struct.error: The file ends before.
    """
    if at > len(content):  # it may be too large for `struct`, which raises another error
        raise struct.error("The file ends early.")
    return struct.unpack_from(form, content, at)


def read_layout(content: bytes) -> Layout:
    """Return where a file keeps what.

    Raises:
        struct.error: The file ends within its header.
    """
    order = "<" if content.startswith(b"II") else ">"
    (version,) = unpack(order + "H", content, 2)
    if version == _BIG:
        (directory,) = unpack(order + "Q", content, 8)
        return Layout(order=order, directory=directory, tags="Q", tag="HHQ", offset="Q")
    (directory,) = unpack(order + "L", content, 4)
    return Layout(order=order, directory=directory, tags="H", tag="HHL", offset="L")


def _walk(content: bytes, *, layout: Layout) -> Iterator[int]:
    """Yield the offset of each directory, to the end of the chain or the first damage."""
    seen: set[int] = set()
    directory = layout.directory
    while directory and directory not in seen and len(seen) < _MOST_PAGES:
        seen.add(directory)
        yield directory
        (count,) = unpack(layout.order + layout.tags, content, directory)
        link = layout.find_link(directory, count=count)
        (directory,) = unpack(layout.order + layout.offset, content, link)


def _read_first_tags(content: bytes, directory: int, layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield the number and the value of the tags that say what a page is, which come first."""
    order = layout.order
    (count,) = unpack(order + layout.tags, content, directory)
    for number in range(min(count, _MOST_FIRST_TAGS)):
        start = layout.find_tag(directory, number=number)
        tag, kind, length = unpack(order + layout.tag, content, start)
        if tag > _OLD_SUBFILE_TYPE:
            return
        if length == 1 and kind in {3, 4}:
            at = start + struct.calcsize(order + layout.tag)
            (value,) = unpack(order + ("H" if kind == 3 else "L"), content, at)  # noqa: PLR2004
            yield tag, value
