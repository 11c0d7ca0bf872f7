"""Candidates of three channels: who comes first, with which scores, and block after block."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from halftone.imaging.orientations import UPRIGHT, Orientation
from halftone.matching.features import LocalFeatures
from halftone.matching.fingerprint import Fingerprint
from halftone.matching.probability import FEATURES, Calibration
from halftone.service.paging import Page
from halftone.services.search.query import candidates, scoring
from halftone.services.search.query.plans import Plan
from halftone.services.search.store.port import EVERYTHING, Channel, ScoredPoint, Stored, Words

MIRRORED = Orientation(mirrored=True)
SIDEWAYS = Orientation(rotation=90)
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


def words(*indices):
    values = np.full(len(indices), 1 / max(1, len(indices)) ** 0.5, np.float32)
    return Words(np.array(indices, np.uint32), values)


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


BY_WORDS = Calibration(
    mean=np.zeros(len(FEATURES)),
    scale=np.ones(len(FEATURES)),
    coefficients=[10.0 * (each == "unverified_words") for each in FEATURES],
    intercept=-5.0,
)


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
            payload={"archive": "a", "image_id": f"{number:05}", "sha256": f"{number:064x}"},
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
    return Plan(
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


def numbers(block):
    return [candidate.id.int for candidate in block]


@pytest.fixture
def archive():
    collection = Exact()
    for number in range(10, 300):
        collection.add(number, pdq=bits(number), words=words(number + 100))
    return collection


def test_each_channel_brings_what_it_finds_and_all_scores_are_told(archive):
    archive.add(1, vector=unit(1))
    archive.add(2, pdq=bits(1))
    archive.add(3, words=words(1, 2, 3), pdq=bits(3))
    block = candidates.first(archive, plan=plan_of(archive)).candidates
    assert numbers(block)[:3] == [1, 2, 3]
    first, second, third = block[:3]
    assert (first.best, second.best, third.best) == tuple(Channel)
    assert first.similarity.score == pytest.approx(1)
    assert first.pdq is None
    assert second.pdq.score == pytest.approx(1)
    assert second.similarity.score == pytest.approx(float(unit(1) @ unit(1_002)), abs=1e-6)
    assert third.words.score == pytest.approx(1)
    assert third.pdq.score == pytest.approx(1 - 2 * (bits(1) != bits(3)).sum() / 256)
    assert first.words.score == 0
    assert 53 <= len(block) <= 103


def test_the_orientation_is_that_of_the_channel_that_ranks_it_highest(archive):
    archive.add(1, vector=unit(7), pdq=bits(8), words=words(9))
    views = {UPRIGHT: unit(1), SIDEWAYS: unit(7)}
    hashes = {UPRIGHT: bits(1), MIRRORED: bits(8)}
    vocabulary = {False: words(1), True: words(9)}
    plan = plan_of(archive, views=views, pdq=hashes, words_of=vocabulary)
    (candidate,) = candidates.given(archive, plan=plan, id=uuid.UUID(int=1))
    assert candidate.similarity.orientation == SIDEWAYS
    assert candidate.pdq.orientation == MIRRORED
    assert candidate.words.orientation == MIRRORED
    block = candidates.first(archive, plan=plan).candidates
    assert (block[0].id.int, block[0].orientation) == (1, SIDEWAYS)
    archive.add(1, vector=unit(20), pdq=bits(8))
    block = candidates.first(archive, plan=plan).candidates
    assert (block[0].id.int, block[0].orientation) != (1, SIDEWAYS)
    assert next(each for each in block if each.id.int == 1).orientation == MIRRORED


def test_too_plain_a_query_asks_no_words(archive):
    plan = plan_of(archive, words_of={False: words(), True: words()})
    block = candidates.first(archive, plan=plan).candidates
    assert {channel for channel, _ in archive.asked} == {Channel.DESCRIPTOR, Channel.PDQ}
    assert all(candidate.words.score == 0 for candidate in block)


def test_as_many_are_asked_for_as_are_to_be_compared(archive):
    candidates.first(archive, plan=plan_of(archive, verify_count=120))
    assert dict(archive.asked) == {
        Channel.DESCRIPTOR: 120,
        Channel.PDQ: 240,
        Channel.WORDS: 120,
    }
    archive.asked.clear()
    block = candidates.first(archive, plan=plan_of(archive, verify_count=0)).candidates
    assert dict(archive.asked)[Channel.DESCRIPTOR] == 50
    assert len(archive.asked) == 3
    assert len(block) >= 90


def test_blocks_go_on_until_everything_was_there_once(archive):
    plan = plan_of(archive)
    block = candidates.first(archive, plan=plan)
    blocks = [
        each.candidates for each in (block, *candidates.beyond(archive, plan=plan, seen=block))
    ]
    every = [number for each in blocks for number in numbers(each)]
    assert sorted(every) == list(range(10, 300))
    assert len(blocks) == 3
    # The second block is a part of the 200 most similar.
    assert len(blocks[1]) <= 200
    assert all(each.best is Channel.DESCRIPTOR for each in blocks[1])


def test_no_image_beyond_is_more_alike_than_the_block_says(archive):
    views = {UPRIGHT: unit(1), MIRRORED: unit(2)}
    for number in range(1_000, 1_400):
        # Some of all kinds, many of them equally alike.
        near = bits(1)
        near[: number % 90] ^= 1
        archive.add(
            number,
            vector=unit(number) if number % 3 else unit(1),
            pdq=near if number % 7 else None,
            words=words(*range(number % 5, number % 5 + 4)),
        )
    hashes = {UPRIGHT: bits(1), MIRRORED: bits(2)}
    plan = plan_of(archive, views=views, pdq=hashes)
    block = candidates.first(archive, plan=plan)
    blocks = [block, *candidates.beyond(archive, plan=plan, seen=block)]
    for at, each in enumerate(blocks):
        for candidate in (one for later in blocks[at + 1 :] for one in later.candidates):
            assert candidate.similarity.score <= each.rest.similarity + 1e-6
            assert candidate.words.score <= each.rest.words + 1e-6
            assert candidate.pdq is None or candidate.pdq.score <= each.rest.pdq + 1e-6
    assert block.rest.words > 0.4
    assert blocks[1].rest.similarity < block.rest.similarity


def test_what_is_probable_is_found_however_far_beyond(archive):
    for number in range(1_000, 1_300):
        archive.add(number, pdq=bits(number))
    # More pictures share all words than the channel lists; no other channel knows of them.
    for number in range(2_000, 2_060):
        archive.add(number, vector=-unit(1), pdq=bits(number), words=words(1, 2, 3))

    def found(**fields):
        plan = plan_of(archive, **fields)
        block = candidates.first(archive, plan=plan)
        return scoring.ranked(block, [], plan=plan, calibration=BY_WORDS)

    likely = found(min_probability=0.6, limit=100)
    assert sorted(each.candidate.id.int for each in likely) == list(range(2_000, 2_060))
    assert len(found(limit=1_000)) == len(archive.points)
    # Nothing more can be as probable as this.
    archive.asked.clear()
    assert not found(min_probability=1.0, limit=100)
    assert {limit for channel, limit in archive.asked if channel is Channel.DESCRIPTOR} == {50}


def test_nothing_below_the_threshold_of_similarity(archive):
    archive.add(1, vector=unit(1))
    archive.add(2, pdq=bits(1))
    plan = plan_of(archive, min_score=0.5)
    block = candidates.first(archive, plan=plan)
    assert numbers(block.candidates) == [1]
    further = candidates.beyond(archive, plan=plan, seen=block)
    assert not any(each.candidates for each in further)


def test_equal_ones_that_a_list_cuts_through_are_always_the_same(archive):
    for number in range(1_000, 1_200):
        archive.add(number, vector=unit(1), pdq=bits(1), words=words(1, 2, 3))
    plan = plan_of(archive)
    block = candidates.first(archive, plan=plan).candidates
    archive.points = dict(reversed(archive.points.items()))
    assert numbers(candidates.first(archive, plan=plan).candidates) == numbers(block)
    assert numbers(block) == list(range(1_000, 1_050))


def test_what_was_deleted_since_is_left_out(archive):
    archive.add(1, vector=unit(1))
    plan = plan_of(archive)
    read = archive.retrieve
    gone = uuid.UUID(int=1)
    archive.retrieve = lambda ids, **options: read([each for each in ids if each != gone])
    block = candidates.first(archive, plan=plan).candidates
    assert 1 not in numbers(block)
    assert not candidates.given(archive, plan=plan, id=uuid.UUID(int=5))
