"""Converts what Pillow has decoded to 8-bit grey or RGB, upright, and cuts out regions."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageStat

from halftone.imaging import samples
from halftone.imaging.strips import Region as Region
from halftone.imaging.strips import cut, cut_strips

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
_BLANK: Final = 12.0
"""Standard deviation, in grey levels, below which a picture on white may be a white drawing. Black
lines on a third of a percent of the paper have more."""
_TELLING: Final = 3.0
"""By how much the picture must differ more on black than on white."""


def convert(
    picture: Image.Image,
    orientation: int,
    *,
    inverted: bool,
    part: Region | None,
    luminance: bool,
    depth: int = 0,
) -> Image.Image:
    """Convert to mode "L" or "RGB", upright, cut to the region.

    Args:
        picture: The decoded picture.
        orientation: EXIF's orientation, 1 to 8.
        inverted: Whether white is zero in a way that Pillow leaves to its caller.
        part: The region to cut out; None: all of it.
        luminance: Return mode "L" for a colour picture, too.
        depth: How many bits its samples have at least; see `samples.read_depth`.
    """
    image = _eight_bit(picture, inverted=inverted, luminance=luminance, depth=depth)
    if luminance and image.mode != "L":
        image = image.convert("L")
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    if part is not None:
        image = cut(image, part)
    # A plain image does not keep the file object with its buffer.
    return _make_plain(image) if image is picture else image


def _make_plain(picture: Image.Image) -> Image.Image:
    """Return a picture that shares its pixels with one of a file."""
    plain = Image.Image()._new(picture.im)  # noqa: SLF001 - a copy of 300 megapixels has 1.2 GB
    plain.info = picture.info.copy()
    return plain


def _eight_bit(picture: Image.Image, *, inverted: bool, luminance: bool, depth: int) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return samples.scale(picture, depth=depth, inverted=inverted)
    transparent = "transparency" in picture.info
    if mode in ("LA", "La") or (mode in ("1", "L") and transparent):
        return _flatten(picture, mode="L")
    if mode in ("RGBA", "RGBa", "PA") or (mode in ("P", "RGB") and transparent):
        grey = luminance or (mode == "P" and _is_grey(picture))
        return _flatten(picture, mode="L" if grey else "RGB")
    if mode in ("1", "P"):
        return picture.convert("L" if mode == "1" or _is_grey(picture) else "RGB")
    return picture if mode in ("L", "RGB") else picture.convert("RGB")


def _flatten(picture: Image.Image, *, mode: str) -> Image.Image:
    """Return a transparent picture on white paper; on black if it is a white drawing."""
    if picture.mode in ("P", "PA"):  # a strip would not have the palette
        picture = picture.convert("RGBA")
    image = _put_on(picture, mode=mode, paper="white")
    contrast = _measure_contrast(image)
    if contrast < _BLANK:
        other = _put_on(picture, mode=mode, paper="black")
        if _measure_contrast(other) > max(_BLANK, _TELLING * contrast):
            return other
    return image


def _measure_contrast(image: Image.Image) -> float:
    """Return the largest standard deviation of the bands, in grey levels."""
    return max(ImageStat.Stat(image).stddev)


def _put_on(picture: Image.Image, *, mode: str, paper: str) -> Image.Image:
    image = Image.new(mode, picture.size)
    for top, strip in cut_strips(picture):
        layer = strip.convert("RGBA")
        ground = Image.new("RGBA", layer.size, paper)
        image.paste(Image.alpha_composite(ground, layer).convert(mode), (0, top))
    return image


def _is_grey(picture: Image.Image) -> bool:
    palette = np.asarray(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def is_white_zero(picture: Image.Image) -> bool:
    """Return whether black and white are exchanged in a way that Pillow leaves to its caller."""
    tags = getattr(picture, "tag_v2", None)
    if tags is None or not picture.mode.startswith("I;16"):
        return False
    return bool(tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO)
