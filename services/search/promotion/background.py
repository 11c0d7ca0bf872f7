"""How a promotion uses the store: beside searches, and patiently."""

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
    """Runs a promotion's calls; those that fail because something is away are repeated.

    Attributes:
        check: Called between pieces of work; raises when the work is to end.
        pace: Makes room for searches.
        workers: How many pieces are embedded at a time.
    """

    def __init__(self, parts: Parts, *, check: Callable[[], None]) -> None:
        """Run nothing yet; the settings of promotions say how fast, and how patiently."""
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

    async def read(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Read from the store, see `Threads.read`, until it answers."""
        return await self.repeat(lambda: self._threads.read(operation, call, *args, **kwargs))

    async def write(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Change the store, see `Threads.write`, until it answers."""
        return await self.repeat(lambda: self._threads.write(operation, call, *args, **kwargs))
