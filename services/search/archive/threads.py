"""The threads in which the service reads, writes and computes.

Reads of the store run in a few threads. All its writes run in one, so that a write which reads
first (do other records have these bytes?) needs no further lock, and so that a change of the
collection that answers falls between two writes. Files, computing and thumbnails have threads of
their own, so that reads wait for none of them.
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
    """Runs blocking calls in threads; each call logs under the id of its request."""

    def __init__(self, *, metrics: Metrics) -> None:
        """Create the pools; a thread starts with its first call."""
        cores = os.cpu_count() or 1
        self._reads = ThreadPoolExecutor(max_workers=cores + 2, thread_name_prefix="store-read")
        self._writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-write")
        self._cores = ThreadPoolExecutor(max_workers=cores, thread_name_prefix="fingerprint")
        self._thumbnails = ThreadPoolExecutor(cores, thread_name_prefix="thumbnail")
        self._files = ThreadPoolExecutor(max_workers=cores + 6, thread_name_prefix="files")
        self._seconds = metrics.histogram(
            "store_seconds", "Time of store operations", labels=("operation",)
        )

    async def read(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a call that reads from the store, and measure it as `operation`."""
        return await self._run(self._reads, operation, lambda: call(*args, **kwargs))

    async def write(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a call that changes the store, in the one thread for writes.

        The call runs to its end even if the caller is cancelled; the cancellation is raised then.
        """
        return await _finish(self._run(self._writes, operation, lambda: call(*args, **kwargs)))

    def _run(
        self, executor: ThreadPoolExecutor, operation: str, call: Callable[[], T]
    ) -> asyncio.Future[T]:
        def measured() -> T:
            started = time.perf_counter()
            try:
                return call()
            finally:
                self._seconds.labels(operation).observe(time.perf_counter() - started)

        return _submit(executor, measured)

    async def in_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that reads files or decodes a picture."""
        return await _submit(self._files, lambda: call(*args, **kwargs))

    async def complete(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that writes files; it runs to its end even if the caller is cancelled."""
        return await _finish(_submit(self._files, lambda: call(*args, **kwargs)))

    async def compute(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that keeps a core busy, in one of as many threads as there are cores."""
        return await _submit(self._cores, lambda: call(*args, **kwargs))

    async def thumbnail(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that reads or makes a thumbnail, in one of as many threads as there are cores.

        A page of hits asks for a hundred thumbnails at once; searches and imports need the other
        threads.
        """
        return await _submit(self._thumbnails, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Wait for the calls that are running."""
        for executor in (
            self._reads,
            self._writes,
            self._cores,
            self._files,
            self._thumbnails,
        ):
            executor.shutdown(wait=True)


async def _finish(running: asyncio.Future[T]) -> T:
    """Wait for a call to end, also when cancelled meanwhile; the cancellation is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # Unlike awaiting it, this does not pass a cancellation on.
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Nobody waits for the result; asyncio complains of an exception that nobody looks at.
        running.exception()
        raise cancelled
    return running.result()


def _submit(executor: ThreadPoolExecutor, call: Callable[[], T]) -> asyncio.Future[T]:
    """Start a call in a thread, with the caller's context variables."""
    run = functools.partial(contextvars.copy_context().run, call)
    return asyncio.get_running_loop().run_in_executor(executor, run)
