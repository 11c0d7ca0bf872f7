"""Pairs of pictures that were compared: rows of `pairs`.

When a job that compares everything again succeeds, it raises the floor, a number of a job: pairs
that were compared by earlier jobs do not count any more, and are deleted bit by bit. Pairs that
were compared without a job have the number that the floor had then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.services.search.clusters.linkage import Forest
from halftone.services.search.clusters.pictures import (
    find_pages,
    images_of,
    picture_ids,
    shas_of_pictures,
)
from halftone.services.search.clusters.store import execute_in, version_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

_SWEPT: Final = 500
"""The number of pairs that are deleted in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """The stored comparison of a pair of pictures.

    Attributes:
        a: SHA-256 of the first picture, the lesser of the two.
        b: SHA-256 of the second picture.
        probability: The probability that they show the same picture, 0 to 1.
        share: The smaller of the two shared areas, 0 to 1; 1 if it is unknown.
        relation: The relation of b to a, as `Hit.Relation`.
        evidence: The evidence, as `compare.pack` packs it.
        verification: The serialised message `Verification`; empty without an overlap.
    """

    a: bytes
    b: bytes
    probability: float
    share: float
    relation: int
    evidence: bytes
    verification: bytes


class PairRow(NamedTuple):
    """A pair as grouping reads it; `a` and `b` are numbers of pictures."""

    a: int
    b: int
    probability: float
    share: float
    relation: int


# The floor.


def floor(connection: sqlite3.Connection) -> int:
    """Return the number of the first job whose comparisons count."""
    (job,) = connection.execute("SELECT job FROM pair_floor").fetchone()
    return int(job)


def raise_floor(connection: sqlite3.Connection, *, job: int) -> None:
    """From now on ignore the pairs that were compared by jobs before `job`."""
    connection.execute("UPDATE pair_floor SET job = max(job, ?)", (job,))


def next_below_floor(
    connection: sqlite3.Connection, *, after: tuple[int, int]
) -> list[tuple[int, int]] | None:
    """Return the next ignored pairs after the pair `after`, in order; None if all are deleted."""
    job, swept = connection.execute("SELECT job, swept FROM pair_floor").fetchone()
    if swept >= job:
        return None
    return connection.execute(
        "SELECT a, b FROM pairs WHERE (a, b) > (?, ?) AND job < ? ORDER BY a, b LIMIT ?",
        (*after, job, _SWEPT),
    ).fetchall()


def drop_below_floor(
    connection: sqlite3.Connection, pairs: Sequence[tuple[int, int]], *, floor: int
) -> None:
    """Delete pairs, unless they were compared again meanwhile.

    Args:
        connection: The connection to write with.
        pairs: The pairs, from `next_below_floor`. If there are none, all ignored pairs are deleted,
            and this is recorded.
        floor: The floor that was read before them. Only pairs that were compared before it are
            deleted.
    """
    connection.executemany(
        "DELETE FROM pairs WHERE a = ? AND b = ? AND job < ?", [(*pair, floor) for pair in pairs]
    )
    if not pairs:
        connection.execute("UPDATE pair_floor SET swept = max(swept, ?)", (floor,))


def drop_unseen(connection: sqlite3.Connection, pictures: Collection[int]) -> None:
    """Delete the pictures that no image shows, and their pairs. Other pictures stay."""
    gone = set(pictures) - set(images_of(connection, pictures))
    for column in ("a", "b"):
        execute_in(connection, f"DELETE FROM pairs WHERE {column} IN ({{values}})", gone)  # noqa: S608 - constants
    execute_in(connection, "DELETE FROM pictures WHERE id IN ({values})", gone)


# What was compared.


def find_missing(
    connection: sqlite3.Connection,
    pairs: Iterable[tuple[bytes, bytes]],
    *,
    matching: str,
    since_job: int,
) -> list[tuple[bytes, bytes]]:
    """Return the pairs that still have to be compared.

    Args:
        connection: The connection to read with.
        pairs: Pairs of hashes, the lesser one first.
        matching: A comparison counts only in this format; see `Comparer.matching`.
        since_job: A comparison counts only if this job or a later one made it.
    """
    wanted = sorted(set(pairs))
    ids = picture_ids(connection, {sha for pair in wanted for sha in pair})
    row = connection.execute("SELECT id FROM versions WHERE name = ?", (matching,)).fetchone()
    if row is None:
        return wanted
    least = max(since_job, floor(connection))
    return [
        (a, b)
        for a, b in wanted
        if a not in ids
        or b not in ids
        or connection.execute(
            "SELECT 1 FROM pairs WHERE a = ? AND b = ? AND format = ? AND job >= ?",
            (ids[a], ids[b], row[0], least),
        ).fetchone()
        is None
    ]


def put_pairs(
    connection: sqlite3.Connection,
    compared: Sequence[PairComparison],
    *,
    model_version: str,
    matching: str,
    job: int,
) -> None:
    """Store comparisons of pairs. Each replaces the earlier one of the same pair, if there is one.

    Args:
        connection: The connection to write with.
        compared: The comparisons.
        model_version: The model version of their probabilities.
        matching: The format in which they were compared; see `Comparer.matching`.
        job: The number of the job that compared them; 0 if it was an import.
    """
    if not compared:
        return
    model = version_number(connection, model_version)
    form = version_number(connection, matching)
    # Comparisons of an import count like those of the last job.
    job = max(job, floor(connection))
    shas = {sha for each in compared for sha in (each.a, each.b)}
    connection.executemany(
        "INSERT OR IGNORE INTO pictures (sha256) VALUES (?)", [(sha,) for sha in sorted(shas)]
    )
    ids = picture_ids(connection, shas)
    connection.executemany(
        "INSERT OR REPLACE INTO pairs (a, b, probability, share, relation, evidence, verification,"
        " model, format, job) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                ids[each.a],
                ids[each.b],
                each.probability,
                each.share,
                each.relation,
                each.evidence,
                each.verification or None,
                model,
                form,
                job,
            )
            for each in compared
        ],
    )


def next_of_another_model(
    connection: sqlite3.Connection, *, model_version: str, after: tuple[int, int], limit: int
) -> list[tuple[int, int, bytes, bytes, float, bytes]]:
    """Return the next pairs whose probability is by another model version, in order.

    Pairs of pictures that no image shows any more are left out.

    Args:
        connection: The connection to read with.
        model_version: The version whose pairs are left out.
        after: The pair after which to start.
        limit: The most pairs to return.

    Returns:
        The numbers of the pictures, an image that shows each, the probability and the evidence.
    """
    rows = connection.execute(
        "SELECT a, b, (SELECT min(point) FROM images WHERE picture = a) AS one,"
        " (SELECT min(point) FROM images WHERE picture = b) AS other, probability, evidence"
        " FROM pairs"
        " WHERE (a, b) > (?, ?) AND one IS NOT NULL AND other IS NOT NULL"
        " AND model IN (SELECT id FROM versions WHERE name != ?) AND job >= ?"
        " ORDER BY a, b LIMIT ?",
        (*after, model_version, floor(connection), limit),
    )
    return [(a, b, one, other, *rest) for a, b, one, other, *rest in rows]


def rescore(
    connection: sqlite3.Connection,
    scores: Iterable[tuple[int, int, float, int, bytes]],
    *,
    model_version: str,
) -> None:
    """Store new probabilities, relations and evidence of pairs.

    Args:
        connection: The connection to write with.
        scores: For each pair the numbers of its two pictures, its probability, its relation (as
            `Hit.Relation`) and its evidence.
        model_version: The model version of the probabilities.
    """
    model = version_number(connection, model_version)
    connection.executemany(
        "UPDATE pairs SET probability = ?, relation = ?, evidence = ?, model = ?"
        " WHERE a = ? AND b = ?",
        [
            (probability, relation, evidence, model, a, b)
            for a, b, probability, relation, evidence in scores
        ],
    )


def links_of(
    connection: sqlite3.Connection, pictures: Collection[int], *, least: float, since_job: int
) -> set[int]:
    """Return the pictures that a link connects to one of `pictures`.

    Args:
        connection: The connection to read with.
        pictures: The numbers of the pictures.
        least: The lowest probability of a link.
        since_job: A comparison counts only if this job or a later one made it.
    """
    linked: set[int] = set()
    for here, there in (("a", "b"), ("b", "a")):
        rows = execute_in(
            connection,
            f"SELECT {there} FROM pairs WHERE {here} IN ({{values}})"  # noqa: S608 - constants
            " AND probability >= ? AND job >= ?",
            pictures,
            least,
            since_job,
        )
        linked.update(row[0] for row in rows)
    return linked


def all_links(
    connection: sqlite3.Connection, *, least: float, since_job: int
) -> Iterator[tuple[int, int]]:
    """Yield all pairs of pictures that are linked.

    Args:
        connection: The connection to read with.
        least: The lowest probability of a link.
        since_job: A comparison counts only if this job or a later one made it.
    """
    return connection.execute(
        "SELECT a, b FROM pairs WHERE probability >= ? AND job >= ?", (least, since_job)
    )


def read_between(
    connection: sqlite3.Connection, pictures: Collection[int], *, since_job: int
) -> list[PairRow]:
    """Return the compared pairs of which both pictures are among `pictures`.

    Args:
        connection: The connection to read with.
        pictures: The numbers of the pictures.
        since_job: A comparison counts only if this job or a later one made it.
    """
    rows = execute_in(
        connection,
        "SELECT a, b, probability, share, relation FROM pairs WHERE a IN ({values}) AND job >= ?",
        pictures,
        since_job,
    )
    return [PairRow(*row) for row in rows if row[1] in pictures]


def verification_of(connection: sqlite3.Connection, a: int, b: int) -> bytes:
    """Return the serialised verification of a pair; empty if it has none.

    Args:
        connection: The connection to read with.
        a: The number of the first picture, the one with the lesser hash.
        b: The number of the second picture.
    """
    row = connection.execute(
        "SELECT verification FROM pairs WHERE a = ? AND b = ?", (a, b)
    ).fetchone()
    return b"" if row is None or row[0] is None else bytes(row[0])


def find_unclosed(
    connection: sqlite3.Connection,
    links: Iterable[tuple[int, int]],
    *,
    most: int,
    matching: str,
    since_job: int,
) -> list[tuple[bytes, bytes]]:
    """Return the pairs that links connect through other pictures and that were not compared.

    If two pictures are both linked to a third, they should be compared as well, because grouping
    also counts comparisons that found no link. Pages with picture records connect nothing: what is
    printed on them, the records of the pictures connect.

    Args:
        connection: The connection to read with.
        links: The linked pairs, by the numbers of their pictures.
        most: If links connect more than this many pictures, these are skipped. An ornament may have
            thousands of printings.
        matching: As in `find_missing`.
        since_job: As in `find_missing`.

    Returns:
        Pairs of hashes, the lesser one first.
    """
    links = list(links)
    shown = images_of(connection, {number for link in links for number in link})
    pages = find_pages(connection, [point for some in shown.values() for point in some])
    bridges = {number for number, some in shown.items() if not pages.isdisjoint(some)}
    forest: Forest[int] = Forest()
    pictures = set()
    for a, b in (link for link in links if bridges.isdisjoint(link)):
        pictures |= {a, b}
        forest.join(forest.find(a), forest.find(b))
    parts: dict[int, list[int]] = {}
    for picture in sorted(pictures):
        parts.setdefault(forest.find(picture), []).append(picture)
    small = [
        [each for each in part if each in shown]
        for part in parts.values()
        if 2 < len(part) <= most  # noqa: PLR2004 - two are compared
    ]
    shas = shas_of_pictures(connection, {each for part in small for each in part})
    pairs = [
        (min(shas[a], shas[b]), max(shas[a], shas[b]))
        for part in small
        for at, a in enumerate(part)
        for b in part[at + 1 :]
    ]
    return find_missing(connection, pairs, matching=matching, since_job=since_job)
