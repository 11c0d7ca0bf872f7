"""Shares what there is between callers: who may have more, whose turn it is, who comes too late.

`Shares` counts what callers hold of something. `Turns` lets a few pieces of work run at a time and
more wait; callers take turns, so that one with a hundred searches does not keep out one with a
single search, and what could not be answered before its deadline is refused at once.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WOULD_EXPIRE: Final = "WOULD_EXPIRE"
"""The reason of the error if the answer would come after the deadline."""

LATE_TURN: Final = "LATE_TURN"
"""The reason of the error if the turn came too late after all, since others came meanwhile."""

_RESERVED: Final = 4
"""One part in so many is for callers who hold less than their share."""
_RECENT_SECONDS: Final = 5.0
"""A caller who was refused counts for so long as one who wants a share."""
_WEIGHT: Final = 0.2
"""The weight of the newest time in the mean time of a piece of work."""
_DEVIATIONS: Final = 3.0
"""A piece of work is expected to take its mean time, and so many mean deviations more."""
_CAUTION: Final = 1.5
"""The wait is expected to be so much longer than what is in the queue: others come meanwhile, who
have their turn first."""
_FIRST_SECONDS: Final = 0.3
"""What a piece of work is taken to need before one has ended."""
_SHORTEST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 30.0


class Shares:
    """Counts what each caller holds of something there is little of. For the event loop only.

    A caller may hold what is free, but for the last quarter, which is kept for callers who hold
    less than an equal share. Whoever comes next thus finds room, and when there is none left, those
    are refused first who hold most.

    Args:
        most: How much there is.
        clock: Returns the time in seconds.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._reserved = most // _RESERVED
        self._clock = clock
        self._held: collections.Counter[str] = collections.Counter()
        self._refused: dict[str, float] = {}

    @property
    def used(self) -> int:
        """Return how much all callers hold together."""
        return self._held.total()

    def held_by(self, caller: str) -> int:
        """Return how much a caller holds."""
        return self._held[caller]

    def has_room(self, caller: str) -> bool:
        """Return whether a caller may hold more. Whoever may not counts as one who wants some."""
        if self.used < self._most - self._reserved:
            return True
        now = self._clock()
        self._refused = {
            name: when for name, when in self._refused.items() if now - when < _RECENT_SECONDS
        }
        wanting = {*self._held, *self._refused, caller}
        # One more than want some now: the next caller finds room, too.
        share = math.ceil(self._most / (len(wanting) + 1))
        if self.used < self._most and self._held[caller] < share:
            return True
        self._refused[caller] = now
        return False

    def take(self, caller: str, count: int = 1) -> None:
        """Count what a caller takes, which may be more than there is."""
        self._held[caller] += count

    def give_back(self, caller: str, count: int = 1) -> None:
        """Count what a caller gives back."""
        self._held[caller] -= count
        if self._held[caller] <= 0:
            del self._held[caller]


@dataclass(eq=False, kw_only=True)
class _Waiting:
    """A piece of work that waits for its turn.

    Attributes:
        slots: How much of what runs at a time it takes.
        cost: How many times the mean piece of work it is.
        turn: Done when its turn has come, or failed with the error that refuses it.
    """

    caller: str
    slots: int
    cost: float
    turn: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns:
    """Gives turns to pieces of work. For the event loop only.

    The next turn goes to the caller of whom least runs. Work is refused if there is no room to
    wait, or if by what the last pieces of work took it would be answered after its deadline.

    Args:
        at_once: The most pieces of work that run at a time.
        waiting: The most that wait for their turn.
        message: The sentence for those for whom there is no room.
        reason: The reason of that error.
        longest_retry: The most seconds after which they are told to come back.
    """

    def __init__(
        self,
        *,
        at_once: int,
        waiting: int,
        message: str,
        reason: str,
        longest_retry: float = _LONGEST_RETRY,
    ) -> None:
        self._at_once = at_once
        self._message, self._reason = message, reason
        self._longest_retry = longest_retry
        self._shares = Shares(at_once + waiting)
        self._running: collections.Counter[str] = collections.Counter()
        self._queues: collections.OrderedDict[str, collections.deque[_Waiting]] = (
            collections.OrderedDict()
        )
        self._mean = 0.0
        self._deviation = 0.0

    def check(self, caller: str, *, deadline: float = math.inf, cost: float = 1.0) -> None:
        """Check that a piece of work would be let in now, before anything is done for it.

        Args:
            caller: Who asks.
            deadline: When the caller gives up, in the time of `time.monotonic`.
            cost: How many times the mean piece of work it is.

        Raises:
            errors.ResourceExhausted: There is no room, or the answer would come too late.
        """
        if not self._shares.has_room(caller):
            wait = self._seconds * self._shares.held_by(caller) / self._at_once
            raise errors.ResourceExhausted(
                self._message, reason=self._reason, retry_after=self._bound_retry(wait)
            )
        wait = self._expect_wait(caller, cost=cost)
        late = time.monotonic() + wait + self._seconds + _DEVIATIONS * self._deviation - deadline
        # With nothing before it, it is tried: what others took may not hold for it.
        if wait > 0 and late > 0:
            raise errors.ResourceExhausted(
                f"The answer would come about {late:.1f} s after the deadline.",
                reason=WOULD_EXPIRE,
                retry_after=self._bound_retry(min(wait, late)),
            )

    @contextlib.asynccontextmanager
    async def take(
        self, caller: str, *, deadline: float = math.inf, slots: int = 1, cost: float = 1.0
    ) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the `with` block.

        Args:
            caller: Who asks.
            deadline: When the caller gives up, in the time of `time.monotonic`. There should be
                time for one answer; what has several answers what it can.
            slots: How much of what runs at a time it takes.
            cost: How many times the mean piece of work it is.

        Raises:
            errors.ResourceExhausted: There is no room, or the answer would come too late.
        """
        self.check(caller, deadline=deadline, cost=cost)
        self._shares.take(caller, slots)
        try:
            await self._wait(_Waiting(caller=caller, slots=slots, cost=cost), deadline=deadline)
            started = time.monotonic()
            answered = False
            try:
                yield
                answered = True
            finally:
                self._leave(caller, slots=slots)
                seconds = (time.monotonic() - started) / cost
                # What ended without an answer says only that an answer takes longer.
                if answered or seconds > self._mean > 0:
                    self._measure(seconds)
        finally:
            self._shares.give_back(caller, slots)

    async def _wait(self, waiting: _Waiting, *, deadline: float) -> None:
        if self._has_slot() and not self._queues:
            self._running[waiting.caller] += waiting.slots
            return
        self._queues.setdefault(waiting.caller, collections.deque()).append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self._leave(waiting.caller, slots=waiting.slots)
            else:
                self._drop(waiting)
            raise
        # Others came since, whose turn was before.
        left = deadline - time.monotonic()
        if left < self._mean + self._deviation:
            self._leave(waiting.caller, slots=waiting.slots)
            raise errors.ResourceExhausted(
                "Others had their turn first, and the rest of the time is too short for an answer.",
                reason=LATE_TURN,
                retry_after=self._bound_retry(self._seconds),
            )

    def _has_slot(self) -> bool:
        return self._running.total() < self._at_once

    def _leave(self, caller: str, *, slots: int) -> None:
        self._running[caller] -= slots
        if self._running[caller] <= 0:
            del self._running[caller]
        while self._queues and self._has_slot():
            following = min(self._queues, key=lambda name: self._running[name])
            queue = self._queues[following]
            waiting = queue.popleft()
            if queue:
                self._queues.move_to_end(following)
            else:
                del self._queues[following]
            if not waiting.turn.done():
                self._running[following] += waiting.slots
                waiting.turn.set_result(None)

    def _drop(self, waiting: _Waiting) -> None:
        queue = self._queues.get(waiting.caller)
        if queue is not None and waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._queues[waiting.caller]

    # What is expected.

    @property
    def _seconds(self) -> float:
        return self._mean or _FIRST_SECONDS

    def _expect_wait(self, caller: str, *, cost: float) -> float:
        """Return the seconds until a caller's next piece of work has its turn; 0 if at once."""
        if self._has_slot() and not self._queues:
            return 0.0
        costs = {
            name: sum(waiting.cost for waiting in queue) for name, queue in self._queues.items()
        }
        own = costs.pop(caller, 0.0)
        # Of every other caller as much comes first as of this one, itself included.
        before = own + sum(min(other, own + cost) for other in costs.values())
        # What runs is half done.
        seconds = self._seconds * (before + self._running.total() / 2) / self._at_once
        return _CAUTION * seconds

    def _measure(self, seconds: float) -> None:
        if not self._mean:
            self._mean, self._deviation = seconds, seconds / 2
            return
        error = seconds - self._mean
        self._mean += _WEIGHT * error
        self._deviation += _WEIGHT * (abs(error) - self._deviation)

    def _bound_retry(self, seconds: float) -> float:
        return min(max(seconds, _SHORTEST_RETRY), self._longest_retry)
