"""A collection in memory that compares a query with everything it has, and plans of searches."""

from __future__ import annotations

import uuid

import numpy as np

from halftone.imaging.orientations import UPRIGHT
from halftone.matching.features import LocalFeatures
from halftone.matching.fingerprint import Fingerprint
from halftone.matching.words import DIRECTIONS
from halftone.service.paging import Page
from halftone.services.search.query.plans import SearchPlan
from halftone.services.search.store.port import EVERYTHING, Channel, ScoredPoint, Stored, Words

DIMENSION = 64
NO_FEATURES = LocalFeatures(
    points=np.zeros((0, 4), np.float32),
    descriptors=np.zeros((0, 128), np.uint8),
    width=10,
    height=10,
)


def unit(seed, dimension=DIMENSION):
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def bits(seed):
    return np.random.default_rng(seed).integers(0, 2, 256).astype(np.uint8)


def words(*numbers, direction=3):
    """Visual words by their numbers, all in one direction."""
    values = np.full(len(numbers), 1 / max(1, len(numbers)) ** 0.5, np.float32)
    return Words(np.array(numbers, np.uint32) * DIRECTIONS + direction, values)


def score(stored, query):
    if query.using is Channel.DESCRIPTOR:
        return float(stored.vector @ query.vector)
    if query.using is Channel.PDQ:
        return None if stored.pdq is None else float(stored.pdq @ query.vector) / 256
    if stored.words is None:
        return None
    held = dict(zip(stored.words.indices.tolist(), stored.words.values.tolist(), strict=True))
    pairs = zip(query.vector.indices.tolist(), query.vector.values.tolist(), strict=True)
    return sum(held.get(index, 0.0) * value for index, value in pairs) or None


class Exact:
    """A collection that compares with everything it has."""

    model_version = "test/1"
    dimension = DIMENSION

    def __init__(self):
        self.points = {}
        self.asked = []
        self.calls = 0

    def add(self, number, *, vector=None, pdq=None, words=None):
        self.points[uuid.UUID(int=number)] = Stored(
            id=uuid.UUID(int=number),
            payload={
                "archive": "a",
                "image_id": f"{number:05}",
                "sha256": f"{number:064x}",
                "width": 10,
                "height": 10,
                "create_time": 0,
                "update_time": 0,
            },
            vector=unit(1_000 + number) if vector is None else vector,
            pdq=pdq if pdq is None else np.where(pdq, 1, -1).astype(np.float32),
            words=words,
        )

    def query(self, queries):
        self.calls += 1
        self.asked += [(query.using, query.limit) for query in queries]
        return [self._query(query) for query in queries]

    def _query(self, query):
        scored = [
            ScoredPoint(id=each.id, score=value, payload={})
            for each in self.points.values()
            if (value := score(each, query)) is not None
            and (query.min_score is None or value >= query.min_score)
        ]
        return sorted(scored, key=lambda hit: -hit.score)[: query.limit]

    def retrieve(self, ids, *, vectors=False):
        return {each: self.points[each] for each in ids if each in self.points}


def plan_of(collection, *, views=None, pdq=None, words_of=None, **fields):
    fields.setdefault("verify_count", 50)
    return SearchPlan(
        collection=collection,
        condition=EVERYTHING,
        page=Page(size=fields.pop("limit", 20), position=None, fingerprint="", model_version=""),
        offset=0,
        min_score=fields.pop("min_score", None),
        min_probability=fields.pop("min_probability", None),
        vectors=views or {UPRIGHT: unit(1)},
        picture=Fingerprint(
            pdq=pdq or {UPRIGHT: bits(1)},
            features=NO_FEATURES,
            words=words_of or {False: words(1, 2, 3)},
        ),
        **fields,
    )
