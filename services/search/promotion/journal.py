"""Records the state of a promotion on disk, in threads, and tells waiting calls of changes."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Counter

    from halftone.services.search.promotion.files import PromotionFiles
    from halftone.v1 import models_pb2

_TELL_SECONDS: Final = 0.5
_NOTE_SECONDS: Final = 2.0

_log = telemetry.get_logger(__name__)


class Journal:
    """The record of one promotion on disk.

    There are two kinds of entries:

    - Progress (`note`) never blocks and never fails. At most one write is under way, and only the
      latest state waits for it. A write that fails is logged and counted; the next may succeed.
    - What must be on disk before the work goes on (`write`, `save`) raises when it cannot be
      written.

    An older state never replaces a newer one, whichever thread writes it.
    """

    def __init__(
        self,
        promotion: models_pb2.Promotion,
        *,
        files: PromotionFiles,
        tell: Callable[[models_pb2.Promotion], None],
        failures: Counter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the journal. Nothing is written yet.

        Args:
            promotion: The message to write. Its owner changes it between entries.
            files: The files of the promotion. The caller holds their lock until `settle` has
                returned.
            tell: Called on the event loop with the promotion after it changed.
            failures: Counts writes of progress that failed.
            clock: Returns seconds.
        """
        self._promotion = promotion
        self._files = files
        self._tell = tell
        self._failures = failures
        self._clock = clock
        self._told = self._noted = -float("inf")
        self._waits = False
        self._note_task: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()
        self._newest = promotion.revision

    def note(self, *, at_once: bool = False) -> None:
        """Tell waiting calls of progress, and have it written to disk soon.

        Notes that come soon after another one are skipped.

        Args:
            at_once: Whether this note must not be skipped, because another step has begun.
        """
        now = self._clock()
        if at_once or now - self._told > _TELL_SECONDS:
            self._told = now
            self.tell()
        if at_once or now - self._noted > _NOTE_SECONDS:
            self._noted = now
            self._waits = True
            if self._note_task is None or self._note_task.done():
                self._note_task = asyncio.create_task(self._write_notes())

    def tell(self) -> None:
        """Raise the revision and tell waiting calls of the promotion, without writing to disk."""
        self._stamp()
        self._tell(self._promotion)

    async def _write_notes(self) -> None:
        while self._waits:
            self._waits = False
            try:
                await self._write_in_thread(copy.deepcopy(self._promotion))
            except Exception as error:  # noqa: BLE001 - a promotion goes on without it
                self._failures.inc()
                _log.warning(
                    "promotion_progress_not_saved",
                    model_version=self._promotion.model_version,
                    error=str(error),
                    exc_info=not isinstance(error, errors.HalftoneError),
                )

    def write(self) -> None:
        """Raise the revision, set the update time and write the promotion to disk.

        Blocks until it is there.

        Raises:
            errors.StorageFull: The disk is full.
            errors.Unavailable: It cannot be written for another reason.
        """
        self._stamp()
        self._replace(copy.deepcopy(self._promotion))

    async def save(self) -> None:
        """Write the promotion to disk in a thread, then tell waiting calls. Durable on return.

        Raises:
            errors.StorageFull: The disk is full.
            errors.Unavailable: It cannot be written for another reason.
        """
        self._stamp()
        await self._write_in_thread(copy.deepcopy(self._promotion))
        self._tell(self._promotion)

    async def settle(self) -> None:
        """Wait for writes in progress, also for a write whose caller was cancelled.

        Otherwise such a write could come after a write of the next process that takes the lock.
        """
        self._waits = False
        while self._writing:
            await asyncio.wait(self._writing)
        if self._note_task is not None:
            await asyncio.wait({self._note_task})

    async def _write_in_thread(self, snapshot: models_pb2.Promotion) -> None:
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(None, self._replace, snapshot)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        # A cancellation would end only the waiting, and the write would go on unnoticed.
        await asyncio.shield(writing)

    def _replace(self, snapshot: models_pb2.Promotion) -> None:
        with self._lock:
            if snapshot.revision < self._newest:
                return
            self._files.write(snapshot)
            self._newest = snapshot.revision

    def _stamp(self) -> None:
        self._promotion.revision += 1
        self._promotion.update_time.GetCurrentTime()
