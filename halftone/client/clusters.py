"""The client's part for clusters and verdicts: what it gives back, and each call once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from halftone.client.calls import Call, make_call
from halftone.client.conversions import (
    filter_to,
    record_from,
    relation_from,
    verification_from,
)
from halftone.client.types import ImageRecord, Relation, Verification
from halftone.client.verdicts import Decision, Verdict, decision_from, time_of, verdict_from
from halftone.v1 import clusters_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf import message

    from halftone.client.types import Filter


T = TypeVar("T")


class ClusterJobState(StrEnum):
    """What a cluster job is doing, or how it ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self is not ClusterJobState.RUNNING


class ClusterOrder(StrEnum):
    """What `Client.clusters` sorts by, the largest first."""

    SIZE = "size"
    SPAN_YEARS = "span"
    JOURNAL_COUNT = "journals"


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """The job that groups the archive.

    Attributes:
        name: `clusterJobs/{id}`.
        searched_count: Images whose candidates were looked for, of `image_count`.
        compared_count: Pairs compared by local features, of `pair_count` found so far.
        cluster_count: Once it has succeeded, as the two below.
        error: Why it failed.
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
        """The last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class ClusterMember:
    """One printing of a cluster.

    Attributes:
        weakest_link: The least probable link on the surest way from it to the others, 0 to 1.
        link_count: Members to which it has a link.
        gap_days: Days since the printing before. None for the first, and where a date is missing.
    """

    image: ImageRecord
    weakest_link: float = 0.0
    link_count: int = 0
    gap_days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two members that are the same picture.

    Attributes:
        a: Name of an image, the query of the verification.
        b: Name of the other.
        probability: None where only an archivist said so and they were never compared.
        verdict: SAME where an archivist said so, else None.
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
        earliest_date: The days between which its printings lie; None without dates.
        latest_date: Likewise.
        span_years: Whole years between the two.
        weakest_link: Of the links that hold the cluster together the least probable.
        first_image: The earliest known printing; without dates the first by name.
        journals: In the order of their first printing.
        members: Chronological, those without a date last; the first 5,000. Only from
            `Client.cluster`.
        links: Those without a probability, then the most probable first; the first 5,000, which
            may name images that are not among these members. Only from `Client.cluster`.
    """

    name: str
    size: int
    journal_count: int = 0
    earliest_date: dt.date | None = None
    latest_date: dt.date | None = None
    span_years: int = 0
    weakest_link: float = 0.0
    first_image: ImageRecord
    journals: tuple[str, ...] = ()
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None
    members: tuple[ClusterMember, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class ClusterPage:
    """Some clusters. Iterating over a page gives them.

    Attributes:
        next_page_token: Empty on the last page.
        total: Clusters under the filter, on all pages.
    """

    clusters: tuple[Cluster, ...]
    next_page_token: str
    total: int

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self.clusters)

    def __len__(self) -> int:
        return len(self.clusters)


def create_job(*, request_id: str, from_scratch: bool) -> Call[ClusterJob]:
    """CreateClusterJob. `request_id` makes it repeatable."""
    request = pb.CreateClusterJobRequest(request_id=request_id, from_scratch=from_scratch)
    return _call("CreateClusterJob", request, pb.ClusterJob, job_from)


def get_job(name: str) -> Call[ClusterJob]:
    """GetClusterJob."""
    return _call("GetClusterJob", pb.GetClusterJobRequest(name=name), pb.ClusterJob, job_from)


def list_jobs(
    *, page_size: int | None, page_token: str
) -> Call[tuple[tuple[ClusterJob, ...], str]]:
    """ListClusterJobs; gives one page's jobs and the next page's token."""
    request = pb.ListClusterJobsRequest(page_size=page_size, page_token=page_token)

    def parse(response: pb.ListClusterJobsResponse) -> tuple[tuple[ClusterJob, ...], str]:
        return tuple(map(job_from, response.jobs)), response.next_page_token

    return _call("ListClusterJobs", request, pb.ListClusterJobsResponse, parse)


def cancel_job(name: str) -> Call[ClusterJob]:
    """CancelClusterJob."""
    request = pb.CancelClusterJobRequest(name=name)
    return _call("CancelClusterJob", request, pb.ClusterJob, job_from)


def list_clusters(
    *,
    where: Filter | None,
    order: ClusterOrder,
    min_size: int | None,
    min_journals: int | None,
    min_span_years: int | None,
    page_size: int | None,
    page_token: str,
) -> Call[ClusterPage]:
    """ListClusters."""
    request = pb.ListClustersRequest(
        filter=filter_to(where),
        order=order.name,
        min_size=min_size,
        min_journal_count=min_journals,
        min_span_years=min_span_years,
        page_size=page_size,
        page_token=page_token,
    )

    def parse(response: pb.ListClustersResponse) -> ClusterPage:
        return ClusterPage(
            clusters=tuple(map(cluster_from, response.clusters)),
            next_page_token=response.next_page_token,
            total=response.total_count,
        )

    return _call("ListClusters", request, pb.ListClustersResponse, parse)


def get(name: str) -> Call[Cluster]:
    """GetCluster."""
    return _call("GetCluster", pb.GetClusterRequest(name=name), pb.Cluster, cluster_from)


def judge(a: str, b: str, *, decision: Decision, note: str, author: str) -> Call[Verdict]:
    """JudgePair. Said twice, the same verdict only has a longer history."""
    request = pb.JudgePairRequest(a=a, b=b, decision=decision.name, note=note, author=author)
    return _call("JudgePair", request, pb.Verdict, verdict_from)


def list_verdicts(
    *, image: str, history: bool, page_size: int | None, page_token: str
) -> Call[tuple[tuple[Verdict, ...], str]]:
    """ListVerdicts; gives one page's verdicts and the next page's token."""
    request = pb.ListVerdictsRequest(
        image=image, history=history, page_size=page_size, page_token=page_token
    )

    def parse(response: pb.ListVerdictsResponse) -> tuple[tuple[Verdict, ...], str]:
        return tuple(map(verdict_from, response.verdicts)), response.next_page_token

    return _call("ListVerdicts", request, pb.ListVerdictsResponse, parse)


def delete_verdict(name: str) -> Call[Verdict]:
    """DeleteVerdict."""
    return _call("DeleteVerdict", pb.DeleteVerdictRequest(name=name), pb.Verdict, verdict_from)


def job_from(message: pb.ClusterJob) -> ClusterJob:
    """The job in a message."""
    return ClusterJob(
        name=message.name,
        state=ClusterJobState[pb.ClusterJob.State.Name(message.state)],
        searched_count=message.searched_count,
        image_count=message.image_count,
        compared_count=message.compared_count,
        pair_count=message.pair_count,
        cluster_count=message.cluster_count,
        clustered_image_count=message.clustered_image_count,
        largest_cluster_size=message.largest_cluster_size,
        model_version=message.model_version,
        create_time=time_of(message, "create_time"),
        end_time=time_of(message, "end_time"),
        error=message.error,
    )


def cluster_from(message: pb.Cluster) -> Cluster:
    """The cluster in a message."""
    return Cluster(
        name=message.name,
        size=message.size,
        journal_count=message.journal_count,
        earliest_date=_day(message.earliest_date),
        latest_date=_day(message.latest_date),
        span_years=message.span_years,
        weakest_link=message.weakest_link,
        first_image=record_from(message.first_image),
        journals=tuple(message.journals),
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        members=tuple(
            ClusterMember(
                image=record_from(member.image),
                weakest_link=member.weakest_link,
                link_count=member.link_count,
                gap_days=member.gap_days if member.HasField("gap_days") else None,
            )
            for member in message.members
        ),
        links=tuple(
            Link(
                a=link.a,
                b=link.b,
                probability=link.probability if link.HasField("probability") else None,
                relation=relation_from(link.relation),
                verification=verification_from(link.verification),
                verdict=decision_from(link.verdict),
            )
            for link in message.links
        ),
    )


def _day(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _call(
    method: str,
    request: message.Message,
    response_class: type[message.Message],
    parse: Callable[..., T],
) -> Call[T]:
    return make_call(
        "clusters", method, request=request, response_class=response_class, parse=parse
    )
