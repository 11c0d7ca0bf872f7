"""Runs accepted requests in batches on the device and returns their results.

    submit ─→ decode threads ─→ (stager thread ─→) device threads ─→ the request's future
       └ refuses when the queue is full

`Batcher` owns the threads, which run the encoders; `schedule` decides what each does next. A batch
is dispatched when the device is free, with everything that is ready then; there is no timer. While
a device with its own memory works on one batch, the next full one is stacked and copied to it. A
CPU works on several batches at a time, one for each of its workers.

Each accepted request ends exactly once: its future gets outcomes or an error, or is cancelled.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from halftone.core import errors, telemetry
from halftone.core.system import lower_thread_priority
from halftone.services.embedder.batching.schedule import DeviceCall, Schedule, Selection
from halftone.services.embedder.batching.waiting import Batch, Item, Request, Work
from halftone.services.embedder.encoders.encoder import EmbeddedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.services.embedder.batching.door import Limits
    from halftone.services.embedder.encoders.encoder import Encoder, ImageOutcome, InputImage
    from halftone.services.embedder.metrics import EmbedderMetrics

# One batch may fail for lack of memory; a device that fails three in a row will fail the next.
_FATAL_FAILURES: Final = 3
_JOIN_SECONDS: Final = 10.0
# Niceness of the threads. The event loop comes first, then the threads that decode, which hold
# Python's interpreter for longer, then those that compute. With equal priorities and three times
# the load that two cores can serve, a refusal took 190 to 880 ms at the median; now 1 to 4 ms.
_DECODE_NICE: Final = 5
_DEVICE_NICE: Final = 10

R = TypeVar("R")

_log = telemetry.get_logger(__name__)


class Batcher:
    """Owns the threads that decode images and run the device.

    Attributes:
        ended: A future that gets a result when the batcher is closed, and an exception when the
            device failed for good. All waiting requests have failed by then.
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
        """Create a batcher. `start` starts its threads.

        Args:
            limits: The limits of admission and of a batch's size.
            decode_threads: The number of threads that decode.
            metrics: The metrics of the embedder.
            workers: The number of batches that the device works on at a time.
            stages_ahead: Whether a batch is staged while the device works on another one.
        """
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._schedule = Schedule(limits=limits, metrics=metrics, workers=workers)
        self._metrics = metrics
        self._failures = 0
        self._failures_lock = threading.Lock()
        loops = [(self._decode_loop, _DECODE_NICE)] * decode_threads
        # If batches are staged ahead, a separate device waits for the threads.
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
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads. Requests that still wait fail with `Unavailable`."""
        self._stop(errors.Unavailable("The embedder is shutting down.", reason="DRAINING"))
        for thread in self._threads:
            if thread.is_alive():
                # A device that hangs must not keep the process alive: the threads are daemons.
                thread.join(_JOIN_SECONDS)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.ended.set_result(None)

    def submit(
        self,
        pictures: Sequence[InputImage],
        *,
        encoder: Encoder,
        time_left: float | None = None,
        caller: str = "",
    ) -> concurrent.futures.Future[list[ImageOutcome]]:
        """Accept a request, or refuse it at once.

        Args:
            pictures: The images, at least one.
            encoder: The encoder that embeds them.
            time_left: Seconds until the caller gives up; None means never.
            caller: What tells the caller apart from others, who have their turns as well.

        Returns:
            A future of one outcome for each picture, in order. Cancelling it drops the work. It
            may raise `DeadlineExceeded`, or `Unavailable` when the device fails.

        Raises:
            errors.ResourceExhausted: The queue is full, or too long for the deadline.
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
            caller=caller,
        )
        self._schedule.admit(request, pictures, time_left=time_left)
        request.future.add_done_callback(lambda _: self._forget(request))
        return request.future

    def run(self, function: Callable[[], R]) -> concurrent.futures.Future[R]:
        """Call a function on a thread of the device, between two batches.

        Raises:
            errors.Unavailable: The batcher is closed, or its device failed.
        """
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        self._schedule.add_call(DeviceCall(function=function, future=future))
        return future

    def _forget(self, request: Request) -> None:
        """Clean up after a request. Called once for each request, however it ended."""
        self._schedule.forget(request)
        if request.future.cancelled():
            # Notifies waiters for several futures; a cancelled future is not done before that.
            request.future.set_running_or_notify_cancel()
            self._metrics.cancelled.inc()

    # ---- decode threads

    def _decode_loop(self) -> None:
        while (work := self._schedule.next_undecoded()) is not None:
            started = time.perf_counter()
            try:
                with telemetry.request_id_bound(work.request.request_id):
                    work.prepared = work.request.encoder.prepare(
                        work.picture,
                        is_over=functools.partial(self._schedule.is_over, work.request),
                    )
            except errors.HalftoneError as error:
                self._answer(work, error)
            except Exception:  # noqa: BLE001  # foreign code
                # One bad image must not fail the others.
                _log.exception("decode_failed", request_id=work.request.request_id)
                self._answer(work, errors.Internal("Something went wrong with this image."))
            else:
                self._schedule.add_decoded(work, work.prepared)
            self._metrics.decode_seconds.observe(time.perf_counter() - started)

    # ---- the stager thread

    def _stage_loop(self) -> None:
        while (selection := self._schedule.next_to_stage()) is not None:
            batch = self._stage(selection)
            if batch is not None:
                self._schedule.add_staged(batch)

    def _stage(self, selection: Selection) -> Batch | None:
        try:
            staged = selection.encoder.stage([item.pixels for item in selection.items])
        except Exception as error:  # noqa: BLE001  # foreign code; the batch fails with it
            self._schedule.leave_device()
            self._fail_batch(selection.items, error)
            return None
        return Batch(encoder=selection.encoder, items=selection.items, staged=staged)

    # ---- the device's threads

    def _device_loop(self) -> None:
        while (task := self._schedule.next_task()) is not None:
            if isinstance(task, DeviceCall):
                _call(task)
            elif isinstance(task, Batch):
                self._run_batch(task)
            elif (batch := self._stage(task)) is not None:
                self._run_batch(batch)

    def _run_batch(self, batch: Batch) -> None:
        if not self._schedule.keep_wanted(batch.items):
            self._schedule.leave_device()
            return
        alone = self._schedule.has_device_alone()
        started = time.perf_counter()
        try:
            vectors = batch.encoder.encode(batch.staged, alone=alone)
            if vectors.shape != (len(batch.items), batch.encoder.dimension):
                message = f"{len(batch.items)} items gave descriptors of shape {vectors.shape}"
                raise RuntimeError(message)  # noqa: TRY301  # treated as the device's failure
        except Exception as error:  # noqa: BLE001  # foreign code; the batch fails with it
            self._schedule.leave_device()
            self._fail_batch(batch.items, error)
            return
        self._schedule.leave_device()
        with self._failures_lock:
            self._failures = 0
        self._metrics.inference_seconds.labels(batch.encoder.model_version).observe(
            time.perf_counter() - started
        )
        self._metrics.batch_items.observe(len(batch.items))
        self._schedule.measure(batch.items)
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        for item, vector, usable in zip(batch.items, vectors, finite, strict=True):
            if usable:
                self._collect(item, vector)
            else:
                self._answer(item.work, errors.Internal("The model gave no finite descriptor."))

    def _fail_batch(self, items: list[Item], error: Exception) -> None:
        """Fail the requests of a batch; raise if the device has failed too often in a row."""
        with self._failures_lock:
            self._failures += 1
            failures = self._failures
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
        if failures >= _FATAL_FAILURES:
            raise RuntimeError(f"the device failed {failures} times in a row") from error

    # ---- the end of an image, a request, everything

    def _collect(self, item: Item, vector: NDArray[np.float32]) -> None:
        """Keep an item's descriptor [D]; answer its image once all its items have descriptors."""
        work = item.work
        work.vectors[item.slot] = vector
        prepared = work.prepared
        if prepared is not None and len(work.vectors) == len(prepared.pixels):
            vectors = tuple(work.vectors[slot] for slot in range(len(prepared.pixels)))
            self._answer(
                work, EmbeddedImage(vectors=vectors, width=prepared.width, height=prepared.height)
            )

    def _answer(self, work: Work, outcome: ImageOutcome) -> None:
        """Record the outcome of an image; end its request after the last one."""
        request = work.request
        outcomes = request.answer(work.index, outcome)
        if outcomes is None:
            return
        for each in outcomes:
            label = "embedded" if isinstance(each, EmbeddedImage) else each.reason
            self._metrics.images.labels(label).inc()
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            request.future.set_result(outcomes)

    def _guard(self, loop: Callable[[], None], nice: int) -> None:
        """Run a thread's loop. An error in it ends the batcher, so that no caller hangs."""
        try:
            lower_thread_priority(nice)
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
        live, calls = self._schedule.stop()
        for request in live:
            request.fail(error)
        for call in calls:
            call.future.set_exception(error)


def _call(call: DeviceCall) -> None:
    try:
        result = call.function()
    except Exception as error:  # noqa: BLE001  # belongs to whoever waits for the call
        call.future.set_exception(error)
    else:
        call.future.set_result(result)
