"""A store that does not answer for a moment ends no promotion, and none that has switched."""

from __future__ import annotations

import itertools
import time

import pytest

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.search.promotion.files import PromotionFiles
from halftone.services.search.store.edge.collection import EdgeCollection
from halftone.services.search.store.edge.store import EdgeStore
from halftone.v1 import models_pb2
from tests.support.search.promotions import (
    NEW,
    OLD,
    answering,
    ended,
    promoted,
    publish,
    until,
)
from tests.support.search.search_service import record

State = models_pb2.Promotion.State


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr("halftone.services.search.archive.patience._PAUSE", 0.01, raising=False)


def away(*_arguments, **_fields):
    raise errors.Unavailable("Qdrant does not answer.")


def stutter(monkeypatch, method):
    """The first call fails, and every third one after it."""
    call, calls = getattr(EdgeCollection, method), itertools.count()

    def stuttering(self, *arguments, **fields):
        if next(calls) % 3 == 0:
            away()
        return call(self, *arguments, **fields)

    monkeypatch.setattr(EdgeCollection, method, stuttering)


def cut_off(monkeypatch, *, times, seconds=0.0):
    """Scans end after their first page, so many times."""
    scan, scans = EdgeCollection.scan, itertools.count()

    def broken(self, **fields):
        cut = next(scans) < times
        for number, stored in enumerate(scan(self, **fields)):
            if cut and number == 35:
                time.sleep(seconds)
                away()
            yield stored

    monkeypatch.setattr(EdgeCollection, "scan", broken)


@pytest.mark.parametrize("method", ["count", "retrieve", "query", "upsert"])
async def test_a_store_that_stutters_is_waited_for(service, registry, hasty, monkeypatch, method):
    await service.add(*(record(number) for number in range(8)))
    await promoted(service)
    await service.add(*(record(number) for number in range(8, 12)))
    stutter(monkeypatch, method)
    done = await promoted(service, OLD, force=True)
    assert done.state == State.SUCCEEDED, done.error.message
    assert (done.images_done, done.images_total) == (12, 12)
    assert registry.pointer().active == OLD


async def test_a_scan_that_is_cut_off_counts_from_the_start_again(service, hasty, monkeypatch):
    await service.add(*(record(number) for number in range(40)))
    cut_off(monkeypatch, times=2)
    done = await promoted(service)
    assert (done.state, done.images_done, done.images_total) == (State.SUCCEEDED, 40, 40)


@pytest.mark.soak
async def test_outages_are_patient_each_for_itself(service, hasty, monkeypatch):
    """Where everything is in step, nothing is embedded in between."""
    await service.add(*(record(number) for number in range(40)))
    await promoted(service)
    await promoted(service, OLD, force=True)
    # Two seconds are the patience.
    cut_off(monkeypatch, times=3, seconds=1.2)
    done = await promoted(service)
    assert done.state == State.SUCCEEDED, done.error.message


async def test_a_store_that_stays_away_fails_the_promotion(service, hasty, monkeypatch):
    await service.add(*(record(number) for number in range(3)))
    monkeypatch.setattr(EdgeCollection, "query", away)
    done = await promoted(service)
    assert done.state == State.FAILED
    assert errors.from_status(done.error).message == "Qdrant does not answer."


@pytest.mark.parametrize("error", [errors.Unavailable("It takes long."), OSError("busy")])
async def test_a_collection_that_is_not_dropped_fails_no_promotion(
    service, embedder, memory_path, monkeypatch, error
):
    publish(memory_path / "models", memory_path / "scratch", version=3)
    embedder.others = {NEW, "fake/3"}
    await service.add(*(record(number) for number in range(3)))
    await promoted(service)
    tried = []

    def drop(_store, version):
        tried.append(version)
        raise error

    monkeypatch.setattr(EdgeStore, "drop", drop)
    await promoted(service, "fake/3")
    await until(lambda: tried == [OLD])
    files = PromotionFiles(service.settings.data_directory)
    # It lets go of the lock at its very end.
    await until(lambda: (lock := files.try_lock()) is not None and lock.close() is None)
    assert files.read().state == State.SUCCEEDED


async def test_a_disk_that_is_full_after_the_switch_fails_no_promotion(service, monkeypatch):
    await service.add(record(0))
    need = Registry.need

    def full(self, versions):
        if versions == [NEW]:
            raise OSError("full")
        need(self, versions)

    monkeypatch.setattr(Registry, "need", full)
    assert (await promoted(service)).state == State.SUCCEEDED
    assert await answering(service) == NEW


async def test_what_a_switch_needs_is_asked_for_before_it(service, registry, hasty, monkeypatch):
    """A store that stays away right after it would have it reported as failed."""
    await service.add(record(0))
    opened = EdgeStore.open

    def fails(self, version, **fields):
        if registry.pointer().active == NEW:
            away()
        return opened(self, version, **fields)

    monkeypatch.setattr(EdgeStore, "open", fails)
    done = await promoted(service)
    assert done.state == State.SUCCEEDED, done.error.message
    assert registry.pointer().active == await answering(service) == NEW


async def cut_in_the_switch(service):
    """A service that was ended between the intent and what follows."""
    await service.add(*(record(number) for number in range(6)))
    await promoted(service)
    await promoted(service, OLD, force=True)
    await service.stop()
    files = PromotionFiles(service.settings.data_directory)
    promotion = files.read()
    promotion.model_version, promotion.from_model_version = NEW, OLD
    promotion.state = State.SWITCHING
    files.write(promotion)


async def test_a_switch_waits_for_what_does_not_answer_at_the_start(service, registry, monkeypatch):
    await cut_in_the_switch(service)
    promote, failing = Registry.promote, iter([True])
    monkeypatch.setattr(
        Registry,
        "promote",
        lambda self, version: away() if next(failing, False) else promote(self, version),
    )
    await service.restart()
    assert (await ended(service)).state == State.SUCCEEDED
    assert await answering(service) == NEW
    pointer = registry.pointer()
    assert (pointer.active, pointer.previous) == (NEW, OLD)


async def test_a_complete_switch_is_not_undone_at_the_start(service, registry, monkeypatch):
    await cut_in_the_switch(service)
    store = EdgeStore(service.settings.data_directory, min_free_bytes=0)
    store.set_active(NEW)
    store.close()
    registry.promote(NEW)

    def damaged(_registry, _version):
        raise errors.DataLoss("It is damaged.")

    monkeypatch.setattr(Registry, "promote", damaged)
    await service.restart()
    assert await answering(service) == NEW
    assert (await ended(service)).state == State.SUCCEEDED
