"""The types of clusters and of the job that builds them, and the calls about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from halftone.client.calls import Call, make_call
from halftone.client.conversions import (
    make_filter,
    parse_day,
    parse_record,
    parse_relation,
    parse_verification,
)
from halftone.client.messages import parse_fields
from halftone.client.types import Relation, Verification
from halftone.client.verdicts import Decision, Verdict, parse_decision, parse_verdict
from halftone.v1 import clusters_pb2 as pb

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from google.protobuf import message

    from halftone.client.records import ImageRecord
    from halftone.client.types import Filter


T = TypeVar("T")


class ClusterJobState(StrEnum):
    """The state of a cluster job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Return whether the job has ended."""
        return self is not ClusterJobState.RUNNING


class ClusterOrder(StrEnum):
    """The order of `Client.clusters`: the largest first, but of weakest links the weakest."""

    SIZE = "size"
    SPAN_YEARS = "span"
    JOURNAL_COUNT = "journals"
    WEAKEST_LINK = "weakest"


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """A job that groups the archive.

    Attributes:
        name: `clusterJobs/{id}`.
        searched_count: The number of images whose candidates were looked for, of `image_count`.
        compared_count: The number of pairs compared by local features, of `pair_count` so far.
        cluster_count: The number of clusters; like the two counts below, 0 until the job has
            succeeded.
        error: The reason why the job failed.
    """

    name: str
    state: ClusterJobState
    searched_count: int = 0
    image_count: int = 0
    compared_count: int = 0
    pair_count: int = 0
    cluster_count: int = 0
    clustered_image_count: int = 0
    largest_cluster_size: int = 0
    model_version: str = ""
    create_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    error: str = ""

    @property
    def id(self) -> str:
        """Return the id: the last part of `name`, which is `clusterJobs/{id}`."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class ClusterMember:
    """One printing in a cluster.

    Attributes:
        weakest_link: The probability of the least probable link on the surest path to the others.
        link_count: The number of members to which it has a link.
        gap_days: Days since the previous printing; None for the first, or if a date is missing.
        page: The record of the page that the picture stands on, if there is one.
    """

    image: ImageRecord
    weakest_link: float = 0.0
    link_count: int = 0
    gap_days: int | None = None
    page: ImageRecord | None = None


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two members that are the same picture.

    Attributes:
        a: Name of an image, the query of the verification.
        b: Name of the other image.
        probability: The probability that the two are the same picture. None if an archivist said
            so and the two were never compared.
        verdict: SAME if an archivist said so, else None.
    """

    a: str
    b: str
    probability: float | None
    relation: Relation = Relation.UNKNOWN
    verification: Verification = field(default_factory=Verification)
    verdict: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The printings of one picture.

    Attributes:
        name: `clusters/{id}`; it stays when the cluster grows or the model version changes.
        earliest_date: The first day on which a printing may have appeared; None without dates.
        latest_date: The last day on which a printing may have appeared.
        span_years: Whole years between the first and the last printing, from the middle of a date
            to the middle of the other; 0 if two vague dates overlap.
        undated_count: The number of printings without a date; 0 until the next grouping if an
            earlier release made the cluster.
        weakest_link: The probability of the least probable link that holds the cluster together.
        first_image: The earliest known printing; without dates the first by name.
        journals: The journals in the order of their first printing.
        members: The printings in chronological order, printings without a date last; at most the
            first 5,000. Only `Client.cluster` returns them.
        links: Links without a probability come first, then the most probable; at most the first
            5,000. They may name images that are not in `members`. Only `Client.cluster` returns
            them.
    """

    name: str
    size: int
    journal_count: int = 0
    earliest_date: dt.date | None = None
    latest_date: dt.date | None = None
    span_years: int = 0
    undated_count: int = 0
    weakest_link: float = 0.0
    first_image: ImageRecord
    journals: tuple[str, ...] = ()
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None
    members: tuple[ClusterMember, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def id(self) -> str:
        """Return the id: the last part of `name`, which is `clusters/{id}`."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class ClusterPage:
    """A page of clusters; iterating over it gives the clusters.

    Attributes:
        next_page_token: The token of the next page; empty on the last page.
        total: The number of clusters under the filter, on all pages.
    """

    clusters: tuple[Cluster, ...]
    next_page_token: str
    total: int

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self.clusters)

    def __len__(self) -> int:
        return len(self.clusters)


def create_job(*, request_id: str, from_scratch: bool) -> Call[ClusterJob]:
    """Build the call that starts a cluster job (rpc CreateClusterJob).

    Args:
        request_id: An id of the caller's choice. The same id gives the same job, so the call may be
            repeated.
        from_scratch: Whether to compare every pair again, also pairs whose comparison is kept, and
            to forget pairs that are no longer candidates.
    """
    request = pb.CreateClusterJobRequest(request_id=request_id, from_scratch=from_scratch)
    return _call("CreateClusterJob", request, pb.ClusterJob, parse_job)


def get_job(name: str) -> Call[ClusterJob]:
    """Build the call that returns a cluster job (rpc GetClusterJob)."""
    return _call("GetClusterJob", pb.GetClusterJobRequest(name=name), pb.ClusterJob, parse_job)


def list_jobs(
    *, page_size: int | None, page_token: str
) -> Call[tuple[tuple[ClusterJob, ...], str]]:
    """Build the call that returns a page of cluster jobs and the next page's token.

    The rpc is ListClusterJobs.

    Args:
        page_size: The most jobs on the page, 1 to 1000; None: 20.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListClusterJobsRequest(page_size=page_size, page_token=page_token)

    def parse(response: pb.ListClusterJobsResponse) -> tuple[tuple[ClusterJob, ...], str]:
        return tuple(map(parse_job, response.jobs)), response.next_page_token

    return _call("ListClusterJobs", request, pb.ListClusterJobsResponse, parse)


def cancel_job(name: str) -> Call[ClusterJob]:
    """Build the call that stops a cluster job (rpc CancelClusterJob)."""
    request = pb.CancelClusterJobRequest(name=name)
    return _call("CancelClusterJob", request, pb.ClusterJob, parse_job)


def list_clusters(
    *,
    where: Filter | None,
    order: ClusterOrder,
    min_size: int | None,
    min_journals: int | None,
    min_span_years: int | None,
    max_weakest_link: float | None,
    only_unjudged: bool,
    unjudged_first: bool,
    page_size: int | None,
    page_token: str,
) -> Call[ClusterPage]:
    """Build the call that returns a page of clusters (rpc ListClusters).

    Args:
        where: Only clusters with at least one printing that matches this filter; None: all.
        order: The sort key; the largest come first.
        min_size: Only clusters with at least this many printings.
        min_journals: Only clusters with at least this many journals.
        min_span_years: Only clusters with at least this many whole years between the first
            printing and the last.
        max_weakest_link: Only clusters whose weakest link is at most this probable.
        only_unjudged: Only clusters without a verdict on two of their images.
        unjudged_first: Put these first.
        page_size: The most clusters on the page, 1 to 1000; None: 50.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListClustersRequest(
        filter=make_filter(where),
        order=order.name,
        min_size=min_size,
        min_journal_count=min_journals,
        min_span_years=min_span_years,
        max_weakest_link=max_weakest_link,
        only_unjudged=only_unjudged,
        unjudged_first=unjudged_first,
        page_size=page_size,
        page_token=page_token,
    )

    def parse(response: pb.ListClustersResponse) -> ClusterPage:
        return ClusterPage(
            clusters=tuple(map(parse_cluster, response.clusters)),
            next_page_token=response.next_page_token,
            total=response.total_count,
        )

    return _call("ListClusters", request, pb.ListClustersResponse, parse)


def get(name: str) -> Call[Cluster]:
    """Build the call that returns a cluster with its printings (rpc GetCluster)."""
    return _call("GetCluster", pb.GetClusterRequest(name=name), pb.Cluster, parse_cluster)


def judge(a: str, b: str, *, decision: Decision, note: str, author: str) -> Call[Verdict]:
    """Build the call that records a verdict on two images (rpc JudgePair).

    It is repeatable: repeating a verdict only lengthens its history.
    """
    request = pb.JudgePairRequest(a=a, b=b, decision=decision.name, note=note, author=author)
    return _call("JudgePair", request, pb.Verdict, parse_verdict)


def list_verdicts(
    *, image: str, history: bool, page_size: int | None, page_token: str
) -> Call[tuple[tuple[Verdict, ...], str]]:
    """Build the call that returns a page of verdicts and the next page's token (rpc ListVerdicts).

    Args:
        image: Only verdicts on the image of this name; empty: on any image.
        history: Whether to include verdicts that have ended.
        page_size: The most verdicts on the page, 1 to 1000; None: 100.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListVerdictsRequest(
        image=image, history=history, page_size=page_size, page_token=page_token
    )

    def parse(response: pb.ListVerdictsResponse) -> tuple[tuple[Verdict, ...], str]:
        return tuple(map(parse_verdict, response.verdicts)), response.next_page_token

    return _call("ListVerdicts", request, pb.ListVerdictsResponse, parse)


def delete_verdict(name: str) -> Call[Verdict]:
    """Build the call that takes a verdict back (rpc DeleteVerdict)."""
    return _call("DeleteVerdict", pb.DeleteVerdictRequest(name=name), pb.Verdict, parse_verdict)


def parse_job(message: pb.ClusterJob) -> ClusterJob:
    """Convert a message to a cluster job."""
    return parse_fields(
        message,
        ClusterJob,
        state=ClusterJobState[pb.ClusterJob.State.Name(message.state)],
    )


def parse_cluster(message: pb.Cluster) -> Cluster:
    """Convert a message to a cluster."""
    return parse_fields(
        message,
        Cluster,
        earliest_date=parse_day(message.earliest_date),
        latest_date=parse_day(message.latest_date),
        first_image=parse_record(message.first_image),
        journals=tuple(message.journals),
        members=tuple(
            parse_fields(
                member,
                ClusterMember,
                image=parse_record(member.image),
                gap_days=member.gap_days if member.HasField("gap_days") else None,
                page=parse_record(member.page) if member.HasField("page") else None,
            )
            for member in message.members
        ),
        links=tuple(
            parse_fields(
                link,
                Link,
                probability=link.probability if link.HasField("probability") else None,
                relation=parse_relation(link.relation),
                verification=parse_verification(link.verification),
                verdict=parse_decision(link.verdict),
            )
            for link in message.links
        ),
    )


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call(
        "clusters", method, request=request, response_class=response_class, parse=parse
    )
