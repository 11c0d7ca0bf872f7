"""From a list of hits to a page: ties by name, payloads of the page alone."""

import uuid

import pytest

from halftone.services.search.query import ranking
from halftone.services.search.store.port import Channel, Query, ScoredPoint, Stored


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
    return [found.id.int for found in page]


def test_payloads_are_read_of_the_page_alone():
    records = Records()
    found = [hit(number, 1 - number / 10) for number in range(8)]
    page = ranking.page(records, ranked=found, offset=2, limit=3)
    assert ids(page) == [2, 3, 4]
    assert records.read == [2, 3, 4]
    assert page[0].payload["image_id"] == "7"


def test_payloads_that_are_there_are_not_read_again():
    records = Records()
    there = hit(1, 0.9, payload={"archive": "a", "image_id": "x"})
    page = ranking.page(records, ranked=[there], offset=0, limit=5)
    assert page == [there]
    assert not records.read


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, [0, 4]), (2, [3, 2]), (4, [1, 5]), (6, []), (9, [])]
)
def test_pages_cut_ties_by_name(offset, expected):
    scores = [0.9, 0.5, 0.5, 0.5, 0.5, 0.1]
    found = [hit(n, score) for n, score in enumerate(scores)]
    # Names run against the numbers: of those that tie, the highest comes first.
    assert ids(ranking.page(Records(), ranked=found, offset=offset, limit=2)) == expected


def test_what_was_deleted_since_is_left_out():
    found = [hit(number, 1 - number / 10) for number in range(4)]
    assert ids(ranking.page(Records(gone=[1]), ranked=found, offset=0, limit=3)) == [0, 2]


class Scores:
    """Points by score; says how many were asked for."""

    def __init__(self, scores):
        self.scores = scores
        self.limits = []

    def query(self, queries):
        self.limits += [query.limit for query in queries]
        return [
            [hit(number, score) for number, score in enumerate(self.scores[: query.limit])]
            for query in queries
        ]


def asked(channel, *, limit):
    return Query(vector=None, limit=limit, using=channel)


@pytest.mark.parametrize("channel", [Channel.DESCRIPTOR, Channel.WORDS])
def test_ties_at_the_end_of_a_list_are_fetched(channel):
    scores = Scores([0.9, *[0.5] * 9, 0.1])
    (found,) = ranking.query(scores, queries=[asked(channel, limit=4)])
    assert len(found) == 11
    assert scores.limits == [4, 8, 16]


def test_of_hashes_the_last_distance_is_left_out():
    scores = Scores([0.9, 0.7, *[0.5] * 9, 0.1])
    (found,) = ranking.query(scores, queries=[asked(Channel.PDQ, limit=6)])
    assert ids(found) == [0, 1]
    assert scores.limits == [6]
    (found,) = ranking.query(scores, queries=[asked(Channel.PDQ, limit=50)])
    assert len(found) == 12


def test_equal_hashes_are_fetched_where_there_are_no_others():
    (found,) = ranking.query(Scores([0.9] * 30), queries=[asked(Channel.PDQ, limit=6)])
    assert len(found) == 30
