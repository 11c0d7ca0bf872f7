"""Work side by side, results in order; nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from halftone.services.search.archive.imports.window import run_in_order


class Work:
    """Numbers that are doubled when they are released."""

    def __init__(self, count):
        self.count = count
        self.taken = self.ended = 0
        self.closed = False
        self.released = [asyncio.Event() for _ in range(count)]
        self.tasks = set()

    async def items(self):
        try:
            for number in range(self.count):
                self.taken += 1
                yield number
        finally:
            self.closed = True

    async def process(self, number):
        try:
            await self.released[number].wait()
            return 2 * number
        finally:
            self.ended += 1

    def run(self, window=3):
        return run_in_order(self.items(), self.process, window=window, started=self.tasks.add)


async def soon():
    for _ in range(20):
        await asyncio.sleep(0)


async def collect(results, found):
    """Keeps what comes before a failure."""
    async for result in results:
        found.append(result)


async def test_results_come_in_order_whoever_is_first():
    work = Work(3)
    for number in (2, 1, 0):
        work.released[number].set()
        await soon()
    assert [result async for result in work.run()] == [0, 2, 4]
    assert work.closed


async def test_no_more_is_taken_than_the_window_holds():
    work = Work(20)
    results = work.run(window=3)
    first = asyncio.ensure_future(anext(results))
    await soon()
    # The one at the front, two in the queue, and one that waits for room there.
    assert work.taken == 4
    work.released[0].set()
    assert await first == 0
    await results.aclose()
    assert work.closed
    assert all(task.done() for task in work.tasks)
    assert work.ended == len(work.tasks)


async def test_a_failure_comes_after_the_results_before_it():
    work = Work(4)

    async def process(number):
        if number == 2:
            raise ValueError("two")
        return number

    results = run_in_order(work.items(), process, window=2, started=work.tasks.add)
    found = []
    with pytest.raises(ValueError, match="two"):
        await collect(results, found)
    assert found == [0, 1]
    assert all(task.done() for task in work.tasks)


async def test_a_failure_of_the_items_comes_last():
    async def items():
        yield 1
        raise ValueError("cut off")

    async def process(number):
        await asyncio.sleep(0.01)
        return number

    found = []
    results = run_in_order(items(), process, window=3, started=lambda _: None)
    with pytest.raises(ValueError, match="cut off"):
        await collect(results, found)
    assert found == [1]


async def test_whoever_gives_up_leaves_nothing_running():
    work = Work(10)

    async def consume():
        async with contextlib.aclosing(work.run()) as results:
            async for _ in results:
                pass

    running = asyncio.create_task(consume())
    await soon()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.closed
    assert work.tasks
    assert all(task.done() for task in work.tasks)


async def test_all_that_is_cancelled_has_ended_when_the_results_are_closed():
    """Also the item that waits for room in the window."""
    ended = []

    async def items():
        for number in range(10):
            yield number

    async def process(number):
        try:
            await asyncio.Event().wait()
        finally:
            # Like the release of a batch's bytes, which runs in a thread; each takes longer.
            for _ in range(1 + number):
                await soon()
            ended.append(number)

    tasks = set()
    results = run_in_order(items(), process, window=3, started=tasks.add)
    first = asyncio.ensure_future(anext(results))
    await soon()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert sorted(ended) == [0, 1, 2, 3]
    assert len(tasks) == 4
