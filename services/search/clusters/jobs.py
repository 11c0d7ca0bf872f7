"""Cluster jobs: rows of `jobs`. At most one job runs at a time; it survives the process."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from halftone.core import errors
from halftone.v1 import clusters_pb2

if TYPE_CHECKING:
    import sqlite3

State = clusters_pb2.ClusterJob.State

_KEPT_JOBS = 1_000


class JobRow(NamedTuple):
    """A cluster job. Times are in microseconds.

    `found` counts the pairs to compare, and `compared` the pairs that could be compared. `images`
    counts all images, and `searched` the images whose candidates were looked for. The counts of
    clusters are set when the job succeeds.
    """

    number: int
    id: str
    from_scratch: int
    state: int
    model_version: str
    create_time: int
    end_time: int | None
    compared: int
    found: int
    searched: int
    images: int
    clusters: int
    clustered: int
    largest: int
    error: str

    @property
    def name(self) -> str:
        """The resource name, `clusterJobs/{id}`."""
        return f"clusterJobs/{self.id}"


_FIELDS = ", ".join(JobRow._fields)


def _find(connection: sqlite3.Connection, condition: str, *values: int | str) -> JobRow | None:
    """Return the last job that matches a condition in SQL, or None."""
    row = connection.execute(
        f"SELECT {_FIELDS} FROM jobs WHERE {condition} ORDER BY number DESC LIMIT 1",  # noqa: S608 - constants
        values,
    ).fetchone()
    return None if row is None else JobRow(*row)


def create(
    connection: sqlite3.Connection, *, request_id: str, from_scratch: bool, model_version: str
) -> tuple[JobRow, bool]:
    """Create a job, or return the one that already answers the request.

    Args:
        connection: The writing connection.
        request_id: The caller's id of the request. A repeated id gets the same job. May be empty.
        from_scratch: Whether the job compares every pair again.
        model_version: The active model version.

    Returns:
        The job, and whether it is new.
    """
    if request_id:
        answered = "request_id = ?1 OR number = (SELECT job FROM requests WHERE id = ?1)"
        if (known := _find(connection, answered, request_id)) is not None:
            return known, False
    if (job := get_running(connection)) is not None:
        if request_id:
            # Otherwise a later repetition of the request would start another job.
            connection.execute("INSERT INTO requests VALUES (?, ?)", (request_id, job.number))
        return job, False
    cursor = connection.execute(
        "INSERT INTO jobs (id, request_id, from_scratch, state, model_version, create_time)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            uuid.uuid4().hex[:12],
            request_id or None,
            int(from_scratch),
            int(State.RUNNING),
            model_version,
            time.time_ns() // 1000,
        ),
    )
    # Keep the last job that succeeded: because of it, imports join clusters.
    connection.execute(
        "DELETE FROM jobs WHERE number <= ?"
        " AND number IS NOT (SELECT max(number) FROM jobs WHERE state = ?)",
        ((cursor.lastrowid or 0) - _KEPT_JOBS, int(State.SUCCEEDED)),
    )
    connection.execute("DELETE FROM requests WHERE job NOT IN (SELECT number FROM jobs)")
    return _get_by_number(connection, int(cursor.lastrowid or 0)), True


def get_running(connection: sqlite3.Connection) -> JobRow | None:
    """Return the running job; None if there is none."""
    return _find(connection, "state = ?", int(State.RUNNING))


def is_running(connection: sqlite3.Connection, number: int) -> bool:
    """Return whether the job with a number is running."""
    job = get_running(connection)
    return job is not None and job.number == number


def get(connection: sqlite3.Connection, name: str) -> JobRow:
    """Return a job by its name, `clusterJobs/{id}`.

    Raises:
        errors.NotFound: There is no such job.
    """
    job = _find(connection, "id = ?", name.removeprefix("clusterJobs/"))
    if job is None:
        raise errors.NotFound(
            f"There is no cluster job {name[:200]}.",
            resource_type="clusterJob",
            resource_name=name[:200],
        )
    return job


def list_jobs(connection: sqlite3.Connection, *, before: int | None, limit: int) -> list[JobRow]:
    """Return jobs, the newest first.

    Args:
        connection: The connection to read with.
        before: Only jobs with lower numbers; None for all.
        limit: The most jobs to return.
    """
    rows = connection.execute(
        f"SELECT {_FIELDS} FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?",  # noqa: S608 - a constant
        (2**62 if before is None else before, limit),
    )
    return [JobRow(*row) for row in rows]


def progress(connection: sqlite3.Connection, number: int, **values: int | str) -> None:
    """Set fields of a job if it is still running."""
    settings = ", ".join(f"{key} = ?" for key in values)
    connection.execute(
        f"UPDATE jobs SET {settings} WHERE number = ? AND state = ?",  # noqa: S608 - keywords
        (*values.values(), number, int(State.RUNNING)),
    )


def end(connection: sqlite3.Connection, number: int, *, state: State, error: str = "") -> JobRow:
    """End a job and return it. An ended job stays unchanged.

    Args:
        connection: The writing connection.
        number: The number of the job.
        state: The final state.
        error: The message, if the job failed.
    """
    connection.execute(
        "UPDATE jobs SET state = ?, end_time = ?, error = ? WHERE number = ? AND state = ?",
        (int(state), time.time_ns() // 1000, error, number, int(State.RUNNING)),
    )
    return _get_by_number(connection, number)


def any_succeeded(connection: sqlite3.Connection) -> bool:
    """Return whether a job ever succeeded. From then on imports join clusters."""
    return _find(connection, "state = ?", int(State.SUCCEEDED)) is not None


def _get_by_number(connection: sqlite3.Connection, number: int) -> JobRow:
    job = _find(connection, "number = ?", number)
    assert job is not None  # noqa: S101 - jobs that run or have just ended are kept
    return job
