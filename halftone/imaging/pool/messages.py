"""Carries calls, bytes and results between the pool and its workers.

A channel is a socket and a file in shared memory. The socket carries short frames, the file what is
large: the bytes of a picture one way, and the result the other way. One side writes to the file at
a time, before it sends the frame that says so.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEADER: Final = struct.Struct("!BI")
_LARGEST_FRAME: Final = 1 << 20
"""Bytes of a frame. Only arguments of a function and lengths of a result are in it."""
_KEPT_BYTES: Final = 4 << 20
"""Bytes of shared memory that a channel keeps between two calls."""
_PIECE: Final = 1 << 30
"""The most bytes that one call of the system reads or writes."""


class Kind(IntEnum):
    """What a frame says."""

    CALL = 1
    """To a worker: call this function with the bytes in the file."""
    NEED = 2
    """From a worker: the picture takes so much memory; may I have it?"""
    GRANT = 3
    """To a worker: yes."""
    FREE = 4
    """From a worker: the memory is free again."""
    RESULT = 5
    """From a worker: the result is in the file."""
    ERROR = 6
    """From a worker: the error that the function raised is in the file."""


class Frame(NamedTuple):
    """A message of a channel: what it says, and a pickled value."""

    kind: Kind
    body: bytes


class ChannelClosedError(Exception):
    """The other side has ended."""


class Channel:
    """One end of the connection between the pool and a worker."""

    def __init__(self, connection: socket.socket, *, file: int) -> None:
        """Take over a connected socket and the descriptor of a shared file."""
        self._socket = connection
        self._file = file
        self._received = bytearray()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
        os.close(self._file)

    def is_closed_there(self) -> bool:
        """Return whether the other side has ended. Nothing is received."""
        if self._received:
            return False
        try:
            self._socket.settimeout(0)
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, kind: Kind, value: Any = None) -> None:
        """Send a frame.

        Raises:
            ChannelClosedError: The other side has ended.
        """
        body = pickle.dumps(value, protocol=5)
        try:
            self._socket.settimeout(None)
            self._socket.sendall(_HEADER.pack(kind, len(body)) + body)
        except OSError as error:
            raise ChannelClosedError from error

    def receive(self, *, timeout: float | None) -> Frame | None:
        """Return the next frame; None if there is none within `timeout` seconds.

        Raises:
            ChannelClosedError: The other side has ended.
        """
        while (frame := self._take()) is None:
            try:
                self._socket.settimeout(timeout)
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise ChannelClosedError from error
            if not more:
                raise ChannelClosedError
            self._received += more
        return frame

    def _take(self) -> Frame | None:
        if len(self._received) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._received)
        if length > _LARGEST_FRAME:
            raise ChannelClosedError
        end = _HEADER.size + length
        if len(self._received) < end:
            return None
        body = bytes(self._received[_HEADER.size : end])
        del self._received[:end]
        return Frame(Kind(kind), body)

    def write(self, parts: Sequence[bytes | memoryview]) -> list[int]:
        """Write parts to the file, one behind the other, and return their lengths in bytes.

        Raises:
            OSError: There is no memory for them.
        """
        at, lengths = 0, []
        for part in parts:
            view = memoryview(part).cast("B")
            lengths.append(len(view))
            while view:
                written = os.pwrite(self._file, view[:_PIECE], at)
                at += written
                view = view[written:]
        return lengths

    def read(self, length: int) -> bytes:
        """Return the first `length` bytes of the file."""
        parts, at = [], 0
        while at < length and (part := os.pread(self._file, min(_PIECE, length - at), at)):
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def free(self) -> None:
        """Give the memory of a large file back."""
        if os.fstat(self._file).st_size > _KEPT_BYTES:
            os.ftruncate(self._file, 0)


def pack(value: object) -> list[bytes | memoryview]:
    """Return a value as bytes, and those of its arrays and pictures without a copy."""
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    return [stream.getvalue(), *(buffer.raw() for buffer in buffers)]


def unpack(content: bytes, *, lengths: Sequence[int]) -> Any:
    """Return the value of what `pack` returned. Arrays are read-only views of `content`.

    The process that packed it has read a stranger's bytes and may have been taken over by them. So
    only classes of Halftone, and those of arrays, pictures and plain data, are made.

    Raises:
        pickle.UnpicklingError: It holds something else.
    """
    view = memoryview(content)
    parts, at = [], 0
    for length in lengths:
        parts.append(view[at : at + length])
        at += length
    return _Unpickler(io.BytesIO(parts[0]), buffers=parts[1:]).load()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Image.Image):
            return _make_image, (value.mode, value.size, pickle.PickleBuffer(value.tobytes()))
        return NotImplemented


def _make_image(mode: str, size: tuple[int, int], pixels: bytes | memoryview) -> Image.Image:
    return Image.frombytes(mode, size, pixels)


_PLAIN: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        (__name__, "_make_image"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy", "dtype"),
        ("builtins", "complex"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "MemoryError"),
    }
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        # A worker returns what its functions are imported for, so the modules are here already.
        known = module.startswith("halftone.") and module in sys.modules and "." not in name
        found: Callable[..., Any] = super().find_class(module, name)
        if (module, name) in _PLAIN or (known and isinstance(found, type)):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no result")
