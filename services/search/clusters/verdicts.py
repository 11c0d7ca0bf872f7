"""Verdicts of archivists on pairs: kept for good, whatever becomes of images and clusters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from halftone.core import errors
from halftone.services.search.clusters.clustering import Judged
from halftone.services.search.clusters.store import marks
from halftone.v1 import clusters_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from halftone.archive.records import Name

Decision = clusters_pb2.Verdict.Decision

_FIELDS = "id, a, b, decision, note, author, create_time, end_time, overruled"


class Verdict(NamedTuple):
    """A row; times in microseconds."""

    id: int
    a: str
    b: str
    decision: int
    note: str
    author: str
    create_time: int
    end_time: int | None
    overruled: int


def judge(
    connection: sqlite3.Connection,
    a: Name,
    b: Name,
    *,
    decision: Decision,
    note: str,
    author: str,
) -> Verdict:
    """Keeps a verdict in the place of an earlier one on the pair, which ends."""
    first, second = sorted((a, b), key=str)
    # The index knows a pair by its points, whose order is another than that of the names.
    low, high = sorted((first.point_id.bytes, second.point_id.bytes))
    now = time.time_ns() // 1000
    connection.execute(
        "UPDATE verdicts SET end_time = ? WHERE point_a = ? AND point_b = ? AND end_time IS NULL",
        (now, low, high),
    )
    cursor = connection.execute(
        "INSERT INTO verdicts (a, b, point_a, point_b, decision, note, author, create_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (str(first), str(second), low, high, int(decision), note, author, now),
    )
    return get(connection, int(cursor.lastrowid or 0))


def get(connection: sqlite3.Connection, number: int) -> Verdict:
    """A verdict by its number.

    Raises:
        errors.NotFound: There is none.
    """
    row = connection.execute(f"SELECT {_FIELDS} FROM verdicts WHERE id = ?", (number,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        name = f"verdicts/{number}"
        raise errors.NotFound(
            f"There is no verdict {name}.", resource_type="verdict", resource_name=name
        )
    return Verdict(*row)


def end(connection: sqlite3.Connection, number: int) -> Verdict:
    """Takes a verdict back; one that has ended stays as it is."""
    connection.execute(
        "UPDATE verdicts SET end_time = ? WHERE id = ? AND end_time IS NULL",
        (time.time_ns() // 1000, number),
    )
    return get(connection, number)


def listed(
    connection: sqlite3.Connection,
    *,
    point: bytes | None,
    history: bool,
    before: int | None,
    limit: int,
) -> list[Verdict]:
    """Verdicts, newest first, below a number."""
    conditions: list[str] = []
    values: list[bytes | int] = []
    if point is not None:
        conditions.append("(point_a = ? OR point_b = ?)")
        values += [point, point]
    if not history:
        conditions.append("end_time IS NULL")
    if before is not None:
        conditions.append("id < ?")
        values.append(before)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = connection.execute(
        f"SELECT {_FIELDS} FROM verdicts {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - constants
        (*values, limit),
    )
    return [Verdict(*row) for row in rows]


def holding(connection: sqlite3.Connection, points: Collection[bytes]) -> list[Judged]:
    """The verdicts that hold between some of these images, without those that are unsure."""
    found: dict[int, Judged] = {}
    wanted = list(points)
    known = set(wanted)
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        rows = connection.execute(
            "SELECT id, point_a, point_b, decision FROM verdicts"  # noqa: S608 - placeholders
            f" WHERE point_a IN ({marks(len(some))}) AND end_time IS NULL",
            some,
        )
        for number, a, b, decision in rows:
            if b in known and decision != Decision.UNSURE:
                found[number] = Judged(number, a, b, decision == Decision.SAME)
    return list(found.values())


def between(
    connection: sqlite3.Connection, point: bytes, others: Collection[bytes]
) -> dict[bytes, Verdict]:
    """The verdicts that hold on an image and some others, by the other, those unsure included."""
    found: dict[bytes, Verdict] = {}
    wanted = list(others)
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        for here, there in (("point_a", "point_b"), ("point_b", "point_a")):
            # By pairs: an image may have any number of verdicts, but few of them on these.
            rows = connection.execute(
                f"SELECT {there}, {_FIELDS} FROM verdicts INDEXED BY verdicts_that_hold"  # noqa: S608 - constants
                f" WHERE {here} = ? AND {there} IN ({marks(len(some))}) AND end_time IS NULL",
                (point, *some),
            )
            found.update((other, Verdict(*row)) for other, *row in rows)
    return found


def held_together(connection: sqlite3.Connection, points: Collection[bytes]) -> set[bytes]:
    """Images that a SAME verdict binds to one of these."""
    found: set[bytes] = set()
    wanted = list(points)
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        for here, there in (("point_a", "point_b"), ("point_b", "point_a")):
            rows = connection.execute(
                f"SELECT {there} FROM verdicts WHERE {here} IN ({marks(len(some))})"  # noqa: S608 - constants
                " AND end_time IS NULL AND decision = ?",
                (*some, int(Decision.SAME)),
            )
            found.update(row[0] for row in rows)
    return found


def mark_overruled(
    connection: sqlite3.Connection, points: Collection[bytes], *, numbers: Collection[int]
) -> set[int]:
    """Marks those of the verdicts on these images that later ones contradict, and no others.

    Returns:
        Those that had an effect until now.
    """
    lost = {number for number in numbers if not get(connection, number).overruled}
    wanted = list(points)
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        connection.execute(
            "UPDATE verdicts SET overruled = 0"  # noqa: S608 - placeholders
            f" WHERE overruled AND point_a IN ({marks(len(some))})",
            some,
        )
    connection.executemany(
        "UPDATE verdicts SET overruled = 1 WHERE id = ?", [(number,) for number in numbers]
    )
    return lost
