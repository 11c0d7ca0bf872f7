"""The threads of the service: what was accepted is done, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from halftone import telemetry
from services.search.blobs import Blobs
from services.search.holdings import Holdings


@pytest.fixture
def holdings(tmp_path):
    made = Holdings(blobs=Blobs(str(tmp_path)), metrics=telemetry.Metrics(service="test"))
    yield made
    made.close()


async def test_a_write_that_waits_is_run_though_its_caller_is_cancelled(holdings):
    release = threading.Event()
    done = []
    first = asyncio.create_task(holdings.write("first", release.wait))
    second = asyncio.create_task(holdings.write("second", done.append, 2))
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


async def test_who_is_cancelled_waits_for_the_file_that_is_being_written(holdings):
    release = threading.Event()
    task = asyncio.create_task(holdings.complete(release.wait))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
