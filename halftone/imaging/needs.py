"""What a picture needs to be decoded, and the budget that many of them share."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from halftone.core import errors
from halftone.imaging.reasons import TOO_EXPENSIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

BYTES_PER_PIXEL: Final = 5
"""Bytes for each pixel of the largest picture that is read: what one of them may take. Colours take
four and their copy in grey one, so that 400 million pixels take 2 GB."""
_LEAST_BYTES: Final = 512 << 20
"""Bytes that every picture may take, however low the limit of pixels is."""
_SLICE: Final = 0.1
"""Seconds between two looks at whether somebody still waits for the memory."""


class Need(NamedTuple):
    """What decoding a picture takes.

    Attributes:
        pixels: The pixels of the whole picture.
        memory_bytes: The most memory that the decoder and what follows allocate.
    """

    pixels: int
    memory_bytes: int


def find_most_bytes(max_pixels: int) -> int:
    """Return how many bytes decoding one picture may take.

    Args:
        max_pixels: The most pixels that a picture may have.
    """
    return max(_LEAST_BYTES, BYTES_PER_PIXEL * max_pixels)


def count_bytes(mode: str, *, luminance: bool, turned: bool) -> int:
    """Return the bytes that Pillow, the conversion and a copy take for each pixel.

    Args:
        mode: The mode of the decoded picture, as Pillow names it.
        luminance: Whether it becomes grey.
        turned: Whether it is turned, which takes a copy.
    """
    own = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4
    grey = luminance or mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")
    result = 1 if grey else 4
    copies = result * (turned + (mode not in ("L", "RGB") or result < own))
    # A palette with transparent colours, and colours that are no light, become RGB first.
    between = 0 if mode in ("1", "L", "I", "F", "RGB", "LA", "RGBA") or own == 2 else 4  # noqa: PLR2004 - 16 bits
    return own + copies + between


class Reserve(Protocol):
    """Waits until a picture may take what it needs, and keeps that for the `with` block."""

    def __call__(self, need: Need, /) -> AbstractContextManager[None]:
        """Wait until the picture may take what it needs."""


class MemoryBudget:
    """Limits the memory that a process and its workers decode with at a time.

    Args:
        limit: The most bytes at a time. A picture that needs more is decoded alone.
    """

    def __init__(self, limit: int = 1_200_000_000) -> None:
        self._limit = limit
        self._used = 0
        # A caller that waits for room lets nobody pass, so that small pictures do not keep a large
        # one out for ever.
        self._door = threading.Lock()
        self._freed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, need: Need) -> Iterator[None]:
        """Wait until there is room for a picture. The room is kept until the block ends."""
        self.take(need.memory_bytes)
        try:
            yield
        finally:
            self.free(need.memory_bytes)

    def take(self, size: int, *, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait until there is room for `size` bytes, and take it.

        Args:
            size: The bytes.
            is_over: Tells that nobody waits for the picture any more.

        Returns:
            Whether the room was taken; not, if it is over.
        """
        while not self._door.acquire(timeout=_SLICE):
            if is_over():
                return False
        try:
            with self._freed:
                while self._used and self._used + size > self._limit:
                    if is_over():
                        return False
                    self._freed.wait(_SLICE)
                self._used += size
                return True
        finally:
            self._door.release()

    def free(self, size: int) -> None:
        """Give back the room for `size` bytes."""
        with self._freed:
            self._used -= size
            self._freed.notify()


def refuse(kind: str, what: str, *, most: int, number: int | None = None) -> errors.ImageRejected:
    """Return the error of a file that has too many of something.

    Args:
        kind: The format.
        what: What there are too many of.
        most: The most that are read.
        number: How many there are; None: they were not counted to the end.
    """
    many = f"more than {most:,}" if number is None else f"{number:,}"
    return errors.ImageRejected(
        f"The {kind} file has {many} {what}; the limit is {most:,}.",
        reason=TOO_EXPENSIVE,
        metadata={"what": what, "limit": str(most), "number": str(number or most + 1)},
    )


def too_much_memory() -> errors.ImageRejected:
    """Return the error of a picture that takes more memory than one of its size may."""
    return errors.ImageRejected(
        "The picture takes more memory to decode than a picture of its size may take.",
        reason=TOO_EXPENSIVE,
    )


def too_much_time() -> errors.ImageRejected:
    """Return the error of a picture that takes more time than one of its size may."""
    return errors.ImageRejected(
        "The picture takes more time to decode than a picture of its size may take.",
        reason=TOO_EXPENSIVE,
    )
