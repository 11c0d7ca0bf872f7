"""Batches: by count, by bytes, after a moment, at the end; and how far ahead is read."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from halftone.core import wire
from halftone.services.search.archive.imports.entry import Entry
from halftone.services.search.archive.imports.reading import read_batches


async def prepare(request):
    await asyncio.sleep(0)
    return Entry(row=request, name=str(request))


async def stream(count):
    for number in range(count):
        yield number


def batches(requests, *, most=4, prepare=prepare, admit=lambda _entry: None, draining=None):
    return read_batches(
        requests,
        prepare=prepare,
        admit=admit,
        most=most,
        draining=draining or asyncio.Event(),
    )


def rows(batch):
    return [entry.row for entry in batch]


async def collect(results, found):
    """Keeps what comes before a failure."""
    async for result in results:
        found.append(result)


async def test_records_are_grouped_in_their_order():
    admitted = []
    found = [rows(batch) async for batch in batches(stream(10), admit=admitted.append)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert rows(admitted) == list(range(10))


async def test_slow_preparation_does_not_change_the_order():
    async def slow(request):
        await asyncio.sleep(0.01 * (5 - request))
        return await prepare(request)

    found = [rows(batch) async for batch in batches(stream(5), prepare=slow, most=5)]
    assert [row for batch in found for row in batch] == list(range(5))


async def test_a_batch_stays_below_what_one_call_takes():
    size = wire.MAX_IMAGE_BYTES // 2

    async def large(request):
        return Entry(row=request, name="", content=bytes(size if request < 3 else 10))

    found = [rows(batch) async for batch in batches(stream(4), prepare=large)]
    assert found == [[0, 1], [2, 3]]


async def test_a_batch_does_not_wait_for_long():
    more = asyncio.Event()

    async def requests():
        yield 0
        await more.wait()
        yield 1

    reading = batches(requests())
    assert rows(await asyncio.wait_for(anext(reading), 10)) == [0]
    more.set()
    assert rows(await asyncio.wait_for(anext(reading), 10)) == [1]
    await reading.aclose()


async def test_the_stream_is_read_ahead_as_far_as_there_is_room():
    read = 0

    async def requests():
        nonlocal read
        for number in range(100):
            read = number
            yield number

    reading = batches(requests(), most=1)
    await anext(reading)
    await asyncio.sleep(0.05)
    assert 5 < read < 15
    await reading.aclose()


async def test_draining_ends_the_stream_after_what_was_read():
    draining, forever = asyncio.Event(), asyncio.Event()

    async def requests():
        yield 0
        draining.set()
        await forever.wait()

    assert [rows(batch) async for batch in batches(requests(), draining=draining)] == [[0]]


async def test_a_failure_of_the_stream_comes_after_what_was_read():
    async def requests():
        yield 0
        raise ValueError("cut off")

    found = []
    with pytest.raises(ValueError, match="cut off"):
        await collect(batches(requests()), found)
    assert [rows(batch) for batch in found] == [[0]]


async def test_whoever_gives_up_leaves_no_task_waiting():
    before = asyncio.all_tasks()
    forever = asyncio.Event()

    async def requests():
        yield 0
        await forever.wait()

    async with contextlib.aclosing(batches(requests())) as reading:
        await anext(reading)
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
