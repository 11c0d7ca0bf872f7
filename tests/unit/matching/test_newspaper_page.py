"""A real newspaper's page, scanned at 60 dots to the inch: the pictures on it have features."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from halftone.imaging import layout
from halftone.matching.features import extract
from halftone.matching.fingerprint import local_features
from halftone.matching.verification import verify

_ROOT = Path(__file__).parents[3]
_CASE = Path("shared", "cases", "miss-picture-on-page")


@pytest.fixture(scope="module")
def case():
    """The folder with the page and two clips of it; it is no part of the repository."""
    for folder in (_ROOT / _CASE, _ROOT.parent / _CASE):
        if folder.is_dir():
            return folder
    pytest.skip(f"there is no {_CASE} beside or in the repository")


@pytest.fixture(scope="module")
def features(case):
    """The local features of the page."""
    return local_features(Image.open(case / "tribune.jpg"))


def test_text_is_no_picture(case):
    found = layout.pictures(Image.open(case / "tribune.jpg"))
    capitol = found[0]
    assert (capitol.x, capitol.y) == pytest.approx((196, 218), abs=20)
    assert (capitol.width, capitol.height) == pytest.approx((644, 388), abs=30)
    # The others are parts of the floor plan and of the newspaper's head.
    assert sum(each.width * each.height for each in found) < 0.3 * 1024 * 1369


@pytest.mark.parametrize(
    ("clip", "least", "box"),
    [("plan.jpg", 40, (310, 935, 750, 1130)), ("dome.jpg", 80, (378, 229, 668, 550))],
)
def test_a_clip_of_a_picture_is_found_on_the_page(case, features, clip, least, box):
    overlaps = verify(extract(Image.open(case / clip)), features).overlaps
    assert overlaps
    assert overlaps[0].inliers >= least
    x, y = overlaps[0].candidate_polygon.mean(axis=0)
    assert box[0] < x < box[2]
    assert box[1] < y < box[3]
