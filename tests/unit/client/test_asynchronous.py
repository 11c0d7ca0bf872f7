"""What the asynchronous client does beyond the suite that both clients share."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from halftone.client import (
    AsyncClient,
    NewImage,
    RetryPolicy,
)
from halftone.core import errors
from tests.support.client.fake_search import fails

NAME = "archives/a/images/one"
QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.05, import_patience=5)


def images(count, **fields):
    for number in range(count):
        yield NewImage(image_id=f"{number:04}", archive="a", content=b"x", row=number, **fields)


async def test_calls_run_at_the_same_time(fake):
    fake.add(NAME)
    meeting = threading.Barrier(4, timeout=60)
    fake.faults["GetImage"].extend([meeting.wait] * 4)
    async with AsyncClient(fake.address, timeout=60) as client:
        await asyncio.gather(*(client.get(NAME) for _ in range(4)))
    assert not meeting.broken


async def test_import_from_an_asynchronous_source(fake):
    async def source():
        for image in images(100):
            await asyncio.sleep(0)
            yield image

    fake.import_faults = {30: fails(errors.Unavailable("going away"))}
    rows = []
    async with AsyncClient(fake.address, retries=QUICK) as client:
        summary = await client.import_images(source(), on_progress=lambda ack: rows.append(ack.row))
        assert client.retry_count == 1
    assert rows == list(range(100))
    assert summary.created == 100


async def test_a_source_that_raises_the_end_of_another_loop_has_failed(fake):
    def source():
        yield from images(2)
        raise StopAsyncIteration

    async with AsyncClient(fake.address, retries=QUICK) as client:
        with pytest.raises(RuntimeError, match="StopAsyncIteration"):
            await client.import_images(source())
    assert len(fake.records) == 2


async def test_a_cancelled_import_stops(fake):
    fake.delay_acks = 0.01
    async with AsyncClient(fake.address) as client:
        importing = asyncio.create_task(client.import_images(images(100_000)))
        async with asyncio.timeout(60):
            while not fake.records:
                await asyncio.sleep(0.01)
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    stored = 0
    while stored != len(fake.records):
        stored = len(fake.records)
        await asyncio.sleep(0.3)
    # It would take a quarter of an hour to its end.
    assert stored < 10_000


async def test_a_source_that_hangs_holds_up_neither_the_loop_nor_its_end(fake):
    """The thread that waits for the next record is left behind, as with the blocking client."""
    release = threading.Event()

    def source():
        yield next(images(1))
        release.wait(60)
        yield next(images(1))

    async with AsyncClient(fake.address, retries=QUICK) as client:
        importing = asyncio.create_task(client.import_images(source()))
        async with asyncio.timeout(30):
            while not fake.records:
                await asyncio.sleep(0.01)
            importing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await importing
            # Waits for the default executor's threads.
            await asyncio.get_running_loop().shutdown_default_executor()
    release.set()


async def test_a_cancelled_call_stays_cancelled(fake):
    """Only a call that ends because the client is closed becomes an error of ours."""
    over = threading.Event()
    fake.faults["GetImage"].append(lambda: over.wait(60))
    async with AsyncClient(fake.address) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.get(NAME)
    over.set()


async def test_the_loop_is_free_while_records_are_read(fake, tmp_path):
    """Manifests and files are read in a thread: here a file whose other end writes late."""
    pipe = tmp_path / "slow.jpg"
    os.mkfifo(pipe)
    async with AsyncClient(fake.address) as client:
        importing = asyncio.create_task(
            client.import_images([NewImage(image_id="a", content=pipe)])
        )
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not importing.done()
        await asyncio.to_thread(pipe.write_bytes, b"x")
        assert (await importing).created == 1
