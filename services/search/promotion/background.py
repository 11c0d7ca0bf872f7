"""Runs the work of a promotion beside searches, and repeats what fails for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from halftone.services.search.archive.pace import Pace
from halftone.services.search.archive.patience import STORE, Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from halftone.services.search.archive.parts import Parts

P = ParamSpec("P")
T = TypeVar("T")


class Background:
    """Runs the calls of a promotion, and repeats a call that gets no answer.

    Attributes:
        check: Called between pieces of work. Raises an error to end the work.
        pace: Gives way to searches.
        workers: The number of pieces that are embedded at a time.
    """

    def __init__(self, parts: Parts, *, check: Callable[[], None]) -> None:
        """Prepare, without running anything yet.

        Args:
            parts: The shared parts of the service. Their settings say how fast a promotion works
                and for how long it repeats failed calls.
            check: Called between pieces of work. Raises an error to end the work.
        """
        settings = parts.settings
        self.check = check
        self.workers = settings.promotion_workers
        self.pace = Pace(
            traffic=parts.traffic,
            share=settings.promotion_share,
            most=settings.promotion_batch,
            workers=settings.promotion_workers,
        )
        self._threads = parts.holdings.threads
        self._seconds = settings.promotion_patience_seconds

    def outage(self) -> Outage:
        """Return an outage that has not begun."""
        return Outage(seconds=self._seconds, check=self.check, work="promotion")

    async def repeat(
        self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that uses the store until the store answers, and return the result.

        The function must be safe to call twice.

        Raises:
            errors.HalftoneError: An error that waiting does not help against. Or the last error,
                when the time for repeating is over.
        """
        outage = self.outage()
        while True:
            try:
                return await call(*args, **kwargs)
            except STORE as error:
                await outage.wait(error)

    async def read(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `Threads.read` until the store answers, and return the result."""
        return await self.repeat(lambda: self._threads.read(operation, call, *args, **kwargs))

    async def write(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `Threads.write` until the store answers, and return the result."""
        return await self.repeat(lambda: self._threads.write(operation, call, *args, **kwargs))
