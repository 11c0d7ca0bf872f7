"""How long something waits for a store or an embedder that does not answer.

An `Outage` measures one silence: it begins with the first failure and ends with the next answer. A
`Patience` starts outages of one length and repeats a call during one.
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
"""Errors of an embedder that does not answer. NOT_FOUND is one of them because an embedder that was
just told of a version is still loading it."""

_PAUSE: Final = 1.0

_log = telemetry.get_logger(__name__)


class Patience:
    """Repeats a call that fails, until a time after its first failure has passed."""

    def __init__(self, *, seconds: float, check: Callable[[], None], work: str) -> None:
        """Create a patience; no time passes before the first failure.

        Args:
            seconds: How long after its first failure a call is repeated.
            check: Called before each pause; raises an error to end the work.
            work: What waits, for the log: `promotion` logs `promotion_waits`.
        """
        self._seconds = seconds
        self._check = check
        self._work = work

    async def __call__(
        self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function of the store until it answers; it must be safe to call twice.

        Raises:
            errors.HalftoneError: An error that waiting does not help, or the last one after the
                patience has ended.
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
    """The time since something last answered, and how much more of it is acceptable."""

    def __init__(
        self, *, seconds: float, check: Callable[[], None] = lambda: None, work: str = "import"
    ) -> None:
        """Create an outage that has not begun; the arguments are those of `Patience`."""
        self._seconds = seconds
        self._check = check
        self._work = work
        self._since: float | None = None

    def begin(self, *, since: float) -> None:
        """Note a failure; an outage that has begun already goes on.

        Args:
            since: When the call that failed was made, in the time of `time.monotonic`.
        """
        if self._since is None:
            self._since = since

    def end(self) -> None:
        """Note an answer: the next failure begins another outage."""
        self._since = None

    def left(self) -> float:
        """Return the seconds until the patience ends: all of them before a failure, then fewer."""
        if self._since is None:
            return self._seconds
        return max(0.0, self._since + self._seconds - time.monotonic())

    async def wait(self, error: errors.HalftoneError) -> None:
        """Note a failure and pause before the next try.

        Raises:
            errors.HalftoneError: `error`, when the patience has ended or the disk is full.
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
