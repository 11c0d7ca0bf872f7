"""The pairs that an archivist's verdict helps most with, the most useful first. Blocks.

Three kinds of pairs are worth a look: those whose probability is near the threshold of a link, the
weakest links of clusters, and pairs about which the evidence disagrees. How much a verdict helps is
how unsure the pair is times how many images depend on it. Pairs with a verdict are left out, and so
are those that are hardly the same: diagrams and ornaments make thousands of them.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StringConstraints, TypeAdapter

from halftone.core import errors
from halftone.service.paging import Pager
from halftone.services.search.archive.answers import to_answers
from halftone.services.search.clusters import pairs, pictures, verdicts
from halftone.services.search.clusters.grouping import RULES, is_link
from halftone.services.search.clusters.store import execute_in
from halftone.v1 import clusters_pb2, search_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from halftone.services.search.archive.holdings import Holdings

Reason = clusters_pb2.PairToJudge.Reason

_MILLION: Final = 1_000_000
_Point = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
_PAGES: Final = Pager(
    # A page position: the usefulness in millionths and the two images.
    TypeAdapter(tuple[Annotated[int, Field(ge=0, le=_MILLION)], _Point, _Point]),
    default_size=20,
)
_NEAR: Final = 2_500
"""The most pairs that are looked at on either side of the threshold."""
_CLUSTERS: Final = 500
"""The most clusters that are looked at, the largest first."""
_MOST_MEMBERS: Final = 60
"""Larger clusters are not looked through for pairs that disagree: an ornament has thousands."""
_SURE: Final = 0.99
"""A link that is more probable than this is no weak one."""
_LEAST: Final = 0.1
"""A pair that is less probable than this is not asked about, whatever speaks for it."""
_MOST_DISAGREEING: Final = 3
"""The most pairs that are asked about because a cluster holds them together: one may split it."""
_CONTRADICTING: Final = 0.3
_AGREEING: Final = 0.6
"""Shares of an overlap from which on it speaks against a link, or for one."""
_KEPT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A pair that is worth a verdict.

    Attributes:
        a: The number of the first picture, the query of its verification.
        b: The number of the second picture.
        points: The image of each picture that stands for it.
        probability: The probability that they are the same.
        relation: The relation of b to a, as `Hit.Relation`.
        unsure: How unsure it is, 0 to 1.
        reason: What makes it so.
        clusters: The cluster of each image; empty without one.
        affected: The number of images in these clusters, the two included.
    """

    a: int
    b: int
    points: tuple[bytes, bytes]
    probability: float
    relation: int
    unsure: float
    reason: Reason
    clusters: tuple[str, str] = ("", "")
    affected: int = 2

    @property
    def priority(self) -> int:
        """Return how much a verdict helps, in millionths: ten times as many images, half more."""
        weight = (1 + min(1.0, math.log2(self.affected) / 10)) / 2
        return round(_MILLION * self.unsure * weight)

    @property
    def place(self) -> tuple[int, str, str]:
        """Return the pair's position in the queue."""
        return self.priority, self.points[0].hex(), self.points[1].hex()


def doubt_probability(probability: float) -> float:
    """Return how unsure a probability is: 1 at the threshold of a link, 0 where it is certain."""
    link = RULES.link
    return max(0.0, min(probability / link, (1 - probability) / (1 - link), 1.0))


class JudgingQueue:
    """Answers ListPairsToJudge. It looks for pairs anew after some seconds, for verdicts always."""

    def __init__(self, holdings: Holdings) -> None:
        """Start without pairs."""
        self._holdings = holdings
        self._lock = threading.Lock()
        self._kept: list[Doubt] = []
        self._kept_until = -math.inf

    def read(
        self, connection: sqlite3.Connection, request: clusters_pb2.ListPairsToJudgeRequest
    ) -> clusters_pb2.ListPairsToJudgeResponse:
        """Return a page of the queue.

        Raises:
            errors.InvalidArgument: A field is not valid, or the page token is from another request.
        """
        page = _PAGES.read(request)
        wanted = set(request.reasons)
        if not wanted <= set(Reason.values()) - {Reason.REASON_UNSPECIFIED}:
            raise errors.InvalidArgument("reasons: one of them is not known.", field="reasons")
        cluster = request.cluster.removeprefix("clusters/")
        if request.cluster and (cluster == request.cluster or not cluster):
            raise errors.InvalidArgument(
                "cluster: it must be of the form clusters/{cluster}.", field="cluster"
            )
        waiting = [
            doubt
            for doubt in self._list(connection)
            if (not wanted or doubt.reason in wanted) and (not cluster or cluster in doubt.clusters)
        ]
        waiting = leave_out_judged(connection, waiting)
        rest = waiting if page.position is None else _after(waiting, page.position)
        some = rest[: page.size + 1]
        return clusters_pb2.ListPairsToJudgeResponse(
            pairs=self._to_messages(connection, page.cut(some)),
            next_page_token=page.next_token(some, position=lambda doubt: doubt.place),
            remaining_count=len(rest),
            total_count=len(waiting),
        )

    def _list(self, connection: sqlite3.Connection) -> list[Doubt]:
        with self._lock:
            # One caller looks, the others wait for it.
            if time.monotonic() >= self._kept_until:
                self._kept = list_doubts(connection)
                self._kept_until = time.monotonic() + _KEPT_SECONDS
            return self._kept

    def _to_messages(
        self, connection: sqlite3.Connection, doubts: Sequence[Doubt]
    ) -> list[clusters_pb2.PairToJudge]:
        ids = {uuid.UUID(bytes=point) for doubt in doubts for point in doubt.points}
        stored = self._holdings.collection.retrieve(list(ids))
        answers = to_answers(self._holdings.collection, list(stored.values()), same_content=False)
        messages = []
        for doubt in doubts:
            a, b = (answers.images.get(uuid.UUID(bytes=point)) for point in doubt.points)
            if a is None or b is None:
                # The worker has not seen yet that an image was deleted.
                continue
            message = clusters_pb2.PairToJudge(
                a=a,
                b=b,
                probability=doubt.probability,
                relation=search_pb2.Hit.Relation.Name(doubt.relation),
                reason=doubt.reason,
                priority=doubt.priority / _MILLION,
                affected_count=doubt.affected,
                a_cluster=f"clusters/{doubt.clusters[0]}" if doubt.clusters[0] else "",
                b_cluster=f"clusters/{doubt.clusters[1]}" if doubt.clusters[1] else "",
            )
            kept = pairs.verification_of(connection, doubt.a, doubt.b)
            if kept:
                message.verification.ParseFromString(kept)
            else:
                message.verification.state = search_pb2.Verification.NO_OVERLAP
            messages.append(message)
        return messages


def list_doubts(connection: sqlite3.Connection) -> list[Doubt]:
    """Return the pairs that are worth a verdict, the most useful first."""
    floor = pairs.floor(connection)
    clusters = connection.execute(
        "SELECT id, weakest FROM clusters WHERE end_time IS NULL AND size > 2"
        " ORDER BY size DESC, id LIMIT ?",
        (_CLUSTERS,),
    ).fetchall()
    # Of several reasons for one pair, the first counts, unless a later one makes it less sure.
    rows = [*_weakest_links(connection, clusters, floor=floor)]
    rows += _near_threshold(connection, floor=floor)
    rows += _disagreeing_members(connection, [each for each, _ in clusters], floor=floor)
    surest: dict[tuple[int, int], Doubt] = {}
    for doubt in rows:
        known = surest.get((doubt.a, doubt.b))
        if known is None or known.unsure < doubt.unsure:
            surest[doubt.a, doubt.b] = doubt
    placed = _place(connection, surest.values())
    return sorted(placed, key=_order)


def _order(doubt: Doubt) -> tuple[int, str, str]:
    priority, a, b = doubt.place
    return -priority, a, b


def _after(doubts: Sequence[Doubt], position: tuple[int, str, str]) -> list[Doubt]:
    """Return the pairs behind a position. It stays where it was when pairs before it are judged."""
    priority, a, b = position
    return [doubt for doubt in doubts if _order(doubt) > (-priority, a, b)]


_FIELDS: Final = "a, b, probability, relation, verification"


def _near_threshold(connection: sqlite3.Connection, *, floor: int) -> Iterable[Doubt]:
    for side, order in ((">=", "ASC"), ("<", "DESC")):
        doubts = _to_doubts(
            connection.execute(
                f"SELECT {_FIELDS} FROM pairs WHERE probability {side} ? AND probability >= ?"  # noqa: S608 - constants
                f" AND job >= ? ORDER BY probability {order} LIMIT ?",
                (RULES.link, _LEAST, floor, _NEAR),
            )
        )
        for doubt in doubts:
            if doubt.probability <= _SURE or doubt.reason is Reason.DISAGREEMENT:
                yield doubt


def _to_doubts(
    rows: Iterable[tuple[int, int, float, int, bytes | None]],
    *,
    reason: Reason = Reason.NEAR_THRESHOLD,
    least: float = 0.0,
) -> Iterable[Doubt]:
    for a, b, probability, relation, verification in rows:
        unsure = max(least, doubt_probability(probability))
        disagreement = measure_disagreement(probability, verification=verification)
        yield Doubt(
            a=a,
            b=b,
            points=(b"", b""),
            probability=probability,
            relation=relation,
            unsure=max(unsure, disagreement),
            reason=Reason.DISAGREEMENT if disagreement > unsure else reason,
        )


def measure_disagreement(probability: float, *, verification: bytes | None) -> float:
    """Return how much a pair's largest overlap speaks against its probability, 0 to 1.

    Args:
        probability: The probability that the two are the same.
        verification: The stored verification; None if there is no overlap.
    """
    if not verification:
        return 0.0
    overlaps = search_pb2.Verification.FromString(verification).overlaps
    if not overlaps or not overlaps[0].HasField("contradicting_share"):
        return 0.0
    if is_link(probability):
        against = overlaps[0].contradicting_share
        return against if against >= _CONTRADICTING else 0.0
    for_it = overlaps[0].agreeing_share * min(overlaps[0].query_share, overlaps[0].image_share)
    return for_it if for_it >= _AGREEING else 0.0


def _weakest_links(
    connection: sqlite3.Connection, clusters: Iterable[tuple[str, float]], *, floor: int
) -> Iterable[Doubt]:
    for cluster, weakest in clusters:
        if weakest > _SURE:
            continue
        # Clusters keep probabilities in millionths.
        rows = connection.execute(
            f"SELECT {_FIELDS} FROM pairs WHERE probability BETWEEN ? AND ? AND job >= ?"  # noqa: S608 - constants
            " AND a IN (SELECT picture FROM images JOIN members USING (point) WHERE cluster = ?)"
            " AND b IN (SELECT picture FROM images JOIN members USING (point) WHERE cluster = ?)"
            " LIMIT 1",
            (weakest - 1 / _MILLION, weakest + 1 / _MILLION, floor, cluster, cluster),
        )
        yield from _to_doubts(rows, reason=Reason.WEAKEST_LINK, least=(1 - weakest) / 2)


def _disagreeing_members(
    connection: sqlite3.Connection, clusters: Sequence[str], *, floor: int
) -> Iterable[Doubt]:
    """Yield pairs that were compared without becoming a link, though others hold them together."""
    members: dict[str, set[int]] = {}
    for cluster, picture in execute_in(
        connection,
        "SELECT cluster, picture FROM members JOIN images USING (point)"
        " WHERE cluster IN ({values})",
        clusters,
    ):
        members.setdefault(cluster, set()).add(picture)
    for numbers in members.values():
        if len(numbers) > _MOST_MEMBERS:
            continue
        differing = [
            row
            for row in pairs.read_between(connection, numbers, since_job=floor)
            if row.probability >= _LEAST and not is_link(row.probability)
        ]
        differing.sort(key=lambda row: (row.probability, row.a, row.b))
        for row in differing[:_MOST_DISAGREEING]:
            yield Doubt(
                a=row.a,
                b=row.b,
                points=(b"", b""),
                probability=row.probability,
                relation=row.relation,
                unsure=1 - row.probability / RULES.link / 2,
                reason=Reason.DISAGREEMENT,
            )


def _place(connection: sqlite3.Connection, doubts: Iterable[Doubt]) -> list[Doubt]:
    """Return the pairs with their images and clusters, without those that no image shows."""
    doubts = list(doubts)
    shown = pictures.images_of(
        connection, {each for doubt in doubts for each in (doubt.a, doubt.b)}
    )
    points = {some[0] for some in shown.values()}
    clusters = dict(
        execute_in(
            connection, "SELECT point, cluster FROM members WHERE point IN ({values})", points
        )
    )
    sizes = dict(
        execute_in(
            connection,
            "SELECT id, size FROM clusters WHERE id IN ({values})",
            set(clusters.values()),
        )
    )
    # What is on a page is judged by its pictures, if they have records.
    pages = pictures.find_pages(connection, points)
    places = pictures.places_of(connection, points)
    placed = []
    for doubt in doubts:
        if doubt.a not in shown or doubt.b not in shown:
            continue
        both = shown[doubt.a][0], shown[doubt.b][0]
        if not pages.isdisjoint(both) or pictures.are_one_printing(*both, places=places):
            continue
        of = clusters.get(both[0], ""), clusters.get(both[1], "")
        affected = sum(sizes.get(each, 1) for each in {*of} - {""}) + of.count("")
        placed.append(replace(doubt, points=both, clusters=of, affected=max(2, affected)))
    return placed


def leave_out_judged(connection: sqlite3.Connection, doubts: Sequence[Doubt]) -> list[Doubt]:
    """Return the pairs without those on which a verdict holds, also if it says UNSURE.

    A verdict on other images with the same bytes counts as well.
    """
    numbers = {each for doubt in doubts for each in (doubt.a, doubt.b)}
    shown = pictures.images_of(connection, numbers)
    of = {point: picture for picture, points in shown.items() for point in points}
    judged = {
        frozenset((of[a], of[b]))
        for a, b in verdicts.list_judged(connection, of)
        if a in of and b in of
    }
    return [doubt for doubt in doubts if frozenset((doubt.a, doubt.b)) not in judged]
