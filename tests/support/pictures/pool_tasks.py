"""What workers of a pool do in tests: functions that behave, and functions that do not."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.imaging.images import Region
from halftone.imaging.needs import Need
from tests.support.system import peak_kib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.imaging.needs import Reserve


def echo(content: bytes, *, reserve: Reserve, times: int = 1) -> bytes:
    return content * times


def make_all(content: bytes, *, reserve: Reserve) -> list[Any]:
    """Return one of everything that results are made of."""
    return [
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        Image.new("RGB", (30, 20), (1, 2, 3)),
        Region(1, 2, 3, 4),
        {"text": content, "nothing": None},
    ]


def find_pid(content: bytes, *, reserve: Reserve) -> int:
    return os.getpid()


def refuse(content: bytes, *, reserve: Reserve) -> None:
    raise errors.ImageRejected("Not this one.", reason="WHY", metadata={"a": "b"})


def fail(content: bytes, *, reserve: Reserve) -> None:
    raise ZeroDivisionError("a bug")


def spin(content: bytes, *, reserve: Reserve, started: Path | None = None) -> None:
    """Keep a core busy for ever, and say in a file who does."""
    if started is not None:
        started.write_text(str(os.getpid()))
    while True:
        pass


def take_memory(content: bytes, *, reserve: Reserve, size: int, need: int = 0) -> int:
    with reserve(Need(0, need)):
        return len(bytearray(size))


def hold(content: bytes, *, reserve: Reserve, started: Path, release: Path, need: int = 0) -> int:
    """Hold what a picture needs until a file is there."""
    with reserve(Need(0, need)):
        started.touch()
        while not release.exists():
            time.sleep(0.01)
    return os.getpid()


def crash(content: bytes, *, reserve: Reserve) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def die_once(content: bytes, *, reserve: Reserve, mark: Path) -> str:
    """Be killed at the first call, as by the system for lack of memory."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(content: bytes, *, reserve: Reserve) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Intruder:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._path}",)


def intrude(content: bytes, *, reserve: Reserve, path: Path) -> Intruder:
    return Intruder(path)


def decode_and_measure(
    content: bytes, *, side: int | None, luminance: bool, reserve: Reserve
) -> tuple[Image.Image, tuple[int, int], int]:
    """Decode a picture.

    Returns:
        A copy of at most 300 pixels a side, the size in pixels in which it was decoded, and the
        most bytes of memory that this process ever had.
    """
    image = images.decode(
        content, max_pixels=read_max_pixels(), target=side, luminance=luminance, reserve=reserve
    )
    size = image.size
    image.thumbnail((300, 300))
    return image, size, peak_kib() * 1024


def compare_memory(
    content: bytes, *, side: int | None, luminance: bool, reserve: Reserve
) -> tuple[int, int]:
    """Decode a picture.

    Returns:
        The bytes that it said it needs, and by how many the peak of this process's memory grew.
    """
    said: list[int] = []

    @contextlib.contextmanager
    def note(need: Need) -> Iterator[None]:
        said.append(need.memory_bytes)
        with reserve(need):
            yield

    before = peak_kib()
    images.decode(
        content, max_pixels=read_max_pixels(), target=side, luminance=luminance, reserve=note
    )
    return said[0], (peak_kib() - before) * 1024
