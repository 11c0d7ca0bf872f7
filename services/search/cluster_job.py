"""What is done for clusters in the background: the job, and what imports and deletions ask for.

All of it is one worker, which looks for the candidates of pictures that were not searched for yet,
compares the pairs that were not compared yet, and groups. A job only says that every picture is to
be searched for again, so a job that is cut off by the end of the process goes on where its last
transaction left it, and an import joins its cluster by the same way without a job. What changed
while nobody watched is found at the start by comparing the collection with the table of images.

The worker gives way to searches as promotions do, and compares in threads of low priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final

from halftone import errors, telemetry
from services.search import (
    cluster_candidates,
    cluster_compare,
    cluster_groups,
    cluster_jobs,
    cluster_pairs,
)
from services.search.cluster_chronology import Printing
from services.search.cluster_jobs import State
from services.search.clustering import RULES
from services.search.promotion_pace import Pace
from services.search.store import EVERYTHING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from halftone.settings import SearchSettings
    from services.search.cluster_compare import Comparer
    from services.search.cluster_jobs import Job
    from services.search.cluster_store import Database, DatabaseElsewhere
    from services.search.holdings import Holdings
    from services.search.promotion_pace import Traffic
    from services.search.store import Collection, Stored

    Pairs = Sequence[tuple[bytes, bytes]]

_CHANGES: Final = 500
"""Images whose changes are looked at together."""
_MOST_PICTURES: Final = 64
"""Pictures in one piece of work, where there is little to compare."""
_MOST_PAIRS: Final = 64
"""Pairs compared between two transactions."""
_CLOSED: Final = 64
"""Pictures that lead to each other of which every two are compared."""
_POLL_SECONDS: Final = 5.0
_BACK_OFF_SECONDS: Final = 2.0

_log = telemetry.get_logger(__name__)


class ClusterWorker:
    """Keeps clusters up to date; one for an archive."""

    def __init__(
        self,
        *,
        database: Database | DatabaseElsewhere,
        holdings: Holdings,
        comparer: Comparer,
        traffic: Traffic,
        settings: SearchSettings,
        metrics: telemetry.Metrics,
    ) -> None:
        """Does nothing yet."""
        self._database = database
        self._holdings = holdings
        self._comparer = comparer
        self._traffic = traffic
        self._patience = settings.promotion_patience_seconds
        self._pace = Pace(
            traffic=traffic, share=settings.promotion_share, most=_MOST_PICTURES, workers=1
        )
        self._dirty: set[bytes] = set()
        self._dirty_lock = threading.Lock()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reconciled = ""
        self._trouble_since: float | None = None
        self._running = metrics.gauge("cluster_job_running", "Whether a cluster job runs here")
        self._compared = metrics.counter(
            "cluster_pairs_total", "Pairs of pictures that were compared for clusters"
        )
        self._waiting = metrics.gauge(
            "cluster_changes_waiting", "Changed images that clusters do not know of yet"
        )

    def note(self, ids: Iterable[uuid.UUID]) -> None:
        """Takes note of images that were imported, changed or deleted. From any thread."""
        with self._dirty_lock:
            self._dirty.update(each.bytes for each in ids)
        self.wake()

    def wake(self) -> None:
        """Has the worker look whether there is something to do. From any thread."""
        if self._loop is not None:
            # The loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    def describe(self, points: Sequence[bytes]) -> dict[bytes, Printing]:
        """What is said of images in their records. Blocks."""
        found: dict[bytes, Printing] = {}
        for some in cluster_pairs.chunks(points):
            there = self._holdings.collection.retrieve([uuid.UUID(bytes=each) for each in some])
            for stored in there.values():
                found[stored.id.bytes] = Printing.of(stored.id.bytes, stored.payload)
        return found

    async def watch(self) -> None:
        """Works until it is cancelled; the collections must be open."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            busy = False
            try:
                busy = await self._step()
                self._trouble_since = None
            except errors.HalftoneError as error:
                await self._trouble(error)
            except Exception:  # noqa: BLE001 - who no longer worked would leave imports alone
                _log.exception("clusters_failed")
                # Its trace is in the log; to whoever asks, a bug has no more to say.
                await self._trouble(errors.Internal("An internal error; see the service's log."))
            if not busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._wake.wait()

    async def _trouble(self, error: errors.HalftoneError) -> None:
        """Has the job wait for what is down, for a while, or fail."""
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
            _log.warning("clusters_interrupted", error=error.message)
        passing = isinstance(
            error, errors.Unavailable | errors.DeadlineExceeded | errors.ResourceExhausted
        )
        if not passing or now - self._trouble_since > self._patience:
            with contextlib.suppress(errors.HalftoneError):
                await asyncio.to_thread(self._fail, error)
        await asyncio.sleep(_BACK_OFF_SECONDS)

    def _fail(self, error: errors.HalftoneError) -> None:
        with self._database.write() as connection:
            job = cluster_jobs.running(connection)
            if job is not None:
                cluster_jobs.end(connection, job.number, state=State.FAILED, error=error.message)

    async def _step(self) -> bool:
        """Does the next piece of work, if there is any."""
        job, enabled = await asyncio.to_thread(self._mode)
        self._running.set(int(job is not None))
        version = self._holdings.collection.model_version
        if enabled and self._reconciled != version:
            await self._reconcile()
            self._reconciled = version
        if await self._take_changes(enabled=enabled):
            return True
        if not enabled:
            return False
        async with await self._pace.begin():
            limit = self._pace.size()
            pictures = await asyncio.to_thread(self._to_search, job, limit)
            if pictures:
                started = time.monotonic()
                await self._search(pictures, job=job)
                self._pace.measured(len(pictures), seconds=time.monotonic() - started)
                return True
        if job is None:
            return False
        return await self._finish(job)

    def _mode(self) -> tuple[Job | None, bool]:
        with self._database.read() as connection:
            job = cluster_jobs.running(connection)
            return job, job is not None or cluster_jobs.any_succeeded(connection)

    # What changed.

    async def _reconcile(self) -> None:
        """Finds what was imported, changed or deleted while nobody took note of it."""
        collection = self._holdings.collection
        known = await asyncio.to_thread(self._known)
        found = await self._holdings.read("clusters_scan", _differing, collection, known)
        with self._dirty_lock:
            self._dirty |= found
        if found:
            _log.info("clusters_behind", images=len(found))

    def _known(self) -> dict[bytes, bytes]:
        with self._database.read() as connection:
            return dict(cluster_pairs.known_images(connection))

    async def _take_changes(self, *, enabled: bool) -> bool:
        with self._dirty_lock:
            taken = [self._dirty.pop() for _ in range(min(_CHANGES, len(self._dirty)))]
            self._waiting.set(len(self._dirty) + len(taken))
        if not taken:
            return False
        try:
            there = await self._holdings.read(
                "clusters_retrieve",
                self._holdings.collection.retrieve,
                [uuid.UUID(bytes=each) for each in taken],
            )
            shas = {each.bytes: _sha(stored) for each, stored in there.items()}
            await asyncio.to_thread(self._changed, taken, shas, enabled=enabled)
        except BaseException:
            with self._dirty_lock:
                self._dirty.update(taken)
            raise
        return True

    def _changed(self, points: Sequence[bytes], shas: dict[bytes, bytes], *, enabled: bool) -> None:
        with self._database.write() as connection:
            known = cluster_pairs.shas_of(connection, points)
            gone = [point for point in known if point not in shas]
            new = {
                point: sha
                for point, sha in shas.items()
                if known.get(point) != sha and (enabled or point in known)
            }
            same = [point for point, sha in shas.items() if known.get(point) == sha]
            if gone:
                cluster_pairs.drop_images(connection, gone)
            if new:
                cluster_pairs.put_images(connection, new.items())
            if gone or new:
                # An image that shows what another shows belongs to it without being searched for.
                cluster_groups.regroup(connection, [*gone, *new], describe=self.describe)
            if same:
                cluster_groups.refresh(connection, same, describe=self.describe)

    # Candidates and their comparison.

    def _to_search(self, job: Job | None, limit: int) -> list[tuple[bytes, bytes]]:
        with self._database.read() as connection:
            below = 1 if job is None else job.number
            return cluster_pairs.to_search(connection, below=below, limit=limit)

    async def _search(self, pictures: Pairs, *, job: Job | None) -> None:
        """Looks for the candidates of pictures, and compares them; without a job groups, too."""
        collection = self._holdings.collection
        since = job.number if job is not None and job.from_scratch else 0
        stored = await self._holdings.read(
            "clusters_retrieve",
            collection.retrieve,
            [uuid.UUID(bytes=point) for point, _ in pictures],
            vectors=True,
        )
        pairs: set[tuple[bytes, bytes]] = set()
        searched = []
        for point, sha in pictures:
            found = stored.get(uuid.UUID(bytes=point))
            if found is None or _sha(found) != sha:
                # Gone, or another picture by now.
                self.note([uuid.UUID(bytes=point)])
                continue
            searched.append((point, sha))
            pairs |= await self._pairs_of(found, sha=sha, collection=collection)
        wanted = await asyncio.to_thread(self._missing, pairs, since)
        number = 0 if job is None else job.number
        compared = await self._compare(wanted, collection=collection, job=number)
        if job is not None:
            await asyncio.to_thread(
                self._searched, searched, job=job, found=len(wanted), compared=compared
            )
            return
        points = [point for point, _ in searched]
        wanted = await asyncio.to_thread(self._unclosed, points)
        await self._compare(wanted, collection=collection, job=number)
        await asyncio.to_thread(self._joined, searched)

    async def _pairs_of(
        self, stored: Stored, *, sha: bytes, collection: Collection
    ) -> set[tuple[bytes, bytes]]:
        mirrored = await asyncio.to_thread(self._comparer.mirrored_words, sha)
        near = await self._holdings.read(
            "clusters_neighbours",
            cluster_candidates.neighbours,
            collection,
            stored,
            mirrored=mirrored,
        )
        shas = await asyncio.to_thread(self._shas, [each.bytes for each in near])
        return {(min(sha, other), max(sha, other)) for other in shas.values() if other != sha}

    def _shas(self, points: Sequence[bytes]) -> dict[bytes, bytes]:
        # Those that are not known yet will find this one when it is their turn.
        with self._database.read() as connection:
            return cluster_pairs.shas_of(connection, points)

    def _missing(self, pairs: Iterable[tuple[bytes, bytes]], since: int) -> Pairs:
        with self._database.read() as connection:
            return cluster_pairs.missing(
                connection, pairs, matching=self._comparer.matching, since_job=since
            )

    async def _compare(self, pairs: Pairs, *, collection: Collection, job: int) -> int:
        """Compares pairs and keeps what is found, some at a time; how many could be compared."""
        count = 0
        for start in range(0, len(pairs), _MOST_PAIRS):
            some = pairs[start : start + _MOST_PAIRS]
            count += await asyncio.to_thread(self._compare_some, some, collection, job)
            if job and await asyncio.to_thread(self._is_over, job):
                break
        return count

    def _is_over(self, job: int) -> bool:
        with self._database.read() as connection:
            running = cluster_jobs.running(connection)
            return running is None or running.number != job

    def _compare_some(self, pairs: Pairs, collection: Collection, job: int) -> int:
        with self._database.read() as connection:
            shown = cluster_pairs.points_of(connection, {sha for pair in pairs for sha in pair})
        stored = collection.retrieve(
            [uuid.UUID(bytes=point) for point in shown.values()], vectors=True
        )
        sides = {
            sha: cluster_compare.Side(sha=sha, stored=stored[uuid.UUID(bytes=point)])
            for sha, point in shown.items()
            if uuid.UUID(bytes=point) in stored
        }
        version = collection.model_version
        compared = self._comparer.compare(
            [(sides[a], sides[b]) for a, b in pairs if a in sides and b in sides],
            model_version=version,
            alone=self._traffic.recent(),
        )
        with self._database.write() as connection:
            cluster_pairs.put_pairs(
                connection,
                compared,
                model_version=version,
                matching=self._comparer.matching,
                job=job,
            )
        self._compared.inc(len(compared))
        return len(compared)

    def _searched(self, pictures: Pairs, *, job: Job, found: int, compared: int) -> None:
        with self._database.write() as connection:
            now = cluster_jobs.running(connection)
            if now is None or now.number != job.number:
                return
            cluster_pairs.mark_searched(connection, [sha for _, sha in pictures], job=job.number)
            cluster_jobs.progress(
                connection, job.number, found=now.found + found, compared=now.compared + compared
            )

    def _unclosed(self, points: Sequence[bytes]) -> Pairs:
        with self._database.read() as connection:
            near = cluster_groups.surroundings(connection, points)
            pictures = set(cluster_pairs.pictures_of(connection, near).values())
            links = [
                (pair.a, pair.b)
                for pair in cluster_pairs.between(connection, pictures)
                if pair.probability >= RULES.link
            ]
            return self._to_close(connection, links, since=0)

    def _to_close(
        self, connection: sqlite3.Connection, links: Iterable[tuple[int, int]], *, since: int
    ) -> Pairs:
        return cluster_pairs.unclosed(
            connection,
            links,
            most=_CLOSED,
            matching=self._comparer.matching,
            since_job=since,
        )

    def _joined(self, pictures: Pairs) -> None:
        """Groups what was searched for, in the transaction that says that it was."""
        with self._database.write() as connection:
            last = cluster_jobs.listed(connection, before=None, limit=1)
            number = last[0].number if last else 1
            cluster_pairs.mark_searched(connection, [sha for _, sha in pictures], job=number)
            shown = cluster_pairs.points_of(connection, {sha for _, sha in pictures})
            cluster_groups.regroup(connection, list(shown.values()), describe=self.describe)

    # The end of a job.

    async def _finish(self, job: Job) -> bool:
        collection = self._holdings.collection
        since = job.number if job.from_scratch else 0
        await self._rescore(collection, job=job)
        wanted = await asyncio.to_thread(self._all_unclosed, since)
        compared = await self._in_pieces(wanted, collection=collection, job=job)
        if await asyncio.to_thread(self._is_over, job.number):
            return True
        if collection is not self._holdings.collection:
            # Another version answers since; its probabilities are taken over first.
            return True
        ended = await asyncio.to_thread(self._regroup_all, job, len(wanted), compared)
        if ended is not None:
            _log.info(
                "clusters_made",
                job=ended.id,
                clusters=ended.clusters,
                images=ended.clustered,
                largest=ended.largest,
            )
        return True

    async def _in_pieces(self, pairs: Pairs, *, collection: Collection, job: Job) -> int:
        count = 0
        for start in range(0, len(pairs), _MOST_PAIRS):
            some = pairs[start : start + _MOST_PAIRS]
            async with await self._pace.begin():
                count += await self._compare(some, collection=collection, job=job.number)
            if await asyncio.to_thread(self._is_over, job.number):
                break
        return count

    def _all_unclosed(self, since: int) -> Pairs:
        with self._database.read() as connection:
            links = cluster_pairs.all_links(connection, least=RULES.link)
            return self._to_close(connection, links, since=since)

    async def _rescore(self, collection: Collection, *, job: Job) -> None:
        """Gives pairs that another model version scored the probability of this one."""
        after = (-1, -1)
        while True:
            async with await self._pace.begin():
                last = await asyncio.to_thread(self._rescore_some, collection, after)
            if last is None or await asyncio.to_thread(self._is_over, job.number):
                return
            after = last

    def _rescore_some(
        self, collection: Collection, after: tuple[int, int]
    ) -> tuple[int, int] | None:
        version = collection.model_version
        with self._database.read() as connection:
            rows = cluster_pairs.of_another_model(
                connection, model_version=version, after=after, limit=_CHANGES
            )
        if not rows:
            return None
        ids = {uuid.UUID(bytes=point) for row in rows for point in row[2:4]}
        stored = collection.retrieve(list(ids), vectors=True)
        known: list[tuple[bytes, float | None]] = []
        for _, _, one, other, evidence in rows:
            a, b = (stored.get(uuid.UUID(bytes=point)) for point in (one, other))
            alike = None if a is None or b is None else cluster_compare.similarity(a, b)
            known.append((evidence, alike))
        scores = self._comparer.rescored(known, model_version=version)
        with self._database.write() as connection:
            cluster_pairs.rescore(
                connection,
                [(row[0], row[1], *score) for row, score in zip(rows, scores, strict=True)],
                model_version=version,
            )
        return rows[-1][:2]

    def _regroup_all(self, job: Job, found: int, compared: int) -> Job | None:
        with self._database.write() as connection:
            now = cluster_jobs.running(connection)
            if now is None or now.number != job.number:
                return None
            if cluster_pairs.to_search(connection, below=job.number, limit=1):
                # Imported meanwhile; the job is not over.
                return None
            cluster_groups.regroup_all(connection, describe=self.describe, pause=_pause)
            cluster_pairs.drop_unseen(connection)
            clusters, clustered, largest = cluster_groups.figures(connection)
            images, searched = cluster_pairs.counts(connection, below=job.number)
            cluster_jobs.progress(
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
            return cluster_jobs.end(connection, job.number, state=State.SUCCEEDED)


def _differing(collection: Collection, known: dict[bytes, bytes]) -> set[bytes]:
    """Images that a collection and a table do not agree on."""
    left = dict(known)
    found = set()
    for at, stored in enumerate(collection.scan(filter=EVERYTHING)):
        point = stored.id.bytes
        if left.pop(point, known.get(point)) != _sha(stored):
            found.add(point)
        if at % _CHANGES == 0:
            _pause()
    return found | set(left)


def _pause() -> None:
    """Lets other threads have the interpreter."""
    time.sleep(0.001)


def _sha(stored: Stored) -> bytes:
    return bytes.fromhex(stored.payload["sha256"])
