"""Comparisons as messages."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from halftone.matching.overlaps import Overlap, Verification
from halftone.matching.relation import Relation
from halftone.services.search.comparison import messages
from halftone.services.search.comparison.verifier import Missed

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
)
SHARED = Verification(overlaps=(OVERLAP,), seconds=0.0)
NOTHING = Verification(overlaps=(), seconds=0.0)
IN_VAIN = Verification(overlaps=(), seconds=0.0, is_conclusive=False)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (SHARED, "OVERLAPPING"),
        (NOTHING, "NO_OVERLAP"),
        (IN_VAIN, "NOT_COMPARED"),
        (None, "NOT_COMPARED"),
        (Missed.OUT_OF_TIME, "OUT_OF_TIME"),
        (Missed.UNREADABLE, "NOT_COMPARED"),
    ],
)
def test_states_of_messages(outcome, state):
    message = messages.to_verification(outcome)
    assert message.State.Name(message.state) == state
    assert len(message.overlaps) == (state == "OVERLAPPING")


@pytest.mark.parametrize("negative", [False, True])
def test_a_negative_is_told(negative):
    overlap = dataclasses.replace(OVERLAP, negative=negative)
    message = messages.to_verification(Verification(overlaps=(overlap,), seconds=0.0))
    assert message.overlaps[0].negative is negative


def test_every_relation_has_a_message():
    names = {each: messages.relation_of(each) for each in Relation}
    assert len(set(names.values())) == len(Relation)
    assert 0 not in names.values()
