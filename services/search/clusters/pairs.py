"""Images, their pictures, and the pairs of pictures that were compared: rows of `cluster_store`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from halftone.services.search.clusters.links import Forest
from halftone.services.search.clusters.store import marks, version_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

T = TypeVar("T")

CHUNK: Final = 500
"""Values in one query."""
_NEVER: Final = -(2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is kept of a pair of pictures.

    Attributes:
        a: SHA-256 of the query, the lesser one.
        b: Of the other.
        probability: That they show the same picture.
        share: Of the picture of which less is shared, 0 to 1; 1 where nothing is known of it.
        relation: Of b to a, as `Hit.Relation`.
        evidence: The regression's features, float32.
        verification: The message's bytes; empty without an overlap.
    """

    a: bytes
    b: bytes
    probability: float
    share: float
    relation: int
    evidence: bytes
    verification: bytes


class Pair(NamedTuple):
    """A row of a pair."""

    a: int
    b: int
    probability: float
    share: float
    relation: int


# Images.


def points_after(connection: sqlite3.Connection, point: bytes) -> list[bytes]:
    """The images that follow one in the order of their points, as many as one query takes."""
    rows = connection.execute(
        "SELECT point FROM images WHERE point > ? ORDER BY point LIMIT ?", (point, CHUNK)
    )
    return [row[0] for row in rows]


def shas_of(connection: sqlite3.Connection, points: Sequence[bytes]) -> dict[bytes, bytes]:
    """The hashes of the pictures of those images that are known."""
    found: dict[bytes, bytes] = {}
    for some in chunks(points):
        found.update(
            connection.execute(
                "SELECT point, sha256 FROM images JOIN pictures ON pictures.id = images.picture"  # noqa: S608 - placeholders
                f" WHERE point IN ({marks(len(some))})",
                some,
            )
        )
    return found


def put_images(connection: sqlite3.Connection, images: Iterable[tuple[bytes, bytes]]) -> None:
    """Takes note of images, by point and hash."""
    images = list(images)
    connection.executemany(
        "INSERT OR IGNORE INTO pictures (sha256) VALUES (?)", [(sha,) for _, sha in images]
    )
    # What an image showed before may be shown by none any more.
    _orphaned(connection, [point for point, _ in images], keep=dict(images))
    connection.executemany(
        "INSERT OR REPLACE INTO images (point, picture)"
        " VALUES (?, (SELECT id FROM pictures WHERE sha256 = ?))",
        images,
    )


def drop_images(connection: sqlite3.Connection, points: Sequence[bytes]) -> None:
    """Forgets images that are gone. What was compared is kept."""
    _orphaned(connection, points, keep={})
    for some in chunks(points):
        connection.execute(f"DELETE FROM images WHERE point IN ({marks(len(some))})", some)  # noqa: S608 - placeholders


def _orphaned(
    connection: sqlite3.Connection, points: Sequence[bytes], *, keep: dict[bytes, bytes]
) -> None:
    """Pictures that lose images are searched for again when they come back.

    What is imported until then does not find them.
    """
    changed = [
        (sha,) for point, sha in shas_of(connection, points).items() if keep.get(point) != sha
    ]
    connection.executemany(
        "UPDATE pictures SET searched = 0 WHERE sha256 = ?1 AND"
        " (SELECT count(*) FROM images WHERE picture = pictures.id) <= 1",
        changed,
    )


def to_search(
    connection: sqlite3.Connection, *, job: int | None, limit: int
) -> list[tuple[bytes, bytes]]:
    """Pictures still to be searched for: a point that shows each, and its hash.

    For a job those that it has not searched for; without one those that are in no grouping yet.
    """
    # By what was searched longest ago, then by number: where a job was cut off it goes on.
    least, below = (_NEVER, 1) if job is None else (-job, job)
    rows = connection.execute(
        "SELECT (SELECT min(point) FROM images WHERE picture = pictures.id) AS shown, sha256"
        " FROM pictures WHERE searched > ? AND searched < ? AND shown IS NOT NULL"
        " ORDER BY searched, id LIMIT ?",
        (least, below, limit),
    )
    return [(point, sha) for point, sha in rows]


def counts(connection: sqlite3.Connection, *, job: int) -> tuple[int, int]:
    """Images, and those of them whose pictures a job has searched for."""
    (images,) = connection.execute("SELECT count(*) FROM images").fetchone()
    (left,) = connection.execute(
        "SELECT count(*) FROM images JOIN pictures ON pictures.id = images.picture"
        " WHERE searched > ? AND searched < ?",
        (-job, job),
    ).fetchone()
    return int(images), int(images - left)


def mark_searched(connection: sqlite3.Connection, shas: Iterable[bytes], *, job: int) -> None:
    """Takes note that a job has looked for candidates of pictures.

    Those that were in no grouping before are in one only when the job succeeds; see `settle`.
    """
    connection.executemany(
        "UPDATE pictures SET searched = CASE WHEN searched > 0 THEN ?1 ELSE -?1 END"
        " WHERE sha256 = ?2",
        [(job, sha) for sha in shas],
    )


def mark_joined(connection: sqlite3.Connection, shas: Iterable[bytes], *, job: int) -> None:
    """Takes note that pictures were searched for and grouped since a job."""
    connection.executemany(
        "UPDATE pictures SET searched = ? WHERE sha256 = ?", [(job, sha) for sha in shas]
    )


def settle(connection: sqlite3.Connection, *, job: int) -> None:
    """Takes note that all is grouped that a job has searched for."""
    connection.execute("UPDATE pictures SET searched = ? WHERE searched = ?", (job, -job))


# Pairs.


def missing(
    connection: sqlite3.Connection,
    pairs: Iterable[tuple[bytes, bytes]],
    *,
    matching: str,
    since_job: int,
) -> list[tuple[bytes, bytes]]:
    """The pairs of hashes, the lesser first, that were not compared in this format since a job."""
    wanted = sorted(set(pairs))
    ids = picture_ids(connection, {sha for pair in wanted for sha in pair})
    row = connection.execute("SELECT id FROM versions WHERE name = ?", (matching,)).fetchone()
    if row is None:
        return wanted
    return [
        (a, b)
        for a, b in wanted
        if a not in ids
        or b not in ids
        or connection.execute(
            "SELECT 1 FROM pairs WHERE a = ? AND b = ? AND format = ? AND job >= ?",
            (ids[a], ids[b], row[0], since_job),
        ).fetchone()
        is None
    ]


def picture_ids(connection: sqlite3.Connection, shas: Collection[bytes]) -> dict[bytes, int]:
    """The numbers of pictures."""
    found: dict[bytes, int] = {}
    for some in chunks(sorted(shas)):
        found.update(
            connection.execute(
                f"SELECT sha256, id FROM pictures WHERE sha256 IN ({marks(len(some))})",  # noqa: S608 - placeholders
                some,
            )
        )
    return found


def put_pairs(
    connection: sqlite3.Connection,
    compared: Sequence[Comparison],
    *,
    model_version: str,
    matching: str,
    job: int,
) -> None:
    """Keeps what was found of pairs, in place of what was known of them."""
    if not compared:
        return
    model = version_number(connection, model_version)
    form = version_number(connection, matching)
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


def of_another_model(
    connection: sqlite3.Connection, *, model_version: str, after: tuple[int, int], limit: int
) -> list[tuple[int, int, bytes, bytes, float, bytes]]:
    """Pairs that another model version scored: numbers, points, probability, evidence; in order.

    Pairs of pictures that no image shows any more are left out.
    """
    rows = connection.execute(
        "SELECT a, b, (SELECT min(point) FROM images WHERE picture = a) AS one,"
        " (SELECT min(point) FROM images WHERE picture = b) AS other, probability, evidence"
        " FROM pairs"
        " WHERE (a, b) > (?, ?) AND one IS NOT NULL AND other IS NOT NULL"
        " AND model IN (SELECT id FROM versions WHERE name != ?)"
        " ORDER BY a, b LIMIT ?",
        (*after, model_version, limit),
    )
    return [(a, b, one, other, *rest) for a, b, one, other, *rest in rows]


def rescore(
    connection: sqlite3.Connection,
    scores: Iterable[tuple[int, int, float, bytes]],
    *,
    model_version: str,
) -> None:
    """Gives pairs the probability and the evidence that another model version finds."""
    model = version_number(connection, model_version)
    connection.executemany(
        "UPDATE pairs SET probability = ?, evidence = ?, model = ? WHERE a = ? AND b = ?",
        [(probability, evidence, model, a, b) for a, b, probability, evidence in scores],
    )


def links_of(
    connection: sqlite3.Connection, pictures: Collection[int], *, least: float
) -> set[int]:
    """Pictures that are linked to one of these."""
    found: set[int] = set()
    for some in chunks(sorted(pictures)):
        for here, there in (("a", "b"), ("b", "a")):
            rows = connection.execute(
                f"SELECT {there} FROM pairs WHERE {here} IN ({marks(len(some))})"  # noqa: S608 - constants
                " AND probability >= ?",
                (*some, least),
            )
            found.update(row[0] for row in rows)
    return found


def all_links(connection: sqlite3.Connection, *, least: float) -> Iterator[tuple[int, int]]:
    """All pairs of pictures that are linked."""
    return connection.execute("SELECT a, b FROM pairs WHERE probability >= ?", (least,))


def between(connection: sqlite3.Connection, pictures: Collection[int]) -> list[Pair]:
    """All that was compared between some of these pictures."""
    found = []
    for some in chunks(sorted(pictures)):
        rows = connection.execute(
            "SELECT a, b, probability, share, relation FROM pairs"  # noqa: S608 - placeholders
            f" WHERE a IN ({marks(len(some))})",
            some,
        )
        found += [Pair(*row) for row in rows if row[1] in pictures]
    return found


def verification_of(connection: sqlite3.Connection, a: int, b: int) -> bytes:
    """The message's bytes of what a comparison found."""
    row = connection.execute(
        "SELECT verification FROM pairs WHERE a = ? AND b = ?", (a, b)
    ).fetchone()
    return b"" if row is None or row[0] is None else bytes(row[0])


def images_of(connection: sqlite3.Connection, pictures: Collection[int]) -> dict[int, list[bytes]]:
    """The points that show each picture, ascending."""
    found: dict[int, list[bytes]] = {}
    for some in chunks(sorted(pictures)):
        rows = connection.execute(
            f"SELECT picture, point FROM images WHERE picture IN ({marks(len(some))})"  # noqa: S608 - placeholders
            " ORDER BY picture, point",
            some,
        )
        for picture, point in rows:
            found.setdefault(picture, []).append(point)
    return found


def pictures_of(connection: sqlite3.Connection, points: Collection[bytes]) -> dict[bytes, int]:
    """The picture of each image that is known."""
    found: dict[bytes, int] = {}
    for some in chunks(sorted(points)):
        found.update(
            connection.execute(
                f"SELECT point, picture FROM images WHERE point IN ({marks(len(some))})",  # noqa: S608 - placeholders
                some,
            )
        )
    return found


def shas_of_pictures(connection: sqlite3.Connection, pictures: Collection[int]) -> dict[int, bytes]:
    """The hash of each picture."""
    found: dict[int, bytes] = {}
    for some in chunks(sorted(pictures)):
        found.update(
            connection.execute(
                f"SELECT id, sha256 FROM pictures WHERE id IN ({marks(len(some))})",  # noqa: S608 - placeholders
                some,
            )
        )
    return found


def chunks(values: Sequence[T]) -> Iterator[list[T]]:
    """Values in pieces that one query takes."""
    for start in range(0, len(values), CHUNK):
        yield list(values[start : start + CHUNK])


def unclosed(
    connection: sqlite3.Connection,
    links: Iterable[tuple[int, int]],
    *,
    most: int,
    matching: str,
    since_job: int,
) -> list[tuple[bytes, bytes]]:
    """Pairs that links lead to, through others, and that were not compared.

    What two pictures have to do with each other that are both linked to a third is not left open:
    grouping counts what was compared in vain. Parts of more than `most` pictures are left as they
    are, an ornament's thousands of printings for example.
    """
    forest: Forest[int] = Forest()
    pictures = set()
    for a, b in links:
        pictures |= {a, b}
        forest.join(forest.find(a), forest.find(b))
    parts: dict[int, list[int]] = {}
    for picture in sorted(pictures):
        parts.setdefault(forest.find(picture), []).append(picture)
    shown = images_of(connection, pictures)
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
    return missing(connection, pairs, matching=matching, since_job=since_job)


def drop_older(connection: sqlite3.Connection, *, job: int) -> None:
    """Forgets the pairs that were not compared since a job began."""
    connection.execute("DELETE FROM pairs WHERE job < ?", (job,))


def drop_unseen(connection: sqlite3.Connection) -> None:
    """Forgets the pairs of pictures that no image shows any more."""
    unseen = "SELECT id FROM pictures WHERE NOT EXISTS (SELECT 1 FROM images WHERE picture = id)"
    connection.execute(f"DELETE FROM pairs WHERE a IN ({unseen}) OR b IN ({unseen})")  # noqa: S608 - a constant
    connection.execute(f"DELETE FROM pictures WHERE id IN ({unseen})")  # noqa: S608 - a constant


def points_of(connection: sqlite3.Connection, shas: Collection[bytes]) -> dict[bytes, bytes]:
    """For each picture by its hash, an image that shows it."""
    found: dict[bytes, bytes] = {}
    for some in chunks(sorted(shas)):
        found.update(
            connection.execute(
                "SELECT sha256, min(point) FROM pictures"  # noqa: S608 - placeholders
                " JOIN images ON images.picture = pictures.id"
                f" WHERE sha256 IN ({marks(len(some))}) GROUP BY sha256",
                some,
            )
        )
    return found
