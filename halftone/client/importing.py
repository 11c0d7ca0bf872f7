"""The import stream: records out, acknowledgements in, taken up again when the stream is lost.

Three threads take part. The *feeder* pulls records from the caller's iterable and keeps at most a
window of them unacknowledged; gRPC's own thread sends what the feeder has ready, as fast as the
stream's flow control lets it; the caller's thread receives the acknowledgements. A record leaves
the window only when it is acknowledged, so a lost stream costs nothing but sending the window
again, and the service takes what it has already as UNCHANGED.
"""

from __future__ import annotations

import collections
import queue
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from halftone.client import calls, retry
from halftone.client.types import ImportState, ImportSummary
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from halftone.archive.manifests import Row
    from halftone.client.types import ImportAck, NewImage
    from halftone.v1 import search_pb2 as pb

# Twice what the service works on at a time by default (4 batches of 32), so that it never waits.
WINDOW_RECORDS: Final = 256
# A window of large scans must not fill the client's memory.
WINDOW_BYTES: Final = 64 * 1024 * 1024


class Stream(Protocol):
    """What `grpc` returns for a call with a stream of responses."""

    def __iter__(self) -> Iterator[pb.ImportImagesResponse]:
        """The responses; raises `grpc.RpcError`."""

    def cancel(self) -> bool:
        """Ends the call."""


class _Ended:
    """Put into the inbox when a stream has ended, with its error if it had one."""

    def __init__(self, error: grpc.RpcError | None) -> None:
        self.error = error


@dataclass
class _Window:
    """The records that are not acknowledged yet; everything under one lock.

    Attributes:
        pending: In the order in which they are sent; `bytes` counts them.
        sent: How many of them, from the left, were given to the present stream.
        settled: How many have left the window, acknowledged.
        stream: Number of the present stream; an older one must not take records any more.
        exhausted: The caller's iterable has ended.
        closed: The import is over; every thread goes home.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    pending: collections.deque[pb.ImportImagesRequest] = field(default_factory=collections.deque)
    sizes: collections.deque[int] = field(default_factory=collections.deque)
    bytes: int = 0
    sent: int = 0
    settled: int = 0
    stream: int = 0
    exhausted: bool = False
    closed: bool = False

    def add(self, request: pb.ImportImagesRequest) -> bool:
        """Waits for room and adds a record. False: the import is over."""
        size = request.ByteSize()
        with self.changed:
            self.changed.wait_for(lambda: self.closed or self._has_room(size))
            if self.closed:
                return False
            self.pending.append(request)
            self.sizes.append(size)
            self.bytes += size
            self.changed.notify_all()
            return True

    def _has_room(self, size: int) -> bool:
        if not self.pending:
            return True
        return len(self.pending) < WINDOW_RECORDS and self.bytes + size <= WINDOW_BYTES

    def requests(self, stream: int) -> Iterator[pb.ImportImagesRequest]:
        """What the stream of that number is to send; waits for the feeder."""
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: (
                        self.closed
                        or self.stream != stream
                        or self.sent < len(self.pending)
                        or self.exhausted
                    )
                )
                if self.closed or self.stream != stream or self.sent >= len(self.pending):
                    return
                request = self.pending[self.sent]
                self.sent += 1
            yield request

    def acknowledge(self, response: pb.ImportImagesResponse) -> None:
        """Takes the oldest record out; acknowledgements come in the order of the records."""
        with self.changed:
            if not self.sent:
                raise errors.Internal("The service acknowledged a record that was not sent.")
            request = self.pending[0]
            if (request.row, request.image.name) != (response.row, response.name):
                raise errors.Internal(
                    f"The service acknowledged {response.name} (row {response.row}) instead of "
                    f"{request.image.name} (row {request.row})."
                )
            self.pending.popleft()
            self.bytes -= self.sizes.popleft()
            self.sent -= 1
            self.settled += 1
            self.changed.notify_all()

    def restart(self) -> int:
        """Everything unacknowledged is to be sent again; gives the next stream's number."""
        with self.changed:
            self.stream += 1
            self.sent = 0
            self.changed.notify_all()
            return self.stream

    def finish(self, *, exhausted: bool = False, closed: bool = False) -> None:
        """No more records will be added, or the whole import is over."""
        with self.changed:
            self.exhausted |= exhausted
            self.closed |= closed
            self.changed.notify_all()

    @property
    def added(self) -> int:
        """How many records have entered the window."""
        with self.changed:
            return self.settled + len(self.pending)

    @property
    def is_waiting(self) -> bool:
        """Whether the service owes an acknowledgement."""
        with self.changed:
            return self.sent > 0

    @property
    def is_done(self) -> bool:
        """Whether everything there was is acknowledged."""
        with self.changed:
            return self.exhausted and not self.pending


class ImportRun:
    """One import from its first record to its last acknowledgement.

    Args:
        records: Pulled from a thread of its own, one record at a time.
        open_stream: Starts the call with the requests it is given.
        on_ack: Called in the caller's thread for each acknowledgement.
        on_retry: Called when the stream is taken up again.
        stall_timeout: Seconds without an acknowledgement, while some are owed, after which the
            stream counts as lost.
    """

    def __init__(
        self,
        records: Iterable[NewImage | Row],
        *,
        open_stream: Callable[[Iterator[pb.ImportImagesRequest]], Stream],
        on_ack: Callable[[ImportAck], None],
        on_retry: Callable[[], None],
        policy: retry.RetryPolicy,
        stall_timeout: float,
    ) -> None:
        self._records = records
        self._open_stream = open_stream
        self._on_ack = on_ack
        self._on_retry = on_retry
        self._policy = policy
        self._stall_timeout = stall_timeout
        self._window = _Window()
        self._inbox: queue.Queue[tuple[int, pb.ImportImagesResponse | _Ended]] = queue.Queue()
        # Rejections by the feeder itself, for example of a file that cannot be read, each with the
        # number of records before it that the service is to acknowledge first.
        self._refused: collections.deque[tuple[int, ImportAck]] = collections.deque()
        self._feeder_error: BaseException | None = None
        self._stopped = threading.Event()
        self._counts = dict.fromkeys(ImportState, 0)
        self._rejected: list[ImportAck] = []
        self._reconnects = 0
        self._progress_time = time.monotonic()

    def stop(self) -> None:
        """Ends the run from another thread; `run` raises `errors.Cancelled`."""
        self._stopped.set()
        self._window.finish(closed=True)

    def run(self) -> ImportSummary:
        """Sends every record and gives the summary.

        Raises:
            errors.HalftoneError: The stream failed for good. What was acknowledged is stored.
            Exception: Whatever the iterable of records raised, after the records before it were
                acknowledged.
        """
        feeder = threading.Thread(target=self._feed, name="halftone-import-feeder", daemon=True)
        feeder.start()
        failures = 0
        try:
            while True:
                progress_before = self._progress_time
                try:
                    self._run_stream()
                except errors.HalftoneError as error:
                    if self._progress_time > progress_before:
                        failures = 0
                    failures += 1
                    self._pause_or_raise(error, failures=failures)
                    continue
                self._take_refused()
                if self._feeder_error is not None:
                    raise self._feeder_error
                return ImportSummary(
                    created=self._counts[ImportState.CREATED],
                    unchanged=self._counts[ImportState.UNCHANGED],
                    updated=self._counts[ImportState.UPDATED],
                    rejected=tuple(self._rejected),
                    reconnects=self._reconnects,
                )
        finally:
            self._window.finish(closed=True)
            # The feeder may be inside the caller's iterable; it is not waited for.
            feeder.join(timeout=0.2)

    def _pause_or_raise(self, error: errors.HalftoneError, *, failures: int) -> None:
        lost = isinstance(error, errors.Cancelled | errors.DeadlineExceeded)
        if self._stopped.is_set() or not (lost or retry.is_retryable(error)):
            raise error
        pause = self._policy.pause(failures=failures, error=error, draw=random.random())  # noqa: S311  # jitter
        if time.monotonic() + pause - self._progress_time > self._policy.import_patience:
            raise error
        self._reconnects += 1
        self._on_retry()
        if self._stopped.wait(pause):
            raise error

    def _run_stream(self) -> None:
        number = self._window.restart()
        call = self._open_stream(self._window.requests(number))
        receiver = threading.Thread(
            target=self._receive, args=(call, number), name="halftone-import-acks", daemon=True
        )
        receiver.start()
        try:
            self._settle(number)
        finally:
            call.cancel()
            receiver.join(timeout=5)

    def _settle(self, number: int) -> None:
        """Handles what the stream of that number brings until it has ended."""
        last = time.monotonic()
        while True:
            self._take_refused()
            if self._stopped.is_set():
                raise errors.Cancelled("The import was stopped.")
            try:
                # Short, so that Ctrl-C, `stop` and the feeder's own rejections are seen soon.
                source, item = self._inbox.get(timeout=0.1)
            except queue.Empty:
                now = time.monotonic()
                if not self._window.is_waiting:
                    last = now
                elif now - last > self._stall_timeout:
                    raise errors.DeadlineExceeded(
                        f"No acknowledgement came for {self._stall_timeout:.0f} s."
                    ) from None
                continue
            if source != number:
                continue  # an answer of a stream that was given up
            last = time.monotonic()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise errors.from_rpc_error(item.error) from item.error
                if not self._window.is_done:
                    raise errors.Unavailable("The service ended the stream early.")
                return
            self._acknowledged(item)

    def _acknowledged(self, response: pb.ImportImagesResponse) -> None:
        ack = calls.ack_from(response)
        if ack.error is not None and (
            retry.is_retryable(ack.error) or isinstance(ack.error, errors.StorageFull)
        ):
            # Not this record's fault: it stays in the window. A full disk ends the import, anything
            # else is tried again on a new stream.
            raise ack.error
        self._window.acknowledge(response)
        self._count(ack)

    def _count(self, ack: ImportAck) -> None:
        self._progress_time = time.monotonic()
        self._counts[ack.state] += 1
        if ack.state is ImportState.REJECTED:
            self._rejected.append(ack)
        self._on_ack(ack)

    def _take_refused(self) -> None:
        """Counts the feeder's rejections whose turn it is, so that all come in the rows' order."""
        while self._refused and self._refused[0][0] <= self._window.settled:
            _, ack = self._refused.popleft()
            self._count(ack)

    def _receive(self, call: Stream, number: int) -> None:
        error = None
        try:
            for response in call:
                self._inbox.put((number, response))
        except grpc.RpcError as failure:
            error = failure
        self._inbox.put((number, _Ended(error)))

    def _feed(self) -> None:
        try:
            for record in self._records:
                try:
                    request = calls.import_request(record)
                except errors.HalftoneError as error:
                    self._refused.append((self._window.added, calls.refusal(record, error)))
                    continue
                if not self._window.add(request):
                    return
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            self._feeder_error = error
        finally:
            self._window.finish(exhausted=True)
