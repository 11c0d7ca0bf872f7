"""Verdicts of archivists on pairs of images: rows of `verdicts`.

A verdict holds until it has ended: by a new verdict on the same pair, or because it was deleted.
Verdicts are kept for good, whatever happens to images and clusters.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.archive.records import parse_name
from halftone.core import errors
from halftone.services.search.clusters.grouping import JudgedPair
from halftone.services.search.clusters.store import execute_in
from halftone.v1 import clusters_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from halftone.archive.records import Name

Decision = clusters_pb2.Verdict.Decision


class VerdictRow(NamedTuple):
    """A verdict. `a` and `b` are names of images, the lesser first; times are in microseconds.

    `replaced_a` and `replaced_b` say whether the image of the lesser and of the greater point has
    another picture now than was judged.
    """

    id: int
    a: str
    b: str
    decision: int
    note: str
    author: str
    create_time: int
    end_time: int | None
    overruled: int
    replaced_a: int
    replaced_b: int

    @property
    def replaced(self) -> list[str]:
        """Return the names of the images that have another picture now than was judged."""
        by_point = sorted((self.a, self.b), key=lambda name: parse_name(name).point_id.bytes)
        flags = (self.replaced_a, self.replaced_b)
        return sorted(name for name, flag in zip(by_point, flags, strict=True) if flag)


_REPLACED: Final = (
    "(sha_{0} IS NOT NULL AND EXISTS (SELECT 1 FROM images JOIN pictures ON"
    " pictures.id = images.picture WHERE images.point = verdicts.point_{0}"
    " AND pictures.sha256 <> verdicts.sha_{0}))"
)
_FIELDS: Final = ", ".join(
    [*VerdictRow._fields[:-2], *(_REPLACED.format(each) for each in ("a", "b"))]
)


def judge(
    connection: sqlite3.Connection,
    a: Name,
    b: Name,
    *,
    decision: Decision,
    note: str,
    author: str,
    shas: Mapping[bytes, bytes] | None = None,
) -> VerdictRow:
    """Store a verdict and return it. An earlier verdict on the same pair ends.

    Args:
        connection: The connection to write with.
        a: The name of one image.
        b: The name of the other image. The order makes no difference.
        decision: Whether they show the same picture.
        note: The archivist's reason; may be empty.
        author: The archivist's name; may be empty.
        shas: The hashes of the pictures that are judged, by the points of their images.
    """
    first, second = sorted((a, b), key=str)
    # The index uses the points of a pair, which are in another order than the names.
    low, high = sorted((first.point_id.bytes, second.point_id.bytes))
    now = time.time_ns() // 1000
    connection.execute(
        "UPDATE verdicts SET end_time = ? WHERE point_a = ? AND point_b = ? AND end_time IS NULL",
        (now, low, high),
    )
    cursor = connection.execute(
        "INSERT INTO verdicts"
        " (a, b, point_a, point_b, decision, note, author, create_time, sha_a, sha_b)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(str(first), str(second), low, high, int(decision), note, author, now),
            *((shas or {}).get(point) for point in (low, high)),
        ),
    )
    return get(connection, int(cursor.lastrowid or 0))


def get(connection: sqlite3.Connection, number: int) -> VerdictRow:
    """Return a verdict by its number.

    Raises:
        errors.NotFound: There is no such verdict.
    """
    row = connection.execute(f"SELECT {_FIELDS} FROM verdicts WHERE id = ?", (number,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        name = f"verdicts/{number}"
        raise errors.NotFound(
            f"There is no verdict {name}.", resource_type="verdict", resource_name=name
        )
    return VerdictRow(*row)


def end(connection: sqlite3.Connection, number: int) -> VerdictRow:
    """End a verdict and return it. A verdict that has ended stays unchanged.

    Raises:
        errors.NotFound: There is no such verdict.
    """
    connection.execute(
        "UPDATE verdicts SET end_time = ? WHERE id = ? AND end_time IS NULL",
        (time.time_ns() // 1000, number),
    )
    return get(connection, number)


def list_verdicts(
    connection: sqlite3.Connection,
    *,
    point: bytes | None,
    history: bool,
    before: int | None,
    limit: int,
) -> list[VerdictRow]:
    """Return verdicts, the newest first.

    Args:
        connection: The connection to read with.
        point: Only verdicts on this image; None for all.
        history: Whether to include verdicts that have ended.
        before: Only verdicts with lower numbers; None for all.
        limit: The most verdicts to return.
    """
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
    return [VerdictRow(*row) for row in rows]


def list_holding(connection: sqlite3.Connection, points: Collection[bytes]) -> list[JudgedPair]:
    """Return the verdicts that hold and of which both images are among `points`.

    Verdicts that say UNSURE are left out.
    """
    known = set(points)
    rows = execute_in(
        connection,
        "SELECT id, point_a, point_b, decision FROM verdicts"
        " WHERE point_a IN ({values}) AND end_time IS NULL",
        known,
    )
    return [
        JudgedPair(number, a, b, decision == Decision.SAME)
        for number, a, b, decision in rows
        if b in known and decision != Decision.UNSURE
    ]


def list_judged(
    connection: sqlite3.Connection, points: Collection[bytes]
) -> list[tuple[bytes, bytes]]:
    """Return the pairs of images on which a verdict holds, whatever it says.

    Args:
        connection: The connection to read with.
        points: Only pairs whose first image is among these; the order within a pair is that of the
            points.
    """
    (count,) = connection.execute("SELECT count(*) FROM verdicts WHERE end_time IS NULL").fetchone()
    if count <= len(points):
        return connection.execute(
            "SELECT point_a, point_b FROM verdicts WHERE end_time IS NULL"
        ).fetchall()
    return [
        (a, b)
        for a, b in execute_in(
            connection,
            "SELECT point_a, point_b FROM verdicts"
            " WHERE point_a IN ({values}) AND end_time IS NULL",
            points,
        )
    ]


def find_between(
    connection: sqlite3.Connection, point: bytes, others: Collection[bytes]
) -> dict[bytes, VerdictRow]:
    """Return the verdicts that hold between an image and others, also if they say UNSURE.

    Args:
        connection: The connection to read with.
        point: The image.
        others: The other images.

    Returns:
        The verdicts, by the other image. Images without a verdict are left out.
    """
    holding: dict[bytes, VerdictRow] = {}
    for here, there in (("point_a", "point_b"), ("point_b", "point_a")):
        # By pairs: an image may have any number of verdicts, but few of them on these.
        rows = execute_in(
            connection,
            f"SELECT {there}, {_FIELDS} FROM verdicts INDEXED BY verdicts_that_hold"  # noqa: S608 - constants
            f" WHERE {there} IN ({{values}}) AND {here} = ? AND end_time IS NULL",
            others,
            point,
        )
        holding.update((other, VerdictRow(*row)) for other, *row in rows)
    return holding


def find_bound(connection: sqlite3.Connection, points: Collection[bytes]) -> set[bytes]:
    """Return the images that a SAME verdict that holds connects to one of the images `points`."""
    return {
        point
        for here, there in (("point_a", "point_b"), ("point_b", "point_a"))
        for (point,) in execute_in(
            connection,
            f"SELECT {there} FROM verdicts WHERE {here} IN ({{values}})"  # noqa: S608 - constants
            " AND end_time IS NULL AND decision = ?",
            points,
            int(Decision.SAME),
        )
    }


def find_changed_effects(
    connection: sqlite3.Connection, points: Collection[bytes], *, overruled: Collection[int]
) -> list[tuple[bytes, int, int]]:
    """Return the verdicts that become overruled, or are no longer overruled.

    Args:
        connection: The connection to read with.
        points: The images that were grouped.
        overruled: The numbers of all verdicts between them that a later verdict overrules.

    Returns:
        For each such verdict one of its images, its number, and 1 if it becomes overruled or 0 if
        it no longer is.
    """
    marked = dict(
        execute_in(
            connection,
            "SELECT id, point_a FROM verdicts WHERE point_a IN ({values}) AND overruled",
            points,
        )
    )
    lost = execute_in(
        connection,
        "SELECT point_a, id, 1 FROM verdicts WHERE id IN ({values}) AND NOT overruled",
        overruled,
    )
    kept = set(overruled)
    return [*lost, *((point, each, 0) for each, point in marked.items() if each not in kept)]
