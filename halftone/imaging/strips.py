"""Cuts parts out of pictures, so that large ones are converted piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIXELS: Final = 1 << 20


class Region(NamedTuple):
    """A rectangle in pixels of the upright picture; the origin is the top left corner."""

    x: int
    y: int
    width: int
    height: int


def cut(image: Image.Image, region: Region) -> Image.Image:
    """Return a part of a picture. `Image.crop` would apply Pillow's process-wide pixel limit."""
    part = Image.new(image.mode, (region.width, region.height))
    part.paste(image, (-region.x, -region.y))
    return part


def cut_strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield a picture's parts of a million pixels from top to bottom, each with its offset.

    At 100 megapixels, converting alpha or floats as a whole takes up to 2 GB on the way.
    """
    height = max(1, _PIXELS // picture.width)
    for top in range(0, picture.height, height):
        part = Region(0, top, picture.width, min(height, picture.height - top))
        strip = cut(picture, part)
        strip.info = picture.info  # the transparent colour
        yield top, strip
