"""Admits or refuses requests: limits the queue and estimates how long a request will wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.service.turns import Shares

if TYPE_CHECKING:
    from halftone.services.embedder.metrics import EmbedderMetrics

_SHORTEST_RETRY: Final = 0.05
_LONGEST_RETRY: Final = 30.0
# Weight of the newest batch in the estimated drain rate.
_RATE_WEIGHT: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of the queue and of a batch.

    Attributes:
        max_batch: The most items in a batch.
        max_queue_items: The most items that may wait.
        max_queue_bytes: The most bytes of images that may wait.
    """

    max_batch: int
    max_queue_items: int
    max_queue_bytes: int


class Door:
    """Counts the admitted requests. Not thread-safe: the caller holds the lock."""

    def __init__(self, *, limits: Limits, metrics: EmbedderMetrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._shares = Shares(limits.max_queue_items)
        self._items = 0
        self._bytes = 0
        self._seconds_per_item = 0.0
        self._last_batch_ended = 0.0

    def enter(self, *, items: int, size: int, time_left: float | None, caller: str = "") -> None:
        """Admit a request, or refuse it.

        Args:
            items: The number of its items.
            size: The number of bytes of its images.
            time_left: Seconds until the caller gives up; None means never.
            caller: What tells the caller apart from others; empty if nothing does.

        Raises:
            errors.ResourceExhausted: There is no room, or what is left of it is for others, or the
                deadline would pass in the queue.
        """
        limits = self._limits
        if items > limits.max_queue_items or size > limits.max_queue_bytes:
            self._metrics.rejected.labels("LARGER_THAN_QUEUE").inc()
            raise errors.ResourceExhausted(
                f"The request has {items} items and {size:,} bytes; the whole queue holds "
                f"{limits.max_queue_items} and {limits.max_queue_bytes:,}.",
                reason="LARGER_THAN_QUEUE",
            )
        too_many = self._items + items - limits.max_queue_items
        too_large = self._bytes + size - limits.max_queue_bytes
        if too_many > 0 or too_large > 0:
            # How many of the waiting items hold how many bytes is not known.
            excess = self._items if too_large > 0 else too_many
            raise self._refusal("QUEUE_FULL", "The embedder's queue is full.", items=excess)
        if caller and not self._shares.has_room(caller):
            held = self._shares.held_by(caller)
            raise self._refusal(
                "QUEUE_FULL", "What is left of the embedder's queue is for others.", items=held
            )
        # A request that cannot be answered in time would be decoded and embedded for nobody.
        wait = self._items * self._seconds_per_item
        if time_left is not None and self._items >= limits.max_batch and wait > time_left:
            raise self._refusal(
                "WOULD_EXPIRE",
                f"The queue needs about {wait:.1f} s; the deadline is in {time_left:.1f} s.",
                items=self._items,
            )
        self._shares.take(caller, items)
        self._account(items=items, size=size)

    def leave(self, *, items: int, size: int, caller: str = "") -> None:
        """Remove an admitted request from the count, however it ended.

        Args:
            items: The number of its items, as in `enter`.
            size: The number of bytes of its images, as in `enter`.
            caller: Its caller, as in `enter`.
        """
        self._shares.give_back(caller, items)
        self._account(items=-items, size=-size)

    def measure(self, *, items: int, accepted: float) -> None:
        """Update the drain rate with a batch that has just ended.

        Args:
            items: The number of its items.
            accepted: When its oldest item was accepted, on the monotonic clock. The time of the
                batch is counted from there, or from the end of the last batch if that was later.
        """
        now = time.monotonic()
        newest = (now - max(self._last_batch_ended, accepted)) / items
        self._last_batch_ended = now
        known = self._seconds_per_item or newest
        self._seconds_per_item = known + _RATE_WEIGHT * (newest - known)

    def _refusal(self, reason: str, message: str, *, items: int) -> errors.ResourceExhausted:
        self._metrics.rejected.labels(reason).inc()
        wait = items * self._seconds_per_item
        return errors.ResourceExhausted(
            message, reason=reason, retry_after=min(max(wait, _SHORTEST_RETRY), _LONGEST_RETRY)
        )

    def _account(self, *, items: int, size: int) -> None:
        self._items += items
        self._bytes += size
        self._metrics.queue_items.set(self._items)
        self._metrics.queue_bytes.set(self._bytes)
