"""TrainerService over gRPC: messages in, jobs out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, training
from halftone.services.trainer.jobs.job import State
from halftone.services.trainer.jobs.transitions import Event, Happening
from halftone.v1 import trainer_pb2, trainer_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    Context = grpc.aio.ServicerContext[Any, Any]

    from halftone.services.trainer.jobs.changes import Changes
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.store import JobStore

_PAGE: Final = 50
_LARGEST_PAGE: Final = 1000


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Answers from the store, which blocks and is called in threads."""

    def __init__(self, *, store: JobStore, intake: Intake, changes: Changes) -> None:
        self._store, self._intake, self._changes = store, intake, changes

    async def CreateTrainingJob(
        self, request: trainer_pb2.CreateTrainingJobRequest, context: Context
    ) -> trainer_pb2.TrainingJob:
        """Takes a job in."""
        spec = training.spec_from_message(request.spec)
        job = await asyncio.to_thread(self._intake.submit, spec, request_id=request.request_id)
        return job.to_message()

    async def GetTrainingJob(
        self, request: trainer_pb2.GetTrainingJobRequest, context: Context
    ) -> trainer_pb2.TrainingJob:
        """A job."""
        job = await asyncio.to_thread(self._store.get, training.job_id(request.name))
        return job.to_message()

    async def ListTrainingJobs(
        self, request: trainer_pb2.ListTrainingJobsRequest, context: Context
    ) -> trainer_pb2.ListTrainingJobsResponse:
        """A page of jobs."""
        limit = request.page_size if request.HasField("page_size") else _PAGE
        if not 1 <= limit <= _LARGEST_PAGE:
            raise errors.InvalidArgument(
                f"page_size is 1 to {_LARGEST_PAGE}, not {limit}.", field="page_size"
            )
        jobs, following = await asyncio.to_thread(
            self._store.list,
            states=_states(request.states),
            limit=limit,
            before=_decoded(request.page_token),
        )
        return trainer_pb2.ListTrainingJobsResponse(
            jobs=[job.to_message() for job in jobs],
            next_page_token=base64.urlsafe_b64encode(following.encode()).decode(),
        )

    async def WatchTrainingJob(
        self, request: trainer_pb2.WatchTrainingJobRequest, context: Context
    ) -> AsyncIterator[trainer_pb2.TrainingJob]:
        """A job whenever it changes."""
        job_id = training.job_id(request.name)
        seen = 0
        async with contextlib.aclosing(self._changes.of(job_id)) as changes:
            # Subscribed first and read then: what happens in between is seen.
            async for _ in changes:
                job = await asyncio.to_thread(self._store.get, job_id)
                if job.revision != seen:
                    seen = job.revision
                    yield job.to_message()
                if job.state.is_over:
                    return

    async def CancelTrainingJob(
        self, request: trainer_pb2.CancelTrainingJobRequest, context: Context
    ) -> trainer_pb2.TrainingJob:
        """Stops a job."""
        job_id = training.job_id(request.name)
        job, _ = await asyncio.to_thread(
            self._store.record, job_id, lambda _job: Happening(Event.CANCEL_REQUESTED)
        )
        return job.to_message()


def _states(numbers: Any) -> frozenset[State]:
    names = trainer_pb2.TrainingJob.State.DESCRIPTOR.values_by_number
    found = set()
    for number in numbers:
        name = names[number].name if number in names else str(number)
        if name not in State.__members__:
            raise errors.InvalidArgument(f"There is no state {name}.", field="states")
        found.add(State[name])
    return frozenset(found)


def _decoded(token: str) -> str:
    try:
        found = base64.urlsafe_b64decode(token.encode()).decode()
        stamp, dash, _ = found.partition("-")
        if found and not (stamp.isdigit() and dash):
            raise ValueError(found)  # noqa: TRY301  # ends as the other kinds of nonsense do
    except ValueError as error:
        raise errors.InvalidArgument(
            "This page token is none of this service's.", field="page_token"
        ) from error
    return found
