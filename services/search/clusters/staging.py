"""Changes of clusters: prepared as rows, then stored by a few statements.

A grouping first collects its changes and only reads. The changes are put into temporary tables of
the writing connection and stored from there, so that even the changes of a whole archive take one
short transaction: SQLite moves the rows itself, without a step back into Python for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

_COLUMNS: Final = {
    "ended": "id TEXT PRIMARY KEY, successor TEXT",
    "clusters": "id TEXT PRIMARY KEY, size INTEGER, weakest REAL, first BLOB, journals TEXT,"
    " journal_count INTEGER, earliest INTEGER, latest INTEGER, span_years INTEGER, undated INTEGER",
    "members": "point BLOB PRIMARY KEY, cluster TEXT, weakest REAL",
    "left_archive": "point BLOB, cluster TEXT, PRIMARY KEY (point, cluster)",
    "came": "point BLOB, cluster TEXT, PRIMARY KEY (point, cluster)",
    "overruled": "id INTEGER PRIMARY KEY, overruled INTEGER",
}


@dataclass(slots=True, kw_only=True)
class Changes:
    """The changes of a grouping, as rows.

    Each row begins with an image of the part of the archive that it belongs to.

    Attributes:
        ended: Ids of clusters that end or have ended, with the id that each leads to; None if none.
        clusters: Clusters that are new or have changed: id, size, weakest link, and the summary
            (first member, journals as JSON, their number, earliest, latest, span in years, number
            without a date). If the records of a cluster cannot be read, all of the summary but the
            first member is None.
        members: All members of these clusters: point, cluster, weakest link.
        left_archive: Members that left the archive, with the cluster that they were in.
        came: Members that were in another cluster before or in none, with their cluster.
        overruled: Numbers of verdicts that gain (0) or lose (1) their effect.
    """

    ended: list[tuple[bytes, str, str | None]] = field(default_factory=list)
    clusters: list[
        tuple[
            bytes,
            str,
            int,
            float,
            bytes,
            str | None,
            int | None,
            int | None,
            int | None,
            int | None,
            int | None,
        ]
    ] = field(default_factory=list)
    members: list[tuple[bytes, bytes, str, float]] = field(default_factory=list)
    left_archive: list[tuple[bytes, bytes, str]] = field(default_factory=list)
    came: list[tuple[bytes, bytes, str]] = field(default_factory=list)
    overruled: list[tuple[bytes, int, int]] = field(default_factory=list)


class Staging:
    """Temporary tables of the writing connection that hold changes until they are stored."""

    def __init__(self, *, name: str) -> None:
        """Start without changes. Stagings with different names do not affect each other."""
        self._name = name

    def begin(self, connection: sqlite3.Connection) -> None:
        """Create the tables; if they exist, empty them."""
        for kind, columns in _COLUMNS.items():
            name = f"temp.{self._name}_{kind}"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (part BLOB NOT NULL, {columns})")
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - constants

    def put(
        self,
        connection: sqlite3.Connection,
        changes: Changes,
        *,
        parts: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Add changes.

        Args:
            connection: The writing connection.
            changes: The changes.
            parts: The part that each row belongs to, by the image that the row begins with.
                `forget` can be called with such a part.
        """
        for each in fields(changes):
            rows = getattr(changes, each.name)
            if parts is not None:
                rows = [(parts[first], *rest) for first, *rest in rows]
            if rows:
                marks = ",".join("?" * len(rows[0]))
                connection.executemany(
                    f"INSERT INTO temp.{self._name}_{each.name} VALUES ({marks})",  # noqa: S608 - constants
                    rows,
                )

    def forget(self, connection: sqlite3.Connection, parts: Collection[bytes]) -> None:
        """Delete the changes that `put` stored for `parts`."""
        for kind in _COLUMNS:
            connection.executemany(
                f"DELETE FROM temp.{self._name}_{kind} WHERE part = ?",  # noqa: S608 - constants
                [(part,) for part in parts],
            )

    def index_parts(self, connection: sqlite3.Connection) -> None:
        """Make `forget` fast when there are many changes."""
        for kind in _COLUMNS:
            name = f"{self._name}_{kind}"
            connection.execute(f"CREATE INDEX IF NOT EXISTS temp.{name}_by_part ON {name} (part)")

    def store(self, connection: sqlite3.Connection, *, now: int) -> None:
        """Store the changes, within the transaction of the connection.

        Args:
            connection: The writing connection.
            now: The time of the change, in microseconds.
        """
        for statement in _STATEMENTS:
            connection.execute(statement.replace("{staged}", f"temp.{self._name}"), {"now": now})


_SUMMARY: Final = "first, journals, journal_count, earliest, latest, span_years, undated"

_STATEMENTS: Final = (
    # The members of clusters that end still belong to their ids.
    (
        "INSERT OR REPLACE INTO former (point, cluster)"
        " SELECT point, cluster FROM members WHERE cluster IN (SELECT id FROM {staged}_ended)"
    ),
    "DELETE FROM members WHERE cluster IN (SELECT id FROM {staged}_ended)",
    (
        "UPDATE clusters SET size = 0, update_time = :now, end_time = coalesce(end_time, :now),"
        " successor = (SELECT successor FROM {staged}_ended AS staged"
        " WHERE staged.id = clusters.id)"
        " WHERE id IN (SELECT id FROM {staged}_ended)"
    ),
    # So do deleted members. Members that join belong to the cluster itself.
    (
        "INSERT OR REPLACE INTO former (point, cluster)"
        " SELECT point, cluster FROM {staged}_left_archive"
    ),
    "DELETE FROM former WHERE (point, cluster) IN (SELECT point, cluster FROM {staged}_came)",
    "DELETE FROM members WHERE cluster IN (SELECT id FROM {staged}_clusters)",
    (
        "INSERT OR REPLACE INTO members (point, cluster, weakest)"
        " SELECT point, cluster, weakest FROM {staged}_members ORDER BY point"
    ),
    (
        "INSERT INTO clusters"  # noqa: S608 - constants
        f" (id, size, weakest, create_time, update_time, {_SUMMARY})"
        f" SELECT id, size, weakest, :now, :now, {_SUMMARY} FROM {{staged}}_clusters"
        " WHERE journals IS NOT NULL ORDER BY id"
        " ON CONFLICT (id) DO UPDATE SET size = excluded.size, weakest = excluded.weakest,"
        " update_time = :now, end_time = NULL, successor = NULL, first = excluded.first,"
        " journals = excluded.journals, journal_count = excluded.journal_count,"
        " earliest = excluded.earliest, latest = excluded.latest, span_years = excluded.span_years,"
        " undated = excluded.undated"
    ),
    # Keep the summary of a cluster whose images cannot be read.
    (
        "INSERT INTO clusters"
        " (id, size, weakest, create_time, update_time, first, journals, journal_count, span_years)"
        " SELECT id, size, weakest, :now, :now, first, '[]', 0, 0 FROM {staged}_clusters"
        " WHERE journals IS NULL ORDER BY id"
        " ON CONFLICT (id) DO UPDATE SET size = excluded.size, weakest = excluded.weakest,"
        " update_time = :now, end_time = NULL, successor = NULL"
    ),
    (
        "UPDATE verdicts SET overruled ="
        " (SELECT overruled FROM {staged}_overruled AS staged WHERE staged.id = verdicts.id)"
        " WHERE id IN (SELECT id FROM {staged}_overruled)"
    ),
)
