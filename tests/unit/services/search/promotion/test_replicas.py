"""Several search services over one Qdrant server: one promotes, the others see and follow."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from types import SimpleNamespace

import pytest
from qdrant_client import QdrantClient

from halftone.core import errors, telemetry
from halftone.imaging.pool.inline import Inline
from halftone.registry.pointer import Pointer
from halftone.registry.versions import Registry
from halftone.services.search.api.engine import Engine
from halftone.services.search.archive.parts import Parts
from halftone.services.search.promotion.transitions import is_running
from halftone.services.search.store.port import EVERYTHING, Point
from halftone.services.search.store.server import ServerCollection, ServerStore
from halftone.v1 import models_pb2, search_pb2
from tests.support.search.promotions import NEW, OLD, publish, until
from tests.support.search.search_service import name, record

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]
State = models_pb2.Promotion.State


class Together:
    """Closes the shared store once."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, attribute):
        return getattr(self._store, attribute)

    def close(self):
        """The other one still uses it."""


@pytest.fixture
async def replicas(settings, embedder, memory_path):
    shared = ServerStore(QdrantClient(":memory:"), prefix="test")
    settings = settings.model_copy(
        update={
            "store": "server",
            "promotion_patience_seconds": 5.0,
            "promotion_poll_seconds": 0.1,
        }
    )
    engines, watches = [], []
    for _ in range(2):
        metrics = telemetry.Metrics(service="test")
        parts = Parts.of(
            settings,
            store=Together(shared),
            registry=Registry(memory_path / "models"),
            metrics=metrics,
            runner=Inline(),
        )
        engine = Engine(parts, verdicts=SimpleNamespace(of=None))
        await engine.start()
        engines.append(engine)
        watches.append(asyncio.create_task(engine.promotions.watch()))
    yield engines
    for watch in watches:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    for engine in engines:
        await engine.close()
    shared.close()


async def add(engine, *requests):
    async def stream():
        for request in requests:
            yield request

    return [answer.state async for answer in engine.importer.run(stream())]


async def test_the_others_write_to_both_and_follow(replicas, embedder, memory_path):
    one, two = replicas
    await add(one, *(record(number) for number in range(8)))
    gate = embedder.gates[NEW] = asyncio.Event()
    started = await one.promotions.promote(NEW, force=False)
    assert (await two.promotions.promote(NEW, force=False)).id == started.id
    await until(lambda: two._holdings.collections.target is not None)
    adding = asyncio.create_task(add(two, record(20), record(21)))
    await asyncio.sleep(0.1)
    gate.set()
    assert await adding == [search_pb2.ImportImagesResponse.CREATED] * 2
    await two.catalogue.delete(search_pb2.DeleteImagesRequest(names=[name(3)]))
    async with asyncio.timeout(60):
        while is_running(done := await two.promotions.current()):
            await asyncio.sleep(0.05)
    assert (done.state, done.id) == (State.SUCCEEDED, started.id)
    await until(lambda: two.promotions.answering() == NEW)
    assert one.promotions.answering() == NEW
    for engine in replicas:
        assert engine._holdings.collections.target is None
        assert engine._holdings.collection.count(EVERYTHING) == 9
    assert Registry(memory_path / "models").pointer() == Pointer(NEW, (OLD,))


async def test_another_takes_over_what_one_has_left(replicas, embedder):
    one, two = replicas
    await add(one, *(record(number) for number in range(8)))
    gate = embedder.gates[NEW] = asyncio.Event()
    started = await one.promotions.promote(NEW, force=False)
    await until(lambda: NEW in embedder.stopped)
    # It ends: the lock is let go, the state says that it runs.
    await one.promotions.close()
    gate.set()
    async with asyncio.timeout(60):
        while is_running(done := await two.promotions.current()):
            await asyncio.sleep(0.05)
    assert (done.state, done.id) == (State.SUCCEEDED, started.id)
    await until(lambda: one.promotions.answering() == NEW)


async def test_a_pointer_that_moves_meanwhile_leaves_the_promotion_its_version(
    replicas, embedder, memory_path
):
    one, two = replicas
    registry = Registry(memory_path / "models")
    publish(memory_path / "models", memory_path / "scratch", version=3)
    await add(one, record(0))
    gate = embedder.gates[NEW] = asyncio.Event()
    await one.promotions.promote(NEW, force=True)
    await until(lambda: two._holdings.collections.target is not None)
    registry.promote("fake/3")
    await asyncio.sleep(0.5)
    assert registry.list_needed() == (OLD, NEW)
    gate.set()
    await until(lambda: two.promotions.answering() == NEW)
    assert registry.pointer().active == NEW


@pytest.mark.parametrize("goes", [False, True])
async def test_a_switch_is_not_over_before_stragglers_are_there(
    replicas, memory_path, monkeypatch, goes
):
    """The old collection cannot be read after the switch; the process may end meanwhile."""
    one, two = replicas
    for engine in replicas:
        promotions = engine.promotions
        settings = promotions._parts.settings.model_copy(update={"promotion_patience_seconds": 0.3})
        promotions._parts = dataclasses.replace(promotions._parts, settings=settings)
    await add(one, *(record(number) for number in range(8)))
    old = one._holdings.collection
    registry = Registry(memory_path / "models")
    scan, tried = ServerCollection.scan, []

    def fails(self, **fields):
        if self.model_version == OLD and registry.pointer().active == NEW:
            tried.append(self)
            raise errors.Unavailable("Qdrant does not answer.")
        return scan(self, **fields)

    monkeypatch.setattr(ServerCollection, "scan", fails)
    started = await one.promotions.promote(NEW, force=False)
    await until(lambda: tried)
    # What a process wrote that had not seen the switch.
    (stored,) = old.retrieve([next(iter(scan(old, filter=EVERYTHING))).id], vectors=True).values()
    point = Point(id=uuid.uuid4(), vector=stored.vector, payload=stored.payload)
    old.upsert([point])
    await until(lambda: len(tried) > 5)
    assert (await two.promotions.current()).state == State.SWITCHING
    if goes:
        await one.promotions.close()
    monkeypatch.setattr(ServerCollection, "scan", scan)
    async with asyncio.timeout(60):
        while is_running(done := await two.promotions.current()):
            await asyncio.sleep(0.05)
    assert (done.state, done.id) == (State.SUCCEEDED, started.id)
    await until(lambda: two.promotions.answering() == NEW)
    assert list(two._holdings.collection.retrieve([point.id])) == [point.id]


async def test_a_bug_after_the_switch_leaves_it_succeeded(replicas, memory_path, monkeypatch):
    one, two = replicas
    await add(one, record(0))
    registry = Registry(memory_path / "models")
    scan = ServerCollection.scan

    def fails(self, **fields):
        if self.model_version == OLD and registry.pointer().active == NEW:
            raise ZeroDivisionError
        return scan(self, **fields)

    monkeypatch.setattr(ServerCollection, "scan", fails)
    await one.promotions.promote(NEW, force=False)
    async with asyncio.timeout(60):
        while is_running(done := await two.promotions.current()):
            await asyncio.sleep(0.05)
    assert done.state == State.SUCCEEDED
    assert not done.HasField("error")


async def test_a_collection_that_one_process_drops_breaks_no_other(replicas):
    one, two = replicas
    await add(one, *(record(number) for number in range(3)))
    await one.promotions.promote(NEW, force=True)
    await until(lambda: two.promotions.answering() == NEW)
    assert await asyncio.to_thread(two.promotions.counts) == {NEW: 3, OLD: 3}
    await asyncio.to_thread(one.promotions._store.drop, OLD)
    assert await asyncio.to_thread(two.promotions.counts) == {NEW: 3}
    await two.catalogue.delete(search_pb2.DeleteImagesRequest(names=[name(1)]))
    assert await asyncio.to_thread(two.promotions.counts) == {NEW: 2}
    assert not two._holdings.collections.others


async def test_a_switch_that_another_takes_over_is_cancelled_before_it_moves(replicas):
    one, two = replicas
    await add(one, record(0))
    for version in (NEW, OLD):
        await one.promotions.promote(version, force=True)
        await until(lambda: two.promotions.answering() == version)  # noqa: B023 - awaited here
        async with asyncio.timeout(60):
            while is_running(promotion := await two.promotions.current()):
                await asyncio.sleep(0.05)
    # Left by a process that was killed, after somebody had asked to cancel it.
    files = one.promotions._files
    promotion.id = "left"
    promotion.model_version, promotion.from_model_version = NEW, OLD
    promotion.state = State.SWITCHING
    promotion.ClearField("end_time")
    files.ask_to_cancel(promotion.id)
    files.write(promotion)
    await until(lambda: not is_running(files.read()))
    assert files.read().state == State.CANCELLED
    assert [engine.promotions.answering() for engine in replicas] == [OLD, OLD]
