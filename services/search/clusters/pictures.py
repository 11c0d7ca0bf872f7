"""Images and the pictures they show: rows of `images` and `pictures`.

An image is a record of the archive, known by its point; a picture is known by the SHA-256 of its
bytes. Several images may show one picture.
"""

from __future__ import annotations

import itertools
import time
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads
from halftone.services.search.clusters.store import execute_in
from halftone.services.search.store.port import EVERYTHING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection as Values
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.services.search.store.port import Collection, Stored

_PAGE: Final = 500
_READ: Final = 100
"""The number of images that are read from the store at a time. An embedded store holds the
interpreter lock meanwhile: 60 ms for 1,000 images."""
_SETTLED: Final = 2_000
"""The number of pictures whose state changes in one transaction; it takes some 5 ms."""


# Images.


def next_points(connection: sqlite3.Connection, point: bytes) -> list[bytes]:
    """Return the next 500 images after a point, in the order of their points."""
    rows = connection.execute(
        "SELECT point FROM images WHERE point > ? ORDER BY point LIMIT ?", (point, _PAGE)
    )
    return [row[0] for row in rows]


def shas_of(connection: sqlite3.Connection, points: Values[bytes]) -> dict[bytes, bytes]:
    """Return the hash of the picture that each image shows. Unknown images are left out."""
    return dict(
        execute_in(
            connection,
            "SELECT point, sha256 FROM images JOIN pictures ON pictures.id = images.picture"
            " WHERE point IN ({values})",
            points,
        )
    )


def pictures_of(connection: sqlite3.Connection, points: Values[bytes]) -> dict[bytes, int]:
    """Return the number of the picture that each image shows. Unknown images are left out."""
    return dict(
        execute_in(
            connection, "SELECT point, picture FROM images WHERE point IN ({values})", points
        )
    )


def images_of(connection: sqlite3.Connection, pictures: Values[int]) -> dict[int, list[bytes]]:
    """Return the points of the images that show each picture, in ascending order.

    Pictures that no image shows are left out.
    """
    images: dict[int, list[bytes]] = {}
    rows = execute_in(
        connection,
        "SELECT picture, point FROM images WHERE picture IN ({values}) ORDER BY picture, point",
        pictures,
    )
    for picture, point in rows:
        images.setdefault(picture, []).append(point)
    return images


def points_of(connection: sqlite3.Connection, shas: Values[bytes]) -> dict[bytes, bytes]:
    """Return for each hash the first image that shows its picture."""
    return dict(
        execute_in(
            connection,
            "SELECT sha256, min(point) FROM pictures"
            " JOIN images ON images.picture = pictures.id"
            " WHERE sha256 IN ({values}) GROUP BY sha256",
            shas,
        )
    )


class Place(NamedTuple):
    """Where an image stands: the point of its page, and x, y, width and height if that is known.

    The page need not be in the archive.
    """

    page: bytes
    region: tuple[int, ...] | None = None


def places_of(connection: sqlite3.Connection, points: Values[bytes]) -> dict[bytes, Place]:
    """Return where each image stands. Images that stand on no page are left out."""
    rows = execute_in(
        connection,
        "SELECT point, page, place FROM images WHERE page IS NOT NULL AND point IN ({values})",
        points,
    )
    return {
        point: Place(page, tuple(map(int, place.split(","))) if place else None)
        for point, page, place in rows
    }


def are_one_printing(a: bytes, b: bytes, *, places: Mapping[bytes, Place]) -> bool:
    """Return whether an image is the page of another, or both are one place on a page.

    Args:
        a: The point of the one.
        b: The point of the other.
        places: Where each image stands that stands on a page.
    """
    one, other = places.get(a), places.get(b)
    if (one and one.page == b) or (other and other.page == a):
        return True
    if one is None or other is None or one.page != other.page:
        return False
    return bool(one.region and other.region and payloads.are_nested(one.region, other.region))


def find_nested(places: Mapping[bytes, Place]) -> list[tuple[bytes, bytes]]:
    """Return the pairs of images that are one place on a page."""
    on: dict[bytes, list[bytes]] = {}
    for point, place in places.items():
        on.setdefault(place.page, []).append(point)
    return [
        (a, b)
        for points in on.values()
        for a, b in itertools.combinations(sorted(points), 2)
        if are_one_printing(a, b, places=places)
    ]


def find_pages(connection: sqlite3.Connection, points: Values[bytes]) -> set[bytes]:
    """Return those of the images on which others stand: pages with picture records."""
    rows = execute_in(
        connection, "SELECT DISTINCT page FROM images WHERE page IN ({values})", points
    )
    return {page for (page,) in rows}


def put_images(
    connection: sqlite3.Connection,
    images: Iterable[tuple[bytes, bytes]],
    *,
    places: Mapping[bytes, Place] | None = None,
) -> None:
    """Store which picture each image shows.

    Args:
        connection: The connection to write with.
        images: The point and SHA-256 of each image.
        places: Where each image stands; the others stand on no page.
    """
    places = places or {}
    images = list(images)
    connection.executemany(
        "INSERT OR IGNORE INTO pictures (sha256) VALUES (?)", [(sha,) for _, sha in images]
    )
    # The picture that an image showed before may have no image any more.
    _forget_searches(connection, [point for point, _ in images], keep=dict(images))
    connection.executemany(
        "INSERT OR REPLACE INTO images (point, picture, page, place)"
        " VALUES (?, (SELECT id FROM pictures WHERE sha256 = ?), ?, ?)",
        [(point, sha, *_to_columns(places.get(point))) for point, sha in images],
    )


def _to_columns(place: Place | None) -> tuple[bytes | None, str | None]:
    if place is None:
        return None, None
    return place.page, ",".join(map(str, place.region)) if place.region else None


def drop_images(connection: sqlite3.Connection, points: Sequence[bytes]) -> None:
    """Delete images that left the archive. The comparisons of their pictures stay."""
    _forget_searches(connection, points, keep={})
    execute_in(connection, "DELETE FROM images WHERE point IN ({values})", points)


def _forget_searches(
    connection: sqlite3.Connection, points: Sequence[bytes], *, keep: dict[bytes, bytes]
) -> None:
    """Mark pictures that lose their last image to be searched for again if they return.

    Images imported until then do not find them. `keep` has the pictures that the images show from
    now on.
    """
    changed = [
        (sha,) for point, sha in shas_of(connection, points).items() if keep.get(point) != sha
    ]
    connection.executemany(
        "UPDATE pictures SET searched = 0, grouped = 0 WHERE sha256 = ?1 AND"
        " (SELECT count(*) FROM images WHERE picture = pictures.id) <= 1",
        changed,
    )


# Pictures.


def picture_ids(connection: sqlite3.Connection, shas: Values[bytes]) -> dict[bytes, int]:
    """Return the numbers of pictures by their hashes."""
    return dict(
        execute_in(connection, "SELECT sha256, id FROM pictures WHERE sha256 IN ({values})", shas)
    )


def shas_of_pictures(connection: sqlite3.Connection, pictures: Values[int]) -> dict[int, bytes]:
    """Return the hashes of pictures by their numbers."""
    return dict(
        execute_in(connection, "SELECT id, sha256 FROM pictures WHERE id IN ({values})", pictures)
    )


# What was searched for and grouped.


def search_again(connection: sqlite3.Connection, shas: Iterable[bytes]) -> None:
    """Mark pictures to be searched for again."""
    connection.executemany(
        "UPDATE pictures SET searched = 0, grouped = 0 WHERE sha256 = ?", [(sha,) for sha in shas]
    )


def next_to_search(
    connection: sqlite3.Connection, *, job: int | None, limit: int
) -> list[tuple[bytes, bytes]]:
    """Return pictures whose candidates still have to be looked for.

    Args:
        connection: The connection to read with.
        job: Return pictures that this job has not searched for yet. None, without a job, returns
            pictures that were in no grouping yet.
        limit: The most pictures to return.

    Returns:
        For each picture an image that shows it and its hash. Pictures whose last search is the
        longest ago come first.
    """
    condition, values = ("grouped = 0", []) if job is None else ("searched < ?", [job])
    rows = connection.execute(
        "SELECT (SELECT min(point) FROM images WHERE picture = pictures.id) AS shown, sha256"  # noqa: S608 - constants
        f" FROM pictures WHERE {condition} AND shown IS NOT NULL"
        " ORDER BY searched, id LIMIT ?",
        (*values, limit),
    )
    return [(point, sha) for point, sha in rows]


def count_searched(connection: sqlite3.Connection, *, job: int) -> tuple[int, int]:
    """Return the number of images, and how many of them have a picture `job` has searched for.

    Searches of later jobs count, too.
    """
    (images,) = connection.execute("SELECT count(*) FROM images").fetchone()
    (left,) = connection.execute(
        "SELECT count(*) FROM images JOIN pictures ON pictures.id = images.picture"
        " WHERE searched < ?",
        (job,),
    ).fetchone()
    return int(images), int(images - left)


def mark_searched(connection: sqlite3.Connection, shas: Iterable[bytes], *, job: int) -> None:
    """Mark pictures whose candidates a job has looked for.

    Once the job has succeeded, `settle_some` marks them as grouped.
    """
    connection.executemany(
        "UPDATE pictures SET searched = ? WHERE sha256 = ?", [(job, sha) for sha in shas]
    )


def mark_joined(connection: sqlite3.Connection, shas: Iterable[bytes], *, job: int) -> None:
    """Mark pictures that were searched for and grouped without a job.

    Args:
        connection: The connection to write with.
        shas: The hashes of the pictures.
        job: The number of the last job before. Later jobs search for the pictures again.
    """
    connection.executemany(
        "UPDATE pictures SET searched = ?, grouped = 1 WHERE sha256 = ?",
        [(job, sha) for sha in shas],
    )


def settle_some(connection: sqlite3.Connection, *, succeeded: int) -> bool:
    """Mark up to 2,000 pictures as grouped, because their job has succeeded.

    Args:
        connection: The connection to write with.
        succeeded: The state of a job that succeeded.

    Returns:
        Whether more pictures may be left.
    """
    cursor = connection.execute(
        "UPDATE pictures SET grouped = 1 WHERE id IN (SELECT id FROM pictures WHERE grouped = 0"
        " AND searched IN (SELECT number FROM jobs WHERE state = ?) LIMIT ?)",
        (succeeded, _SETTLED),
    )
    return cursor.rowcount == _SETTLED


def find_unseen(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the pictures that no image shows any more."""
    rows = connection.execute(
        "SELECT id FROM pictures"
        " WHERE NOT EXISTS (SELECT 1 FROM images WHERE picture = pictures.id)"
    )
    return [number for (number,) in rows]


# What differs from the archive.


def find_differing(
    database: Database | DatabaseElsewhere, collection: Collection
) -> Iterator[set[bytes]]:
    """Yield the images on which a collection and the table `images` differ, in sets of points.

    The caller must update the table for each set before it asks for the next one. A set may be
    empty.

    First the collection is read. The sets then have the images that are missing in the table, or
    that show another picture or stand on another page there. If the table holds other images than
    the collection afterwards, the table is read, too. The sets then have the images that are no
    longer in the collection. Both are read in pieces, to save memory.
    """
    scan = collection.scan(filter=EVERYTHING, page=_READ)
    # Points are hashes, so other images have another sum. A count would not do: an image that is
    # stored again meanwhile comes twice, and one that is deleted again is gone.
    seen = 0
    while some := {each.id.bytes: each for each in itertools.islice(scan, _PAGE)}:
        seen += _sum(some)
        with database.read() as connection:
            known, places = shas_of(connection, list(some)), places_of(connection, list(some))
        yield {
            point
            for point, each in some.items()
            if (known.get(point), places.get(point)) != (sha_of(each), place_of(each))
        }
        pause()
    if sum(map(_sum, _list_points(database))) != seen:
        for points in _list_points(database):
            there = collection.retrieve([uuid.UUID(bytes=point) for point in points])
            yield {point for point in points if uuid.UUID(bytes=point) not in there}


def _list_points(database: Database | DatabaseElsewhere) -> Iterator[list[bytes]]:
    """Yield the images of the table `images`, in lists of points."""
    points = [b""]
    while True:
        with database.read() as connection:
            points = next_points(connection, points[-1])
        if not points:
            return
        yield points
        pause()


def _sum(points: Iterable[bytes]) -> int:
    return sum(int.from_bytes(point, "big") for point in points)


def sha_of(stored: Stored) -> bytes:
    """Return the SHA-256 of the picture that an image shows."""
    return bytes.fromhex(stored.payload["sha256"])


def place_of(stored: Stored) -> Place | None:
    """Return where an image stands; None if its record names no page."""
    page = lookups.find_page_id(stored.payload)
    region = stored.payload.get("page_region")
    return Place(page.bytes, tuple(region) if region else None) if page else None


def pause() -> None:
    """Let other threads run."""
    time.sleep(0.001)
