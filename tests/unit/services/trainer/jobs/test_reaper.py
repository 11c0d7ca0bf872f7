"""Jobs whose worker or whose message is gone."""

from __future__ import annotations

import time

import pytest
import redis

from halftone.core import errors
from halftone.services.trainer.jobs.job import State, TrainingJob
from halftone.services.trainer.jobs.queue import WORK_QUEUE
from halftone.services.trainer.jobs.reaper import Reaper
from tests.support.trainer.trainer_desk import run_out, spec


def test_a_job_whose_worker_is_gone_is_queued_again_and_fails_in_the_end(desk):
    desk.submit(job_id="a")
    for attempt in (1, 2):
        lease = desk.store.acquire("a", holder=f"w{attempt}", seconds=60)
        desk.store.update(
            "a", lambda job: job.having(state=State.RUNNING, attempts=job.attempts + 1), lease=lease
        )
        desk.reaper.go_round()
        assert desk.store.get("a").state is State.RUNNING
        run_out(desk)
        before = desk.queue.length()
        desk.reaper.go_round()
        job = desk.store.get("a")
        assert job.crashes == attempt
        assert job.state is (State.QUEUED if attempt == 1 else State.FAILED)
        assert desk.queue.length() == before + (attempt == 1)
    assert job.error.reason == "TRAINING_KILLED"


def test_a_job_that_was_cancelled_when_its_worker_died_is_cancelled(desk):
    desk.submit(job_id="a")
    lease = desk.store.acquire("a", holder="w", seconds=60)
    desk.store.update("a", lambda job: job.having(state=State.CANCELLING), lease=lease)
    run = desk.settings.work_directory / "a" / "run"
    run.mkdir(parents=True)
    run_out(desk)
    desk.reaper.go_round()
    assert desk.store.get("a").state is State.CANCELLED
    assert not run.exists()


def go_twice(desk, seconds=20):
    """Let a reaper go round, and again after a while."""
    desk.reaper.go_round()
    desk.now += seconds
    desk.reaper.go_round()


def test_a_message_that_got_lost_is_sent_again_after_a_while(desk):
    desk.submit(job_id="a")
    assert desk.take() == "a"
    desk.reaper.go_round()
    assert desk.queue.length() == 0
    desk.now += 10
    desk.reaper.go_round()
    assert desk.queue.length() == 0
    desk.now += 10
    desk.reaper.go_round()
    assert desk.queue.length() == 1
    go_twice(desk)
    assert desk.queue.length() == 1
    assert desk.take() == "a"


def test_a_message_is_missed_although_others_wait(desk):
    """The queue is first in, first out: what was sent first is what is gone."""
    for name in "abc":
        desk.submit(job_id=name)
    assert desk.take() == "a"
    go_twice(desk)
    assert [desk.take() for _ in range(desk.queue.length())] == ["b", "c", "a"]


def test_jobs_whose_messages_wait_get_no_others(desk):
    for name in "abc":
        desk.submit(job_id=name)
    go_twice(desk)
    assert desk.queue.length() == 3


def test_a_message_that_is_there_twice_hides_a_lost_one_only_until_it_is_taken(desk):
    for name in "ab":
        desk.submit(job_id=name)
    assert desk.take() == "a"
    desk.queue.send(desk.store.get("b"))
    go_twice(desk)
    assert desk.queue.length() == 2
    lease = desk.store.acquire("b", holder="w", seconds=60)
    assert [desk.take(), desk.take()] == ["b", "b"]
    go_twice(desk)
    assert (desk.take(), desk.queue.length()) == ("a", 0)
    desk.store.release(lease)


def test_a_broker_that_refuses_to_count_the_messages_makes_none_missing(desk, valkey):
    """Otherwise every job that waits would be sent again."""
    desk.submit(job_id="a")
    with redis.Redis(port=valkey.port) as broker:
        broker.acl_setuser("default", enabled=True, commands=["-llen"])
        try:
            for _ in range(2):
                with pytest.raises(errors.Unavailable):
                    desk.reaper.go_round()
                desk.now += 20
        finally:
            broker.acl_setuser("default", enabled=True, commands=["+@all"])
    assert desk.queue.length() == 1
    assert desk.take() == "a"
    assert desk.queue.length() == 0  # once it is empty it does not exist


def test_a_job_that_a_worker_has_needs_no_message(desk):
    desk.submit(job_id="a")
    desk.take()
    desk.store.acquire("a", holder="w", seconds=60)
    go_twice(desk)
    assert desk.queue.length() == 0


def test_two_reapers_send_one_message(desk):
    desk.submit(job_id="a")
    desk.take()
    other = Reaper(
        store=desk.store,
        queue=desk.queue,
        settings=desk.settings,
        directory=desk.settings.work_directory,
        clock=lambda: desk.now,
    )
    # Both have counted the messages before one of them sends.
    job = desk.store.get("a")
    for reaper in (desk.reaper, other):
        reaper.go_round()
    desk.now += 20
    for reaper in (desk.reaper, other):
        reaper._send_missing([job], messages=0)
    assert desk.queue.length() == 1


def test_a_message_whose_worker_was_killed_before_it_took_the_lease(desk):
    """The broker gives it back only after days."""
    desk.submit(job_id="a")
    with (
        desk.app.connection_for_read() as connection,
        connection.SimpleQueue(WORK_QUEUE) as waiting,
    ):
        waiting.get(timeout=60)  # and never acknowledged
        go_twice(desk)
        assert desk.queue.length() == 1


def test_old_jobs_are_forgotten_with_their_files(desk):
    old = time.time() - 100 * 24 * 3600
    for name, end in (("old", old), ("new", time.time())):
        job = TrainingJob.new(name, spec=spec()).having(create_time=old).over(State.FAILED)
        desk.store.create(job.having(end_time=end))
        (desk.settings.work_directory / name).mkdir(parents=True)
    desk.reaper.go_round()
    assert [job.id for job in desk.store.list(limit=9)] == ["new"]
    assert not (desk.settings.work_directory / "old").exists()
    assert (desk.settings.work_directory / "new").exists()
    assert desk.store.counts()[State.FAILED] == 1


def test_leases_of_one_device_are_broken_and_no_others(desk):
    for name, holder in (("a", "here/1"), ("b", "there/1")):
        desk.submit(job_id=name)
        desk.store.acquire(name, holder=holder, seconds=60)
    assert desk.store.break_leases(prefix="here/") == ("a",)
    assert desk.store.holder("b") == "there/1"
