"""Decode what archives contain, and refuse the rest with a reason. Pillow and NumPy only.

Every function may be called from several threads at once. Pillow's global limits are neither used
nor changed: sizes are checked against the caller's limit, from the header, before any pixel is
decoded.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

from halftone.core import errors, wire
from halftone.imaging import caps, headers
from halftone.imaging.formats import tiff_pages
from halftone.imaging.opening import FORMATS
from halftone.imaging.reasons import (
    ANIMATED,
    CORRUPT,
    EMPTY,
    NOT_AN_IMAGE,
    REGION_OUTSIDE,
    TOO_EXPENSIVE,
    TOO_MANY_BYTES,
    TOO_MANY_PIXELS,
    TOO_SMALL,
    TRUNCATED,
    UNSUPPORTED_FORMAT,
)
from halftone.imaging.sources import Source
from halftone.imaging.strips import Region

if TYPE_CHECKING:
    from halftone.imaging.needs import Reserve

__all__ = [
    "ANIMATED",
    "CORRUPT",
    "EMPTY",
    "FORMATS",
    "MIN_SIDE",
    "NOT_AN_IMAGE",
    "REGION_OUTSIDE",
    "TOO_EXPENSIVE",
    "TOO_MANY_BYTES",
    "TOO_MANY_PIXELS",
    "TOO_SMALL",
    "TRUNCATED",
    "UNSUPPORTED_FORMAT",
    "Decoded",
    "Region",
    "check",
    "decode",
    "decode_sized",
    "encode",
    "make_thumbnail",
    "size",
    "thumbnail",
]

MIN_SIDE: Final = 8
"""The smallest side in pixels. A smaller picture or region has no content to compare."""


def decode(
    content: bytes,
    *,
    max_pixels: int,
    max_bytes: int | None = None,
    target: int | None = None,
    region: Region | None = None,
    luminance: bool = False,
    reserve: Reserve | None = None,
) -> Image.Image:
    """Decode a picture, upright; the first page if it has several.

    Args:
        content: An encoded image, one of `FORMATS`.
        max_pixels: Larger pictures are refused by their header.
        max_bytes: Larger files are refused. None: no limit.
        target: The side in pixels that the caller will scale to. A JPEG or JPEG 2000 is then
            decoded at 1/2, 1/4 or 1/8 of its size (JPEG 2000: as far as it can be) as long as the
            shorter side of what is returned stays at or above it, which is several times faster.
            None: full size.
        region: Return only this part, given in pixels of the picture in its full size, whatever
            `target` is.
        luminance: Return mode "L" also for a colour picture; a JPEG's colour planes are then not
            decoded at all.
        reserve: Waits for the memory that the picture needs, before any pixel is decoded. None:
            there is enough.

    Returns:
        An image of mode "L" (grey) or "RGB", 8 bit. 16-bit, 32-bit and float samples are scaled,
        not clipped; alpha is composited on white, white drawings on black.

    Raises:
        errors.ImageRejected: The picture is refused; the `reason` is one of this module's
            constants.
    """
    return decode_sized(
        content,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        target=target,
        region=region,
        luminance=luminance,
        reserve=reserve,
    ).image


class Decoded(NamedTuple):
    """A decoded picture, and the width and height of the whole upright picture in full."""

    image: Image.Image
    full_size: tuple[int, int]


def decode_sized(
    content: bytes,
    *,
    max_pixels: int,
    max_bytes: int | None = None,
    target: int | None = None,
    region: Region | None = None,
    luminance: bool = False,
    reserve: Reserve | None = None,
) -> Decoded:
    """Decode a picture as `decode` does, and return its full size as well.

    Raises:
        errors.ImageRejected: As in `decode`.
    """
    if max_bytes is not None and len(content) > max_bytes:
        raise errors.ImageRejected(
            f"The image file {wire.describe_excess(len(content), limit=max_bytes)}.",
            reason=TOO_MANY_BYTES,
        )
    source = Source(content, max_pixels=max_pixels)
    full = source.full_size
    if min(full) < MIN_SIDE:
        raise errors.ImageRejected(
            f"The picture has {full[0]} x {full[1]} pixels; each side needs {MIN_SIDE}.",
            reason=TOO_SMALL,
        )
    if region is not None:
        _check_region(region, size=full)
    source.refuse_animation()
    shorter = min(full) if region is None else min(region.width, region.height)
    wanted = 1 if target is None else shorter // max(1, target)
    divisor = source.reduce(wanted, luminance=luminance)
    # The region of a reduced picture is what its pixels cover. It stays at or above `target`, so
    # the rounding is smaller than what scaling to `target` can show.
    part = None if region is None else _scale_region(region, full=full, scale=divisor)
    need = source.measure(luminance=luminance)
    with contextlib.nullcontext() if reserve is None else reserve(need):
        return Decoded(source.decode(part=part, luminance=luminance), full)


def check(content: bytes) -> None:
    """Refuse a file that costs more than a picture needs, by its structure alone.

    It takes microseconds for good pictures, so that who only hands a file on need not. Nothing else
    is looked at: a file that passes may still be no picture.

    Raises:
        errors.ImageRejected: The file has too many of something (`TOO_EXPENSIVE`).
    """
    kind = headers.kind_of(content)
    caps.check(kind, tiff_pages.choose(content) if kind == "TIFF" else content)


def size(content: bytes) -> tuple[int, int]:
    """Return the width and height of the upright picture in pixels, from the header.

    Raises:
        errors.ImageRejected: The header cannot be read. A damaged body goes unnoticed.
    """
    return Source(content, max_pixels=None).full_size


def make_thumbnail(
    content: bytes,
    *,
    max_pixels: int,
    region: Region | None = None,
    longest_side: int = 512,
    reserve: Reserve | None = None,
) -> bytes:
    """Return a JPEG of a picture or of a part of it, at most `longest_side` pixels a side.

    Raises:
        errors.ImageRejected: As in `decode`.
    """
    image = decode(
        content,
        max_pixels=max_pixels,
        target=longest_side if region is None else None,
        region=region,
        reserve=reserve,
    )
    return thumbnail(image, longest_side=longest_side)


def thumbnail(image: Image.Image, *, longest_side: int = 512, quality: int = 85) -> bytes:
    """Return a JPEG of the picture, scaled down so that neither side exceeds the limit.

    Args:
        image: A picture of mode "L", which stays grey, or "RGB".
        longest_side: The limit in pixels. A smaller picture is not enlarged.
        quality: The JPEG quality, 1 to 95.
    """
    scale = min(1.0, longest_side / max(image.size))
    target = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if target != image.size:
        image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return encode(image, "JPEG", quality=quality, optimize=True)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a file of a picture's pixels, and of nothing else that the file they are from held.

    Pillow would hand on a stranger's comments and profiles.

    Args:
        image: The picture.
        kind: The format, as Pillow names it.
        options: As the format takes them.
    """
    bare = image.copy()
    bare.info.clear()
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()


def _check_region(region: Region, *, size: tuple[int, int]) -> None:
    x, y, width, height = region
    inside = x >= 0 and y >= 0 and x + width <= size[0] and y + height <= size[1]
    if width < 1 or height < 1 or not inside:
        raise errors.ImageRejected(
            f"The region x={x}, y={y}, width={width}, height={height} does not lie inside the "
            f"picture of {size[0]} x {size[1]} pixels.",
            field="region",
            reason=REGION_OUTSIDE,
        )
    if min(width, height) < MIN_SIDE:
        raise errors.ImageRejected(
            f"The region has {width} x {height} pixels; each side needs {MIN_SIDE}.",
            field="region",
            reason=TOO_SMALL,
        )


def _scale_region(region: Region, *, full: tuple[int, int], scale: int) -> Region:
    # libjpeg rounds sizes up; OpenJPEG does, or Pillow to the nearest number.
    width, height = -(-full[0] // scale), -(-full[1] // scale)
    left, top = region.x // scale, region.y // scale
    right = min(width, -(-(region.x + region.width) // scale))
    bottom = min(height, -(-(region.y + region.height) // scale))
    return Region(left, top, right - left, bottom - top)
