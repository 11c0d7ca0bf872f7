"""Perceptual hashes in the eight orientations."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5, 5), (200, 100)])
def test_plain_and_tiny_pictures_have_a_hash(size):
    assert pdq(Image.new("RGB", size, "grey")).shape == (256,)
    assert len(pdq_orientations(Image.new("L", size))) == 8
