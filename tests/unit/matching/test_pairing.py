"""Pairs of features: cosines both ways round, and whether a negative is worth a comparison."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.matching import pairing
from halftone.matching.features import extract
from halftone.matching.words import unit


def test_one_comparison_has_the_cosines_of_the_picture_and_its_mirror_image(picture):
    query, candidate = extract(picture(1)), extract(picture(2))
    likeness = pairing.compare(pairing.split(query), pairing.split(candidate))
    rows = unit(candidate.descriptors).T
    np.testing.assert_allclose(likeness.plain, unit(query.descriptors) @ rows, atol=1e-5)
    turned = unit(query.mirrored().descriptors) @ rows
    np.testing.assert_allclose(likeness.mirrored, turned, atol=1e-5)


@pytest.mark.parametrize(
    "change", [ImageOps.invert, lambda it: ImageOps.mirror(ImageOps.invert(it))]
)
def test_a_negative_is_worth_a_comparison(picture, change):
    query = extract(picture(1))
    assert pairing.may_be_negative(query, extract(change(picture(1))))
    part = change(picture(1)).crop((60, 40, 300, 220))
    assert pairing.may_be_negative(query, extract(part))


def test_most_others_are_not(picture):
    """On drawn pictures a third is, on those of the press archive one in twelve."""
    features = [extract(picture(seed)) for seed in range(8)]
    pairs = list(itertools.permutations(features, 2))
    assert sum(pairing.may_be_negative(a, b) for a, b in pairs) < len(pairs) / 2


def test_too_few_features_are_no_negative():
    few = extract(Image.linear_gradient("L"))
    assert not pairing.may_be_negative(few, few)


def test_the_largest_set_that_agrees_wins():
    turn = np.deg2rad([170, 175, -178, 20, 25]).astype(np.float32)
    octaves = np.array([1.0, 1.1, 0.9, 1.0, 3.0], np.float32)
    assert pairing.vote(turn, octaves).tolist() == [0, 1, 2]
