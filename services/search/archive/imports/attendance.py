"""Watches whether a stream of records works: others do not count, and are ended after a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.core.quotas import Kind
from halftone.core.wire import IDLE_STREAM
from halftone.service.quotas import spend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from halftone.service.decoding import Undecodable
    from halftone.service.turns import Shares
    from halftone.v1 import search_pb2

_REST_SECONDS: Final = 2.0
"""A stream that has nothing to do for so long gives its place to others."""
_LOOK_SECONDS: Final = 0.5


class Attendance:
    """The place of one stream among those that work, from its first record on.

    Args:
        shares: Counts the streams of each caller that work.
        caller: Who sends the stream.
        idle_seconds: The most seconds without a record while none is being worked on, and the most
            for which the caller may take no answer.
    """

    def __init__(self, shares: Shares, *, caller: str, idle_seconds: float) -> None:
        self._shares = shares
        self._caller = caller
        self._idle_seconds = idle_seconds
        self._task = asyncio.current_task()
        self._has_place = False
        self._in_hand = 0
        self._last = time.monotonic()
        self._answering_since: float | None = None

    async def attend(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest | Undecodable]
    ) -> AsyncGenerator[search_pb2.ImportImagesRequest | Undecodable, None]:
        """Yield the records of the stream.

        Raises:
            errors.ResourceExhausted: There are records, and too many streams work (or too many of
                this caller's); or the caller's quota is used up.
            errors.DeadlineExceeded: Nothing was sent for too long (`IDLE_STREAM`).
        """
        reading: asyncio.Future[search_pb2.ImportImagesRequest | Undecodable | None] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(anext(requests, None))
                while not reading.done():
                    await asyncio.wait({reading}, timeout=min(_LOOK_SECONDS, self._idle_seconds))
                    if not reading.done():
                        self._rest()
                request = reading.result()
                if request is None:
                    return
                self._take_place()
                await spend(Kind.IMPORTS, 1)
                self._in_hand += 1
                yield request
        finally:
            if reading is not None:
                reading.cancel()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Note that an answer is being sent while the block runs, and a record done after it."""
        self._answering_since = time.monotonic()
        try:
            yield
        finally:
            self._answering_since = None
            self._in_hand -= 1
            self._last = time.monotonic()

    def leave(self) -> None:
        """Give the place to others."""
        if self._has_place:
            self._has_place = False
            self._shares.give_back(self._caller)

    def _take_place(self) -> None:
        if self._has_place:
            return
        if not self._shares.has_room(self._caller):
            raise errors.ResourceExhausted(
                "Too many imports at a time.", retry_after=2.0, reason="TOO_MANY_IMPORTS"
            )
        self._has_place = True
        self._shares.take(self._caller)

    def _rest(self) -> None:
        """Give up the place of a stream that rests, and end one that rests for long.

        Raises:
            errors.DeadlineExceeded: It has rested for too long.
        """
        now = time.monotonic()
        if self._answering_since is not None and self._task is not None:
            if now - self._answering_since > self._idle_seconds:
                # It waits for room in the stream, and hears of nothing else.
                self._task.cancel()
            return
        if self._in_hand:
            return
        idle = now - self._last
        if idle > self._idle_seconds:
            raise errors.DeadlineExceeded(
                f"No record came for {self._idle_seconds:g} s. Open another stream when there are "
                "more.",
                reason=IDLE_STREAM,
            )
        if idle > _REST_SECONDS:
            self.leave()
