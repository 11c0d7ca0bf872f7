"""Decodes TIFF files whose strips or tiles are files themselves: WebP or JPEG 2000.

libtiff, as Pillow is built, knows neither. GDAL, libvips and scanners of slides write both.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from PIL import Image, Jpeg2KImagePlugin, TiffImagePlugin, WebPImagePlugin

from halftone.core import errors
from halftone.imaging import headers, reasons
from halftone.imaging.formats import jpeg2000, tiff_pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageFile

_WEBP, _JPEG_2000 = 50001, 34712
_DECODERS: Final[dict[int, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    _WEBP: WebPImagePlugin.WebPImageFile,
    _JPEG_2000: Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_NAMES: Final = {
    33003: "JPEG 2000 of Aperio",
    33005: "JPEG 2000 of Aperio",
    34892: "lossy JPEG of DNG",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_COMPRESSION, _BITS, _SAMPLES, _ROWS, _PLANAR = 259, 258, 277, 278, 284
_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES = 273, 279, 324, 325
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _ORIENTATION = 256, 257, 322, 323, 274


class PartsFile:
    """A TIFF whose strips or tiles are decoded one by one.

    Attributes:
        mode: The mode of the picture, as Pillow names it.
        size: Its width and height as it lies in the file.
        orientation: EXIF's orientation, 1 to 8.
        extra: The bytes that decoding a strip or tile takes besides the pixels.
    """

    def __init__(self, content: bytes) -> None:
        """Read the header.

        Raises:
            errors.ImageRejected: Its samples are of a kind that is not read.
            ValueError: The header is damaged.
            struct.error: The file ends within it.
        """
        self._content, self._tags = content, tiff_pages.read_numbers(content)
        self._compression = self._get(_COMPRESSION, 1)
        self.size = self._get(_WIDTH, 0), self._get(_HEIGHT, 0)
        if not min(self.size):
            raise ValueError("no pixels")
        orientation = self._get(_ORIENTATION, 1)
        self.orientation = orientation if 1 <= orientation <= 8 else 1  # noqa: PLR2004 - EXIF's range
        samples = self._get(_SAMPLES, 1)
        if samples not in _MODES or self._get(_PLANAR, 1) != 1 or self._get(_BITS, 1) != 8:  # noqa: PLR2004 - bits
            raise make_unsupported("its samples are not of 8 bits side by side")
        self.mode = _MODES[samples]
        self._tiled = _TILES in self._tags
        height = self.size[1]
        self._part = (
            self._get(_TILE_WIDTH, 0) if self._tiled else self.size[0],
            self._get(_TILE_HEIGHT, 0) if self._tiled else min(height, self._get(_ROWS, height)),
        )
        self.extra = 16 * self._part[0] * self._part[1]

    def load(self) -> Image.Image:
        """Return the picture as it lies in the file.

        Raises:
            ValueError: A strip or tile is damaged or missing.
            OSError: It ends early.
        """
        (width, height), (across, down) = self.size, self._part
        starts = self._tags.get(_TILES if self._tiled else _STRIPS, ())
        lengths = self._tags.get(_TILE_SIZES if self._tiled else _STRIP_SIZES, ())
        columns = -(-width // max(1, across))
        if not across or not down or len(starts) < columns * -(-height // down):
            raise ValueError("there are too few strips or tiles")
        image = Image.new(self.mode, self.size)
        for number, (start, length) in enumerate(zip(starts, lengths, strict=False)):
            row, column = divmod(number, columns)
            part = self._decode(self._content[start : start + length])
            image.paste(part, (column * across, row * down))
        return image

    def list_parts(self) -> list[tuple[int, int]]:
        """Return where the strips or tiles begin and how long they are."""
        starts = self._tags.get(_TILES if self._tiled else _STRIPS, ())
        lengths = self._tags.get(_TILE_SIZES if self._tiled else _STRIP_SIZES, ())
        return list(zip(starts, lengths, strict=False))

    def _decode(self, content: bytes) -> Image.Image:
        if self._compression == _WEBP:
            size = headers.webp_canvas(content)
        else:
            header = jpeg2000.read(content)
            size = header and (header.width, header.height)
        if size is None or size[0] > self._part[0] or size[1] > self._part[1]:
            raise ValueError("a strip or tile is damaged")
        part: Image.Image = _DECODERS[self._compression](io.BytesIO(content))
        part.load()
        return part if part.mode == self.mode else part.convert(self.mode)

    def _get(self, tag: int, default: int) -> int:
        return max(self._tags.get(tag, ()), default=default)


def is_of_files(compression: int) -> bool:
    """Return whether the strips or tiles of such a TIFF are files that are read here."""
    return compression in _DECODERS


def refuse_unknown(compression: int) -> None:
    """Refuse a compression that nothing here can read.

    Raises:
        errors.ImageRejected: It is one (`UNSUPPORTED_FORMAT`).
    """
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        name = _NAMES.get(compression, f"method {compression}")
        raise make_unsupported(f"it is compressed by {name}")


def make_unsupported(why: str) -> errors.ImageRejected:
    """Return the error of a TIFF of a kind that is not read."""
    return errors.ImageRejected(
        f"This kind of TIFF is not supported: {why}.",
        reason=reasons.UNSUPPORTED_FORMAT,
        metadata={"format": "TIFF"},
    )
