"""Orientations follow Pillow's own mirroring and turning."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.imaging.orientations import UPRIGHT, Orientation, orientations

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize("orientation", orientations(mirrored=True, rotated=True), ids=repr)
def test_apply_is_mirroring_then_turning_clockwise(orientation):
    image = Image.fromarray(PIXELS)
    expected = ImageOps.mirror(image) if orientation.mirrored else image
    expected = expected.rotate(-orientation.rotation, expand=True)
    assert np.array_equal(orientation.apply(PIXELS), np.asarray(expected))


def test_all_eight_differ_and_the_picture_as_it_is_comes_first():
    everything = orientations(mirrored=True, rotated=True)
    assert everything[0] == UPRIGHT
    assert len({orientation.apply(PIXELS).tobytes() for orientation in everything}) == 8
    assert orientations(mirrored=False, rotated=False) == (UPRIGHT,)
    assert orientations(mirrored=True, rotated=False) == (UPRIGHT, Orientation(mirrored=True))


def test_labels():
    assert UPRIGHT.label == ""
    assert Orientation(mirrored=True, rotation=90).label == "mirrored, turned 90°"
