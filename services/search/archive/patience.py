"""Waits for a store or an embedder that does not answer, for a limited time."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from halftone.core import errors, telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Answer = TypeVar("_Answer")

STORE: Final = (errors.Unavailable, errors.DeadlineExceeded)
"""Errors of a store that does not answer."""

EMBEDDER: Final = (*STORE, errors.ResourceExhausted, errors.NotFound)
"""Errors of an embedder that does not answer. NOT_FOUND is one of them because an embedder may
still be loading a version that it was just told of."""

CHANGED_MEANWHILE: Final = "CHANGED_MEANWHILE"
"""The reason if a record was changed by somebody else while it was imported."""

_PAUSE: Final = 1.0

_log = telemetry.get_logger(__name__)


class Outage:
    """The time without an answer: from the first failure until the next answer."""

    def __init__(
        self, *, seconds: float, check: Callable[[], None] = lambda: None, work: str = "import"
    ) -> None:
        """Create an outage that has not begun.

        Args:
            seconds: How long after the first failure calls are repeated.
            check: Called before each pause; raises an error to end the work.
            work: The name of the work for the log: `promotion` logs `promotion_waits`.
        """
        self._seconds = seconds
        self._check = check
        self._work = work
        self._since: float | None = None

    def begin(self, *, since: float) -> None:
        """Record that a call failed. The first failure begins the outage; others change nothing.

        Args:
            since: When the failed call was made, in the time of `time.monotonic`.
        """
        if self._since is None:
            self._since = since

    def end(self) -> None:
        """Record that a call was answered, so this outage is over.

        The next failure begins a new one.
        """
        self._since = None

    def left(self) -> float:
        """Return the seconds for which calls are still repeated; all of them before a failure."""
        if self._since is None:
            return self._seconds
        return max(0.0, self._since + self._seconds - time.monotonic())

    async def wait(self, error: errors.HalftoneError) -> None:
        """Record that a call failed, and pause before the next try.

        Args:
            error: The error of the call.

        Raises:
            errors.HalftoneError: `error` itself, if the outage has lasted too long or the disk is
                full; or what `check` raises.
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


async def insist(
    call: Callable[[], Awaitable[_Answer]],
    *,
    outage: Outage,
    on_retry: Callable[[errors.HalftoneError], None] = lambda _error: None,
) -> _Answer:
    """Call a store until it answers, and return its answer.

    Args:
        call: The call. Making it twice must have the effect of making it once.
        outage: The outage of the store, which says for how long calls are repeated.
        on_retry: Called with the error before each further try.

    Raises:
        errors.HalftoneError: The call was refused, or the outage has lasted too long.
    """
    while True:
        try:
            answer = await call()
        except errors.HalftoneError as error:
            if not is_outage(error):
                raise
            await outage.wait(error)
            on_retry(error)
        else:
            outage.end()
            return answer


def is_outage(error: errors.HalftoneError) -> bool:
    """Return whether a store failed as a whole, so that the same call may succeed later.

    A collection that is not there is one that another process has just dropped: the next call asks
    its successor.
    """
    if isinstance(error, errors.NotFound):
        return error.resource_type == "collection"
    if isinstance(error, errors.ResourceExhausted):
        return error.retry_after is not None and not isinstance(error, errors.StorageFull)
    return isinstance(error, STORE)


def blames_engine(error: errors.HalftoneError) -> bool:
    """Return whether a record was not stored for the sake of a store, an embedder or a disk.

    Such a record is as good as before and is to be sent again. A record that somebody else changed
    meanwhile is refused for its own sake, although its error is UNAVAILABLE.
    """
    if error.reason == CHANGED_MEANWHILE:
        return False
    return is_outage(error) or isinstance(error, errors.ResourceExhausted | errors.Cancelled)
