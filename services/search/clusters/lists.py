"""Lists of clusters: filtered, sorted and paged. Everything here blocks."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cachetools import TTLCache
from pydantic import Field, StringConstraints, TypeAdapter

from halftone.core import errors
from halftone.core.batches import batched
from halftone.service.paging import Pager
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.answers import to_answers
from halftone.services.search.clusters import groups, views
from halftone.services.search.clusters.groups import CLUSTER_FIELDS
from halftone.services.search.clusters.store import execute_in
from halftone.services.search.store.port import EVERYTHING, Filter, Ids
from halftone.v1 import clusters_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.clusters.groups import ClusterRow

_PAGES: Final = Pager(
    TypeAdapter(
        tuple[
            # A page position: the value that the list is sorted by, and the id.
            Annotated[float, Field(ge=-2, lt=2**62, allow_inf_nan=False)],
            Annotated[str, StringConstraints(pattern="^[a-z2-7]{1,64}$")],
        ]
    ),
    default_size=50,
)
_IS_UNJUDGED: Final = "(id NOT IN (SELECT id FROM temp.judged))"
_FIRST: Final = 2**40
_ID_CHUNK: Final = 1_000
_KEPT_FILTERS: Final = 8
_KEPT_SECONDS: Final = 120.0
_ORDERS: Final = {
    clusters_pb2.ListClustersRequest.ORDER_UNSPECIFIED: "size",
    clusters_pb2.ListClustersRequest.SIZE: "size",
    clusters_pb2.ListClustersRequest.SPAN_YEARS: "span_years",
    clusters_pb2.ListClustersRequest.JOURNAL_COUNT: "journal_count",
    # The least probable first; all other lists begin with the largest.
    clusters_pb2.ListClustersRequest.WEAKEST_LINK: "-weakest",
}


class ClusterLists:
    """Answers ListClusters.

    The matches of a filter are looked up for the first page and cached for a short while, so that
    later pages do not ask the store again. Any thread may use it.
    """

    def __init__(self, holdings: Holdings) -> None:
        """Start with an empty cache."""
        self._holdings = holdings
        self._kept: TTLCache[bytes, list[str]] = TTLCache(_KEPT_FILTERS, ttl=_KEPT_SECONDS)
        self._lock = threading.Lock()

    def read(
        self, connection: sqlite3.Connection, request: clusters_pb2.ListClustersRequest
    ) -> clusters_pb2.ListClustersResponse:
        """Return a page of clusters, each with its first image and without its members.

        Raises:
            errors.InvalidArgument: A field is not valid, or the page token is from another request.
        """
        page = _PAGES.read(request)
        if request.order not in _ORDERS:
            raise errors.InvalidArgument(f"order: {request.order} is none.", field="order")
        order = _ORDERS[request.order]
        condition = payloads.to_filter(request.filter)
        where, values = _where(request)
        if condition != EVERYTHING:
            matching = self._matching(
                connection, request, condition=condition, is_first=page.position is None
            )
            # A temporary table exists for this connection only.
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS matching (id TEXT PRIMARY KEY)")
            connection.execute("DELETE FROM temp.matching")
            connection.executemany(
                "INSERT INTO temp.matching (id) VALUES (?)", [(each,) for each in matching]
            )
            where += " AND id IN (SELECT id FROM temp.matching)"
        if request.unjudged_first or request.only_unjudged:
            _list_judged(connection)
        if request.only_unjudged:
            where += f" AND {_IS_UNJUDGED}"
        if request.unjudged_first:
            # Every value that lists are sorted by is below this.
            order = f"({order} + {_IS_UNJUDGED} * {_FIRST})"
        (total,) = connection.execute(
            f"SELECT count(*) FROM clusters WHERE {where}",  # noqa: S608 - constants
            values,
        ).fetchone()
        paged: list[float | str] = [*values]
        if page.position is not None:
            value, identifier = page.position
            where += f" AND ({order} < ? OR ({order} = ? AND id > ?))"
            paged += [value, value, identifier]
        rows = [
            groups.cluster_row(row)
            for row in connection.execute(
                f"SELECT {CLUSTER_FIELDS} FROM clusters WHERE {where}"  # noqa: S608 - constants
                f" ORDER BY {order} DESC, id LIMIT ?",
                (*paged, page.size + 1),
            )
        ]

        def position(row: ClusterRow) -> tuple[float, str]:
            (value,) = connection.execute(
                f"SELECT {order} FROM clusters WHERE id = ?",  # noqa: S608 - constants
                (row.id,),
            ).fetchone()
            return value, row.id

        return clusters_pb2.ListClustersResponse(
            clusters=self._messages(page.cut(rows)),
            total_count=total,
            next_page_token=page.next_token(rows, position=position),
        )

    def _messages(self, rows: Sequence[ClusterRow]) -> list[clusters_pb2.Cluster]:
        firsts = self._holdings.collection.retrieve([uuid.UUID(bytes=row.first) for row in rows])
        answers = to_answers(self._holdings.collection, list(firsts.values()), same_content=False)
        return [
            views.to_summary(row, first=answers.images.get(uuid.UUID(bytes=row.first)))
            for row in rows
        ]

    def _matching(
        self,
        connection: sqlite3.Connection,
        request: clusters_pb2.ListClustersRequest,
        *,
        condition: Filter,
        is_first: bool,
    ) -> list[str]:
        """Return the ids of the clusters with a printing that matches the filter.

        A first page always asks the store; later pages use the cached matches if they are still
        there.
        """
        key = request.filter.SerializeToString(deterministic=True)
        with self._lock:
            kept = None if is_first else self._kept.get(key)
        if kept is not None:
            return kept
        matching = _look_up(connection, condition, holdings=self._holdings)
        with self._lock:
            self._kept[key] = matching
        return matching


def _list_judged(connection: sqlite3.Connection) -> None:
    """Put the ids of the clusters that have a verdict on two of their images into a table."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS judged (id TEXT PRIMARY KEY)")
    connection.execute("DELETE FROM temp.judged")
    connection.execute(
        "INSERT OR IGNORE INTO temp.judged SELECT one.cluster FROM verdicts"
        " JOIN members AS one ON one.point = point_a JOIN members AS other ON other.point = point_b"
        " WHERE verdicts.end_time IS NULL AND one.cluster = other.cluster"
    )


def _where(request: clusters_pb2.ListClustersRequest) -> tuple[str, list[float]]:
    """Return the SQL condition of the request's bounds, and its parameters."""
    where = "end_time IS NULL"
    values: list[float] = []
    bounds: tuple[tuple[Literal["min_size", "min_journal_count", "min_span_years"], str], ...] = (
        ("min_size", "size"),
        ("min_journal_count", "journal_count"),
        ("min_span_years", "span_years"),
    )
    for field, column in bounds:
        if request.HasField(field):
            least = getattr(request, field)
            if least < 0:
                raise errors.InvalidArgument(f"{field}: {least} is below 0.", field=field)
            where += f" AND {column} >= ?"
            values.append(least)
    if request.HasField("max_weakest_link"):
        most = request.max_weakest_link
        if not 0 <= most <= 1:
            raise errors.InvalidArgument(
                f"max_weakest_link: {most}; it must be 0 to 1.", field="max_weakest_link"
            )
        # The field has fewer digits than the table.
        where += " AND weakest <= ?"
        values.append(round(most, 6) + 5e-7)
    return where, values


def _look_up(connection: sqlite3.Connection, condition: Filter, *, holdings: Holdings) -> list[str]:
    collection = holdings.collection
    (members,) = connection.execute("SELECT count(*) FROM members").fetchone()
    points: Iterable[bytes]
    # Start from the smaller set: the images that match the filter, or the members of clusters.
    if collection.count(condition) <= members:
        points = (stored.id.bytes for stored in collection.scan(filter=condition))
    else:
        all_points = [row[0] for row in connection.execute("SELECT point FROM members")]
        points = (
            stored.id.bytes
            for some in batched(all_points, _ID_CHUNK)
            for stored in collection.scan(
                filter=condition.also(Ids(tuple(uuid.UUID(bytes=point) for point in some)))
            )
        )
    rows = execute_in(connection, "SELECT cluster FROM members WHERE point IN ({values})", points)
    return sorted({cluster for (cluster,) in rows})
