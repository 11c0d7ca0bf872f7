"""Thumbnails: of pictures that go while they are made, and beside others. Lists beside reads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import types

import grpc
import pytest

from halftone.core import telemetry
from halftone.core.settings import SearchSettings
from halftone.imaging.needs import MemoryBudget, Need
from halftone.imaging.pool.inline import Inline
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.catalogue import Catalogue
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.store.edge.collection import EdgeCollection
from halftone.services.search.store.port import Stored
from halftone.v1 import search_pb2
from tests.support.search.search_service import name, picture, record

CONTENT = picture(1)
SHA = hashlib.sha256(CONTENT).hexdigest()


class _OneRecord:
    """A collection that has a record under every name."""

    model_version = "fake/1"

    def retrieve(self, ids, *, vectors=False):
        assert not vectors
        return {each: Stored(id=each, payload={"sha256": SHA}) for each in ids}


class _DeletedMeanwhile(Blobs):
    """A picture that is deleted between reading it and keeping its thumbnail."""

    def put_thumbnail(self, content, *, sha256):
        super().delete(sha256)
        super().put_thumbnail(content, sha256=sha256)


class _ImportedAgain(_DeletedMeanwhile):
    """And that is imported again as soon as it was seen to be gone."""

    def has(self, sha256):
        there = super().has(sha256)
        super().put(CONTENT, sha256=sha256)
        return there


@pytest.fixture
def make():
    """Makes a catalogue over a blob store, and closes its threads."""
    made = []

    def make(blobs, *, runner):
        metrics = telemetry.Metrics(service="test")
        made.append(Holdings.of(blobs, metrics=metrics))
        made[-1].collections.open(_OneRecord())
        return Catalogue(
            types.SimpleNamespace(
                holdings=made[-1], runner=runner, settings=SearchSettings(), metrics=metrics
            )
        )

    yield make
    for holdings in made:
        holdings.threads.close()


@pytest.mark.parametrize(
    ("kind", "left"), [(Blobs, 2), (_DeletedMeanwhile, 0), (_ImportedAgain, 1)]
)
async def test_of_a_picture_that_goes_meanwhile_no_thumbnail_stays(make, tmp_path, kind, left):
    blobs = kind(str(tmp_path / "blobs"))
    blobs.put(CONTENT, sha256=SHA)
    assert await make(blobs, runner=Inline()).thumbnail(name(1))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == left
    if left:
        assert blobs.get(SHA) == CONTENT


async def test_a_thumbnail_waits_for_what_others_decode(make, tmp_path):
    blobs = Blobs(str(tmp_path))
    blobs.put(CONTENT, sha256=SHA)
    budget = MemoryBudget(1)
    with budget.reserve(Need(1, 1)):
        waiting = asyncio.create_task(make(blobs, runner=Inline(budget)).thumbnail(name(1)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert await waiting


class _Blocking(Blobs):
    """Thumbnails are not read before the event is set; not forever, so that tests end."""

    def __init__(self, root):
        super().__init__(root)
        self.release = threading.Event()

    def get_thumbnail(self, sha256):
        assert self.release.wait(20)
        return super().get_thumbnail(sha256)


async def test_thumbnails_take_no_threads_that_searches_need(make, tmp_path):
    blobs = _Blocking(str(tmp_path / "blobs"))
    blobs.put(CONTENT, sha256=SHA)
    catalogue = make(blobs, runner=Inline())
    threads = catalogue._holdings.threads
    count = (os.cpu_count() or 1) + 20
    asked = [asyncio.create_task(catalogue.thumbnail(name(at))) for at in range(count)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(10):
        assert await threads.read("query", lambda: "read") == "read"
        assert await threads.in_thread(blobs.get, SHA) == CONTENT
        assert await threads.compute(lambda: "computed") == "computed"
    blobs.release.set()
    assert len({answer.content for answer in await asyncio.gather(*asked)}) == 1


async def test_lists_whose_callers_are_gone_leave_others_their_threads(service, monkeypatch):
    await service.add(record(0))
    release = threading.Event()

    def scan_on(*_arguments, **_fields):
        release.wait(60)
        return []

    monkeypatch.setattr(EdgeCollection, "facet", scan_on)
    request = search_pb2.CountFacetsRequest()
    calls = [service.stub.CountFacets(request, timeout=0.5) for _ in range(32)]
    gone = await asyncio.gather(*calls, return_exceptions=True)
    # Some may be told at once that their turn would come too late.
    codes = [call.code() for call in gone]
    assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) >= 16
    assert set(codes) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    found = await service.stub.GetImage(search_pb2.GetImageRequest(name=name(0)), timeout=20)
    assert found.name == name(0)
    release.set()
