"""Shares and turns: who may have more, whose turn it is, and who comes too late."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from halftone.core import errors
from halftone.service.turns import LATE_TURN, WOULD_EXPIRE, Shares, Turns


def make_turns(*, at_once=2, waiting=1):
    return Turns(at_once=at_once, waiting=waiting, message="Too many.", reason="TOO_MANY")


class Work:
    """Pieces of work that run until they are let go; notes in which order they began."""

    def __init__(self, turns):
        self.turns = turns
        self.begun: list[str] = []
        self.free = asyncio.Semaphore(0)

    def start(self, caller, **options):
        return asyncio.create_task(self._run(caller, **options))

    async def _run(self, caller, **options):
        async with self.turns.take(caller, **options):
            self.begun.append(caller)
            await self.free.acquire()

    async def end_one(self, *, until):
        """Let one end, and wait until so many have begun in all."""
        self.free.release()
        await self.settle(until=until)

    async def settle(self, *, until):
        async with asyncio.timeout(10):
            while len(self.begun) < until:
                await asyncio.sleep(0)


def test_a_single_caller_leaves_the_next_one_room():
    shares = Shares(8)
    while shares.has_room("greedy"):
        shares.take("greedy")
    assert shares.held_by("greedy") == 6
    assert shares.has_room("polite")
    shares.take("polite")
    assert not shares.has_room("greedy")
    assert shares.has_room("polite")
    shares.give_back("greedy", 2)
    assert shares.has_room("greedy")


def test_what_is_left_is_shared_equally_by_those_who_want_some():
    now = 0.0
    shares = Shares(8, clock=lambda: now)
    for _ in range(5):
        shares.take("greedy")
    for caller in ("a", "b"):
        assert shares.has_room(caller)
        shares.take(caller)
    # Of eight, three callers and a next one get two each.
    assert shares.used == 7
    assert shares.has_room("a")
    assert not shares.has_room("greedy")
    shares.take("a")
    assert not shares.has_room("b")
    shares.give_back("greedy")
    assert shares.has_room("b")
    now = 100.0
    assert shares.has_room("b")


async def test_callers_take_turns_however_much_they_ask_for():
    work = Work(make_turns(at_once=1, waiting=40))
    tasks = [work.start("greedy") for _ in range(10)]
    await work.settle(until=1)
    tasks += [work.start("polite") for _ in range(3)]
    await asyncio.sleep(0)
    for begun in range(2, 8):
        await work.end_one(until=begun)
    assert work.begun.count("polite") == 3
    for _ in range(20):
        work.free.release()
    await asyncio.gather(*tasks)


async def test_the_next_turn_is_for_whom_least_runs():
    work = Work(make_turns(at_once=3, waiting=40))
    tasks = [work.start("greedy") for _ in range(8)]
    await work.settle(until=3)
    tasks += [work.start("polite") for _ in range(2)]
    await asyncio.sleep(0)
    for begun in (4, 5, 6):
        await work.end_one(until=begun)
    assert work.begun[3] == "polite"
    assert work.begun[3:].count("polite") == 2
    for _ in range(20):
        work.free.release()
    await asyncio.gather(*tasks)


async def test_one_too_many_is_refused_at_once_and_there_is_room_again_later():
    work = Work(make_turns(at_once=2, waiting=1))
    tasks = [work.start("a") for _ in range(3)]
    await work.settle(until=2)
    with pytest.raises(errors.ResourceExhausted) as raised:
        await work.start("a")
    assert raised.value.reason == "TOO_MANY"
    assert raised.value.retry_after >= 0.1
    for _ in range(4):
        work.free.release()
    await asyncio.gather(*tasks)
    await work.start("a")


async def test_what_would_come_too_late_is_refused_before_it_waits():
    turns = make_turns(at_once=1, waiting=20)
    for _ in range(5):
        async with turns.take("a"):
            await asyncio.sleep(0.05)
    work = Work(turns)
    now = time.monotonic()
    tasks = [work.start("a", deadline=now + 100) for _ in range(4)]
    await work.settle(until=1)
    started = time.perf_counter()
    with pytest.raises(errors.ResourceExhausted) as raised:
        await work.start("a", deadline=now + 0.1)
    assert time.perf_counter() - started < 0.02
    assert raised.value.reason == WOULD_EXPIRE
    # Somebody else does not wait for all of that caller's.
    turns.check("b", deadline=time.monotonic() + 0.3)
    with pytest.raises(errors.ResourceExhausted):
        turns.check("a", deadline=time.monotonic() + 0.15)
    for _ in range(8):
        work.free.release()
    await asyncio.gather(*tasks)
    # When nothing is before it, it is tried, however short the time is.
    turns.check("a", deadline=time.monotonic() + 0.001)


async def test_whose_time_ran_out_in_the_queue_is_not_begun():
    turns = make_turns(at_once=1, waiting=20)
    async with turns.take("a"):
        await asyncio.sleep(0.05)
    work = Work(turns)
    first = work.start("a")
    await work.settle(until=1)
    second = work.start("b", deadline=time.monotonic() + 0.4)
    await asyncio.sleep(0.4)
    work.free.release()
    await first
    with pytest.raises(errors.ResourceExhausted) as raised:
        await second
    assert raised.value.reason == LATE_TURN
    assert work.begun == ["a"]
    work.free.release()
    await work.start("c")


async def test_who_goes_away_gives_the_turn_back():
    turns = make_turns(at_once=1, waiting=2)
    work = Work(turns)
    running = work.start("a")
    await work.settle(until=1)
    gone, following = work.start("a"), work.start("a")
    await asyncio.sleep(0)
    gone.cancel()
    running.cancel()
    for task in (gone, running):
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await work.settle(until=2)
    work.free.release()
    await following
    turns.check("a")


async def test_who_goes_away_as_the_turn_comes_gives_it_back():
    work = Work(make_turns(at_once=1, waiting=2))
    running = work.start("a")
    await work.settle(until=1)
    gone = work.start("a")
    await asyncio.sleep(0)
    work.free.release()
    await running
    gone.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gone
    work.free.release()
    await asyncio.wait_for(work.start("b"), 10)
