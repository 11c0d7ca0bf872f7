"""The addresses of a running stack: `halftone up` writes them to a file, the commands read it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from halftone.core import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE: Final = "stack.json"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses at which a stack listens, each as `host:port`.

    Attributes:
        pid: The process id of the stack's supervisor.
        trainer: The training service; like the three fields below, empty if the stack runs without
            training.
        broker: The URL of the queue.
    """

    search: str
    embedder: str
    search_metrics: str
    embedder_metrics: str
    pid: int
    trainer: str = ""
    trainer_metrics: str = ""
    worker_metrics: str = ""
    broker: str = ""


def find(data: Path) -> Addresses | None:
    """Return the addresses of the stack that runs on a data directory; None if none runs."""
    try:
        addresses = Addresses(**json.loads((data / FILE).read_text()))
        os.kill(addresses.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return addresses


@contextlib.contextmanager
def announce(data: Path, addresses: Addresses) -> Iterator[None]:
    """Let `find` find the stack while the context is entered."""
    files.write_json(data / FILE, asdict(addresses))
    try:
        yield
    finally:
        (data / FILE).unlink(missing_ok=True)
