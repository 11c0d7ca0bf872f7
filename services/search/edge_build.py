"""Builds a part of a collection, with its graph, in a process of its own.

    python -m services.search.edge_build PARENT_PID DIRECTORY DIMENSION

The points come through standard input. The process ends with 0 when everything is on disk. It is
killed with its parent, and what it left is removed at the next start.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from services import child
from services.search.edge_part import Part
from services.search.store import Point, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HEADER: Final = struct.Struct("<QQ")
_NICENESS: Final = 10
_PAGE: Final = 64
"""Points in a message: reading them from a part holds the interpreter lock for 2 ms."""


def build(
    directory: Path,
    *,
    dimension: int,
    points: Iterable[Stored],
    cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Builds a part from points and waits for it.

    Args:
        directory: Where; it must not exist.
        dimension: Of the vectors.
        points: With their vectors.
        cancelled: Asked from time to time; the building is given up when it says so.

    Returns:
        Whether it was built.
    """
    command = (
        sys.executable,
        "-m",
        "services.search.edge_build",
        str(os.getpid()),
        str(directory),
        str(dimension),
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own module
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            for page in _pages(points):
                if cancelled():
                    raise InterruptedError  # noqa: TRY301 - one way to give up
                _send(process.stdin, page)
            process.stdin.write(_HEADER.pack(0, 0))
            process.stdin.flush()
            while process.poll() is None:
                if cancelled():
                    raise InterruptedError  # noqa: TRY301 - one way to give up
                _wait(process)
        except (InterruptedError, BrokenPipeError):
            process.kill()
            process.wait()
            return False
        except BaseException:
            process.kill()
            raise
    return process.returncode == 0


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return


def _pages(points: Iterable[Stored]) -> Iterator[list[Stored]]:
    page: list[Stored] = []
    for point in points:
        page.append(point)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _send(stream: IO[bytes], page: list[Stored]) -> None:
    described = json.dumps([(str(point.id), point.payload) for point in page]).encode()
    vectors = np.stack([point.vector for point in page if point.vector is not None])
    stream.write(_HEADER.pack(len(page), len(described)))
    stream.write(described)
    stream.write(vectors.astype("<f4").tobytes())


def _received(stream: IO[bytes], *, dimension: int) -> Iterator[list[Point]]:
    while True:
        count, size = _HEADER.unpack(_exactly(stream, _HEADER.size))
        if count == 0:
            return
        described = json.loads(_exactly(stream, size))
        raw = _exactly(stream, count * dimension * 4)
        vectors = np.frombuffer(raw, dtype="<f4").reshape(count, dimension)
        yield [
            Point(id=uuid.UUID(point_id), vector=vector, payload=payload)
            for (point_id, payload), vector in zip(described, vectors, strict=True)
        ]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) != size:
        raise EOFError
    return found


def main() -> None:
    """The command."""
    _, parent, directory, dimension = sys.argv
    child.die_with(int(parent))
    # Searches go first.
    os.nice(_NICENESS)
    part = Part.create(Path(directory), dimension=int(dimension))
    for points in _received(sys.stdin.buffer, dimension=int(dimension)):
        part.upsert(points)
    part.optimize()
    part.flush()
    part.close()


if __name__ == "__main__":
    main()
