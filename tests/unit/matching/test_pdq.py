"""Perceptual hashes in the eight orientations."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftone.imaging.luminance import luminance, shrink
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.pdq import pdq, pdq_orientations, to_vector

PUBLISHED = Path(__file__).parent / "threatexchange"


def test_each_orientation_has_the_hash_of_the_picture_laid_so(picture):
    image = picture(1)
    hashes = pdq_orientations(image)
    assert tuple(hashes) == orientations(mirrored=True, rotated=True)
    for orientation, bits in hashes.items():
        turned = Image.fromarray(orientation.apply(np.asarray(image)))
        assert (bits != pdq(turned)).sum() == 0
    assert (hashes[UPRIGHT] == pdq(image)).all()


def test_the_cosine_of_vectors_is_the_distance_of_bits(picture):
    first, second = pdq(picture(1)), pdq(picture(2))
    assert first.dtype == np.uint8
    assert set(np.unique(first)) <= {0, 1}
    distance = int((first != second).sum())
    vectors = to_vector(first), to_vector(second)
    assert vectors[0].dtype == np.float32
    assert vectors[0] @ vectors[1] / 256 == pytest.approx(1 - 2 * distance / 256)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5, 5), (200, 100), (512, 400)])
@pytest.mark.parametrize("colour", ["black", "grey", "white"])
def test_plain_and_tiny_pictures_have_a_hash_without_bits(size, colour):
    hashes = pdq_orientations(Image.new("RGB", size, colour))
    assert len(hashes) == 8
    for bits in (pdq(Image.new("RGB", size, colour)), *hashes.values()):
        assert bits.shape == (256,)
        assert not bits.any()


def to_hex(bits):
    """The hash as ThreatExchange writes it."""
    return np.packbits(bits).tobytes().hex()


def read_published_hashes():
    with (PUBLISHED / "hashes.csv").open() as file:
        return [(row["FilePath"], row["Hash"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "expected"), read_published_hashes())
def test_the_hashes_are_those_that_meta_publishes(name, expected):
    """Bit for bit where neither shrinks the picture; else PDQ itself asks for 10 bits."""
    with Image.open(PUBLISHED / name) as image:
        assert to_hex(pdq(image)) == expected


def draw(width, height, *, seed):
    """Grey shapes on a slope, by whole numbers alone, so that they never change."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    grey = (x * random.randint(1, 90)) // width + (y * random.randint(1, 90)) // height
    for _ in range(12):
        left, top = random.randint(0, width), random.randint(0, height)
        radius = random.randint(2, max(3, min(width, height) // 3))
        grey += ((x - left) ** 2 + (y - top) ** 2 < radius**2) * random.randint(-60, 60)
    return Image.fromarray(np.clip(grey + random.randint(0, 9, grey.shape), 0, 255).astype("u1"))


DRAWN = {
    (5, 5): (
        "61d8398c9e27c673c6f1318cc7f0ce733b0e398e61d8398c9e27c671c6f1318c",
        "cb729e27348d61d8348d61d8349d9e27cb729e27cb729e37348d61d8348d61d8",
        "6e5b83e091a46e5b398cc673695a398ec67191a46e5bc3e091a46e5b398ec673",
    ),
    (64, 64): (
        "d56ae47a0371dd89d4ae0074bf204c1f2b7413ffdd8b0454fb7220894c857fe6",
        "f639dabdc1cea1cb2d2ae606fec6fa207a716b6841c189f00594368e564fb869",
        "b97e72239ee9919566960ce9e362a66432f99b349c9c6b1b9526225ca6cb62d4",
    ),
    (100, 37): (
        "e41b215b6ea939e68d6841ecce3340cf7e9181d6b45acab1105fca255be0f76c",
        "e95ab4aa3e9552a95bc1a5d5597ac94a5aa554ba9aa9a551583e5a5aa785d4a4",
        "4be72b42b53a395bb6850abf6969919595cb391a30336b63c6a7c696494af1c2",
    ),
    (37, 300): (
        "8aabc92be4561bdc51697484b2d4e62bce232adceb0254ec11dcf30554dfdba2",
        "cc33738c847331a895a38523b194ce336b9c1af50e6d5a949822db8eccf6f56b",
        "d89dae0c2762999b6c742333e89e08116766981fcee5b66c988f4fa1313375ce",
    ),
    (333, 501): (
        "8a69659682ed57a9ecc5cd022ecf4df6f208d0205d91b36c6f59b85e27304c9f",
        "25e771b1c48f3306c958274ad87652b998af25c1b94e7a5406c8f33784e9fa37",
        "4adafe0e82b53b0a3938921bfe7825a5008fdb7a0007a491f9f90907b6d6fee6",
    ),
    (512, 512): (
        "9cbec69225a535b34d73653477b66904ece6a462e735c9923659aca669b42c89",
        "9c27acce69da31c2f6c9a29d4b0c965c4d3179619161cc9697a66643db5b899d",
        "68c2f2e49db96ad162a693a24c99b6e01536adada4dd8ba76cbf835461446d27",
    ),
}


@pytest.mark.parametrize("size", DRAWN)
def test_the_hashes_of_drawn_pictures_are_those_of_the_reference(size):
    for seed, expected in enumerate(DRAWN[size]):
        assert to_hex(pdq(draw(*size, seed=seed))) == expected


@pytest.fixture(scope="module")
def reference():
    """The hash by Meta's own code, of what we hash."""
    pdqhash = pytest.importorskip("pdqhash", reason="Meta's code; `make reference` installs it")

    def compute(image):
        grey = shrink(luminance(image), 512)
        bits, _ = pdqhash.compute(np.repeat(grey[:, :, None], 3, axis=2))
        return bits

    return compute


def test_the_hashes_written_down_here_are_the_reference_s(reference):
    for size, hashes in DRAWN.items():
        drawn = [to_hex(reference(draw(*size, seed=seed))) for seed in range(len(hashes))]
        assert drawn == list(hashes)


@pytest.mark.parametrize("size", [(5, 5), (64, 64), (100, 37), (333, 501), (512, 512), (900, 1400)])
def test_the_bits_are_those_of_the_reference(picture, reference, size):
    for seed in range(4):
        image = picture(seed).resize(size)
        np.testing.assert_array_equal(pdq(image), reference(image))


def test_the_bits_of_noise_are_those_of_the_reference(reference):
    random = np.random.default_rng(0)
    for _ in range(20):
        image = Image.fromarray(random.integers(0, 256, (300, 200), dtype=np.uint8))
        np.testing.assert_array_equal(pdq(image), reference(image))


def test_one_grey_level_is_enough(reference):
    pixels = np.full((512, 400), 128, np.uint8)
    pixels[256:, 200:] = 129
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(pdq(image), reference(image))
