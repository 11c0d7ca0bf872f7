"""Reads the directories of TIFF and BigTIFF files, in either byte order.

A TIFF is a chain of directories, one for each page. A directory is a list of tags, each with a type
and values. BigTIFF has the same with 64-bit offsets
(https://libtiff.gitlab.io/libtiff/specification/bigtiff.html). Which of them are pages is in
`tiff_pages`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_BIG: Final = 43
MOST_TAGS: Final = 4096
SIZES: Final = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
"""The bytes of one value of each type."""
NARROW: Final = {16: (4, "Q", "L"), 17: (9, "q", "l"), 18: (13, "Q", "L")}
"""Types of BigTIFF, with the types of TIFF for the same values in 32 bits."""
POINTERS: Final = frozenset({330, 34665, 34853, 40965})
"""Tags that point to further directories: SubIFDs, and those of EXIF, GPS and interoperability."""


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


def ends_in_directory(content: bytes) -> bool:
    """Return whether a TIFF ends in or before its first directory, which is often at its end."""
    try:
        layout = read_layout(content)
        (count,) = unpack(layout.order + layout.tags, content, layout.directory)
    except struct.error:
        return True
    return count <= MOST_TAGS and layout.find_link(layout.directory, count=count) > len(content)


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
    if count > MOST_TAGS:
        raise ValueError(f"{count} tags")
    pixels = content[8:] + b"\0" * (len(content) % 2)
    tags, values = bytearray(), bytearray()
    written = 0
    for number in range(count):
        start = layout.find_tag(layout.directory, number=number)
        tag, kind, length = unpack(">HHQ", content, start)
        if kind not in SIZES or tag in POINTERS:
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
        if kind in NARROW:
            kind, wide, narrow = NARROW[kind]
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
