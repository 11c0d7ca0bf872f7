"""Reads the header of a JPEG 2000 file, and refuses what costs its decoder too much.

OpenJPEG decodes one tile at a time, at a reduced resolution where it is told so, and keeps four
bytes for each sample of the tile, whatever its bits. Besides, it keeps a record of every block of
coefficients of the tile, of the resolutions that are left out, too.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from halftone.imaging.needs import refuse

SIGNATURES: Final = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
KIND: Final = "JPEG 2000"

_MOST_BOXES: Final = 256
_MOST_MARKERS: Final = 4_096
_MOST_TILES: Final = 16_384
_MOST_COMPONENTS: Final = 5
_MOST_LAYERS: Final = 256
_MOST_BLOCKS: Final = 4_000_000
"""Blocks of coefficients of one tile: 300 million pixels in three colours, in blocks of 64 by 64,
have 300,000."""
_MOST_PARTS: Final = 65_536
_BLOCK_BYTES: Final = 512
"""What OpenJPEG keeps of a block and its place in the trees of tags, measured."""
_SAMPLE_BYTES: Final = 4
_SIZ, _COD, _START_OF_PART, _END = 0xFF51, 0xFF52, 0xFF90, 0xFFD9
_SUPERBOXES: Final = frozenset({b"jp2h"})


class Header(NamedTuple):
    """What a codestream says of itself.

    Attributes:
        width: The picture's width in pixels.
        height: Its height.
        tile: The width and height of a tile, not more than the picture's.
        components: The number of colours, transparency included.
        levels: How often the picture can be halved by Pillow.
        block: The pixels of a block of coefficients.
    """

    width: int
    height: int
    tile: tuple[int, int]
    components: int
    levels: int
    block: int

    def find_reduction(self, wanted: int) -> int:
        """Return how often the picture is halved so that a divisor is not exceeded."""
        return min(self.levels, max(0, wanted.bit_length() - 1))

    def measure(self, reduction: int) -> int:
        """Return the bytes that the decoder takes besides the pixels of the result."""
        width, height = (-(-side // (1 << reduction)) for side in self.tile)
        samples = width * height * self.components
        return samples * (2 * _SAMPLE_BYTES) + self._count_blocks() * _BLOCK_BYTES

    def _count_blocks(self) -> int:
        across, down = self.tile
        return across * down * self.components * 4 // (3 * self.block)


def read(content: bytes) -> Header | None:
    """Return the header of the first picture of a file; None if it is damaged.

    Raises:
        errors.ImageRejected: It has too many of something (`TOO_EXPENSIVE`).
    """
    try:
        return _read_codestream(content, _find_codestream(content))
    except (struct.error, ValueError):
        return None


def check(content: bytes) -> int:
    """Refuse a file that is too expensive. Returns 0: what it takes depends on the resolution.

    Raises:
        errors.ImageRejected: It has too many of something (`TOO_EXPENSIVE`).
    """
    read(content)
    return 0


def ends_early(content: bytes) -> bool:
    """Return whether a file that could not be decoded lacks its end."""
    return b"\xff\xd9" not in content[-1024:]


def _find_codestream(content: bytes) -> int:
    if content.startswith(SIGNATURES[0]):
        return 0
    at = boxes = 0
    while True:
        length, name = struct.unpack_from(">I4s", content, at)
        boxes += 1
        if boxes > _MOST_BOXES:
            raise refuse(KIND, "boxes", most=_MOST_BOXES)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, start)
            start += 8
        if name == b"jp2c":
            return start
        if length < start - at:
            raise ValueError("a box that ends before it begins")
        if name in _SUPERBOXES:
            _count_boxes(content, start, end=min(at + length, len(content)))
        at += length


def _count_boxes(content: bytes, at: int, *, end: int) -> None:
    """Refuse a header with too many boxes: Pillow reads each of them."""
    boxes = 0
    while at + 8 <= end:
        (length,) = struct.unpack_from(">I", content, at)
        boxes += 1
        if boxes > _MOST_BOXES:
            raise refuse(KIND, "boxes in its header", most=_MOST_BOXES)
        at += max(8, length)


def _read_codestream(content: bytes, at: int) -> Header:
    at += 2  # the start of the codestream
    size: tuple[int, ...] = ()
    levels, block, markers = 0, 4096, 0
    while True:
        marker, length = struct.unpack_from(">HH", content, at)
        markers += 1
        if markers > _MOST_MARKERS:
            raise refuse(KIND, "markers", most=_MOST_MARKERS)
        if marker in (_START_OF_PART, _END):
            break
        if length < 2:  # noqa: PLR2004 - the length has two bytes itself
            raise ValueError("a marker without a length")
        if marker == _SIZ:
            size = struct.unpack_from(">8IH", content, at + 6)
        elif marker == _COD:
            _, _, layers, _, levels, across, down = struct.unpack_from(">BBHBBBB", content, at + 4)
            block = 1 << min(across + 2, 10) + min(down + 2, 10)
            if layers > _MOST_LAYERS:
                raise refuse(KIND, "layers", most=_MOST_LAYERS, number=layers)
        at += 2 + length
    _count_parts(content, at)
    return _make_header(size, levels=min(levels, 32), block=block)


def _make_header(size: tuple[int, ...], *, levels: int, block: int) -> Header:
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = size
    if not (right > left and bottom > top and tile_width and tile_height and components):
        raise ValueError("no pixels")
    width, height = right - left, bottom - top
    tile = (min(tile_width, width), min(tile_height, height))
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    blocks = tile[0] * tile[1] * components // block
    for number, what, most in (
        (components, "components", _MOST_COMPONENTS),
        (tiles, "tiles", _MOST_TILES),
        (blocks, "blocks in a tile", _MOST_BLOCKS),
    ):
        if number > most:
            raise refuse(KIND, what, most=most, number=number)
    if left or top:
        # Pillow 13 compares reduced places with the offset in full, and finds them outside.
        levels = 0
    return Header(width, height, tile, components, levels, block)


def _count_parts(content: bytes, at: int) -> None:
    """Refuse a codestream with too many parts of tiles."""
    parts = 0
    while at + 12 <= len(content) and content.startswith(b"\xff\x90", at):
        (length,) = struct.unpack_from(">I", content, at + 6)
        parts += 1
        if parts > _MOST_PARTS:
            raise refuse(KIND, "parts of tiles", most=_MOST_PARTS)
        if length < 14:  # noqa: PLR2004 - up to the end of the file, or damaged
            return
        at += length
