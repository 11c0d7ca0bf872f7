"""Comparisons in threads: found, remembered, shared fairly, out of time, given up."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors, telemetry
from halftone.matching.features import LocalFeatures, extract
from halftone.matching.overlaps import Verification
from halftone.services.search.comparison.verifier import Missed, Verifier


def scene(seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (30, 40), dtype=np.uint8)
    return Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC)


SCENE = extract(scene(1))
CROP = extract(scene(1).crop((20, 20, 300, 220)))
OTHER = extract(scene(2))
# Too few features to take any time.
PLAIN = LocalFeatures(
    points=np.zeros((0, 4), np.float32),
    descriptors=np.zeros((0, 128), np.uint8),
    width=10,
    height=10,
)


class Shelf:
    """Features by name; says which were asked for, and may take its time.

    Behind those that are free it stops at its gate.
    """

    def __init__(self, features=None, *, seconds=0.0, free=0):
        self.kept = features or {}
        self.seconds = seconds
        self.free = free
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()

    def features(self, sha256):
        self.asked.append(sha256)
        if len(self.asked) > self.free:
            self.gate.wait()
        time.sleep(self.seconds)
        if sha256 == "gone":
            raise errors.NotFound("There is no blob.")
        if sha256 == "bug":
            raise ZeroDivisionError
        return self.kept.get(sha256, PLAIN)


@pytest.fixture
async def make():
    made = []

    def make(shelf, *, threads=2, **options):
        metrics = telemetry.Metrics(service="search")
        made.append(Verifier(shelf, metrics=metrics, threads=threads, **options))
        made[-1].registry = metrics.registry
        return made[-1]

    yield make
    for verifier in made:
        verifier.close()


async def asked(shelf, count):
    """Waits until so many were asked for."""
    async with asyncio.timeout(60):
        while len(shelf.asked) < count:
            await asyncio.sleep(0.001)


def soon(seconds=30.0):
    return time.monotonic() + seconds


def counted(verifier, outcome):
    return verifier.registry.get_sample_value(
        "halftone_search_verified_pairs_total", {"outcome": outcome}
    )


async def test_what_shares_something_is_found_among_what_does_not(make):
    verifier = make(Shelf({"crop": CROP, "other": OTHER, "scene": SCENE}))
    found = await verifier.outcomes(
        SCENE, ["other", "crop", "gone", "crop", "scene"], deadline=soon()
    )
    assert [isinstance(each, Verification) and len(each.overlaps) for each in found] == [
        *(0, 1),
        *(False, 1, 1),
    ]
    assert found[2] is Missed.UNREADABLE
    assert found[1].overlaps[0].candidate_share > 0.95


async def test_the_same_again_is_remembered_whoever_asks(make):
    shelf = Shelf({"crop": CROP, "other": OTHER})
    verifier = make(shelf)
    first = await verifier.outcomes(SCENE, ["crop", "other"], deadline=soon())
    again = await verifier.outcomes(extract(scene(1)), ["other", "crop"], deadline=soon())
    assert again == first[::-1]
    assert sorted(shelf.asked) == ["crop", "other"]
    assert counted(verifier, "remembered") == 2
    await verifier.outcomes(SCENE, ["crop"], deadline=soon(), mirrored=False)
    await verifier.outcomes(CROP, ["crop"], deadline=soon())
    assert shelf.asked.count("crop") == 3


async def test_repeated_comparisons_agree_in_every_figure(make):
    shelf = Shelf({"crop": CROP, "other": OTHER})
    runs = [
        await make(shelf, threads=threads).outcomes(SCENE, ["crop", "other"], deadline=soon())
        for threads in (1, 2, 3)
    ]
    homographies = [run[0].overlaps[0].homography for run in runs]
    assert all(np.array_equal(each, homographies[0]) for each in homographies)


async def test_memory_is_bounded(make):
    shelf = Shelf()
    verifier = make(shelf, remembered=2)
    for _ in range(2):
        await verifier.outcomes(SCENE, ["a", "b", "c"], deadline=soon())
    assert len(shelf.asked) > 3
    shelf.asked.clear()
    await verifier.outcomes(SCENE, ["c"], deadline=soon())
    assert len(shelf.asked) <= 1


async def test_what_is_left_when_the_time_is_over_says_so(make):
    shelf = Shelf(free=6)
    shelf.gate.clear()
    verifier = make(shelf)
    names = [f"{number}" for number in range(40)]
    started = time.monotonic()
    found = await verifier.outcomes(SCENE, names, deadline=soon(2.0))
    assert time.monotonic() - started > 1.9
    shelf.gate.set()
    late = [each is Missed.OUT_OF_TIME for each in found]
    assert 0 < late.index(True) <= 6
    assert all(late[late.index(True) + 2 :])
    assert counted(verifier, "out_of_time") == sum(late)


async def test_a_candidate_that_takes_for_ever_does_not_hold_the_search_up(make):
    shelf = Shelf()
    shelf.gate.clear()
    verifier = make(shelf)
    started = time.monotonic()
    assert await verifier.outcomes(SCENE, ["a"], deadline=soon(0.1)) == [Missed.OUT_OF_TIME]
    assert time.monotonic() - started < 25
    assert await verifier.outcomes(SCENE, ["a"], deadline=soon(-1)) == [Missed.OUT_OF_TIME]
    shelf.gate.set()


async def test_whoever_goes_away_stops_the_comparisons(make):
    shelf = Shelf(seconds=0.02)
    verifier = make(shelf)
    names = [f"{number}" for number in range(1000)]
    running = asyncio.create_task(verifier.outcomes(SCENE, names, deadline=soon()))
    await asked(shelf, 4)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    so_far = 0
    while so_far != len(shelf.asked):
        so_far = len(shelf.asked)
        await asyncio.sleep(0.3)
    assert so_far < len(names)


async def test_a_short_search_does_not_wait_for_a_long_one(make):
    shelf = Shelf(seconds=0.005)
    verifier = make(shelf, threads=1)
    long = asyncio.create_task(
        verifier.outcomes(SCENE, [f"long-{n}" for n in range(5000)], deadline=soon())
    )
    await asked(shelf, 4)
    await verifier.outcomes(SCENE, [f"short-{n}" for n in range(10)], deadline=soon())
    # Turn by turn: of the long one about as many were compared meanwhile.
    since = shelf.asked[shelf.asked.index("short-0") : shelf.asked.index("short-9")]
    assert 8 <= sum(each.startswith("long") for each in since) <= 14
    assert not long.done()
    long.cancel()


async def test_the_event_loop_goes_on_meanwhile(make):
    shelf = Shelf({"crop": CROP})
    shelf.gate.clear()
    verifier = make(shelf)
    # The loop's own work: how long it waits for a processor says nothing.
    longest, last = 0.0, time.thread_time()
    running = asyncio.create_task(
        verifier.outcomes(SCENE, ["crop", *map(str, range(30))], deadline=soon())
    )
    # It could not get there if it were the loop that waits.
    await asked(shelf, 2)
    shelf.gate.set()
    while not running.done():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert longest < 0.15


async def test_a_bug_is_no_missing_candidate(make):
    with pytest.raises(ZeroDivisionError):
        await make(Shelf()).outcomes(SCENE, ["a", "bug", "b"], deadline=soon())


async def test_a_closed_one_compares_nothing(make):
    verifier = make(Shelf())
    verifier.close()
    assert await verifier.outcomes(SCENE, ["a", "b"], deadline=soon()) == [Missed.OUT_OF_TIME] * 2
