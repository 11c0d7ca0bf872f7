"""Reads and writes clusters and their members, and regroups the images that a change affects.

A change can affect only the images that links, verdicts, equal bytes and the present clusters
connect to it. That part of the archive is grouped again in one transaction. `regrouping` does the
same for the whole archive.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from halftone.core import telemetry
from halftone.services.search.clusters import chronology, grouping, names, pairs, pictures
from halftone.services.search.clusters import verdicts as cluster_verdicts
from halftone.services.search.clusters.grouping import RULES, ComparedPair, Group
from halftone.services.search.clusters.staging import Changes, Staging
from halftone.services.search.clusters.store import execute_in
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from halftone.services.search.clusters.chronology import DatedPrinting

    Describe = Callable[[Sequence[bytes]], dict[bytes, DatedPrinting]]
    """Returns the dated printing of each image, by its point. Deleted images are left out."""

WHOLE: Final = 0.6
"""Two pictures that have at least this share in common are the same picture, cut differently. With
a smaller share, one of them shows more than the other, as a plate or a page does. Such a pair is a
partial link, which never chains other pictures together."""

_log = telemetry.get_logger(__name__)


class ClusterRow(NamedTuple):
    """A cluster. Days are ordinals, times are in microseconds."""

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
    undated: int


CLUSTER_FIELDS: Final = ", ".join(ClusterRow._fields)


def cluster_row(row: Sequence[Any]) -> ClusterRow:
    """Convert a row with the columns `CLUSTER_FIELDS`."""
    identifier, size, weakest, created, updated, first, journals, *rest = row
    return ClusterRow(
        identifier, size, weakest, created, updated, first, tuple(json.loads(journals)), *rest
    )


@dataclass(slots=True, kw_only=True)
class RegroupResult:
    """The result of a regrouping.

    Attributes:
        points: The images that were grouped again.
        changed: The ids of the clusters that are new or have changed.
        overruled: The numbers of the verdicts that were overruled. If a verdict was just given
            (`said`), it includes all verdicts that this one overrules.
    """

    points: set[bytes] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    overruled: set[int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The planned grouping of some images.

    Attributes:
        points: The images.
        changes: The changes to store.
        overruled: As in `RegroupResult`.
        bonds: Lists of images that depend on each other: they are linked, were judged to be the
            same, have the same bytes, or are or were under the same id. Images that no bonds
            connect are grouped independently.
    """

    points: set[bytes]
    changes: Changes
    overruled: set[int]
    bonds: list[list[bytes]]


def find_surroundings(
    connection: sqlite3.Connection,
    seeds: Collection[bytes],
    *,
    since_job: int | None = None,
    ids: bool = False,
) -> set[bytes]:
    """Return all images that links, SAME verdicts, equal bytes and clusters connect to `seeds`.

    Args:
        connection: The connection to read with.
        seeds: The images to start from. They are part of the result.
        since_job: Count only links whose pair was compared by this job or later; None means all
            links above the floor (see `pairs`).
        ids: Whether images are also connected if they are or were under one id.
    """
    least = pairs.floor(connection) if since_job is None else since_job
    reached: set[bytes] = set()
    seen: set[int] = set()
    frontier = set(seeds)
    while frontier:
        reached |= frontier
        if ids:
            near = names.find_sharing_ids(connection, frontier)
        else:
            near = set(_in_clusters_with(connection, frontier))
        near |= cluster_verdicts.find_bound(connection, frontier)
        new = set(pictures.pictures_of(connection, frontier).values()) - seen
        seen |= new
        linked = pairs.links_of(connection, new, least=RULES.link, since_job=least) | new
        for images in pictures.images_of(connection, linked).values():
            near.update(images)
        frontier = near - reached
    return reached


def regroup(
    connection: sqlite3.Connection,
    seeds: Collection[bytes],
    *,
    describe: Describe,
    said: int | None = None,
    replaced: Collection[bytes] = (),
) -> RegroupResult:
    """Group the images again that a change affects, within the transaction of the connection.

    Args:
        connection: The writing connection.
        seeds: The images that changed, or whose links or verdicts did.
        describe: Returns the dated printing of each image, for the summaries.
        said: The number of the verdict that was just given, if that is the change.
        replaced: Images that show another picture now. The id of their old cluster stays with its
            other images.
    """
    points = find_surroundings(connection, seeds)
    planned = plan(connection, points, describe=describe, said=said, replaced=replaced)
    staging = Staging(name="part")
    staging.begin(connection)
    staging.put(connection, planned.changes)
    staging.store(connection, now=time.time_ns() // 1000)
    return RegroupResult(
        points=points,
        changed={row[1] for row in planned.changes.clusters},
        overruled=planned.overruled,
    )


def all_seeds(connection: sqlite3.Connection, *, since_job: int | None = None) -> Iterator[bytes]:
    """Yield at least one image of each part of the archive that may be in a cluster.

    Args:
        connection: The connection to read with.
        since_job: As in `find_surroundings`.
    """
    least = pairs.floor(connection) if since_job is None else since_job
    links = pairs.all_links(connection, least=RULES.link, since_job=least)
    linked = {number for pair in links for number in pair}
    for images in pictures.images_of(connection, linked).values():
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
    rows = execute_in(
        connection,
        "SELECT point FROM members WHERE cluster IN"
        " (SELECT cluster FROM members WHERE point IN ({values}))",
        points,
    )
    return (point for (point,) in rows)


def plan(
    connection: sqlite3.Connection,
    points: set[bytes],
    *,
    describe: Describe,
    since_job: int | None = None,
    said: int | None = None,
    replaced: Collection[bytes] = (),
    taken: Collection[str] = (),
) -> Plan:
    """Group images and return the changes to store. This only reads.

    Args:
        connection: The connection to read with.
        points: The images, with all their surroundings.
        describe: Returns the dated printing of each image, for the summaries.
        since_job: As in `find_surroundings`.
        said: As in `regroup`.
        replaced: As in `regroup`.
        taken: Ids that must not be used for new clusters, besides the ids in the file.
    """
    before = _clusters_of(connection, points)
    images = pictures.images_of(connection, set(pictures.pictures_of(connection, points).values()))
    there = {point for shown in images.values() for point in shown}
    # One image represents each picture; those with the same bytes are tied to it.
    identical = [(shown[0], other) for shown in images.values() for other in shown[1:]]
    least = pairs.floor(connection) if since_job is None else since_job
    rows = pairs.read_between(connection, set(images), since_job=least)
    verdicts = cluster_verdicts.list_holding(connection, there)
    owned = {each: set(members).difference(replaced) for each, members in before.items()}
    previous, elsewhere = names.read_previous(connection, owned, points=points)
    places = pictures.places_of(connection, there)
    result = grouping.group(
        [compared_pair(row, a=images[row.a][0], b=images[row.b][0]) for row in rows],
        verdicts=verdicts,
        identical=identical,
        pages={image: place.page for image, place in places.items() if place.page in there},
        nested=pictures.find_nested(places),
        previous=previous,
        elsewhere=elsewhere,
        taken=lambda each: each in taken or names.is_taken(connection, each),
    )
    overruled = {verdict.order for verdict in result.contradictions}
    if overruled:
        _log.warning("verdicts_contradict", overruled=sorted(overruled))
    changes = Changes(
        overruled=cluster_verdicts.find_changed_effects(connection, there, overruled=overruled)
    )
    lost = {number for _, number, is_overruled in changes.overruled if is_overruled}
    if said is not None:
        # Repeating a verdict has the same effect as saying it once, also for the answer.
        others = [verdict for verdict in verdicts if verdict.order != said]
        lost |= overruled - grouping.overruled_orders(others)
    images_of_ids = {each.id: sorted({*before.get(each.id, ()), *each.former}) for each in previous}
    changes.ended = [
        (images_of_ids[identifier][0], identifier, successor)
        for identifier, successor in result.retired.items()
    ]
    _add_clusters(
        changes,
        result.clusters,
        before=before,
        outdated=_find_outdated(connection, before),
        there=there,
        describe=describe,
    )
    links = [
        [images[row.a][0], images[row.b][0]] for row in rows if grouping.is_link(row.probability)
    ]
    same = [[verdict.a, verdict.b] for verdict in verdicts if verdict.same]
    bonds = [*links, *same, *map(list, identical), *images_of_ids.values()]
    return Plan(points=points, changes=changes, overruled=lost, bonds=bonds)


def compared_pair(pair: pairs.PairRow, *, a: bytes, b: bytes) -> ComparedPair:
    """Convert a compared pair of pictures to the pair of images that grouping takes.

    Args:
        pair: The pair of pictures.
        a: The point of an image that shows the first picture.
        b: The point of an image that shows the second picture.
    """
    probability = pair.probability
    if pair.relation == search_pb2.Hit.SAME_SCENE:
        # Another exposure is another picture, however similar.
        probability = min(probability, RULES.mean)
    return ComparedPair(a, b, probability, pair.share < WHOLE)


def _clusters_of(
    connection: sqlite3.Connection, points: Collection[bytes]
) -> dict[str, dict[bytes, float]]:
    """Return the clusters of `points`, each with the weakest links of its members among them."""
    clusters: dict[str, dict[bytes, float]] = {}
    rows = execute_in(
        connection, "SELECT cluster, point, weakest FROM members WHERE point IN ({values})", points
    )
    for cluster, point, weakest in rows:
        clusters.setdefault(cluster, {})[point] = weakest
    return clusters


def _find_outdated(connection: sqlite3.Connection, clusters: Iterable[str]) -> set[str]:
    """Return the ids of the clusters whose summaries an earlier release made."""
    rows = execute_in(
        connection,
        "SELECT id FROM clusters WHERE undated IS NULL AND id IN ({values})",
        list(clusters),
    )
    return {identifier for (identifier,) in rows}


def _add_clusters(
    changes: Changes,
    clusters: Sequence[Group],
    *,
    before: Mapping[str, dict[bytes, float]],
    outdated: set[str],
    there: set[bytes],
    describe: Describe,
) -> None:
    """Add to `changes` the clusters that differ from the stored clusters, `before`.

    Clusters whose ids are `outdated` get new summaries.
    """
    changed = [
        cluster
        for cluster in clusters
        if cluster.id in outdated
        or before.get(cluster.id) != dict(zip(cluster.members, cluster.weakest_links, strict=True))
    ]
    described = describe([point for cluster in changed for point in cluster.members])
    for cluster in changed:
        first, identifier = cluster.members[0], cluster.id
        had, has = set(before.get(identifier, ())), set(cluster.members)
        changes.left_archive += [(first, point, identifier) for point in sorted(had - has - there)]
        changes.came += [(first, point, identifier) for point in sorted(has - had)]
        changes.members += [
            (first, point, identifier, weakest)
            for point, weakest in zip(cluster.members, cluster.weakest_links, strict=True)
        ]
        printings = [described[point] for point in cluster.members if point in described]
        summary = _summary(printings) if printings else (first, *[None] * 6)
        changes.clusters.append((first, identifier, len(has), cluster.weakest, *summary))


def _summary(
    printings: Sequence[DatedPrinting],
) -> tuple[bytes, str, int, int | None, int | None, int, int]:
    """Return the columns of `clusters` that summarise its printings."""
    summary = chronology.summarise(printings)
    return (
        summary.first,
        json.dumps(summary.journals),
        len(summary.journals),
        summary.earliest,
        summary.latest,
        summary.span_years,
        summary.undated,
    )


def refresh(
    connection: sqlite3.Connection, points: Collection[bytes], *, describe: Describe
) -> None:
    """Write new summaries of clusters, because the records of images have changed.

    Args:
        connection: The writing connection.
        points: The changed images.
        describe: Returns the dated printing of each image. A cluster stays as it is if none of its
            images is returned.
    """
    clusters = _clusters_of(connection, set(_in_clusters_with(connection, points)))
    described = describe([point for members in clusters.values() for point in members])
    for identifier, members in clusters.items():
        printings = [described[point] for point in members if point in described]
        if printings:
            connection.execute(
                "UPDATE clusters SET first = ?, journals = ?, journal_count = ?, earliest = ?,"
                " latest = ?, span_years = ?, undated = ? WHERE id = ?",
                (*_summary(printings), identifier),
            )


def count_clusters(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return how many clusters there are, how many images they hold, and the largest size."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(max(size), 0) FROM clusters"
        " WHERE end_time IS NULL"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])
