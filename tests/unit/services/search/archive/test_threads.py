"""The threads of the service: what was accepted is done, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from halftone.core import telemetry
from halftone.services.search.archive.threads import Threads


@pytest.fixture
def threads():
    made = Threads(metrics=telemetry.Metrics(service="test"))
    yield made
    made.close()


async def test_a_write_that_waits_is_run_though_its_caller_is_cancelled(threads):
    release = threading.Event()
    done = []
    first = asyncio.create_task(threads.write("first", release.wait))
    second = asyncio.create_task(threads.write("second", done.append, 2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0.05)
    second.cancel()
    assert not second.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert done == [2]
    assert await first


async def test_who_is_cancelled_waits_for_the_file_that_is_being_written(threads):
    release = threading.Event()
    task = asyncio.create_task(threads.complete(release.wait))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calls_in_threads_know_the_request_they_belong_to(threads):
    with telemetry.request_id_bound("r-1"):
        found = [
            await threads.read("read", telemetry.request_id),
            await threads.write("write", telemetry.request_id),
            await threads.in_thread(telemetry.request_id),
            await threads.compute(telemetry.request_id),
        ]
    assert found == ["r-1"] * 4
