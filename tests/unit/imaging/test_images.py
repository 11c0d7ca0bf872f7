"""Decoding: what archives contain comes out right, what is broken is refused with its reason.

Good files are `test_good[…]`, broken ones `test_broken[…]`.
"""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageFile

from halftone.core import errors
from halftone.imaging import images
from halftone.imaging.images import Region
from tests.support.pictures.image_corpus import (
    GOOD,
    HEIGHT,
    WIDTH,
    chunk,
    gradient,
    grey,
    saved,
    with_orientation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PIXELS = 100_000_000


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str):
    make, mode, expected, tolerance = GOOD[name]
    content = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = images.decode(content, max_pixels=MAX_PIXELS)
        assert images.size(content) == image.size == (WIDTH, HEIGHT)
    assert type(image) is Image.Image, "not a file with its buffer"
    assert image.mode == mode
    assert np.abs(np.asarray(image, dtype=int) - expected).max() <= tolerance
    luminance = images.decode(content, max_pixels=MAX_PIXELS, luminance=True)
    assert luminance.mode == "L"
    reference = np.asarray(image.convert("L"), dtype=int)
    assert np.abs(np.asarray(luminance, dtype=int) - reference).max() <= max(2, tolerance)


def cut(name: str, fraction: float) -> Callable[[], bytes]:
    def make() -> bytes:
        content = GOOD[name][0]()
        return content[: round(len(content) * fraction)]

    return make


def flipped(name: str, fraction: float) -> Callable[[], bytes]:
    def make() -> bytes:
        content = bytearray(GOOD[name][0]())
        place = round(len(content) * fraction)
        for offset in range(8):
            content[place + offset] ^= 0xFF
        return bytes(content)

    return make


def giant_png() -> bytes:
    """A header that promises 10^9 pixels, and a body that inflates to a thousandfold."""
    header = struct.pack(">IIBBBBB", 32_000, 32_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(32_001 * 1000), 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def giant_jpeg() -> bytes:
    content = bytearray(saved(grey(), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def giant_webp() -> bytes:
    content = bytearray(saved(grey().convert("RGB"), "WEBP"))
    assert content[12:16] == b"VP8 "
    content[26:30] = struct.pack("<HH", 16_383, 16_383)
    return bytes(content)


def giant_gif() -> bytes:
    content = bytearray(saved(grey(), "GIF"))
    content[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(content)


def giant_bmp() -> bytes:
    content = bytearray(saved(grey(), "BMP"))
    content[18:26] = struct.pack("<ii", 100_000, 100_000)
    return bytes(content)


def giant_tiff() -> bytes:
    content = saved(grey(), "TIFF")
    for tag, kind in ((256, 4), (257, 4)):
        place = content.index(struct.pack("<HHI", tag, kind, 1)) + 8
        content = content[:place] + struct.pack("<I", 1_000_000) + content[place + 4 :]
    return content


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), shade) for shade in ("white", "grey", "black")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def jpeg_with_bad_huffman_table() -> bytes:
    content = bytearray(GOOD["jpeg-colour"][0]())
    counts = content.index(b"\xff\xc4") + 5
    content[counts : counts + 16] = b"\xff" * 16
    return bytes(content)


HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
BROKEN: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "empty": (lambda: b"", {images.EMPTY}),
    "text": (lambda: b"Le Petit Parisien, 22 August 1914", {images.NOT_AN_IMAGE}),
    "html": (lambda: HTML, {images.NOT_AN_IMAGE}),
    "zeros": (lambda: bytes(4096), {images.NOT_AN_IMAGE}),
    "zip": (lambda: b"PK\3\4" + bytes(100), {images.NOT_AN_IMAGE}),
    "svg": (lambda: SVG, {images.UNSUPPORTED_FORMAT}),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3", {images.UNSUPPORTED_FORMAT}),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", {images.UNSUPPORTED_FORMAT}),
    "psd": (lambda: b"8BPS\0\1" + bytes(20), {images.UNSUPPORTED_FORMAT}),
    "ico": (lambda: saved(grey(), "ICO"), {images.UNSUPPORTED_FORMAT}),
    "netpbm": (lambda: saved(grey(), "PPM"), {images.UNSUPPORTED_FORMAT}),
    "jpeg-2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n", {images.TRUNCATED}),
    "first-bytes-jpeg": (lambda: b"\xff\xd8", {images.TRUNCATED}),
    "first-bytes-png": (lambda: b"\x89PNG", {images.TRUNCATED}),
    "header-only-jpeg": (lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0", {images.TRUNCATED}),
    "header-only-png": (lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {images.TRUNCATED}),
    "header-only-tiff": (lambda: b"II*\0\x08\0\0\0", {images.TRUNCATED}),
    "header-only-webp": (lambda: b"RIFF\x24\0\0\0WEBPVP8 ", {images.TRUNCATED}),
    "header-only-gif": (lambda: b"GIF89a\x60\0\x40\0\0\0\0", {images.TRUNCATED}),
    "header-only-bmp": (lambda: saved(grey(), "BMP")[:30], {images.TRUNCATED}),
    **{
        f"truncated-{name}-{percent}": (cut(name, percent / 100), {images.TRUNCATED})
        for name in (
            "jpeg-colour",
            "jpeg-progressive",
            "jpeg-cmyk",
            "png-grey",
            "png-16-bit-colour",
            "tiff-big-endian",
            "tiff-bigtiff-big-endian",
            "tiff-bigtiff-big-endian-deflate",
            "webp-lossy",
            "webp-lossless",
            "gif",
            "bmp",
        )
        for percent in (10, 50, 90)
    },
    **{
        f"truncated-{name}-{percent}": (cut(name, percent / 100), {images.TRUNCATED})
        for name in ("tiff-grey", "tiff-16-bit", "tiff-lzw", "tiff-bigtiff")
        for percent in (30, 60, 90)
    },
    # Pillow checks a PNG's sums; a JPEG or an uncompressed picture shows the damage instead.
    "flipped-png-header": (flipped("png-grey", 0.1), {images.CORRUPT, images.TOO_MANY_PIXELS}),
    "flipped-png-pixels": (flipped("png-colour", 0.5), {images.CORRUPT}),
    "flipped-tiff-directory": (flipped("tiff-deflate", 0.02), {images.CORRUPT, images.TRUNCATED}),
    "flipped-jpeg-tables": (jpeg_with_bad_huffman_table, {images.CORRUPT}),
    "flipped-webp": (flipped("webp-lossless", 0.3), {images.CORRUPT}),
    "giant-png": (giant_png, {images.TOO_MANY_PIXELS}),
    "giant-jpeg": (giant_jpeg, {images.TOO_MANY_PIXELS}),
    "giant-webp": (giant_webp, {images.TOO_MANY_PIXELS}),
    "giant-gif": (giant_gif, {images.TOO_MANY_PIXELS}),
    "giant-bmp": (giant_bmp, {images.TOO_MANY_PIXELS}),
    "giant-tiff": (giant_tiff, {images.TOO_MANY_PIXELS}),
    "animated-gif": (lambda: animated("GIF"), {images.ANIMATED}),
    "animated-webp": (lambda: animated("WEBP"), {images.ANIMATED}),
    "animated-png": (lambda: animated("PNG"), {images.ANIMATED}),
    "tiny": (lambda: saved(Image.new("L", (7, 200)), "PNG"), {images.TOO_SMALL}),
    "png-without-pixels": (
        lambda: (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
            + chunk(b"IEND", b"")
        ),
        {images.CORRUPT},
    ),
    "png-zero-width": (
        lambda: (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 64, 8, 0, 0, 0, 0))
            + chunk(b"IEND", b"")
        ),
        {images.CORRUPT, images.TOO_SMALL},
    ),
    "tiff-three-samples-of-16-bit-float": (
        lambda: GOOD["tiff-16-bit"][0]().replace(
            struct.pack("<HHIHH", 258, 3, 1, 16, 0), struct.pack("<HHIHH", 258, 3, 1, 13, 0)
        ),
        {images.UNSUPPORTED_FORMAT},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, capfd: pytest.CaptureFixture[str]):
    make, reasons = BROKEN[name]
    content = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(errors.ImageRejected) as rejection:
            images.decode(content, max_pixels=MAX_PIXELS, target=128, luminance=True)
    assert rejection.value.reason in reasons, rejection.value.message
    assert rejection.value.message.endswith(".")
    if "tiff" not in name:  # libtiff has its own way of complaining
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", GOOD)
def test_damage_anywhere_ends_in_a_picture_or_a_refusal(name: str):
    rng = np.random.default_rng(1)
    content = GOOD[name][0]()
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            del damaged[rng.integers(1, len(damaged)) :]
        try:
            image = images.decode(bytes(damaged), max_pixels=1_000_000)
        except errors.ImageRejected as rejection:
            assert rejection.reason != images.EMPTY  # noqa: PT017  # either way is right
        else:
            assert image.mode in ("L", "RGB")
        with contextlib.suppress(errors.ImageRejected):
            images.size(bytes(damaged))


def test_the_limit_of_pixels_is_the_callers():
    content = saved(Image.new("1", (10_000, 9_500)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own limit would warn of 95 megapixels
        assert images.decode(content, max_pixels=95_000_000).size == (10_000, 9_500)
        region = Region(0, 0, 10_000, 9_400)
        assert images.decode(content, max_pixels=95_000_000, region=region).size == (10_000, 9_400)
    with pytest.raises(errors.ImageRejected, match="95,000,000") as rejection:
        images.decode(content, max_pixels=94_999_999)
    assert rejection.value.metadata == {
        "width": "10000",
        "height": "9500",
        "setting": "HALFTONE_MAX_PIXELS",
    }


def test_the_limit_of_bytes():
    content = GOOD["png-grey"][0]()
    images.decode(content, max_pixels=MAX_PIXELS, max_bytes=len(content))
    with pytest.raises(errors.ImageRejected) as rejection:
        images.decode(content, max_pixels=MAX_PIXELS, max_bytes=len(content) - 1)
    assert rejection.value.reason == images.TOO_MANY_BYTES


def test_a_bomb_costs_no_memory():
    """A hundred gigapixels' worth of headers, with an address space of little more than Python."""
    script = (
        "import sys; from halftone.core import errors; from halftone.imaging import images\n"
        "from tests.unit.imaging.test_images import giant_gif, giant_png, giant_tiff, giant_webp\n"
        "from tests.support.system import peak_kib\n"
        "files = [make() for make in (giant_png, giant_webp, giant_tiff, giant_gif)]\n"
        "before = peak_kib()\n"
        "for content in files:\n"
        "    try: images.decode(content, max_pixels=100_000_000)\n"
        "    except errors.ImageRejected: pass\n"
        "    else: sys.exit(1)\n"
        "sys.exit(peak_kib() - before > 20_000)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("mode", ["I;16", "F", "RGBA"])
def test_converting_a_large_picture_takes_little_beside_it(mode: str):
    """20 megapixels, of which Pillow holds four bytes each, two of 16 bits, and one of grey."""
    script = (
        "import io, numpy, PIL.Image; from halftone.imaging import images\n"
        "from tests.support.system import peak_kib\n"
        "stream = io.BytesIO()\n"
        f"PIL.Image.new({mode!r}, (5000, 4000)).save(stream, 'TIFF', compression='packbits')\n"
        "before = peak_kib()\n"
        "images.decode(stream.getvalue(), max_pixels=100_000_000, luminance=True)\n"
        "print(peak_kib() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    assert int(done.stdout) < 120_000


def test_foreign_formats_are_named():
    with pytest.raises(errors.ImageRejected, match=r"PDF files are not supported") as refusal:
        images.decode(b"%PDF-1.7", max_pixels=MAX_PIXELS)
    assert "use JPEG" in refusal.value.message
    assert "`halftone import` reads their pages." in refusal.value.message


def test_reduced_decoding_keeps_at_least_the_target():
    picture = Image.fromarray(np.kron(gradient(), np.ones((20, 20), dtype=np.uint8)))
    content = saved(picture, "JPEG")  # 1920 x 1280
    for target, size in ((1280, 1), (641, 1), (640, 2), (320, 4), (161, 4), (160, 8), (10, 8)):
        image = images.decode(content, max_pixels=MAX_PIXELS, target=target)
        assert image.size == (1920 // size, 1280 // size)
        assert min(image.size) >= min(target, 1280)
    full = images.decode(content, max_pixels=MAX_PIXELS).resize((96, 64), Image.Resampling.BOX)
    small = images.decode(content, max_pixels=MAX_PIXELS, target=64)
    small = small.resize((96, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(full, dtype=int) - np.asarray(small, dtype=int)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", [None, 64])
def test_a_region_is_in_pixels_of_the_upright_original(orientation: int, target: int | None):
    values = np.kron(gradient(), np.ones((20, 20), dtype=np.uint8))
    content = with_orientation(Image.fromarray(values), "JPEG", orientation, quality=95)
    region = Region(1000, 600, 700, 400)
    part = images.decode(content, max_pixels=MAX_PIXELS, target=target, region=region)
    if target is None:
        assert part.size == (700, 400)
    else:
        # 400 // 64 = 6, so a quarter: the region keeps the resolution that the target needs,
        # although the whole picture could have been decoded at an eighth.
        assert part.size == (175, 100)
    expected = Image.fromarray(values[600:1000, 1000:1700]).resize((35, 20), Image.Resampling.BOX)
    found = part.resize((35, 20), Image.Resampling.BOX)
    assert np.abs(np.asarray(expected, dtype=int) - np.asarray(found, dtype=int)).max() <= 4


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (Region(0, 0, 97, 64), images.REGION_OUTSIDE),
        (Region(90, 0, 8, 8), images.REGION_OUTSIDE),
        (Region(-1, 0, 8, 8), images.REGION_OUTSIDE),
        (Region(0, 0, 0, 8), images.REGION_OUTSIDE),
        (Region(9, 9, -9, 8), images.REGION_OUTSIDE),
        (Region(0, 0, 7, 64), images.TOO_SMALL),
    ],
)
def test_a_region_that_cannot_be_used(region: Region, reason: str):
    content = GOOD["jpeg-grey"][0]()
    with pytest.raises(errors.ImageRejected) as rejection:
        images.decode(content, max_pixels=MAX_PIXELS, region=region, target=8)
    assert rejection.value.reason == reason
    assert rejection.value.field == "region"


def test_thumbnails():
    wide = Image.new("RGB", (2000, 500), "red")
    small = Image.open(io.BytesIO(images.thumbnail(wide)))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (512, 128))
    grey_one = Image.open(io.BytesIO(images.thumbnail(grey(), longest_side=48)))
    assert (grey_one.mode, grey_one.size) == ("L", (48, 32))
    assert Image.open(io.BytesIO(images.thumbnail(grey()))).size == (WIDTH, HEIGHT)
    sliver = Image.new("L", (5000, 3))
    assert Image.open(io.BytesIO(images.thumbnail(sliver))).size == (512, 1)


def test_pillows_own_limits_are_left_alone():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    images.decode(GOOD["png-grey"][0](), max_pixels=MAX_PIXELS)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_many_threads_at_once():
    corpus = [(make(), expected, tolerance) for make, _, expected, tolerance in GOOD.values()]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for index in rng.permutation(len(corpus)):
                content, expected, tolerance = corpus[index]
                image = np.asarray(images.decode(content, max_pixels=MAX_PIXELS), dtype=int)
                assert np.abs(image - expected).max() <= tolerance
        except BaseException as error:  # noqa: BLE001  # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_is_made_of_pixels_and_of_nothing_a_stranger_wrote(kind):
    picture = Image.new("RGB", (40, 30), "gray")
    picture.info = {
        "comment": b"<script>alert(1)</script>",
        "icc_profile": b"<script>alert(2)</script>",
        "xmp": b"<script>alert(3)</script>",
    }
    made = images.encode(picture, kind)
    assert b"<script>" not in made
    assert b"<script>" not in images.thumbnail(picture)
    assert picture.info, "the picture itself was changed"
