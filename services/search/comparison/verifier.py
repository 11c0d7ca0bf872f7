"""Compares the local features of queries and candidates, in a few threads.

A pair takes about 5 ms of one core, and a query has fifty pairs. Each query has as many turns in
the threads' queue as there are threads; after each pair its turn goes back to the end of the queue,
so that queries share the threads fairly. The outcomes of recent pairs are remembered: the next page
of a search, or the same search again, compares nothing twice and has the same ranking.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from halftone.core import errors, telemetry
from halftone.matching.looks import difference_map, judge
from halftone.matching.overlaps import Verification
from halftone.matching.verification import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.matching.features import LocalFeatures
    from halftone.services.search.archive.fingerprints import Fingerprints

REMEMBERED: Final = 50_000
"""The number of remembered pairs. Most share nothing and take 200 bytes, the others about 1,500."""

_log = telemetry.get_logger(__name__)


class Missed(enum.Enum):
    """The reason why a candidate was not compared."""

    OUT_OF_TIME = enum.auto()
    UNREADABLE = enum.auto()
    """Its features could not be read; the log has the reason."""


Outcome = Verification | Missed


class Verifier:
    """Compares queries with candidates, and remembers the outcomes.

    Attributes:
        threads: The number of pairs that can be compared at a time.
    """

    def __init__(
        self,
        source: Fingerprints,
        *,
        metrics: telemetry.Metrics,
        threads: int = 0,
        remembered: int = REMEMBERED,
    ) -> None:
        """Create the pool of threads; the threads start with the first query.

        Args:
            source: Reads the candidates' features.
            metrics: Measures times and counts pairs.
            threads: The number of threads; 0 means one per core.
            remembered: The most pairs whose outcome is kept.
        """
        # A damaged network is told at the start, and the first search does not wait.
        judge.load_packaged()
        difference_map.load_packaged()
        self._source = source
        self.threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="verify")
        self._known: LRUCache[tuple[bytes, str], Verification] = LRUCache(remembered)
        self._known_lock = threading.Lock()
        self._seconds = metrics.histogram(
            "verification_seconds", "Time to compare a query with its candidates"
        )
        self._pairs = metrics.counter(
            "verified_pairs_total",
            "Candidates by how they were compared: compared, remembered, out_of_time, unreadable",
            labels=("outcome",),
        )

    async def outcomes(
        self,
        query: LocalFeatures,
        candidates: Sequence[str],
        *,
        deadline: float,
        mirrored: bool | None = None,
    ) -> list[Outcome]:
        """Compare a query with candidates until the deadline.

        Comparisons that have not begun are dropped when the caller is cancelled.

        Args:
            query: The query's local features.
            candidates: SHA-256 of each candidate's bytes, the most promising first. A hash may
                occur several times.
            deadline: In the time of `time.monotonic`. The method returns by then; pairs that were
                not compared are `Missed.OUT_OF_TIME`.
            mirrored: Whether to mirror the query; None tries both. See
                `halftone.matching.verification.verify`.

        Returns:
            The outcome of each candidate, in the same order.
        """
        started = time.perf_counter()
        key = _key(query, mirrored=mirrored)
        outcomes: dict[str, Outcome] = {}
        with self._known_lock:
            for sha256 in candidates:
                if (known := self._known.get((key, sha256))) is not None:
                    outcomes[sha256] = known
        wanted = [sha256 for sha256 in dict.fromkeys(candidates) if sha256 not in outcomes]
        self._pairs.labels("remembered").inc(len(outcomes))
        if wanted:
            compare = functools.partial(self._compare, query, mirrored=mirrored, key=key)
            outcomes |= await _Run(self, compare, wanted, deadline=deadline).result()
            for outcome in Missed:
                missed = sum(outcomes[sha256] is outcome for sha256 in wanted)
                self._pairs.labels(outcome.name.lower()).inc(missed)
            compared = sum(isinstance(outcomes[sha256], Verification) for sha256 in wanted)
            self._pairs.labels("compared").inc(compared)
        self._seconds.observe(time.perf_counter() - started)
        return [outcomes[sha256] for sha256 in candidates]

    def close(self) -> None:
        """End the threads. Pairs that wait become `Missed.OUT_OF_TIME`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, run: _Run) -> bool:
        """Queue one turn of a run. Returns False once the verifier is closed."""
        try:
            self._pool.submit(run.turn)
        except RuntimeError:
            return False
        return True

    def _compare(
        self, query: LocalFeatures, sha256: str, *, mirrored: bool | None, key: bytes
    ) -> Outcome:
        """Compare one pair and remember the outcome. Runs in a thread."""
        try:
            features = self._source.features(sha256)
        except errors.HalftoneError as error:
            # The image was deleted or the store is down. The other pairs are still compared.
            _log.warning("features_unreadable", sha256=sha256, error=error.message)
            return Missed.UNREADABLE
        found = verify(query, features, mirrored=mirrored)
        with self._known_lock:
            self._known[key, sha256] = found
        return found


class _Run:
    """The comparisons of one query."""

    def __init__(
        self,
        verifier: Verifier,
        compare: Callable[[str], Outcome],
        wanted: Sequence[str],
        *,
        deadline: float,
    ) -> None:
        self._verifier = verifier
        self._compare = compare
        self._wanted = wanted
        self._deadline = deadline
        self._lock = threading.Lock()
        self._next = 0
        self._found: dict[str, Outcome] = {}
        self._error: BaseException | None = None
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    async def result(self) -> dict[str, Outcome]:
        """Compare until the deadline and return the outcome of each candidate."""
        try:
            for _ in range(min(self._verifier.threads, len(self._wanted))):
                if not self._verifier.submit(self):
                    self._done.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                    await self._done.wait()
        finally:
            # The caller is gone, or its deadline has passed.
            with self._lock:
                self._stopped = True
        if self._error is not None:
            raise self._error
        return {each: self._found.get(each, Missed.OUT_OF_TIME) for each in self._wanted}

    def turn(self) -> None:
        """Compare the next pair, then queue for another turn. Runs in a thread."""
        with self._lock:
            if self._stopped or self._next >= len(self._wanted):
                return
            sha256 = self._wanted[self._next]
            self._next += 1
        if time.monotonic() >= self._deadline:
            self._finish()
            return
        try:
            outcome = self._compare(sha256)
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            self._error = error
            self._finish()
            return
        with self._lock:
            if self._stopped:
                return
            self._found[sha256] = outcome
            over = len(self._found) == len(self._wanted)
        if over or not self._verifier.submit(self):
            self._finish()

    def _finish(self) -> None:
        # The loop may be closed after the caller is gone.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done.set)


def _key(query: LocalFeatures, *, mirrored: bool | None) -> bytes:
    """Hash a query so that equal keys mean equal comparisons. Takes 0.1 ms for 600 features."""
    made = hashlib.blake2b(digest_size=16)
    made.update(f"{mirrored} {query.width} {query.height} {len(query.points)}".encode())
    made.update(query.points.tobytes())
    made.update(query.descriptors.tobytes())
    made.update(query.copy)
    return made.digest()
