"""The addresses of running stacks: `halftone up` writes them to files, the commands read them.

One file lies in the stack's data directory, where the commands find a stack by its directory. A
second one lies with those of this user's other stacks, so that a command can say which stack it
asks if several run.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halftone.core import files
from halftone.core.locks import LockHeldError, locked
from halftone.core.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE: Final = "stack.json"
LOCK: Final = "lock"
"""The file in a data directory that is locked while a stack runs."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses at which a stack listens, each as `host:port`.

    Attributes:
        pid: The process id of the stack's supervisor.
        trainer: The training service; like the three fields below, empty if the stack runs without
            training.
        broker: The URL of the queue.
        page: The page for browsers; empty, like its metrics, if the stack runs without it.
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
    page: str = ""
    page_metrics: str = ""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that runs on this machine.

    Attributes:
        data: Its data directory.
    """

    data: Path
    addresses: Addresses


def find(data: Path) -> Addresses | None:
    """Return the addresses of the stack that runs on a data directory; None if none runs."""
    try:
        addresses = Addresses(**json.loads((data / FILE).read_text()))
        os.kill(addresses.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    # The file of a stack that was killed stays, and another process may have its id now.
    return addresses if _is_locked(data) else None


def is_starting(data: Path) -> bool:
    """Return whether a stack has taken a data directory and is not ready yet."""
    return (data / LOCK).is_file() and not (data / FILE).exists() and _is_locked(data)


def list_stacks() -> list[Stack]:
    """Return the stacks that this user runs on this machine, in the order of their directories.

    The entries of stacks that were killed are removed.
    """
    stacks = []
    with contextlib.suppress(OSError):
        for path in sorted(_find_register().glob("*.json")):
            entry = _read_entry(path)
            if entry.get("host") != socket.gethostname():
                continue  # the home directory is shared between machines
            data = Path(str(entry.get("data")))
            addresses = find(data)
            if addresses is not None and addresses.pid == entry.get("pid"):
                stacks.append(Stack(data=data, addresses=addresses))
            else:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
    return sorted(stacks, key=lambda stack: stack.data)


@contextlib.contextmanager
def announce(data: Path, addresses: Addresses) -> Iterator[None]:
    """Let `find` and `list_stacks` find the stack while the context is entered."""
    files.write_json(data / FILE, asdict(addresses))
    # Nothing depends on the register, so a home directory that cannot be written is no fault.
    entry = _find_register() / f"{socket.gethostname()}-{addresses.pid}.json"
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(
            entry,
            {"host": socket.gethostname(), "pid": addresses.pid, "data": str(data.absolute())},
        )
    try:
        yield
    finally:
        (data / FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            entry.unlink(missing_ok=True)


def _is_locked(data: Path) -> bool:
    """Return whether a process holds the lock of a data directory."""
    path = data / LOCK
    try:
        if path.is_file():
            locked(path).close()
    except LockHeldError:
        return True
    except OSError:
        return True  # it is another user's, or its file system has no locks: nobody can tell
    return False


def _find_register() -> Path:
    register = ClientSettings().stacks
    if register is not None:
        return register
    try:
        return Path.home() / ".cache" / "halftone" / "stacks"
    except RuntimeError as error:  # this user has no home directory
        raise FileNotFoundError(str(error)) from error


def _read_entry(path: Path) -> dict[str, Any]:
    try:
        return files.read_object(path)
    except Exception:  # noqa: BLE001  # a damaged or vanished entry is none
        return {}
