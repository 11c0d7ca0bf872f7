"""Slows promotions down while there are searches: both use the embedder, the cores and the store.

While there are searches, a promotion works in pieces of about 20 ms, rests after each, and waits
for a moment without searches before the next, if there is one soon. While nobody searches it works
without rests, in pieces of 0.2 seconds: a search that comes then waits no longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_RECENT_SECONDS: Final = 10.0
_BUSY_PIECE: Final = 0.02
_IDLE_PIECE: Final = 0.2
_SMOOTHING: Final = 0.3
_FIRST_GUESS: Final = 0.05
"""Seconds that an image is assumed to take before one was measured."""
_LONGEST_REST: Final = 5.0


class Traffic:
    """Knows how many searches are in flight, and when the last one was."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -float("inf")
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._using: Counter[str] = Counter()
        self.in_flight = 0

    def enter(self, count: int, *, model_version: str) -> None:
        """Note that `count` searches begin in the collection of a version."""
        self.in_flight += count
        self._using[model_version] += count
        self._last = self._clock()
        self._quiet.clear()

    def leave(self, count: int, *, model_version: str) -> None:
        """Note that `count` searches ended."""
        self.in_flight -= count
        self._using[model_version] -= count
        self._last = self._clock()
        if not self.in_flight:
            self._quiet.set()

    def count_using(self, model_version: str) -> int:
        """Return the number of searches in flight in the collection of a version."""
        return self._using[model_version]

    def is_recent(self) -> bool:
        """Tell whether there are searches, or were some within the last ten seconds."""
        return bool(self.in_flight) or self._clock() - self._last < _RECENT_SECONDS

    async def wait_until_quiet(self, *, seconds: float) -> None:
        """Wait until no search is in flight, at most for `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return


class Pace:
    """Decides how many images a promotion takes at a time, and when it may go on."""

    def __init__(self, *, traffic: Traffic, share: float, most: int, workers: int) -> None:
        """Begin without a measurement.

        Args:
            traffic: Knows the searches in flight.
            share: The largest share of the time that the promotion works while there are searches;
                it gets at least half of it.
            most: The most images in one piece.
            workers: The most pieces at a time while nobody searches.
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
        """Note how long a piece took; later pieces are sized by it."""
        if images:
            self._seconds += _SMOOTHING * (seconds / images - self._seconds)

    async def begin(self) -> Turn:
        """Wait for the turn of the next piece: `async with await pace.begin():`."""
        await self._workers.acquire()
        try:
            if not self._traffic.is_recent():
                return Turn(self, alone=False)
            await self._alone.acquire()
        except BaseException:
            self._workers.release()
            raise
        return Turn(self, alone=True)

    async def end(self, turn: Turn) -> None:
        """End a piece: rest in proportion to the time it took, if there are searches."""
        try:
            if turn.alone and self._traffic.is_recent():
                rest = min(self._rest * (time.monotonic() - turn.started), _LONGEST_REST)
                await asyncio.sleep(rest)
                await self._traffic.wait_until_quiet(seconds=rest)
        finally:
            if turn.alone:
                self._alone.release()
            self._workers.release()


class Turn:
    """One piece of work; leaving its block ends it."""

    def __init__(self, pace: Pace, *, alone: bool) -> None:
        self._pace = pace
        self.alone = alone
        self.started = time.monotonic()

    async def __aenter__(self) -> None:
        """Do nothing: the piece began with `Pace.begin`."""

    async def __aexit__(self, *_: object) -> None:
        """End the piece."""
        await self._pace.end(self)
