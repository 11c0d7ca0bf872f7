"""The ranking by probability, and whose calibration it goes by."""

from __future__ import annotations

import dataclasses
import uuid

import numpy as np
import pytest

from halftone.imaging.orientations import UPRIGHT, Orientation
from halftone.matching.overlaps import Overlap, Verification
from halftone.matching.probability import Calibration
from halftone.matching.relation import Relation
from halftone.service.paging import Page
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query import scoring
from halftone.services.search.query.candidates import SearchCandidate, Source, View
from halftone.services.search.query.plans import SearchPlan
from halftone.services.search.store.port import EVERYTHING, Channel
from tests.support.search.tile_evidence import WHOLE

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32)
OVERLAP = Overlap(
    inliers=40,
    homography=np.eye(3),
    query_polygon=SQUARE,
    candidate_polygon=SQUARE,
    query_share=1.0,
    candidate_share=0.9,
    mirrored=False,
    rotation=2.0,
    scale=1.0,
    matches=50,
    residual=1.0,
    evidence=WHOLE,
)
SHARED = Verification(overlaps=(OVERLAP,), seconds=0.0)
NOTHING = Verification(overlaps=(), seconds=0.0)
IN_VAIN = Verification(overlaps=(), seconds=0.0, is_conclusive=False)


def candidate(number, *, similarity=0.3, pdq=0.1, words=0.05, sha256="", lay=UPRIGHT):
    return SearchCandidate(
        id=uuid.UUID(int=number),
        payload={"archive": "a", "image_id": str(number), "sha256": sha256 or f"{number:064x}"},
        similarity=View(similarity, lay),
        pdq=View(pdq, lay),
        words=View(words, lay),
        best=Source(Channel.DESCRIPTOR),
    )


def plan_of(**fields):
    return SearchPlan(
        collection=None,
        condition=EVERYTHING,
        page=Page(size=20, position=None, fingerprint="", model_version=""),
        offset=0,
        min_score=None,
        verify_count=50,
        min_probability=fields.pop("min_probability", None),
        **fields,
    )


def scored(candidates, outcomes, **fields):
    return scoring.score(
        candidates, outcomes, plan=plan_of(**fields), calibration=Calibration.default()
    )


def numbers(found):
    return [each.candidate.id.int for each in found]


def test_what_overlaps_comes_first_and_says_why():
    found = scored([candidate(1), candidate(2), candidate(3)], [NOTHING, SHARED])
    assert numbers(found)[0] == 2
    assert [each.relation for each in found if each.candidate.id.int == 2] == [Relation.REPRINT]
    assert found[0].probability > 0.9
    assert found[-1].probability < 0.1
    assert {each.relation for each in found[1:]} == {Relation.UNRELATED, Relation.NOT_COMPARED}


def test_what_was_not_compared_stands_below_what_was_and_is_likely():
    alike = candidate(1, pdq=1.0, words=1.0)
    found = scored([candidate(2), alike, candidate(3)], [SHARED, Missed.OUT_OF_TIME, NOTHING])
    assert numbers(found)[0] == 2
    sure = dataclasses.replace(found[0], probability=0.6)
    (late,) = scored([alike], [])
    late = dataclasses.replace(late, probability=0.9)
    unlikely = dataclasses.replace(found[0], candidate=candidate(4), probability=0.2)
    order = scoring.sort_candidates([unlikely, late, sure])
    assert [each.probability for each in order] == [0.6, 0.9, 0.2]


def test_what_was_compared_in_vain_stands_where_it_would_uncompared():
    alike, less, none = candidate(1, pdq=0.9), candidate(2, pdq=0.3), candidate(3, pdq=0.9)
    found = scored([alike, none, less], [IN_VAIN, NOTHING])
    assert numbers(found) == [1, 2, 3]
    # Words of pictures with almost no features count nothing.
    assert (
        found[0].probability == scored([dataclasses.replace(alike, words=None)], [])[0].probability
    )
    assert found[0].relation is Relation.NOT_COMPARED
    assert not dataclasses.replace(found[0], probability=0.9).is_founded


def test_the_same_bytes_are_the_same_picture_even_if_it_has_no_features():
    plain = candidate(1, similarity=0.0, pdq=-1, words=0, sha256="f" * 64)
    found = scored([candidate(2), plain], [SHARED, NOTHING], sha256="f" * 64)
    assert (found[0].candidate, found[0].probability) == (plain, 1.0)
    assert found[0].relation is Relation.SAME_SCAN
    found = scored([candidate(2), plain], [SHARED, NOTHING])
    assert numbers(found) == [2, 1]


def test_ties_are_ordered_by_similarity_and_name():
    same = [candidate(number, similarity=0.25) for number in (30, 4, 20)]
    nearer = candidate(9, similarity=0.5)
    assert numbers(scored([*same, nearer], [NOTHING] * 4)) == [9, 20, 30, 4]


def test_a_threshold_of_probability():
    found = scored([candidate(1), candidate(2)], [SHARED, NOTHING], min_probability=0.5)
    assert numbers(found) == [1]


@pytest.mark.parametrize(
    ("turned", "mirrored", "expected"),
    [(2, False, (False, 0)), (-91, True, (True, 270)), (178, False, (False, 180))],
)
def test_the_orientation_is_that_of_the_overlap(turned, mirrored, expected):
    overlap = dataclasses.replace(OVERLAP, rotation=float(turned), mirrored=mirrored)
    outcome = Verification(overlaps=(overlap,), seconds=0.0)
    sideways = candidate(1, lay=Orientation(rotation=90))
    (found,) = scored([sideways], [outcome])
    assert found.orientation == expected
    (found,) = scored([sideways], [NOTHING])
    assert found.orientation == (False, 90)


def test_of_a_negative_the_hash_and_words_of_the_negative_count():
    negative = Verification(overlaps=(dataclasses.replace(OVERLAP, negative=True),), seconds=0.0)
    opposite = dataclasses.replace(
        candidate(1, pdq=-0.9, words=0.01),
        negative_pdq=View(0.9, UPRIGHT),
        negative_words=View(0.8, UPRIGHT),
    )
    (found,) = scored([opposite], [negative])
    assert (found.evidence.pdq, found.evidence.words) == (0.9, 0.8)
    (plain,) = scored([opposite], [SHARED])
    assert (plain.evidence.pdq, plain.evidence.words) == (-0.9, 0.01)
    assert found.probability > plain.probability


def test_nothing_is_nothing():
    assert scored([], []) == []
