"""Jobs in a real Valkey: what is kept, who may write, and who has a lease."""

from __future__ import annotations

import threading

import pytest

from halftone.core import errors
from halftone.services.trainer.jobs.job import Progress, State, TrainingJob
from halftone.services.trainer.jobs.store import FencedError, position_of
from halftone.services.trainer.jobs.transitions import Event, Happening, RefusedError, Then
from tests.support.trainer.trainer_desk import run_out, spec


def test_a_job_is_kept_once_and_comes_back_whole(desk):
    job = TrainingJob.new("a", spec=spec()).having(
        progress=Progress(phase="training", loss=0.5, metrics={"recall_at_1": 0.25}),
        log_tail=("[1914] ümlaut",),
    )
    kept, created = desk.store.create(job)
    assert created
    assert desk.store.get("a") == kept == job.having(revision=1)
    again, created = desk.store.create(TrainingJob.new("a", spec=spec(steps=5)))
    assert (again, created) == (kept, False)
    with pytest.raises(errors.NotFound):
        desk.store.get("b")


def test_changes_at_the_same_time_are_all_made(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))

    def count():
        for _ in range(25):
            desk.store.update("a", lambda job: job.having(attempts=job.attempts + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job = desk.store.get("a")
    assert (job.attempts, job.revision) == (100, 101)


def test_a_job_that_others_change_each_time_is_not_tried_for_ever(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))
    tries = []

    def change(job):
        tries.append(job.revision)
        desk.store.update("a", lambda other: other.having(attempts=other.attempts + 1))
        return job.having(attempts=0)

    with pytest.raises(errors.Unavailable) as caught:
        desk.store.update("a", change)
    assert caught.value.reason == "JOB_CONTENDED"
    assert len(tries) == 50
    assert desk.store.get("a").attempts == 50


def test_what_happens_is_recorded_with_what_follows(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))
    same, row = desk.store.record("a", lambda _job: None)
    assert (same.revision, row) == (1, None)
    job, row = desk.store.record("a", lambda _job: Happening(Event.CANCEL_REQUESTED))
    assert (job.state, job.revision, row.then) == (State.CANCELLED, 2, Then.LET_GO)
    with pytest.raises(RefusedError):
        desk.store.record("a", lambda _job: Happening(Event.STARTED))
    assert desk.store.get("a") == job


def test_a_lease_has_one_holder_and_the_newest_may_write(desk):
    desk.store.create(TrainingJob.new("a", spec=spec()))
    first = desk.store.acquire("a", holder="first", seconds=60)
    assert desk.store.acquire("a", holder="second", seconds=10) is None
    # Sent again because the answer was lost.
    assert desk.store.acquire("a", holder="first", seconds=60).fence == first.fence
    run_out(desk)
    # It ran out, and nobody had it since: a broker that was away for a while does no harm.
    assert desk.store.renew(first, seconds=60) is State.QUEUED
    run_out(desk)
    second = desk.store.acquire("a", holder="second", seconds=10)
    assert second.fence > first.fence
    assert desk.store.renew(first, seconds=10) is None
    with pytest.raises(FencedError):
        desk.store.update("a", lambda job: job.having(attempts=9), lease=first)
    assert desk.store.get("a").attempts == 0
    desk.store.release(first)
    assert desk.store.holder("a") == "second"
    desk.store.update("a", lambda job: job.over(State.SUCCEEDED), lease=second)
    desk.store.release(second)
    assert desk.store.acquire("a", holder="third", seconds=10) is None


def test_jobs_are_listed_page_by_page_the_newest_first(desk):
    for number in range(7):
        job = TrainingJob.new(f"j{number}", spec=spec()).having(create_time=1000.0 + number)
        desk.store.create(job.over(State.FAILED) if number % 2 else job)
    seen, before = [], ""
    while page := desk.store.list(limit=3, before=before):
        seen.append([job.id for job in page])
        before = position_of(page[-1])
    assert seen == [["j6", "j5", "j4"], ["j3", "j2", "j1"], ["j0"]]
    failed = desk.store.list(states={State.FAILED}, limit=2)
    assert [job.id for job in failed] == ["j5", "j3"]
    rest = desk.store.list(states={State.FAILED}, limit=2, before=position_of(failed[-1]))
    assert [job.id for job in rest] == ["j1"]
    counts = desk.store.counts()
    assert (counts[State.QUEUED], counts[State.FAILED], counts[State.RUNNING]) == (4, 3, 0)
    assert {job.id for job in desk.store.active()} == {"j0", "j2", "j4", "j6"}


def test_a_broker_that_is_away_is_said_so(desk, valkey):
    valkey.kill()
    try:
        with pytest.raises(errors.Unavailable) as caught:
            desk.store.get("a")
        assert caught.value.reason == "BROKER_UNAVAILABLE"
        with pytest.raises(errors.Unavailable):
            desk.queue.send(TrainingJob.new("a", spec=spec()))
        with pytest.raises(errors.Unavailable):
            desk.queue.length()
    finally:
        valkey.start()
