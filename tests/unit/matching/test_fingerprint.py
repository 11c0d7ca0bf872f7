"""Fingerprints of queries: of a page of text also those of the pictures on it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from halftone.matching.features import COUNT, extract
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.verification import verify
from halftone.orientations import UPRIGHT

PLACE = (330, 700)


@pytest.fixture
def printed(page, picture):
    """A picture that takes 14 % of a page."""
    return page([(picture(7, width=440, height=330), PLACE)])


def small(picture):
    """Printed so small that it takes 3 % of a page."""
    return picture(7, width=440, height=330).resize((200, 150), Image.Resampling.LANCZOS)


def test_a_page_has_the_features_of_its_pictures_where_they_are(printed, picture):
    made = fingerprint(printed, page=printed)
    whole = extract(printed)
    assert (made.features.width, made.features.height) == printed.size
    np.testing.assert_array_equal(made.features.points[: len(whole)], whole.points)
    more = made.features.points[len(whole) :]
    assert len(more) == COUNT
    left, top = PLACE
    inside = (more[:, 0] > left) & (more[:, 0] < left + 440)
    inside &= (more[:, 1] > top) & (more[:, 1] < top + 330)
    assert inside.mean() > 0.9  # a word beside it
    (overlap,) = verify(made.features, extract(picture(7, width=440, height=330))).overlaps
    assert overlap.query_polygon.min(axis=0) == pytest.approx(PLACE, abs=3)
    assert overlap.query_share == pytest.approx(440 * 330 / (860 * 1200), abs=0.01)


def test_several_pictures_share_what_is_compared(page, picture):
    made = fingerprint(
        sheet := page(
            [(picture(seed, width=300, height=250), (30, 30 + 390 * seed)) for seed in range(3)]
        ),
        page=sheet,
    )
    assert len(made.parts) == 3
    assert len(made.features) <= 2.2 * COUNT


def test_words_of_the_parts_are_those_of_the_pictures(printed, picture):
    made = fingerprint(printed, page=printed)
    assert len(made.parts) == 1
    assert len(made.all_words()) == 4
    assert [mirrored for mirrored, _ in made.all_words()] == [False, True, False, True]
    alone = archive_fingerprint(picture(7, width=440, height=330)).words[False]

    def likeness(words):
        shared = np.intersect1d(words.indices, alone.indices, return_indices=True)
        return float(words.values[shared[1]] @ alone.values[shared[2]])

    assert likeness(made.parts[0][False]) > 2 * likeness(made.words[False])


def test_only_what_is_asked_for(printed, picture):
    plain = fingerprint(picture(7), page=picture(7))
    assert plain.parts == ()
    assert len(plain.features) == len(extract(picture(7)))
    assert fingerprint(printed).parts == archive_fingerprint(printed).parts == ()
    upright = fingerprint(printed, page=printed, mirrored=False, rotated=False)
    assert [set(words) for words in upright.parts] == [{False}]


def test_a_page_finds_its_picture_among_others(page, picture):
    """With more to show for it than as a whole."""
    printed = page([(small(picture), (330, 700))])
    shown = [picture(seed, width=440, height=330) for seed in range(25)]
    vectors = np.eye(25, 26, dtype=np.float32)
    gallery = Gallery(vectors, [archive_fingerprint(each) for each in shown])
    views = {UPRIGHT: np.eye(26, dtype=np.float32)[25]}  # like none of them

    def best(query):
        return gallery.search(views, query, verify_count=3, depth=3)[0]

    whole, found = best(fingerprint(printed)), best(fingerprint(printed, page=printed))
    assert found.index == 7
    assert found.probability > 0.9
    assert found.evidence.words > 2 * whole.evidence.words
    inliers = [each.evidence.verification.overlaps[0].inliers for each in (whole, found)]
    assert inliers[1] > 2 * inliers[0]
