"""Builds a part of a collection, with its graph, in a separate process.

    python -m halftone.services.search.store.edge.build DIRECTORY DIMENSION

The points come through standard input, as pickled pages; an empty page ends them. The
process ends with 0 when everything is on disk. It is killed with its parent, and the directory that
it left unfinished is removed at the next start.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from halftone.core.batches import batched
from halftone.services.search.store.edge.part import Part
from halftone.services.search.store.port import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from halftone.services.search.store.port import Stored

_NICENESS: Final = 10
_PAGE_POINTS: Final = 64
"""Points sent at a time. Reading that many from a part holds the interpreter lock for 2 ms."""
_PROTOCOL: Final = 5
"""Version of the pickle protocol: the first one that writes arrays without copying them."""


def build(
    directory: Path,
    *,
    dimension: int,
    points: Iterable[Stored],
    cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Build a part from points and wait until it is on disk.

    Args:
        directory: The part's directory; it must not exist.
        dimension: The dimension of the descriptors.
        points: Points with their vectors. They are read and sent page by page.
        cancelled: Called between pages and while waiting. When it returns True the build is given
            up.

    Returns:
        Whether the part was built. False after a cancellation or when the process failed; the
        directory may then hold an unfinished part.
    """
    command = (
        sys.executable,
        "-m",
        "halftone.service.child",
        str(os.getpid()),
        "halftone.services.search.store.edge.build",
        str(directory),
        str(dimension),
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own module
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            for batch in batched(points, _PAGE_POINTS):
                if cancelled():
                    raise InterruptedError  # noqa: TRY301 - one way to give up
                # Pickling the points themselves takes three times as long.
                page = [
                    (point.id.bytes, point.payload, point.vector, point.pdq, point.words)
                    for point in batch
                ]
                pickle.dump(page, process.stdin, protocol=_PROTOCOL)
            pickle.dump([], process.stdin, protocol=_PROTOCOL)
            process.stdin.flush()
            while process.poll() is None:
                if cancelled():
                    raise InterruptedError  # noqa: TRY301 - one way to give up
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.2)
        except (InterruptedError, BrokenPipeError):
            process.kill()
            process.wait()
            return False
        except BaseException:
            process.kill()
            raise
    return process.returncode == 0


def _receive(stream: IO[bytes]) -> Iterator[list[Point]]:
    """Yield the pages that `build` sent, up to the empty one at the end.

    Raises:
        EOFError: The stream ended between two pages.
        pickle.UnpicklingError: The stream ended within a page.
    """
    while page := pickle.load(stream):  # noqa: S301 - from the process that started this one
        yield [
            Point(
                id=uuid.UUID(bytes=point_id), payload=payload, vector=vector, pdq=pdq, words=words
            )
            for point_id, payload, vector, pdq, words in page
        ]


def main() -> None:
    """Build a part from the points on standard input."""
    _, directory, dimension = sys.argv
    # Searches have priority.
    os.nice(_NICENESS)
    part = Part.create(Path(directory), dimension=int(dimension))
    for points in _receive(sys.stdin.buffer):
        part.upsert(points)
    part.optimize()
    part.flush()
    part.close()


if __name__ == "__main__":
    main()
