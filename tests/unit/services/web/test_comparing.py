"""How one picture is laid over another."""

from __future__ import annotations

import numpy as np
import pytest

from halftone.client import Hit, ImageRecord, Overlap, Region, Verification, VerificationState
from halftone.services.web.answers.comparing import align
from halftone.services.web.answers.searching import Subject


def make_hit(homography, *, size=(400, 300)) -> Hit:
    state = VerificationState.OVERLAPPING
    overlaps = (Overlap(inlier_count=9, homography=tuple(homography)),)
    image = ImageRecord(name="archives/a/images/b", width=size[0], height=size[1])
    verification = Verification(state=state, overlaps=overlaps)
    return Hit(image=image, similarity=0.5, verification=verification)


SUBJECT = Subject(width=400, height=300)


def test_a_mirrored_printing_is_mirrored_back():
    found = align(make_hit((-1, 0, 400, 0, 1, 0, 0, 0, 1)), subject=SUBJECT)
    assert np.allclose(found.matrix, [[-1, 0, 400], [0, 1, 0], [0, 0, 1]])
    assert found.affine == pytest.approx((-1, 0, 0, 1, 400, 0))
    assert found.frame == pytest.approx((0, 0, 400, 300))


def test_a_page_around_the_picture_is_seen_but_not_without_end():
    # The picture is a tenth of a page, at its top left.
    found = align(make_hit((0.1, 0, 0, 0, 0.1, 0, 0, 0, 1)), subject=SUBJECT)
    left, top, width, height = found.frame
    assert (left, top) == (0, 0)
    assert (width, height) == (800, 600)


def test_a_part_lies_where_it_was_cut_out():
    part = Subject(width=400, height=300, region=Region(100, 50, 200, 200))
    found = align(make_hit((1, 0, 0, 0, 1, 0, 0, 0, 1)), subject=part)
    assert np.allclose(found.matrix, [[1, 0, 100], [0, 1, 50], [0, 0, 1]])


@pytest.mark.parametrize(
    "homography",
    [
        (),
        (1, 0, 0, 0, 1, 0, 0, 0),
        (0,) * 9,
        (float("nan"), 0, 0, 0, 1, 0, 0, 0, 1),
        # A corner of the printing lies beyond the horizon.
        (1, 0, 0, 0, 1, 0, 0.01, 0, 1),
    ],
)
def test_what_would_turn_a_picture_inside_out_is_not_laid(homography):
    assert align(make_hit(homography, size=(4000, 300)), subject=SUBJECT) is None
