"""The record of a training job, and its conversion to a message of the contract."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import timestamp_pb2
from pydantic import BaseModel, ConfigDict

from halftone.core import errors, training
from halftone.core.system import make_file_name
from halftone.v1 import trainer_pb2

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

LOG_LINES: Final = 40
"""The number of last lines of the training process's output that a job keeps."""


def locate_folder(job_id: str, *, work_directory: Path) -> Path:
    """Return the directory of a job's settings, log and checkpoints."""
    return work_directory / make_file_name(job_id)


class State(StrEnum):
    """The state of a job, named as in the contract."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended. An ended job never changes its state."""
        return self in {State.SUCCEEDED, State.FAILED, State.CANCELLED}


class Progress(BaseModel):
    """The progress of a job, as in the contract. A number that is not known is 0."""

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
    """The reason why a job failed: an error in a form that can be stored as JSON."""

    model_config = ConfigDict(frozen=True)

    code: str
    reason: str
    message: str
    field: str = ""

    @classmethod
    def of(cls, error: errors.HalftoneError) -> Self:
        """Return the failure that stores an error."""
        return cls(
            code=errors.code_of(error).name,
            reason=error.reason,
            message=error.message,
            field=getattr(error, "field", ""),
        )

    def to_error(self) -> errors.HalftoneError:
        """Return the stored error; an internal one if its code is unknown."""
        error = errors.of_code(self.code, reason=self.reason)(self.message, reason=self.reason)
        if isinstance(error, errors.InvalidArgument):
            error.field = self.field
        return error


class TrainingJob(BaseModel):
    """The record of one job. Times are seconds since the epoch; 0 stands for none.

    Attributes:
        id: The request id, or an id that was made for the job.
        spec: The specification as it was given. It may be invalid if the job has failed.
        state: The state; changed only by `JobStore.record`.
        progress: The last recorded progress.
        model_version: The published version, `name/number`. Set once it is published, before the
            job is over.
        error: The reason why it failed.
        log_tail: The last lines of the training process's output.
        attempts: How many times the training process was started.
        crashes: How many times the process was killed since it last got further than ever before.
        furthest_step: The highest step that was ever reported.
        ran_seconds: The seconds that the training process ran, in all attempts.
        create_time: The time when it was accepted.
        queue_time: The time when a message was last sent for it.
        start_time: The time when it was first started.
        end_time: The time when it ended.
        update_time: The time when the record last changed.
        revision: A number that grows by one with each change.
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
        """Return a new job, which waits to be run."""
        now = time.time()
        return cls(id=job_id, spec=spec, create_time=now, queue_time=now, update_time=now)

    def having(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return self.model_copy(update=changes)

    def at(self, progress: Progress) -> Self:
        """Return a copy with new progress. If it got further than ever before, `crashes` is 0."""
        further = progress.step > self.furthest_step
        return self.having(
            progress=progress,
            furthest_step=max(progress.step, self.furthest_step),
            crashes=0 if further else self.crashes,
        )

    def over(self, state: State, *, error: errors.HalftoneError | None = None) -> Self:
        """Return a copy that ends now, in a final state.

        Args:
            state: The final state.
            error: The reason why the job failed.
        """
        failure = None if error is None else Failure.of(error)
        return self.having(state=state, error=failure, end_time=time.time())

    def to_message(self) -> trainer_pb2.TrainingJob:
        """Convert the job to its message of the contract."""
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
