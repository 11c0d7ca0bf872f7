"""What ids clusters had, and which images are their own: rows of `cluster_store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.services.search.clusters import pairs
from halftone.services.search.clusters.ids import Previous
from halftone.services.search.clusters.store import marks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping


def previous(
    connection: sqlite3.Connection,
    clusters: Mapping[str, Collection[bytes]],
    *,
    points: Collection[bytes],
) -> tuple[list[Previous], dict[bytes, str]]:
    """What ids depend on where some images are grouped anew.

    Args:
        connection: To the file.
        clusters: Those that there are, with their members.
        points: The images, all members included.

    Returns:
        The clusters, and the ids that the images were under before; and the clusters of those other
        images that were under one of these.
    """
    ended: dict[str, str | None] = {}
    for some in pairs.chunks(sorted(points)):
        ended.update(
            connection.execute(
                "SELECT id, successor FROM former JOIN clusters ON clusters.id = former.cluster"  # noqa: S608 - placeholders
                f" WHERE point IN ({marks(len(some))}) AND successor IS NOT ''",
                some,
            )
        )
    wanted = sorted({*clusters, *ended})
    created: dict[str, int] = {}
    left: dict[str, set[bytes]] = {}
    for some_ids in pairs.chunks(wanted):
        placeholders = marks(len(some_ids))
        created.update(
            connection.execute(
                f"SELECT id, create_time FROM clusters WHERE id IN ({placeholders})",  # noqa: S608 - placeholders
                some_ids,
            )
        )
        rows = connection.execute(
            f"SELECT cluster, point FROM former WHERE cluster IN ({placeholders})",  # noqa: S608 - placeholders
            some_ids,
        )
        for cluster, point in rows:
            left.setdefault(cluster, set()).add(point)
    found = [
        Previous(
            id=each,
            created=created[each],
            members=frozenset(clusters.get(each, ())),
            former=frozenset(left.get(each, ())),
            leads_to=None if each in clusters else ended[each] or "",
        )
        for each in wanted
    ]
    others = {point for some in left.values() for point in some}.difference(points)
    return found, _clusters_of(connection, others)


def _clusters_of(connection: sqlite3.Connection, points: Collection[bytes]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for some in pairs.chunks(sorted(points)):
        found.update(
            connection.execute(
                f"SELECT point, cluster FROM members WHERE point IN ({marks(len(some))})",  # noqa: S608 - placeholders
                some,
            )
        )
    return found


def is_taken(connection: sqlite3.Connection, identifier: str) -> bool:
    """Whether an id is a cluster's, leads to one, or has images of its own that may come back."""
    row = connection.execute(
        "SELECT 1 FROM clusters WHERE id = ?1 AND (successor IS NOT NULL"
        " OR EXISTS (SELECT 1 FROM former WHERE cluster = ?1))",
        (identifier,),
    ).fetchone()
    return row is not None


def lead(connection: sqlite3.Connection, identifier: str, *, to: str, now: int) -> None:
    """Has the id of a cluster that ends, or has ended, lead to another one, or to none."""
    connection.execute(
        "INSERT OR REPLACE INTO former (point, cluster)"
        " SELECT point, cluster FROM members WHERE cluster = ?",
        (identifier,),
    )
    connection.execute("DELETE FROM members WHERE cluster = ?", (identifier,))
    connection.execute(
        "UPDATE clusters SET successor = ?, size = 0, update_time = ? WHERE id = ?",
        (to or None, now, identifier),
    )


def change(
    connection: sqlite3.Connection,
    identifier: str,
    *,
    before: Collection[bytes],
    members: Iterable[bytes],
    there: Collection[bytes],
) -> None:
    """Takes note of who comes to a cluster, and who is not `there` in the archive any more."""
    members = set(members)
    connection.executemany(
        "INSERT OR REPLACE INTO former (point, cluster) VALUES (?, ?)",
        [(point, identifier) for point in sorted(set(before).difference(members, there))],
    )
    connection.executemany(
        "DELETE FROM former WHERE point = ? AND cluster = ?",
        [(point, identifier) for point in sorted(members.difference(before))],
    )


def forget(connection: sqlite3.Connection, points: Collection[bytes]) -> None:
    """Has images count for no cluster that they were in: they show another picture by now."""
    connection.executemany("DELETE FROM former WHERE point = ?", [(point,) for point in points])
