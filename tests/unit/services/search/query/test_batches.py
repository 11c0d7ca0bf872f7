"""Batches of searches: who is compared when."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import types

from halftone.matching.probability import Calibration
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query.searching import Searching
from tests.support.search.exact_collection import NO_FEATURES, Exact, bits, plan_of


class Holdings:
    """Runs everything at once."""

    def __init__(self):
        self.threads = self
        self.collection = None  # asked only for records that share their bytes

    async def read(self, _operation, call, /, *args, **fields):
        return call(*args, **fields)

    async def compute(self, call, /, *args, **fields):
        return call(*args, **fields)


class Verifier:
    """Takes a while, and remembers whose comparisons began, and how many ran at a time."""

    def __init__(self):
        self.begun = []
        self.running = self.most = 0

    async def outcomes(self, query, candidates, **_options):
        self.begun.append(query.width)
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(20):
            await asyncio.sleep(0)
        self.running -= 1
        return [Missed.OUT_OF_TIME] * len(candidates)


async def test_the_first_searches_of_a_batch_are_compared_first():
    archive = Exact()
    for number in range(60):
        archive.add(number, pdq=bits(number))
    # Told apart by their width.
    prints = [
        dataclasses.replace(
            plan_of(archive).picture, features=dataclasses.replace(NO_FEATURES, width=number)
        )
        for number in range(1, 9)
    ]
    plans = [plan_of(archive, min_probability=1.0) for _ in prints]
    made = iter(prints)
    verifier = Verifier()
    searching = Searching(
        types.SimpleNamespace(
            holdings=Holdings(),
            embedder=None,
            fingerprints=types.SimpleNamespace(of_query=lambda *_content, **_options: next(made)),
            settings=types.SimpleNamespace(verify_seconds=2.0, max_pixels=1, max_image_bytes=1),
        ),
        verifier=verifier,
        calibrations=types.SimpleNamespace(of=lambda _version: Calibration.default()),
        verdicts=None,
    )
    searching._plan = lambda _requests, _collection: plans
    answers = await searching._search_by_pictures([], collection=archive, deadline=math.inf)
    assert all(answer.out_of_time_count == 50 for answer in answers)
    assert verifier.begun == list(range(1, 9))
    assert verifier.most == 2
