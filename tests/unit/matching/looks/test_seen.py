"""What the networks see of two registered pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from halftone.matching.looks.seen import CHANNELS, SIDE, describe
from tests.support.pictures.printed_pages import scene


def shown(seed: int) -> np.ndarray:
    """A picture as it lies in the frame."""
    small = cv2.resize(np.asarray(scene(seed)), (288, 216), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.5)


def see(first: int, second: int) -> np.ndarray:
    one, other = shown(first), shown(second)
    return describe(one, other, np.ones(one.shape, dtype=np.bool_))


def test_the_order_of_two_pictures_changes_nothing():
    np.testing.assert_array_equal(see(1, 2), see(2, 1))


def test_what_lies_outside_is_not_seen():
    one, other = shown(1), shown(1)
    inside = np.ones(one.shape, dtype=np.bool_)
    inside[:, 100:] = False
    other[:, 110:] = 0
    seen = describe(one, other, inside)
    assert seen.shape == (CHANNELS, SIDE, SIDE)
    top = (SIDE - one.shape[0] // 2) // 2
    assert not seen[:, :, 51:].any()
    assert not seen[:, :top].any()
    assert seen[0].sum() == pytest.approx(one.shape[0] * 100 / 4)
    difference = seen[2, :, :45]
    assert not difference.any(), "what lies outside spoiled what lies inside"


def test_a_change_of_tone_is_hardly_seen_and_another_picture_is():
    picture = shown(1)
    inside = np.ones(picture.shape, dtype=np.bool_)
    faded = (140 + 0.35 * picture).astype(np.float32)
    same = describe(picture, faded, inside)
    assert np.abs(same[2]).mean() < 0.1
    assert np.abs(see(1, 2)[2]).mean() > 0.25


def test_a_tone_of_its_own_is_seen():
    """What was painted over where little was to be seen has another tone, and no other edges."""
    picture = shown(1)
    painted = picture.copy()
    painted[80:140, 100:180] = 250
    seen = describe(picture, painted, np.ones(picture.shape, dtype=np.bool_))
    top = (SIDE - picture.shape[0] // 2) // 2
    assert seen[9, top + 45 : top + 65, 55:85].mean() > 3 * seen[9, top + 5 : top + 30].mean()
