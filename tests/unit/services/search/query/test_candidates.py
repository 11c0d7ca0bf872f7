"""Candidates of three channels: who comes first, with which scores, and block after block."""

from __future__ import annotations

import dataclasses
import uuid

import numpy as np
import pytest

from halftone.imaging.orientations import UPRIGHT, Orientation
from halftone.matching.probability import FEATURES, Calibration
from halftone.services.search.query import candidates, scoring
from halftone.services.search.query.candidates import Source
from halftone.services.search.store.port import Channel
from tests.support.search.exact_collection import (
    Exact,
    bits,
    plan_of,
    unit,
    words,
)

MIRRORED = Orientation(mirrored=True)
SIDEWAYS = Orientation(rotation=90)
BY_WORDS = Calibration(
    mean=np.zeros(len(FEATURES)),
    scale=np.ones(len(FEATURES)),
    coefficients=[10.0 * (each == "unverified_words") for each in FEATURES],
    intercept=-5.0,
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
    block = candidates.find_first_block(archive, plan=plan_of(archive)).candidates
    assert numbers(block)[:3] == [1, 2, 3]
    first, second, third = block[:3]
    assert [each.best for each in block[:3]] == [Source(channel) for channel in Channel]
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
    (candidate,) = candidates.get_candidate(archive, plan=plan, point_id=uuid.UUID(int=1))
    assert candidate.similarity.orientation == SIDEWAYS
    assert candidate.pdq.orientation == MIRRORED
    assert candidate.words.orientation == MIRRORED
    block = candidates.find_first_block(archive, plan=plan).candidates
    assert (block[0].id.int, block[0].orientation) == (1, SIDEWAYS)
    archive.add(1, vector=unit(20), pdq=bits(8))
    block = candidates.find_first_block(archive, plan=plan).candidates
    assert (block[0].id.int, block[0].orientation) != (1, SIDEWAYS)
    assert next(each for each in block if each.id.int == 1).orientation == MIRRORED


def test_negatives_are_candidates_of_their_own(archive):
    """The other lists lose nothing to them, and say that they found them."""
    plain = candidates.find_first_block(archive, plan=plan_of(archive)).candidates
    archive.add(1, pdq=1 - bits(1))
    archive.add(2, words=words(7, 8, 9))
    plan = plan_of(archive)
    plan.picture = dataclasses.replace(
        plan.picture, negative_words={False: words(4), True: words(7, 8, 9)}
    )
    block = candidates.find_first_block(archive, plan=plan).candidates
    by_hash, by_words = (next(each for each in block if each.id.int == at) for at in (1, 2))
    assert by_hash.best == Source(Channel.PDQ, negative=True)
    assert by_hash.negative_pdq.score == pytest.approx(1)
    assert by_hash.pdq.score == pytest.approx(-1)
    assert by_words.best == Source(Channel.WORDS, negative=True)
    assert (by_words.negative_words.score, by_words.orientation) == (pytest.approx(1), MIRRORED)
    assert by_words.words.score == 0
    assert {each.id.int for each in block[:6]} >= {1, 2}
    assert set(numbers(plain)[:40]) <= set(numbers(block))


def test_too_plain_a_query_asks_no_words(archive):
    plan = plan_of(archive, words_of={False: words(), True: words()})
    block = candidates.find_first_block(archive, plan=plan).candidates
    assert {channel for channel, _ in archive.asked} == {Channel.DESCRIPTOR, Channel.PDQ}
    assert all(candidate.words.score == 0 for candidate in block)


def test_as_many_are_asked_for_as_are_to_be_compared(archive):
    candidates.find_first_block(archive, plan=plan_of(archive, verify_count=120))
    assert dict(archive.asked) == {
        Channel.DESCRIPTOR: 120,
        Channel.PDQ: 240,
        Channel.WORDS: 120,
    }
    archive.asked.clear()
    block = candidates.find_first_block(archive, plan=plan_of(archive, verify_count=0)).candidates
    assert dict(archive.asked)[Channel.DESCRIPTOR] == 50
    assert len(archive.asked) == 3
    assert len(block) >= 90


def test_blocks_go_on_until_everything_was_there_once(archive):
    plan = plan_of(archive)
    block = candidates.find_first_block(archive, plan=plan)
    blocks = [
        each.candidates
        for each in (block, *candidates.find_later_blocks(archive, plan=plan, seen=block))
    ]
    every = [number for each in blocks for number in numbers(each)]
    assert sorted(every) == list(range(10, 300))
    assert len(blocks) == 3
    # The second block is a part of the 200 most similar.
    assert len(blocks[1]) <= 200
    assert all(each.best == Source(Channel.DESCRIPTOR) for each in blocks[1])


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
    block = candidates.find_first_block(archive, plan=plan)
    blocks = [block, *candidates.find_later_blocks(archive, plan=plan, seen=block)]
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
        block = candidates.find_first_block(archive, plan=plan)
        return scoring.rank(block, [], plan=plan, calibration=BY_WORDS)

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
    block = candidates.find_first_block(archive, plan=plan)
    assert numbers(block.candidates) == [1]
    further = candidates.find_later_blocks(archive, plan=plan, seen=block)
    assert not any(each.candidates for each in further)


def test_equal_ones_that_a_list_cuts_through_are_always_the_same(archive):
    for number in range(1_000, 1_200):
        archive.add(number, vector=unit(1), pdq=bits(1), words=words(1, 2, 3))
    plan = plan_of(archive)
    block = candidates.find_first_block(archive, plan=plan).candidates
    archive.points = dict(reversed(archive.points.items()))
    assert numbers(candidates.find_first_block(archive, plan=plan).candidates) == numbers(block)
    assert numbers(block) == list(range(1_000, 1_050))


def test_what_was_deleted_since_is_left_out(archive):
    archive.add(1, vector=unit(1))
    plan = plan_of(archive)
    read = archive.retrieve
    gone = uuid.UUID(int=1)
    archive.retrieve = lambda ids, **options: read([each for each in ids if each != gone])
    block = candidates.find_first_block(archive, plan=plan).candidates
    assert 1 not in numbers(block)
    assert not candidates.get_candidate(archive, plan=plan, point_id=uuid.UUID(int=5))
