"""The data directory of an embedded stack: its layout, its lock, its first model version.

data/
  format.json      the layout's version, checked before anything is touched
  lock             held while a stack runs
  stack.json       where the running stack listens, for the command line to find it
  logs/            the children's output
  models/          model versions
  search/          vectors and records
  blobs/           the pictures' bytes
  datasets/        what models are trained on
  training/        checkpoints and logs of training jobs
  queue/           the queue of training jobs, and its password
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Final

import halftone
from halftone.core import errors, files
from halftone.core.locks import FileLock, LockHeldError, locked
from halftone.registry.starter import find_starter
from halftone.registry.versions import Registry
from halftone.stack import running

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
"""Version of the data directory's layout; a directory with a newer version is refused."""

_SECRETS: Final = ("queue/password", "queue/valkey.conf")
"""Files that a start makes before it knows whether it is refused; see `halftone.stack.training`."""


def lock_directory(directory: Path) -> FileLock:
    """Take the data directory's lock.

    Raises:
        errors.DataDirectoryError: Another process has it; the error names the process.
    """
    try:
        # A command that looks for the stack takes the lock for a moment; see `running.find`.
        lock = locked(directory / running.LOCK, seconds=0.3)
    except LockHeldError as error:
        addresses = running.find(directory)
        where = f", searches are answered at {addresses.search}" if addresses is not None else ""
        raise errors.DataDirectoryError(
            f"{directory} is in use by another stack (process {error.note or 'unknown'}{where}). "
            "Stop it, or choose another directory with --data.",
            subject=str(directory),
            reason="DATA_DIRECTORY_IN_USE",
        ) from error
    lock.write_note(str(os.getpid()))
    return lock


def make_private(data: Path) -> None:
    """Make a data directory that only its owner can read; an existing one is narrowed.

    It holds passwords, keys, and pictures and captions that may not be shown to everybody. A
    directory of another owner is left as it is.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # It may have been made by an earlier release, or with another umask.
    with contextlib.suppress(PermissionError):
        if data.stat().st_mode & 0o077:
            data.chmod(0o700)


def check_format(data: Path) -> None:
    """Write the layout's version into a new data directory, or check it in an existing one.

    Raises:
        errors.DataDirectoryError: A newer release wrote the directory, or the file is damaged.
    """
    path = data / "format.json"
    if not path.exists():
        files.write_json(path, {"format": FORMAT, "written_by": halftone.__version__})
        return
    try:
        content = json.loads(path.read_text())
        version, writer = int(content["format"]), str(content.get("written_by", "unknown"))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.DataDirectoryError(
            f"{path} cannot be understood; is {data} a data directory of Halftone?",
            subject=str(data),
            reason="DATA_DIRECTORY_DAMAGED",
        ) from error
    if version > FORMAT:
        raise errors.DataDirectoryError(
            f"{data} was written by a newer release (Halftone {writer}, format {version}); this is "
            f"Halftone {halftone.__version__}, which knows formats up to {FORMAT}. Upgrade, or "
            "choose another directory with --data.",
            subject=str(data),
            reason="DATA_DIRECTORY_NEWER",
        )


def remove_unused(data: Path) -> None:
    """Remove the new data directory of a start that was refused, unless it holds other files."""
    paths = sorted(data.rglob("*"), reverse=True)  # the contents of a directory before itself
    ours = {data / name for name in ("format.json", running.LOCK, *_SECRETS)}
    if all(path in ours or path.is_dir() for path in paths):
        # The directory stays if somebody puts a file into it meanwhile.
        with contextlib.suppress(OSError):
            for path in (*paths, data):
                path.unlink() if path in ours else path.rmdir()


def prepare_models(models: Path) -> None:
    """Put the starter version into an empty models' directory and verify the active version.

    The embedder verifies it as well; here a fault ends the start at once and with its reason.

    Raises:
        errors.FailedPrecondition: No version is active, or this installation lacks the starter.
        errors.DataLoss: A file of the active version does not match its hash.
    """
    registry = Registry(models)
    if not registry.list():
        registry.install(find_starter().directory)
    active = registry.active
    if active is None:
        newest = registry.list()[-1].id
        command = shlex.join(["halftone", "models", "promote", newest, "--directory", str(models)])
        raise errors.FailedPrecondition(
            f"No model version in {models} is active; choose one, for example with `{command}`.",
            subject=str(models),
            reason="NO_MODEL",
        )
    registry.verify(active)
