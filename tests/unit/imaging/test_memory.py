"""Pictures that are decoded more than once take no more memory than they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.imaging import images
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from tests.support.pictures.file_cases import deepen
from tests.support.pictures.image_corpus import png
from tests.support.pictures.pool_tasks import compare_memory
from tests.support.pictures.scenes import scene


def draw(*, size: tuple[int, int], mode: str) -> Image.Image:
    return scene(1, size=(300, 200)).resize(size, Image.Resampling.NEAREST).convert(mode)


def make_dark_master() -> bytes:
    values = np.asarray(draw(size=(4000, 3000), mode="RGB"))
    return png(deepen(values, 12), depth=16, colour_type=2)


def make_jpeg_without_end(*, size: tuple[int, int], mode: str) -> bytes:
    stream = io.BytesIO()
    draw(size=size, mode=mode).save(stream, "JPEG", quality=70)
    return stream.getvalue()[:-2]


CASES = {
    "PNG, dark 16 bits, colours": (make_dark_master, None),
    "JPEG without its end, colours": (
        lambda: make_jpeg_without_end(size=(6000, 4000), mode="RGB"),
        256,
    ),
    "JPEG without its end, grey, large": (
        lambda: make_jpeg_without_end(size=(11000, 8600), mode="L"),
        256,
    ),
}


@pytest.mark.parametrize("luminance", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_picture_takes_no_more_than_it_says(name, luminance):
    make, side = CASES[name]
    # A process of its own: the most that it ever had is this picture's.
    pool = Pool(
        limits=Limits(memory_bytes=64 << 20, seconds=30.0),
        workers=1,
        modules=(compare_memory.__module__,),
    )
    pool.start()
    try:
        said, taken = pool.run(compare_memory, make(), side=side, luminance=luminance)
    finally:
        pool.close()
    # The kernel counts pages, and the allocator keeps some: one in fifty.
    assert taken <= 1.02 * said


@pytest.mark.parametrize(("sample", "is_read"), [(40_000, True), (4_000, False)])
def test_a_master_too_large_for_its_low_bytes_is_read_if_it_fills_its_bits(sample, is_read):
    size = (7800, 8000)
    values = np.broadcast_to(np.uint16(sample), (size[1], size[0], 3))
    content = png(values, depth=16, colour_type=2)
    if is_read:
        image = images.decode(content, max_pixels=size[0] * size[1], luminance=True)
        assert image.getpixel((0, 0)) == sample >> 8
        return
    with pytest.raises(errors.ImageRejected) as refusal:
        images.decode(content, max_pixels=size[0] * size[1], luminance=True)
    assert refusal.value.reason == images.TOO_EXPENSIVE
