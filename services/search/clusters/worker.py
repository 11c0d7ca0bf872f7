"""The background worker of clusters: runs jobs and follows imports, changes and deletions.

The worker looks for candidates of pictures that were not searched for yet, compares pairs that were
not compared yet, and groups. A job only marks every picture to be searched for again. So a job that
is interrupted by the end of the process continues after its last transaction, and an import joins
its cluster in the same way without a job. Changes that happened while no process was running are
found at the start by comparing the collection with the table of images.

The worker gives way to searches as promotions do and compares in threads of low priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from halftone.core import errors, telemetry
from halftone.core.batches import batched
from halftone.services.search.archive.pace import Pace
from halftone.services.search.clusters import candidates
from halftone.services.search.clusters.pictures import are_one_printing, place_of, sha_of
from halftone.services.search.clusters.steps import ClusterSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.clusters.compare import Comparer
    from halftone.services.search.clusters.jobs import JobRow
    from halftone.services.search.clusters.store import Database, DatabaseElsewhere
    from halftone.services.search.store.port import Collection, Stored

    Pairs = Sequence[tuple[bytes, bytes]]

P = ParamSpec("P")
T = TypeVar("T")

_CHANGES: Final = 500
"""The number of changed images that are handled together."""
_MOST_PICTURES: Final = 64
"""The most pictures in one piece of work."""
_PAIRS: Final = 64
"""The fewest pairs compared between two transactions, each of which waits for the disk. The number
doubles while they take less than `_PIECE_SECONDS`, up to `_MOST_PAIRS`."""
_MOST_PAIRS: Final = 2_048
_PIECE_SECONDS: Final = 0.2
_FIRST: Final = (-1, -1)
"""A pair that comes before all others."""
_POLL_SECONDS: Final = 5.0
_RECONCILE_SECONDS: Final = 600.0
_BACK_OFF_SECONDS: Final = 2.0

_log = telemetry.get_logger(__name__)


class ClusterWorker:
    """Keeps the clusters of an archive up to date. There is one worker per archive."""

    def __init__(
        self, parts: Parts, *, database: Database | DatabaseElsewhere, comparer: Comparer
    ) -> None:
        """Create the worker. `watch` does the work.

        Args:
            parts: The shared parts of the service.
            database: The clusters' file.
            comparer: Compares pairs of pictures. The caller closes it after the worker.
        """
        settings, metrics = parts.settings, parts.metrics
        self._holdings = parts.holdings
        self._comparer = comparer
        self._steps = ClusterSteps(parts, database=database, comparer=comparer)
        self.describe = self._steps.describe
        # A thread of its own, so that the end of the service can wait for its work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clusters")
        self._patience = settings.promotion_patience_seconds
        self._pace = Pace(
            traffic=parts.traffic, share=settings.promotion_share, most=_MOST_PICTURES, workers=1
        )
        self._dirty: set[bytes] = set()
        self._dirty_lock = threading.Lock()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Other processes may write to a store that is shared.
        self._shared = settings.store == "server"
        self._reconciled, self._reconciled_at = "", 0.0
        self._is_tidy = False
        self._scoring = ""
        self._scored_to: tuple[int, int] | None = None
        self._at_a_time = _PAIRS
        self._trouble_since: float | None = None
        self._running = metrics.gauge("cluster_job_running", "Whether a cluster job runs here")
        self._waiting = metrics.gauge(
            "cluster_changes_waiting", "Changed images that clusters do not know of yet"
        )

    def note(self, ids: Iterable[uuid.UUID]) -> None:
        """Have the worker look at images that were imported, changed or deleted. Thread-safe."""
        with self._dirty_lock:
            self._dirty.update(each.bytes for each in ids)
        self.wake()

    def wake(self) -> None:
        """Make the worker check whether there is work. Thread-safe."""
        if self._loop is not None:
            # The loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    def close(self) -> None:
        """Wait for the step in progress. Blocks."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step in the worker's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def watch(self) -> None:
        """Work until the task is cancelled. Requires open collections."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            busy = False
            try:
                busy = await self._step()
                self._trouble_since = None
            except errors.HalftoneError as error:
                await self._handle_trouble(error)
            except Exception:  # noqa: BLE001 - a worker that ended would leave imports alone
                _log.exception("clusters_failed")
                # The log has the trace. Callers learn nothing more about a bug.
                await self._handle_trouble(
                    errors.Internal("An internal error; see the service's log.")
                )
            if not busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._wake.wait()

    async def _handle_trouble(self, error: errors.HalftoneError) -> None:
        """Wait a moment before the next attempt. Fail the job if waiting does not help."""
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
            _log.warning("clusters_interrupted", error=error.message)
        passing = isinstance(
            error, errors.Unavailable | errors.DeadlineExceeded | errors.ResourceExhausted
        )
        if not passing or now - self._trouble_since > self._patience:
            with contextlib.suppress(errors.HalftoneError):
                await self._run(self._steps.fail, error)
        await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _step(self) -> bool:
        """Do the next piece of work. Returns whether there may be more."""
        job, enabled = await self._run(self._steps.read_mode)
        self._running.set(int(job is not None))
        if not enabled:
            # Changes are ignored until a job begins; everything is compared then.
            self._reconciled = ""
        version = self._holdings.collection.model_version
        old = self._shared and time.monotonic() - self._reconciled_at > _RECONCILE_SECONDS
        if enabled and (old or self._reconciled != version):
            await self._reconcile(version)
        if await self._take_changes(enabled=enabled):
            return True
        if not enabled:
            return False
        if job is None and not self._is_tidy:
            # A process that ended too early, or a full disk, may have left work.
            await self._run(self._steps.tidy)
            self._is_tidy = True
        async with self._pace.turn():
            limit = self._pace.size()
            pictures = await self._run(self._steps.next_to_search, job, limit)
            if pictures:
                started = time.monotonic()
                await self._search(pictures, job=job)
                self._pace.record_time(len(pictures), seconds=time.monotonic() - started)
                return True
        if job is None:
            return await self._take_over()
        return await self._finish(job)

    # What changed.

    async def _reconcile(self, version: str) -> None:
        """Handle imports, changes and deletions that this process was not told of.

        This is done in pieces. If the process ends in between, the next process does the rest.
        """
        collection = self._holdings.collection
        differing = self._steps.find_differing(collection)
        count = 0
        while True:
            points = await self._holdings.threads.read("clusters_scan", next, differing, None)
            if points is None:
                break
            if points:
                await self._take(list(points), enabled=True)
                count += len(points)
                # If the job was cancelled before any succeeded, changes do not matter.
                _, enabled = await self._run(self._steps.read_mode)
                if not enabled:
                    return
        self._reconciled, self._reconciled_at = version, time.monotonic()
        if count:
            _log.info("clusters_behind", images=count)

    async def _take_changes(self, *, enabled: bool) -> bool:
        with self._dirty_lock:
            taken = [self._dirty.pop() for _ in range(min(_CHANGES, len(self._dirty)))]
            self._waiting.set(len(self._dirty) + len(taken))
        if not taken:
            return False
        try:
            await self._take(taken, enabled=enabled)
        except BaseException:
            with self._dirty_lock:
                self._dirty.update(taken)
            raise
        return True

    async def _take(self, points: Sequence[bytes], *, enabled: bool) -> None:
        # Before the first job only images that were judged matter to clusters.
        concerned = points if enabled else list(await self._run(self._steps.read_shas, points))
        there = await self._holdings.threads.read(
            "clusters_retrieve",
            self._holdings.collection.retrieve,
            [uuid.UUID(bytes=each) for each in concerned],
        )
        shas = {each.bytes: sha_of(stored) for each, stored in there.items()}
        places = {
            each.bytes: place for each, stored in there.items() if (place := place_of(stored))
        }
        await self._run(self._steps.apply_changes, concerned, shas, places=places, enabled=enabled)

    # Candidates and their comparison.

    async def _search(self, pictures: Pairs, *, job: JobRow | None) -> None:
        """Find and compare the candidates of pictures. Without a job, also regroup their images."""
        collection = self._holdings.collection
        since = job.number if job is not None and job.from_scratch else 0
        stored = await self._holdings.threads.read(
            "clusters_retrieve",
            collection.retrieve,
            [uuid.UUID(bytes=point) for point, _ in pictures],
            vectors=True,
        )
        pairs: set[tuple[bytes, bytes]] = set()
        searched = []
        for point, sha in pictures:
            record = stored.get(uuid.UUID(bytes=point))
            if record is None or sha_of(record) != sha:
                # It was deleted, or shows another picture now.
                self.note([uuid.UUID(bytes=point)])
                continue
            searched.append((point, sha))
            pairs |= await self._find_pairs(record, sha=sha, collection=collection)
        wanted = await self._run(self._steps.find_missing, pairs, since)
        number = 0 if job is None else job.number
        compared = await self._compare(wanted, collection=collection, job=number)
        if job is not None:
            await self._run(
                self._steps.mark_searched, searched, job=job, found=len(wanted), compared=compared
            )
            return
        points = [point for point, _ in searched]
        wanted = await self._run(self._steps.find_unclosed, points)
        await self._compare(wanted, collection=collection, job=number)
        await self._run(self._steps.join, searched)

    async def _find_pairs(
        self, stored: Stored, *, sha: bytes, collection: Collection
    ) -> set[tuple[bytes, bytes]]:
        changed = await self._run(self._comparer.changed_words, sha)
        near = await self._holdings.threads.read(
            "clusters_neighbours",
            candidates.find_neighbours,
            collection,
            stored,
            changed=changed,
        )
        points = [each.bytes for each in near]
        own = stored.id.bytes
        places = await self._run(self._steps.read_places, [own, *points])
        points = [each for each in points if not are_one_printing(own, each, places=places)]
        shas = await self._run(self._steps.read_shas, points)
        return {(min(sha, other), max(sha, other)) for other in shas.values() if other != sha}

    async def _compare(self, pairs: Pairs, *, collection: Collection, job: int) -> int:
        """Compare pairs and store the results in portions.

        Stops early if the job has ended. Returns the number of pairs that could be compared.
        """
        count = start = 0
        while start < len(pairs):
            portion = pairs[start : start + self._at_a_time]
            began = time.monotonic()
            count += await self._run(self._steps.compare_some, portion, collection, job)
            start += len(portion)
            seconds = time.monotonic() - began
            if seconds > _PIECE_SECONDS:
                self._at_a_time = max(_PAIRS, self._at_a_time // 2)
            elif len(portion) == self._at_a_time:
                self._at_a_time = min(_MOST_PAIRS, self._at_a_time * 2)
            if job and await self._run(self._steps.is_over, job):
                break
        return count

    # The end of a job.

    async def _finish(self, job: JobRow) -> bool:
        collection = self._holdings.collection
        since = job.number if job.from_scratch else 0
        await self._rescore(collection, job=job)
        wanted = await self._run(self._steps.find_all_unclosed, since)
        compared = await self._compare_in_pieces(wanted, collection=collection, job=job)
        if await self._run(self._steps.is_over, job.number):
            return True
        if collection is not self._holdings.collection:
            # Another version is active now. Its probabilities are taken over first.
            return True
        # The job may succeed and the tidying fail; it is repeated then.
        self._is_tidy = False
        ended = await self._run(self._steps.regroup_all, job, len(wanted), compared)
        if ended is not None:
            self._is_tidy = True
            _log.info(
                "clusters_made",
                job=ended.id,
                clusters=ended.clusters,
                images=ended.clustered,
                largest=ended.largest,
            )
        return True

    async def _compare_in_pieces(self, pairs: Pairs, *, collection: Collection, job: JobRow) -> int:
        count = 0
        for some in batched(pairs, _PAIRS):
            async with self._pace.turn():
                count += await self._compare(some, collection=collection, job=job.number)
            if await self._run(self._steps.is_over, job.number):
                break
        return count

    async def _take_over(self) -> bool:
        """Give the next stored pairs of another model version the probability of the active one.

        This needs no job. It is done so that all pairs have comparable probabilities, also those
        that were compared before a promotion. Returns whether there may be more such pairs.
        """
        collection = self._holdings.collection
        if self._scoring != collection.model_version:
            self._scoring, self._scored_to = collection.model_version, _FIRST
        if self._scored_to is None:
            return False
        async with self._pace.turn():
            self._scored_to = await self._run(
                self._steps.rescore_some, collection, self._scored_to, regroup=True
            )
        return True

    async def _rescore(self, collection: Collection, *, job: JobRow) -> None:
        """Give all pairs that another model version scored the probability of this one."""
        after = _FIRST
        while True:
            async with self._pace.turn():
                last = await self._run(self._steps.rescore_some, collection, after, regroup=False)
            if last is None or await self._run(self._steps.is_over, job.number):
                return
            after = last
