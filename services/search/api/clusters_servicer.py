"""ClusterService over gRPC: checks requests, reads or writes the clusters' file, and answers."""

from __future__ import annotations

import asyncio
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import Field, TypeAdapter

from halftone.archive import records
from halftone.core import errors, telemetry
from halftone.service.access import current_caller
from halftone.service.paging import Pager
from halftone.services.search.archive import lookups
from halftone.services.search.clusters import groups, jobs, pictures, verdicts, views
from halftone.services.search.clusters.jobs import JobRow, State
from halftone.services.search.clusters.lists import ClusterLists
from halftone.services.search.clusters.queue import JudgingQueue
from halftone.v1 import clusters_pb2, clusters_pb2_grpc

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    import grpc

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.services.search.clusters.verdicts import VerdictRow
    from halftone.services.search.clusters.worker import ClusterWorker

    Context = grpc.aio.ServicerContext[Any, Any]

R = TypeVar("R")
T = TypeVar("T")

FULL_NAME: Final = clusters_pb2.DESCRIPTOR.services_by_name["ClusterService"].full_name
MAX_NOTE: Final = 4_096
MAX_AUTHOR: Final = 256
MAX_REQUEST_ID: Final = 256
MAX_OVERRULED: Final = 100
"""The most overruled verdicts in one answer, newest first; each may have a long note."""

_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")
# Jobs and verdicts are listed by descending number.
_POSITION: Final = TypeAdapter(Annotated[int, Field(ge=0, lt=2**62)])
_JOBS: Final = Pager(_POSITION, default_size=20)
_VERDICTS: Final = Pager(_POSITION, default_size=100)

Decision = clusters_pb2.Verdict.Decision

_log = telemetry.get_logger(__name__)


class ClusterServicer(clusters_pb2_grpc.ClusterServiceServicer):
    """Answers the RPCs of ClusterService.

    Reads run in threads; writes wait for each other in one thread of their own. Errors become
    statuses in `halftone.service.server`.
    """

    def __init__(
        self, *, database: Database | DatabaseElsewhere, worker: ClusterWorker, holdings: Holdings
    ) -> None:
        self._database = database
        self._worker = worker
        self._holdings = holdings
        self._lists = ClusterLists(holdings)
        self._queue = JudgingQueue(holdings)
        # Writes wait for each other. A thread of their own keeps them from occupying those of other
        # calls, and a write whose caller gives up while it waits is never begun.
        self._writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clusters-write")

    def close(self) -> None:
        """Wait for the write in progress. Blocks."""
        self._writes.shutdown(wait=True, cancel_futures=True)

    async def _write(self, call: Callable[[R], T], request: R) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writes, call, request)

    # Jobs.

    async def CreateClusterJob(
        self, request: clusters_pb2.CreateClusterJobRequest, context: Context
    ) -> clusters_pb2.ClusterJob:
        """Start a job, or return the one that is running."""
        return await self._write(self._create, request)

    def _create(self, request: clusters_pb2.CreateClusterJobRequest) -> clusters_pb2.ClusterJob:
        _check_length(request.request_id, most=MAX_REQUEST_ID, field="request_id")
        version = self._holdings.collection.model_version
        with self._database.write() as connection:
            job, is_new = jobs.create(
                connection,
                request_id=request.request_id,
                from_scratch=request.from_scratch,
                model_version=version,
            )
        if is_new:
            _log.info("cluster_job_created", job=job.id, from_scratch=request.from_scratch)
            self._worker.wake()
        with self._database.read() as connection:
            return _job(job, connection)

    async def GetClusterJob(
        self, request: clusters_pb2.GetClusterJobRequest, context: Context
    ) -> clusters_pb2.ClusterJob:
        """Return a job."""

        def get() -> clusters_pb2.ClusterJob:
            with self._database.read() as connection:
                return _job(jobs.get(connection, _require_name(request.name)), connection)

        return await asyncio.to_thread(get)

    async def ListClusterJobs(
        self, request: clusters_pb2.ListClusterJobsRequest, context: Context
    ) -> clusters_pb2.ListClusterJobsResponse:
        """Return a page of jobs, the newest first."""
        return await asyncio.to_thread(self._list_jobs, request)

    def _list_jobs(
        self, request: clusters_pb2.ListClusterJobsRequest
    ) -> clusters_pb2.ListClusterJobsResponse:
        page = _JOBS.read(request)
        with self._database.read() as connection:
            rows = jobs.list_jobs(connection, before=page.position, limit=page.size + 1)
            return clusters_pb2.ListClusterJobsResponse(
                jobs=[_job(job, connection) for job in page.cut(rows)],
                next_page_token=page.next_token(rows, position=lambda job: job.number),
            )

    async def CancelClusterJob(
        self, request: clusters_pb2.CancelClusterJobRequest, context: Context
    ) -> clusters_pb2.ClusterJob:
        """Cancel a job. The worker stops before its next piece of work."""
        return await self._write(self._cancel, request)

    def _cancel(self, request: clusters_pb2.CancelClusterJobRequest) -> clusters_pb2.ClusterJob:
        with self._database.write() as connection:
            job = jobs.get(connection, _require_name(request.name))
            if job.state != State.RUNNING:
                raise errors.FailedPrecondition(
                    f"{job.name} is over.", subject=job.name, reason="CLUSTER_JOB_ENDED"
                )
            images, searched = pictures.count_searched(connection, job=job.number)
            jobs.progress(connection, job.number, images=images, searched=searched)
            job = jobs.end(connection, job.number, state=State.CANCELLED)
            answer = _job(job, connection)
        _log.info("cluster_job_cancelled", job=job.id)
        return answer

    # Clusters.

    async def ListClusters(
        self, request: clusters_pb2.ListClustersRequest, context: Context
    ) -> clusters_pb2.ListClustersResponse:
        """Return a page of clusters."""

        def read() -> clusters_pb2.ListClustersResponse:
            with self._database.read() as connection:
                return self._lists.read(connection, request)

        return await self._holdings.threads.read_list("clusters_list", read)

    async def ListPairsToJudge(
        self, request: clusters_pb2.ListPairsToJudgeRequest, context: Context
    ) -> clusters_pb2.ListPairsToJudgeResponse:
        """Return a page of the pairs that a verdict helps most with."""

        def read() -> clusters_pb2.ListPairsToJudgeResponse:
            with self._database.read() as connection:
                return self._queue.read(connection, request)

        return await self._holdings.threads.read_list("pairs_to_judge", read)

    async def GetCluster(
        self, request: clusters_pb2.GetClusterRequest, context: Context
    ) -> clusters_pb2.Cluster:
        """Return a cluster with its printings."""

        def get() -> clusters_pb2.Cluster:
            with self._database.read() as connection:
                row = views.find_cluster(
                    connection, _require_name(request.name), holdings=self._holdings
                )
                return views.to_cluster(connection, row, holdings=self._holdings)

        return await self._holdings.threads.read_list("clusters_get", get)

    # Verdicts.

    async def JudgePair(
        self, request: clusters_pb2.JudgePairRequest, context: Context
    ) -> clusters_pb2.Verdict:
        """Store a verdict and regroup the images it affects, both before the answer.

        The verdict is signed by the key that it was made with, whatever the caller says.
        """
        request.author = current_caller().label or request.author
        return await self._write(self._judge, request)

    def _judge(self, request: clusters_pb2.JudgePairRequest) -> clusters_pb2.Verdict:
        a, b = records.parse_name(request.a, field="a"), records.parse_name(request.b, field="b")
        if a == b:
            raise errors.InvalidArgument("b: an image cannot be judged with itself.", field="b")
        if request.decision not in {Decision.SAME, Decision.DIFFERENT, Decision.UNSURE}:
            raise errors.InvalidArgument(
                "decision: it must be SAME, DIFFERENT or UNSURE.", field="decision"
            )
        _check_length(request.note, most=MAX_NOTE, field="note")
        _check_length(request.author, most=MAX_AUTHOR, field="author")
        stored = [lookups.get_record(self._holdings.collection, name) for name in (a, b)]
        images = [(each.id.bytes, bytes.fromhex(each.payload["sha256"])) for each in stored]
        places = {each.id.bytes: place for each in stored if (place := pictures.place_of(each))}
        pages = {place.page for place in places.values()}
        if request.decision == Decision.SAME and pages & {point for point, _ in images}:
            raise errors.InvalidArgument(
                "b: one of the images is the page that the other stands on, which is one printing.",
                field="b",
                reason="ONE_PRINTING",
            )
        with self._database.write() as connection:
            # The worker may not know these images yet, but the verdict has effect at once.
            known = pictures.shas_of(connection, [point for point, _ in images])
            new = [(point, sha) for point, sha in images if known.get(point) != sha]
            if new:
                pictures.put_images(connection, new, places=places)
            verdict = verdicts.judge(
                connection,
                a,
                b,
                decision=request.decision,
                note=request.note,
                author=request.author,
                shas=dict(images),
            )
            answer = self._regroup(connection, verdict, said=verdict.id)
        # Either image may have been deleted or replaced meanwhile, so the worker checks both.
        self._worker.note(uuid.UUID(bytes=point) for point, _ in images)
        return answer

    def _regroup(
        self, connection: sqlite3.Connection, verdict: VerdictRow, *, said: int | None = None
    ) -> clusters_pb2.Verdict:
        """Regroup the images that a verdict affects.

        Returns the answer with the overruled verdicts.
        """
        points = [records.parse_name(each).point_id.bytes for each in (verdict.a, verdict.b)]
        done = groups.regroup(connection, points, describe=self._worker.describe, said=said)
        overruled = sorted(done.overruled, reverse=True)[:MAX_OVERRULED]
        return views.to_verdict(
            verdicts.get(connection, verdict.id),
            overruled=[verdicts.get(connection, each) for each in overruled],
        )

    async def ListVerdicts(
        self, request: clusters_pb2.ListVerdictsRequest, context: Context
    ) -> clusters_pb2.ListVerdictsResponse:
        """Return a page of verdicts, the newest first."""
        return await asyncio.to_thread(self._list_verdicts, request)

    def _list_verdicts(
        self, request: clusters_pb2.ListVerdictsRequest
    ) -> clusters_pb2.ListVerdictsResponse:
        page = _VERDICTS.read(request)
        point = (
            records.parse_name(request.image, field="image").point_id.bytes
            if request.image
            else None
        )
        with self._database.read() as connection:
            rows = verdicts.list_verdicts(
                connection,
                point=point,
                history=request.history,
                before=page.position,
                limit=page.size + 1,
            )
        return clusters_pb2.ListVerdictsResponse(
            verdicts=map(views.to_verdict, page.cut(rows)),
            next_page_token=page.next_token(rows, position=lambda verdict: verdict.id),
        )

    async def DeleteVerdict(
        self, request: clusters_pb2.DeleteVerdictRequest, context: Context
    ) -> clusters_pb2.Verdict:
        """End a verdict and regroup the images it affects. An ended verdict stays unchanged."""
        return await self._write(self._delete, request)

    def _delete(self, request: clusters_pb2.DeleteVerdictRequest) -> clusters_pb2.Verdict:
        _ = self._holdings.collection
        prefix, _, number = _require_name(request.name).rpartition("/")
        if prefix != "verdicts" or not _NUMBER.fullmatch(number):
            raise errors.InvalidArgument(
                f"name: {request.name[:200]!r} is not of the form verdicts/{{id}}.",
                field="name",
                reason="INVALID_NAME",
            )
        with self._database.write() as connection:
            verdict = verdicts.end(connection, int(number))
            return self._regroup(connection, verdict)


def _job(job: JobRow, connection: sqlite3.Connection) -> clusters_pb2.ClusterJob:
    """Convert a job to its message. The figures of a running job are counted now."""
    if job.state == State.RUNNING:
        images, searched = pictures.count_searched(connection, job=job.number)
        job = job._replace(images=images, searched=searched)
    return views.to_job(job)


def _require_name(name: str) -> str:
    if not name:
        raise errors.InvalidArgument("name: it must be given.", field="name")
    return name


def _check_length(text: str, *, most: int, field: str) -> None:
    if len(text) > most:
        raise errors.InvalidArgument(
            f"{field}: {len(text):,} characters; at most {most:,} are kept.", field=field
        )
