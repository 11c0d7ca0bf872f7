"""Locks between processes, by a file that the kernel unlocks however its holder ends.

`flock` locks belong to the open file, not to the process: a child that inherits the descriptor
holds the lock as well, and the file's content stays when the lock goes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from halftone.core import system

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_LONGEST_NOTE: Final = 256
_PAUSE_SECONDS: Final = 0.1


class LockHeldError(Exception):
    """Raised when another process holds the lock.

    Attributes:
        note: The text that the holder wrote into the file, for example its process id; may be
            empty.
    """

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


class FileLock:
    """A lock that is held until `close`; `locked` takes one.

    Attributes:
        descriptor: The descriptor of the open file. A child process that inherits it holds the lock
            as well.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_note(self) -> str:
        """Return what the file holds, stripped; empty if nothing was written."""
        return os.pread(self.descriptor, _LONGEST_NOTE, 0).decode("utf-8", "replace").strip()

    def write_note(self, note: str) -> None:
        """Replace the file's content, for example by the holder's name."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{note}\n".encode(), 0)

    def close(self) -> None:
        """Release the lock. Closing it again does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def locked(path: Path, *, seconds: float | None = 0.0) -> FileLock:
    """Lock a file, created if it is missing; its directory must exist.

    Args:
        path: The file to lock.
        seconds: The longest wait for the lock, which blocks; 0 does not wait, None waits until it
            is free.

    Raises:
        LockHeldError: Another process holds it, even after `seconds`.
        OSError: The file cannot be opened, or its file system has no locks.
    """
    # The umask decides who else may take the lock, for example the group that shares a registry.
    lock = FileLock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
    try:
        until = None if seconds is None else time.monotonic() + seconds
        while not system.lock(lock.descriptor, wait=until is None):
            if until is not None and time.monotonic() >= until:
                raise LockHeldError(lock.read_note())  # noqa: TRY301  # it is closed below
            time.sleep(_PAUSE_SECONDS)
    except BaseException:
        lock.close()
        raise
    return lock
