"""Lets a few searches run at a time and a few more wait; the rest are told to come back.

A search keeps a core busy for a good part of a second. Fifty at a time on two cores would all take
so long that none is answered; in turn, each that is let in is answered in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOO_MANY_SEARCHES: Final = "TOO_MANY_SEARCHES"
_SEARCH_SECONDS: Final = 0.5


class Turns:
    """Gives turns to searches. For the event loop only.

    Args:
        at_once: The most searches that run at a time.
        waiting: The most searches that wait for their turn.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._free = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._count = 0

    def check(self) -> None:
        """Check that there is room for one more, before anything is done for it.

        Raises:
            errors.ResourceExhausted: Too many wait already (`TOO_MANY_SEARCHES`).
        """
        if self._count >= self._room:
            raise errors.ResourceExhausted(
                "Too many searches at a time. Try again in a moment.",
                reason=TOO_MANY_SEARCHES,
                retry_after=math.ceil(self._count / self._at_once * _SEARCH_SECONDS),
            )

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the `with` block.

        Raises:
            errors.ResourceExhausted: Too many wait already (`TOO_MANY_SEARCHES`).
        """
        self.check()
        self._count += 1
        try:
            async with self._free:
                yield
        finally:
            self._count -= 1
