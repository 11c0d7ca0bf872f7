"""The threads in which the service reads, writes and computes.

Reads of the store run in a few threads. All its writes run in one thread: a write that reads first
(do other records have these bytes?) then needs no further lock, and the active collection changes
only between two writes. Long lists, files, computing, thumbnails and parts of pictures have
threads of their own, so that other reads do not wait for them.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.core.telemetry import Metrics

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking calls in threads. Each call logs with the id of its caller's request."""

    def __init__(self, *, metrics: Metrics) -> None:
        """Create the pools. Threads start with the first call."""
        cores = os.cpu_count() or 1
        self._reads = ThreadPoolExecutor(max_workers=cores + 2, thread_name_prefix="store-read")
        self._lists = ThreadPoolExecutor(max_workers=cores, thread_name_prefix="store-list")
        self._writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-write")
        self._cores = ThreadPoolExecutor(max_workers=cores, thread_name_prefix="fingerprint")
        self._thumbnails = ThreadPoolExecutor(cores, thread_name_prefix="thumbnail")
        self._cuts = ThreadPoolExecutor(cores, thread_name_prefix="region")
        self._files = ThreadPoolExecutor(max_workers=cores + 6, thread_name_prefix="files")
        self._seconds = metrics.histogram(
            "store_seconds", "Time of store operations", labels=("operation",)
        )

    async def read(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a call that reads the store in a thread for reads, and return its result.

        Its time goes into the metric `store_seconds`, under the name `operation`.
        """
        return await self._run(self._reads, operation, lambda: call(*args, **kwargs))

    async def read_list(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a call that may read long lists or whole collections, and return its result.

        Such calls have threads of their own, one per core, so that searches need not wait for them.
        A call that has begun runs to its end even if the caller is cancelled. Its time goes into
        the metric `store_seconds`, under the name `operation`.
        """
        return await self._run(self._lists, operation, lambda: call(*args, **kwargs))

    async def write(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a call that changes the store in the only thread for writes, and return its result.

        The call runs to its end even if the caller is cancelled; then the cancellation is raised.
        Its time goes into the metric `store_seconds`, under the name `operation`.
        """
        return await _finish(self._run(self._writes, operation, lambda: call(*args, **kwargs)))

    def _run(
        self, executor: ThreadPoolExecutor, operation: str, call: Callable[[], T]
    ) -> asyncio.Future[T]:
        def measure() -> T:
            started = time.perf_counter()
            try:
                return call()
            finally:
                self._seconds.labels(operation).observe(time.perf_counter() - started)

        return _submit(executor, measure)

    async def in_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that reads files or decodes a picture in a thread, and return its result."""
        return await _submit(self._files, lambda: call(*args, **kwargs))

    async def complete(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that writes files in a thread, and return its result.

        The call runs to its end even if the caller is cancelled; then the cancellation is raised.
        """
        return await _finish(_submit(self._files, lambda: call(*args, **kwargs)))

    async def compute(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that keeps a core busy, and return its result. Uses one thread per core."""
        return await _submit(self._cores, lambda: call(*args, **kwargs))

    async def thumbnail(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that reads or makes a thumbnail, and return its result.

        Such calls have threads of their own, one per core: a page of hits asks for a hundred
        thumbnails at once, and searches and imports need the other threads.
        """
        return await _submit(self._thumbnails, lambda: call(*args, **kwargs))

    async def cut(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that cuts a part out of a picture, and return its result.

        Such calls have threads of their own, one per core: a picture in its full size takes a
        second to decode, and thumbnails need not wait for it.
        """
        return await _submit(self._cuts, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Refuse further calls, and wait for those that run or are queued."""
        for executor in (
            self._reads,
            self._lists,
            self._writes,
            self._cores,
            self._files,
            self._thumbnails,
            self._cuts,
        ):
            executor.shutdown(wait=True)


async def _finish(running: asyncio.Future[T]) -> T:
    """Wait for a call to end even if cancelled. Then the cancellation is raised."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # Unlike `await`, this does not cancel the call.
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Nobody needs the result, but asyncio warns of exceptions that are never retrieved.
        running.exception()
        raise cancelled
    return running.result()


def _submit(executor: ThreadPoolExecutor, call: Callable[[], T]) -> asyncio.Future[T]:
    """Start a call in a thread, with the caller's context variables."""
    run = functools.partial(contextvars.copy_context().run, call)
    return asyncio.get_running_loop().run_in_executor(executor, run)
