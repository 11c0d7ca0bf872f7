"""How a promotion makes room for searches: they share the embedder, the cores and the store.

While there are searches, a promotion works in pieces of some 20 ms, rests after each, and begins
the next where possible when no search is in flight. When nobody searches it works without a rest,
in pieces that a search which comes then does not wait long for.
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
"""Seconds that an image takes, before one was measured."""
_LONGEST_REST: Final = 5.0


class Traffic:
    """How many searches are in flight, and when the last one was."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -float("inf")
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._using: Counter[str] = Counter()
        self.in_flight = 0

    def enter(self, count: int, *, model_version: str) -> None:
        """Searches begin."""
        self.in_flight += count
        self._using[model_version] += count
        self._last = self._clock()
        self._quiet.clear()

    def leave(self, count: int, *, model_version: str) -> None:
        """Searches ended."""
        self.in_flight -= count
        self._using[model_version] -= count
        self._last = self._clock()
        if not self.in_flight:
            self._quiet.set()

    def using(self, model_version: str) -> int:
        """Searches in flight that a version's collection answers."""
        return self._using[model_version]

    def recent(self) -> bool:
        """Whether there are searches, or were a moment ago."""
        return bool(self.in_flight) or self._clock() - self._last < _RECENT_SECONDS

    async def quiet(self, *, seconds: float) -> None:
        """Waits until no search is in flight, but not longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return


class Pace:
    """Says how much a promotion does at a time, and when."""

    def __init__(self, *, traffic: Traffic, share: float, most: int, workers: int) -> None:
        """Nothing is measured yet.

        Args:
            traffic: The searches.
            share: Of the time that the promotion works while there are searches, at most; half of
                it at least.
            most: Images in one piece.
            workers: Pieces at a time while nobody searches.
        """
        self._traffic = traffic
        self._rest = 1.0 / share - 1.0
        self._most = most
        self._workers = asyncio.Semaphore(workers)
        self._alone = asyncio.Lock()
        self._seconds = _FIRST_GUESS

    def size(self) -> int:
        """Images in the next piece."""
        piece = _BUSY_PIECE if self._traffic.recent() else _IDLE_PIECE
        return max(1, min(self._most, int(piece / self._seconds)))

    def measured(self, images: int, *, seconds: float) -> None:
        """Takes note of how long a piece took."""
        if images:
            self._seconds += _SMOOTHING * (seconds / images - self._seconds)

    async def begin(self) -> Turn:
        """Waits for the turn of the next piece; the caller ends it."""
        await self._workers.acquire()
        try:
            if not self._traffic.recent():
                return Turn(self, alone=False)
            await self._alone.acquire()
        except BaseException:
            self._workers.release()
            raise
        return Turn(self, alone=True)

    async def end(self, turn: Turn) -> None:
        """Rests as long as the piece asks for."""
        try:
            if turn.alone and self._traffic.recent():
                rest = min(self._rest * (time.monotonic() - turn.started), _LONGEST_REST)
                await asyncio.sleep(rest)
                await self._traffic.quiet(seconds=rest)
        finally:
            if turn.alone:
                self._alone.release()
            self._workers.release()


class Turn:
    """A piece of work: `async with await pace.begin():`."""

    def __init__(self, pace: Pace, *, alone: bool) -> None:
        self._pace = pace
        self.alone = alone
        self.started = time.monotonic()

    async def __aenter__(self) -> None:
        """It has begun."""

    async def __aexit__(self, *_: object) -> None:
        """Rests."""
        await self._pace.end(self)
