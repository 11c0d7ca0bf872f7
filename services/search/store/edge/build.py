"""Builds a part of a collection, with its graph, in a process of its own.

    python -m halftone.services.search.store.edge.build PARENT_PID DIRECTORY DIMENSION

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

from halftone.service import child
from halftone.services.search.store.edge.part import Part
from halftone.services.search.store.port import PDQ_BITS, Point, Stored, Words, to_pdq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HEADER: Final = struct.Struct("<QQ")
_NICENESS: Final = 10
_PAGE: Final = 64
"""Points in a message: reading them from a part holds the interpreter lock for 2 ms."""
_NO_WORDS: Final = Words(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.float32))


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
        "halftone.services.search.store.edge.build",
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
    words = [point.words or _NO_WORDS for point in page]
    stream.write(_HEADER.pack(len(page), len(described)))
    stream.write(described)
    stream.write(vectors.astype("<f4").tobytes())
    stream.write(np.array([point.pdq is not None for point in page], dtype="u1").tobytes())
    # Of a hash its signs are all there is.
    for point in page:
        if point.pdq is not None:
            stream.write(np.packbits(point.pdq > 0).tobytes())
    stream.write(np.array([len(each.indices) for each in words], dtype="<u4").tobytes())
    stream.write(np.concatenate([each.indices for each in words]).astype("<u4").tobytes())
    stream.write(np.concatenate([each.values for each in words]).astype("<f4").tobytes())


def _received(stream: IO[bytes], *, dimension: int) -> Iterator[list[Point]]:
    while True:
        count, size = _HEADER.unpack(_exactly(stream, _HEADER.size))
        if count == 0:
            return
        described = json.loads(_exactly(stream, size))
        vectors = _array(stream, dtype="<f4", count=count * dimension).reshape(count, dimension)
        hashed = _array(stream, dtype="u1", count=count)
        hashes = [_hash(stream) if there else None for there in hashed]
        lengths = _array(stream, dtype="<u4", count=count)
        total, ends = int(lengths.sum()), np.cumsum(lengths)[:-1]
        indices = np.split(_array(stream, dtype="<u4", count=total), ends)
        values = np.split(_array(stream, dtype="<f4", count=total), ends)
        yield [
            Point(
                id=uuid.UUID(point_id),
                vector=vectors[at],
                payload=payload,
                pdq=hashes[at],
                words=Words(indices[at], values[at]) if lengths[at] else None,
            )
            for at, (point_id, payload) in enumerate(described)
        ]


def _hash(stream: IO[bytes]) -> np.ndarray:
    return to_pdq(np.unpackbits(_array(stream, dtype="u1", count=PDQ_BITS // 8)))


def _array(stream: IO[bytes], *, dtype: str, count: int) -> np.ndarray:
    kind = np.dtype(dtype)
    return np.frombuffer(_exactly(stream, count * kind.itemsize), dtype=kind)


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
