"""Files that cost their decoder far more than they weigh, one kind for each way to do so.

Each returns a file that a decoder would work on for seconds to minutes, or with gigabytes. Sizes
are arguments, so that a test can make a small one of the same kind.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.support.hostile import make_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 32 << 20
"""The largest file that services take."""


def _jpeg(side: int = 64, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), 90).save(out, "JPEG", **options)
    return out.getvalue()


def _tiff(tags: list[tuple[int, int, int, bytes]], *, body: bytes = b"") -> bytes:
    """Return a little-endian TIFF: tags of number, type, count, and their values' bytes."""
    after = 8 + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for number, form, count, value in sorted(tags):
        if len(value) <= 4:
            place = value.ljust(4, b"\0")
        else:
            place = struct.pack("<I", after + len(values))
            values += value
        entries += struct.pack("<HHI", number, form, count) + place
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + bytes(4) + values + body


def _short(number: int, value: int) -> tuple[int, int, int, bytes]:
    return number, 3, 1, struct.pack("<H", value)


def _long(number: int, *values: int) -> tuple[int, int, int, bytes]:
    return number, 4, len(values), struct.pack(f"<{len(values)}I", *values)


def _frame(side: int, *, compression: int = 8) -> list[tuple[int, int, int, bytes]]:
    """Return the tags of a grey picture without its pixels."""
    return [
        _long(256, side),
        _long(257, side),
        _short(258, 8),
        _short(259, compression),
        _short(262, 1),
        _short(277, 1),
    ]


def make_tiff(*, strips: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF of 64 x 64 pixels with a table of strips of one's own."""
    return _tiff([*_frame(64, compression=1), _long(278, 64), strips, _long(279, 4096)])


def make_large_tile(side: int = 40_000) -> bytes:
    """A TIFF of 64 x 64 pixels with one tile that is far larger."""
    body = bytes(64)
    tags = [*_frame(64), _long(322, side), _long(323, side), _long(325, len(body))]
    offset = 8 + 2 + 12 * (len(tags) + 1) + 4
    return _tiff([*tags, _long(324, offset)], body=body)


def make_strips(count: int = 4_000_000) -> bytes:
    """A TIFF with a table of millions of strips."""
    table = np.full(count, 8, "<u4").tobytes()
    tags = [*_frame(1000, compression=1), _long(278, 1)]
    return _tiff([*tags, (273, 4, count, table), (279, 4, count, table)])


def make_tags(count: int = 65_000, *, size: int = 1 << 16) -> bytes:
    """A TIFF with as many tags as there can be, all with the same bytes."""
    head = _frame(64, compression=1)
    many = count - len(head)
    at = 8 + 2 + 12 * count + 4
    entries = b"".join(
        struct.pack("<HHI", number, form, length) + value.ljust(4, b"\0")
        for number, form, length, value in head
    )
    numbers = (30_000 + at % 30_000 for at in range(many))
    entries += b"".join(struct.pack("<HHII", number, 7, size, at) for number in numbers)
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4 + size)


def make_tag_copies(*, size: int = 8 << 20) -> bytes:
    """A TIFF whose few hundred tags are each as long as the file."""
    return make_tags(500, size=size)


def make_scans(scans: int = 400, *, side: int = 8000) -> bytes:
    """A progressive JPEG that passes over all of its pixels hundreds of times."""
    picture = _jpeg(side, progressive=True, quality=30)
    first = picture.rindex(b"\xff\xda")
    last = picture[first:-2]
    # Its last scan again and again: it refines nothing, but is read and decoded each time.
    return picture[:first] + last * scans + b"\xff\xd9"


def make_markers(count: int = 8_000_000) -> bytes:
    """A JPEG with millions of empty comments."""
    picture = _jpeg()
    return picture[:2] + b"\xff\xfe\0\x02" * count + picture[2:]


def make_padding(size: int = 31 << 20) -> bytes:
    """A JPEG with megabytes between its markers, which are skipped byte by byte."""
    picture = _jpeg()
    return picture[:20] + bytes(size) + picture[20:]


def make_markers_between_scans(count: int = 8_000_000) -> bytes:
    """A progressive JPEG with millions of comments between its scans."""
    picture = _jpeg(progressive=True)
    last = picture.rindex(b"\xff\xda")
    return picture[:last] + b"\xff\xfe\0\x02" * count + picture[last:]


def make_exif_blocks(count: int = 500) -> bytes:
    """A JPEG with hundreds of full blocks of EXIF, which Pillow joins one by one."""
    picture = _jpeg()
    block = b"Exif\0\0II*\0" + struct.pack("<I", 8) + bytes(65_000)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return picture[:2] + segment * count + picture[2:]


def make_exif_tags(count: int = 5000, *, size: int = 60_000) -> bytes:
    """A JPEG with EXIF of thousands of tags, each as long as the block."""
    picture = _jpeg()
    entries = b"".join(struct.pack("<HHII", 1 + at, 7, size, 8) for at in range(count))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)
    block = block.ljust(min(65_000, len(block) + size), b"\0")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return picture[:2] + segment + picture[2:]


def make_comments(count: int = 16_000_000) -> bytes:
    """A GIF with millions of comments."""
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "GIF")
    picture = out.getvalue()
    start = 13 + (3 << (picture[10] & 7) + 1)
    return picture[:start] + b"!\xfe\0" * count + picture[start:]


def make_comment_blocks(count: int = 15_000_000) -> bytes:
    """A GIF with one comment in millions of pieces, which Pillow joins one by one."""
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "GIF")
    picture = out.getvalue()
    start = 13 + (3 << (picture[10] & 7) + 1)
    return picture[:start] + b"!\xfe" + b"\x01x" * count + b"\0" + picture[start:]


def make_pixel_blocks(count: int = 15_000_000) -> bytes:
    """A GIF whose pixels lie in blocks of one byte."""
    head = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, 64, 64, 0) + b"\x02"
    return head + image + b"\x01\x04" * count + b"\0;"


def make_chunks(count: int = 2_700_000) -> bytes:
    """A PNG with millions of empty chunks."""
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "PNG")
    picture = out.getvalue()
    return picture[:33] + make_chunk(b"teSt", b"") * count + picture[33:]


def make_webp_chunks(count: int = 3_000_000) -> bytes:
    """A WebP with millions of empty chunks."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "WEBP")
    body = out.getvalue()[12:] + b"teSt\0\0\0\0" * count
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


ATTACKS: dict[str, Callable[[], bytes]] = {
    "TIFF, a tile of 40,000 x 40,000": make_large_tile,
    "TIFF, 4 million strips": make_strips,
    "TIFF, 65,000 tags": make_tags,
    "TIFF, 500 tags of 8 MB": make_tag_copies,
    "JPEG, 400 scans of 64 megapixels": make_scans,
    "JPEG, 8 million markers": make_markers,
    "JPEG, 31 MB between markers": make_padding,
    "JPEG, 8 million markers between scans": make_markers_between_scans,
    "JPEG, 500 EXIF blocks": make_exif_blocks,
    "JPEG, 5,000 tags in EXIF": make_exif_tags,
    "GIF, 10 million comments": lambda: make_comments(10_000_000),
    "GIF, a comment of 15 million pieces": make_comment_blocks,
    "GIF, pixels in 15 million pieces": make_pixel_blocks,
    "PNG, 2.7 million chunks": make_chunks,
    "WebP, 3 million chunks": make_webp_chunks,
}
"""What is sent to services, by what it has too much of."""
