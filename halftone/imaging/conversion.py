"""Converts what Pillow has decoded to 8-bit grey or RGB, upright, and cuts out regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import ExifTags, Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE_IS_ZERO: Final = 0
_STRIP_PIXELS: Final = 1 << 20


class Region(NamedTuple):
    """A rectangle in pixels of the upright picture; the origin is the top left corner."""

    x: int
    y: int
    width: int
    height: int


def convert(
    picture: Image.Image,
    orientation: int,
    *,
    inverted: bool,
    part: Region | None,
    luminance: bool,
) -> Image.Image:
    """Convert to mode "L" or "RGB", upright, cut to the region."""
    image = _eight_bit(picture, inverted=inverted, luminance=luminance)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    if part is not None:
        image = _cut(image, part)
    if luminance and image.mode != "L":
        image = image.convert("L")
    # A plain image does not keep the file object with its buffer.
    return image.copy() if image is picture else image


def _eight_bit(picture: Image.Image, *, inverted: bool, luminance: bool) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return _scale_samples(picture, inverted=inverted)
    transparent = "transparency" in picture.info
    if mode in ("LA", "La") or (mode in ("1", "L") and transparent):
        return _on_white(picture, mode="L")
    if mode in ("RGBA", "RGBa", "PA") or (mode in ("P", "RGB") and transparent):
        grey = luminance or (mode == "P" and _is_grey(picture))
        return _on_white(picture, mode="L" if grey else "RGB")
    if mode in ("1", "P"):
        return picture.convert("L" if mode == "1" or _is_grey(picture) else "RGB")
    return picture if mode in ("L", "RGB") else picture.convert("RGB")


def _on_white(picture: Image.Image, *, mode: str) -> Image.Image:
    if picture.mode in ("P", "PA"):  # a strip would not have the palette
        picture = picture.convert("RGBA")
    image = Image.new(mode, picture.size)
    for top, strip in _strips(picture):
        layer = strip.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        image.paste(Image.alpha_composite(paper, layer).convert(mode), (0, top))
    return image


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield a picture's parts from top to bottom, each with its offset.

    At 100 megapixels, converting alpha or floats as a whole takes up to 2 GB on the way.
    """
    height = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, height):
        strip = _cut(picture, Region(0, top, picture.width, min(height, picture.height - top)))
        strip.info = picture.info  # the transparent colour
        yield top, strip


def _is_grey(picture: Image.Image) -> bool:
    palette = np.asarray(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def is_white_zero(picture: Image.Image) -> bool:
    """Return whether black and white are exchanged in a way that Pillow leaves to its caller."""
    tags = getattr(picture, "tag_v2", None)
    if tags is None or not picture.mode.startswith("I;16"):
        return False
    return bool(tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO)


def _scale_samples(picture: Image.Image, *, inverted: bool) -> Image.Image:
    low, high = _sample_range(picture)
    grey = Image.new("L", picture.size)
    for top, strip in _strips(picture):
        scaled = (_samples(strip) - low) * (255 / max(high - low, 1e-12))
        values = np.rint(255 - scaled if inverted else scaled).clip(0, 255)
        grey.paste(Image.fromarray(values.astype(np.uint8)), (0, top))
    return grey


def _sample_range(picture: Image.Image) -> tuple[float, float]:
    """Return the samples that become black and white."""
    if picture.mode.startswith("I;16"):
        return 0.0, 65535.0
    extremes = [(part.min(), part.max()) for part in (_samples(s) for _, s in _strips(picture))]
    low, high = float(min(extremes)[0]), float(max(high for _, high in extremes))
    if picture.mode == "I" and low >= 0 and high <= 65535:  # noqa: PLR2004  # 16 bit kept in 32
        return 0.0, 65535.0 if high > 255 else 255.0  # noqa: PLR2004  # 8 bit kept in 32
    if picture.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _samples(strip: Image.Image) -> NDArray[np.float32]:
    samples = np.asarray(strip).astype(np.float32)
    samples[~np.isfinite(samples)] = 0
    return samples


def _cut(image: Image.Image, region: Region) -> Image.Image:
    # `Image.crop` would apply Pillow's process-wide pixel limit.
    part = Image.new(image.mode, (region.width, region.height))
    part.paste(image, (-region.x, -region.y))
    return part
