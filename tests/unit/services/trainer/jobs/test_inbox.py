"""The clients' queue in a real Valkey: what is read off it, and what is lost (nothing)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time

import kombu
import pytest
import redis
import structlog

from halftone.core import errors, training
from halftone.services.trainer.jobs.inbox import Inbox
from halftone.services.trainer.jobs.intake import Intake
from halftone.services.trainer.jobs.job import State
from halftone.services.trainer.jobs.queue import WORK_QUEUE, connect_inbox
from tests.support.trainer.hostile_messages import make_hostile_messages
from tests.support.trainer.trainer_desk import spec, until


def known(desk):
    return {job.id: job for job in desk.store.list(limit=100)}


def test_jobs_are_seen_before_a_worker_takes_them(desk):
    desk.put({"spec": spec(), "request_id": "direct"})
    with desk.reading():
        until(lambda: desk.queue.length() == 1)
    assert desk.store.get("direct").state is State.QUEUED
    assert desk.queue.length(training.QUEUE) == 0
    assert desk.take() == "direct"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"spec": spec(model_name="\ud800"), "request_id": "a"}, "spec"),
        ({"spec": spec(since=dt.date(1914, 8, 1)), "request_id": "a"}, "spec"),
        ({"spec": "nonsense", "request_id": "a"}, "spec"),
    ],
)
def test_wrong_arguments_are_a_failed_job_and_stop_nobody(desk, arguments, field):
    """JSON can escape what no text can hold, and Celery's JSON holds dates."""
    desk.put(arguments, task_id="t1")
    desk.put({"spec": spec(), "request_id": "b"})
    with desk.reading():
        until(lambda: "b" in known(desk))
    (refused,) = [job for job in known(desk).values() if job.id != "b"]
    assert (refused.state, refused.error.field) == (State.FAILED, field)


def test_positional_arguments_are_refused_by_name(desk):
    desk.app.send_task(training.TASK, args=(spec(),), task_id="t1", queue=training.QUEUE)
    with desk.reading():
        until(lambda: "t1" in known(desk))
    assert desk.store.get("t1").error.field == "argument 0"


def test_messages_of_others_are_dropped(desk):
    desk.put({}, task="somebody.elses")
    with desk.app.connection_for_write() as connection:
        producer = kombu.Producer(connection, routing_key=training.QUEUE, serializer="json")
        producer.publish("?")
        producer.publish(
            b"\x80", content_type="application/x-python-serialize", content_encoding="binary"
        )
    desk.put({"spec": spec(), "request_id": "b"})
    assert desk.queue.length(training.QUEUE) == 4
    with desk.reading():
        until(lambda: "b" in known(desk))
    assert set(known(desk)) == {"b"}


def test_bytes_that_are_no_text_are_dropped(desk):
    """One is on the list as it is, the other in a message that says it is UTF-8."""
    desk.put({"spec": spec(), "request_id": "a"})
    with desk.reading():
        until(lambda: "a" in known(desk))
        desk.store.client.lpush(training.QUEUE, b"\xff\xfe")
        with desk.app.connection_for_write() as connection:
            kombu.Producer(connection, routing_key=training.QUEUE).publish(
                b"\xff", content_type="application/json", content_encoding="utf-8"
            )
        desk.put({"spec": spec(), "request_id": "b"})
        until(lambda: "b" in known(desk))
    assert set(known(desk)) == {"a", "b"}
    assert desk.queue.length(training.QUEUE) == 0


@pytest.mark.parametrize("item", make_hostile_messages(training.QUEUE))
def test_a_message_that_is_none_is_dropped_where_it_is_read(desk, item):
    """The reader keeps its connection: what comes next is not late."""
    desk.put({"spec": spec(), "request_id": "a"})
    with structlog.testing.capture_logs() as logged, desk.reading():
        until(lambda: "a" in known(desk))
        desk.store.client.lpush(training.QUEUE, item)
        desk.put({"spec": spec(), "request_id": "b"})
        until(lambda: "b" in known(desk))
    assert set(known(desk)) == {"a", "b"}
    said = [event["event"] for event in logged if event["log_level"] == "warning"]
    assert said in (["message_dropped"], ["message_unreadable"])
    assert not desk.store.client.hlen(f"{training.QUEUE}.inbox.unacked")


def test_the_first_version_of_celerys_protocol(desk):
    desk.app.conf.task_protocol = 1
    desk.put({"spec": spec(), "request_id": "old"})
    with desk.reading():
        until(lambda: "old" in known(desk))


def test_a_message_whose_reader_was_killed_before_it_recorded_it(desk):
    desk.put({"spec": spec(), "request_id": "taken"})
    with (
        connect_inbox(desk.settings.broker, visibility_seconds=1.0) as connection,
        connection.SimpleQueue(training.QUEUE) as waiting,
    ):
        waiting.get(timeout=60)  # and never acknowledged
        assert desk.queue.length(training.QUEUE) == 0
        with desk.reading():
            until(lambda: "taken" in known(desk))


def test_what_workers_have_taken_does_not_come_back_to_others(desk):
    """Inboxes take messages back within seconds, of inboxes only."""
    desk.submit(job_id="a")
    with (
        desk.app.connection_for_read() as connection,
        connection.SimpleQueue(WORK_QUEUE) as waiting,
    ):
        waiting.get(timeout=60)
        desk.put({"spec": spec(), "request_id": "taken"})
        with (
            connect_inbox(desk.settings.broker, visibility_seconds=1.0) as another,
            another.SimpleQueue(training.QUEUE) as inbox,
        ):
            inbox.get(timeout=60)
            with desk.reading():
                until(lambda: "taken" in known(desk))
        assert desk.queue.length() == 1  # of the job just taken, and not that of `a`


class Interrupted(Intake):
    """An intake during whose first call something happens."""

    def interrupt(self):
        raise NotImplementedError

    def receive(self, message):
        interrupt, self.interrupt = self.interrupt, lambda: None
        interrupt()
        return super().receive(message)


def make_interrupted(desk, interrupt):
    intake = Interrupted(
        store=desk.store,
        queue=desk.queue,
        settings=desk.settings,
        models=desk.settings.data_roots[0],
    )
    intake.interrupt = interrupt
    return Inbox(broker=desk.settings.broker, intake=intake, poll=0.05, visibility=1.0)


def test_a_message_that_comes_while_the_broker_goes_is_not_lost(desk, valkey):
    gone = threading.Event()

    def interrupt():
        valkey.kill()
        gone.set()

    desk.put({"spec": spec(), "request_id": "a"})
    with desk.reading(make_interrupted(desk, interrupt)):
        assert gone.wait(60)
        time.sleep(0.7)
        # Here, since it ends with the thread that started it.
        valkey.start()
        until(lambda: "a" in known(desk))
    assert set(known(desk)) == {"a"}


@pytest.mark.parametrize(
    ("full", "room"),
    [
        ({"maxmemory": "1"}, {"maxmemory": "0"}),
        ({"min-replicas-to-write": "1"}, {"min-replicas-to-write": "0"}),
    ],
)
def test_a_message_taken_while_the_broker_cannot_write_waits_until_it_can(desk, valkey, full, room):
    """Neither its memory (OOM) nor its missing replicas (NOREPLICAS) are the message's fault."""
    cannot_write = threading.Event()
    with redis.Redis(port=valkey.port) as broker:

        def interrupt():
            for name, value in full.items():
                broker.config_set(name, value)
            cannot_write.set()

        desk.put({"spec": spec(), "request_id": "a"})
        try:
            with desk.reading(make_interrupted(desk, interrupt)):
                assert cannot_write.wait(60)
                time.sleep(0.7)
                assert known(desk) == {}
                for name, value in room.items():
                    broker.config_set(name, value)
                until(lambda: "a" in known(desk))
        finally:
            for name, value in room.items():
                broker.config_set(name, value)
    assert desk.queue.length(training.QUEUE) == 0


def test_a_reader_that_stops_while_the_broker_is_away_leaves_the_message(desk):
    away = threading.Event()

    def interrupt():
        away.set()
        raise errors.Unavailable("It is away.")

    inbox = make_interrupted(desk, interrupt)
    desk.put({"spec": spec(), "request_id": "a"})
    stop = threading.Event()
    thread = threading.Thread(target=inbox.run, args=(stop,))
    thread.start()
    assert away.wait(60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert known(desk) == {}
    with desk.reading():
        until(lambda: "a" in known(desk))


def test_a_fault_of_the_intake_costs_one_message_and_not_the_reader(desk):
    def interrupt():
        raise AssertionError("a fault")

    desk.put({"spec": spec(), "request_id": "a"})
    desk.put({"spec": spec(), "request_id": "b"})
    with desk.reading(make_interrupted(desk, interrupt)):
        until(lambda: "b" in known(desk))
    assert set(known(desk)) == {"b"}


def test_jobs_from_the_queue_are_recorded_although_calls_are_refused(desk):
    """Nobody can refuse a message, so whoever sent it looks for its job."""
    desk.intake._settings = desk.settings.model_copy(update={"max_queued_jobs": 2})
    for name in "abc":
        desk.put({"spec": spec(), "request_id": name})
    with desk.reading():
        until(lambda: set(known(desk)) == {"a", "b", "c"})
    with pytest.raises(errors.ResourceExhausted):
        desk.submit(job_id="d")


def test_a_flood_of_messages_stays_on_the_queue(desk):
    desk.intake._settings = desk.settings.model_copy(update={"max_queued_jobs": 1})
    for name in "abc":
        desk.put({"spec": spec(), "request_id": name})
    with desk.reading(dataclasses.replace(desk.inbox, extra=1)):
        until(lambda: set(known(desk)) == {"a", "b"})
        time.sleep(0.3)
        assert desk.queue.length(training.QUEUE) == 1
        desk.store.update("a", lambda job: job.over(State.CANCELLED))
        until(lambda: "c" in known(desk))
