"""Computes the progress of a promotion, its speed and the time left."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.v1 import models_pb2

_RATE_SECONDS: Final = 20.0


class Progress:
    """Updates a promotion's counts of images, its speed and the time that is left."""

    def __init__(
        self, promotion: models_pb2.Promotion, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Remember the promotion. Nothing is changed yet.

        Args:
            promotion: The message whose fields are updated.
            clock: Returns seconds.
        """
        self._promotion = promotion
        self._clock = clock
        self._embedded = 0
        # The time, and how many images had been checked and embedded by then.
        self._rates: collections.deque[tuple[float, int, int]] = collections.deque()

    def begin(self, *, total: int) -> None:
        """Start counting at the first of the `total` images of the archive."""
        promotion = self._promotion
        promotion.images_done, promotion.images_total = 0, total
        promotion.images_per_second = promotion.seconds_left = 0.0
        self._embedded = 0
        self._rates.clear()

    def add(self, images: int, *, embedded: int, failed: int) -> None:
        """Count images that were checked.

        Args:
            images: The number of images.
            embedded: How many of these images had to be embedded.
            failed: How many images could not be embedded since the promotion began.
        """
        promotion, now = self._promotion, self._clock()
        promotion.images_done += images
        promotion.images_total = max(promotion.images_total, promotion.images_done)
        promotion.images_failed = failed
        self._embedded += embedded
        # Images that an earlier run has embedded are skipped quickly. So the speed
        # is measured from the first image that this run embeds.
        if not self._embedded:
            return
        self._rates.append((now, promotion.images_done, self._embedded))
        while now - self._rates[0][0] > _RATE_SECONDS:
            self._rates.popleft()
        began, done_before, embedded_before = self._rates[0]
        looked_at = promotion.images_done - done_before
        if now > began and looked_at:
            promotion.images_per_second = (self._embedded - embedded_before) / (now - began)
            # If few images are missing, most of the others are only checked.
            left = promotion.images_total - promotion.images_done
            promotion.seconds_left = left * (now - began) / looked_at
