"""Opens the header of a picture by Pillow, and says why a file cannot be read."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from halftone.core import errors
from halftone.imaging import headers, needs, reasons
from halftone.imaging.formats import heif, jpeg2000, tiff, tiff_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS: Final = ("JPEG", "PNG", "TIFF", "JPEG 2000", "WebP", "AVIF", "GIF", "BMP")
"""The formats that are read, AVIF where Pillow was built with it. HEIC is read where the package
`pillow-heif` is installed."""
SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".webp", ".avif"),
        *(".heic", ".gif", ".bmp"),
    )
)
"""How the names of such files usually end, in small letters."""
SETTING: Final = "HALFTONE_MAX_PIXELS"
"""The setting that allows larger pictures, in every service and command."""
_MEGA: Final = 1_000_000
_WIDE, _SEPARATE = 16, 2

# Pillow's factories are called directly: `Image.open` would try every plugin that anyone in the
# process has imported, and apply the process-wide pixel limit.
_FACTORIES: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    jpeg2000.KIND: Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": lambda stream: heif.open_file("AVIF", stream),
    "HEIC": lambda stream: heif.open_file("HEIC", stream),
}


def find_kind(content: bytes) -> str:
    """Return the format by the file's first bytes.

    Raises:
        errors.ImageRejected: It is none that is read here.
    """
    if not content:
        raise errors.ImageRejected("The image file is empty.", reason=reasons.EMPTY)
    kind = headers.kind_of(content)
    if kind in ("AVIF", "HEIC") and not heif.can_read(kind):
        how = "the package pillow-heif" if kind == "HEIC" else "a Pillow that reads them"
        raise errors.ImageRejected(
            f"{kind} files are read where {how} is installed; use JPEG, PNG or TIFF.",
            reason=reasons.UNSUPPORTED_FORMAT,
            metadata={"format": kind},
        )
    if kind:
        return kind
    if headers.is_cut_signature(content):
        raise errors.ImageRejected(
            "The image file ends within its header.", reason=reasons.TRUNCATED
        )
    foreign = headers.foreign_kind(content)
    if foreign:
        hint = " `halftone import` reads their pages." if foreign == "PDF" else ""
        raise errors.ImageRejected(
            f"{foreign} files are not supported; use {', '.join(FORMATS[:-1])} or "
            f"{FORMATS[-1]}.{hint}",
            reason=reasons.UNSUPPORTED_FORMAT,
            metadata={"format": foreign},
        )
    raise errors.ImageRejected("The file is not an image.", reason=reasons.NOT_AN_IMAGE)


def open_picture(content: bytes, *, kind: str, max_pixels: int | None) -> ImageFile.ImageFile:
    """Read the header of a picture without its pixels.

    Raises:
        errors.ImageRejected: It cannot be read, or has too many pixels.
    """
    _silence_pillow()
    if max_pixels is not None:
        # These decoders allocate the canvas when they are created.
        canvas = None
        if kind == "WebP":
            canvas = headers.webp_canvas(content)
        elif kind in ("AVIF", "HEIC"):
            canvas = heif.find_size(content)
        if canvas is not None:
            check_pixels(canvas, limit=max_pixels)
    try:
        if kind == "TIFF" and tiff.is_big_endian_big(content):
            content = tiff.make_classic(content)
        picture = _FACTORIES[kind](io.BytesIO(content))
        if kind == "TIFF":
            _join_planes(picture)
    except MemoryError:
        raise needs.too_much_memory() from None
    except Exception as error:  # Pillow's parsers raise anything on damaged files
        raise explain(error, kind=kind, content=content) from error
    if max_pixels is not None:
        check_pixels(picture.size, limit=max_pixels)
    return picture


def open_parts(
    content: bytes, *, compression: int, max_pixels: int | None
) -> tiff_parts.PartsFile | None:
    """Read the header of a TIFF whose strips or tiles are files; None for any other TIFF.

    Raises:
        errors.ImageRejected: It cannot be read, or has too many pixels.
    """
    if not tiff_parts.is_of_files(compression):
        tiff_parts.refuse_unknown(compression)
        return None
    try:
        parts = tiff_parts.PartsFile(content)
    except errors.HalftoneError:
        raise
    except Exception as error:  # the directory may be damaged in any way
        raise explain(error, kind="TIFF", content=content) from error
    if max_pixels is not None:
        check_pixels(parts.size, limit=max_pixels)
    return parts


def check_pixels(dimensions: tuple[int, int], *, limit: int) -> None:
    """Refuse a picture that is too large.

    Raises:
        errors.ImageRejected: It has more than `limit` pixels (`TOO_MANY_PIXELS`).
    """
    width, height = dimensions
    if width * height > limit:
        raise errors.ImageRejected(
            f"The picture has {width} x {height} = {width * height:,} pixels; the limit is "
            f"{limit:,}. {SETTING} sets it.",
            reason=reasons.TOO_MANY_PIXELS,
            metadata={"width": str(width), "height": str(height), "setting": SETTING},
        )


def check_memory(size: int, *, limit: int) -> None:
    """Refuse a picture that takes too much memory to decode.

    Args:
        size: The bytes that it takes.
        limit: The most pixels that a picture may have.

    Raises:
        errors.ImageRejected: It takes more than pictures of so many pixels (`TOO_EXPENSIVE`).
    """
    most = needs.find_most_bytes(limit)
    if size > most:
        raise errors.ImageRejected(
            f"Decoding the picture takes {-(-size // _MEGA):,} MB of memory; the limit is "
            f"{most // _MEGA:,} MB. {SETTING} sets it: {needs.BYTES_PER_PIXEL} bytes a pixel.",
            reason=reasons.TOO_EXPENSIVE,
            metadata={"bytes": str(size), "limit": str(most), "setting": SETTING},
        )


def explain(
    error: Exception,
    *,
    kind: str,
    content: bytes,
    picture: ImageFile.ImageFile | None = None,
    parts: list[tuple[int, int]] | None = None,
) -> errors.ImageRejected:
    """Return why a file cannot be decoded.

    Args:
        error: What the decoder raised.
        kind: The format.
        content: The file's bytes.
        picture: Its header, if that could be read.
        parts: Offset and length of a TIFF's strips or tiles, if they are known.
    """
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        # Pillow has limits of its own for WebP and GIF, for the whole process.
        return errors.ImageRejected(
            f"The picture has more pixels than Pillow reads from a {kind} file "
            f"({2 * (Image.MAX_IMAGE_PIXELS or 0):,}); save it as JPEG 2000, PNG or TIFF.",
            reason=reasons.TOO_MANY_PIXELS,
        )
    if kind == "TIFF" and "unknown pixel mode" in text:
        return tiff_parts.make_unsupported("its sample format or number of bits")
    places = _tiff_parts(picture) if parts is None else parts
    if headers.ends_early(kind, content, parts=places):
        return errors.ImageRejected(
            f"The {kind} file is truncated: its end is missing.", reason=reasons.TRUNCATED
        )
    return errors.ImageRejected(f"The {kind} file is damaged.", reason=reasons.CORRUPT)


def _join_planes(picture: ImageFile.ImageFile) -> None:
    """Have libtiff read a TIFF with each colour of 16 bits in strips of its own.

    Pillow 13 reads the strips of such a file itself if they are not compressed, as if they had 8
    bits.
    """
    tags = picture.tag_v2  # type: ignore[attr-defined]  # a TIFF has it
    deep = max(_numbers(picture, ExifTags.Base.BitsPerSample), default=1) == _WIDE
    separate = _numbers(picture, ExifTags.Base.PlanarConfiguration) == (_SEPARATE,)
    if deep and separate and picture.tile and picture.tile[0].codec_name == "raw":
        size = picture._tile_size  # type: ignore[attr-defined]  # noqa: SLF001 - before it is turned
        args = (f"{picture.mode};16N", False, tags.offset)
        picture.tile = [ImageFile._Tile("libtiff", (0, 0, *size), 0, args)]  # noqa: SLF001 - Pillow's way
        picture.use_load_libtiff = True  # type: ignore[attr-defined]


def _silence_pillow() -> None:
    # Pillow's warnings are either harmless here (odd metadata) or raised as a refusal. Adding the
    # filter again is idempotent, and it must be added again wherever warnings were reset;
    # `catch_warnings` is not thread-safe.
    warnings.filterwarnings("ignore", module=r"PIL\.")


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
