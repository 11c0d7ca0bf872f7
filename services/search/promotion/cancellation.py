"""The wish to stop a promotion, which any process may have written down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry

if TYPE_CHECKING:
    from halftone.services.search.promotion.files import PromotionFiles

_LOOK_SECONDS: Final = 0.2

_log = telemetry.get_logger(__name__)


class StopPromotion(Exception):  # noqa: N818 - no error
    """Raised in the middle of a promotion's work because somebody asked to cancel it."""


class Cancellation:
    """Whether somebody asked to cancel a promotion.

    The file that says so may lie on a shared volume, so that reading it takes a while: `watch`
    reads it in a thread now and then, and `check` costs nothing.
    """

    def __init__(self, promotion_id: str, *, files: PromotionFiles) -> None:
        self._promotion_id = promotion_id
        self._files = files
        self._is_asked = False

    def check(self) -> None:
        """Raise `StopPromotion` if `watch` or `read` has seen the wish."""
        if self._is_asked:
            raise StopPromotion

    def read(self) -> bool:
        """Return whether the promotion is to be cancelled, by the file as it is now. Blocks.

        A file that cannot be read counts as no wish; that is logged.
        """
        if not self._is_asked:
            try:
                self._is_asked = self._files.is_cancelled(self._promotion_id)
            except errors.HalftoneError as error:
                _log.warning("cancellation_not_read", error=error.message)
        return self._is_asked

    async def watch(self) -> None:
        """Read the file again and again, until the promotion is to be cancelled."""
        while not await asyncio.to_thread(self.read):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(_LOOK_SECONDS)
