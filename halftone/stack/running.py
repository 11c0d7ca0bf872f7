"""Where the stack of a data directory listens: `halftone up` writes it, the commands read it."""

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
    """Where a stack listens: `host:port` each; `pid` is its supervisor's.

    What concerns training is empty where the stack runs without it; `broker` is a URL.
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
    """Where the stack of a data directory listens, or None when none runs."""
    try:
        found = Addresses(**json.loads((data / FILE).read_text()))
        os.kill(found.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return found


@contextlib.contextmanager
def announced(data: Path, addresses: Addresses) -> Iterator[None]:
    """Lets others find the stack while the context is entered."""
    files.write_json(data / FILE, asdict(addresses))
    try:
        yield
    finally:
        (data / FILE).unlink(missing_ok=True)
