"""Decides when to try again: bounded, with full jitter, never past the deadline. Does no I/O."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable


def is_retryable(error: errors.HalftoneError) -> bool:
    """Return whether a call may succeed later.

    It may after UNAVAILABLE, and after RESOURCE_EXHAUSTED if the service said when to come back.
    A full disk is not worth another try.
    """
    if isinstance(error, errors.StorageFull):
        return False
    if isinstance(error, errors.ResourceExhausted):
        return error.retry_after is not None
    return isinstance(error, errors.Unavailable)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The limits on how often, and after which pauses, a call is tried again.

    The pause before try n+1 is drawn uniformly between 0 and `first_pause` * 2**(n-1), at most
    `longest_pause` ("full jitter", which spreads clients out best after an outage), and comes on
    top of the pause that the service asked for with RetryInfo.

    Attributes:
        attempts: The most tries of one call, the first included; 1 never retries.
        first_pause: The longest pause before the second try, in seconds.
        longest_pause: The longest pause before any try, in seconds.
        import_patience: Seconds without a single acknowledgement after which an import that lost
            its stream gives up. An import has no other bound on its retries.
    """

    attempts: int = 5
    first_pause: float = 0.1
    longest_pause: float = 5.0
    import_patience: float = 60.0

    def when(self, *, repeatable: bool) -> RetryPolicy:
        """Return this policy, or one with a single try for a call that must not be repeated."""
        return self if repeatable else replace(self, attempts=1)

    def pause(self, *, failures: int, error: errors.HalftoneError, draw: float) -> float:
        """Return the seconds to wait before the next try.

        Args:
            failures: The number of tries that failed.
            error: The last failure. If it says when to come back, that time is added.
            draw: A random number, uniform in [0, 1): the share to take of the longest pause.
        """
        ceiling = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 30))
        asked: float | None = getattr(error, "retry_after", None)
        return draw * ceiling + (asked or 0.0)


@dataclass(kw_only=True)
class Attempts:
    """The tries of one call.

    Attributes:
        timeout: Seconds for all tries and pauses together.
        on_retry: Called each time that there is a next try, before the pause.
        draw: Returns a random number, uniform in [0, 1).
        failures: The number of tries that failed.
    """

    policy: RetryPolicy
    timeout: float
    on_retry: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    failures: int = 0
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def remaining(self) -> float:
        """Return the seconds that are left, which are the deadline of the next try."""
        return max(0.0, self._started + self.timeout - self.clock())

    def pause_after(self, error: errors.HalftoneError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            errors.HalftoneError: `error`, if there is no next try.
        """
        self.failures += 1
        if not is_retryable(error) or self.failures >= self.policy.attempts:
            raise error
        pause = self.policy.pause(failures=self.failures, error=error, draw=self.draw())
        if pause >= self.remaining():
            # Waiting would only replace this error by DEADLINE_EXCEEDED.
            raise error
        self.on_retry()
        return pause
