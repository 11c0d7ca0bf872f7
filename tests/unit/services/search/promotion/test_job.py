"""One promotion: what fails on its way, what is cancelled, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import inspect
import threading
from dataclasses import dataclass

import pytest

from halftone.archive import records
from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.search.archive.embedder_client import Embedder
from halftone.services.search.promotion import compare
from halftone.services.search.promotion.files import PromotionFiles
from halftone.services.search.promotion.transitions import STEPS, State, Step
from halftone.services.search.store.edge.collection import EdgeCollection
from halftone.services.search.store.edge.store import EdgeStore
from halftone.v1 import models_pb2
from tests.support.search.promotions import NEW, OLD, answering, ended, promote, promoted, until
from tests.support.search.search_service import name, record


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr("halftone.services.search.archive.patience._PAUSE", 0.01)
    # All progress is written.
    monkeypatch.setattr("halftone.services.search.promotion.journal._NOTE_SECONDS", -1.0)


def full(*_arguments, **_fields):
    raise errors.StorageFull("The disk is full.")


def away(*_arguments, **_fields):
    raise errors.Unavailable("It does not answer.")


def fail_to_write(monkeypatch, *, states, times=10_000):
    """Promotions in some states cannot be written, so many times. Returns the states tried."""
    write, tried = PromotionFiles.write, []

    def failing(self, promotion):
        if promotion.state in states and len(tried) < times:
            tried.append(promotion.state)
            full()
        write(self, promotion)

    monkeypatch.setattr(PromotionFiles, "write", failing)
    return tried


def files_of(service):
    return PromotionFiles(service.settings.data_directory)


# What is written.


async def test_progress_that_cannot_be_written_ends_no_promotion(service, hasty, monkeypatch):
    await service.add(*(record(number) for number in range(40)))
    await promote(service)
    tried = fail_to_write(monkeypatch, states={State.EMBEDDING, State.COMPARING})
    done = await ended(service)
    assert done.state == State.SUCCEEDED, done.error.message
    assert tried
    assert files_of(service).read().state == State.SUCCEEDED


async def test_a_switch_that_cannot_be_written_down_does_not_happen(service, registry, monkeypatch):
    await service.add(*(record(number) for number in range(3)))
    tried = fail_to_write(monkeypatch, states={State.SWITCHING}, times=1)
    moved = []
    monkeypatch.setattr(EdgeStore, "set_active", lambda _store, version: moved.append(version))
    done = await promoted(service)
    assert (done.state, errors.from_status(done.error).message) == (
        State.FAILED,
        "The disk is full.",
    )
    assert tried == [State.SWITCHING]
    assert not moved
    assert registry.pointer().active == OLD
    assert await answering(service) == OLD


async def test_an_end_that_cannot_be_written_is_told_and_written_later(service, monkeypatch):
    await service.add(*(record(number) for number in range(3)))
    fail_to_write(monkeypatch, states={State.SUCCEEDED}, times=1)
    assert (await promoted(service)).state == State.SUCCEEDED
    assert await answering(service) == NEW
    await until(lambda: files_of(service).read().state == State.SUCCEEDED)


async def test_no_file_of_a_promotion_is_touched_on_the_event_loop(service, hasty, monkeypatch):
    """A disk that hangs would stop every search."""
    threads = {}

    def watch(owner, method):
        call = getattr(owner, method)

        def watched(*arguments, **fields):
            threads.setdefault(method, set()).add(threading.current_thread())
            return call(*arguments, **fields)

        monkeypatch.setattr(owner, method, watched)

    for owner in (PromotionFiles, Registry):
        for method, _ in inspect.getmembers(owner, inspect.isfunction):
            if not method.startswith("_"):
                watch(owner, method)
    for method in ("active", "set_active", "model_versions", "open", "drop"):
        watch(EdgeStore, method)
    await service.add(*(record(number) for number in range(40)))
    groups = [models_pb2.LabelledGroup(images=[name(1), name(2)])]
    assert (await promoted(service, labelled_groups=groups)).state == State.SUCCEEDED
    await service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest())
    await ended(service)
    await service.models.DeleteModelVersion(models_pb2.DeleteModelVersionRequest(name=NEW))
    assert {"write", "is_cancelled", "read", "verify", "promote", "delete"} <= threads.keys()
    loop = threading.main_thread()
    assert [method for method, used in threads.items() if loop in used] == []


async def test_many_groups_are_not_worked_through_on_the_event_loop(service, monkeypatch):
    """20,000 names take a tenth of a second, the vectors of a thousand images half of that."""
    calls = []

    def watch(owner, function):
        call = getattr(owner, function)

        def watched(*arguments, **fields):
            calls.append((function, threading.current_thread() is threading.main_thread()))
            return call(*arguments, **fields)

        monkeypatch.setattr(owner, function, watched)

    watch(records, "parse_name")
    watch(compare, "_unit")
    await service.add(record(0), record(1))
    calls.clear()
    names = [name(number) for number in range(5_000)]
    groups = [models_pb2.LabelledGroup(images=names[start::4]) for start in range(4)]
    groups.append(models_pb2.LabelledGroup(images=names[:2]))
    assert (await promoted(service, labelled_groups=groups, force=True)).state == State.SUCCEEDED
    assert sum(function == "parse_name" for function, _ in calls) > 10_000
    assert sum(function == "_unit" for function, _ in calls) == 4
    on_loop = [function for function, on_loop in calls if on_loop]
    # Some at a time, to see whether any of the images is there.
    assert set(on_loop) <= {"parse_name"}
    assert len(on_loop) <= 64


# What is cancelled.


@pytest.mark.soak
@pytest.mark.parametrize("method", ["upsert", "query"])
@pytest.mark.parametrize("problem", ["refusal", "outage", "bug"])
async def test_a_promotion_that_is_cancelled_ends_cancelled_whatever_fails(
    service, hasty, registry, monkeypatch, problem, method
):
    await service.add(*(record(number) for number in range(12)))
    files = files_of(service)

    def fail(*_arguments, **_fields):
        files.ask_to_cancel(files.read().id)
        if problem == "bug":
            raise ZeroDivisionError
        if problem == "outage":
            away()
        raise errors.Internal("It cannot be done.")

    monkeypatch.setattr(EdgeCollection, method, fail)
    done = await promoted(service)
    assert done.state == State.CANCELLED, done.error.message
    assert not done.HasField("error")
    assert files.read().state == State.CANCELLED
    monkeypatch.undo()
    assert await answering(service) == OLD
    assert registry.pointer().active == OLD


async def test_a_wish_that_comes_right_before_the_switch_is_heard(service, registry, monkeypatch):
    """Nobody but the switch itself looks at the file once more."""
    await service.add(*(record(number) for number in range(3)))
    list_versions, calls, files = Embedder.list_versions, [], files_of(service)

    async def list_and_cancel(self, **fields):
        versions = await list_versions(self, **fields)
        calls.append(versions)
        if len(calls) == 2:
            files.ask_to_cancel(files.read().id)
        return versions

    monkeypatch.setattr(Embedder, "list_versions", list_and_cancel)
    done = await promoted(service)
    assert len(calls) == 2
    assert done.state == State.CANCELLED
    assert registry.pointer().active == await answering(service) == OLD


async def test_a_wish_that_comes_in_a_switch_that_fails_is_heard(service, registry, monkeypatch):
    await service.add(*(record(number) for number in range(3)))
    wished, files = [], files_of(service)

    def cancel_and_fail(_store, _version):
        wished.append(True)
        files.ask_to_cancel(files.read().id)
        away()

    monkeypatch.setattr(EdgeStore, "set_active", cancel_and_fail)
    done = await promoted(service)
    assert wished
    assert done.state == State.CANCELLED
    assert registry.pointer().active == await answering(service) == OLD


async def test_one_that_has_switched_is_neither_cancelled_nor_failed(
    service, registry, monkeypatch
):
    await service.add(*(record(number) for number in range(3)))
    promote_version = Registry.promote

    def promote_and_ask(self, version):
        """The wish comes in the middle of the move; then everything is broken."""
        files = files_of(service)
        files.ask_to_cancel(files.read().id)
        promoted_version = promote_version(self, version)
        monkeypatch.setattr(EdgeStore, "set_active", away)
        monkeypatch.setattr(EdgeStore, "model_versions", away)
        return promoted_version

    monkeypatch.setattr(Registry, "promote", promote_and_ask)
    done = await promoted(service)
    assert done.state == State.SUCCEEDED, done.error.message
    assert registry.pointer().active == await answering(service) == NEW


async def test_a_move_that_cannot_be_undone_is_not_reported_failed(
    service, hasty, registry, monkeypatch
):
    """The alias has moved, the pointer cannot be, and the alias does not go back."""
    await service.add(*(record(number) for number in range(3)))
    promote_version, set_active, failing = Registry.promote, EdgeStore.set_active, iter([True])
    tried = []

    def fail_once(self, version):
        return full() if next(failing, False) else promote_version(self, version)

    def stuck(self, version):
        if version == OLD:
            tried.append(version)
            if len(tried) < 4:
                full()
        set_active(self, version)

    monkeypatch.setattr(Registry, "promote", fail_once)
    monkeypatch.setattr(EdgeStore, "set_active", stuck)
    await promote(service)
    changes = service.models.WatchPromotion(models_pb2.WatchPromotionRequest())
    async with asyncio.timeout(60):
        states = [promotion.state async for promotion in changes]
    assert states[-1] == State.SUCCEEDED
    assert State.FAILED not in states
    assert len(tried) == 4, "it goes back before the archive is embedded again"
    assert registry.pointer().active == await answering(service) == NEW


async def test_a_move_that_waits_for_another_try_is_no_longer_switching(
    service, registry, monkeypatch
):
    await service.add(*(record(number) for number in range(3)))
    files, set_active, tried, is_away = files_of(service), EdgeStore.set_active, [], True

    def set_active_later(self, version):
        tried.append(version)
        return away() if is_away else set_active(self, version)

    monkeypatch.setattr(EdgeStore, "set_active", set_active_later)
    await promote(service)
    await until(lambda: tried and files.read().state == State.COMPARING)
    is_away = False
    assert (await ended(service)).state == State.SUCCEEDED
    assert registry.pointer().active == NEW


async def test_a_service_that_stops_leaves_its_promotion_whatever_fails(
    service, embedder, monkeypatch
):
    """A task group raises the error of a task rather than the cancellation of the whole."""
    await service.add(*(record(number) for number in range(12)))
    gate = embedder.gates[NEW] = asyncio.Event()
    embed, cut = Embedder.embed, []

    async def cut_off(self, *arguments, **fields):
        try:
            return await embed(self, *arguments, **fields)
        except asyncio.CancelledError:
            cut.append(True)
            raise errors.Internal("The channel is closed.") from None

    monkeypatch.setattr(Embedder, "embed", cut_off)
    started = await promote(service)
    await until(lambda: NEW in embedder.stopped)
    await service.stop()
    assert cut
    assert files_of(service).read().state == State.EMBEDDING
    monkeypatch.undo()
    gate.set()
    await service.restart()
    done = await ended(service)
    assert (done.state, done.id) == (State.SUCCEEDED, started.id)


# What a kill leaves.


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What is on disk when a process is killed in a step."""

    step: Step
    alias: str = OLD
    pointer: str = OLD

    def __str__(self) -> str:
        return f"{self.step.name}-{self.alias[-1]}{self.pointer[-1]}"


KILLS = (
    Kill(step=Step.EMBEDDING),
    Kill(step=Step.COMPARING),
    Kill(step=Step.CATCHING_UP),
    Kill(step=Step.MOVING),
    Kill(step=Step.MOVING, alias=NEW),
    Kill(step=Step.GATHERING, alias=NEW, pointer=NEW),
)


def test_a_kill_in_each_step_is_tried():
    assert {kill.step for kill in KILLS} == {
        step for step, facts in STEPS.items() if facts.resumes is not None
    }


@pytest.mark.soak
@pytest.mark.parametrize("kill", KILLS, ids=str)
async def test_a_kill_in_any_step_is_followed_by_completion(service, registry, kill):
    await service.add(*(record(number) for number in range(6)))
    await promoted(service)
    await promoted(service, OLD, force=True)
    # What only the old collection has, as of a process whose switch had failed before.
    await service.add(record(6))
    await service.stop()
    store = EdgeStore(service.settings.data_directory, min_free_bytes=0)
    files = files_of(service)
    promotion = files.read()
    promotion.model_version, promotion.from_model_version = NEW, OLD
    promotion.state = STEPS[kill.step].state
    promotion.ClearField("end_time")
    files.write(promotion)
    store.set_active(kill.alias)
    if kill.pointer != OLD:
        registry.promote(kill.pointer)
    store.close()
    await service.restart()
    done = await ended(service)
    assert done.state == State.SUCCEEDED, done.error.message
    assert await answering(service) == NEW
    pointer = registry.pointer()
    assert (pointer.active, pointer.previous) == (NEW, OLD)
    hits = await service.hits(image=name(0), limit=20)
    assert set(hits) == {name(number) for number in range(1, 7)}
