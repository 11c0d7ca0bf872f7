"""What both clients can do with clusters and verdicts; they inherit it from here."""

# A gRPC deadline travels with the call and stops the service's work; asyncio.timeout would not.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from halftone.client import clusters
from halftone.client.clusters import ClusterOrder
from halftone.client.verdicts import Decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from halftone.client.calls import Call
    from halftone.client.clusters import Cluster, ClusterJob, ClusterPage
    from halftone.client.types import Filter
    from halftone.client.verdicts import Verdict

T = TypeVar("T")


class ClusterMethods:
    """The blocking client's."""

    def _run(self, call: Call[T], timeout: float | None) -> T:
        raise NotImplementedError

    def build_clusters(
        self,
        *,
        from_scratch: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> ClusterJob:
        """Starts to group the archive; `watch_cluster_job` tells how it goes.

        Args:
            from_scratch: Compare every pair again, also those whose comparison is kept, and forget
                what is no candidate any more.
            request_id: The same one gives the job that it started. Made up by default.
            timeout: Deadline in seconds, of this call and not of the job.

        Returns:
            The new job, or the one that runs already.
        """
        call = clusters.create_job(
            request_id=request_id or uuid.uuid4().hex, from_scratch=from_scratch
        )
        return self._run(call, timeout)

    def cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """The job of that name, `clusterJobs/{id}`."""
        return self._run(clusters.get_job(name), timeout)

    def cluster_jobs(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> Iterator[ClusterJob]:
        """Iterates over the jobs, the newest first; `timeout` is for each page."""
        token = ""
        while True:
            jobs, token = self._run(
                clusters.list_jobs(page_size=page_size, page_token=token), timeout
            )
            yield from jobs
            if not token:
                return

    def watch_cluster_job(
        self, name: str, *, every: float = 1.0, timeout: float | None = None
    ) -> Iterator[ClusterJob]:
        """The job as it is, then again whenever it changes, up to its final state.

        It is asked for `every` so many seconds; `timeout` is for each of these calls.
        """
        last = None
        while last is None or not last.state.is_over:
            if last is not None:
                time.sleep(every)
            job = self.cluster_job(name, timeout=timeout)
            if job != last:
                yield job
            last = job

    def cancel_cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """Stops a job; the groups stay as they were.

        Raises:
            errors.FailedPrecondition: It is over already.
        """
        return self._run(clusters.cancel_job(name), timeout)

    def cluster_page(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        order: ClusterOrder = ClusterOrder.SIZE,
        min_size: int | None = None,
        min_journals: int | None = None,
        min_span_years: int | None = None,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> ClusterPage:
        """One page of clusters and how many there are, the largest by `order` first.

        Args:
            filter: Clusters with at least one printing that matches it.
            order: By what.
            min_size: Printings.
            min_journals: Journals.
            min_span_years: Whole years between the first printing and the last.
            page_size: 1 to 1000.
            page_token: Goes on where another page ended.
            timeout: Deadline in seconds.
        """
        call = clusters.list_clusters(
            where=filter,
            order=order,
            min_size=min_size,
            min_journals=min_journals,
            min_span_years=min_span_years,
            page_size=page_size,
            page_token=page_token,
        )
        return self._run(call, timeout)

    def clusters(self, **options: Any) -> Iterator[Cluster]:
        """Iterates over clusters; the keywords are those of `cluster_page`.

        They have no members and no links; `cluster` gives those.
        """
        while True:
            page = self.cluster_page(**options)
            yield from page
            if not page.next_page_token:
                return
            options["page_token"] = page.next_page_token

    def cluster(self, name: str, *, timeout: float | None = None) -> Cluster:
        """A cluster with its printings in chronological order.

        Args:
            name: `clusters/{id}`, or an image's name, whose cluster is meant.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: There is none of that name, or the image is in none.
        """
        return self._run(clusters.get(name), timeout)

    def judge(
        self,
        a: str,
        b: str,
        decision: Decision | str,
        *,
        note: str = "",
        author: str = "",
        timeout: float | None = None,
    ) -> Verdict:
        """Keeps what an archivist says of two images, for good and under every model version.

        Where verdicts contradict each other the later ones win: the answer's `overruled_verdicts`
        are those that lost their effect by this one.

        Args:
            a: Name of an image.
            b: Name of another.
            decision: SAME holds the two in one cluster, DIFFERENT keeps them apart.
            note: Why, at most 4,096 characters.
            author: Who says so, at most 256 characters.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: There is no such image.
            errors.InvalidArgument: An image and itself, or a text that is too long.
        """
        call = clusters.judge(a, b, decision=Decision(decision), note=note, author=author)
        return self._run(call, timeout)

    def verdicts(
        self,
        *,
        image: str = "",
        history: bool = False,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Verdict]:
        """Iterates over the verdicts that hold, the newest first; `timeout` is for each page.

        Args:
            image: Only those on this image.
            history: Those that no longer hold as well.
            page_size: 1 to 1000.
            timeout: Deadline in seconds.
        """
        token = ""
        while True:
            call = clusters.list_verdicts(
                image=image, history=history, page_size=page_size, page_token=token
            )
            found, token = self._run(call, timeout)
            yield from found
            if not token:
                return

    def delete_verdict(self, name: str, *, timeout: float | None = None) -> Verdict:
        """Takes a verdict back, `verdicts/{id}`; it stays in the history.

        Raises:
            errors.NotFound: There is none of that name.
        """
        return self._run(clusters.delete_verdict(name), timeout)


class AsyncClusterMethods:
    """The asynchronous client's."""

    async def _run(self, call: Call[T], timeout: float | None) -> T:
        raise NotImplementedError

    async def build_clusters(
        self,
        *,
        from_scratch: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> ClusterJob:
        """See `Client.build_clusters`."""
        call = clusters.create_job(
            request_id=request_id or uuid.uuid4().hex, from_scratch=from_scratch
        )
        return await self._run(call, timeout)

    async def cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """See `Client.cluster_job`."""
        return await self._run(clusters.get_job(name), timeout)

    async def cluster_jobs(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[ClusterJob]:
        """See `Client.cluster_jobs`."""
        token = ""
        while True:
            call = clusters.list_jobs(page_size=page_size, page_token=token)
            jobs, token = await self._run(call, timeout)
            for job in jobs:
                yield job
            if not token:
                return

    async def watch_cluster_job(
        self, name: str, *, every: float = 1.0, timeout: float | None = None
    ) -> AsyncIterator[ClusterJob]:
        """See `Client.watch_cluster_job`."""
        last = None
        while last is None or not last.state.is_over:
            if last is not None:
                await asyncio.sleep(every)
            job = await self.cluster_job(name, timeout=timeout)
            if job != last:
                yield job
            last = job

    async def cancel_cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """See `Client.cancel_cluster_job`."""
        return await self._run(clusters.cancel_job(name), timeout)

    async def cluster_page(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        order: ClusterOrder = ClusterOrder.SIZE,
        min_size: int | None = None,
        min_journals: int | None = None,
        min_span_years: int | None = None,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> ClusterPage:
        """See `Client.cluster_page`."""
        call = clusters.list_clusters(
            where=filter,
            order=order,
            min_size=min_size,
            min_journals=min_journals,
            min_span_years=min_span_years,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._run(call, timeout)

    async def clusters(self, **options: Any) -> AsyncIterator[Cluster]:
        """See `Client.clusters`."""
        while True:
            page = await self.cluster_page(**options)
            for cluster in page:
                yield cluster
            if not page.next_page_token:
                return
            options["page_token"] = page.next_page_token

    async def cluster(self, name: str, *, timeout: float | None = None) -> Cluster:
        """See `Client.cluster`."""
        return await self._run(clusters.get(name), timeout)

    async def judge(
        self,
        a: str,
        b: str,
        decision: Decision | str,
        *,
        note: str = "",
        author: str = "",
        timeout: float | None = None,
    ) -> Verdict:
        """See `Client.judge`."""
        call = clusters.judge(a, b, decision=Decision(decision), note=note, author=author)
        return await self._run(call, timeout)

    async def verdicts(
        self,
        *,
        image: str = "",
        history: bool = False,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Verdict]:
        """See `Client.verdicts`."""
        token = ""
        while True:
            call = clusters.list_verdicts(
                image=image, history=history, page_size=page_size, page_token=token
            )
            found, token = await self._run(call, timeout)
            for verdict in found:
                yield verdict
            if not token:
                return

    async def delete_verdict(self, name: str, *, timeout: float | None = None) -> Verdict:
        """See `Client.delete_verdict`."""
        return await self._run(clusters.delete_verdict(name), timeout)
