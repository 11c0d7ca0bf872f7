"""Requests, their images and items, and a queue that serves requests in turns."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from halftone.core import errors
    from halftone.services.embedder.encoders.encoder import (
        Encoder,
        ImageOutcome,
        InputImage,
        PreparedImage,
    )

T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Request:
    """The images of one call, and the future that the caller waits for.

    Attributes:
        encoder: The encoder that embeds them.
        deadline: When the caller gives up, on the monotonic clock; None means never.
        accepted: When it was accepted, on the monotonic clock.
        items: The number of network inputs that it needs.
        size: The bytes of its images.
        outcomes: The outcome of each image, in order; None while there is none.
        unanswered: How many outcomes are None.
        request_id: The id of the request, for the log.
        caller: What tells the caller apart from others.
        future: The future that gets the outcomes, or an error.
    """

    encoder: Encoder
    deadline: float | None
    accepted: float
    items: int
    size: int
    outcomes: list[ImageOutcome | None]
    unanswered: int
    request_id: str = ""
    caller: str = ""
    future: concurrent.futures.Future[list[ImageOutcome]] = field(
        default_factory=concurrent.futures.Future
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, index: int, outcome: ImageOutcome) -> list[ImageOutcome] | None:
        """Record the outcome of the image at `index`, unless it has one already.

        It has one if another of its orientations failed. Returns the outcomes of all images once
        the last one has its outcome, and None before that.
        """
        with self._lock:
            if self.outcomes[index] is not None:
                return None
            self.outcomes[index] = outcome
            self.unanswered -= 1
            if self.unanswered:
                return None
            return [known for known in self.outcomes if known is not None]

    def fail(self, error: errors.HalftoneError) -> None:
        """End the request with an error unless it has ended."""
        # The caller may cancel at any moment. The first of the two decides how the request ends.
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.future.set_exception(error)


@dataclass(eq=False, kw_only=True)
class Work:
    """One image of a request."""

    request: Request
    index: int
    picture: InputImage
    prepared: PreparedImage | None = None
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One input of the network, uint8 [S, S]: an orientation of an image.

    `slot` is its place among the orientations of the image; 0 is the upright one.
    """

    work: Work
    slot: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Items that are on the device; `staged` is what `Encoder.stage` returned for them."""

    encoder: Encoder
    items: list[Item]
    staged: Any


class Turns(Generic[T]):
    """A queue that serves callers in turns, and the requests of each in turns.

    The entries of each request stay in order.
    """

    def __init__(self) -> None:
        self._callers: collections.OrderedDict[
            str, collections.OrderedDict[Request, collections.deque[T]]
        ] = collections.OrderedDict()
        self.count = 0

    def add(self, request: Request, entry: T) -> None:
        """Add an entry to the end of its request's line."""
        lanes = self._callers.setdefault(request.caller, collections.OrderedDict())
        lanes.setdefault(request, collections.deque()).append(entry)
        self.count += 1

    def take(self) -> T:
        """Remove and return an entry of the next request of the next caller.

        Raises:
            KeyError: The queue is empty.
        """
        caller, lanes = self._callers.popitem(last=False)
        request, lane = lanes.popitem(last=False)
        entry = lane.popleft()
        if lane:
            lanes[request] = lane
        if lanes:
            self._callers[caller] = lanes
        self.count -= 1
        return entry

    def drop(self, request: Request) -> None:
        """Remove all entries of a request."""
        lanes = self._callers.get(request.caller)
        if lanes is None:
            return
        self.count -= len(lanes.pop(request, ()))
        if not lanes:
            del self._callers[request.caller]
