"""Perceptual hashes in the eight orientations."""

from __future__ import annotations

import numpy as np
import pdqhash
import pytest
from PIL import Image

from halftone.imaging.luminance import luminance, shrink
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.pdq import pdq, pdq_orientations, to_vector


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


def reference(image):
    """The hash by Meta's own code, of what we hash."""
    grey = shrink(luminance(image), 512)
    bits, _ = pdqhash.compute(np.repeat(grey[:, :, None], 3, axis=2))
    return bits


@pytest.mark.parametrize("size", [(5, 5), (64, 64), (100, 37), (333, 501), (512, 512), (900, 1400)])
def test_the_bits_are_those_of_the_reference(picture, size):
    for seed in range(4):
        image = picture(seed).resize(size)
        np.testing.assert_array_equal(pdq(image), reference(image))


def test_the_bits_of_noise_are_those_of_the_reference():
    random = np.random.default_rng(0)
    for _ in range(20):
        image = Image.fromarray(random.integers(0, 256, (300, 200), dtype=np.uint8))
        np.testing.assert_array_equal(pdq(image), reference(image))


def test_one_grey_level_is_enough():
    pixels = np.full((512, 400), 128, np.uint8)
    pixels[256:, 200:] = 129
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(pdq(image), reference(image))
