"""The client's methods for training jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.client import training
from halftone.client.asynchronous.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from typing import Any

    from halftone.client.training import JobState, TrainingJob
    from halftone.core.training import TrainingSpec


class TrainingMethods(Connection):
    """The methods for training jobs on the trainer's queue."""

    async def train(
        self,
        spec: TrainingSpec | Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> TrainingJob:
        """Put a training job on the queue and return it.

        Args:
            spec: The specification: a `halftone.client.TrainingSpec`, or its fields.
            request_id: An id such as a UUID; made up by default. The same id always gives the same
                job, `trainingJobs/{request_id}`.
            timeout: Deadline in seconds.

        Raises:
            errors.InvalidArgument: A field of the specification is wrong; the error names it.
            errors.NotFound: There is no such parent version.
            errors.AlreadyExists: The request id was used with another specification.
        """
        return await self._run(training.create(spec, request_id=request_id), timeout)

    async def training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """Return the job of a name, `trainingJobs/{id}`.

        Raises:
            errors.NotFound: There is no such job.
        """
        return await self._run(training.get(name), timeout)

    def training_jobs(
        self,
        *,
        states: Collection[JobState] = (),
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[TrainingJob]:
        """Iterate over the jobs, the newest first.

        Args:
            states: Only jobs in these states. Default: in any state.
            page_size: The most jobs on a page, at most 1000. Pages are fetched as needed.
            timeout: Deadline in seconds, for each page.
        """
        return self._iterate(
            lambda token: training.list_jobs(states=states, page_size=page_size, page_token=token),
            timeout,
        )

    async def cancel_training_job(self, name: str, *, timeout: float | None = None) -> TrainingJob:
        """Stop a job: one that waits at once, one that runs after the step it is in.

        Raises:
            errors.FailedPrecondition: It is over already.
        """
        return await self._run(training.cancel(name), timeout)

    def watch_training_job(self, name: str) -> AsyncIterator[TrainingJob]:
        """Iterate over a job's states: as it is now, then whenever it changes, to its end.

        Connects again when the connection is lost, as often as a call is tried again.
        """
        return self._watch(training.watch(name))
