"""Fingerprints: what a page of text has of the pictures on it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from halftone.imaging import layout
from halftone.imaging.images import Region
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.features import COUNT, LocalFeatures, extract
from halftone.matching.fingerprint import archive_fingerprint, fingerprint, local_features
from halftone.matching.offline import Gallery
from halftone.matching.verification import verify

PLACE = (330, 700)


@pytest.fixture
def printed(page, picture):
    """A picture that takes 14 % of a page."""
    return page([(picture(7, width=440, height=330), PLACE)])


def within(points, box):
    left, top, right, bottom = box
    x, y = points[:, 0], points[:, 1]
    return (x >= left) & (x < right) & (y >= top) & (y < bottom)


def test_a_page_has_the_features_of_its_pictures_where_they_are(printed, picture):
    made = local_features(printed)
    assert (made.width, made.height) == printed.size
    box = (*PLACE, PLACE[0] + 440, PLACE[1] + 330)
    whole = extract(printed)
    alone = extract(picture(7, width=440, height=330))
    # Nearly all that the picture has by itself, and what is strongest about it.
    assert within(made.points, box).sum() > 0.9 * len(alone) > 3 * within(whole.points, box).sum()
    around = (~within(made.points, box)).sum()
    assert around == pytest.approx((~within(whole.points, box)).sum(), abs=60)
    (overlap,) = verify(made, alone).overlaps
    assert overlap.query_polygon.min(axis=0) == pytest.approx(PLACE, abs=3)
    assert overlap.query_share == pytest.approx(440 * 330 / (860 * 1200), abs=0.01)
    # The same from the other side, and as they are kept.
    kept = LocalFeatures.from_bytes(made.to_bytes())
    (turned,) = verify(alone, kept).overlaps
    assert turned.candidate_polygon.min(axis=0) == pytest.approx(PLACE, abs=3)


def test_a_page_on_microfilm_has_the_features_of_the_page_in_negative(printed, picture):
    film, page = local_features(ImageOps.invert(printed)), local_features(printed)
    assert len(film) == pytest.approx(len(page), rel=0.02)
    box = (*PLACE, PLACE[0] + 440, PLACE[1] + 330)
    count = within(film.points, box).sum()
    assert count == pytest.approx(within(page.points, box).sum(), rel=0.02)
    alone = extract(picture(7, width=440, height=330))
    for found in (verify(film, alone), verify(alone, film)):
        assert found.is_negative
    (overlap,) = verify(film, alone).overlaps
    assert overlap.query_polygon.min(axis=0) == pytest.approx(PLACE, abs=3)
    assert not verify(film, local_features(ImageOps.invert(printed))).is_negative


def test_places_are_those_of_the_page_in_its_full_size(printed):
    large = printed.resize((1720, 2400), Image.Resampling.LANCZOS)
    made = local_features(printed, full_size=large.size, page=large)
    assert (made.width, made.height) == large.size
    box = (2 * PLACE[0], 2 * PLACE[1], 2 * PLACE[0] + 880, 2 * PLACE[1] + 660)
    assert within(made.points, box).sum() > 0.9 * COUNT


def test_a_page_too_coarse_to_be_read_needs_the_other_copy(printed):
    coarse = printed.resize((215, 300), Image.Resampling.LANCZOS)
    assert len(local_features(coarse)) == len(extract(coarse))
    made = local_features(coarse, full_size=printed.size, page=printed)
    assert len(made) > 1.5 * len(extract(coarse))


def test_two_printings_of_a_page_are_the_same(printed):
    """No corner is there twice, from the page and from the picture: it would be its own rival."""
    again = printed.resize((774, 1080), Image.Resampling.LANCZOS).point(lambda v: 20 + v * 4 // 5)
    (overlap,) = verify(local_features(printed), local_features(again)).overlaps
    assert overlap.inliers > 150
    assert overlap.query_share > 0.95
    box = (*PLACE, PLACE[0] + 440, PLACE[1] + 330)
    (part,) = verify(local_features(printed.crop(box)), local_features(again)).overlaps
    assert part.inliers > 150


def test_several_pictures_share_what_is_compared(page, picture):
    pictures = [(picture(seed, width=300, height=250), (30, 30 + 390 * seed)) for seed in range(3)]
    made = local_features(page(pictures))
    for _, (left, top) in pictures:
        box = (left, top, left + 300, top + 250)
        assert 200 < within(made.points, box).sum() < 300
    assert len(made) < 2.2 * COUNT


def test_boxes_that_overlap_have_no_corner_twice(page, picture, monkeypatch):
    sheet = page([(picture(7, width=440, height=330), PLACE)])
    boxes = [Region(300, 680, 400, 370), Region(600, 680, 200, 370)]
    monkeypatch.setattr(layout, "pictures", lambda _: boxes)
    made = local_features(sheet)
    alone = extract(sheet.crop((300, 680, 700, 1050)))
    assert (
        within(made.points, (600, 680, 700, 1050)).sum()
        <= within(alone.points, (300, 0, 400, 370)).sum()
    )


def test_a_picture_has_its_own_alone(picture):
    made, expected = local_features(picture(7)), extract(picture(7))
    np.testing.assert_array_equal(made.points, expected.points)
    np.testing.assert_array_equal(made.descriptors, expected.descriptors)


def test_a_page_finds_its_picture_and_is_found_by_it(page, picture):
    """Each 440 pixels wide by itself, and so small on the page that it takes 3 % of it."""
    shown = [picture(seed, width=440, height=330) for seed in range(25)]
    small = shown[7].resize((200, 150), Image.Resampling.LANCZOS)
    printed = page([(small, (330, 700))])
    vectors = np.eye(25, 26, dtype=np.float32)
    views = {UPRIGHT: np.eye(26, dtype=np.float32)[25]}  # like none of them

    def best(query, prints):
        return Gallery(vectors, prints).search(views, query, verify_count=3, depth=3)[0]

    alone = [archive_fingerprint(each) for each in shown]
    pages = [*alone[:7], archive_fingerprint(printed), *alone[8:]]
    for found in (best(fingerprint(printed), alone), best(fingerprint(shown[7]), pages)):
        assert found.index == 7
        assert found.probability > 0.9
        assert found.evidence.verification.overlaps[0].inliers > 100
