"""Adds version directories to the registry and removes them, each as a whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from halftone.core import errors, files
from halftone.registry.manifest import MANIFEST
from halftone.registry.version import INT8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.registry.version import ModelVersion

_STAGING: Final = ".staging-"
_DELETED: Final = ".deleted"
# A publisher removes leftovers of killed publishers that are older than this many seconds.
_ABANDONED_AFTER: Final = 24 * 3600.0
# EFBIG (a limit on the size of files) counts: it interrupts a copy in the same way.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def copy_beside(source: Path, *, directory: Path) -> Iterator[Path]:
    """Copy a directory next to the versions, on the same file system.

    The copy is removed at the end, unless it was renamed.

    Args:
        source: The directory to copy.
        directory: The registry's directory.

    Raises:
        errors.StorageFull: The disk is full.
        errors.InvalidArgument: There is a symbolic link in the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(directory)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=directory))
    try:
        # Links are copied as links, so that nothing outside of the source is read through them.
        copy = shutil.copytree(source, staging / "version", symlinks=True)
        _refuse_links(copy, source=source)
        # A staging directory is often private; other users' processes read models.
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield copy
    except OSError as error:
        # `copytree` collects its errors as text, in one error without an errno.
        if error.errno in _FULL or any(os.strerror(code) in str(error) for code in _FULL):
            raise errors.StorageFull(
                f"The disk is full; the model version was not written to {directory}."
            ) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_links(copy: Path, *, source: Path) -> None:
    for path in copy.rglob("*"):
        if path.is_symlink():
            raise errors.InvalidArgument(
                f"{source / path.relative_to(copy)} is a symbolic link; a model version holds "
                "files alone.",
                field="source",
                reason="SYMBOLIC_LINK",
            )


def _remove_abandoned(directory: Path) -> None:
    for path in files.subdirectories(directory):
        if path.name.startswith(_STAGING):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(path, ignore_errors=True)


def next_number(folder: Path) -> int:
    """Return the number after the highest one in `…/<name>`; deleted versions count."""
    taken = [path.name for path in files.subdirectories(folder)]
    with contextlib.suppress(FileNotFoundError):
        taken += [path.name for path in (folder / _DELETED).iterdir()]
    return 1 + max((int(number) for number in taken if number.isdecimal()), default=0)


def put(copy: Path, *, directory: Path, name: str, version: int) -> bool:
    """Rename a complete copy into its place.

    Returns False if the number is taken or was used before.

    Args:
        copy: The directory that `copy_beside` made.
        directory: The registry's directory.
        name: The name of the model.
        version: The number of the version.
    """
    folder = directory / name
    folder.mkdir(exist_ok=True)
    if (folder / _DELETED / str(version)).exists():
        return False
    try:
        # Fails if the target has files in it. This alone decides
        # between two publishers of the same number.
        copy.rename(folder / str(version))
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    files.sync_directory(folder)
    files.sync_directory(directory)
    return True


def replace(target: Path, copy: Path) -> None:
    """Put a complete copy in the place of a damaged version.

    The damaged version is moved into the staging directory of the copy and is removed with it.
    """
    aside = copy.parent / "damaged"
    target.rename(aside)
    try:
        copy.rename(target)
    except OSError:
        # A damaged version says what is wrong; a missing one would give no reason.
        aside.rename(target)
        raise
    files.sync_directory(target.parent)


def remove(version: ModelVersion, *, directory: Path) -> None:
    """Remove a version and its int8 form. Its number is never used again.

    Args:
        version: The version to remove.
        directory: The registry's directory.
    """
    tombstones = version.directory.parent / _DELETED
    tombstones.mkdir(exist_ok=True)
    (tombstones / str(version.version)).touch()
    files.sync_directory(tombstones)
    manifest = version.directory / MANIFEST
    key = files.sha256(manifest) if manifest.is_file() else None
    # A reader sees either the whole version or nothing.
    trash = Path(tempfile.mkdtemp(prefix=_STAGING, dir=directory))
    version.directory.rename(trash / "deleted")
    files.sync_directory(version.directory.parent)
    shutil.rmtree(trash)
    if key is not None:
        shutil.rmtree(directory / INT8 / key, ignore_errors=True)
