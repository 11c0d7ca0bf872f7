"""What becomes of a job that a worker runs."""

from __future__ import annotations

import threading

import pytest

from halftone.core import errors
from halftone.services.trainer.jobs.job import State
from halftone.services.trainer.jobs.store import JobStore
from halftone.services.trainer.jobs.transitions import Event, Happening, RefusedError
from tests.support.trainer.trainer_desk import until


def test_a_run_tells_how_it_goes(desk):
    desk.submit(job_id="a", options={"batch": 8})
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.model_version, job.attempts) == (State.SUCCEEDED, "plain/1", 1)
    assert (job.progress.step, job.progress.fraction) == (12, 1.0)
    assert job.log_tail[-1] == "step 12"
    message = job.to_message()
    assert message.spec.options["batch"] == "8"
    assert message.end_time.ToSeconds() >= message.start_time.ToSeconds() > 0
    assert desk.store.holder("a") is None
    # Its message comes again.
    desk.runner().run("a")
    assert desk.store.get("a") == job


@pytest.mark.parametrize(
    ("name", "reason", "attempts"),
    [
        ("crash", "TRAINING_CRASHED", 1),
        ("silent", "TRAINING_CRASHED", 1),
        ("refuses", "TOO_LITTLE", 1),
        ("killed", "TRAINING_KILLED", 2),
    ],
)
def test_how_a_run_fails(desk, name, reason, attempts):
    desk.submit(name, job_id="a")
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.reason, job.attempts) == (State.FAILED, reason, attempts)


def test_a_process_that_was_killed_once_goes_on(desk):
    desk.submit("killed-once", job_id="a")
    desk.runner().run("a")
    job = desk.store.get("a")
    assert (job.state, job.attempts) == (State.SUCCEEDED, 2)


def test_a_job_has_a_time_limit(desk):
    desk.submit(job_id="a", steps=100_000)
    desk.runner(max_job_hours=0.5 / 3600).run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.reason) == (State.FAILED, "JOB_TIME_LIMIT")


def test_a_disk_with_too_little_room(desk):
    desk.submit(job_id="a")
    desk.runner(min_free_bytes=2**60).run("a")
    job = desk.store.get("a")
    assert (job.state, job.error.code) == (State.FAILED, "RESOURCE_EXHAUSTED")
    assert isinstance(job.error.to_error(), errors.ResourceExhausted)


def test_a_run_whose_job_was_taken_over_ends_and_writes_nothing(desk):
    desk.submit(job_id="a", steps=100_000)
    runner = desk.runner()
    thread = threading.Thread(target=runner.run, args=("a",))
    thread.start()
    until(lambda: desk.store.get("a").progress.step > 2)
    # As if its lease had run out unnoticed.
    desk.store.client.delete("halftone:training:lease:a")
    lease = desk.store.acquire("a", holder="other", seconds=60)
    taken = desk.store.update("a", lambda job: job.having(attempts=7), lease=lease)
    thread.join(60)
    assert not thread.is_alive()
    assert desk.store.get("a") == taken
    assert desk.store.holder("a") == "other"
    assert runner.metrics.leases_lost._value.get() == 1


class CancellingStore(JobStore):
    """A store in which somebody cancels a job as soon as a worker has its lease."""

    def acquire(self, job_id, **keywords):
        lease = super().acquire(job_id, **keywords)
        self.record(job_id, lambda _job: Happening(Event.CANCEL_REQUESTED))
        return lease


def test_a_job_that_is_cancelled_when_its_worker_begins(desk):
    desk.submit(job_id="a")
    run = desk.settings.work_directory / "a" / "run"
    run.mkdir(parents=True)
    runner = desk.runner()
    runner.store = CancellingStore.connect(desk.settings)
    runner.run("a")
    runner.store.close()
    job = desk.store.get("a")
    assert (job.state, job.attempts) == (State.CANCELLED, 0)
    assert desk.store.holder("a") is None
    assert not run.exists()


def test_a_job_that_was_cancelled_while_nobody_had_its_lease_stays_so(desk):
    """Its lease ran out unnoticed and it was put back; what it publishes then comes too late."""
    desk.submit(job_id="a")
    lease = desk.store.acquire("a", holder="here/1", seconds=60)
    desk.store.record("a", lambda _job: Happening(Event.CANCEL_REQUESTED))
    for event in (Event.PUBLISHED, Event.FINISHED, Event.FAILED):
        with pytest.raises(RefusedError):
            desk.runner()._record(lease, lambda _job, event=event: Happening(event))
    assert desk.store.get("a").state is State.CANCELLED


class Promoter:
    def __init__(self, outcome="is promoted", *, then=lambda: None):
        self.outcome, self.asked, self.then, self.cancelled = outcome, [], then, []

    def __call__(self, version, is_stopped):
        self.asked.append(version)
        self.then()
        return self.outcome

    def cancel(self, version):
        self.cancelled.append(version)


def test_a_version_is_promoted_and_the_outcome_told(desk):
    promote = Promoter("plain/1 is published, and not promoted: worse")
    desk.submit(job_id="a", promote=True)
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert promote.asked == ["plain/1"]
    # The job did what it can; that the gate refused is no failure of the training.
    assert job.state is State.SUCCEEDED
    assert job.log_tail[-1].endswith("not promoted: worse")


def test_a_worker_that_ends_during_a_promotion_goes_on_with_it_later(desk):
    runner = desk.runner()

    def end():
        runner.stopping = True

    runner.promote = Promoter(then=end)
    desk.submit(job_id="a", promote=True)
    runner.run("a")
    assert desk.store.get("a").state is State.QUEUED
    promote = Promoter()
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert (job.state, job.attempts, promote.asked) == (State.SUCCEEDED, 1, ["plain/1"])


def test_a_job_is_free_before_another_worker_hears_of_it(desk):
    """Otherwise that worker finds it taken and drops the message."""
    runner, holders = desk.runner(), []

    class Queue:
        def send(self, job):
            holders.append(desk.store.holder(job.id))

    def end():
        runner.stopping = True

    desk.submit(job_id="a", promote=True)
    runner.promote, runner.queue = Promoter(then=end), Queue()
    runner.run("a")
    assert desk.store.get("a").state is State.QUEUED
    assert holders == [None]


def test_a_job_cancelled_during_its_promotion(desk):
    def cancel():
        desk.store.update("a", lambda job: job.having(state=State.CANCELLING))

    promote = Promoter(then=cancel)
    desk.submit(job_id="a", promote=True)
    desk.runner(promote).run("a")
    job = desk.store.get("a")
    assert (job.state, job.model_version, promote.cancelled) == (
        State.CANCELLED,
        "plain/1",
        ["plain/1"],
    )


def test_a_job_cancelled_while_its_worker_ends_is_not_promoted_later(desk):
    runner = desk.runner()

    def cancel_and_end():
        desk.store.update("a", lambda job: job.having(state=State.CANCELLING))
        runner.stopping = True

    runner.promote = Promoter(then=cancel_and_end)
    desk.submit(job_id="a", promote=True)
    waiting = desk.queue.length()
    runner.run("a")
    assert desk.store.get("a").state is State.CANCELLED
    assert (runner.promote.cancelled, desk.queue.length()) == (["plain/1"], waiting)


def test_a_job_that_was_put_back_while_it_ran_is_promoted_all_the_same(desk):
    """Its lease ran out unnoticed, and nobody else took it."""
    promote = Promoter()
    desk.submit(job_id="a", steps=100, promote=True)
    thread = threading.Thread(target=desk.runner(promote).run, args=("a",))
    thread.start()
    until(lambda: desk.store.get("a").progress.step > 2)
    desk.store.client.delete("halftone:training:lease:a")
    desk.store.update("a", lambda job: job.having(state=State.QUEUED))
    thread.join(60)
    assert (desk.store.get("a").state, promote.asked) == (State.SUCCEEDED, ["plain/1"])


def test_checkpoints_of_a_cancelled_job_are_removed_when_its_message_comes(desk):
    desk.submit(job_id="a")
    run = desk.settings.work_directory / "a" / "run"
    run.mkdir(parents=True)
    desk.store.update("a", lambda job: job.over(State.CANCELLED))
    desk.runner().run("a")
    assert not run.exists()
