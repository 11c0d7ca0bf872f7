"""The life of a training job as one table: the next state for each state and event.

The servicer, the reaper and the worker change a job's state only by `JobStore.record`, which calls
`apply`; that refuses every pair of state and event that is not in `TABLE`. Progress within a state
is not a transition.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from halftone.core import errors, training
from halftone.services.trainer.jobs.job import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.services.trainer.jobs.job import Progress, TrainingJob


class Event(StrEnum):
    """Something that happens to a job."""

    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    """Somebody asked to stop the job."""
    STARTED = "STARTED"
    """A worker has the lease and is about to start the training process."""
    RESUMED = "RESUMED"
    """A worker has the lease of a job whose earlier attempt has published a version."""
    PUBLISHED = "PUBLISHED"
    """The training process ended and has published a version."""
    FAILED = "FAILED"
    """The process could not start, reported an error, hit the time limit or crashed."""
    KILLED = "KILLED"
    """A signal ended the process, mostly for lack of memory. The job may be tried again."""
    KILLED_TOO_OFTEN = "KILLED_TOO_OFTEN"
    """A signal ended the process once too often."""
    WORKER_LOST = "WORKER_LOST"
    """The lease ran out without a renewal. The job may be tried again."""
    WORKER_LOST_TOO_OFTEN = "WORKER_LOST_TOO_OFTEN"
    """The lease ran out once too often."""
    MESSAGE_LOST = "MESSAGE_LOST"
    """The job waits, but the work queue has no message for it."""
    GIVEN_BACK = "GIVEN_BACK"
    """The worker returns the job, because the worker stops or because the broker was away."""
    PROMOTION_STARTED = "PROMOTION_STARTED"
    """The worker is about to ask for the promotion of the published version."""
    PROMOTION_ENDED = "PROMOTION_ENDED"
    """The promotion ended, with whatever outcome."""
    FINISHED = "FINISHED"
    """The version is published and no promotion was asked for."""


class Then(StrEnum):
    """The action of the lease's holder after a transition."""

    GO_ON = "GO_ON"
    """Continue with the job."""
    START_AGAIN = "START_AGAIN"
    """Start the training process again, with the message that the worker holds."""
    SEND = "SEND"
    """Send a new message, for any worker, and release the job."""
    LET_GO = "LET_GO"
    """Release the job, because it is over."""


Fact = Literal["progress", "log_tail", "ran_seconds", "model_version", "error"]


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A row of the table.

    Attributes:
        to: The next state of the job.
        then: The next action of the lease's holder.
        tells: The facts of the `Report` that are recorded.
        counts: The counter that grows by one: `attempt` raises `TrainingJob.attempts`, `crash`
            raises `TrainingJob.crashes`.
    """

    to: State
    then: Then
    tells: frozenset[Fact] = frozenset()
    counts: Literal["nothing", "attempt", "crash"] = "nothing"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The facts that are known at an event. None means that a fact is unknown.

    Attributes:
        progress: The last progress.
        log_tail: The last lines of the process's output.
        ran_seconds: The seconds that the job ran in all attempts.
        model_version: The published version, `name/number`.
        error: The reason why the job fails.
    """

    progress: Progress | None = None
    log_tail: tuple[str, ...] | None = None
    ran_seconds: float | None = None
    model_version: str | None = None
    error: errors.HalftoneError | None = None


class Happening(NamedTuple):
    """An event and the known facts."""

    event: Event
    report: Report = Report()


class RefusedError(errors.FailedPrecondition):
    """The event cannot happen to a job in this state. The reason is JOB_OVER if the job is over."""


_PROGRESS: Final[frozenset[Fact]] = frozenset({"progress"})
_OUTCOME: Final[frozenset[Fact]] = _PROGRESS | {"log_tail"}
_ENDING: Final[frozenset[Fact]] = _OUTCOME | {"ran_seconds"}
_VERSION: Final[frozenset[Fact]] = frozenset({"model_version"})
_ERROR: Final[frozenset[Fact]] = frozenset({"error"})

_CANCELLED: Final = Transition(to=State.CANCELLED, then=Then.LET_GO)
_CANCELLED_AFTER_RUN: Final = Transition(to=State.CANCELLED, then=Then.LET_GO, tells=_ENDING)
_SUCCEEDED: Final = Transition(to=State.SUCCEEDED, then=Then.LET_GO, tells=_OUTCOME)

# A worker may meet a job that is QUEUED although it runs it: its lease ran out unnoticed and the
# job was put back, but nobody else has taken it since. The lease is good, so the work counts. Or it
# meets one that is RUNNING although it begins: the worker before it died, and the reaper did not
# come by yet. So what a worker does means the same in both states.
_BY_WORKER: Final = {
    Event.STARTED: Transition(to=State.RUNNING, then=Then.GO_ON, tells=_PROGRESS, counts="attempt"),
    Event.RESUMED: Transition(to=State.RUNNING, then=Then.GO_ON),
    Event.PUBLISHED: Transition(to=State.RUNNING, then=Then.GO_ON, tells=_ENDING | _VERSION),
    Event.FAILED: Transition(to=State.FAILED, then=Then.LET_GO, tells=_ENDING | _ERROR),
    Event.KILLED: Transition(to=State.QUEUED, then=Then.START_AGAIN, tells=_ENDING, counts="crash"),
    Event.KILLED_TOO_OFTEN: Transition(
        to=State.FAILED, then=Then.LET_GO, tells=_ENDING | _ERROR, counts="crash"
    ),
    Event.GIVEN_BACK: Transition(to=State.QUEUED, then=Then.SEND, tells=_ENDING),
    Event.PROMOTION_STARTED: Transition(to=State.RUNNING, then=Then.GO_ON, tells=_PROGRESS),
    Event.PROMOTION_ENDED: _SUCCEEDED,
    Event.FINISHED: _SUCCEEDED,
}

TABLE: Final[Mapping[tuple[State, Event], Transition]] = {
    **{(State.QUEUED, event): row for event, row in _BY_WORKER.items()},
    (State.QUEUED, Event.CANCEL_REQUESTED): _CANCELLED,
    (State.QUEUED, Event.MESSAGE_LOST): Transition(to=State.QUEUED, then=Then.SEND),
    **{(State.RUNNING, event): row for event, row in _BY_WORKER.items()},
    (State.RUNNING, Event.CANCEL_REQUESTED): Transition(to=State.CANCELLING, then=Then.GO_ON),
    (State.RUNNING, Event.WORKER_LOST): Transition(to=State.QUEUED, then=Then.SEND, counts="crash"),
    (State.RUNNING, Event.WORKER_LOST_TOO_OFTEN): Transition(
        to=State.FAILED, then=Then.LET_GO, tells=_ERROR, counts="crash"
    ),
    (State.CANCELLING, Event.CANCEL_REQUESTED): Transition(to=State.CANCELLING, then=Then.GO_ON),
    (State.CANCELLING, Event.STARTED): _CANCELLED,
    (State.CANCELLING, Event.RESUMED): _CANCELLED,
    (State.CANCELLING, Event.PUBLISHED): Transition(
        to=State.CANCELLING, then=Then.GO_ON, tells=_ENDING | _VERSION
    ),
    (State.CANCELLING, Event.FAILED): _CANCELLED_AFTER_RUN,
    (State.CANCELLING, Event.KILLED): _CANCELLED_AFTER_RUN,
    (State.CANCELLING, Event.KILLED_TOO_OFTEN): _CANCELLED_AFTER_RUN,
    (State.CANCELLING, Event.WORKER_LOST): _CANCELLED,
    (State.CANCELLING, Event.WORKER_LOST_TOO_OFTEN): _CANCELLED,
    (State.CANCELLING, Event.GIVEN_BACK): _CANCELLED_AFTER_RUN,
    # The cancellation came after the publication. It only prevents the promotion.
    (State.CANCELLING, Event.PROMOTION_STARTED): Transition(to=State.SUCCEEDED, then=Then.LET_GO),
    (State.CANCELLING, Event.PROMOTION_ENDED): Transition(
        to=State.CANCELLED, then=Then.LET_GO, tells=_OUTCOME
    ),
    (State.CANCELLING, Event.FINISHED): _SUCCEEDED,
}
"""All transitions. A missing pair is refused, as is every event after a job is over."""


def apply(
    job: TrainingJob, event: Event, report: Report = Report()
) -> tuple[TrainingJob, Transition]:
    """Return the job after an event, and the row of `TABLE` for it.

    If nothing changes, the job is returned itself, not a copy.

    Args:
        job: The job before the event.
        event: The event.
        report: The facts that are known. The row says which of them are recorded.

    Raises:
        RefusedError: The table has no such row.
    """
    row = TABLE.get((job.state, event))
    if row is None:
        raise RefusedError(
            f"The job is {job.state.value.lower()} already.",
            subject=training.job_name(job.id),
            reason="JOB_OVER" if job.state.is_over else "JOB_STATE",
        )
    now = time.time()
    changes: dict[str, Any] = {"state": row.to}
    after = _record(job, report, tells=row.tells)
    if row.counts == "attempt":
        changes |= {"attempts": job.attempts + 1, "start_time": job.start_time or now}
    elif row.counts == "crash":
        changes["crashes"] = after.crashes + 1
    if row.to is State.QUEUED:
        changes["queue_time"] = now
    if row.to is State.SUCCEEDED or event is Event.PROMOTION_ENDED:
        changes["progress"] = after.progress.model_copy(
            update={"fraction": 1.0, "seconds_left": 0.0}
        )
    after = after.having(**changes)
    if row.to.is_over:
        after = after.over(row.to, error=report.error if "error" in row.tells else None)
    return (job if after == job else after), row


def count_kill(
    job: TrainingJob,
    report: Report = Report(),
    *,
    max_crashes: int,
    max_attempts: int,
    worker_lost: bool = False,
) -> Happening:
    """Return the event for a training process that was killed, or whose worker is gone.

    A job is tried again from its checkpoint, until one of the two limits is reached.

    Args:
        job: The stored job.
        report: The known facts of the attempt. Its progress may make up for earlier crashes.
        max_crashes: The job fails when it was killed this many times without getting further.
        max_attempts: The job fails when it was killed after this many starts.
        worker_lost: Whether the worker is gone, and not only its process.
    """
    after = _record(job, report, tells=_ENDING)
    crashes = after.crashes + 1
    if crashes < max_crashes and job.attempts < max_attempts:
        return Happening(Event.WORKER_LOST if worker_lost else Event.KILLED, report)
    times = crashes if crashes >= max_crashes else job.attempts
    error = errors.Internal(
        f"The training process was killed {times} times, last at step "
        f"{after.progress.step}, in most cases for lack of memory.",
        reason="TRAINING_KILLED",
    )
    return Happening(
        Event.WORKER_LOST_TOO_OFTEN if worker_lost else Event.KILLED_TOO_OFTEN,
        dataclasses.replace(report, error=error),
    )


def _record(job: TrainingJob, report: Report, *, tells: frozenset[Fact]) -> TrainingJob:
    facts = {
        name: getattr(report, name)
        for name in tells - {"progress", "error"}
        if getattr(report, name) is not None
    }
    job = job.having(**facts)
    if "progress" in tells and report.progress is not None:
        job = job.at(report.progress)
    return job
