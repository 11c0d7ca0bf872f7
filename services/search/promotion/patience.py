"""For how long a promotion waits for what does not answer."""

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
"""What a store raises that does not answer."""

EMBEDDER: Final = (*STORE, errors.ResourceExhausted, errors.NotFound)
"""What an embedder raises, too: one that was just told of a version loads it."""

_PAUSE: Final = 1.0

_log = telemetry.get_logger(__name__)


class Patience:
    """Repeats what failed, for so long from its first failure on."""

    def __init__(self, *, seconds: float, check: Callable[[], None]) -> None:
        """Waits for nothing yet.

        Args:
            seconds: For how long something that does not answer is waited for.
            check: Called before each wait; raises when the work is to end.
        """
        self._seconds = seconds
        self._check = check

    async def __call__(
        self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Does what asks the store, until it answers; it must be safe to do twice.

        Raises:
            errors.HalftoneError: What the call raised that waiting does not help, or that it still
                raised when the patience had ended.
        """
        outage = self.outage()
        while True:
            try:
                return await call(*args, **kwargs)
            except STORE as error:
                await outage.wait(error)

    def outage(self) -> Outage:
        """Of which nothing was seen yet."""
        return Outage(seconds=self._seconds, check=self._check)


class Outage:
    """The time for which one thing has not answered."""

    def __init__(self, *, seconds: float, check: Callable[[], None]) -> None:
        self._seconds = seconds
        self._check = check
        self._since: float | None = None

    def over(self) -> None:
        """It has answered: the next failure begins another outage."""
        self._since = None

    async def wait(self, error: errors.HalftoneError) -> None:
        """Waits before the next try; raises the error when there is no patience left."""
        if isinstance(error, errors.StorageFull):
            raise error
        now = time.monotonic()
        if self._since is None:
            self._since = now
            _log.warning("promotion_waits", reason=error.reason, error=error.message)
        if now - self._since > self._seconds:
            raise error
        self._check()
        await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
