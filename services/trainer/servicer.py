"""Answers the TrainerService's RPCs from the store of jobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, TypeAdapter

from halftone.core import errors, training
from halftone.service.paging import Pager
from halftone.services.trainer.jobs.job import State
from halftone.services.trainer.jobs.store import POSITION_PATTERN, position_of
from halftone.services.trainer.jobs.transitions import Event, Happening
from halftone.v1 import trainer_pb2, trainer_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    Context = grpc.aio.ServicerContext[Any, Any]

    from halftone.services.trainer.jobs.changes import Changes
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.store import JobStore

_JOBS: Final = Pager(TypeAdapter(Annotated[str, Field(pattern=POSITION_PATTERN)]), default_size=50)


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Answers the RPCs. The store blocks, so it is called in threads."""

    def __init__(self, *, store: JobStore, intake: Intake, changes: Changes) -> None:
        self._store, self._intake, self._changes = store, intake, changes

    async def CreateTrainingJob(
        self, request: trainer_pb2.CreateTrainingJobRequest, context: Context
    ) -> trainer_pb2.TrainingJob:
        """Record and queue a job. Repeating a request id returns the same job."""
        spec = training.spec_from_message(request.spec)
        job = await asyncio.to_thread(self._intake.submit, spec, request_id=request.request_id)
        return job.to_message()

    async def GetTrainingJob(
        self, request: trainer_pb2.GetTrainingJobRequest, context: Context
    ) -> trainer_pb2.TrainingJob:
        """Return a job."""
        job = await asyncio.to_thread(self._store.get, training.job_id(request.name))
        return job.to_message()

    async def ListTrainingJobs(
        self, request: trainer_pb2.ListTrainingJobsRequest, context: Context
    ) -> trainer_pb2.ListTrainingJobsResponse:
        """Return a page of the jobs, the newest first."""
        page = _JOBS.read(request)
        jobs = await asyncio.to_thread(
            self._store.list,
            states=_parse_states(request.states),
            limit=page.size + 1,
            before=page.position or "",
        )
        return trainer_pb2.ListTrainingJobsResponse(
            jobs=[job.to_message() for job in page.cut(jobs)],
            next_page_token=page.next_token(jobs, position=position_of),
        )

    async def WatchTrainingJob(
        self, request: trainer_pb2.WatchTrainingJobRequest, context: Context
    ) -> AsyncIterator[trainer_pb2.TrainingJob]:
        """Stream a job now and whenever it changes, until it is over."""
        job_id = training.job_id(request.name)
        seen = 0
        async with contextlib.aclosing(self._changes.follow(job_id)) as changes:
            # Subscribe first, then read, so that no change in between is missed.
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
        """Cancel a job: at once if it waits, after its current step if it is running."""
        job_id = training.job_id(request.name)
        job, _ = await asyncio.to_thread(
            self._store.record, job_id, lambda _job: Happening(Event.CANCEL_REQUESTED)
        )
        return job.to_message()


def _parse_states(numbers: Any) -> frozenset[State]:
    names = trainer_pb2.TrainingJob.State.DESCRIPTOR.values_by_number
    states = set()
    for number in numbers:
        name = names[number].name if number in names else str(number)
        if name not in State.__members__:
            raise errors.InvalidArgument(f"There is no state {name}.", field="states")
        states.add(State[name])
    return frozenset(states)
