"""The part of a picture that a search by a detail begins with."""

from __future__ import annotations

import pytest

from halftone.services.web.answers.outlines import Outlines, frame_detail

SIZE = (400, 300)


def make_box(left, top, right, bottom):
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def frame(*shared, covers_all=False):
    return frame_detail(
        Outlines(shared=shared, differing=(), covers_all=covers_all),
        size=SIZE,
    )


def test_a_slanted_part_is_framed_whole_and_within_the_picture():
    assert frame(((-5.2, 40), (100, 31.4), (450, 120), (90, 130))) == (0, 31, 400, 99)


def test_of_several_parts_the_largest_is_framed():
    assert frame(make_box(0, 0, 20, 20), make_box(50, 60, 250, 160)) == (50, 60, 200, 100)


@pytest.mark.parametrize(
    "shared",
    [
        (),
        (make_box(0, 0, 300, 15),),
        # A part that lies beyond the picture.
        (make_box(500, 400, 600, 500),),
    ],
)
def test_what_is_too_little_to_search_by_is_not_framed(shared):
    assert frame(*shared) is None


def test_the_whole_picture_is_no_detail():
    assert frame(make_box(1, 1, 399, 299), covers_all=True) is None
