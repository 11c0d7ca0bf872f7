"""The client's part for training jobs: what it gives back, and each call once, as in `calls`."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from halftone.client.calls import Call
from halftone.client.retry import Attempts
from halftone.core import errors, training
from halftone.v1 import trainer_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from google.protobuf import message, timestamp_pb2

    from halftone.client.retry import RetryPolicy
    from halftone.core.training import TrainingSpec

WATCH_PATH = "/halftone.v1.TrainerService/WatchTrainingJob"
WATCH_SECONDS = 600.0
"""A stream is opened anew after so long: one whose peer vanished without a word would never end."""


class JobState(StrEnum):
    """What a training job is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """How far a job is; 0 where a number is not known.

    Attributes:
        phase: `reading`, `training`, `evaluating`, `publishing` or `promoting`.
        fraction: 0 to 1.
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
        spec: What it was told, as JSON; `halftone.training.TrainingSpec` explains the fields.
        model_version: `name/version`, once it is published.
        error: Why it failed.
        log_tail: The last lines that the training process printed.
        attempts: How often it was started.
        revision: Grows with each change.
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
        """The last part of the name."""
        return self.name.rpartition("/")[2]


class Watching:
    """What is known while a job is watched.

    Attributes:
        is_over: Whether the job has come to its end.
    """

    def __init__(self, *, policy: RetryPolicy, on_retry: Callable[[], None]) -> None:
        self.is_over = False
        self._revision = 0
        self._policy, self._on_retry = policy, on_retry
        self._attempts = self._fresh()

    def take(self, message: pb.TrainingJob) -> TrainingJob | None:
        """What a message says, or None when it was told before."""
        job = job_from(message)
        self.is_over = job.state.is_over
        if job.revision <= self._revision:
            return None
        self._revision = job.revision
        # Only news makes up for lost connections, or a service that always dies would never end it.
        self._attempts = self._fresh()
        return job

    def pause_after(self, error: errors.HalftoneError) -> float:
        """Seconds to wait before the stream is opened again.

        Raises:
            errors.HalftoneError: `error`, when it is not to be.
        """
        if isinstance(error, errors.DeadlineExceeded):
            return 0.0
        return self._attempts.pause_after(error)

    def _fresh(self) -> Attempts:
        return Attempts(policy=self._policy, timeout=WATCH_SECONDS, on_retry=self._on_retry)


def create(spec: TrainingSpec | Mapping[str, Any], *, request_id: str | None) -> Call[TrainingJob]:
    """CreateTrainingJob. A request that is tried again must be the same one, so it has an id."""
    checked = spec if isinstance(spec, training.TrainingSpec) else training.parse_spec(spec)
    request = pb.CreateTrainingJobRequest(
        spec=checked.to_message(), request_id=request_id or str(uuid.uuid4())
    )
    return _call("CreateTrainingJob", request, pb.TrainingJob, job_from)


def get(name: str) -> Call[TrainingJob]:
    """GetTrainingJob."""
    return _call("GetTrainingJob", pb.GetTrainingJobRequest(name=name), pb.TrainingJob, job_from)


def list_jobs(
    *, states: Collection[JobState], page_size: int | None, page_token: str
) -> Call[tuple[tuple[TrainingJob, ...], str]]:
    """ListTrainingJobs; gives one page's jobs and the next page's token."""
    request = pb.ListTrainingJobsRequest(
        page_size=page_size,
        page_token=page_token,
        states=[JobState(state).name for state in states],
    )

    def parse(response: pb.ListTrainingJobsResponse) -> tuple[tuple[TrainingJob, ...], str]:
        return tuple(map(job_from, response.jobs)), response.next_page_token

    return _call("ListTrainingJobs", request, pb.ListTrainingJobsResponse, parse)


def cancel(name: str) -> Call[TrainingJob]:
    """CancelTrainingJob."""
    request = pb.CancelTrainingJobRequest(name=name)
    return _call("CancelTrainingJob", request, pb.TrainingJob, job_from)


def watch_request(name: str) -> pb.WatchTrainingJobRequest:
    """WatchTrainingJob."""
    return pb.WatchTrainingJobRequest(name=name)


def job_from(message: pb.TrainingJob) -> TrainingJob:
    """The job in a message."""
    try:
        spec: Mapping[str, Any] = training.spec_from_message(message.spec).to_json()
    except errors.InvalidArgument:
        # A job that failed because of it.
        spec = {"model_name": message.spec.model_name, "datasets": list(message.spec.datasets)}
    progress = message.progress
    return TrainingJob(
        name=message.name,
        spec=spec,
        state=JobState[pb.TrainingJob.State.Name(message.state)],
        progress=TrainingProgress(
            phase=progress.phase,
            fraction=progress.fraction,
            epoch=progress.epoch,
            step=progress.step,
            loss=progress.loss,
            images_per_second=progress.images_per_second,
            seconds_left=progress.seconds_left,
            metrics=dict(progress.metrics),
        ),
        model_version=message.model_version,
        error=errors.from_status(message.error) if message.HasField("error") else None,
        log_tail=tuple(message.log_tail),
        attempts=message.attempts,
        create_time=_time(message, "create_time"),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        update_time=_time(message, "update_time"),
        revision=message.revision,
    )


def _time(message: pb.TrainingJob, name: str) -> dt.datetime | None:
    if not message.HasField(name):
        return None
    value: timestamp_pb2.Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=dt.UTC)


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., Any],
) -> Call[Any]:
    return Call(
        service="trainer",
        method=method,
        request=request,
        response_class=response_class,
        parse=parse,
    )
