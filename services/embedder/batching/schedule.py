"""The queues of the embedder's threads, and the choice of what comes next.

`Schedule` holds all state that the batcher's threads share, behind one lock. Threads ask it for
work and block until there is some; it runs no foreign code. Requests take turns image by image, so
that one of 64 images does not hold up a single one, and so do model versions, batch by batch.
"""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors
from halftone.services.embedder.batching.door import Door
from halftone.services.embedder.batching.waiting import Batch, Item, Request, Turns, Work

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Sequence

    from halftone.services.embedder.batching.door import Limits
    from halftone.services.embedder.encoders.encoder import Encoder, InputImage, PreparedImage
    from halftone.services.embedder.metrics import EmbedderMetrics

# Batches that are decoded ahead of the device. With more, callers might give up before their turn.
_DECODED_AHEAD: Final = 4


@dataclass(frozen=True, kw_only=True)
class DeviceCall:
    """A function to call on a thread of the device, and the future that gets its result."""

    function: Callable[[], Any]
    future: concurrent.futures.Future[Any]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Items of one model version that were chosen to be one batch. They are not staged yet."""

    encoder: Encoder
    items: list[Item]


Task = DeviceCall | Batch | Selection


class Schedule:
    """Admits requests and hands out work in turns. Its methods are thread-safe.

    The `next_…` methods block until there is work; they return None once `stop` was called. Work
    whose caller is gone or whose deadline has passed is dropped on the way.
    """

    def __init__(self, *, limits: Limits, metrics: EmbedderMetrics, workers: int) -> None:
        """Create an empty schedule.

        Args:
            limits: The limits of admission and of a batch's size.
            metrics: The metrics of the embedder.
            workers: The number of batches that the device works on at a time.
        """
        self._max_batch = limits.max_batch
        self._door = Door(limits=limits, metrics=metrics)
        self._metrics = metrics
        # Never held while decoding, copying or inferring.
        self._lock = threading.RLock()
        self._decodable = threading.Condition(self._lock)
        self._stageable = threading.Condition(self._lock)
        self._runnable = threading.Condition(self._lock)
        self._undecoded: Turns[Work] = Turns()
        self._ready: collections.OrderedDict[Encoder, Turns[Item]] = collections.OrderedDict()
        self._staged: collections.deque[Batch] = collections.deque()
        self._calls: collections.deque[DeviceCall] = collections.deque()
        self._live: set[Request] = set()
        self._workers = workers
        # Batches that were selected and have not left the device: at most one for each worker, and
        # the one that is staged ahead.
        self._in_flight = 0
        self._stopped = False

    @property
    def ready_items(self) -> int:
        """The number of items that are decoded and wait for the device."""
        with self._lock:
            return sum(turns.count for turns in self._ready.values())

    # ---- requests

    def admit(
        self, request: Request, pictures: Sequence[InputImage], *, time_left: float | None
    ) -> None:
        """Admit a request, or refuse it at once.

        Args:
            request: The new request.
            pictures: Its images.
            time_left: Seconds until the caller gives up; None means never.

        Raises:
            errors.ResourceExhausted: The queue is full, or too long for the deadline.
            errors.Unavailable: The schedule has stopped.
        """
        with self._lock:
            if self._stopped:
                raise errors.Unavailable(
                    "The embedder is shutting down, or its device failed.",
                    reason="DRAINING",
                    retry_after=1.0,
                )
            self._door.enter(
                items=request.items,
                size=request.size,
                time_left=time_left,
                caller=request.caller,
            )
            self._live.add(request)
            for index, picture in enumerate(pictures):
                self._undecoded.add(request, Work(request=request, index=index, picture=picture))
            self._decodable.notify(len(pictures))

    def forget(self, request: Request) -> None:
        """Drop the rest of a request that has ended. Called once for each request."""
        with self._lock:
            self._live.discard(request)
            self._door.leave(items=request.items, size=request.size, caller=request.caller)
            self._undecoded.drop(request)
            turns = self._ready.get(request.encoder)
            if turns is not None:
                turns.drop(request)
                if not turns.count:  # and with it the reference to a model that may be unloaded
                    del self._ready[request.encoder]
            self._decodable.notify_all()

    def keep_wanted(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that somebody still waits for. Ends requests whose deadline passed."""
        with self._lock:
            # A list, not a generator: each request whose deadline passed has to be ended.
            return [item for item in items if not self.is_over(item.work.request)]

    def is_over(self, request: Request) -> bool:
        """Return whether nobody waits for a request. Ends it if its deadline passed."""
        if request.future.done():
            return True
        if request.deadline is None or time.monotonic() < request.deadline:
            return False
        self._metrics.expired.inc()
        request.fail(errors.DeadlineExceeded("The deadline passed while the request waited."))
        return True

    # ---- images to decode

    def next_undecoded(self) -> Work | None:
        """Return the next image to decode, or None if the schedule was stopped.

        Blocks while there is none, or enough items are ready for the device.
        """
        with self._lock:
            while not self._stopped:
                most = _DECODED_AHEAD * self._max_batch
                if not self._undecoded.count or self.ready_items >= most:
                    self._decodable.wait()
                    continue
                work = self._undecoded.take()
                if not self.is_over(work.request):
                    return work
            return None

    def add_decoded(self, work: Work, prepared: PreparedImage) -> None:
        """Add the inputs of a decoded image to the queue of the device."""
        with self._lock:
            if not self._stopped and not work.request.future.done():
                turns = self._ready.setdefault(work.request.encoder, Turns())
                for slot, pixels in enumerate(prepared.pixels):
                    turns.add(work.request, Item(work=work, slot=slot, pixels=pixels))
                self._stageable.notify()
                self._runnable.notify()

    # ---- batches

    def next_to_stage(self) -> Selection | None:
        """Return the next batch to stage ahead, or None if the schedule was stopped.

        Blocks until a full batch is ready and all workers are busy.
        """
        with self._lock:
            while not self._stopped:
                if self._in_flight == self._workers and (chosen := self._select(self._max_batch)):
                    return chosen
                self._stageable.wait()
            return None

    def add_staged(self, batch: Batch) -> None:
        """Add a batch that was staged ahead."""
        with self._lock:
            self._staged.append(batch)
            self._runnable.notify()

    def next_task(self) -> Task | None:
        """Return the next task for a thread of the device, or None if the schedule was stopped.

        Function calls come first, then staged batches. If neither waits and a worker is free, the
        thread gets the items that are ready and stages them itself, which saves a single image one
        change of threads. Blocks while there is no task.
        """
        with self._lock:
            while not self._stopped:
                if self._calls:
                    return self._calls.popleft()
                if self._staged:
                    return self._staged.popleft()
                if self._in_flight < self._workers and (chosen := self._select(1)):
                    # Items that arrived meanwhile may fill another batch.
                    self._stageable.notify()
                    self._runnable.notify()
                    return chosen
                self._runnable.wait()
            return None

    def has_device_alone(self) -> bool:
        """Return whether one batch is on the device and nothing else waits for it."""
        with self._lock:
            return self._in_flight == 1 and not self._ready

    def leave_device(self) -> None:
        """Count one batch less on the device. Also called for a batch that never reached it."""
        with self._lock:
            self._in_flight -= 1
            self._stageable.notify()
            self._runnable.notify()

    def measure(self, items: Sequence[Item]) -> None:
        """Update the drain rate with the items of a batch that has just ended."""
        with self._lock:
            self._door.measure(
                items=len(items), accepted=min(item.work.request.accepted for item in items)
            )

    def _select(self, enough: int) -> Selection | None:
        """Choose a batch of a model version that has at least `enough` items ready, or None."""
        for encoder, turns in list(self._ready.items()):
            # Free workers share the items that are ready: two of them need half the time for the
            # eight orientations of one picture.
            share = -(-turns.count // max(1, self._workers - self._in_flight))
            most = min(self._max_batch, share)
            if turns.count >= enough and (items := self._take_items(encoder, most=most)):
                self._in_flight += 1
                return Selection(encoder=encoder, items=items)
        return None

    def _take_items(self, encoder: Encoder, *, most: int) -> list[Item]:
        turns = self._ready.pop(encoder)
        items: list[Item] = []
        while turns.count and len(items) < most:
            item = turns.take()
            if self.is_over(item.work.request):
                turns.drop(item.work.request)
            else:
                items.append(item)
        if turns.count:
            # Model versions take turns as well: this one goes to the end of the line.
            self._ready[encoder] = turns
        now = time.monotonic()
        for item in items:
            self._metrics.queue_seconds.observe(now - item.work.request.accepted)
        self._decodable.notify_all()
        return items

    # ---- function calls, and the end

    def add_call(self, call: DeviceCall) -> None:
        """Add a function to be called on a thread of the device, between two batches.

        Raises:
            errors.Unavailable: The schedule has stopped.
        """
        with self._lock:
            if self._stopped:
                raise errors.Unavailable("The embedder is shutting down.", reason="DRAINING")
            self._calls.append(call)
            self._runnable.notify()

    def stop(self) -> tuple[list[Request], list[DeviceCall]]:
        """Stop handing out work. Returns the requests and calls that have not ended."""
        with self._lock:
            self._stopped = True
            live, calls = list(self._live), list(self._calls)
            self._calls.clear()
            for condition in (self._decodable, self._stageable, self._runnable):
                condition.notify_all()
        return live, calls
