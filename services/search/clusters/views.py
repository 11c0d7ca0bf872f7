"""Clusters, jobs and verdicts as messages, and lists of clusters. Everything here blocks."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Final, Literal

from google.protobuf import timestamp_pb2

from halftone.archive import records
from halftone.core import errors
from halftone.service.paging import check_size
from halftone.services.search.archive import lookups, tokens
from halftone.services.search.archive import payload as payloads
from halftone.services.search.clusters import chronology, groups, pairs, pictures, verdicts
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.grouping import RULES
from halftone.services.search.clusters.groups import CLUSTER_FIELDS, ClusterRow
from halftone.services.search.clusters.store import chunks, execute_in
from halftone.services.search.store.port import EVERYTHING, Filter, Ids
from halftone.v1 import clusters_pb2, search_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.jobs import JobRow
    from halftone.services.search.clusters.verdicts import VerdictRow

MAX_MEMBERS: Final = 5_000
"""Members in one message, the earliest; a record takes about 1 kB of the 36 MiB that fit."""
MAX_LINKS: Final = 5_000
"""Links in one message, the surest; each takes about 600 bytes."""

_DEFAULT_PAGE: Final = 50
_MOST_SUCCESSORS: Final = 100
_ID_CHUNK: Final = 1_000
_ORDERS: Final = {
    clusters_pb2.ListClustersRequest.ORDER_UNSPECIFIED: "size",
    clusters_pb2.ListClustersRequest.SIZE: "size",
    clusters_pb2.ListClustersRequest.SPAN_YEARS: "span_years",
    clusters_pb2.ListClustersRequest.JOURNAL_COUNT: "journal_count",
}


def to_time(microseconds: int | None) -> timestamp_pb2.Timestamp | None:
    """The message of a time."""
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=1_000 * rest)


def to_job(job: JobRow, *, images: int, searched: int) -> clusters_pb2.ClusterJob:
    """The message of a job, with the counts of one that runs."""
    runs = job.end_time is None
    return clusters_pb2.ClusterJob(
        name=job.name,
        state=clusters_pb2.ClusterJob.State.Name(job.state),
        searched_count=searched if runs else job.searched,
        image_count=images if runs else job.images,
        compared_count=job.compared,
        pair_count=job.found,
        cluster_count=job.clusters,
        clustered_image_count=job.clustered,
        largest_cluster_size=job.largest,
        model_version=job.model_version,
        create_time=to_time(job.create_time),
        end_time=to_time(job.end_time),
        error=job.error,
    )


def to_verdict(
    verdict: VerdictRow, *, overruled: Iterable[VerdictRow] = ()
) -> clusters_pb2.Verdict:
    """The message of a verdict, with others that it overruled."""
    return clusters_pb2.Verdict(
        name=f"verdicts/{verdict.id}",
        a=verdict.a,
        b=verdict.b,
        decision=clusters_pb2.Verdict.Decision.Name(verdict.decision),
        note=verdict.note,
        author=verdict.author,
        create_time=to_time(verdict.create_time),
        end_time=to_time(verdict.end_time),
        overruled=bool(verdict.overruled),
        overruled_verdicts=map(to_verdict, overruled),
    )


def _summary(row: ClusterRow, *, first: search_pb2.Image | None) -> clusters_pb2.Cluster:
    return clusters_pb2.Cluster(
        name=f"clusters/{row.id}",
        size=row.size,
        journal_count=len(row.journals),
        earliest_date=_day(row.earliest),
        latest_date=_day(row.latest),
        span_years=row.span_years,
        weakest_link=row.weakest,
        first_image=first,
        create_time=to_time(row.create_time),
        update_time=to_time(row.update_time),
        journals=row.journals,
    )


def _day(ordinal: int | None) -> str:
    return "" if ordinal is None else dt.date.fromordinal(ordinal).isoformat()


# One cluster.


def find(connection: sqlite3.Connection, name: str, *, holdings: Holdings) -> ClusterRow:
    """A cluster by its name, by one that it took the place of, or by an image's.

    Raises:
        errors.InvalidArgument: It is no such name.
        errors.NotFound: There is none, or the image is in none.
    """
    if not name.startswith("clusters/"):
        image = records.parse_name(name)
        row = connection.execute(
            "SELECT cluster FROM members WHERE point = ?", (image.point_id.bytes,)
        ).fetchone()
        if row is None:
            lookups.get_record(holdings.collection, image)  # raises where there is no such image
            raise errors.NotFound(
                f"{name} is in no cluster.", resource_type="cluster", resource_name=name
            )
        return _row(connection, row[0], name=name)
    return _row(connection, name.removeprefix("clusters/"), name=name)


def _row(connection: sqlite3.Connection, identifier: str, *, name: str) -> ClusterRow:
    for _ in range(_MOST_SUCCESSORS):
        found = connection.execute(
            f"SELECT end_time, successor, {CLUSTER_FIELDS} FROM clusters WHERE id = ?",  # noqa: S608 - a constant
            (identifier,),
        ).fetchone()
        if found is None:
            break
        end_time, successor, *row = found
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
    """A cluster with its printings in chronological order, and the links between them.

    Raises:
        errors.NotFound: None of its images is there any more.
    """
    held = dict(
        connection.execute("SELECT point, weakest FROM members WHERE cluster = ?", (row.id,))
    )
    stored = {
        each.bytes: found
        for some in chunks(list(held))
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
    ordered = chronology.chronological(
        DatedPrinting.of(point, found.payload) for point, found in stored.items()
    )
    names = {each.point: each.name for each in ordered}
    links, counts = _links(connection, names)
    message = _summary(row, first=None)
    message.links.extend(links)
    shown = ordered[:MAX_MEMBERS]
    same = lookups.find_same_content(holdings.collection, [stored[each.point] for each in shown])
    for printing, gap in zip(shown, chronology.gaps(shown), strict=True):
        found = stored[printing.point]
        member = message.members.add(
            image=payloads.to_image(found.payload, same_content=same.get(found.id)),
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
    """The links between some images, and how many each of them has."""
    numbers = set(pictures.pictures_of(connection, names).values())
    shown = {
        picture: [point for point in points if point in names]
        for picture, points in pictures.images_of(connection, numbers).items()
    }
    same = {
        frozenset((each.a, each.b)) for each in verdicts.holding(connection, names) if each.same
    }
    found: list[tuple[float | None, bytes, bytes, pairs.PairRow | None]] = []
    compared = pairs.between(
        connection,
        {each for each, on in shown.items() if on},
        since_job=pairs.floor(connection),
    )
    for pair in compared:
        # The first image stands for all with its bytes, but for what was judged of others.
        a, b = shown[pair.a][0], shown[pair.b][0]
        surest = groups.compared_pair(pair, a=a, b=b).probability
        if surest >= RULES.link or frozenset((a, b)) in same:
            found.append((pair.probability, a, b, pair))
    for points in shown.values():
        found += [(1.0, points[0], other, None) for other in points[1:]]
    known = {frozenset((a, b)) for _, a, b, _ in found}
    for each in same - known:
        a, b = sorted(each, key=names.__getitem__)
        found.append((None, a, b, _JUDGED))
    found.sort(
        key=lambda each: (each[0] is not None, -(each[0] or 0), names[each[1]], names[each[2]])
    )
    counts: dict[bytes, int] = {}
    for _, a, b, _ in found:
        counts[a] = counts.get(a, 0) + 1
        counts[b] = counts.get(b, 0) + 1
    links = [
        _link(connection, probability, a=names[a], b=names[b], pair=pair, same={a, b} in same)
        for probability, a, b, pair in found[:MAX_LINKS]
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
        # The very same bytes.
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


# Lists.


def list_clusters(
    connection: sqlite3.Connection,
    request: clusters_pb2.ListClustersRequest,
    *,
    holdings: Holdings,
) -> clusters_pb2.ListClustersResponse:
    """A page of clusters.

    Raises:
        errors.InvalidArgument: A field is wrong, or the token is another request's.
    """
    limit = check_size(
        request.page_size if request.HasField("page_size") else _DEFAULT_PAGE, field="page_size"
    )
    if request.order not in _ORDERS:
        raise errors.InvalidArgument(f"order: {request.order} is none.", field="order")
    order = _ORDERS[request.order]
    condition = payloads.to_filter(request.filter)
    fingerprint = tokens.fingerprint(request, without=("page_token", "page_size"))
    where, values = _where(request)
    if condition != EVERYTHING:
        # Kept for this connection only, so that the pages that follow are found by the same query.
        _matching(connection, condition, holdings=holdings)
        where += " AND id IN (SELECT id FROM temp.matching)"
    (total,) = connection.execute(
        f"SELECT count(*) FROM clusters WHERE {where}",  # noqa: S608 - constants
        values,
    ).fetchone()
    paged: list[int | str] = [*values]
    if request.page_token:
        value, identifier = _position(
            tokens.decode(request.page_token, fingerprint=fingerprint, model_version="")
        )
        where += f" AND ({order} < ? OR ({order} = ? AND id > ?))"
        paged += [value, value, identifier]
    rows = [
        groups.cluster_row(row)
        for row in connection.execute(
            f"SELECT {CLUSTER_FIELDS} FROM clusters WHERE {where}"  # noqa: S608 - constants
            f" ORDER BY {order} DESC, id LIMIT ?",
            (*paged, limit + 1),
        )
    ]
    page = rows[:limit]
    response = clusters_pb2.ListClustersResponse(total_count=total)
    firsts = holdings.collection.retrieve([uuid.UUID(bytes=row.first) for row in page])
    for row in page:
        stored = firsts.get(uuid.UUID(bytes=row.first))
        first = None if stored is None else payloads.to_image(stored.payload)
        response.clusters.append(_summary(row, first=first))
    if len(rows) > limit:
        last = page[-1]
        keys = {"size": last.size, "span_years": last.span_years}
        response.next_page_token = tokens.encode(
            fingerprint=fingerprint,
            model_version="",
            position=[keys.get(order, len(last.journals)), last.id],
        )
    return response


def _where(request: clusters_pb2.ListClustersRequest) -> tuple[str, list[int]]:
    where = "end_time IS NULL"
    values: list[int] = []
    fields: tuple[tuple[Literal["min_size", "min_journal_count", "min_span_years"], str], ...] = (
        ("min_size", "size"),
        ("min_journal_count", "journal_count"),
        ("min_span_years", "span_years"),
    )
    for field, column in fields:
        if request.HasField(field):
            least = getattr(request, field)
            if least < 0:
                raise errors.InvalidArgument(f"{field}: {least} is below 0.", field=field)
            where += f" AND {column} >= ?"
            values.append(least)
    return where, values


def _matching(connection: sqlite3.Connection, condition: Filter, *, holdings: Holdings) -> None:
    """Fills `temp.matching` with the clusters that have a printing which a filter lets through."""
    collection = holdings.collection
    (members,) = connection.execute("SELECT count(*) FROM members").fetchone()
    points: Iterable[bytes]
    if collection.count(condition) <= members:
        points = (stored.id.bytes for stored in collection.scan(filter=condition))
    else:
        all_points = [row[0] for row in connection.execute("SELECT point FROM members")]
        points = (
            stored.id.bytes
            for start in range(0, len(all_points), _ID_CHUNK)
            for stored in collection.scan(
                filter=condition.also(_ids(all_points[start : start + _ID_CHUNK]))
            )
        )
    found: set[str] = set()
    rows = execute_in(connection, "SELECT cluster FROM members WHERE point IN ({values})", points)
    found.update(row[0] for row in rows)
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS matching (id TEXT PRIMARY KEY)")
    connection.execute("DELETE FROM temp.matching")
    connection.executemany(
        "INSERT INTO temp.matching (id) VALUES (?)", [(each,) for each in sorted(found)]
    )


def _ids(points: Sequence[bytes]) -> Ids:
    return Ids(tuple(uuid.UUID(bytes=point) for point in points))


def _position(position: object) -> tuple[int, str]:
    match position:
        # A token can be made by anyone.
        case [int(value), str(identifier)] if 0 <= value < 2**62 and identifier.isascii():
            return value, identifier
        case _:
            raise tokens.garbled()
