"""Looks after jobs that nobody looks after: their worker is gone, or their message is.

Runs in the service and in each worker, all at once without harm: a job is changed by
compare-and-set, and a message that is sent twice starts nothing twice.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.services.trainer.jobs.job import State, TrainingJob

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.queue import JobQueue
    from halftone.services.trainer.jobs.store import JobStore

_log = telemetry.get_logger(__name__)

# A worker takes the lease milliseconds after the message, but may have to wait for its disk.
_ON_ITS_WAY_SECONDS: Final = 15.0
_SECONDS_PER_DAY: Final = 24 * 3600


class Reaper:
    """See the module.

    Args:
        directory: Below which each job has a directory, removed with the job.
        settings: Bounds of the attempts.
        clock: Seconds, for the time that a message may be on its way.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        queue: JobQueue,
        intake: Intake,
        settings: TrainerSettings,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._queue, self._intake = store, queue, intake
        self._settings, self._directory, self._clock = settings, directory, clock
        self._missing_since: dict[str, float] = {}

    @property
    def interval(self) -> float:
        """Seconds between two rounds."""
        return min(5.0, self._settings.lease_seconds / 4)

    def run(self, stop: threading.Event) -> None:
        """Goes round until it is told to stop."""
        while not stop.wait(self.interval):
            try:
                self.go_round()
            except errors.HalftoneError as error:
                _log.warning("jobs_not_looked_after", reason=error.reason, error=error.message)
            except Exception:  # noqa: BLE001  # the next round may find it gone
                _log.exception("failed")

    def go_round(self) -> None:
        """Looks at every job that is not over."""
        waiting = set()
        messages, complete = self._queue.waiting()
        for message in messages:
            # Jobs that were put on the queue directly are seen from here on.
            waiting.add(self._intake.receive(message).id)
        # A worker that is killed at once after it took one has not told of it.
        for message in self._queue.taken():
            self._intake.receive(message)
        for job in self._store.active():
            if self._store.holder(job.id) is not None:
                self._missing_since.pop(job.id, None)
            elif job.state is not State.QUEUED:
                self._take_from_the_dead(job)
            elif job.id not in waiting and complete:
                self._send_again(job)
            else:
                self._missing_since.pop(job.id, None)
        self._forget()

    def _take_from_the_dead(self, job: TrainingJob) -> None:
        def change(found: TrainingJob) -> TrainingJob:
            # Its worker may have come back, or another reaper was quicker.
            if found.state not in {State.RUNNING, State.CANCELLING}:
                return found
            if self._store.holder(found.id) is not None:
                return found
            return found.killed(
                max_crashes=self._settings.max_crashes, max_attempts=self._settings.max_attempts
            )

        after = self._store.update(job.id, change)
        if after.revision == job.revision:
            return
        _log.warning("worker_lost", job=job.id, state=after.state.value, attempts=after.attempts)
        if after.state is State.QUEUED:
            self._queue.send(after)
        elif after.state is State.CANCELLED:
            shutil.rmtree(self._directory / job.id / "run", ignore_errors=True)

    def _send_again(self, job: TrainingJob) -> None:
        since = self._missing_since.setdefault(job.id, self._clock())
        if self._clock() - since < _ON_ITS_WAY_SECONDS:
            return
        _log.warning("message_lost", job=job.id)
        self._queue.send(job)
        self._missing_since.pop(job.id, None)

    def _forget(self) -> None:
        ended_before = time.time() - self._settings.keep_days * _SECONDS_PER_DAY
        for job_id in self._store.forget(ended_before=ended_before):
            shutil.rmtree(self._directory / job_id, ignore_errors=True)
