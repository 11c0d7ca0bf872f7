"""Decode what archives contain, and refuse the rest with a reason. Pillow and NumPy only.

Every function may be called from several threads at once. Pillow's global limits are neither used
nor changed: sizes are checked against the caller's limit, from the header, before any pixel is
decoded.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from halftone.core import errors, wire
from halftone.imaging import caps, conversion, headers, needs, tiff
from halftone.imaging.conversion import Region as Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import ImageFile

    from halftone.imaging.needs import Reserve

FORMATS: Final = ("JPEG", "PNG", "TIFF", "WebP", "GIF", "BMP")
"""The formats that `decode` reads."""

MIN_SIDE: Final = 8
"""The smallest side in pixels. A smaller picture or region has no content to compare."""

EMPTY: Final = "EMPTY"
NOT_AN_IMAGE: Final = "NOT_AN_IMAGE"
UNSUPPORTED_FORMAT: Final = "UNSUPPORTED_FORMAT"
TRUNCATED: Final = "TRUNCATED"
CORRUPT: Final = "CORRUPT"
TOO_MANY_BYTES: Final = "TOO_MANY_BYTES"
TOO_MANY_PIXELS: Final = "TOO_MANY_PIXELS"
TOO_SMALL: Final = "TOO_SMALL"
ANIMATED: Final = "ANIMATED"
REGION_OUTSIDE: Final = "REGION_OUTSIDE"
TOO_EXPENSIVE: Final = needs.TOO_EXPENSIVE

# Pillow's factories are called directly: `Image.open` would try every plugin that anyone in the
# process has imported, and apply the process-wide pixel limit.
_FACTORIES: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
# What Pillow, the conversion and a copy take at a time.
_BYTES_PER_PIXEL: Final = 12


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
        target: The side in pixels that the caller will scale to. A JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size as long as the shorter side of what is returned stays at or
            above it, which is several times faster. None: full size.
        region: Return only this part, given in pixels of the picture in its full size, whatever
            `target` is.
        luminance: Return mode "L" also for a colour picture; a JPEG's colour planes are then not
            decoded at all.
        reserve: Waits for the memory that the picture needs, before any pixel is decoded. None:
            there is enough.

    Returns:
        An image of mode "L" (grey) or "RGB", 8 bit. 16-bit, 32-bit and float samples are scaled,
        not clipped; alpha is composited on white.

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
    kind = _kind(content)
    extra = caps.check(kind, content)
    picture = _open(content, kind=kind, max_pixels=max_pixels)
    orientation = _orientation(picture, kind=kind, content=content)
    full = _upright(picture.size, orientation)
    if min(full) < MIN_SIDE:
        raise errors.ImageRejected(
            f"The picture has {full[0]} x {full[1]} pixels; each side needs {MIN_SIDE}.",
            reason=TOO_SMALL,
        )
    if region is not None:
        _check_region(region, size=full)
    try:
        _check_animation(picture, kind=kind)
        scale = _reduce(picture, target=target, region=region, luminance=luminance)
        inverted = conversion.is_white_zero(picture)
        # The region of a reduced picture is what its pixels cover. It stays at or above `target`,
        # so the rounding is smaller than what scaling to `target` can show.
        part = None if region is None else _scale_region(region, full=full, scale=scale)
        memory = extra + _measure(picture, kind=kind)
        need = needs.Need(full[0] * full[1], memory)
        with contextlib.nullcontext() if reserve is None else reserve(need):
            picture.load()
            image = conversion.convert(
                picture, orientation, inverted=inverted, part=part, luminance=luminance
            )
            return Decoded(image, full)
    except errors.HalftoneError:
        raise
    except MemoryError:
        raise needs.too_much_memory() from None
    except Exception as error:  # Pillow's decoders raise anything on damaged files
        raise _rejection(error, kind=kind, content=content, picture=picture) from error


def check(content: bytes) -> None:
    """Refuse a file that costs more than a picture needs, by its structure alone.

    It takes microseconds for good pictures, so that who only hands a file on need not. Nothing else
    is looked at: a file that passes may still be no picture.

    Raises:
        errors.ImageRejected: The file has too many of something (`TOO_EXPENSIVE`).
    """
    caps.check(headers.kind_of(content), content)


def size(content: bytes) -> tuple[int, int]:
    """Return the width and height of the upright picture in pixels, from the header.

    Raises:
        errors.ImageRejected: The header cannot be read. A damaged body goes unnoticed.
    """
    kind = _kind(content)
    caps.check(kind, content)
    picture = _open(content, kind=kind, max_pixels=None)
    return _upright(picture.size, _orientation(picture, kind=kind, content=content))


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


def _kind(content: bytes) -> str:
    """Return the format by the file's first bytes."""
    if not content:
        raise errors.ImageRejected("The image file is empty.", reason=EMPTY)
    kind = headers.kind_of(content)
    if kind:
        return kind
    if headers.is_cut_signature(content):
        raise errors.ImageRejected("The image file ends within its header.", reason=TRUNCATED)
    foreign = headers.foreign_kind(content)
    if foreign:
        raise errors.ImageRejected(
            f"{foreign} files are not supported; use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
            reason=UNSUPPORTED_FORMAT,
            metadata={"format": foreign},
        )
    raise errors.ImageRejected("The file is not an image.", reason=NOT_AN_IMAGE)


def _open(content: bytes, *, kind: str, max_pixels: int | None) -> ImageFile.ImageFile:
    """Read the header of a picture without its pixels."""
    _silence_pillow()
    if kind == "WebP" and max_pixels is not None:
        # Its decoder allocates the canvas when it is created.
        canvas = headers.webp_canvas(content)
        if canvas is not None:
            _check_pixels(canvas, limit=max_pixels)
    try:
        if kind == "TIFF" and tiff.is_big_endian_big(content):
            content = tiff.make_classic(content)
        picture = _FACTORIES[kind](io.BytesIO(content))
    except MemoryError:
        raise needs.too_much_memory() from None
    except Exception as error:  # Pillow's parsers raise anything on damaged files
        raise _rejection(error, kind=kind, content=content, picture=None) from error
    if max_pixels is not None:
        _check_pixels(picture.size, limit=max_pixels)
    return picture


def _silence_pillow() -> None:
    # Pillow's warnings are either harmless here (odd metadata) or raised as a refusal. Adding the
    # filter again is idempotent, and it must be added again wherever warnings were reset;
    # `catch_warnings` is not thread-safe.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _check_pixels(dimensions: tuple[int, int], *, limit: int) -> None:
    width, height = dimensions
    if width * height > limit:
        raise errors.ImageRejected(
            f"The picture has {width} x {height} = {width * height:,} pixels; the limit is "
            f"{limit:,}.",
            reason=TOO_MANY_PIXELS,
            metadata={"width": str(width), "height": str(height)},
        )


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


def _check_animation(picture: ImageFile.ImageFile, *, kind: str) -> None:
    # The pages of a TIFF and the views of an MPO are frames to Pillow, too.
    if kind in ("PNG", "WebP", "GIF") and getattr(picture, "is_animated", False):
        raise errors.ImageRejected("The picture is animated.", reason=ANIMATED)


def _reduce(
    picture: ImageFile.ImageFile, *, target: int | None, region: Region | None, luminance: bool
) -> int:
    """Ask the JPEG decoder for the smallest size that serves; return the divisor it takes."""
    shorter = min(picture.size) if region is None else min(region.width, region.height)
    wanted = 1 if target is None else shorter // max(1, target)
    scale = max(step for step in (1, 2, 4, 8) if step <= max(1, wanted))
    width, height = picture.size
    reduced = (max(1, width // scale), max(1, height // scale))
    drafted = picture.draft("L" if luminance else None, reduced)
    return 1 if drafted is None else scale


def _measure(picture: ImageFile.ImageFile, *, kind: str) -> int:
    """Return the most bytes that decoding and converting a picture takes."""
    memory = _BYTES_PER_PIXEL * picture.width * picture.height
    if kind == "WebP":
        memory += 8 * picture.width * picture.height
    return memory


def _scale_region(region: Region, *, full: tuple[int, int], scale: int) -> Region:
    # libjpeg rounds sizes up.
    width, height = -(-full[0] // scale), -(-full[1] // scale)
    left, top = region.x // scale, region.y // scale
    right = min(width, -(-(region.x + region.width) // scale))
    bottom = min(height, -(-(region.y + region.height) // scale))
    return Region(left, top, right - left, bottom - top)


def _upright(dimensions: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = dimensions
    return (height, width) if orientation >= 5 else (width, height)  # noqa: PLR2004  # EXIF: 5 to 8 are turned by 90 degrees


def _orientation(picture: ImageFile.ImageFile, *, kind: str, content: bytes) -> int:
    """Return EXIF's orientation, 1 to 8, without decoding; upright if metadata are damaged."""
    try:
        if kind in ("GIF", "BMP", "TIFF"):
            return 1  # Pillow turns a TIFF itself, and its header's size is upright already
        if kind == "PNG":
            # Pillow would decode the whole picture to find metadata behind it.
            exif = Image.Exif()
            exif.load(headers.png_exif(content))
        else:
            exif = picture.getexif()
        value = exif.get(ExifTags.Base.Orientation, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004  # EXIF's range
    except Exception:  # noqa: BLE001  # Pillow's parsers raise anything on damaged metadata
        return 1


def _rejection(
    error: Exception, *, kind: str, content: bytes, picture: ImageFile.ImageFile | None
) -> errors.ImageRejected:
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return errors.ImageRejected("The picture has too many pixels.", reason=TOO_MANY_PIXELS)
    if kind == "TIFF" and "unknown pixel mode" in text:
        return errors.ImageRejected(
            "This kind of TIFF (its sample format or number of bits) is not supported.",
            reason=UNSUPPORTED_FORMAT,
            metadata={"format": kind},
        )
    if headers.ends_early(kind, content, parts=_tiff_parts(picture)):
        return errors.ImageRejected(
            f"The {kind} file is truncated: its end is missing.", reason=TRUNCATED
        )
    return errors.ImageRejected(f"The {kind} file is damaged.", reason=CORRUPT)


def _tiff_parts(picture: ImageFile.ImageFile | None) -> Iterator[tuple[int, int]]:
    base = ExifTags.Base
    for starts, lengths in (
        (base.StripOffsets, base.StripByteCounts),
        (base.TileOffsets, base.TileByteCounts),
    ):
        yield from zip(_numbers(picture, starts), _numbers(picture, lengths), strict=False)


def _numbers(picture: ImageFile.ImageFile | None, tag: int) -> tuple[int, ...]:
    """Return the numbers of a tag; none if it holds something else, as in a damaged file."""
    try:
        value = getattr(picture, "tag_v2", {}).get(tag, ())
    except Exception:  # noqa: BLE001 - Pillow's parsers raise anything on damaged metadata
        return ()
    values = value if isinstance(value, tuple) else (value,)
    return values if all(isinstance(each, int) for each in values) else ()
