"""Every file of the corpus is read as it should be, or refused for the right reason.

The decoders run in the processes of a pool, as the embedder and the import have them run, and in
every size that these ask for.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageChops

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from tests.support.pictures.file_corpus import make_corpus

if TYPE_CHECKING:
    from tests.support.pictures.file_cases import Case

CORPUS = {case.name: case for case in make_corpus()}
TARGETS = (None, 100, 40)
LARGE = 10_000_000
"""Pixels of a picture that is decoded once only."""
CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.fixture(scope="module")
def pool():
    pool = Pool(
        limits=Limits(memory_bytes=384 << 20, seconds=10.0),
        workers=1,
        modules=("halftone.imaging.images",),
    )
    pool.start()
    yield pool
    pool.close()


def test_there_are_many_files():
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("name", CORPUS)
def test_each_file_has_its_answer(name: str, pool: Pool):
    case = CORPUS[name]
    content = case.make()
    large = case.pixels is not None and case.pixels.size > LARGE
    for target in TARGETS[:1] if large else TARGETS:
        for luminance in (True,) if large else (False, True):
            check(case, content, pool=pool, target=target, luminance=luminance)


def check(case: Case, content: bytes, *, pool: Pool, target: int | None, luminance: bool) -> None:
    arguments = {"max_pixels": read_max_pixels(), "target": target, "luminance": luminance}
    if case.pixels is None:
        with pytest.raises(errors.ImageRejected) as refusal:
            pool.run(images.decode, content, **arguments)
        assert refusal.value.reason in case.reasons, refusal.value.message
        assert case.says in refusal.value.message
        return
    image = pool.run(images.decode, content, **arguments)
    expected = Image.fromarray(np.rint(case.pixels).astype(np.uint8))
    if luminance:
        expected = expected.convert("L")
    assert image.mode == expected.mode
    if target is None:
        assert image.size == expected.size
    else:
        assert min(image.size) >= min(target, *expected.size)
    if image.size == expected.size:
        extremes = ImageChops.difference(image, expected).getextrema()
        assert np.max(extremes) <= max(case.tolerance, 2 * luminance)
    else:
        # A decoder halves by filters of its own, so only what is common to them is compared.
        small = [
            np.asarray(each.convert("L").resize((12, 9), Image.Resampling.BOX), dtype=int)
            for each in (image, expected)
        ]
        assert np.abs(small[0] - small[1]).max() <= 12


def test_refusals_say_what_to_do(pool: Pool):
    content = CORPUS["tiff, one bit, group4, 10,200 x 13,200"].make()
    with pytest.raises(errors.ImageRejected, match=r"HALFTONE_MAX_PIXELS sets it") as refusal:
        pool.run(images.decode, content, max_pixels=100_000_000)
    assert refusal.value.metadata["setting"] == "HALFTONE_MAX_PIXELS"


SHARED = {
    "decode/noeoi.jpg": (0, 255, 103.6),
    "decode/u10in16.tif": (1, 254, 103.5),
    "tiff-formats/8in16.tif": (10, 255, 107.6),
    "tiff-formats/12in16.tif": (10, 254, 107.2),
    "tiff-formats/16be_bigtiff.tif": (10, 255, 107.6),
}


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")
@pytest.mark.parametrize("name", SHARED)
def test_real_files(name: str):
    low, high, mean = SHARED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = images.decode((CASES / name).read_bytes(), max_pixels=read_max_pixels())
    values = np.asarray(image)
    assert (values.min(), values.max()) == (low, high)
    assert values.mean() == pytest.approx(mean, abs=0.5)


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")
def test_one_scan_in_8_and_in_16_bits_is_one_picture():
    """The three files of one picture differ by rounding alone."""
    pictures = [
        np.asarray(images.decode((CASES / name).read_bytes(), max_pixels=10**8), dtype=int)
        for name in ("tiff-formats/8in16.tif", "tiff-formats/16be_bigtiff.tif")
    ]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_hostile_jpeg_2000_stays_within_the_limits_of_its_process(pool: Pool):
    """Damage anywhere in the header ends in a picture or in a refusal, within memory and time."""
    whole = CORPUS["jpeg 2000, tiles"].make()
    rng = np.random.default_rng(int(os.environ.get("SEED", "1")))
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), rng.integers(1, 5)):
            damaged[place] = rng.integers(0, 256)
        try:
            image = pool.run(images.decode, bytes(damaged), max_pixels=read_max_pixels())
        except errors.ImageRejected as refusal:
            assert refusal.message.endswith(".")  # noqa: PT017 - either way is right
        else:
            assert image.mode in ("L", "RGB")
