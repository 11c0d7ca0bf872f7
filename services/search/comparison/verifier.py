"""Compares a query's local features with those of candidates, in a few threads.

A pair takes some 3 ms of one core, fifty a query. A query has as many turns in the threads' queue
as there are threads, and goes to its end after each pair: queries share the threads fairly,
whichever came first. What was compared is remembered, so that the next page of a search, or the
same search again, compares nothing twice and ranks alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hashlib
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from halftone.core import errors, telemetry
from halftone.matching.verification import Verification, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.features import LocalFeatures

REMEMBERED: Final = 50_000
"""Pairs; most share nothing and take 200 bytes, the others about 1,500."""

_log = telemetry.get_logger(__name__)


class Missed(enum.Enum):
    """Why a candidate was not compared."""

    OUT_OF_TIME = enum.auto()
    UNREADABLE = enum.auto()
    """Its features could not be had; the log says why."""


Outcome = Verification | Missed


class FeatureSource(Protocol):
    """Where the candidates' features come from; `archive.fingerprints` in the service."""

    def features(self, sha256: str) -> LocalFeatures:
        """Of the image with this hash. Blocks.

        Raises:
            errors.HalftoneError: They cannot be had.
        """


class Verifier:
    """The threads, and what they found out."""

    def __init__(
        self,
        source: FeatureSource,
        *,
        metrics: telemetry.Metrics,
        threads: int = 0,
        remembered: int = REMEMBERED,
    ) -> None:
        """Starts no thread yet.

        Args:
            source: Of the candidates' features.
            metrics: Measures and counts.
            threads: 0 means one per core.
            remembered: The most pairs whose outcome is kept.
        """
        self._source = source
        self._threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verify")
        self._memory = _Memory(remembered)
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
        """Compares a query with candidates until the deadline; what is cancelled stops.

        Args:
            query: Its features.
            candidates: Hashes of images, the most promising first. One may come several times.
            deadline: In the time of `time.monotonic`. It returns by then, whatever is under way.
            mirrored: See `halftone.matching.verification.verify`.
        """
        started = time.perf_counter()
        key = _key(query, mirrored=mirrored)
        found: dict[str, Outcome] = {}
        for sha256 in candidates:
            if (known := self._memory.get((key, sha256))) is not None:
                found[sha256] = known
        wanted = [sha256 for sha256 in dict.fromkeys(candidates) if sha256 not in found]
        self._pairs.labels("remembered").inc(len(found))
        if wanted:
            run = _Run(self, query, wanted, deadline=deadline, mirrored=mirrored, key=key)
            found |= await run.result()
            for outcome in Missed:
                missed = sum(found[sha256] is outcome for sha256 in wanted)
                self._pairs.labels(outcome.name.lower()).inc(missed)
            compared = sum(isinstance(found[sha256], Verification) for sha256 in wanted)
            self._pairs.labels("compared").inc(compared)
        self._seconds.observe(time.perf_counter() - started)
        return [found[sha256] for sha256 in candidates]

    def close(self) -> None:
        """Ends the threads; what waits for them is out of time."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # What follows is for `_Run`.

    @property
    def threads(self) -> int:
        """How many pairs are compared at a time."""
        return self._threads

    def submit(self, run: _Run) -> bool:
        """Puts a turn of a run at the queue's end; whether that is still possible."""
        try:
            self._pool.submit(run.turn)
        except RuntimeError:
            return False
        return True

    def compare(
        self, query: LocalFeatures, sha256: str, *, mirrored: bool | None, key: bytes
    ) -> Outcome:
        """One pair; in a thread."""
        try:
            features = self._source.features(sha256)
        except errors.HalftoneError as error:
            # An image deleted meanwhile, or a store that is down: the others are still compared.
            _log.warning("features_unreadable", sha256=sha256, error=error.message)
            return Missed.UNREADABLE
        found = verify(query, features, mirrored=mirrored)
        self._memory.put((key, sha256), found)
        return found


class _Run:
    """One query's comparisons."""

    def __init__(
        self,
        verifier: Verifier,
        query: LocalFeatures,
        wanted: Sequence[str],
        *,
        deadline: float,
        mirrored: bool | None,
        key: bytes,
    ) -> None:
        self._verifier = verifier
        self._query = query
        self._wanted = wanted
        self._deadline = deadline
        self._mirrored = mirrored
        self._key = key
        self._lock = threading.Lock()
        self._next = 0
        self._found: dict[str, Outcome] = {}
        self._error: BaseException | None = None
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    async def result(self) -> dict[str, Outcome]:
        """What was found by the deadline, of each that was wanted."""
        try:
            for _ in range(min(self._verifier.threads, len(self._wanted))):
                if not self._verifier.submit(self):
                    self._done.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                    await self._done.wait()
        finally:
            # Whoever asked is gone, or has waited long enough.
            with self._lock:
                self._stopped = True
        if self._error is not None:
            raise self._error
        return {each: self._found.get(each, Missed.OUT_OF_TIME) for each in self._wanted}

    def turn(self) -> None:
        """Compares the next pair, and queues for another turn."""
        with self._lock:
            if self._stopped or self._next >= len(self._wanted):
                return
            sha256 = self._wanted[self._next]
            self._next += 1
        if time.monotonic() >= self._deadline:
            self._finish()
            return
        try:
            outcome = self._verifier.compare(
                self._query, sha256, mirrored=self._mirrored, key=self._key
            )
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
        # The loop may be closed when whoever asked is gone.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done.set)


class _Memory:
    """The last outcomes, by query and candidate; safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, str], Verification] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pair: tuple[bytes, str]) -> Verification | None:
        with self._lock:
            found = self._known.get(pair)
            if found is not None:
                self._known.move_to_end(pair)
            return found

    def put(self, pair: tuple[bytes, str], found: Verification) -> None:
        with self._lock:
            self._known[pair] = found
            self._known.move_to_end(pair)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


def _key(query: LocalFeatures, *, mirrored: bool | None) -> bytes:
    """What two queries share only if they compare alike. 0.1 ms for 600 features."""
    made = hashlib.blake2b(digest_size=16)
    made.update(f"{mirrored} {query.width} {query.height} {len(query.points)}".encode())
    made.update(query.points.tobytes())
    made.update(query.descriptors.tobytes())
    return made.digest()
