"""The pages of a TIFF: which directories they are, which of them is the picture, one page alone.

A directory may also be a smaller copy of a picture or a mask. Most programs say so in the
directory; a thumbnail in front of its picture often is not marked.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.imaging.formats import tiff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.imaging.formats.tiff import Layout

_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES: Final = 10_000
# Tags are sorted, and no tag of the standard comes before those that say what a page is. The limit
# is for files with overlapping directories: a small one can have 10,000 with 4,096 tags each.
_MOST_FIRST_TAGS: Final = 16
_MOST_COPIED: Final = 512
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT = 254, 255, 256, 257
_COMPRESSION, _SUB_DIRECTORIES = 259, 330
_OFFSETS: Final = {273: 279, 324: 325}
"""The tags of where strips or tiles begin, with those of how long they are."""
_OLD_JPEG: Final = 6
_REDUCED, _MASK = 1, 4
_OLD_REDUCED: Final = 2
_THUMBNAIL_SIDE: Final = 640
_THUMBNAIL_TIMES: Final = 4
"""A thumbnail that is not marked has at most such a side, and its picture so many times its pixels
and, within a few percent, the same proportions."""
_PROPORTIONS: Final = 0.04


class Page(NamedTuple):
    """A directory that holds a picture: its offset, and the picture's size in pixels."""

    directory: int
    width: int
    height: int


class Pages(NamedTuple):
    """What a file holds.

    Attributes:
        first: What the first directory holds, be it a page or not.
        full: The pages, without smaller copies and masks.
        complete: Whether the chain of directories was followed to its end. Otherwise it leads to
            damage, in a circle, or past 10,000 directories, and further pages may be lost.
    """

    first: Page
    full: tuple[Page, ...]
    complete: bool = True

    @property
    def main(self) -> Page:
        """The page that stands for the file where only one can."""
        return self.full[0]


class Tag(NamedTuple):
    """A tag with its `length` values as they lie in the file."""

    number: int
    type: int
    length: int
    data: bytes


def count_pages(content: bytes) -> int:
    """Return the number of pages of a TIFF; 1 for any other file.

    Pictures in a smaller size and masks, which some programs keep beside a picture, are no pages.
    Pages behind damage are not counted.
    """
    return len(read_pages(content).full) if content.startswith(_SIGNATURES) else 1


def read_pages(content: bytes) -> Pages:
    """Return the pages of a TIFF; at least one, which may be a damaged directory."""
    first, full, other = Page(0, 0, 0), list[Page](), list[Page]()
    complete = False
    try:
        layout = tiff.read_layout(content)
        first = Page(layout.directory, 0, 0)
        for directory in _walk(content, layout=layout):
            if directory is None:
                break
            tags = dict(_read_first_tags(content, directory, layout))
            page = Page(directory, tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0))
            if directory == layout.directory:
                first = page
            kind = tags.get(_SUBFILE_TYPE, 0)
            if kind & (_REDUCED | _MASK) or tags.get(_OLD_SUBFILE_TYPE, 0) == _OLD_REDUCED:
                other.append(page)
            else:
                full.append(page)
        else:
            complete = True
        if not full:
            full.extend(_read_sub_pages(content, first.directory, layout))
    except struct.error:
        pass
    if not full:
        full = [max(other, key=_area, default=first)]
    elif full[0] == first and any(_is_thumbnail(first, of=page) for page in full[1:]):
        full = full[1:]
        full.sort(key=lambda page: not _is_thumbnail(first, of=page))
    return Pages(first, tuple(full), complete)


def choose(content: bytes) -> bytes:
    """Return a TIFF that begins with the picture: its first page, without a thumbnail before it.

    Nearly every file is returned as it is.
    """
    try:
        layout = tiff.read_layout(content)
        tags = dict(_read_first_tags(content, layout.directory, layout))
        alone = not _find_next(content, layout.directory, layout)
    except struct.error:
        return content
    marked = tags.get(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK)
    marked = marked or tags.get(_OLD_SUBFILE_TYPE, 0) == _OLD_REDUCED
    small = max(tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)) <= _THUMBNAIL_SIDE
    if not marked and (alone or not small):
        return content
    pages = read_pages(content)
    if pages.main.directory == layout.directory:
        return content
    return _begin_with(content, pages.main.directory, layout)


def find_compression(content: bytes) -> int:
    """Return the number of the compression of the first page; 1, for none, if it is not named."""
    try:
        layout = tiff.read_layout(content)
        tags = dict(_read_first_tags(content, layout.directory, layout))
    except struct.error:
        return 1
    return tags.get(_COMPRESSION, 1)


def read_numbers(content: bytes) -> dict[int, tuple[int, ...]]:
    """Return the tags of the first page that hold whole numbers.

    Raises:
        ValueError: The directory is damaged.
        struct.error: The file ends within it.
    """
    layout = tiff.read_layout(content)
    tags = read_tags(content, layout.directory, layout)
    return {tag.number: _read_numbers(tag, layout) for tag in tags}


def extract(content: bytes, page: Page) -> bytes:
    """Return a file that holds one page alone, with the same strips or tiles, byte for byte.

    A page whose directory is damaged or of an old kind is returned with the whole file behind it.
    """
    layout = tiff.read_layout(content)
    try:
        tags = list(read_tags(content, page.directory, layout))
        numbers = {tag.number: tag for tag in tags}
        compression = numbers.get(_COMPRESSION)
        if compression and _read_numbers(compression, layout) == (_OLD_JPEG,):
            raise ValueError("JPEG in pieces")  # noqa: TRY301 - one way out
        return _write(content, [tag for tag in tags if tag.number not in tiff.POINTERS], layout)
    except (struct.error, ValueError):
        return _begin_with(content, page.directory, layout)


def read_tags(content: bytes, directory: int, layout: Layout) -> Iterator[Tag]:
    """Yield the tags of a directory with their values.

    Raises:
        ValueError: There are too many, or more values than the file has bytes.
        struct.error: The file ends before.
    """
    order, place = layout.order, struct.calcsize(layout.order + layout.offset)
    (count,) = tiff.unpack(order + layout.tags, content, directory)
    copied = 0
    if count > _MOST_COPIED:
        raise ValueError(f"{count} tags")
    for number in range(count):
        start = layout.find_tag(directory, number=number)
        tag, kind, length = tiff.unpack(order + layout.tag, content, start)
        if kind not in tiff.SIZES:
            continue
        at, size = start + struct.calcsize(order + layout.tag), tiff.SIZES[kind] * length
        if size > place:
            (at,) = tiff.unpack(order + layout.offset, content, at)
        copied += size
        if at + size > len(content) or copied > len(content):
            raise ValueError(f"tag {tag} is longer than the file")
        yield Tag(tag, kind, length, content[at : at + size])


def _write(content: bytes, tags: list[Tag], layout: Layout) -> bytes:
    """Return a classic TIFF of the same byte order with these tags and their strips or tiles."""
    order, body = layout.order, bytearray()
    numbers = {tag.number: tag for tag in tags}
    offsets: dict[int, list[int]] = {}
    for starts, lengths in _OFFSETS.items():
        if starts not in numbers or lengths not in numbers:
            continue
        offsets[starts] = []
        parts = zip(
            _read_numbers(numbers[starts], layout),
            _read_numbers(numbers[lengths], layout),
            strict=True,
        )
        for start, length in parts:
            if start + length > len(content) or len(body) + length > len(content):
                raise ValueError("strips are longer than the file")
            offsets[starts].append(8 + len(body))
            body += content[start : start + length]
            body += b"\0" * (len(body) % 2)
    if not offsets:
        raise ValueError("no strips")
    entries, values = b"", bytearray()
    after = 8 + len(body)
    for tag in tags:
        kind, data = tag.type, tag.data
        if tag.number in offsets:
            kind, data = 4, struct.pack(f"{order}{tag.length}L", *offsets[tag.number])
        elif kind in tiff.NARROW:
            kind, wide, narrow = tiff.NARROW[kind]
            whole = struct.unpack(f"{order}{tag.length}{wide}", data)
            data = struct.pack(f"{order}{tag.length}{narrow}", *whole)
        if len(data) > 4:  # noqa: PLR2004 - what does not fit into an offset
            place = struct.pack(order + "L", after + len(values))
            values += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack(order + "HHL", tag.number, kind, tag.length) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", after + len(values))
    ending = struct.pack(order + "H", len(entries) // 12) + entries + b"\0" * 4
    return b"".join((head, body, values, ending))


def _read_numbers(tag: Tag, layout: Layout) -> tuple[int, ...]:
    form = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}.get(tag.type)
    return struct.unpack(f"{layout.order}{tag.length}{form}", tag.data) if form else ()


def _begin_with(content: bytes, directory: int, layout: Layout) -> bytes:
    """Return the file with another directory as its first one."""
    if layout.tags == "Q":
        return content[:8] + struct.pack(layout.order + "Q", directory) + content[16:]
    return content[:4] + struct.pack(layout.order + "L", directory) + content[8:]


def _area(page: Page) -> int:
    return page.width * page.height


def _is_thumbnail(page: Page, *, of: Page) -> bool:
    if not _area(page) or not _area(of) or max(page.width, page.height) > _THUMBNAIL_SIDE:
        return False
    if _area(of) < _THUMBNAIL_TIMES * _area(page):
        return False
    small, large = page.width / page.height, of.width / of.height
    return abs(small - large) <= _PROPORTIONS * large


def _read_sub_pages(content: bytes, directory: int, layout: Layout) -> Iterator[Page]:
    """Yield the pages in the directories that one directory links to, the largest first."""
    try:
        links = next(
            (
                _read_numbers(tag, layout)
                for tag in read_tags(content, directory, layout)
                if tag.number == _SUB_DIRECTORIES
            ),
            (),
        )
    except (ValueError, struct.error):
        return
    pages = []
    for link in links[:_MOST_FIRST_TAGS]:
        tags = dict(_read_first_tags(content, link, layout))
        if not tags.get(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK):
            pages.append(Page(link, tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)))
    yield from sorted(pages, key=_area, reverse=True)[:1]


def _walk(content: bytes, *, layout: Layout) -> Iterator[int | None]:
    """Yield the offset of each directory, and None behind the last if the chain goes on.

    Raises:
        struct.error: The chain leads out of the file.
    """
    seen: set[int] = set()
    directory = layout.directory
    while directory and directory not in seen and len(seen) < _MOST_PAGES:
        seen.add(directory)
        yield directory
        directory = _find_next(content, directory, layout)
    if directory:
        yield None


def _find_next(content: bytes, directory: int, layout: Layout) -> int:
    """Return the offset of the next directory; 0 behind the last."""
    (count,) = tiff.unpack(layout.order + layout.tags, content, directory)
    link = layout.find_link(directory, count=count)
    return tiff.unpack(layout.order + layout.offset, content, link)[0]


def _read_first_tags(content: bytes, directory: int, layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield the number and the value of the tags that say what a page is, which come first."""
    order = layout.order
    (count,) = tiff.unpack(order + layout.tags, content, directory)
    for number in range(min(count, _MOST_FIRST_TAGS)):
        start = layout.find_tag(directory, number=number)
        tag, kind, length = tiff.unpack(order + layout.tag, content, start)
        if tag > _COMPRESSION:
            return
        form = {3: "H", 4: "L", 16: "Q"}.get(kind)
        if length == 1 and form:
            at = start + struct.calcsize(order + layout.tag)
            (value,) = tiff.unpack(order + form, content, at)
            yield tag, value
