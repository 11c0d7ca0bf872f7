"""Clusters and their members, and how a change regroups what it touches: rows of `cluster_store`.

What a change can touch is what links, verdicts, equal bytes and clusters as they were lead to from
it. That part is grouped anew, all within one transaction; the rest cannot change by it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from halftone.core import telemetry
from halftone.services.search.clusters import chronology, clustering, names, pairs
from halftone.services.search.clusters import verdicts as cluster_verdicts
from halftone.services.search.clusters.clustering import RULES, Compared, Grouped, Grouping, group
from halftone.services.search.clusters.store import marks
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Sequence

    from halftone.services.search.clusters.chronology import Printing

    Describe = Callable[[Sequence[bytes]], dict[bytes, Printing]]
    """What is known of images by their points; those that are gone are left out."""

WHOLE: Final = 0.6
"""Two pictures of which so much is shared are the same picture, cut differently; where less of one
is, it holds more than the other, as a plate or a page does, and links no two others."""
SEEDS: Final = 200
"""Images whose surroundings are regrouped together when everything is."""

_log = telemetry.get_logger(__name__)


class ClusterRow(NamedTuple):
    """A cluster; days as ordinals, times in microseconds."""

    id: str
    size: int
    weakest: float
    create_time: int
    update_time: int
    first: bytes
    journals: tuple[str, ...]
    earliest: int | None
    latest: int | None
    span_years: int


CLUSTER_FIELDS: Final = (
    "id, size, weakest, create_time, update_time, first, journals, earliest, latest, span_years"
)


def cluster_row(row: Sequence[Any]) -> ClusterRow:
    """From the columns of `CLUSTER_FIELDS`."""
    identifier, size, weakest, created, updated, first, journals, *rest = row
    return ClusterRow(
        identifier, size, weakest, created, updated, first, tuple(json.loads(journals)), *rest
    )


@dataclass(slots=True)
class Regrouped:
    """What a regrouping did.

    Attributes:
        points: Images that were looked at.
        changed: Clusters that are new, or other than they were.
        overruled: Verdicts that lost their effect, and those that the one just said keeps from it.
    """

    points: set[bytes] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    overruled: set[int] = field(default_factory=set)


def surroundings(connection: sqlite3.Connection, seeds: Collection[bytes]) -> set[bytes]:
    """All images that links, verdicts, equal bytes and clusters lead to from some."""
    found: set[bytes] = set()
    pictures: set[int] = set()
    frontier = set(seeds)
    while frontier:
        found |= frontier
        reached = set(_in_clusters_with(connection, frontier))
        reached |= cluster_verdicts.held_together(connection, frontier)
        new = set(pairs.pictures_of(connection, frontier).values()) - pictures
        pictures |= new
        linked = pairs.links_of(connection, new, least=RULES.link) | new
        for images in pairs.images_of(connection, linked).values():
            reached.update(images)
        frontier = reached - found
    return found


def regroup(
    connection: sqlite3.Connection,
    seeds: Collection[bytes],
    *,
    describe: Describe,
    said: int | None = None,
    replaced: Collection[bytes] = (),
) -> Regrouped:
    """Groups anew what a change of these images, links or verdicts touches.

    `said` is the verdict that was just said, if that is the change; `replaced` are images that show
    another picture now, which no cluster's id follows there.
    """
    points = surroundings(connection, seeds)
    before = _clusters_of(connection, points)
    grouping, there, overruled = _grouped(
        connection, points, before=before, said=said, replaced=replaced
    )
    changed = _store(connection, grouping, before=before, there=there, describe=describe)
    return Regrouped(points=points, changed=changed, overruled=overruled)


def regroup_all(
    connection: sqlite3.Connection, *, describe: Describe, pause: Callable[[], None] = lambda: None
) -> Regrouped:
    """Groups everything anew, part by part, within the transaction of the connection.

    `pause` is called between parts.
    """
    done = Regrouped()
    seeds: list[bytes] = []
    for seed in _all_seeds(connection):
        if seed in done.points:
            continue
        seeds.append(seed)
        if len(seeds) == SEEDS:
            _add(done, regroup(connection, seeds, describe=describe))
            seeds = []
            pause()
    _add(done, regroup(connection, seeds, describe=describe))
    return done


def _add(done: Regrouped, more: Regrouped) -> None:
    done.points |= more.points
    done.changed |= more.changed


def _all_seeds(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Images of which at least one of each part, and all that are in clusters."""
    linked = {number for pair in pairs.all_links(connection, least=RULES.link) for number in pair}
    for some in pairs.chunks(sorted(linked)):
        for images in pairs.images_of(connection, some).values():
            yield images[0]
    queries = (
        "SELECT min(point) FROM images GROUP BY picture HAVING count(*) > 1",
        "SELECT point_a FROM verdicts WHERE end_time IS NULL ORDER BY point_a",
        "SELECT point FROM members ORDER BY point",
    )
    for query in queries:
        for (point,) in connection.execute(query).fetchall():
            yield point


def _in_clusters_with(connection: sqlite3.Connection, points: Collection[bytes]) -> Iterator[bytes]:
    for some in pairs.chunks(sorted(points)):
        rows = connection.execute(
            "SELECT point FROM members WHERE cluster IN"  # noqa: S608 - placeholders
            f" (SELECT cluster FROM members WHERE point IN ({marks(len(some))}))",
            some,
        )
        for (point,) in rows:
            yield point


def _grouped(
    connection: sqlite3.Connection,
    points: set[bytes],
    *,
    before: dict[str, dict[bytes, float]],
    said: int | None,
    replaced: Collection[bytes],
) -> tuple[Grouping, set[bytes], set[int]]:
    """The groups; those of the images that are in the archive; the verdicts that lose by it."""
    pictures = set(pairs.pictures_of(connection, points).values())
    images = pairs.images_of(connection, pictures)
    there = {point for shown in images.values() for point in shown}
    # One image stands for each picture; those with the same bytes hang on it.
    identical = [(shown[0], other) for shown in images.values() for other in shown[1:]]
    compared = [
        compared_of(pair, a=images[pair.a][0], b=images[pair.b][0])
        for pair in pairs.between(connection, set(images))
    ]
    verdicts = cluster_verdicts.holding(connection, there)
    owned = {each: set(members).difference(replaced) for each, members in before.items()}
    previous, elsewhere = names.previous(connection, owned, points=points)
    grouping = group(
        compared,
        verdicts=verdicts,
        identical=identical,
        previous=previous,
        elsewhere=elsewhere,
        taken=lambda each: names.is_taken(connection, each),
    )
    overruled = [verdict.order for verdict in grouping.contradictions]
    lost = cluster_verdicts.mark_overruled(connection, there, numbers=overruled)
    if said is not None:
        # Said again, as by who had no answer, a verdict overrules what it overruled before.
        others = [verdict for verdict in verdicts if verdict.order != said]
        lost |= set(overruled) - clustering.overruled(others)
    if overruled:
        _log.warning("verdicts_contradict", overruled=overruled)
    return grouping, there, lost


def compared_of(pair: pairs.Pair, *, a: bytes, b: bytes) -> Compared:
    """A pair as it is grouped by."""
    probability = pair.probability
    if pair.relation == search_pb2.Hit.SAME_SCENE:
        # Another exposure is another picture, however alike.
        probability = min(probability, RULES.mean)
    return Compared(a, b, probability, pair.share < WHOLE)


def _clusters_of(
    connection: sqlite3.Connection, points: Collection[bytes]
) -> dict[str, dict[bytes, float]]:
    """The clusters that some images are in, with their members, all of which are among these."""
    found: dict[str, dict[bytes, float]] = {}
    for some in pairs.chunks(sorted(points)):
        rows = connection.execute(
            "SELECT cluster, point, weakest FROM members"  # noqa: S608 - placeholders
            f" WHERE point IN ({marks(len(some))})",
            some,
        )
        for cluster, point, weakest in rows:
            found.setdefault(cluster, {})[point] = weakest
    return found


def _store(
    connection: sqlite3.Connection,
    grouping: Grouping,
    *,
    before: dict[str, dict[bytes, float]],
    there: set[bytes],
    describe: Describe,
) -> set[str]:
    now = time.time_ns() // 1000
    for identifier, successor in grouping.retired.items():
        names.lead(connection, identifier, to=successor, now=now)
    changed = [
        cluster
        for cluster in grouping.clusters
        if before.get(cluster.id) != dict(zip(cluster.members, cluster.weakest_links, strict=True))
    ]
    for cluster in changed:
        members = before.get(cluster.id, {})
        names.change(connection, cluster.id, before=members, members=cluster.members, there=there)
        connection.execute("DELETE FROM members WHERE cluster = ?", (cluster.id,))
    for cluster in changed:
        connection.executemany(
            "INSERT OR REPLACE INTO members (point, cluster, weakest) VALUES (?, ?, ?)",
            [
                (point, cluster.id, weakest)
                for point, weakest in zip(cluster.members, cluster.weakest_links, strict=True)
            ],
        )
    described = describe([point for cluster in changed for point in cluster.members])
    for cluster in changed:
        _put(connection, cluster, described=described, now=now)
    return {cluster.id for cluster in changed}


def _put(
    connection: sqlite3.Connection,
    cluster: Grouped,
    *,
    described: dict[bytes, Printing],
    now: int,
) -> None:
    printings = [described[point] for point in cluster.members if point in described]
    connection.execute(
        "INSERT INTO clusters (id, successor, size, weakest, create_time, update_time, first,"
        " journals, journal_count, span_years) VALUES (?1, '', ?2, ?3, ?4, ?4, ?5, '[]', 0, 0)"
        " ON CONFLICT (id) DO UPDATE SET successor = '', size = ?2, weakest = ?3, update_time = ?4",
        (cluster.id, len(cluster.members), cluster.weakest, now, cluster.members[0]),
    )
    if printings:
        _summarise(connection, cluster.id, printings)


def refresh(
    connection: sqlite3.Connection, points: Collection[bytes], *, describe: Describe
) -> None:
    """Sums clusters up anew in which the records of some images have changed."""
    found = _clusters_of(connection, set(_in_clusters_with(connection, points)))
    described = describe([point for members in found.values() for point in members])
    for identifier, members in found.items():
        printings = [described[point] for point in members if point in described]
        if printings:
            _summarise(connection, identifier, printings)


def _summarise(
    connection: sqlite3.Connection, identifier: str, printings: Sequence[Printing]
) -> None:
    found = chronology.summary(printings)
    connection.execute(
        "UPDATE clusters SET first = ?, journals = ?, journal_count = ?, earliest = ?, latest = ?,"
        " span_years = ? WHERE id = ?",
        (
            found.first,
            json.dumps(found.journals),
            len(found.journals),
            found.earliest,
            found.latest,
            found.span_years,
            identifier,
        ),
    )


def figures(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """How many clusters there are, how many images they hold, and the largest of them."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(max(size), 0) FROM clusters"
        " WHERE successor = ''"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])
