"""Cut a part out of a picture, scale, turn and encode it: what one looks at closely.

`plan` checks what is wanted against the size of a picture, and `render` makes it from the pixels.
The steps and their order are those of the IIIF Image API 3.0: region, size, rotation (mirror
first), quality, format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image

from halftone.core import errors
from halftone.imaging import images
from halftone.imaging.images import REGION_OUTSIDE, TOO_MANY_PIXELS, Region

FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp"}
"""The formats that `render` writes, and their media types."""
QUALITIES: Final = ("default", "color", "gray", "bitonal")
MAX_SIDE: Final = 16_383
"""The longest side of an answer in pixels, which is the most that WebP can hold."""
UPSCALED: Final = "UPSCALED"

_TURNS: Final = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
_STEPS: Final = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A part of a picture, and the size that it will have.

    Attributes:
        region: The part, in pixels of the upright picture.
        size: Its width and height in the answer, before it is turned.
    """

    region: Region
    size: tuple[int, int]

    @property
    def step(self) -> int:
        """The divisor by which the picture may be reduced before the part is cut out.

        It is 1, 2, 4 or 8: a JPEG decoder makes these sizes several times faster, and the reduced
        part still has the pixels of the answer.
        """
        wanted = min(self.region.width // self.size[0], self.region.height // self.size[1])
        return next((step for step in _STEPS if step <= wanted), 1)


def plan(
    full: tuple[int, int],
    *,
    max_pixels: int,
    region: tuple[float, float, float, float] | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: bool = False,
    upscale: bool = False,
) -> Cut:
    """Return the part of a picture that is wanted, and its size in the answer.

    Args:
        full: The width and height of the upright picture in pixels.
        max_pixels: The most pixels of an answer.
        region: The left and top edge, the width and the height of the part in pixels; None: all of
            the picture. What lies outside of the picture is left out.
        width: The width of the part in the answer. Without it, it follows from the height.
        height: The height of the part in the answer. Without it, it follows from the width. Without
            both the part has its own size, or the largest one that is allowed.
        fit: Take the largest size within width and height that keeps the proportions.
        upscale: Whether the size may be larger than the part has pixels.

    Raises:
        errors.InvalidArgument: The part lies outside (`REGION_OUTSIDE`), a size is too large
            (`TOO_MANY_PIXELS`) or larger than the part (`UPSCALED`), or a number makes no sense.
    """
    part = Region(0, 0, *full) if region is None else _clip(region, full=full)
    for field, value in (("width", width), ("height", height)):
        if value is not None and value < 1:
            raise errors.InvalidArgument(f"{field}: {value}; it must be at least 1.", field=field)
    own = (part.width, part.height)
    if width is None and height is None:
        size = _scale(own, by=1.0)
        if fit:
            raise errors.InvalidArgument("fit: give a width or a height to fit in.", field="fit")
        if not _is_allowed(size, max_pixels=max_pixels):
            size = _largest(own, max_pixels=max_pixels)
    elif width is not None and height is not None and not fit:
        size = (width, height)
    else:
        by = min(wanted / had for wanted, had in zip((width, height), own, strict=True) if wanted)
        size = _scale(own, by=min(by, 1.0) if fit and not upscale else by)
        # The side that was asked for is exact, whatever the rounding.
        if not fit:
            size = (width or size[0], height or size[1])
    if not upscale and (size[0] > own[0] or size[1] > own[1]):
        raise errors.InvalidArgument(
            f"A size of {size[0]} x {size[1]} is larger than the part, which has {own[0]} x "
            f"{own[1]} pixels; `upscale` allows it.",
            field="width" if size[0] > own[0] else "height",
            reason=UPSCALED,
        )
    if not _is_allowed(size, max_pixels=max_pixels):
        raise errors.InvalidArgument(
            f"A size of {size[0]} x {size[1]} is too large; the limit is {max_pixels:,} pixels and "
            f"{MAX_SIDE:,} a side.",
            field="width",
            reason=TOO_MANY_PIXELS,
            metadata={"max_pixels": str(max_pixels), "max_side": str(MAX_SIDE)},
        )
    return Cut(region=part, size=size)


def render(
    image: Image.Image,
    cut: Cut,
    *,
    full: tuple[int, int],
    mirrored: bool = False,
    rotation: int = 0,
    quality: str = "default",
    format: str = "JPEG",  # noqa: A002  # IIIF's name
    compression_quality: int = 85,
    rights: str = "",
) -> tuple[bytes, tuple[int, int]]:
    """Return an encoded part of a picture, and its width and height.

    Args:
        image: The upright picture of mode "L" or "RGB", in its full size or reduced by `cut.step`.
        cut: What to cut out.
        full: The width and height of the upright picture in its full size.
        mirrored: Mirror left to right.
        rotation: Then turn clockwise by 0, 90, 180 or 270 degrees.
        quality: One of `QUALITIES`.
        format: One of `FORMATS`.
        compression_quality: How well JPEG and WebP keep details, 1 to 95.
        rights: Goes into the file as its EXIF Copyright.

    Raises:
        errors.InvalidArgument: The rotation, the quality or the format is not one of those named.
    """
    if rotation not in {0, *_TURNS}:
        raise errors.InvalidArgument(
            f"rotation: {rotation}; it must be 0, 90, 180 or 270.", field="rotation"
        )
    if quality not in QUALITIES or format not in FORMATS or not 1 <= compression_quality <= 95:  # noqa: PLR2004  # beyond 95, JPEG grows and shows no more
        raise errors.InvalidArgument(
            f"{quality}.{format} at {compression_quality}: the quality must be one of "
            f"{', '.join(QUALITIES)}, the format one of {', '.join(FORMATS)}, and the compression "
            "quality 1 to 95.",
            field="quality",
        )
    part = _cut_out(image, cut, full=full)
    if mirrored:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rotation:
        part = part.transpose(_TURNS[rotation])
    if quality in ("gray", "bitonal"):
        part = part.convert("L")
    if quality == "color":
        part = part.convert("RGB")
    if quality == "bitonal":
        # JPEG and WebP hold no single bits.
        part = part.point(_THRESHOLD, mode="1" if format == "PNG" else "L")
    exif = Image.Exif()
    if rights:
        exif[ExifTags.Base.Copyright] = rights.encode()
    options = {} if format == "PNG" else {"quality": compression_quality}
    return images.encode(part, format, exif=exif, **options), part.size


_THRESHOLD: Final = [0] * 128 + [255] * 128


def _cut_out(image: Image.Image, cut: Cut, *, full: tuple[int, int]) -> Image.Image:
    x, y, width, height = cut.region
    # A reduced picture's sides are rounded up.
    sides = max(full), max(image.size)
    step = next((each for each in (1, 2, 4, 8) if -(-sides[0] // each) == sides[1]), 1)
    box = (
        x / step,
        y / step,
        min((x + width) / step, image.width),
        min((y + height) / step, image.height),
    )
    if step == 1 and cut.size == (width, height):
        return image.crop((x, y, x + width, y + height))
    return image.resize(cut.size, Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)


def _clip(region: tuple[float, float, float, float], *, full: tuple[int, int]) -> Region:
    """Return what lies inside of the picture, in whole pixels."""
    x, y, width, height = region
    if not (width > 0 and height > 0 and x >= 0 and y >= 0):
        raise errors.InvalidArgument(
            "region: x and y must be at least 0, width and height more than 0.", field="region"
        )
    left, top = round(min(x, full[0])), round(min(y, full[1]))
    right, bottom = round(min(x + width, full[0])), round(min(y + height, full[1]))
    if left >= full[0] or top >= full[1]:
        raise errors.InvalidArgument(
            f"region: it lies outside of the picture, which has {full[0]} x {full[1]} pixels.",
            field="region",
            reason=REGION_OUTSIDE,
        )
    return Region(left, top, max(1, right - left), max(1, bottom - top))


def _scale(size: tuple[int, int], *, by: float) -> tuple[int, int]:
    return max(1, round(size[0] * by)), max(1, round(size[1] * by))


def _is_allowed(size: tuple[int, int], *, max_pixels: int) -> bool:
    return size[0] * size[1] <= max_pixels and max(size) <= MAX_SIDE


def _largest(size: tuple[int, int], *, max_pixels: int) -> tuple[int, int]:
    width, height = size
    by = min((max_pixels / (width * height)) ** 0.5, MAX_SIDE / max(size))
    return max(1, int(width * by)), max(1, int(height * by))
