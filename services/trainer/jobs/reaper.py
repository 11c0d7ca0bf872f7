"""Rescues jobs whose worker or whose message is gone, and removes old jobs.

A reaper runs in the service and in each worker. All may run at once: a job is changed by
compare-and-set, and only the reaper whose change was kept sends its message.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.services.trainer.jobs.job import State, locate_folder
from halftone.services.trainer.jobs.transitions import Event, Happening, Then, count_kill

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.job import TrainingJob
    from halftone.services.trainer.jobs.queue import JobQueue
    from halftone.services.trainer.jobs.store import JobStore

_log = telemetry.get_logger(__name__)

# A worker takes the lease milliseconds after the message, unless its disk is slow.
_ON_ITS_WAY_SECONDS: Final = 15.0
_SECONDS_PER_DAY: Final = 24 * 3600


class Reaper:
    """Puts abandoned jobs back on the queue or ends them, and removes old ones.

    Args:
        store: The store of jobs.
        queue: The queue on which messages are sent again.
        settings: The limits of attempts, and how long jobs are kept.
        directory: The directory that has a directory for each job, which is removed with the job.
        clock: Returns seconds, to tell how long a message may have been under way.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        queue: JobQueue,
        settings: TrainerSettings,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._queue = store, queue
        self._settings, self._directory, self._clock = settings, directory, clock
        self._missing_since: dict[str, float] = {}

    @property
    def interval(self) -> float:
        """Seconds between two rounds."""
        return min(5.0, self._settings.lease_seconds / 4)

    def run(self, stop: threading.Event) -> None:
        """Check the jobs at intervals until `stop` is set."""
        while not stop.wait(self.interval):
            try:
                self.go_round()
            except errors.HalftoneError as error:
                _log.warning("jobs_not_looked_after", reason=error.reason, error=error.message)
            except Exception:  # noqa: BLE001  # the next round may find it gone
                _log.exception("failed")

    def go_round(self) -> None:
        """Check every job that is not over, once.

        Raises:
            errors.Unavailable: The broker does not answer.
        """
        # Count first: a job that comes in later seems to lack its message, but new jobs are spared.
        messages = self._queue.length()
        queued = []
        for job in self._store.active():
            if self._store.holder(job.id) is not None:
                continue
            if job.state is State.QUEUED:
                queued.append(job)
            else:
                self._take_from_the_dead(job)
        self._send_missing(queued, messages=messages)
        self._forget()

    def _take_from_the_dead(self, job: TrainingJob) -> None:
        def interpret(stored: TrainingJob) -> Happening | None:
            # Its worker has come back, or another reaper was quicker.
            if stored.state not in {State.RUNNING, State.CANCELLING}:
                return None
            if self._store.holder(stored.id) is not None:
                return None
            return count_kill(
                stored,
                max_crashes=self._settings.max_crashes,
                max_attempts=self._settings.max_attempts,
                worker_lost=True,
            )

        after, row = self._store.record(job.id, interpret)
        if row is None:
            return
        _log.warning("worker_lost", job=job.id, state=after.state.value, attempts=after.attempts)
        if row.then is Then.SEND:
            self._queue.send(after)
        elif after.state is State.CANCELLED:
            folder = locate_folder(job.id, work_directory=self._directory)
            shutil.rmtree(folder / "run", ignore_errors=True)

    def _send_missing(self, queued: list[TrainingJob], *, messages: int) -> None:
        """Send lost messages again.

        The work queue is first in, first out and holds only our own messages. So if fewer messages
        than jobs wait, the earliest ones are lost. A duplicate message hides a lost one until it is
        taken; the next round then finds the lost one.

        Args:
            queued: Jobs that are QUEUED and that no worker has taken.
            messages: The number of messages that wait.
        """
        queued.sort(key=lambda job: (job.queue_time, job.id))
        missing = queued[: max(0, len(queued) - messages)]
        now = self._clock()
        self._missing_since = {job.id: self._missing_since.get(job.id, now) for job in missing}
        for job in missing:
            if now - self._missing_since[job.id] >= _ON_ITS_WAY_SECONDS:
                self._send_again(job)

    def _send_again(self, job: TrainingJob) -> None:
        def interpret(found: TrainingJob) -> Happening | None:
            # Another reaper was quicker, or a worker has taken the job after all.
            if found.state is not State.QUEUED or found.queue_time != job.queue_time:
                return None
            return Happening(Event.MESSAGE_LOST)

        after, row = self._store.record(job.id, interpret)
        if row is None:
            return
        _log.warning("message_lost", job=job.id)
        self._queue.send(after)
        self._missing_since.pop(job.id, None)

    def _forget(self) -> None:
        ended_before = time.time() - self._settings.keep_days * _SECONDS_PER_DAY
        for job_id in self._store.forget(ended_before=ended_before):
            folder = locate_folder(job_id, work_directory=self._directory)
            shutil.rmtree(folder, ignore_errors=True)
