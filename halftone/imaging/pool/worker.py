"""What a worker process does: call functions with pictures, within limits, one at a time."""

from __future__ import annotations

import contextlib
import pickle
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import errors, system
from halftone.imaging import needs
from halftone.imaging.pool.messages import Channel, ChannelClosedError, Kind, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.imaging.needs import Need

_SECONDS_PER_MEGAPIXEL: Final = 0.1
"""CPU seconds that a large picture may take on top: several times what the slowest format does."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may take.

    Attributes:
        memory_bytes: Memory besides what the need of a picture grants.
        seconds: CPU seconds, and 0.1 more for each million pixels.
        nice: By how much workers give way to other processes.
    """

    memory_bytes: int
    seconds: float
    nice: int = 0


class Worker:
    """Answers calls over a channel until the other side closes it."""

    def __init__(self, channel: Channel, *, limits: Limits) -> None:
        self._channel = channel
        self._limits = limits
        self._granted = 0
        self._seconds = 0.0
        self._started = 0.0
        self._base = 0

    def run(self) -> None:
        """Answer calls. Returns when the pool has ended."""
        system.return_large_memory()
        with contextlib.suppress(ChannelClosedError):
            while True:
                self._answer()

    def _answer(self) -> None:
        frame = self._channel.receive(timeout=None)
        assert frame is not None  # noqa: S101 - there is no timeout
        function, length, arguments = pickle.loads(frame.body)  # noqa: S301 - from the service
        content = self._channel.read(length)
        self._granted, self._seconds = 0, self._limits.seconds
        self._started, self._base = time.process_time(), system.data_bytes()
        self._limit()
        try:
            value = function(content, reserve=self.reserve, **arguments)
            kind, parts = Kind.RESULT, pack(value)
        except ChannelClosedError:
            raise
        except MemoryError:
            kind, parts = Kind.ERROR, pack(needs.too_much_memory())
        except errors.HalftoneError as error:
            kind, parts = Kind.ERROR, pack(error.with_traceback(None))
        except Exception:  # noqa: BLE001 - the pool raises it again
            kind, parts = Kind.ERROR, pack(traceback.format_exc())
        try:
            lengths = self._channel.write(parts)
        except OSError:
            kind, lengths = Kind.ERROR, self._channel.write(pack(needs.too_much_memory()))
        self._channel.send(kind, lengths)

    @contextlib.contextmanager
    def reserve(self, need: Need) -> Iterator[None]:
        """Wait until the pool has the memory that a picture needs; it is free after the block."""
        self._seconds += _SECONDS_PER_MEGAPIXEL * need.pixels / 1e6
        extra = max(0, need.memory_bytes - self._limits.memory_bytes // 2)
        if extra:
            self._channel.send(Kind.NEED, [extra])
            self._channel.receive(timeout=None)
        self._granted += extra
        self._limit()
        try:
            yield
        finally:
            self._granted -= extra
            if extra:
                self._channel.send(Kind.FREE)

    def _limit(self) -> None:
        system.limit_process(
            data_bytes=self._base + self._limits.memory_bytes + self._granted,
            cpu_seconds=self._started + self._seconds,
        )
