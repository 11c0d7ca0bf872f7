"""Searches over parts: the newer of two points, payloads of hits alone, what moved meanwhile."""

import uuid

import numpy as np

from halftone.services.search.store.edge import query as edge_query
from halftone.services.search.store.port import Query, Stored


def identity(number):
    return uuid.UUID(int=number)


def stored(number, label):
    return Stored(id=identity(number), payload={"label": label})


class Part:
    """Answers every search with the same scores; says whose payloads were read."""

    def __init__(self, label, scores, *, has=None, empty=False):
        self.label, self.scores, self.empty = label, scores, empty
        self.has = set(scores if has is None else has)
        self.read = []

    def query(self, requests):
        assert not self.empty
        return [
            [(identity(number), score) for number, score in self.scores.items()] for _ in requests
        ]

    def retrieve(self, ids, *, vectors):
        assert not vectors
        self.read += sorted(each.int for each in ids)
        return {each: stored(each.int, self.label) for each in ids if each.int in self.has}


def nothing_moved(ids):
    raise AssertionError(ids)


def answer(parts, *, moved=nothing_moved, **options):
    query = Query(vector=np.ones(4, dtype=np.float32), limit=2, **options)
    (hits,) = edge_query.answer(parts, queries=[query], moved=moved)
    return [(hit.id.int, hit.score, hit.payload.get("label")) for hit in hits]


def test_payloads_are_read_of_the_best_alone():
    sealed, opened = Part("sealed", {1: 0.9, 2: 0.5}), Part("open", {3: 0.7, 4: 0.1})
    assert answer([sealed, opened]) == [(1, 0.9, "sealed"), (3, 0.7, "open")]
    assert (sealed.read, opened.read) == ([1], [3])


def test_of_a_point_in_two_parts_the_open_one_has_the_newer():
    parts = [Part("sealed", {1: 0.9, 2: 0.5}), Part("open", {1: 0.3})]
    assert answer(parts) == [(2, 0.5, "sealed"), (1, 0.3, "open")]


def test_a_part_without_points_is_not_searched():
    assert answer([Part("sealed", {1: 0.9}), Part("open", {}, empty=True)]) == [(1, 0.9, "sealed")]
    assert answer([Part("open", {}, empty=True)]) == []


def test_without_payloads_nothing_is_read():
    part = Part("open", {1: 0.9})
    assert answer([part], payloads=False) == [(1, 0.9, None)]
    assert not part.read


def test_what_moved_is_read_where_it_is_and_what_was_deleted_is_no_hit():
    part = Part("sealed", {1: 0.9, 2: 0.8}, has=[])

    def moved(ids):
        assert {each.int for each in ids} == {1, 2}
        return {identity(2): stored(2, "elsewhere")}

    assert answer([part], moved=moved) == [(2, 0.8, "elsewhere")]
