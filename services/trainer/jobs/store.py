"""Keeps training jobs and the leases on them in Redis or Valkey.

Keys, all below `halftone:training:`
  job:ID     hash: `record` (JSON), `revision`, `state`, `fence`
  order      sorted set of CREATE_TIME-ID, by which jobs are listed
  active     set of the ids of jobs that are not over
  counts     hash: jobs by state
  lease:ID   who works on the job; expires unless it is renewed
  fence      counter: each lease gets a higher number, and a write with a lower one is refused

Every change is one Lua script, so it is atomic. All changes of a job go through one script, a
compare-and-set on the job's revision. The store blocks; event loops call it in threads.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Any, Final

import redis
from redis import exceptions
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from halftone.core import errors
from halftone.services.trainer.jobs import scripts
from halftone.services.trainer.jobs.job import State, TrainingJob
from halftone.services.trainer.jobs.transitions import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Self

    from halftone.core.settings import TrainerSettings
    from halftone.services.trainer.jobs.transitions import Happening, Transition

_PREFIX: Final = "halftone:training:"
CHANNEL: Final = f"{_PREFIX}changes"
"""The channel on which the id of each changed job is published."""

POSITION_PATTERN: Final = r"^\d+-"
"""Matches the results of `position_of`."""

_CONFLICT: Final = -1
_FENCED: Final = -2
_REMOVED: Final = 0
# Its worker, a few reapers and a few callers may change a job at the same time.
_MOST_TRIES: Final = 50
_LONGEST_PAUSE_SECONDS: Final = 0.02


class FencedError(Exception):
    """Another worker has taken the job over. The receiver must not change the job any more."""


class Lease:
    """The right to work on a job for as long as the lease is renewed.

    Attributes:
        job_id: The job's id.
        fence: A number that is higher than the fence of every earlier lease.
        holder: The name of the holder; different each time.
        renewed: The time of the last renewal on the monotonic clock, or a little earlier.
    """

    def __init__(self, job_id: str, *, fence: int, holder: str, renewed: float) -> None:
        self.job_id, self.fence, self.holder, self.renewed = job_id, fence, holder, renewed


class JobStore:
    """The store of all training jobs. Connects with the first call.

    Args:
        url: The broker's URL, `redis://…`.
        timeout: The seconds that the broker has for each answer.

    All methods raise `errors.Unavailable` when the broker does not answer, and
    `errors.StorageFull` when it cannot write.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self.client: Any = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, 2.0),
            # A connection that a restart of the broker broke is detected only when it is used.
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
            health_check_interval=15,
        )
        self._set = self.client.register_script(scripts.SET)
        self._acquire = self.client.register_script(scripts.ACQUIRE)
        self._renew = self.client.register_script(scripts.RENEW)
        self._release = self.client.register_script(scripts.RELEASE)

    @classmethod
    def connect(cls, settings: TrainerSettings) -> Self:
        """Return the store of a trainer. Its calls time out well before a lease does."""
        return cls(settings.broker, timeout=min(5.0, settings.lease_seconds / 6))

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def ping(self) -> None:
        """Check that the broker answers."""
        with _translate_errors():
            self.client.ping()

    # ---- jobs

    def create(self, job: TrainingJob) -> tuple[TrainingJob, bool]:
        """Store a new job unless its id is taken.

        Returns:
            The stored job with the id, and whether it is the new one.
        """
        with _translate_errors():
            created = job.having(revision=1)
            if self._compare_and_set(created, expected=0) > 0:
                return created, True
        return self.get(job.id), False

    def get(self, job_id: str) -> TrainingJob:
        """Return a job.

        Raises:
            errors.NotFound: There is no such job.
        """
        with _translate_errors():
            record = self.client.hget(_job(job_id), "record")
        if record is None:
            raise errors.NotFound(
                f"There is no training job {job_id}.",
                resource_type="halftone.v1.TrainingJob",
                resource_name=f"trainingJobs/{job_id}",
            )
        return TrainingJob.model_validate_json(record)

    def record(
        self,
        job_id: str,
        interpret: Callable[[TrainingJob], Happening | None],
        *,
        lease: Lease | None = None,
    ) -> tuple[TrainingJob, Transition | None]:
        """Change a job by an event, as the table of transitions says.

        Args:
            job_id: The id of the job.
            interpret: Returns the event, given the stored job; None changes nothing. Called again
                whenever somebody else changed the job meanwhile.
            lease: The lease of the worker. Changes under an outdated lease are refused.

        Returns:
            The stored job, and the row of the table; None if there was no event.

        Raises:
            errors.NotFound: There is no such job.
            RefusedError: The table has no such row.
            FencedError: The lease is not the newest one.
        """
        row: Transition | None = None

        def change(job: TrainingJob) -> TrainingJob:
            nonlocal row
            row = None
            happening = interpret(job)
            if happening is None:
                return job
            after, row = apply(job, *happening)
            return after

        return self.update(job_id, change, lease=lease), row

    def update(
        self,
        job_id: str,
        change: Callable[[TrainingJob], TrainingJob],
        *,
        lease: Lease | None = None,
    ) -> TrainingJob:
        """Change a job without changing its state. Returns the stored job.

        Args:
            job_id: The id of the job.
            change: Returns the changed job, or its argument to change nothing. Called again
                whenever somebody else changed the job meanwhile.
            lease: The lease of the worker. Changes under an outdated lease are refused.

        Raises:
            errors.NotFound: There is no such job.
            errors.Unavailable: Others kept changing the job at the same time.
            FencedError: The lease is not the newest one.
        """
        fence = None if lease is None else lease.fence
        for _ in range(_MOST_TRIES):
            job = self.get(job_id)
            changed = change(job)
            if changed is job:
                return job
            changed = changed.having(revision=job.revision + 1, update_time=time.time())
            with _translate_errors():
                outcome = self._compare_and_set(changed, expected=job.revision, fence=fence)
            if outcome == _FENCED:
                raise FencedError(job_id)
            if outcome != _CONFLICT:
                return changed
            time.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311  # no secret
        raise errors.Unavailable(
            f"Training job {job_id} is being changed by too many at the same time.",
            reason="JOB_CONTENDED",
            retry_after=1.0,
        )

    def list(
        self, *, states: Collection[State] = (), limit: int, before: str = ""
    ) -> tuple[TrainingJob, ...]:
        """Return jobs, the newest first.

        Args:
            states: Only jobs in these states; empty for all.
            limit: The most jobs to return.
            before: The position after which to start, from `position_of`; empty starts with the
                newest.
        """
        jobs: list[TrainingJob] = []
        highest = f"({before}" if before else "+"
        with _translate_errors():
            while len(jobs) < limit:
                members = self.client.zrevrangebylex(
                    f"{_PREFIX}order", highest, "-", start=0, num=limit
                )
                if not members:
                    break
                read = self._read_many(map(_id_of, members))
                jobs += [job for job in read if not states or job.state in states]
                highest = f"({members[-1]}"
        return tuple(jobs[:limit])

    def active(self) -> tuple[TrainingJob, ...]:
        """Return the jobs that are not over, in no particular order."""
        with _translate_errors():
            return tuple(self._read_many(self.client.smembers(f"{_PREFIX}active")))

    def _read_many(self, ids: Iterable[str]) -> Iterator[TrainingJob]:
        """Yield jobs by their ids, in one round trip. Jobs that no longer exist are left out."""
        pipe = self.client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hget(_job(job_id), "record")
        yield from (TrainingJob.model_validate_json(text) for text in pipe.execute() if text)

    def counts(self) -> dict[State, int]:
        """Return the number of jobs in each state."""
        with _translate_errors():
            counts = self.client.hgetall(f"{_PREFIX}counts")
        return {state: int(counts.get(state.value, 0)) for state in State}

    def forget(self, *, ended_before: float) -> tuple[str, ...]:
        """Remove jobs that ended before a time, in seconds since the epoch. Returns their ids.

        Only the 100 oldest jobs are looked at in one call.
        """
        gone = []
        with _translate_errors():
            # In order of creation, so that only the oldest ones are read.
            members = self.client.zrangebylex(
                f"{_PREFIX}order", "-", f"[{_stamp(ended_before)}", start=0, num=100
            )
            for job in self._read_many(map(_id_of, members)):
                if not job.state.is_over or job.end_time > ended_before:
                    continue
                if self._compare_and_set(job, expected=job.revision, remove=True) == _REMOVED:
                    gone.append(job.id)
        return tuple(gone)

    # ---- leases

    def acquire(self, job_id: str, *, holder: str, seconds: float) -> Lease | None:
        """Take the lease of a job. Returns None if the job is over or another worker has it.

        Args:
            job_id: The job's id.
            holder: The name of the holder; different each time.
            seconds: Seconds after which the lease runs out unless it is renewed.
        """
        asked = time.monotonic()
        with _translate_errors():
            fence = self._acquire(
                keys=(_job(job_id), _lease(job_id), f"{_PREFIX}fence"),
                args=(holder, round(seconds * 1000)),
            )
        if int(fence) < 0:
            return None
        return Lease(job_id, fence=int(fence), holder=holder, renewed=asked)

    def renew(self, lease: Lease, *, seconds: float) -> State | None:
        """Extend a lease to `seconds` from now.

        Returns:
            The job's state, or None if the lease is lost.
        """
        asked = time.monotonic()
        with _translate_errors():
            state = self._renew(
                keys=(_job(lease.job_id), _lease(lease.job_id)),
                args=(lease.fence, lease.holder, round(seconds * 1000)),
            )
        if state is None:
            return None
        lease.renewed = asked
        return State(state)

    def state(self, job_id: str) -> State | None:
        """Return the state of a job, or None if there is no such job."""
        with _translate_errors():
            name = self.client.hget(_job(job_id), "state")
        return None if name is None else State(name)

    def release(self, lease: Lease) -> None:
        """Give a lease back. Does nothing if another holder has it by now."""
        with _translate_errors():
            self._release(keys=(_lease(lease.job_id),), args=(lease.holder,))

    def holder(self, job_id: str) -> str | None:
        """Return the holder of a job's lease, or None if nobody works on it."""
        with _translate_errors():
            holder: str | None = self.client.get(_lease(job_id))
        return holder

    def break_leases(self, *, prefix: str) -> tuple[str, ...]:
        """End the leases of holders that are known to be gone. Returns the ids of their jobs.

        Args:
            prefix: What the names of these holders begin with.
        """
        broken = []
        for job in self.active():
            holder = self.holder(job.id)
            if holder is not None and holder.startswith(prefix):
                self.release(Lease(job.id, fence=0, holder=holder, renewed=0.0))
                broken.append(job.id)
        return tuple(broken)

    def _compare_and_set(
        self, job: TrainingJob, *, expected: int, fence: int | None = None, remove: bool = False
    ) -> int:
        """Store or remove a job if the stored one still has the revision `expected`.

        Returns:
            The new revision, `_REMOVED`, `_CONFLICT` or `_FENCED`.
        """
        return int(
            self._set(
                keys=(_job(job.id), f"{_PREFIX}order", f"{_PREFIX}active", f"{_PREFIX}counts"),
                args=(
                    job.id,
                    position_of(job),
                    expected,
                    "" if fence is None else fence,
                    "" if remove else job.model_dump_json(exclude_defaults=True),
                    job.state.value,
                    int(job.state.is_over),
                    CHANNEL,
                ),
            )
        )


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the broker's errors to Halftone's."""
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise errors.Unavailable(
            f"The broker of training jobs does not answer: {error}",
            reason="BROKER_UNAVAILABLE",
            retry_after=1.0,
        ) from error
    except exceptions.ResponseError as error:
        # The client takes some codes off the text (OOM, READONLY) and makes classes of them.
        text = str(error)
        cannot_write = isinstance(error, exceptions.OutOfMemoryError)
        if cannot_write or "MISCONF" in text or "NOREPLICAS" in text:
            raise errors.StorageFull(
                f"The broker of training jobs cannot write: {text}", reason="BROKER_FULL"
            ) from error
        if isinstance(error, exceptions.ReadOnlyError):
            raise errors.Unavailable(
                f"The broker of training jobs takes no changes: {text}",
                reason="BROKER_UNAVAILABLE",
                retry_after=1.0,
            ) from error
        raise


def _job(job_id: str) -> str:
    return f"{_PREFIX}job:{job_id}"


def _lease(job_id: str) -> str:
    return f"{_PREFIX}lease:{job_id}"


def _stamp(seconds: float) -> str:
    return f"{round(seconds * 1e6):017d}"


def position_of(job: TrainingJob) -> str:
    """Return a job's position in the order of all jobs. It never changes."""
    return f"{_stamp(job.create_time)}-{job.id}"


def _id_of(member: str) -> str:
    return member.partition("-")[2]
