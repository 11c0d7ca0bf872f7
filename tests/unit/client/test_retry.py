"""When both clients try again, against a real gRPC server that misbehaves on command."""

from __future__ import annotations

import threading
import time
from concurrent import futures

import grpc
import pytest

from halftone.client import (
    RetryPolicy,
)
from halftone.client.retry import Attempts
from halftone.core import errors
from tests.support.client.fake_search import fails

NAME = "archives/a/images/one"


def test_unavailable_twice_is_survived_under_one_request_id(fake, client):
    fake.add(NAME)
    fake.faults["GetImage"].extend([fails(errors.Unavailable("draining"))] * 2)
    assert client.get(NAME).name == NAME
    assert client.retry_count == 2
    assert len(fake.calls) == 3
    assert len({request_id for _, request_id, _ in fake.calls}) == 1


def test_retry_info_is_honoured(fake, client):
    fake.add(NAME)
    full = errors.ResourceExhausted("full", retry_after=0.05)
    fake.faults["GetImage"].append(fails(full))
    client.get(NAME)
    (_, _, first), (_, _, second) = fake.calls
    assert second - first >= 0.05


@pytest.mark.parametrize(
    "error",
    [
        errors.ResourceExhausted("your quota"),
        errors.StorageFull("disk", retry_after=0.01),
        errors.InvalidArgument("no"),
        errors.Internal("bug"),
    ],
)
def test_what_waiting_does_not_help_is_not_tried_again(fake, client, error):
    fake.faults["GetImage"].append(fails(error))
    with pytest.raises(type(error)):
        client.get(NAME)
    assert len(fake.calls) == 1


def test_tries_are_bounded(fake, client):
    fake.faults["GetImage"].extend([fails(errors.Unavailable("down"))] * 20)
    with pytest.raises(errors.Unavailable):
        client.get(NAME)
    assert len(fake.calls) == RetryPolicy().attempts


def test_no_pause_goes_past_the_deadline(fake, client):
    fake.faults["GetImage"].append(fails(errors.Unavailable("later", retry_after=30)))
    started = time.monotonic()
    with pytest.raises(errors.Unavailable, match="later"):
        client.get(NAME, timeout=20)
    assert time.monotonic() - started < 20


def test_the_deadline_ends_a_slow_call(fake, client):
    over = threading.Event()
    fake.faults["GetImage"].append(lambda: over.wait(100))
    with pytest.raises(errors.DeadlineExceeded):
        client.get(NAME, timeout=0.2)
    assert not over.is_set()
    over.set()


def test_the_deadline_covers_all_tries_together(fake, client):
    slow_failure = fails(errors.Unavailable("down"))

    def fault():
        time.sleep(0.2)
        slow_failure()

    fake.faults["GetImage"].extend([fault] * 10)
    with pytest.raises((errors.DeadlineExceeded, errors.Unavailable)):
        client.get(NAME, timeout=0.5)
    # Each takes 0.2 s at least.
    assert len(fake.calls) <= 3 < RetryPolicy().attempts


def test_the_jitter_is_full():
    policy = RetryPolicy(first_pause=1, longest_pause=4)
    error = errors.Unavailable("down")
    drawn = [
        [policy.pause(failures=n, error=error, draw=draw) for n in (1, 2, 3, 4)]
        for draw in (0.0, 0.5, 1.0)
    ]
    assert drawn == [[0, 0, 0, 0], [0.5, 1, 2, 2], [1, 2, 4, 4]]


def test_attempts_without_a_clock_of_their_own():
    now = [0.0]
    attempts = Attempts(
        policy=RetryPolicy(first_pause=1),
        timeout=10,
        on_retry=lambda: None,
        clock=lambda: now[0],
        draw=lambda: 1.0,
    )
    assert attempts.pause_after(errors.Unavailable("x")) == 1
    now[0] = 9.5
    assert attempts.remaining() == 0.5
    with pytest.raises(errors.Unavailable):
        attempts.pause_after(errors.Unavailable("x"))


def test_a_roll_back_is_tried_once(connect):
    """Nobody knows whether it was carried out, and the one after it would undo it."""
    tried = []

    def roll_back(_request, context):
        tried.append(1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(roll_back)
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "halftone.v1.ModelService", {"RollBackModelVersion": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(errors.Unavailable, match="gone"):
        connect(f"127.0.0.1:{port}").roll_back()
    server.stop(None)
    assert len(tried) == 1


def test_nobody_listening_is_unavailable(connect):
    with pytest.raises(errors.Unavailable):
        connect("127.0.0.1:1").get(NAME)
