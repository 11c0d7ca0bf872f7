"""Requests, their images, and the queue in which they take turns."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
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
    """What one call asked for. Its future gets one outcome for each picture, or an error."""

    encoder: Encoder
    deadline: float | None
    accepted: float
    items: int
    size: int
    outcomes: list[ImageOutcome | None]
    unanswered: int
    request_id: str = ""
    future: concurrent.futures.Future[list[ImageOutcome]] = field(
        default_factory=concurrent.futures.Future
    )

    def fail(self, error: errors.HalftoneError) -> None:
        """Ends the request by an error, unless it has ended."""
        # The caller may cancel at any moment; whoever comes first decides how the request ends.
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
    """One input of the network: the picture (slot 0) or its mirror image (slot 1)."""

    work: Work
    slot: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Items on their way to the device; `staged` is what the encoder made of them."""

    encoder: Encoder
    items: list[Item]
    staged: Any


class Turns(Generic[T]):
    """A queue in which requests take turns; the entries of each stay in order."""

    def __init__(self) -> None:
        self._lanes: collections.OrderedDict[Request, collections.deque[T]] = (
            collections.OrderedDict()
        )
        self.count = 0

    def add(self, request: Request, entry: T) -> None:
        """Puts an entry at the end of its request's own line."""
        self._lanes.setdefault(request, collections.deque()).append(entry)
        self.count += 1

    def take(self) -> T:
        """Takes one entry of the request whose turn it is. KeyError when nothing waits."""
        request, lane = self._lanes.popitem(last=False)
        entry = lane.popleft()
        if lane:
            self._lanes[request] = lane
        self.count -= 1
        return entry

    def drop(self, request: Request) -> None:
        """Forgets what a request has waiting."""
        self.count -= len(self._lanes.pop(request, ()))
