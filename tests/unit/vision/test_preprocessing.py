"""From a decoded picture to network input."""

import numpy as np
import pytest
from PIL import Image

from halftone.vision.preprocessing import Preprocessing, margin_box


def gradient(width: int, height: int) -> Image.Image:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.tile(ramp, (height, 1)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_squashes_the_whole_picture_into_a_grey_square(mode):
    prepared = Preprocessing(size=64)(gradient(300, 100).convert(mode))

    assert prepared.shape == (64, 64)
    assert prepared.dtype == np.uint8
    # Both ends of the ramp are there: nothing was cropped from the middle.
    assert prepared[:, 0].max() < 8
    assert prepared[:, -1].min() > 247


def test_a_halftone_screen_averages_out_instead_of_aliasing():
    dots = (np.indices((640, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)

    prepared = Preprocessing(size=64)(Image.fromarray(dots))

    assert np.abs(prepared.astype(int) - 127).max() <= 3


def test_the_scale_of_the_scan_hardly_matters():
    small, large = gradient(200, 150), gradient(2000, 1500)
    one, other = (Preprocessing(size=48)(image).astype(int) for image in (small, large))

    assert np.abs(one - other).max() <= 3


def test_margins_are_trimmed_up_to_the_limit():
    page = np.full((200, 200), 240, dtype=np.uint8)
    page[20:180, 30:170] = 60

    full = margin_box(Image.fromarray(page), limit=0.3, tolerance=24)
    limited = margin_box(Image.fromarray(page), limit=0.05, tolerance=24)

    assert full == pytest.approx((30, 20, 170, 180), abs=1.5)
    assert limited == pytest.approx((10, 10, 190, 190), abs=1.5)


def test_a_picture_without_margins_and_a_blank_page_keep_their_size():
    assert margin_box(gradient(100, 80), limit=0.2, tolerance=8)[1::2] == (0, 80)
    blank = Image.new("L", (100, 80), 230)
    left, top, right, bottom = margin_box(blank, limit=0.2, tolerance=8)
    assert right - left >= 59
    assert bottom - top >= 47


def test_survives_the_spec():
    preprocessing = Preprocessing(size=96, trim=0.1, trim_tolerance=12)

    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


def test_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="sharpen"):
        Preprocessing.from_dict({"size": 64, "sharpen": True})
    with pytest.raises(ValueError, match="size"):
        Preprocessing(size=4)
    with pytest.raises(ValueError, match="trim"):
        Preprocessing(trim=0.5)
