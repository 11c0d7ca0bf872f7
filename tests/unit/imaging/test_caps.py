"""What costs more than it weighs is refused before it is decoded; what programs write is not."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.imaging import caps, headers, images
from tests.support.pictures import expensive

MOST_PIXELS = 100_000_000
# Of a processor; the worst of them takes 20 ms. Before, they took up to minutes.
SECONDS = 1.0


@pytest.mark.parametrize("name", expensive.ATTACKS)
def test_attacks_are_refused_at_once(name):
    content = expensive.ATTACKS[name]()
    assert len(content) < expensive.MOST_BYTES * 1.1
    for call in (
        lambda: images.decode(content, max_pixels=MOST_PIXELS),
        lambda: images.size(content),
    ):
        started = time.thread_time()
        with pytest.raises(errors.ImageRejected, match=r"limit is [\d,]+\.") as raised:
            call()
        assert time.thread_time() - started < SECONDS
        assert raised.value.reason == images.TOO_EXPENSIVE
        assert int(raised.value.metadata["number"]) > int(raised.value.metadata["limit"])


def noise(side: int, mode: str = "L") -> Image.Image:
    shape = (side, side) if mode == "L" else (side, side, 3)
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))


GOOD = {
    "JPEG": [{"quality": 90}, {"progressive": True}, {"exif": b"Exif\0\0II*\0" + bytes(60_000)}],
    "PNG": [{}, {"compress_level": 0}],
    "GIF": [{"comment": b"words " * 2000}],
    "WEBP": [{"quality": 80, "exif": b"Exif\0\0II*\0" + bytes(60_000)}],
    "BMP": [{}],
    "TIFF": [
        {"compression": "tiff_lzw"},
        {"compression": "jpeg"},
        {"compression": "packbits", "strip_size": 1},
        {"compression": "raw", "strip_size": 1},
    ],
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_programs_write_passes(kind, mode):
    for options in GOOD[kind]:
        out = io.BytesIO()
        noise(700, mode).save(out, kind, **options)
        content = out.getvalue()
        assert caps.check(headers.kind_of(content), content) >= 0
        assert images.decode(content, max_pixels=MOST_PIXELS).size == (700, 700)


def test_the_coefficients_of_a_jpeg_with_many_scans_are_counted():
    for progressive, extra in ((False, 0), (True, 2 * 3 * 700 * 700)):
        out = io.BytesIO()
        noise(700, "RGB").save(out, "JPEG", progressive=progressive)
        assert caps.check("JPEG", out.getvalue()) == extra


def test_the_larger_a_picture_the_fewer_scans_it_may_have():
    small = expensive.make_scans(40, side=640)
    assert images.decode(small, max_pixels=MOST_PIXELS).size == (640, 640)
    with pytest.raises(errors.ImageRejected, match="scans"):
        images.decode(expensive.make_scans(40, side=9500), max_pixels=MOST_PIXELS)


def test_a_tiff_whose_strips_are_words_is_damaged():
    content = expensive.make_tiff(strips=(273, 2, 4, b"abc\0"))
    with pytest.raises(errors.ImageRejected, match=r"damaged|truncated"):
        images.decode(content, max_pixels=MOST_PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WebP", "GIF", "BMP"])
def test_damage_is_left_to_the_decoder(kind):
    out = io.BytesIO()
    noise(64).convert("RGB").save(out, kind)
    content = out.getvalue()
    rng = np.random.default_rng(3)
    for _ in range(300):
        damaged = bytearray(content[: rng.integers(1, len(content) + 1)])
        for _ in range(rng.integers(0, 8)):
            damaged[rng.integers(min(200, len(damaged)))] = rng.integers(256)
        with contextlib.suppress(errors.ImageRejected):
            images.decode(bytes(damaged), max_pixels=MOST_PIXELS)


def test_what_lies_behind_the_end_of_a_png_is_not_counted():
    """Some disks and programs fill files up with zeros."""
    stream = io.BytesIO()
    Image.new("L", (8, 8), 120).save(stream, "PNG")
    filled = stream.getvalue() + bytes(4_000_000)
    assert images.decode(filled, max_pixels=MOST_PIXELS).size == (8, 8)
