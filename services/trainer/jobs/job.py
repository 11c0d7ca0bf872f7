"""What is known of a training job, and how it becomes a message of the contract."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import timestamp_pb2
from pydantic import BaseModel, ConfigDict

from halftone.core import errors, training
from halftone.v1 import trainer_pb2

if TYPE_CHECKING:
    from typing import Self

LOG_LINES: Final = 40
"""Lines of the training process's output that a job carries."""


class State(StrEnum):
    """As in the contract."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self in {State.SUCCEEDED, State.FAILED, State.CANCELLED}


class Progress(BaseModel):
    """As in the contract; 0 where a number is not known."""

    model_config = ConfigDict(frozen=True)

    phase: str = ""
    fraction: float = 0.0
    epoch: float = 0.0
    step: int = 0
    loss: float = 0.0
    images_per_second: float = 0.0
    seconds_left: float = 0.0
    metrics: dict[str, float] = {}


class Failure(BaseModel):
    """Why a job failed: an error that can be kept as JSON."""

    model_config = ConfigDict(frozen=True)

    code: str
    reason: str
    message: str
    field: str = ""

    @classmethod
    def of(cls, error: errors.HalftoneError) -> Self:
        """That of an error."""
        return cls(
            code=errors.code_of(error).name,
            reason=error.reason,
            message=error.message,
            field=getattr(error, "field", ""),
        )

    def to_error(self) -> errors.HalftoneError:
        """The error again; of a code that is not known, an internal one."""
        error = errors.of_code(self.code, reason=self.reason)(self.message, reason=self.reason)
        if isinstance(error, errors.InvalidArgument):
            error.field = self.field
        return error


class TrainingJob(BaseModel):
    """One job, as it is kept.

    Attributes:
        spec: As it was given; of a failed job it may be a wrong one.
        model_version: Set once the version is published, before the job is over.
        attempts: How often the training process was started.
        crashes: How often it was killed since it last got further.
        furthest_step: The highest step that was ever reported.
        ran_seconds: Together, in all attempts.
        queue_time: When it was last put on the queue.
        revision: Grows with each change. Times are seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    spec: dict[str, Any]
    state: State = State.QUEUED
    progress: Progress = Progress()
    model_version: str = ""
    error: Failure | None = None
    log_tail: tuple[str, ...] = ()
    attempts: int = 0
    crashes: int = 0
    furthest_step: int = 0
    ran_seconds: float = 0.0
    create_time: float = 0.0
    queue_time: float = 0.0
    start_time: float = 0.0
    end_time: float = 0.0
    update_time: float = 0.0
    revision: int = 0

    @classmethod
    def new(cls, job_id: str, *, spec: dict[str, Any]) -> Self:
        """A job that waits for its turn."""
        now = time.time()
        return cls(id=job_id, spec=spec, create_time=now, queue_time=now, update_time=now)

    def having(self, **changes: Any) -> Self:
        """The job with some fields changed."""
        return self.model_copy(update=changes)

    def at(self, progress: Progress) -> Self:
        """The job with new progress; that it got further makes up for what happened before."""
        further = progress.step > self.furthest_step
        return self.having(
            progress=progress,
            furthest_step=max(progress.step, self.furthest_step),
            crashes=0 if further else self.crashes,
        )

    def over(self, state: State, *, error: errors.HalftoneError | None = None) -> Self:
        """The job at its end."""
        failure = None if error is None else Failure.of(error)
        return self.having(state=state, error=failure, end_time=time.time())

    def to_message(self) -> trainer_pb2.TrainingJob:
        """As the contract has it."""
        message = trainer_pb2.TrainingJob(
            name=training.job_name(self.id),
            spec=training.as_message(self.spec),
            state=self.state.value,
            progress=trainer_pb2.TrainingProgress(**self.progress.model_dump()),
            model_version=self.model_version,
            log_tail=self.log_tail,
            attempts=self.attempts,
            create_time=_timestamp(self.create_time),
            start_time=_timestamp(self.start_time),
            end_time=_timestamp(self.end_time),
            update_time=_timestamp(self.update_time),
            revision=self.revision,
        )
        if self.error is not None:
            message.error.CopyFrom(errors.to_status(self.error.to_error()))
        return message


def _timestamp(seconds: float) -> timestamp_pb2.Timestamp | None:
    if not seconds:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromMicroseconds(round(seconds * 1e6))
    return message
