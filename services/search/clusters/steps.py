"""The steps of the worker. Each step reads, compares or writes, and blocks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, TypeGuard

from halftone.core.batches import batched
from halftone.services.search.clusters import compare, groups, jobs, names, pictures
from halftone.services.search.clusters import pairs as cluster_pairs
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.grouping import RULES
from halftone.services.search.clusters.jobs import State
from halftone.services.search.clusters.pictures import Place, pause
from halftone.services.search.clusters.regrouping import WholeRegrouping
from halftone.services.search.clusters.store import CHUNK

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from halftone.core import errors
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.clusters.compare import Comparer
    from halftone.services.search.clusters.jobs import JobRow
    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.services.search.store.port import Collection, Stored

    Pairs = Sequence[tuple[bytes, bytes]]

_CHANGES: Final = 500
"""The number of pairs that are rescored, or of images that are checked, at a time."""
_MOVED: Final = 0.01
"""Images are not regrouped if a probability changes by less and makes or breaks no link."""
_CLOSED: Final = 64
"""In a part with at most this many linked pictures, every two of them are compared."""


class ClusterSteps:
    """The work on the file, the store and the pictures, one method per step."""

    def __init__(
        self, parts: Parts, *, database: Database | DatabaseElsewhere, comparer: Comparer
    ) -> None:
        self._database = database
        self._holdings = parts.holdings
        self._comparer = comparer
        self._traffic = parts.traffic
        self._pairs = parts.metrics.counter(
            "cluster_pairs_total", "Pairs of pictures that were compared for clusters"
        )

    def describe(self, points: Sequence[bytes]) -> dict[bytes, DatedPrinting]:
        """Return the dated printing of each image. Deleted images are left out. Blocks."""
        found: dict[bytes, DatedPrinting] = {}
        for some in batched(points, CHUNK):
            there = self._holdings.collection.retrieve([uuid.UUID(bytes=each) for each in some])
            for stored in there.values():
                found[stored.id.bytes] = DatedPrinting.of(stored.id.bytes, stored.payload)
        return found

    def fail(self, error: errors.HalftoneError) -> None:
        """Fail the running job, if there is one."""
        with self._database.write() as connection:
            job = jobs.get_running(connection)
            if job is not None:
                jobs.end(connection, job.number, state=State.FAILED, error=error.message)

    def read_mode(self) -> tuple[JobRow | None, bool]:
        """Return the running job or None, and whether imported images join clusters."""
        with self._database.read() as connection:
            job = jobs.get_running(connection)
            return job, job is not None or jobs.any_succeeded(connection)

    def find_differing(self, collection: Collection) -> Iterator[set[bytes]]:
        """Yield the images on which a collection and the file differ; see `pictures`."""
        return pictures.find_differing(self._database, collection)

    def apply_changes(
        self,
        points: Sequence[bytes],
        shas: dict[bytes, bytes],
        *,
        places: dict[bytes, Place] | None = None,
        enabled: bool,
    ) -> None:
        """Update the table `images` for changed images and regroup the images that this affects.

        Args:
            points: The changed images.
            shas: The hash of the picture that each image shows now, without deleted images.
            places: Where each image stands now, without those that stand on no page.
            enabled: Whether to add images that are not in the table yet.
        """
        with self._database.write() as connection:
            places = places or {}
            known = pictures.shas_of(connection, points)
            before = pictures.places_of(connection, points)
            gone = [point for point in known if point not in shas]
            same = [
                point
                for point, sha in shas.items()
                if (known.get(point), before.get(point)) == (sha, places.get(point))
            ]
            new = {
                point: sha
                for point, sha in shas.items()
                if point not in same and (enabled or point in known)
            }
            if gone:
                pictures.drop_images(connection, gone)
            if new:
                pictures.put_images(connection, new.items(), places=places)
                # It was not compared with what was one printing with it before.
                pictures.search_again(connection, [new[point] for point in new if point in before])
            if gone or new:
                # An image that shows another picture now does not take its cluster's id along.
                replaced = [point for point, sha in new.items() if known.get(point, sha) != sha]
                names.forget(connection, replaced)
                # Images with the same bytes belong together without a search.
                groups.regroup(connection, [*gone, *new], describe=self.describe, replaced=replaced)
                names.forget(connection, replaced)
            if same:
                groups.refresh(connection, same, describe=self.describe)

    def next_to_search(self, job: JobRow | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pictures whose candidates still have to be looked for.

        Args:
            job: Return pictures that this job has not searched for yet. None, without a job,
                returns pictures that were in no grouping yet.
            limit: The most pictures to return.

        Returns:
            For each picture an image that shows it and its hash.
        """
        with self._database.read() as connection:
            number = None if job is None else job.number
            return pictures.next_to_search(connection, job=number, limit=limit)

    def read_shas(self, points: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the hash of the picture that each image shows; unknown images are left out."""
        # Images that are not known yet will find this one when it is their turn.
        with self._database.read() as connection:
            return pictures.shas_of(connection, points)

    def read_places(self, points: Sequence[bytes]) -> dict[bytes, Place]:
        """Return where each image stands; images that stand on no page are left out."""
        with self._database.read() as connection:
            return pictures.places_of(connection, points)

    def find_missing(self, pairs: Iterable[tuple[bytes, bytes]], since: int) -> Pairs:
        """Return the pairs of hashes that were not compared by the job `since` or a later one."""
        with self._database.read() as connection:
            return cluster_pairs.find_missing(
                connection, pairs, matching=self._comparer.matching, since_job=since
            )

    def is_over(self, job: int) -> bool:
        """Return whether a job has ended."""
        with self._database.read() as connection:
            return not jobs.is_running(connection, job)

    def compare_some(self, pairs: Pairs, collection: Collection, job: int) -> int:
        """Compare pairs of pictures and store the results.

        Args:
            pairs: Pairs of hashes, the lesser one first.
            collection: The collection from which the vectors are read.
            job: The number of the job that needs them; 0 if it was an import.

        Returns:
            The number of pairs that could be compared.
        """
        with self._database.read() as connection:
            shown = pictures.points_of(connection, {sha for pair in pairs for sha in pair})
        stored = collection.retrieve(
            [uuid.UUID(bytes=point) for point in shown.values()], vectors=True
        )
        sides = {
            sha: compare.Side(sha=sha, stored=stored[uuid.UUID(bytes=point)])
            for sha, point in shown.items()
            if _shows(stored.get(uuid.UUID(bytes=point)), sha)
        }
        version = collection.model_version
        compared = self._comparer.compare(
            [(sides[a], sides[b]) for a, b in pairs if a in sides and b in sides],
            model_version=version,
            alone=self._traffic.is_recent(),
        )
        with self._database.write() as connection:
            cluster_pairs.put_pairs(
                connection,
                compared,
                model_version=version,
                matching=self._comparer.matching,
                job=job,
            )
        self._pairs.inc(len(compared))
        return len(compared)

    def mark_searched(self, shown: Pairs, *, job: JobRow, found: int, compared: int) -> None:
        """Mark pictures that a job has searched for.

        Args:
            shown: The point and hash of each picture.
            job: The job. If it has ended, nothing is marked.
            found: The number of pairs that had to be compared for these pictures.
            compared: The number of these pairs that could be compared.
        """
        with self._database.write() as connection:
            if not jobs.is_running(connection, job.number):
                return
            pictures.mark_searched(connection, [sha for _, sha in shown], job=job.number)
            now = jobs.get(connection, job.name)
            jobs.progress(
                connection, job.number, found=now.found + found, compared=now.compared + compared
            )

    def find_unclosed(self, points: Sequence[bytes]) -> Pairs:
        """Return the pairs to compare because links connect them through other pictures.

        Only the surroundings of the images `points` are looked at.
        """
        with self._database.read() as connection:
            near = groups.find_surroundings(connection, points)
            near_pictures = set(pictures.pictures_of(connection, near).values())
            compared = cluster_pairs.read_between(
                connection, near_pictures, since_job=cluster_pairs.floor(connection)
            )
            links = [(pair.a, pair.b) for pair in compared if pair.probability >= RULES.link]
            return self._find_to_close(connection, links, since=0)

    def _find_to_close(
        self, connection: sqlite3.Connection, links: Iterable[tuple[int, int]], *, since: int
    ) -> Pairs:
        """Return the pairs that links connect through other pictures and that were not compared.

        Pages with picture records do not connect what is printed on them.
        """
        return cluster_pairs.find_unclosed(
            connection, links, most=_CLOSED, matching=self._comparer.matching, since_job=since
        )

    def join(self, shown: Pairs) -> None:
        """Mark pictures as searched for, and regroup their images in the same transaction.

        Args:
            shown: The point and hash of each picture.
        """
        with self._database.write() as connection:
            last = jobs.list_jobs(connection, before=None, limit=1)
            # A job that began meanwhile searches for them itself.
            number = last[0].number - int(last[0].state == State.RUNNING) if last else 1
            pictures.mark_joined(connection, [sha for _, sha in shown], job=number)
            seeds = pictures.points_of(connection, {sha for _, sha in shown})
            groups.regroup(connection, list(seeds.values()), describe=self.describe)

    def find_all_unclosed(self, since: int) -> Pairs:
        """Return all pairs that links connect through other pictures and that were not compared.

        Comparisons by jobs before `since` do not count.
        """
        with self._database.read() as connection:
            links = cluster_pairs.all_links(
                connection, least=RULES.link, since_job=cluster_pairs.floor(connection)
            )
            return self._find_to_close(connection, links, since=since)

    def rescore_some(
        self, collection: Collection, after: tuple[int, int], *, regroup: bool
    ) -> tuple[int, int] | None:
        """Give the next pairs the probability of the collection's model version.

        Args:
            collection: The active collection.
            after: The pair after which to start.
            regroup: Whether to regroup the affected images in the same transaction. A job regroups
                everything at its end instead.

        Returns:
            The last pair that was handled; None if none was left.
        """
        version = collection.model_version
        with self._database.read() as connection:
            rows = cluster_pairs.next_of_another_model(
                connection, model_version=version, after=after, limit=_CHANGES
            )
            shas = pictures.shas_of_pictures(connection, {each for row in rows for each in row[:2]})
        if not rows:
            return None
        ids = {uuid.UUID(bytes=point) for row in rows for point in row[2:4]}
        stored = collection.retrieve(list(ids), vectors=True)
        seen: list[tuple[int, int, bytes, float]] = []
        known: list[tuple[bytes, float | None]] = []
        for a, b, one, other, probability, evidence in rows:
            first, second = (stored.get(uuid.UUID(bytes=point)) for point in (one, other))
            # If a picture was deleted meanwhile, the pair keeps its score.
            if _shows(first, shas[a]) and _shows(second, shas[b]):
                seen.append((a, b, one, probability))
                known.append((evidence, compare.compute_similarity(first, second)))
        scores = self._comparer.rescore(known, model_version=version) if known else []
        with self._database.write() as connection:
            cluster_pairs.rescore(
                connection,
                [(*pair[:2], *score) for pair, score in zip(seen, scores, strict=True)],
                model_version=version,
            )
            moved = {
                point
                for (_, _, point, before), (after, *_) in zip(seen, scores, strict=True)
                if abs(before - after) > _MOVED or (before >= RULES.link) != (after >= RULES.link)
            }
            if regroup and moved:
                groups.regroup(connection, moved, describe=self.describe)
        return rows[-1][:2]

    def regroup_all(self, job: JobRow, found: int, compared: int) -> JobRow | None:
        """Group the whole archive and end the job.

        Args:
            job: The job.
            found: The number of pairs that had to be compared since the job's row was written.
            compared: The number of these pairs that could be compared.

        Returns:
            The ended job. None if it was cancelled or has more to search for.
        """

        def finish(connection: sqlite3.Connection) -> JobRow:
            if job.from_scratch:
                # Pairs that are no candidates any more were not compared again.
                cluster_pairs.raise_floor(connection, job=job.number)
            now = jobs.get(connection, job.name)
            clusters, clustered, largest = groups.count_clusters(connection)
            images, searched = pictures.count_searched(connection, job=job.number)
            jobs.progress(
                connection,
                job.number,
                found=now.found + found,
                compared=now.compared + compared,
                clusters=clusters,
                clustered=clustered,
                largest=largest,
                images=images,
                searched=searched,
                model_version=self._holdings.collection.model_version,
            )
            return jobs.end(connection, job.number, state=State.SUCCEEDED)

        with self._database.read() as connection:
            if not jobs.is_running(connection, job.number):
                return None
            if pictures.next_to_search(connection, job=job.number, limit=1):
                # Images were imported meanwhile, so the job continues.
                return None
        whole = WholeRegrouping(
            self._database,
            describe=self.describe,
            is_wanted=lambda connection: jobs.is_running(connection, job.number),
            since_job=job.number if job.from_scratch else None,
        )
        ended = whole.run(finish)
        if ended is not None:
            self.tidy()
        return ended

    def tidy(self) -> None:
        """Do the remaining work of a job that has succeeded, in short transactions.

        Clusters do not depend on when this work is done. If it fails or the process ends in the
        middle, the next call continues.
        """
        while True:
            with self._database.write() as connection:
                more = pictures.settle_some(connection, succeeded=int(State.SUCCEEDED))
            if not more:
                break
            pause()
        self._drop_outdated()
        self._drop_unseen()

    def _drop_outdated(self) -> None:
        """Delete the pairs that the last job from scratch did not compare."""
        after = (-1, -1)
        while True:
            with self._database.read() as connection:
                floor = cluster_pairs.floor(connection)
                below = cluster_pairs.next_below_floor(connection, after=after)
            if below is None:
                return
            with self._database.write() as connection:
                cluster_pairs.drop_below_floor(connection, below, floor=floor)
            after = below[-1] if below else after
            pause()

    def _drop_unseen(self) -> None:
        """Delete the pictures that no image shows any more, and their pairs."""
        with self._database.read() as connection:
            unseen = pictures.find_unseen(connection)
        for some in batched(unseen, CHUNK):
            with self._database.write() as connection:
                cluster_pairs.drop_unseen(connection, some)
            pause()


def _shows(stored: Stored | None, sha: bytes) -> TypeGuard[Stored]:
    """Return whether an image exists and shows the picture with the hash `sha`."""
    return stored is not None and stored.payload["sha256"] == sha.hex()
