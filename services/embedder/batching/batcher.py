"""From accepted requests to batches on the device, and back.

    submit ─→ decode threads ─→ (stager thread ─→) device threads ─→ the request's future
       └ refuses at the door when full

A batch is dispatched when the device is free, with whatever is ready then; there is no timer. While
a device that has memory of its own works on one batch, a full next one is stacked and copied to it.
A CPU works on several batches at a time, one for each of its workers; those that are free share
what is ready. Requests take turns image by image, so that one of 64 images does not hold up a
single one. Work whose caller is gone or whose deadline has passed is dropped before it is decoded
and before it is batched.

Each accepted request ends exactly once: its future gets outcomes, an error, or is cancelled.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from halftone.core import errors, telemetry
from halftone.services.embedder.batching.door import Door, Limits
from halftone.services.embedder.batching.waiting import Batch, Item, Request, Turns, Work
from halftone.services.embedder.encoders.encoder import EmbeddedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.services.embedder.encoders.encoder import (
        Encoder,
        ImageOutcome,
        InputImage,
        PreparedImage,
    )
    from halftone.services.embedder.metrics import EmbedderMetrics

# One batch may fail for lack of memory; a device that fails three in a row will fail the next.
_FATAL_FAILURES: Final = 3
# How many batches are decoded ahead of the device. More would decode for callers who give up.
_DECODED_AHEAD: Final = 4
_JOIN_SECONDS: Final = 10.0
# How much these threads give way to the event loop, and those that compute to those that decode,
# which hold Python's interpreter for longer. With all of them alike, under three times what two
# cores can do, a refusal took 190 to 880 ms at the median: the loop waited for time slices. So it
# takes 1 to 4.
_DECODE_NICE: Final = 5
_DEVICE_NICE: Final = 10

R = TypeVar("R")
_Job = concurrent.futures.Future[Any]

_log = telemetry.get_logger(__name__)


class Batcher:
    """Owns the threads and everything that waits.

    Attributes:
        ended: Gets a result when the batcher is closed, and an exception when it cannot go on
            because the device failed; all waiting requests have failed by then.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        decode_threads: int,
        metrics: EmbedderMetrics,
        workers: int = 1,
        stages_ahead: bool = True,
    ) -> None:
        """Starts nothing yet.

        Args:
            limits: What is let in, and the size of a batch.
            decode_threads: Threads that decode.
            metrics: The embedder's.
            workers: Batches that the device works on at a time.
            stages_ahead: Whether a batch is staged while the device works on another one.
        """
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._max_batch = limits.max_batch
        self._door = Door(limits=limits, metrics=metrics)
        self._metrics = metrics
        # One lock for all state; it is never held while decoding, copying or inferring.
        self._lock = threading.RLock()
        self._decodable = threading.Condition(self._lock)
        self._stageable = threading.Condition(self._lock)
        self._runnable = threading.Condition(self._lock)
        self._undecoded: Turns[Work] = Turns()
        self._ready: collections.OrderedDict[Encoder, Turns[Item]] = collections.OrderedDict()
        self._staged: collections.deque[Batch] = collections.deque()
        self._jobs: collections.deque[tuple[Callable[[], Any], _Job]] = collections.deque()
        self._live: set[Request] = set()
        self._workers = workers
        # Batches between being taken from the queue and having left the device: at most one for
        # each worker, and the one that is staged ahead.
        self._in_flight = 0
        self._failures = 0
        self._stopped = False
        loops = [(self._decode_loop, _DECODE_NICE)] * decode_threads
        # Where batches are staged ahead, a device of its own waits for the threads.
        loops += [(self._device_loop, 0 if stages_ahead else _DEVICE_NICE)] * workers
        if stages_ahead:
            loops.append((self._stage_loop, 0))
        self._threads = [
            threading.Thread(
                target=self._guard, args=(loop, nice), name=loop.__name__.strip("_"), daemon=True
            )
            for loop, nice in loops
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends the threads. Whatever still waits fails with `Unavailable`."""
        self._stop(errors.Unavailable("The embedder is shutting down.", reason="DRAINING"))
        for thread in self._threads:
            if thread.is_alive():
                # A device that hangs must not keep the process: the threads are daemons.
                thread.join(_JOIN_SECONDS)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.ended.set_result(None)

    def submit(
        self, pictures: Sequence[InputImage], *, encoder: Encoder, time_left: float | None = None
    ) -> concurrent.futures.Future[list[ImageOutcome]]:
        """Accepts a request or refuses it, at once.

        Args:
            pictures: At least one.
            encoder: What embeds them.
            time_left: Seconds until the caller gives up; None means never.

        Returns:
            A future of one outcome for each picture, in order. Cancelling it drops the work. It
            may raise `DeadlineExceeded`, or `Unavailable` when the device fails.

        Raises:
            errors.ResourceExhausted: The queue is full, or so long that the deadline would pass.
            errors.Unavailable: The batcher is closed, or its device failed.
        """
        now = time.monotonic()
        request = Request(
            encoder=encoder,
            deadline=None if time_left is None else now + time_left,
            accepted=now,
            items=sum(picture.items for picture in pictures),
            size=sum(len(picture.content) for picture in pictures),
            outcomes=[None] * len(pictures),
            unanswered=len(pictures),
            request_id=telemetry.request_id(),
        )
        with self._lock:
            if self._stopped:
                raise errors.Unavailable(
                    "The embedder is shutting down, or its device failed.",
                    reason="DRAINING",
                    retry_after=1.0,
                )
            self._door.enter(items=request.items, size=request.size, time_left=time_left)
            self._live.add(request)
            for index, picture in enumerate(pictures):
                self._undecoded.add(request, Work(request=request, index=index, picture=picture))
            self._decodable.notify(len(pictures))
        request.future.add_done_callback(lambda _: self._forget(request))
        return request.future

    def run(self, job: Callable[[], R]) -> concurrent.futures.Future[R]:
        """Runs something on a thread of the device, between two batches."""
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        with self._lock:
            if self._stopped:
                raise errors.Unavailable("The embedder is shutting down.", reason="DRAINING")
            self._jobs.append((job, future))
            self._runnable.notify()
        return future

    # ---- the end of a request, and whether it has come

    def _forget(self, request: Request) -> None:
        """Called once for each request, however it ended."""
        with self._lock:
            self._live.discard(request)
            self._door.leave(items=request.items, size=request.size)
            self._undecoded.drop(request)
            turns = self._ready.get(request.encoder)
            if turns is not None:
                turns.drop(request)
                if not turns.count:  # and with it the reference to a model that may be unloaded
                    del self._ready[request.encoder]
            self._decodable.notify_all()
        if request.future.cancelled():
            # Tells those who wait for several futures; a cancelled one is not done before that.
            request.future.set_running_or_notify_cancel()
            self._metrics.cancelled.inc()

    def _is_over(self, request: Request) -> bool:
        """Whether nobody waits for a request any more; ends it when its deadline has passed."""
        if request.future.done():
            return True
        if request.deadline is None or time.monotonic() < request.deadline:
            return False
        self._metrics.expired.inc()
        request.fail(errors.DeadlineExceeded("The deadline passed while the request waited."))
        return True

    # ---- decode threads

    def _decode_loop(self) -> None:
        while (work := self._next_undecoded()) is not None:
            started = time.perf_counter()
            try:
                with telemetry.request_id_bound(work.request.request_id):
                    work.prepared = work.request.encoder.prepare(work.picture)
            except errors.HalftoneError as error:
                self._answer(work, error)
            except Exception:  # noqa: BLE001  # foreign code
                # One image must not take the others with it, whatever is wrong with it.
                _log.exception("decode_failed", request_id=work.request.request_id)
                self._answer(work, errors.Internal("Something went wrong with this image."))
            else:
                self._make_ready(work, work.prepared)
            self._metrics.decode_seconds.observe(time.perf_counter() - started)

    def _next_undecoded(self) -> Work | None:
        with self._lock:
            while not self._stopped:
                ready = sum(turns.count for turns in self._ready.values())
                if not self._undecoded.count or ready >= _DECODED_AHEAD * self._max_batch:
                    self._decodable.wait()
                    continue
                work = self._undecoded.take()
                if not self._is_over(work.request):
                    return work
            return None

    def _make_ready(self, work: Work, prepared: PreparedImage) -> None:
        with self._lock:
            if not self._stopped and not work.request.future.done():
                turns = self._ready.setdefault(work.request.encoder, Turns())
                for slot, pixels in enumerate(prepared.pixels):
                    turns.add(work.request, Item(work=work, slot=slot, pixels=pixels))
                self._stageable.notify()
                self._runnable.notify()

    # ---- the stager thread

    def _stage_loop(self) -> None:
        while (taken := self._next_items()) is not None:
            batch = self._stage(*taken)
            if batch is not None:
                with self._lock:
                    self._staged.append(batch)
                    self._runnable.notify()

    def _stage(self, encoder: Encoder, items: list[Item]) -> Batch | None:
        try:
            staged = encoder.stage([item.pixels for item in items])
        except Exception as error:  # noqa: BLE001  # foreign code; the batch fails with it
            self._left_device()
            self._fail_batch(items, error)
            return None
        return Batch(encoder=encoder, items=items, staged=staged)

    def _next_items(self) -> tuple[Encoder, list[Item]] | None:
        with self._lock:
            while not self._stopped:
                # While the device works: only a full batch, and only one ahead of it.
                if self._in_flight == self._workers and (taken := self._take(self._max_batch)):
                    return taken
                self._stageable.wait()
            return None

    def _take(self, enough: int) -> tuple[Encoder, list[Item]] | None:
        """Items of a model version of which at least so many are ready."""
        for encoder, turns in list(self._ready.items()):
            # Workers that are free share what is ready: the eight orientations of one picture
            # take two of them half as long.
            share = -(-turns.count // max(1, self._workers - self._in_flight))
            most = min(self._max_batch, share)
            if turns.count >= enough and (items := self._take_items(encoder, most=most)):
                self._in_flight += 1
                return encoder, items
        return None

    def _take_items(self, encoder: Encoder, *, most: int) -> list[Item]:
        turns = self._ready.pop(encoder)
        items: list[Item] = []
        while turns.count and len(items) < most:
            item = turns.take()
            if self._is_over(item.work.request):
                turns.drop(item.work.request)
            else:
                items.append(item)
        if turns.count:
            # Model versions take turns as well: to the end of the line.
            self._ready[encoder] = turns
        now = time.monotonic()
        for item in items:
            self._metrics.queue_seconds.observe(now - item.work.request.accepted)
        self._decodable.notify_all()
        return items

    # ---- the device's threads

    def _device_loop(self) -> None:
        while (task := self._next_task()) is not None:
            task()

    def _next_task(self) -> Callable[[], None] | None:
        with self._lock:
            while not self._stopped:
                if self._jobs:
                    job, future = self._jobs.popleft()
                    return functools.partial(_run_job, job, future)
                if self._staged:
                    return functools.partial(self._run_batch, self._staged.popleft())
                # The device is free: whatever is ready goes at once, staged on this thread, which
                # spares a single image one change of threads.
                if self._in_flight < self._workers and (taken := self._take(1)):
                    return functools.partial(self._stage_and_run, *taken)
                self._runnable.wait()
            return None

    def _stage_and_run(self, encoder: Encoder, items: list[Item]) -> None:
        # Those that came while this thread was on its way may fill another batch.
        with self._lock:
            self._stageable.notify()
            self._runnable.notify()
        batch = self._stage(encoder, items)
        if batch is not None:
            self._run_batch(batch)

    def _run_batch(self, batch: Batch) -> None:
        with self._lock:
            # A list, not a generator: each request whose deadline passed has to be ended.
            wanted = [item for item in batch.items if not self._is_over(item.work.request)]
            alone = self._in_flight == 1 and not self._ready
        if not wanted:
            self._left_device()
            return
        started = time.perf_counter()
        try:
            vectors = batch.encoder.encode(batch.staged, alone=alone)
            if vectors.shape != (len(batch.items), batch.encoder.dimension):
                message = f"{len(batch.items)} items gave descriptors of shape {vectors.shape}"
                raise RuntimeError(message)  # noqa: TRY301  # treated as the device's failure
        except Exception as error:  # noqa: BLE001  # foreign code; the batch fails with it
            self._left_device()
            self._fail_batch(batch.items, error)
            return
        self._left_device()
        self._failures = 0
        self._metrics.inference_seconds.labels(batch.encoder.model_version).observe(
            time.perf_counter() - started
        )
        self._metrics.batch_items.observe(len(batch.items))
        with self._lock:
            self._door.measure(
                items=len(batch.items),
                accepted=min(item.work.request.accepted for item in batch.items),
            )
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        for item, vector, usable in zip(batch.items, vectors, finite, strict=True):
            if usable:
                self._collect(item, vector)
            else:
                self._answer(item.work, errors.Internal("The model gave no finite descriptor."))

    def _left_device(self) -> None:
        with self._lock:
            self._in_flight -= 1
            self._stageable.notify()
            self._runnable.notify()

    def _fail_batch(self, items: list[Item], error: Exception) -> None:
        with self._lock:
            self._failures += 1
        self._metrics.device_errors.inc()
        requests = {item.work.request for item in items}
        _log.error(
            "device_error",
            items=len(items),
            request_ids=sorted(request.request_id for request in requests),
            exc_info=error,
        )
        failure = errors.Unavailable(
            "The device failed on this batch.", reason="DEVICE_ERROR", retry_after=1.0
        )
        for request in requests:
            request.fail(failure)
        if self._failures >= _FATAL_FAILURES:
            raise RuntimeError(f"the device failed {self._failures} times in a row") from error

    # ---- the end of an image, a request, everything

    def _collect(self, item: Item, vector: NDArray[np.float32]) -> None:
        work = item.work
        work.vectors[item.slot] = vector
        prepared = work.prepared
        if prepared is not None and len(work.vectors) == len(prepared.pixels):
            vectors = tuple(work.vectors[slot] for slot in range(len(prepared.pixels)))
            self._answer(
                work, EmbeddedImage(vectors=vectors, width=prepared.width, height=prepared.height)
            )

    def _answer(self, work: Work, outcome: ImageOutcome) -> None:
        request = work.request
        with self._lock:
            if request.outcomes[work.index] is not None:
                return  # another orientation failed already
            request.outcomes[work.index] = outcome
            request.unanswered -= 1
            outcomes = [outcome for outcome in request.outcomes if outcome is not None]
            if request.unanswered:
                return
        for each in outcomes:
            label = "embedded" if isinstance(each, EmbeddedImage) else each.reason
            self._metrics.images.labels(label).inc()
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            request.future.set_result(outcomes)

    def _guard(self, loop: Callable[[], None], nice: int) -> None:
        """Runs a thread. One that ends by an error ends the batcher, lest callers wait for ever."""
        try:
            _give_way(nice)
            loop()
        except BaseException as error:  # noqa: BLE001  # nothing may end a thread unseen
            _log.exception("embedder_thread_died", thread=threading.current_thread().name)
            self._stop(
                errors.Unavailable(
                    "The embedder's device failed.", reason="DEVICE_FAILED", retry_after=5.0
                )
            )
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.ended.set_exception(error)

    def _stop(self, error: errors.HalftoneError) -> None:
        with self._lock:
            self._stopped = True
            live, jobs = list(self._live), list(self._jobs)
            self._jobs.clear()
            for condition in (self._decodable, self._stageable, self._runnable):
                condition.notify_all()
        for request in live:
            request.fail(error)
        for _, future in jobs:
            future.set_exception(error)


def _give_way(nice: int) -> None:
    """Lowers the calling thread's priority. Linux has one for each thread, others do not."""
    if nice and sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, now + nice)


def _run_job(job: Callable[[], Any], future: _Job) -> None:
    try:
        result = job()
    except Exception as error:  # noqa: BLE001  # belongs to whoever waits for the job
        future.set_exception(error)
    else:
        future.set_result(result)
