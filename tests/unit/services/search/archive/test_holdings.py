"""The threads of the service: what was accepted is done, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest

from halftone.core import telemetry
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.store.port import Stored


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


class _Records:
    """A collection that is only scanned, and says how large the pages were."""

    model_version = "fake/1"

    def __init__(self, counts):
        self.stored = [
            Stored(
                id=uuid.uuid5(uuid.NAMESPACE_OID, f"{sha256} {at}"),
                payload={
                    "archive": "press",
                    "image_id": f"{sha256}-{at:05}",
                    "sha256": sha256,
                    "shared": True,
                },
            )
            for sha256, count in counts.items()
            for at in range(count)
        ]
        self.pages = set()
        self.scanned = 0

    def scan(self, *, filter, page=1_000):  # noqa: A002 - the field's name
        self.pages.add(page)
        (condition,) = filter.must
        for stored in self.stored:
            if stored.payload["sha256"] in condition.values:
                self.scanned += 1
                yield stored

    def some(self):
        """The first record of each content."""
        return list({each.payload["sha256"]: each for each in reversed(self.stored)}.values())


async def test_a_pair_is_known_beside_a_logo(holdings):
    records = _Records({"logo": 10_000, "pair": 2, "other": 2})
    holdings.open(records)
    same = {
        stored.payload["sha256"]: holdings.same_content([*records.some()])[stored.id]
        for stored in records.some()
    }
    assert same["pair"] == ["archives/press/images/pair-00001"]
    assert same["other"] == ["archives/press/images/other-00001"]
    assert same["logo"] == [f"archives/press/images/logo-{at:05}" for at in range(1, 101)]


async def test_records_with_equal_bytes_are_read_in_small_pieces_and_not_all(holdings):
    records = _Records({f"logo {at}": 1_000 for at in range(5)})
    holdings.open(records)
    same = holdings.same_content(records.some())
    assert [len(names) for names in same.values()] == [100] * 5
    assert max(records.pages) <= 100
    assert records.scanned <= 2 * 500 + 5
