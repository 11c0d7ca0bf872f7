"""From lists of hits to a page: the best orientation, ties by name, payloads of the page alone."""

import uuid

import pytest

from halftone.orientations import UPRIGHT, Orientation
from services.search import ranking
from services.search.store import ScoredPoint, Stored

MIRRORED = Orientation(mirrored=True, rotation=0)


def identity(number):
    return uuid.UUID(int=number)


def hit(number, score, *, payload=None):
    return ScoredPoint(id=identity(number), score=score, payload=payload or {})


class Records:
    """Payloads by id; says which were read."""

    def __init__(self, *, gone=()):
        self.gone = {identity(number) for number in gone}
        self.read = []

    def retrieve(self, ids, *, vectors=False):
        assert not vectors
        self.read += [each.int for each in ids]
        return {
            each: Stored(id=each, payload={"archive": "a", "image_id": f"{9 - each.int}"})
            for each in ids
            if each not in self.gone
        }


def ids(page):
    return [found.point.id.int for found in page]


def test_the_best_orientation_of_each_picture_counts():
    merged = ranking.merge([(UPRIGHT, [hit(1, 0.9), hit(2, 0.4)]), (MIRRORED, [hit(2, 0.95)])])
    assert ids(merged) == [2, 1]
    assert [found.orientation for found in merged] == [MIRRORED, UPRIGHT]


def test_payloads_are_read_of_the_page_alone():
    records = Records()
    merged = ranking.merge([(UPRIGHT, [hit(number, 1 - number / 10) for number in range(8)])])
    page = ranking.page(records, ranked=merged, offset=2, limit=3)
    assert ids(page) == [2, 3, 4]
    assert records.read == [2, 3, 4]
    assert page[0].point.payload["image_id"] == "7"


def test_payloads_that_are_there_are_not_read_again():
    records = Records()
    there = hit(1, 0.9, payload={"archive": "a", "image_id": "x"})
    page = ranking.page(records, ranked=ranking.merge([(UPRIGHT, [there])]), offset=0, limit=5)
    assert [found.point for found in page] == [there]
    assert not records.read


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, [0, 4]), (2, [3, 2]), (4, [1, 5]), (6, []), (9, [])]
)
def test_pages_cut_ties_by_name(offset, expected):
    scores = [0.9, 0.5, 0.5, 0.5, 0.5, 0.1]
    merged = ranking.merge([(UPRIGHT, [hit(n, score) for n, score in enumerate(scores)])])
    # Names run against the numbers: of those that tie, the highest comes first.
    assert ids(ranking.page(Records(), ranked=merged, offset=offset, limit=2)) == expected


def test_what_was_deleted_since_is_left_out():
    merged = ranking.merge([(UPRIGHT, [hit(number, 1 - number / 10) for number in range(4)])])
    assert ids(ranking.page(Records(gone=[1]), ranked=merged, offset=0, limit=3)) == [0, 2]
