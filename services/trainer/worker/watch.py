"""Follows a training process: renews its lease, records its progress, stops it in time."""

from __future__ import annotations

import math
import queue
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.core import errors, telemetry, training
from halftone.services.trainer.jobs.job import Progress, State, TrainingJob
from halftone.services.trainer.jobs.transitions import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.store import JobStore, Lease
    from halftone.services.trainer.worker.process import TrainingProcess

_log = telemetry.get_logger(__name__)

_LOOK_SECONDS: Final = 0.2
_WRITE_SECONDS: Final = 0.5
# Shares of the lease's time without a renewal. After the first one the process is asked to write a
# checkpoint and end, after the second it is killed. The remaining time allows for clock drift.
_ASK_AT: Final = 0.5
_KILL_AT: Final = 0.8
_SECONDS_PER_HOUR: Final = 3600.0

EndReason = Literal["ended", "cancelled", "stopping", "away", "lost", "limit"]

# The names of the loop's settings in the contract.
_FIELDS: Final = {
    "data": "spec.datasets",
    "name": "spec.model_name",
    "init": "spec.parent",
    "evaluate_on": "spec.evaluation_archive",
    "time_limit": "spec.time_limit_minutes",
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a training process.

    Attributes:
        status: Its exit status, or minus the number of the signal that ended it.
        why: `ended` if it ended by itself. Otherwise the reason for which it was stopped: the job
            was `cancelled`, the worker is `stopping`, the broker was `away` for too long, the
            lease was `lost`, or the job reached its time `limit`.
        report: What is known of the attempt: the last lines of its output, the version that it
            published, the error that it or its supervisor reported, the seconds that the job ran in
            all attempts, and the last progress, unless it is recorded already.
    """

    status: int
    why: EndReason
    report: Report

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended the process. Its supervisor's own signals count, too."""
        by_shell = {128 + signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGINT}
        return self.status < 0 or self.status in by_shell


class Watch:
    """Supervises one attempt.

    Args:
        store: The store of the job and its lease.
        lease: The lease, which is renewed as long as `follow` or `is_unwanted` are called.
        settings: The trainer's settings, with its limits.
    """

    def __init__(self, *, store: JobStore, lease: Lease, settings: TrainerSettings) -> None:
        self.lease = lease
        self._store, self._settings = store, settings
        self._looked = self._renew_at = 0.0
        self._state: State | None = State.RUNNING
        self._progress: Progress | None = None
        self._model_version: str | None = None
        self._error: errors.HalftoneError | None = None

    def follow(
        self,
        process: TrainingProcess,
        *,
        started: float,
        ran: float,
        stopping: Callable[[], bool],
    ) -> Ending:
        """Follow a process until it has ended, and stop it if there is a reason.

        A process to be stopped is asked to end; it has `cancel_seconds` to write a checkpoint, then
        it is killed. It is killed at once if another worker has the job, or if the lease is about
        to run out.

        Args:
            process: The running process. The caller closes it.
            started: When it was started, on the monotonic clock.
            ran: The seconds that the job ran before.
            stopping: Returns whether the worker should stop.
        """
        why: EndReason = "ended"
        asked: float | None = None
        written = 0.0
        while process.poll() is None:
            self._take_events(process, seconds=_LOOK_SECONDS / 2)
            reason = self._find_reason_to_end(stopping=stopping)
            # Read the clock only now: a broker that hangs delays the check by seconds.
            now = time.monotonic()
            if reason is None and self._exceeds_limit(ran + now - started):
                reason = "limit"
            if reason == "lost":
                why = "lost"
                break
            if reason is not None and asked is None:
                why, asked = reason, now
                process.say(f"stopping: {_WORDS[reason]}")
                process.terminate()
            if now - self.lease.renewed > _KILL_AT * self._settings.lease_seconds:
                why = why if asked is not None else "away"
                break
            if asked is not None and now - asked > self._settings.cancel_seconds:
                break
            if now - written >= _WRITE_SECONDS and self._write(process, now=now):
                written = now
        process.close()  # kills it if it still runs
        self._take_events(process, seconds=0.0)
        status = process.poll()
        return Ending(
            status=0 if status is None else status,
            why=why,
            report=Report(
                progress=self._progress,
                log_tail=process.tail,
                ran_seconds=ran + time.monotonic() - started,
                model_version=self._model_version,
                error=self._error,
            ),
        )

    def is_unwanted(self) -> bool:
        """Return whether the job was cancelled or taken over. Renews the lease when due.

        A broker that does not answer for a while is no reason to stop waiting for a promotion.
        """
        reason = self._find_reason_to_end(stopping=lambda: False)
        return reason in {"cancelled", "lost"}

    def _exceeds_limit(self, seconds: float) -> bool:
        hours = self._settings.max_job_hours
        if seconds <= hours * _SECONDS_PER_HOUR:
            return False
        self._error = errors.DeadlineExceeded(
            f"The job ran for {hours:g} hours, which is the limit.", reason="JOB_TIME_LIMIT"
        )
        return True

    def _find_reason_to_end(self, *, stopping: Callable[[], bool]) -> EndReason | None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            try:
                if now >= self._renew_at:
                    seconds = self._settings.lease_seconds
                    self._state = self._store.renew(self.lease, seconds=seconds)
                    self._renew_at = now + seconds / 10
                else:
                    self._state = self._store.state(self.lease.job_id)
            except errors.HalftoneError as error:
                _log.warning("lease_not_renewed", job=self.lease.job_id, error=error.message)
        if self._state is None or self._state.is_over:
            return "lost"
        if self._state is State.CANCELLING:
            return "cancelled"
        if stopping():
            return "stopping"
        if time.monotonic() - self.lease.renewed > _ASK_AT * self._settings.lease_seconds:
            return "away"
        return None

    def _take_events(self, process: TrainingProcess, *, seconds: float) -> None:
        """Handle the events that the process has sent. Waits up to `seconds` for the first."""
        try:
            self._take(process.events.get(timeout=seconds) if seconds else None, process)
            while True:
                self._take(process.events.get_nowait(), process)
        except queue.Empty:
            pass

    def _take(self, event: dict[str, Any] | None, process: TrainingProcess) -> None:
        kind = None if event is None else event.get("event")
        if event is None or kind is None:
            return
        if kind == "progress":
            self._progress = _progress(event)
        elif kind == "warning":
            process.say(f"warning: {event.get('message', '')}")
        elif kind == "published":
            self._model_version = str(event.get("model_version", "")) or None
        elif kind == "error":
            self._error = _error(event)

    def _write(self, process: TrainingProcess, *, now: float) -> bool:
        """Record the progress in the job. Returns whether that worked. A failure does no harm."""
        progress = self._progress
        if progress is None or now - self.lease.renewed > _ASK_AT * self._settings.lease_seconds:
            return False

        def change(job: TrainingJob) -> TrainingJob:
            if job.state.is_over:
                return job
            return job.having(log_tail=process.tail).at(progress)

        try:
            self._store.update(self.lease.job_id, change, lease=self.lease)
        except errors.HalftoneError as error:
            _log.warning("progress_not_written", job=self.lease.job_id, error=error.message)
            return False
        self._progress = None
        return True


_WORDS: Final[dict[str, str]] = {
    "cancelled": "the job was cancelled",
    "stopping": "the worker ends; the job goes on from its checkpoint",
    "away": "the broker does not answer; the job goes on from its checkpoint",
    "limit": "the job ran into its time limit",
}


def _progress(event: dict[str, Any]) -> Progress:
    def number(name: str) -> float:
        value = event.get(name)
        known = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if known and value is not None else 0.0

    metrics = event.get("metrics")
    figures = metrics.items() if isinstance(metrics, dict) else ()
    return Progress(
        phase=str(event.get("phase", "")),
        fraction=min(1.0, max(0.0, number("fraction"))),
        epoch=number("epoch"),
        step=int(number("step")),
        loss=number("loss"),
        images_per_second=number("images_per_second"),
        seconds_left=number("seconds_left"),
        metrics={
            str(name): float(value)
            for name, value in figures
            if isinstance(value, int | float) and math.isfinite(value)
        },
    )


def _error(event: dict[str, Any]) -> errors.HalftoneError:
    reason = str(event.get("reason", ""))
    cls = errors.of_code(str(event.get("code", "")), reason=reason)
    message = str(event.get("message", "The training process gave no reason."))
    error = cls(message, reason=reason or None)
    if isinstance(error, errors.InvalidArgument):
        field = str(event.get("field", ""))
        known = field in training.TrainingOptions.model_fields
        error.field = _FIELDS.get(field, f"spec.options.{field}" if known else field)
    return error
