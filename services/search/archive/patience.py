"""Waits for a store or an embedder that does not answer, for a limited time.

An `Outage` begins with the first failure and ends with the next answer. A `Patience` creates
outages of one length and repeats a call during one.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from halftone.core import errors, telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")

STORE: Final = (errors.Unavailable, errors.DeadlineExceeded)
"""Errors of a store that does not answer."""

EMBEDDER: Final = (*STORE, errors.ResourceExhausted, errors.NotFound)
"""Errors of an embedder that does not answer. NOT_FOUND is one of them because an embedder may
still be loading a version that it was just told of."""

_PAUSE: Final = 1.0

_log = telemetry.get_logger(__name__)


class Patience:
    """Repeats a failing call, for a limited time after its first failure."""

    def __init__(self, *, seconds: float, check: Callable[[], None], work: str) -> None:
        """Create a patience. Its time starts with the first failure.

        Args:
            seconds: Seconds after its first failure for which a call is repeated.
            check: Called before each pause; raises an error to end the work.
            work: The name of the work for the log: `promotion` logs `promotion_waits`.
        """
        self._seconds = seconds
        self._check = check
        self._work = work

    async def __call__(
        self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function of the store until it answers. It must be safe to call twice.

        Raises:
            errors.HalftoneError: An error that waiting does not help against, or the last error
                when the time is over.
        """
        outage = self.outage()
        while True:
            try:
                return await call(*args, **kwargs)
            except STORE as error:
                await outage.wait(error)

    def outage(self) -> Outage:
        """Return an outage that has not begun."""
        return Outage(seconds=self._seconds, check=self._check, work=self._work)


class Outage:
    """The time since the last answer, and how much more of it is acceptable."""

    def __init__(
        self, *, seconds: float, check: Callable[[], None] = lambda: None, work: str = "import"
    ) -> None:
        """Create an outage that has not begun. See `Patience` for the arguments."""
        self._seconds = seconds
        self._check = check
        self._work = work
        self._since: float | None = None

    def begin(self, *, since: float) -> None:
        """Note a failure. An outage that has begun already continues.

        Args:
            since: When the failed call was made, in the time of `time.monotonic`.
        """
        if self._since is None:
            self._since = since

    def end(self) -> None:
        """Note an answer. The next failure begins another outage."""
        self._since = None

    def left(self) -> float:
        """Return the seconds until the patience ends. Before a failure, that is all of them."""
        if self._since is None:
            return self._seconds
        return max(0.0, self._since + self._seconds - time.monotonic())

    async def wait(self, error: errors.HalftoneError) -> None:
        """Note a failure and pause before the next try.

        Raises:
            errors.HalftoneError: The given `error`, if the patience has ended or the disk is full.
        """
        if isinstance(error, errors.StorageFull):
            raise error
        now = time.monotonic()
        if self._since is None:
            self._since = now
            _log.warning(f"{self._work}_waits", reason=error.reason, error=error.message)
        if now - self._since > self._seconds:
            raise error
        self._check()
        await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
