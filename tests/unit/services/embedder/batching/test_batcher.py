"""The batcher with a dummy encoder: nothing is lost, doubled, starved or done for nobody."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import os
import random
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from halftone.core import errors, telemetry
from halftone.imaging import images
from halftone.services.embedder.encoders.encoder import EmbeddedImage, InputImage
from tests.support.embedder.fake_encoder import DummyEncoder, make_batcher, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.services.embedder.batching.batcher import Batcher
    from halftone.services.embedder.encoders.encoder import ImageOutcome

TIMEOUT = 120


@contextlib.contextmanager
def running(**limits: int) -> Iterator[tuple[Batcher, telemetry.Metrics]]:
    batcher, metrics = make_batcher(**limits)
    batcher.start()
    try:
        yield batcher, metrics
    finally:
        batcher.close()


def numbers(outcomes: list[ImageOutcome]) -> list[int]:
    found = []
    for outcome in outcomes:
        assert isinstance(outcome, EmbeddedImage)
        low, high = outcome.vectors[0]
        found.append(int(low) + 256 * int(high))
    return found


def value(metrics: telemetry.Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"halftone_embedder_{name}", labels) or 0.0


def ready(batcher: Batcher) -> int:
    """Items that are decoded and wait for a batch."""
    return batcher._schedule.ready_items


def wait_until(condition, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def test_results_keep_the_order_of_the_images_over_several_batches():
    encoder = DummyEncoder()
    with running(max_batch=4) as (batcher, _):
        request = batcher.submit([picture(number) for number in range(30)], encoder=encoder)
        assert numbers(request.result(TIMEOUT)) == list(range(30))
    assert max(len(batch) for batch in encoder.batches) <= 4
    assert sorted(encoder.items) == list(range(30))


def test_a_mirrored_picture_is_an_item_of_its_own():
    encoder = DummyEncoder()
    with running(max_batch=3, decode_threads=1) as (batcher, _):
        pictures = [picture(number, mirrored=True) for number in (1, 2, 300)]
        outcomes = batcher.submit(pictures, encoder=encoder).result(TIMEOUT)
    assert numbers(outcomes) == [1, 2, 300]
    for outcome in outcomes:
        assert outcome.vectors[1].tolist() == outcome.vectors[0][::-1].tolist()
    assert len(encoder.items) == 6
    assert max(len(batch) for batch in encoder.batches) <= 3


def test_one_bad_image_does_not_hurt_its_neighbours():
    encoder = DummyEncoder()
    with running() as (batcher, metrics):
        pictures = [picture(1), InputImage(content=b"bad"), picture(2), InputImage(content=b"bug")]
        outcomes = batcher.submit(pictures, encoder=encoder).result(TIMEOUT)
        assert numbers([outcomes[0], outcomes[2]]) == [1, 2]
        assert outcomes[1].reason == images.CORRUPT
        assert isinstance(outcomes[3], errors.Internal)
        # And the ones that come after it are served as well.
        assert numbers(batcher.submit([picture(3)], encoder=encoder).result(TIMEOUT)) == [3]
        assert value(metrics, "images_total", outcome="embedded") == 3
        assert value(metrics, "images_total", outcome="CORRUPT") == 1


def test_a_request_of_bad_images_only_ends():
    with running() as (batcher, _):
        outcomes = batcher.submit([InputImage(content=b"bad")], encoder=DummyEncoder())
        assert [outcome.reason for outcome in outcomes.result(TIMEOUT)] == [images.CORRUPT]


def test_it_dispatches_at_once_when_idle_and_fills_batches_when_busy():
    encoder = DummyEncoder()
    encoder.go.clear()
    with running(max_batch=4) as (batcher, _):
        first = batcher.submit([picture(0)], encoder=encoder)
        assert encoder.touched.wait(TIMEOUT)
        # The device is busy: a single one waits for company, a full batch is staged.
        others = [batcher.submit([picture(number)], encoder=encoder) for number in range(1, 7)]
        wait_until(lambda: encoder.staged == [1, 4] and ready(batcher) == 2)
        encoder.go.set()
        concurrent.futures.wait([first, *others], TIMEOUT)
    assert [len(batch) for batch in encoder.batches] == [1, 4, 2]


def test_the_next_batch_is_staged_while_the_device_works():
    encoder = DummyEncoder()
    encoder.go.clear()
    with running(max_batch=4) as (batcher, _):
        first = batcher.submit([picture(0)], encoder=encoder)
        assert encoder.touched.wait(TIMEOUT)
        others = batcher.submit([picture(number) for number in range(1, 10)], encoder=encoder)
        # A full one, and only one: the third waits for the device.
        wait_until(lambda: encoder.staged == [1, 4] and ready(batcher) == 5)
        time.sleep(0.05)
        assert encoder.staged == [1, 4]
        assert encoder.batches == [[0]]
        encoder.go.set()
        concurrent.futures.wait([first, others], TIMEOUT)
    assert encoder.staged == [1, 4, 4, 1]


def test_single_images_are_not_starved_by_large_requests():
    encoder = DummyEncoder(seconds=lambda: 0.002)
    encoder.go.clear()
    order: list[str] = []
    with running(max_batch=4, max_queue_items=512, decode_threads=1) as (batcher, _):
        large = [
            batcher.submit([picture(number) for number in range(64)], encoder=encoder)
            for _ in range(4)
        ]
        singles = [batcher.submit([picture(100 + index)], encoder=encoder) for index in range(8)]
        for request in large:
            request.add_done_callback(lambda _: order.append("large"))
        for request in singles:
            request.add_done_callback(lambda _: order.append("single"))
        encoder.go.set()
        wait_until(lambda: len(order) == 12)
    assert order == ["single"] * 8 + ["large"] * 4
    # Not merely before their end: within the first tenth of all the work.
    assert max(encoder.items.index(100 + index) for index in range(8)) < 264 // 3


def test_it_refuses_at_the_limit_of_items_and_says_when_to_come_back():
    encoder = DummyEncoder(seconds=lambda: 0.02)
    with running(max_batch=4, max_queue_items=8) as (batcher, metrics):
        began = time.monotonic()
        batcher.submit([picture(number) for number in range(8)], encoder=encoder).result(TIMEOUT)
        took = time.monotonic() - began
        # A future tells those who wait for it before it calls back.
        wait_until(lambda: value(metrics, "queue_items") == 0)
        encoder.go.clear()
        accepted = [batcher.submit([picture(number)], encoder=encoder) for number in range(8)]
        with pytest.raises(errors.ResourceExhausted) as refusal:
            batcher.submit([picture(9)], encoder=encoder)
        assert refusal.value.reason == "QUEUE_FULL"
        assert refusal.value.retry_after is not None
        # About as long as as many took before.
        assert 0.05 <= refusal.value.retry_after < max(1, 4 * took)
        assert value(metrics, "rejected_total", reason="QUEUE_FULL") == 1
        assert value(metrics, "queue_items") == 8
        encoder.go.set()
        concurrent.futures.wait(accepted, TIMEOUT)
        wait_until(lambda: value(metrics, "queue_items") == 0)
        batcher.submit([picture(9)], encoder=encoder).result(TIMEOUT)


def test_it_refuses_at_the_limit_of_bytes():
    encoder = DummyEncoder()
    encoder.go.clear()
    with running(max_queue_bytes=10) as (batcher, _):
        accepted = batcher.submit([InputImage(content=b"0000001")], encoder=encoder)
        with pytest.raises(errors.ResourceExhausted, match="full"):
            batcher.submit([InputImage(content=b"0002")], encoder=encoder)
        batcher.submit([InputImage(content=b"003")], encoder=encoder)
        with pytest.raises(errors.ResourceExhausted) as refusal:
            batcher.submit([InputImage(content=b"00000000004")], encoder=encoder)
        assert refusal.value.reason == "LARGER_THAN_QUEUE"
        assert refusal.value.retry_after is None, "waiting does not help"
        encoder.go.set()
        accepted.result(TIMEOUT)


def test_it_refuses_what_would_expire_in_the_queue():
    encoder = DummyEncoder(seconds=lambda: 0.05)
    with running(max_batch=1, max_queue_items=100) as (batcher, _):
        batcher.submit([picture(number) for number in range(4)], encoder=encoder).result(TIMEOUT)
        waiting = batcher.submit([picture(number) for number in range(40)], encoder=encoder)
        with pytest.raises(errors.ResourceExhausted) as refusal:
            batcher.submit([picture(99)], encoder=encoder, time_left=0.5)
        assert refusal.value.reason == "WOULD_EXPIRE"
        waiting.cancel()


def test_expired_work_never_reaches_the_device():
    encoder = DummyEncoder()
    encoder.go.clear()
    with running(max_batch=8) as (batcher, metrics):
        busy = batcher.submit([picture(0)], encoder=encoder)
        assert encoder.touched.wait(TIMEOUT)
        late = batcher.submit([picture(1), picture(2)], encoder=encoder, time_left=0.02)
        patient = batcher.submit([picture(3)], encoder=encoder, time_left=60)
        time.sleep(0.05)
        encoder.go.set()
        with pytest.raises(errors.DeadlineExceeded):
            late.result(TIMEOUT)
        assert numbers(patient.result(TIMEOUT)) == [3]
        busy.result(TIMEOUT)
        assert value(metrics, "expired_total") == 1
    # Not even as company in a batch of somebody who does wait.
    assert encoder.batches == [[0], [3]]


def test_work_that_expired_in_the_queue_is_not_even_decoded():
    encoder = DummyEncoder()
    batcher, _ = make_batcher()
    request = batcher.submit([picture(1)], encoder=encoder, time_left=0.0)
    batcher.start()
    with pytest.raises(errors.DeadlineExceeded):
        request.result(TIMEOUT)
    batcher.close()
    assert encoder.prepared == []


def test_cancelled_work_is_dropped_and_makes_room():
    encoder = DummyEncoder()
    encoder.go.clear()
    with running(max_batch=2, max_queue_items=8) as (batcher, metrics):
        busy = batcher.submit([picture(0)], encoder=encoder)
        assert encoder.touched.wait(TIMEOUT)
        abandoned = batcher.submit([picture(number) for number in range(10, 17)], encoder=encoder)
        assert abandoned.cancel()
        assert value(metrics, "queue_items") == 1
        assert value(metrics, "cancelled_total") == 1
        after = batcher.submit([picture(number) for number in range(1, 8)], encoder=encoder)
        encoder.go.set()
        assert numbers(after.result(TIMEOUT)) == list(range(1, 8))
        busy.result(TIMEOUT)
    # At most the batch that was on its way to the device when the caller gave up.
    assert len([number for number in encoder.items if number >= 10]) <= 2


def test_a_failed_batch_fails_its_requests_only():
    failures = iter([True, False, False, False])
    encoder = DummyEncoder(fails=lambda: next(failures))
    with running() as (batcher, metrics):
        with pytest.raises(errors.Unavailable, match="device"):
            batcher.submit([picture(1)], encoder=encoder).result(TIMEOUT)
        assert numbers(batcher.submit([picture(2)], encoder=encoder).result(TIMEOUT)) == [2]
        assert value(metrics, "device_errors_total") == 1
        assert not batcher.ended.done()


def test_what_its_threads_log_names_the_requests():
    failing = DummyEncoder(fails=lambda: True)
    with running() as (batcher, _), structlog.testing.capture_logs() as logs:
        with telemetry.request_id_bound("id-1"):
            batcher.submit([InputImage(content=b"bug")], encoder=failing).result(TIMEOUT)
        with telemetry.request_id_bound("id-2"), pytest.raises(errors.Unavailable):
            batcher.submit([picture(1)], encoder=failing).result(TIMEOUT)
    facts = {event["event"]: event for event in logs}
    assert facts["decode_failed"]["request_id"] == "id-1"
    assert facts["device_error"]["request_ids"] == ["id-2"]


def test_a_device_that_keeps_failing_ends_the_batcher_and_everything_that_waits():
    encoder = DummyEncoder(fails=lambda: True)
    encoder.go.clear()
    with running(max_batch=1) as (batcher, _):
        waiting = [batcher.submit([picture(number)], encoder=encoder) for number in range(20)]
        encoder.go.set()
        for request in waiting:
            assert isinstance(request.exception(TIMEOUT), errors.Unavailable)
        assert isinstance(batcher.ended.exception(TIMEOUT), RuntimeError)
        with pytest.raises(errors.Unavailable):
            batcher.submit([picture(1)], encoder=encoder)
    assert len(encoder.batches) == 3


def test_a_dead_decode_thread_leaves_nobody_waiting():
    class Exiting(DummyEncoder):
        def prepare(self, picture: InputImage, *, is_over=None):
            raise SystemExit

    with running() as (batcher, _):
        request = batcher.submit([picture(1)], encoder=Exiting())
        assert isinstance(request.exception(TIMEOUT), errors.Unavailable)
        assert isinstance(batcher.ended.exception(TIMEOUT), SystemExit)


def test_a_descriptor_that_is_not_finite_is_an_error_of_its_image():
    class Overflowing(DummyEncoder):
        def encode(self, staged, *, alone=True):
            vectors = super().encode(staged, alone=alone)
            vectors[vectors[:, 0] == 2] = float("nan")
            return vectors

    with running() as (batcher, _):
        request = batcher.submit([picture(1), picture(2), picture(3)], encoder=Overflowing())
        outcomes = request.result(TIMEOUT)
    assert isinstance(outcomes[1], errors.Internal)
    assert numbers([outcomes[0], outcomes[2]]) == [1, 3]


def test_closing_fails_what_waits():
    encoder = DummyEncoder()
    batcher, _ = make_batcher()
    request = batcher.submit([picture(1)], encoder=encoder)
    job = batcher.run(lambda: None)
    batcher.close()
    assert isinstance(request.exception(TIMEOUT), errors.Unavailable)
    assert isinstance(job.exception(TIMEOUT), errors.Unavailable)
    assert batcher.ended.result(TIMEOUT) is None
    with pytest.raises(errors.Unavailable):
        batcher.submit([picture(1)], encoder=encoder)


def test_jobs_run_on_the_thread_that_owns_the_device():
    class Recording(DummyEncoder):
        thread = ""

        def encode(self, staged, *, alone=True):
            self.thread = threading.current_thread().name
            return super().encode(staged, alone=alone)

    encoder = Recording()
    with running() as (batcher, _):
        name = batcher.run(lambda: threading.current_thread().name).result(TIMEOUT)
        with pytest.raises(ZeroDivisionError):
            batcher.run(lambda: 1 // 0).result(TIMEOUT)
        batcher.submit([picture(1)], encoder=encoder).result(TIMEOUT)
    assert encoder.thread == name != threading.current_thread().name


def test_model_versions_share_the_device_but_no_batch():
    one, two = DummyEncoder(model_version="dummy/1"), DummyEncoder(model_version="dummy/2")
    with running() as (batcher, _):
        requests = [
            batcher.submit([picture(100 * turn + number) for number in range(9)], encoder=encoder)
            for turn, encoder in enumerate((one, two))
        ]
        assert numbers(requests[0].result(TIMEOUT)) == list(range(9))
        assert numbers(requests[1].result(TIMEOUT)) == list(range(100, 109))
    assert sorted(one.items) == list(range(9))
    assert sorted(two.items) == list(range(100, 109))


class Chaos:
    """Random sizes, deadlines, cancellations, bad images and device errors."""

    def __init__(self, seed: int, *, failing: bool) -> None:
        self.rng = random.Random(seed)
        self.requests: list[tuple[list[InputImage], concurrent.futures.Future]] = []
        self.endings: collections.Counter[int] = collections.Counter()
        self._failing = failing
        self._failed = False
        self._number = 0
        self.encoders = [
            DummyEncoder(
                model_version=f"dummy/{index}",
                seconds=lambda: self.rng.random() * 0.002,
                decode_seconds=0.0002,
                fails=self._fails,
            )
            for index in range(2)
        ]

    def _fails(self) -> bool:
        # Never twice in a row: three times would end the batcher.
        self._failed = self._failing and not self._failed and self.rng.random() < 0.2
        return self._failed

    def _picture(self) -> InputImage:
        if self.rng.random() < 0.1:
            return InputImage(content=b"bad")
        self._number += 1
        return picture(self._number, mirrored=self.rng.random() < 0.2)

    def submit(self, batcher: Batcher, *, index: int) -> None:
        pictures = [self._picture() for _ in range(self.rng.randint(1, 12))]
        try:
            request = batcher.submit(
                pictures,
                encoder=self.rng.choice(self.encoders),
                time_left=self.rng.choice([None, 0.0, 0.001, 0.003, 10.0]),
            )
        except errors.ResourceExhausted:
            time.sleep(0.001)
            return
        request.add_done_callback(lambda _: self.endings.update([index]))
        self.requests.append((pictures, request))
        if self.rng.random() < 0.2:
            request.cancel()


def check_answers(pictures: list[InputImage], outcomes: list[ImageOutcome]) -> None:
    for asked, outcome in zip(pictures, outcomes, strict=True):
        if asked.content == b"bad":
            assert outcome.reason == images.CORRUPT
        else:
            assert numbers([outcome]) == [int(asked.content)]
            assert len(outcome.vectors) == asked.items


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    # Threads do not repeat themselves, so that shrinking an example leads nowhere.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), max_batch=st.integers(1, 9), failing=st.booleans())
def test_every_accepted_request_ends_exactly_once(seed, max_batch, failing):
    chaos = Chaos(seed, failing=failing)
    with running(max_batch=max_batch, max_queue_items=60) as (batcher, metrics):
        for index in range(40):
            chaos.submit(batcher, index=index)
        waiting = [request for _, request in chaos.requests]
        assert not concurrent.futures.wait(waiting, TIMEOUT).not_done
        wait_until(lambda: chaos.endings.total() >= len(chaos.requests))
        assert set(chaos.endings.values()) <= {1}
        assert len(chaos.endings) == len(chaos.requests)
        wait_until(lambda: value(metrics, "queue_items") == value(metrics, "queue_bytes") == 0)
    for pictures, request in chaos.requests:
        if request.cancelled():
            continue
        error = request.exception()
        if error is None:
            check_answers(pictures, request.result())
        else:
            assert isinstance(error, errors.DeadlineExceeded | errors.Unavailable)


def test_free_workers_share_what_is_ready():
    """The orientations of one picture become ready at once; two workers take half of them each."""
    encoder = DummyEncoder(seconds=lambda: 0.02)
    with running(max_batch=8, workers=2, stages_ahead=False) as (batcher, _):
        batcher.submit([picture(7, mirrored=True)], encoder=encoder).result(TIMEOUT)
    assert [len(batch) for batch in encoder.batches] == [1, 1]


def test_workers_run_batches_at_the_same_time():
    meeting = threading.Barrier(2, timeout=TIMEOUT)

    class Meeting(DummyEncoder):
        def encode(self, staged, *, alone=True):
            meeting.wait()
            return super().encode(staged, alone=alone)

    with running(max_batch=1, workers=2, stages_ahead=False) as (batcher, _):
        outcomes = batcher.submit([picture(1), picture(2)], encoder=Meeting()).result(TIMEOUT)
    assert numbers(outcomes) == [1, 2]


def test_a_batch_knows_whether_it_has_the_device_for_itself():
    class Observing(DummyEncoder):
        def __init__(self):
            super().__init__()
            self.alone: list[bool] = []

        def encode(self, staged, *, alone=True):
            self.alone.append(alone)
            return super().encode(staged, alone=alone)

    encoder = Observing()
    with running(max_batch=1, workers=2, stages_ahead=False) as (batcher, _):
        batcher.submit([picture(1)], encoder=encoder).result(TIMEOUT)
        encoder.go.clear()
        busy = batcher.submit([picture(2)], encoder=encoder)
        wait_until(lambda: len(encoder.batches) == 2)
        more = batcher.submit([picture(3)], encoder=encoder)
        wait_until(lambda: len(encoder.batches) == 3)
        encoder.go.set()
        concurrent.futures.wait([busy, more], TIMEOUT)
    assert encoder.alone == [True, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_threads_that_compute_give_way_to_the_event_loop():
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    class Noting(DummyEncoder):
        decoding = 0

        def prepare(self, picture, *, is_over=None):
            self.decoding = nice()
            return super().prepare(picture)

    encoder = Noting()
    with running(workers=2, stages_ahead=False) as (batcher, _):
        batcher.submit([picture(1)], encoder=encoder).result(TIMEOUT)
        computing = batcher.run(nice).result(TIMEOUT)
    assert nice() < encoder.decoding < computing
    with running() as (batcher, _):
        assert batcher.run(nice).result(TIMEOUT) == nice(), "a device of its own waits for it"
