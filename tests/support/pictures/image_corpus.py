"""Picture files of every kind that archives contain, and what they must decode to."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEIGHT = 96, 64


def gradient() -> np.ndarray:
    """A picture in which every corner differs: 64 x 96, from 20 to 239."""
    across = np.linspace(0, 180, WIDTH)[None, :]
    down = np.linspace(20, 59, HEIGHT)[:, None]
    return (across + down).round().astype(np.uint8)


def grey() -> Image.Image:
    return Image.fromarray(gradient())


def colour() -> Image.Image:
    values = gradient()
    return Image.fromarray(np.stack([values, values[::-1], values[:, ::-1]], axis=2))


def alpha() -> np.ndarray:
    """Transparent in the right half."""
    opacity = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    opacity[:, WIDTH // 2 :] = 0
    return opacity


def on_white(values: np.ndarray) -> np.ndarray:
    return np.where((alpha() > 0)[..., None] if values.ndim == 3 else alpha() > 0, values, 255)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(image: Image.Image, kind: str, orientation: int, **options: object) -> bytes:
    """Stored so that turning it as `orientation` says gives `image`."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if undo is None else image.transpose(undo)
    return saved(stored, kind, exif=exif, **options)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(values: np.ndarray, *, depth: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of any depth; Pillow writes few of them."""
    height, width = values.shape[:2]
    rows = values.astype(f">u{depth // 8}").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def png_with_late_exif() -> bytes:
    content = with_orientation(grey(), "PNG", 6)
    start = content.index(b"eXIf") - 4
    length = 12 + struct.unpack(">I", content[start : start + 4])[0]
    exif, rest = content[start : start + length], content[:start] + content[start + length :]
    end = rest.index(b"IEND") - 4
    return rest[:end] + exif + rest[end:]


def tiff16(*, white_is_zero: bool) -> bytes:
    values = gradient().astype(np.uint16) * 257
    image = Image.fromarray(65535 - values if white_is_zero else values)
    content = saved(image, "TIFF")
    if not white_is_zero:
        return content
    entry = struct.pack("<HHI", 262, 3, 1)
    place = content.index(entry) + len(entry)
    return content[:place] + struct.pack("<H", 0) + content[place + 2 :]


def pages() -> bytes:
    other = Image.new("RGB", (300, 300), "red")
    return saved(grey(), "TIFF", save_all=True, append_images=[other, other])


def mpo() -> bytes:
    return saved(colour(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])


def grey_palette() -> bytes:
    image = grey().quantize(256)
    palette = np.asarray(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    assert (palette == palette[:, :1]).all()
    return saved(image, "PNG")


def lab() -> bytes:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    return saved(ImageCms.applyTransform(colour(), transform), "TIFF")


def grey_with_hole() -> Image.Image:
    image = Image.fromarray(np.where(alpha() > 0, gradient(), 0).astype(np.uint8)).convert("P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    return image


def interlaced_png() -> bytes:
    """Adam7, which Pillow reads but does not write."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    data = b""
    for x, y, dx, dy in (*passes, (0, 1, 1, 2)):
        data += b"".join(
            b"\0" + row.tobytes() for row in np.ascontiguousarray(gradient()[y::dy, x::dx])
        )
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def big_endian_tiff() -> bytes:
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT}
    entries = b""
    for tag, number in {**tags, 279: WIDTH * HEIGHT}.items():
        entries += struct.pack(">HHII", tag, 4, 1, number)
    pixels = gradient().tobytes()
    count = len(entries) // 12
    start = 8 + len(pixels)
    return b"".join(
        (b"MM\0*", struct.pack(">I", start), pixels, struct.pack(">H", count), entries, b"\0" * 4)
    )


def big_endian_bigtiff(*, depth: int = 8, deflate: bool = False) -> bytes:
    """A BigTIFF in strips of 20 rows, whose tags have 64-bit values; Pillow writes none."""
    values = gradient().astype(f">u{depth // 8}") * (257 if depth > 8 else 1)
    strips = [values[top : top + 20].tobytes() for top in range(0, HEIGHT, 20)]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    content = bytearray(b"MM\0+" + struct.pack(">HHQ", 8, 0, 0))
    offsets = []
    for strip in strips:
        offsets.append(len(content))
        content += strip
    tags: list[tuple[int, int, tuple[int, ...]]] = [
        *((256, 16, (WIDTH,)), (257, 4, (HEIGHT,)), (258, 3, (depth,))),
        *((259, 3, (8 if deflate else 1,)), (262, 3, (1,)), (273, 16, tuple(offsets))),
        *((277, 3, (1,)), (278, 4, (20,)), (279, 16, tuple(map(len, strips)))),
    ]
    entries = b""
    for tag, kind, numbers in tags:
        data = struct.pack(f">{len(numbers)}{ {3: 'H', 4: 'L', 16: 'Q'}[kind] }", *numbers)
        if len(data) > 8:
            place = struct.pack(">Q", len(content))
            content += data
        else:
            place = data.ljust(8, b"\0")
        entries += struct.pack(">HHQ", tag, kind, len(numbers)) + place
    content[8:16] = struct.pack(">Q", len(content))
    return bytes(content) + struct.pack(">Q", len(tags)) + entries + b"\0" * 8


# name → (file, mode, expected pixels or None to compare the mean only, tolerance in grey levels)
GREY, COLOUR = gradient(), np.asarray(colour())
GOOD: dict[str, tuple[Callable[[], bytes], str, np.ndarray, float]] = {
    "jpeg-grey": (lambda: saved(grey(), "JPEG", quality=95), "L", GREY, 3),
    "jpeg-colour": (lambda: saved(colour(), "JPEG", quality=95), "RGB", COLOUR, 6),
    "jpeg-444": (lambda: saved(colour(), "JPEG", quality=95, subsampling=0), "RGB", COLOUR, 4),
    "jpeg-progressive": (
        lambda: saved(colour(), "JPEG", quality=95, progressive=True),
        "RGB",
        COLOUR,
        6,
    ),
    "jpeg-cmyk": (lambda: saved(colour().convert("CMYK"), "JPEG", quality=95), "RGB", COLOUR, 6),
    "jpeg-rgb-without-transform": (
        lambda: saved(colour(), "JPEG", quality=95, keep_rgb=True),
        "RGB",
        COLOUR,
        4,
    ),
    "jpeg-icc": (
        lambda: saved(
            colour(),
            "JPEG",
            quality=95,
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ),
        "RGB",
        COLOUR,
        6,
    ),
    "jpeg-trailing-bytes": (lambda: saved(grey(), "JPEG", quality=95) + b"\0" * 99, "L", GREY, 3),
    "jpeg-mpo": (mpo, "RGB", COLOUR, 12),
    **{
        f"jpeg-orientation-{number}": (
            lambda number=number: with_orientation(grey(), "JPEG", number, quality=95),
            "L",
            GREY,
            3,
        )
        for number in range(1, 9)
    },
    "png-grey": (lambda: saved(grey(), "PNG"), "L", GREY, 0),
    "png-colour": (lambda: saved(colour(), "PNG"), "RGB", COLOUR, 0),
    "png-16-bit-grey": (
        lambda: png(GREY.astype(np.uint16) * 257, depth=16, colour_type=0),
        "L",
        GREY,
        1,
    ),
    "png-16-bit-colour": (
        lambda: png(COLOUR.astype(np.uint16) * 257, depth=16, colour_type=2),
        "RGB",
        COLOUR,
        1,
    ),
    "png-palette-grey": (grey_palette, "L", GREY, 1),
    "png-palette-colour": (lambda: saved(colour().quantize(256), "PNG"), "RGB", COLOUR, 16),
    "png-one-bit": (
        lambda: saved(grey().point(lambda value: 255 * (value > 127), "1"), "PNG"),
        "L",
        np.where(GREY > 127, 255, 0),
        0,
    ),
    "png-alpha": (
        lambda: saved(Image.fromarray(np.dstack([COLOUR, alpha()])), "PNG"),
        "RGB",
        on_white(COLOUR),
        0,
    ),
    "png-grey-alpha": (
        lambda: saved(Image.merge("LA", (grey(), Image.fromarray(alpha()))), "PNG"),
        "L",
        on_white(GREY),
        0,
    ),
    "png-transparent-grey": (
        lambda: png(GREY, depth=8, colour_type=0, extra=chunk(b"tRNS", struct.pack(">H", 30))),
        "L",
        np.where(GREY == 30, 255, GREY),
        0,
    ),
    "png-palette-alpha": (
        lambda: saved(grey_with_hole(), "PNG", transparency=bytes([0] + [255] * 255)),
        "L",
        np.where(np.asarray(grey_with_hole()) == 0, 255, np.asarray(grey_with_hole())),
        0,
    ),
    "png-interlaced": (interlaced_png, "L", GREY, 0),
    "png-orientation-6": (lambda: with_orientation(grey(), "PNG", 6), "L", GREY, 0),
    "png-exif-after-the-pixels": (png_with_late_exif, "L", GREY, 0),
    "tiff-grey": (lambda: saved(grey(), "TIFF"), "L", GREY, 0),
    "tiff-lzw": (lambda: saved(colour(), "TIFF", compression="tiff_lzw"), "RGB", COLOUR, 0),
    "tiff-deflate": (
        lambda: saved(grey(), "TIFF", compression="tiff_adobe_deflate"),
        "L",
        GREY,
        0,
    ),
    "tiff-jpeg": (lambda: saved(colour(), "TIFF", compression="jpeg"), "RGB", COLOUR, 25),
    "tiff-fax": (
        lambda: saved(
            grey().point(lambda value: 255 * (value > 127), "1"), "TIFF", compression="group4"
        ),
        "L",
        np.where(GREY > 127, 255, 0),
        0,
    ),
    "tiff-16-bit": (lambda: tiff16(white_is_zero=False), "L", GREY, 1),
    "tiff-16-bit-white-is-zero": (lambda: tiff16(white_is_zero=True), "L", GREY, 1),
    "tiff-float": (
        lambda: saved(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"),
        "L",
        GREY,
        1,
    ),
    "tiff-32-bit": (
        lambda: saved(Image.fromarray(GREY.astype(np.int32) * 257), "TIFF"),
        "L",
        GREY,
        1,
    ),
    "tiff-cmyk": (lambda: saved(colour().convert("CMYK"), "TIFF"), "RGB", COLOUR, 2),
    "tiff-lab": (lab, "RGB", COLOUR, 16),
    "tiff-pages": (pages, "L", GREY, 0),
    "tiff-orientation-6": (lambda: with_orientation(grey(), "TIFF", 6), "L", GREY, 0),
    "tiff-orientation-8-lzw": (
        lambda: with_orientation(grey(), "TIFF", 8, compression="tiff_lzw"),
        "L",
        GREY,
        0,
    ),
    "tiff-big-endian": (big_endian_tiff, "L", GREY, 0),
    "tiff-bigtiff": (lambda: saved(grey(), "TIFF", big_tiff=True), "L", GREY, 0),
    "tiff-bigtiff-big-endian": (big_endian_bigtiff, "L", GREY, 0),
    "tiff-bigtiff-big-endian-16-bit": (lambda: big_endian_bigtiff(depth=16), "L", GREY, 1),
    "tiff-bigtiff-big-endian-deflate": (lambda: big_endian_bigtiff(deflate=True), "L", GREY, 0),
    "webp-lossy": (lambda: saved(colour(), "WEBP", quality=95), "RGB", COLOUR, 12),
    "webp-lossless": (lambda: saved(colour(), "WEBP", lossless=True), "RGB", COLOUR, 0),
    "webp-alpha": (
        lambda: saved(Image.fromarray(np.dstack([COLOUR, alpha()])), "WEBP", lossless=True),
        "RGB",
        on_white(COLOUR),
        0,
    ),
    "webp-orientation-3": (
        lambda: with_orientation(colour(), "WEBP", 3, lossless=True),
        "RGB",
        COLOUR,
        0,
    ),
    "gif": (lambda: saved(grey(), "GIF"), "L", GREY, 0),
    "gif-colour": (lambda: saved(colour().quantize(256), "GIF"), "RGB", COLOUR, 16),
    "bmp": (lambda: saved(colour(), "BMP"), "RGB", COLOUR, 0),
    "bmp-grey": (lambda: saved(grey(), "BMP"), "L", GREY, 0),
}
