"""The queue of pairs that are worth a verdict: its types, and the call that reads a page of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from halftone.client.calls import Call, make_call
from halftone.client.conversions import parse_record, parse_relation, parse_verification
from halftone.v1 import clusters_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from halftone.client.records import ImageRecord
    from halftone.client.types import Relation, Verification


class JudgingReason(StrEnum):
    """Why a pair is worth a verdict."""

    NEAR_THRESHOLD = "near the threshold"
    """Its probability is near that from which on two images are linked."""
    WEAKEST_LINK = "weakest link"
    """It is the weakest link of a cluster."""
    DISAGREEMENT = "disagreement"
    """The evidence speaks against itself."""


@dataclass(frozen=True, kw_only=True)
class PairToJudge:
    """A pair that is worth a verdict.

    Attributes:
        a: The first image, the query of the verification.
        b: The second image.
        probability: The probability that they show the same picture.
        relation: The relation of the second to the first.
        verification: What both share.
        reason: Why it is worth a verdict.
        priority: How much a verdict helps, 0 to 1.
        a_cluster: The cluster of the first image, `clusters/{id}`; empty without one.
        b_cluster: The cluster of the second image; empty without one.
        affected_count: The number of images in these clusters, the two included.
    """

    a: ImageRecord
    b: ImageRecord
    probability: float
    relation: Relation
    verification: Verification
    reason: JudgingReason
    priority: float
    a_cluster: str
    b_cluster: str
    affected_count: int


@dataclass(frozen=True, kw_only=True)
class JudgingPage:
    """A page of the queue.

    Attributes:
        pairs: The pairs, those that a verdict helps most with first.
        next_page_token: The token of the next page; empty on the last one. It keeps its place when
            pairs are judged.
        remaining: The number of pairs on this page and behind it.
        total: The number of pairs in the queue.
    """

    pairs: tuple[PairToJudge, ...]
    next_page_token: str
    remaining: int
    total: int

    def __iter__(self) -> Iterator[PairToJudge]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


def list_pairs(
    *,
    cluster: str,
    reasons: Sequence[JudgingReason],
    page_size: int | None,
    page_token: str,
) -> Call[JudgingPage]:
    """Build the call that returns a page of the queue (rpc ListPairsToJudge).

    Args:
        cluster: Only pairs with an image of this cluster, `clusters/{id}`; empty: all.
        reasons: Only pairs for these reasons; none: all.
        page_size: The most pairs on the page, 1 to 1000; None: 20.
        page_token: The page's token; empty for the first page.
    """
    request = pb.ListPairsToJudgeRequest(
        cluster=cluster,
        reasons=[reason.name for reason in reasons],
        page_size=page_size,
        page_token=page_token,
    )

    def parse(response: pb.ListPairsToJudgeResponse) -> JudgingPage:
        return JudgingPage(
            pairs=tuple(map(_parse_pair, response.pairs)),
            next_page_token=response.next_page_token,
            remaining=response.remaining_count,
            total=response.total_count,
        )

    return make_call(
        "clusters",
        "ListPairsToJudge",
        request=request,
        response_class=pb.ListPairsToJudgeResponse,
        parse=parse,
    )


def _parse_pair(message: pb.PairToJudge) -> PairToJudge:
    return PairToJudge(
        a=parse_record(message.a),
        b=parse_record(message.b),
        probability=message.probability,
        relation=parse_relation(message.relation),
        verification=parse_verification(message.verification),
        reason=JudgingReason[pb.PairToJudge.Reason.Name(message.reason)],
        priority=message.priority,
        a_cluster=message.a_cluster,
        b_cluster=message.b_cluster,
        affected_count=message.affected_count,
    )
