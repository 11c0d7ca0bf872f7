"""The ids of ended clusters, and the images that belong to them: rows of `former`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.services.search.clusters.ids import Previous
from halftone.services.search.clusters.store import execute_in

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping


def read_previous(
    connection: sqlite3.Connection,
    clusters: Mapping[str, Collection[bytes]],
    *,
    points: Collection[bytes],
) -> tuple[list[Previous], dict[bytes, str]]:
    """Read the earlier clusters and ids that a regrouping of some images depends on.

    Args:
        connection: The connection to read with.
        clusters: The present clusters, with their members.
        points: The images, including all members.

    Returns:
        The clusters and the ids that the images were under before. And other images that were under
        one of these ids, with the cluster that each is in now.
    """
    ended: dict[str, str | None] = dict(
        execute_in(
            connection,
            "SELECT id, successor FROM former JOIN clusters ON clusters.id = former.cluster"
            " WHERE point IN ({values}) AND end_time IS NOT NULL",
            points,
        )
    )
    wanted = sorted({*clusters, *ended})
    created = dict(
        execute_in(
            connection, "SELECT id, create_time FROM clusters WHERE id IN ({values})", wanted
        )
    )
    own: dict[str, set[bytes]] = {}
    for cluster, point in execute_in(
        connection, "SELECT cluster, point FROM former WHERE cluster IN ({values})", wanted
    ):
        own.setdefault(cluster, set()).add(point)
    previous = [
        Previous(
            id=each,
            created=created[each],
            members=frozenset(clusters.get(each, ())),
            former=frozenset(own.get(each, ())),
            ended=each not in clusters,
            leads_to=ended.get(each),
        )
        for each in wanted
    ]
    others = {point for some in own.values() for point in some}.difference(points)
    elsewhere = execute_in(
        connection, "SELECT point, cluster FROM members WHERE point IN ({values})", others
    )
    return previous, dict(elsewhere)


def find_sharing_ids(connection: sqlite3.Connection, points: Collection[bytes]) -> set[bytes]:
    """Return all images that share an id with one of the images `points`.

    An image has the id of its cluster, and the ids that it was under before (`former`).
    """
    ids = {
        cluster
        for table in ("members", "former")
        for (cluster,) in execute_in(
            connection,
            f"SELECT cluster FROM {table} WHERE point IN ({{values}})",  # noqa: S608 - constants
            points,
        )
    }
    return {
        point
        for table in ("members", "former")
        for (point,) in execute_in(
            connection,
            f"SELECT point FROM {table} WHERE cluster IN ({{values}})",  # noqa: S608 - constants
            ids,
        )
    }


def is_taken(connection: sqlite3.Connection, identifier: str) -> bool:
    """Return whether an id names a cluster, leads to one, or has images that may come back."""
    row = connection.execute(
        "SELECT 1 FROM clusters WHERE id = ?1 AND (end_time IS NULL OR successor IS NOT NULL"
        " OR EXISTS (SELECT 1 FROM former WHERE cluster = ?1))",
        (identifier,),
    ).fetchone()
    return row is not None


def forget(connection: sqlite3.Connection, points: Collection[bytes]) -> None:
    """Remove images from all ids that they were under, because they show another picture now."""
    execute_in(connection, "DELETE FROM former WHERE point IN ({values})", points)
