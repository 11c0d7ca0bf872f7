"""The client's methods for clusters and verdicts."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from halftone.client import clusters, judging, tasks
from halftone.client.asynchronous.connection import Connection
from halftone.client.clusters import ClusterOrder
from halftone.client.verdicts import Decision, VerdictPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from halftone.client.clusters import Cluster, ClusterJob, ClusterPage
    from halftone.client.judging import JudgingPage, JudgingReason
    from halftone.client.types import Filter
    from halftone.client.verdicts import Verdict


class ClusterMethods(Connection):
    """The methods for clusters, the job that builds them, and archivists' verdicts."""

    async def build_clusters(
        self,
        *,
        from_scratch: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> ClusterJob:
        """Start to group the archive; `watch_cluster_job` tells how it goes.

        Args:
            from_scratch: Compare every pair again, also pairs whose comparison is kept, and forget
                pairs that are no longer candidates.
            request_id: An id of the caller's choice; a repeated id returns the job that it started.
                Made up by default.
            timeout: Deadline in seconds, of this call and not of the job.

        Returns:
            The new job, or the one that runs already.
        """
        call = clusters.create_job(
            request_id=request_id or uuid.uuid4().hex, from_scratch=from_scratch
        )
        return await self._run(call, timeout)

    async def cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """Return the job of a name, `clusterJobs/{id}`.

        Raises:
            errors.NotFound: There is no such job.
        """
        return await self._run(clusters.get_job(name), timeout)

    def cluster_jobs(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[ClusterJob]:
        """Iterate over the jobs, the newest first.

        Pages of `page_size` (1 to 1000) are fetched as needed; `timeout` is for each of them.
        """
        return self._iterate(
            lambda token: clusters.list_jobs(page_size=page_size, page_token=token), timeout
        )

    async def watch_cluster_job(
        self, name: str, *, every: float = 1.0, timeout: float | None = None
    ) -> AsyncIterator[ClusterJob]:
        """Iterate over a job's states: as it is now, then whenever it changes, to its end.

        The service is asked every `every` seconds; `timeout` is for each of these calls.
        """
        last = None
        while last is None or not last.state.is_over:
            if last is not None:
                await tasks.sleep(every)
            job = await self.cluster_job(name, timeout=timeout)
            if job != last:
                yield job
            last = job

    async def cancel_cluster_job(self, name: str, *, timeout: float | None = None) -> ClusterJob:
        """Stop a job; the clusters stay as they were.

        Raises:
            errors.FailedPrecondition: It is over already.
        """
        return await self._run(clusters.cancel_job(name), timeout)

    async def cluster_page(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002  # the concept's name
        order: ClusterOrder = ClusterOrder.SIZE,
        min_size: int | None = None,
        min_journals: int | None = None,
        min_span_years: int | None = None,
        max_weakest_link: float | None = None,
        only_unjudged: bool = False,
        unjudged_first: bool = False,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> ClusterPage:
        """Return one page of clusters and their total number, the largest by `order` first.

        Args:
            filter: Only clusters with at least one printing that matches it.
            order: The sort key.
            min_size: Only clusters with at least this many printings.
            min_journals: Only clusters with at least this many journals.
            min_span_years: Only clusters with at least this many whole years between the first
                printing and the last.
            max_weakest_link: Only clusters whose weakest link is at most this probable, 0 to 1.
            only_unjudged: Only clusters without a verdict on two of their images.
            unjudged_first: Put these first; `order` holds among them and among the others.
            page_size: 1 to 1000.
            page_token: The token of the page to return, from the page before it.
            timeout: Deadline in seconds.
        """
        call = clusters.list_clusters(
            where=filter,
            order=order,
            min_size=min_size,
            min_journals=min_journals,
            min_span_years=min_span_years,
            max_weakest_link=max_weakest_link,
            only_unjudged=only_unjudged,
            unjudged_first=unjudged_first,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._run(call, timeout)

    async def clusters(self, **options: Any) -> AsyncIterator[Cluster]:
        """Iterate over clusters; takes the keywords of `cluster_page`.

        The clusters have no members and no links; `cluster` returns a cluster with them.
        """
        while True:
            page = await self.cluster_page(**options)
            for cluster in page:
                yield cluster
            if not page.next_page_token:
                return
            options["page_token"] = page.next_page_token

    async def cluster(self, name: str, *, timeout: float | None = None) -> Cluster:
        """Return a cluster with its printings in chronological order.

        Args:
            name: `clusters/{id}`, or the name of an image, which stands for its cluster. The name
                of a cluster that became a part of another cluster stands for that one.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: There is no such cluster, or the image is in no cluster.
        """
        return await self._run(clusters.get(name), timeout)

    async def pairs_to_judge(
        self,
        *,
        cluster: str = "",
        reasons: Sequence[JudgingReason] = (),
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> JudgingPage:
        """Return a page of the pairs that a verdict helps most with, the most useful first.

        Pairs with a verdict are left out. A page token keeps its place when pairs are judged.

        Args:
            cluster: Only pairs with an image of this cluster, `clusters/{id}`.
            reasons: Only pairs for these reasons; none: all.
            page_size: 1 to 1000.
            page_token: The token of the page to return, from the page before it.
            timeout: Deadline in seconds.
        """
        call = judging.list_pairs(
            cluster=cluster, reasons=reasons, page_size=page_size, page_token=page_token
        )
        return await self._run(call, timeout)

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
        """Record what an archivist says of two images, for good and under every model version.

        If verdicts contradict each other, the later verdicts count. `overruled_verdicts` of the
        returned verdict lists the verdicts that lost their effect by this call.

        Args:
            a: Name of an image.
            b: Name of the other image.
            decision: SAME holds the two in one cluster, DIFFERENT keeps them apart, UNSURE does
                neither.
            note: The reason, at most 4,096 characters.
            author: Who says so, at most 256 characters.
            timeout: Deadline in seconds.

        Raises:
            errors.NotFound: There is no such image.
            errors.InvalidArgument: Both names are the same, or a text is too long.
        """
        call = clusters.judge(a, b, decision=Decision(decision), note=note, author=author)
        return await self._run(call, timeout)

    async def verdict_page(
        self,
        *,
        image: str = "",
        history: bool = False,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> VerdictPage:
        """Return one page of what `verdicts` iterates over, for pages that people turn.

        Args:
            image: Only verdicts on this image.
            history: Include verdicts that have ended.
            page_size: 1 to 1000.
            page_token: The token of the page to return, from the page before it.
            timeout: Deadline in seconds.
        """
        call = clusters.list_verdicts(
            image=image, history=history, page_size=page_size, page_token=page_token
        )
        found, next_page_token = await self._run(call, timeout)
        return VerdictPage(verdicts=found, next_page_token=next_page_token)

    def verdicts(
        self,
        *,
        image: str = "",
        history: bool = False,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Verdict]:
        """Iterate over the verdicts that hold, the newest first; `timeout` is for each page.

        Args:
            image: Only verdicts on this image.
            history: Include verdicts that have ended.
            page_size: 1 to 1000.
            timeout: Deadline in seconds.
        """
        return self._iterate(
            lambda token: clusters.list_verdicts(
                image=image, history=history, page_size=page_size, page_token=token
            ),
            timeout,
        )

    async def delete_verdict(self, name: str, *, timeout: float | None = None) -> Verdict:
        """Take a verdict back, `verdicts/{id}`; it stays in the history.

        A verdict that it had overruled may have its effect again. `overruled_verdicts` of the
        returned verdict lists the verdicts that lost their effect by this call.

        Raises:
            errors.NotFound: There is no such verdict.
        """
        return await self._run(clusters.delete_verdict(name), timeout)
