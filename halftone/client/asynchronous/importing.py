"""Runs the import stream: sends records, takes acknowledgements, resumes when the stream is lost.

Three workers take part besides the caller. The *feeder* pulls records from the caller's iterable
and keeps at most a window of them unacknowledged. gRPC's own worker sends what the feeder has
ready, as fast as the stream's flow control allows. The *receiver* puts the acknowledgements into an
inbox, which the caller's side empties. A record leaves the window only when it is acknowledged.
After a lost stream the window is sent again, and the service acknowledges the records that it has
already as UNCHANGED.
"""

from __future__ import annotations

import collections
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.client import calls, retry, tasks
from halftone.client.records import ImportAck, ImportState, ImportSummary
from halftone.core import errors
from halftone.core.wire import IDLE_STREAM
from halftone.v1 import search_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from halftone.archive.manifests import Row
    from halftone.client.records import NewImage

# This is twice what the service works on at a time by default (4 batches of 32), so that it never
# waits.
WINDOW_RECORDS: Final = 256
# This bounds the memory that a window of large scans takes.
WINDOW_BYTES: Final = 64 * 1024 * 1024
# Seconds until Ctrl-C, or a record that the feeder refused, is noticed.
_TICK: Final = 0.1


@dataclass(frozen=True)
class _Record:
    """A record as it is sent; `payload` is the serialised message."""

    row: int
    name: str
    payload: bytes


@dataclass(frozen=True)
class _StreamEnd:
    """The end of a stream, with its error if it had one."""

    error: errors.HalftoneError | None


@dataclass
class _Window:
    """The records that are not acknowledged yet, all guarded by one lock.

    Attributes:
        pending: The records in the order in which they are sent; `size` counts their bytes.
        sent: The number of them, from the left, that the present stream was given.
        settled: The number of records that were acknowledged and left the window.
        stream: The number of the present stream; an older stream must not take records any more.
        exhausted: Whether the caller's iterable has ended.
        closed: Whether the import is over, which ends every worker.
    """

    changed: tasks.Condition = field(default_factory=tasks.Condition)
    pending: collections.deque[_Record] = field(default_factory=collections.deque)
    size: int = 0
    sent: int = 0
    settled: int = 0
    stream: int = 0
    exhausted: bool = False
    closed: bool = False

    async def add(self, record: _Record) -> bool:
        """Wait for room and add a record. Return False if the import is over."""
        size = len(record.payload)
        async with self.changed:
            await self.changed.wait_for(lambda: self.closed or self._has_room(size))
            if self.closed:
                return False
            self.pending.append(record)
            self.size += size
            self.changed.notify_all()
            return True

    def _has_room(self, size: int) -> bool:
        if not self.pending:
            return True
        return len(self.pending) < WINDOW_RECORDS and self.size + size <= WINDOW_BYTES

    async def payloads(self, stream: int) -> AsyncIterator[bytes]:
        """Yield the records that the stream of that number is to send, waiting for the feeder."""
        while True:
            async with self.changed:
                await self.changed.wait_for(
                    lambda: (
                        self.closed
                        or self.stream != stream
                        or self.sent < len(self.pending)
                        or self.exhausted
                    )
                )
                if self.closed or self.stream != stream or self.sent >= len(self.pending):
                    return
                payload = self.pending[self.sent].payload
                self.sent += 1
            yield payload

    async def acknowledge(self, ack: ImportAck) -> None:
        """Take the oldest record out; acknowledgements come in the order of the records.

        Raises:
            errors.Internal: The acknowledgement is of another record.
        """
        async with self.changed:
            if not self.sent:
                raise errors.Internal("The service acknowledged a record that was not sent.")
            record = self.pending[0]
            if (record.row, record.name) != (ack.row, ack.name):
                raise errors.Internal(
                    f"The service acknowledged {ack.name} (row {ack.row}) instead of "
                    f"{record.name} (row {record.row})."
                )
            self.pending.popleft()
            self.size -= len(record.payload)
            self.sent -= 1
            self.settled += 1
            self.changed.notify_all()

    async def restart(self) -> int:
        """Mark everything unacknowledged as unsent and return the next stream's number."""
        async with self.changed:
            self.stream += 1
            self.sent = 0
            self.changed.notify_all()
            return self.stream

    async def finish(self, *, exhausted: bool = False, closed: bool = False) -> None:
        """End the window.

        Args:
            exhausted: No more records will be added.
            closed: The whole import is over.
        """
        async with self.changed:
            self.exhausted |= exhausted
            self.closed |= closed
            self.changed.notify_all()

    async def count_added(self) -> int:
        """Return how many records have ever entered the window."""
        async with self.changed:
            return self.settled + len(self.pending)

    async def is_waiting(self) -> bool:
        """Return whether the service owes an acknowledgement."""
        async with self.changed:
            return self.sent > 0

    async def is_empty(self) -> bool:
        """Return whether there is nothing to send now, though more may come."""
        async with self.changed:
            return not self.pending and not self.exhausted and not self.closed

    async def is_done(self) -> bool:
        """Return whether every record was acknowledged and no more will come."""
        async with self.changed:
            return self.exhausted and not self.pending


class ImportRun:
    """One import from its first record to its last acknowledgement.

    Args:
        records: The records; a worker pulls them one at a time.
        open_stream: Starts the call with the serialised requests that it is given, and returns its
            serialised responses.
        on_ack: Called for each acknowledgement, in the caller's thread or on the event loop.
        on_retry: Called when the stream is taken up again.
        on_wait: Called as well, before the pause, with the error that ended the stream and the
            seconds until the import gives up.
        address: The service's address, for errors.
        is_closed: Function that returns whether the client was closed.
        policy: `import_patience` bounds the tries; see `RetryPolicy`.
        stall_timeout: If acknowledgements are owed and none comes for so many seconds, the stream
            is taken to be lost.
    """

    def __init__(
        self,
        records: tasks.Source[NewImage | Row],
        *,
        open_stream: Callable[[AsyncIterator[bytes]], tasks.Stream[bytes]],
        on_ack: Callable[[ImportAck], None],
        on_retry: Callable[[], None],
        on_wait: Callable[[errors.HalftoneError, float], None],
        address: str,
        is_closed: Callable[[], bool],
        policy: retry.RetryPolicy,
        stall_timeout: float,
    ) -> None:
        self._records = records
        self._open_stream = open_stream
        self._on_ack = on_ack
        self._on_retry = on_retry
        self._on_wait = on_wait
        self._address = address
        self._is_closed = is_closed
        self._policy = policy
        self._stall_timeout = stall_timeout
        self._window = _Window()
        self._inbox: tasks.Inbox[tuple[int, bytes | _StreamEnd]] = tasks.Inbox()
        # Records that the feeder refused, for example because a file cannot be read. Each comes
        # with the number of records before it that the service must acknowledge first.
        self._refused: collections.deque[tuple[int, ImportAck]] = collections.deque()
        self._source_error: BaseException | None = None
        self._counts = dict.fromkeys(ImportState, 0)
        self._rejected: list[ImportAck] = []
        self._reconnects = 0
        self._acknowledged = False
        self._progress_time = time.monotonic()

    async def run(self) -> ImportSummary:
        """Send every record and return the summary.

        Raises:
            errors.HalftoneError: The stream failed for good. What was acknowledged is stored.
            Exception: Whatever the iterable of records raised, after the records before it were
                acknowledged.
        """
        feeder = tasks.Worker(self._feed, name="halftone-import-feeder")
        failures = 0
        try:
            while True:
                progress_before = self._progress_time
                try:
                    await self._run_stream()
                except errors.HalftoneError as error:
                    if error.reason == IDLE_STREAM and await self._window.is_empty():
                        # The iterable is slow. A new stream is opened for its next record.
                        await self._wait_for_records()
                        continue
                    if self._progress_time > progress_before:
                        failures = 0
                    failures += 1
                    await self._pause_or_raise(error, failures=failures)
                    continue
                self._count_refused()
                if self._source_error is not None:
                    raise self._source_error
                return ImportSummary(
                    created=self._counts[ImportState.CREATED],
                    unchanged=self._counts[ImportState.UNCHANGED],
                    updated=self._counts[ImportState.UPDATED],
                    rejected=tuple(self._rejected),
                    reconnects=self._reconnects,
                )
        finally:
            await self._window.finish(closed=True)
            # The feeder may be inside the caller's iterable, so nobody waits for it.
            await feeder.stop(patience=0.2)

    async def _wait_for_records(self) -> None:
        while await self._window.is_empty() and not self._is_closed():
            await tasks.sleep(_TICK)
        self._progress_time = time.monotonic()

    async def _pause_or_raise(self, error: errors.HalftoneError, *, failures: int) -> None:
        lost = isinstance(error, errors.Cancelled | errors.DeadlineExceeded)
        if self._is_closed() or not (lost or retry.is_retryable(error)):
            raise error
        pause = self._policy.pause(failures=failures, error=error, draw=random.random())  # noqa: S311  # jitter
        patience = self._policy.import_patience - (time.monotonic() - self._progress_time)
        if pause > patience:
            raise error
        # Several tries without an acknowledgement in between are one loss. A service that has not
        # answered yet is not lost.
        self._reconnects += failures == 1 and self._acknowledged
        self._on_retry()
        self._on_wait(error, patience)
        await tasks.sleep(pause)

    async def _run_stream(self) -> None:
        number = await self._window.restart()
        stream = self._open_stream(self._window.payloads(number))
        receiver = tasks.Worker(self._receive, stream, number, name="halftone-import-receiver")
        try:
            await self._settle(number)
        finally:
            stream.cancel()
            await receiver.stop(patience=5)

    async def _settle(self, number: int) -> None:
        """Handle the events of the stream of that number until it ends.

        Raises:
            errors.HalftoneError: The stream ended or stalled before everything was acknowledged.
        """
        last_time = time.monotonic()
        while True:
            self._count_refused()
            event = await self._inbox.get(timeout=_TICK)
            now = time.monotonic()
            if event is None:
                if not await self._window.is_waiting():
                    last_time = now
                elif now - last_time > self._stall_timeout:
                    raise errors.DeadlineExceeded(
                        f"No acknowledgement came for {self._stall_timeout:.0f} s."
                    )
                continue
            source, item = event
            if source != number:
                continue  # an answer of a stream that was given up
            last_time = now
            if isinstance(item, _StreamEnd):
                if item.error is not None:
                    raise item.error
                if not await self._window.is_done():
                    raise errors.Unavailable("The service ended the stream early.")
                return
            await self._take_ack(calls.parse_ack(pb.ImportImagesResponse.FromString(item)))

    async def _take_ack(self, ack: ImportAck) -> None:
        if ack.error is not None and (
            retry.is_retryable(ack.error) or isinstance(ack.error, errors.StorageFull)
        ):
            # This is not the record's fault, so it stays in the window. A full disk ends the
            # import; after anything else the record is tried again on a new stream.
            raise ack.error
        await self._window.acknowledge(ack)
        self._acknowledged = True
        self._count(ack)

    def _count(self, ack: ImportAck) -> None:
        self._progress_time = time.monotonic()
        self._counts[ack.state] += 1
        if ack.state is ImportState.REJECTED:
            self._rejected.append(ack)
        self._on_ack(ack)

    def _count_refused(self) -> None:
        """Count the refused records that precede the next acknowledgement, in the rows' order."""
        while self._refused and self._refused[0][0] <= self._window.settled:
            _, ack = self._refused.popleft()
            self._count(ack)

    async def _receive(self, stream: tasks.Stream[bytes], number: int) -> None:
        end = _StreamEnd(None)
        try:
            with tasks.translate_errors(self._address):
                async for response in stream:
                    self._inbox.put((number, response))
        except errors.HalftoneError as error:
            end = _StreamEnd(error)
        self._inbox.put((number, end))

    async def _feed(self) -> None:
        try:
            async with contextlib.aclosing(tasks.pull(self._records, _prepare)) as items:
                async for item in items:
                    if isinstance(item, ImportAck):
                        self._refused.append((await self._window.count_added(), item))
                    elif not await self._window.add(item):
                        return
        except BaseException as error:  # noqa: BLE001  # `run` raises it
            self._source_error = error
        finally:
            await self._window.finish(exhausted=True)


def _prepare(record: NewImage | Row) -> _Record | ImportAck:
    """Return a record as it is sent, or its refusal if it cannot be sent; reads its file."""
    try:
        request = calls.make_import_request(record)
    except errors.HalftoneError as error:
        return calls.make_refusal(record, error)
    return _Record(request.row, request.image.name, request.SerializeToString())
