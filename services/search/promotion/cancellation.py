"""Finds out whether somebody asked to cancel a promotion, in this process or another one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry

if TYPE_CHECKING:
    from halftone.services.search.promotion.files import PromotionFiles

_LOOK_SECONDS: Final = 0.2

_log = telemetry.get_logger(__name__)


class StopPromotion(Exception):  # noqa: N818 - no error
    """Raised inside a promotion's work because somebody asked to cancel it."""


class Cancellation:
    """Tells whether somebody asked to cancel a promotion.

    The request is a file, which may lie on a shared volume, so that reading it takes a while:
    `watch` reads it in a thread now and then, and `check` costs nothing.
    """

    def __init__(self, promotion_id: str, *, files: PromotionFiles) -> None:
        self._promotion_id = promotion_id
        self._files = files
        self._is_asked = False

    def check(self) -> None:
        """Raise `StopPromotion` if `watch` or `read` has seen the request."""
        if self._is_asked:
            raise StopPromotion

    def read(self) -> bool:
        """Return whether the file now asks to cancel the promotion. Blocks.

        A file that cannot be read counts as no request; that is logged.
        """
        if not self._is_asked:
            try:
                self._is_asked = self._files.is_cancelled(self._promotion_id)
            except errors.HalftoneError as error:
                _log.warning("cancellation_not_read", error=error.message)
        return self._is_asked

    async def watch(self) -> None:
        """Read the file repeatedly until it asks to cancel the promotion."""
        while not await asyncio.to_thread(self.read):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(_LOOK_SECONDS)
