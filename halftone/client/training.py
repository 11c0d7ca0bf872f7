"""The types of training jobs, and the calls about them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from halftone.client.calls import Call, make_call
from halftone.client.messages import parse_fields
from halftone.core import errors, training
from halftone.v1 import trainer_pb2 as pb

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Mapping

    from google.protobuf import message

    from halftone.core.training import TrainingSpec

T = TypeVar("T")


class JobState(StrEnum):
    """The state of a training job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Return whether the job has ended."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The progress of a job; a number that is not known is 0.

    Attributes:
        phase: `reading`, `training`, `evaluating`, `publishing` or `promoting`.
        fraction: The share of the job that is done, 0 to 1.
        metrics: The latest validation figures by name.
    """

    phase: str = ""
    fraction: float = 0.0
    epoch: float = 0.0
    step: int = 0
    loss: float = 0.0
    images_per_second: float = 0.0
    seconds_left: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A training job.

    Attributes:
        name: `trainingJobs/{id}`.
        spec: Its specification as JSON; see `halftone.client.TrainingSpec` for the fields.
        model_version: `name/version`; empty until it is published.
        error: The reason why the job failed.
        log_tail: The last lines that the training process printed.
        attempts: The number of times the job was started.
        revision: A number that grows with each change.
    """

    name: str
    spec: Mapping[str, Any]
    state: JobState
    progress: TrainingProgress = TrainingProgress()
    model_version: str = ""
    error: errors.HalftoneError | None = None
    log_tail: tuple[str, ...] = ()
    attempts: int = 0
    create_time: dt.datetime | None = None
    start_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    update_time: dt.datetime | None = None
    revision: int = 0

    @property
    def id(self) -> str:
        """Return the id: the last part of `name`, which is `trainingJobs/{id}`."""
        return self.name.rpartition("/")[2]


def create(spec: TrainingSpec | Mapping[str, Any], *, request_id: str | None) -> Call[TrainingJob]:
    """Build the call that starts a training job (rpc CreateTrainingJob).

    Args:
        spec: The specification, or its fields.
        request_id: The same id always gives the same job, so the call may be repeated. None: an id
            is made up.

    Raises:
        errors.InvalidArgument: A field of `spec` is wrong.
    """
    checked = spec if isinstance(spec, training.TrainingSpec) else training.parse_spec(spec)
    request = pb.CreateTrainingJobRequest(
        spec=checked.to_message(), request_id=request_id or str(uuid.uuid4())
    )
    return _call("CreateTrainingJob", request, pb.TrainingJob, parse_job)


def get(name: str) -> Call[TrainingJob]:
    """Build the call that returns a training job (rpc GetTrainingJob)."""
    return _call("GetTrainingJob", pb.GetTrainingJobRequest(name=name), pb.TrainingJob, parse_job)


def list_jobs(
    *, states: Collection[JobState], page_size: int | None, page_token: str
) -> Call[tuple[tuple[TrainingJob, ...], str]]:
    """Build the call that returns a page of training jobs and the next page's token.

    The rpc is ListTrainingJobs.

    Args:
        states: Only jobs in these states; empty: in any state.
        page_size: The most jobs on the page, at most 1000; None: 50.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListTrainingJobsRequest(
        page_size=page_size,
        page_token=page_token,
        states=[JobState(state).name for state in states],
    )

    def parse(response: pb.ListTrainingJobsResponse) -> tuple[tuple[TrainingJob, ...], str]:
        return tuple(map(parse_job, response.jobs)), response.next_page_token

    return _call("ListTrainingJobs", request, pb.ListTrainingJobsResponse, parse)


def cancel(name: str) -> Call[TrainingJob]:
    """Build the call that stops a training job (rpc CancelTrainingJob)."""
    request = pb.CancelTrainingJobRequest(name=name)
    return _call("CancelTrainingJob", request, pb.TrainingJob, parse_job)


def watch(name: str) -> Call[TrainingJob]:
    """Build the call that streams a training job: as it is, then after each change.

    The stream ends after the job's final state. The rpc is WatchTrainingJob.
    """
    request = pb.WatchTrainingJobRequest(name=name)
    return _call("WatchTrainingJob", request, pb.TrainingJob, parse_job)


def parse_job(message: pb.TrainingJob) -> TrainingJob:
    """Convert a message to a training job."""
    try:
        spec: Mapping[str, Any] = training.spec_from_message(message.spec).to_json()
    except errors.InvalidArgument:
        # The specification is wrong, and the job failed because of it.
        spec = {"model_name": message.spec.model_name, "datasets": list(message.spec.datasets)}
    return parse_fields(
        message,
        TrainingJob,
        spec=spec,
        state=JobState[pb.TrainingJob.State.Name(message.state)],
        progress=parse_fields(
            message.progress, TrainingProgress, metrics=dict(message.progress.metrics)
        ),
        error=errors.from_status(message.error) if message.HasField("error") else None,
        log_tail=tuple(message.log_tail),
    )


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call("trainer", method, request=request, response_class=response_class, parse=parse)
