"""Watches over a training process: keeps its lease, hands on its progress, stops it in time."""

from __future__ import annotations

import math
import queue
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.core import errors, telemetry, training
from halftone.services.trainer.jobs.job import Progress, State, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.store import JobStore, Lease
    from halftone.services.trainer.worker.process import TrainingProcess

_log = telemetry.get_logger(__name__)

_LOOK_SECONDS: Final = 0.2
_WRITE_SECONDS: Final = 0.5
# Shares of the lease's time without a renewal: after the first the process is asked to write a
# checkpoint and to end, after the second it is killed. The rest is for clocks that differ.
_ASK_AT: Final = 0.5
_KILL_AT: Final = 0.8
_SECONDS_PER_HOUR: Final = 3600.0

Why = Literal["ended", "cancelled", "stopping", "away", "lost", "limit"]

# What the loop's settings are called in the contract.
_FIELDS: Final = {
    "data": "spec.datasets",
    "name": "spec.model_name",
    "init": "spec.parent",
    "evaluate_on": "spec.evaluation_archive",
    "time_limit": "spec.time_limit_minutes",
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a training process ended.

    Attributes:
        status: Exit status, or minus the signal's number.
        why: It ended by itself, or was ended: because the job was cancelled, the worker is
            `stopping`, the broker was `away` for too long, the lease was `lost`, or the job ran
            into its time limit.
        model_version: What it published.
        error: What it, or its supervisor, found wrong.
        ran_seconds: Of the job, in all attempts.
        progress: The last that was told, unless it is written into the job already.
    """

    status: int
    why: Why
    log_tail: tuple[str, ...]
    model_version: str
    error: errors.HalftoneError | None
    ran_seconds: float
    progress: Progress | None = None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that was not its supervisor's."""
        by_shell = {128 + signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGINT}
        return self.status < 0 or self.status in by_shell


class Watch:
    """The supervision of one attempt.

    Args:
        lease: Renewed as long as the watch is asked anything.
    """

    def __init__(self, *, store: JobStore, lease: Lease, settings: TrainerSettings) -> None:
        self.lease = lease
        self._store, self._settings = store, settings
        self._looked = self._renew_at = 0.0
        self._state: State | None = State.RUNNING
        self._progress: Progress | None = None
        self._model_version = ""
        self._error: errors.HalftoneError | None = None

    def until_it_ends(
        self,
        process: TrainingProcess,
        *,
        started: float,
        ran: float,
        stopping: Callable[[], bool],
    ) -> Ending:
        """Watches a process until it has ended.

        Args:
            process: To watch; the caller closes it.
            started: On the monotonic clock.
            ran: Seconds that the job ran before.
            stopping: Whether the worker is to end.
        """
        why: Why = "ended"
        asked: float | None = None
        written = 0.0
        limit = self._settings.max_job_hours * _SECONDS_PER_HOUR
        while process.poll() is None:
            self._take_events(process, seconds=_LOOK_SECONDS / 2)
            reason = self._reason_to_end(stopping=stopping)
            # Only now: a broker that hangs keeps a question waiting for seconds.
            now = time.monotonic()
            if reason is None and ran + now - started > limit:
                reason = "limit"
                self._error = errors.DeadlineExceeded(
                    f"The job ran for {self._settings.max_job_hours:g} hours, which is the limit.",
                    reason="JOB_TIME_LIMIT",
                )
            if reason == "lost":
                why = "lost"
                process.kill()
                break
            if reason is not None and asked is None:
                why, asked = reason, now
                process.say(f"stopping: {_WORDS[reason]}")
                process.terminate()
            patience = self._settings.cancel_seconds
            without_lease = now - self.lease.renewed > _KILL_AT * self._settings.lease_seconds
            if without_lease or (asked is not None and now - asked > patience):
                why = why if asked is not None else "away"
                process.kill()
                break
            if now - written >= _WRITE_SECONDS and self._write(process, now=now):
                written = now
        process.close()
        self._take_events(process, seconds=0.0)
        status = process.poll()
        return Ending(
            status=0 if status is None else status,
            why=why,
            log_tail=process.tail,
            model_version=self._model_version,
            error=self._error,
            ran_seconds=ran + time.monotonic() - started,
            progress=self._progress,
        )

    def is_unwanted(self) -> bool:
        """Whether the job was cancelled or taken over; renews the lease on the way.

        A broker that is away for a while is no reason: what is waited for happens elsewhere.
        """
        return self._reason_to_end(stopping=lambda: False) in {"cancelled", "lost"}

    def _reason_to_end(self, *, stopping: Callable[[], bool]) -> Why | None:
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
        """Takes what the process has told, waiting so long for the first."""
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
            self._model_version = str(event.get("model_version", ""))
        elif kind == "error":
            self._error = _error(event)

    def _write(self, process: TrainingProcess, *, now: float) -> bool:
        """Writes the progress into the job; it is no harm when that fails."""
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
    found = metrics.items() if isinstance(metrics, dict) else ()
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
            for name, value in found
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
