"""Converts jobs, verdicts and single clusters to messages. Everything here blocks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from halftone.archive import records
from halftone.core import errors, telemetry
from halftone.core.batches import batched
from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.answers import to_answers
from halftone.services.search.clusters import chronology, groups, pairs, pictures, verdicts
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.grouping import RULES
from halftone.services.search.clusters.groups import CLUSTER_FIELDS, ClusterRow
from halftone.services.search.clusters.store import CHUNK
from halftone.v1 import clusters_pb2, search_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.jobs import JobRow
    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.services.search.clusters.verdicts import VerdictRow
    from halftone.v1 import verdicts_pb2

MAX_MEMBERS: Final = 5_000
"""The most members in one message, earliest first. A record takes about 1 kB of the limit of 36
MiB."""
MAX_LINKS: Final = 5_000
"""The most links in one message, surest first. Each takes about 600 bytes."""

_MOST_SUCCESSORS: Final = 100

_log = telemetry.get_logger(__name__)


def to_job(job: JobRow) -> clusters_pb2.ClusterJob:
    """Convert a job to its message."""
    return clusters_pb2.ClusterJob(
        name=job.name,
        state=clusters_pb2.ClusterJob.State.Name(job.state),
        searched_count=job.searched,
        image_count=job.images,
        compared_count=job.compared,
        pair_count=job.found,
        cluster_count=job.clusters,
        clustered_image_count=job.clustered,
        largest_cluster_size=job.largest,
        model_version=job.model_version,
        create_time=payloads.to_timestamp(job.create_time),
        end_time=payloads.to_timestamp(job.end_time),
        error=job.error,
    )


def to_verdict(
    verdict: VerdictRow, *, overruled: Iterable[VerdictRow] = ()
) -> clusters_pb2.Verdict:
    """Convert a verdict to its message.

    Args:
        verdict: The verdict.
        overruled: The verdicts that it overruled.
    """
    return clusters_pb2.Verdict(
        name=f"verdicts/{verdict.id}",
        a=verdict.a,
        b=verdict.b,
        decision=clusters_pb2.Verdict.Decision.Name(verdict.decision),
        note=verdict.note,
        author=verdict.author,
        create_time=payloads.to_timestamp(verdict.create_time),
        end_time=payloads.to_timestamp(verdict.end_time),
        overruled=bool(verdict.overruled),
        overruled_verdicts=map(to_verdict, overruled),
        replaced_images=verdict.replaced,
    )


def to_summary(row: ClusterRow, *, first: search_pb2.Image | None) -> clusters_pb2.Cluster:
    """Convert a cluster to its message, without members and links.

    `first` is the image of its earliest printing; None if it cannot be read.
    """
    return clusters_pb2.Cluster(
        name=f"clusters/{row.id}",
        size=row.size,
        journal_count=len(row.journals),
        earliest_date=payloads.to_date(row.earliest),
        latest_date=payloads.to_date(row.latest),
        span_years=row.span_years,
        weakest_link=row.weakest,
        first_image=first,
        create_time=payloads.to_timestamp(row.create_time),
        update_time=payloads.to_timestamp(row.update_time),
        journals=row.journals,
        undated_count=row.undated or 0,
    )


# Verdicts on hits.


class HitVerdicts:
    """Reads the verdicts between a query image and its hits, for a whole page at once.

    If they cannot be read, the search is answered without them, and the answer says so.
    """

    def __init__(
        self, database: Database | DatabaseElsewhere, *, metrics: telemetry.Metrics
    ) -> None:
        """Count failures in `verdicts_unavailable_total`. Nothing is read yet."""
        self._database = database
        self._readable = True
        self._unavailable = metrics.counter(
            "verdicts_unavailable_total", "Searches answered without the verdicts on their hits"
        )

    def of(
        self, image: uuid.UUID, hits: Iterable[uuid.UUID]
    ) -> dict[uuid.UUID, verdicts_pb2.Verdict] | None:
        """Return the verdicts that hold between an image and its hits, by hit. Blocks.

        Hits without a verdict are left out. Returns None if the verdicts cannot be read.
        """
        try:
            with self._database.read() as connection:
                rows = verdicts.find_between(connection, image.bytes, [each.bytes for each in hits])
        except errors.HalftoneError as error:
            self._unavailable.inc()
            if self._readable:
                _log.warning("verdicts_unavailable", error=error.message)
            self._readable = False
            return None
        self._readable = True
        return {uuid.UUID(bytes=other): to_verdict(verdict) for other, verdict in rows.items()}


# One cluster.


def find_cluster(connection: sqlite3.Connection, name: str, *, holdings: Holdings) -> ClusterRow:
    """Return the cluster that a name leads to.

    Args:
        connection: The connection to read with.
        name: The name of the cluster, of an ended cluster whose name leads to it, of one of its
            images, or of a page that no other cluster has a picture of.
        holdings: The holdings in which images are looked up.

    Raises:
        errors.InvalidArgument: The name is malformed.
        errors.NotFound: There is no such cluster or image, or the image is in no cluster.
    """
    if not name.startswith("clusters/"):
        image = records.parse_name(name)
        row = connection.execute(
            "SELECT cluster FROM members WHERE point = ?", (image.point_id.bytes,)
        ).fetchone()
        if row is None:
            rows = connection.execute(
                "SELECT DISTINCT cluster FROM members JOIN images USING (point) WHERE page = ?",
                (image.point_id.bytes,),
            ).fetchall()
            if len(rows) > 1:
                raise errors.NotFound(
                    f"{name} is a page, whose pictures are in {len(rows)} clusters: ask for those "
                    "of its pictures.",
                    resource_type="cluster",
                    resource_name=name,
                )
            row = rows[0] if rows else None
        if row is None:
            lookups.get_record(holdings.collection, image)  # raises where there is no such image
            raise errors.NotFound(
                f"{name} is in no cluster.", resource_type="cluster", resource_name=name
            )
        return _row(connection, row[0], name=name)
    return _row(connection, name.removeprefix("clusters/"), name=name)


def _row(connection: sqlite3.Connection, identifier: str, *, name: str) -> ClusterRow:
    for _ in range(_MOST_SUCCESSORS):
        record = connection.execute(
            f"SELECT end_time, successor, {CLUSTER_FIELDS} FROM clusters WHERE id = ?",  # noqa: S608 - a constant
            (identifier,),
        ).fetchone()
        if record is None:
            break
        end_time, successor, *row = record
        if end_time is None:
            return groups.cluster_row(row)
        if successor is None:
            break
        identifier = successor
    raise errors.NotFound(
        f"There is no cluster {name[:200]}.", resource_type="cluster", resource_name=name[:200]
    )


def to_cluster(
    connection: sqlite3.Connection, row: ClusterRow, *, holdings: Holdings
) -> clusters_pb2.Cluster:
    """Convert a cluster to its message, with members in chronological order and their links.

    Raises:
        errors.NotFound: None of its images exists any more.
    """
    held = dict(
        connection.execute("SELECT point, weakest FROM members WHERE cluster = ?", (row.id,))
    )
    stored = {
        each.bytes: found
        for some in batched(list(held), CHUNK)
        for each, found in holdings.collection.retrieve(
            [uuid.UUID(bytes=point) for point in some]
        ).items()
    }
    if not stored:
        raise errors.NotFound(
            f"The images of clusters/{row.id} were deleted.",
            resource_type="cluster",
            resource_name=f"clusters/{row.id}",
        )
    ordered = chronology.sort_by_date(
        DatedPrinting.of(point, record.payload) for point, record in stored.items()
    )
    names = {each.point: each.name for each in ordered}
    links, counts = _links(connection, names)
    message = to_summary(row, first=None)
    message.links.extend(links)
    shown = ordered[:MAX_MEMBERS]
    answers = to_answers(holdings.collection, [stored[each.point] for each in shown])
    for printing, gap in zip(shown, chronology.count_gap_days(shown), strict=True):
        record = stored[printing.point]
        member = message.members.add(
            image=answers.images[record.id],
            page=answers.pages.get(record.id),
            weakest_link=held[printing.point],
            link_count=counts.get(printing.point, 0),
        )
        if gap is not None:
            member.gap_days = gap
    if message.members:
        message.first_image.CopyFrom(message.members[0].image)
    return message


def _links(
    connection: sqlite3.Connection, names: dict[bytes, str]
) -> tuple[list[clusters_pb2.Link], dict[bytes, int]]:
    """Return the links among the images in `names`, and the number of links of each image.

    `names` has the names of the images by their points.
    """
    numbers = set(pictures.pictures_of(connection, names).values())
    shown = {
        picture: [point for point in points if point in names]
        for picture, points in pictures.images_of(connection, numbers).items()
    }
    same = {
        frozenset((each.a, each.b))
        for each in verdicts.list_holding(connection, names)
        if each.same
    }
    rows: list[tuple[float | None, bytes, bytes, pairs.PairRow | None]] = []
    compared = pairs.read_between(
        connection,
        {each for each, on in shown.items() if on},
        since_job=pairs.floor(connection),
    )
    for pair in compared:
        # The first image represents all with the same bytes, except in verdicts on the others.
        a, b = shown[pair.a][0], shown[pair.b][0]
        surest = groups.compared_pair(pair, a=a, b=b).probability
        if surest >= RULES.link or frozenset((a, b)) in same:
            rows.append((pair.probability, a, b, pair))
    for points in shown.values():
        rows += [(1.0, points[0], other, None) for other in points[1:]]
    known = {frozenset((a, b)) for _, a, b, _ in rows}
    for each in same - known:
        a, b = sorted(each, key=names.__getitem__)
        rows.append((None, a, b, _JUDGED))
    rows.sort(
        key=lambda each: (each[0] is not None, -(each[0] or 0), names[each[1]], names[each[2]])
    )
    counts: dict[bytes, int] = {}
    for _, a, b, _ in rows:
        counts[a] = counts.get(a, 0) + 1
        counts[b] = counts.get(b, 0) + 1
    links = [
        _link(connection, probability, a=names[a], b=names[b], pair=pair, same={a, b} in same)
        for probability, a, b, pair in rows[:MAX_LINKS]
    ]
    return links, counts


_JUDGED: Final = pairs.PairRow(0, 0, 1.0, 1.0, search_pb2.Hit.NOT_COMPARED)


def _link(
    connection: sqlite3.Connection,
    probability: float | None,
    *,
    a: str,
    b: str,
    pair: pairs.PairRow | None,
    same: bool,
) -> clusters_pb2.Link:
    states = search_pb2.Verification
    link = clusters_pb2.Link(a=a, b=b, probability=probability)
    if same:
        link.verdict = clusters_pb2.Verdict.SAME
    if pair is None:
        # The two have the very same bytes.
        link.relation = search_pb2.Hit.SAME_SCAN
        link.verification.state = states.NOT_COMPARED
    elif pair is _JUDGED:
        link.relation = search_pb2.Hit.NOT_COMPARED
        link.verification.state = states.NOT_COMPARED
    else:
        link.relation = search_pb2.Hit.Relation.Name(pair.relation)  # type: ignore[assignment]  # a name will do
        kept = pairs.verification_of(connection, pair.a, pair.b)
        if kept:
            link.verification.ParseFromString(kept)
        else:
            link.verification.state = states.NO_OVERLAP
    return link
