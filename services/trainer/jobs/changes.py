"""Wakes calls that wait for a job to change, with one subscription for all of them."""

from __future__ import annotations

import asyncio
import collections
import threading
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from halftone.core import telemetry
from halftone.services.trainer.jobs.store import CHANNEL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from halftone.services.trainer.jobs.store import JobStore

_log = telemetry.get_logger(__name__)

_POLL_SECONDS: Final = 2.0
"""Seconds after which a call checks again, since messages get lost when the broker restarts."""


class Changes:
    """Tells waiting calls when a job may have changed (`follow`).

    Start and stop it on one event loop.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._waiting: dict[str, set[asyncio.Event]] = collections.defaultdict(set)
        self._stop = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start listening, in a thread."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._listen, args=(loop,), name="changes", daemon=True
        )
        self._thread.start()

    def end_streams(self) -> None:
        """End every iteration of `follow`."""
        self._ending = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def stop(self) -> None:
        """End every iteration and stop listening."""
        self.end_streams()
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def follow(self, job_id: str) -> AsyncGenerator[None]:
        """Yield at once, then whenever a job may have changed, and at least every two seconds.

        The iteration ends after `end_streams` or `stop`.
        """
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            while not self._ending:
                yield
                try:
                    async with asyncio.timeout(_POLL_SECONDS):
                        await event.wait()
                except TimeoutError:
                    continue
                event.clear()
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                with self._store.client.pubsub(ignore_subscribe_messages=True) as listener:
                    listener.subscribe(CHANNEL)
                    self._hear(listener, loop=loop)
            except (exceptions.RedisError, OSError) as error:
                _log.debug("changes_not_heard", error=str(error))
                self._stop.wait(0.5)

    def _hear(self, listener: Any, *, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            message = listener.get_message(timeout=0.5)
            if message is not None:
                loop.call_soon_threadsafe(self._notify, message["data"])

    def _notify(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()
