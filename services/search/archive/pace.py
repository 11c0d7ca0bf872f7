"""Slows promotions down during searches: both use the embedder, the cores and the store.

During searches, a promotion works in pieces of about 20 ms, rests after each, and waits (not for
long) for a moment without searches before the next. Without searches it works in pieces of 0.2
seconds and does not rest: a search that begins then waits no longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_RECENT_SECONDS: Final = 10.0
_BUSY_PIECE: Final = 0.02
_IDLE_PIECE: Final = 0.2
_SMOOTHING: Final = 0.3
_FIRST_GUESS: Final = 0.05
"""Seconds that an image is assumed to take until one was measured."""
_LONGEST_REST: Final = 5.0


class Traffic:
    """Counts the searches in flight and remembers when the last one ended."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -float("inf")
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._using: Counter[str] = Counter()
        self.in_flight = 0

    def enter(self, count: int, *, model_version: str) -> None:
        """Count `count` more searches in flight, in the collection of a version."""
        self.in_flight += count
        self._using[model_version] += count
        self._last = self._clock()
        self._quiet.clear()

    def leave(self, count: int, *, model_version: str) -> None:
        """Count `count` fewer searches in flight, in the collection of a version."""
        self.in_flight -= count
        self._using[model_version] -= count
        self._last = self._clock()
        if not self.in_flight:
            self._quiet.set()

    def count_using(self, model_version: str) -> int:
        """Return the number of searches in flight in the collection of a version."""
        return self._using[model_version]

    def is_recent(self) -> bool:
        """Return whether searches are in flight or one ended within the last ten seconds."""
        return bool(self.in_flight) or self._clock() - self._last < _RECENT_SECONDS

    async def wait_until_quiet(self, *, seconds: float) -> None:
        """Wait until no search is in flight, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()


class Pace:
    """Decides how many images a promotion takes at a time, and when it may continue."""

    def __init__(self, *, traffic: Traffic, share: float, most: int, workers: int) -> None:
        """Start without a measurement.

        Args:
            traffic: The searches in flight.
            share: The largest share of the time that the promotion may work during searches. It
                gets at least half of this share.
            most: The most images in one piece.
            workers: The most pieces in progress while there are no searches.
        """
        self._traffic = traffic
        self._rest = 1.0 / share - 1.0
        self._most = most
        self._workers = asyncio.Semaphore(workers)
        self._alone = asyncio.Lock()
        self._seconds = _FIRST_GUESS

    def size(self) -> int:
        """Return the number of images that the next piece should have."""
        piece = _BUSY_PIECE if self._traffic.is_recent() else _IDLE_PIECE
        return max(1, min(self._most, int(piece / self._seconds)))

    def record_time(self, images: int, *, seconds: float) -> None:
        """Record that a piece of `images` images took `seconds`. Later pieces are sized by it."""
        if images:
            self._seconds += _SMOOTHING * (seconds / images - self._seconds)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the next piece of work may begin. The `with` block does the work.

        While there are searches, only one piece is worked on at a time. A rest follows each piece,
        in proportion to the time that the piece took.
        """
        async with self._workers:
            if not self._traffic.is_recent():
                yield
                return
            async with self._alone:
                started = time.monotonic()
                try:
                    yield
                finally:
                    await self._rest_since(started)

    async def _rest_since(self, started: float) -> None:
        if self._traffic.is_recent():
            rest = min(self._rest * (time.monotonic() - started), _LONGEST_REST)
            await asyncio.sleep(rest)
            await self._traffic.wait_until_quiet(seconds=rest)
