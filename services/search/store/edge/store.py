"""The store inside this process: Qdrant Edge, one directory per collection.

    <data directory>/
        lock                    held while a process uses the directory
        format.json             which release can read it
        active.json             the pointer to the active collection
        <model>@<version>/      a collection; see `collection`

An update returns once Edge's write-ahead log is on disk, so that acknowledged data survives the end
of this process and of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Final

from halftone.core import errors, files
from halftone.core.locks import FileLock, LockHeldError, locked
from halftone.services.search.store import port
from halftone.services.search.store.edge import build
from halftone.services.search.store.edge.collection import EdgeCollection, LastRead
from halftone.services.search.store.edge.space import check_space

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 2
"""The format of the data directory. Raised when an older release cannot read it any more."""


class EdgeStore:
    """The collections in a data directory. Only one process at a time can use it."""

    def __init__(self, directory: Path, *, min_free_bytes: int) -> None:
        """Lock the directory, creating it if needed.

        Args:
            directory: The data directory.
            min_free_bytes: Writes are refused when the disk has less space left. Edge writes
                through mapped memory, where a full disk would end the process instead of failing a
                call.

        Raises:
            errors.DataDirectoryError: The directory is in use by another process, or was written by
                a newer release.
        """
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._collections: dict[str, EdgeCollection] = {}
        self._last_read = LastRead()
        # Empty parts to copy, by dimension. All are made by this process and so up to date.
        self._empty: dict[int, Path] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(directory)
        try:
            _check_format(directory)
        except BaseException:
            self._lock.close()
            raise

    def model_versions(self) -> list[str]:
        """Return the model versions that have a collection."""
        markers = sorted(self._directory.glob("*/collection.json"))
        return [str(json.loads(marker.read_text())["model_version"]) for marker in markers]

    def open(self, model_version: str, *, dimension: int | None) -> EdgeCollection:
        """Return the collection of a version, creating it if needed; see `port.Store.open`."""
        if dimension is None and model_version not in self.model_versions():
            raise port.no_collection(model_version)
        if model_version in self._collections:
            collection = self._collections[model_version]
        else:
            collection = self._open_collection(model_version, dimension=dimension or 0)
            self._collections[model_version] = collection
        port.check_dimension(collection.dimension, model_version=model_version, dimension=dimension)
        return collection

    def _open_collection(self, model_version: str, *, dimension: int) -> EdgeCollection:
        path = self._path(model_version)
        template = built = None
        if not (path / "collection.json").exists():
            template = self._empty.get(dimension)
            if template is not None and not template.exists():
                template = None
            check_space(self._directory, least=self._min_free_bytes)
            if template is None and self._collections:
                # Another collection is active: the empty part is made in a separate process, so
                # that searches do not wait for it.
                template = built = self._directory / f".empty.{uuid.uuid4().hex}"
                if not build.build(built, dimension=dimension, points=()):
                    raise errors.Internal("The process that makes a collection failed.")
            self._empty[dimension] = path / "empty"
            # From here on an older release cannot read this directory any more.
            files.write_json(self._directory / "format.json", {"format": FORMAT})
        try:
            return EdgeCollection(
                path,
                model_version=model_version,
                dimension=dimension,
                min_free_bytes=self._min_free_bytes,
                template=template,
                last_read=self._last_read,
            )
        finally:
            if built is not None:
                shutil.rmtree(built, ignore_errors=True)

    def active(self) -> str | None:
        """Return the model version of the active collection; None before the first one."""
        try:
            return str(json.loads((self._directory / "active.json").read_text())["model_version"])
        except FileNotFoundError:
            return None

    def set_active(self, model_version: str) -> None:
        """Make the collection of a model version the active one."""
        if model_version not in self.model_versions():
            raise port.no_collection(model_version)
        files.write_json(self._directory / "active.json", {"model_version": model_version})

    def drop(self, model_version: str) -> None:
        """Delete a collection that is not active."""
        port.check_inactive(self.active(), model_version=model_version)
        if collection := self._collections.pop(model_version, None):
            collection.drop()
        path = self._path(model_version)
        if path.exists():
            # Rename it first: a half-deleted directory must not look like a collection.
            doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            path.rename(doomed)
            shutil.rmtree(doomed)

    def close(self) -> None:
        """Write out pending changes and release the directory."""
        for collection in self._collections.values():
            collection.close()
        self._collections.clear()
        self._lock.close()

    def _path(self, model_version: str) -> Path:
        return self._directory / model_version.replace("/", "@")


def _take_lock(directory: Path) -> FileLock:
    try:
        lock = locked(directory / "lock")
    except LockHeldError as error:
        raise errors.DataDirectoryError(
            f"{directory} is in use by another process"
            + (f" ({error.note})." if error.note else "."),
            subject=str(directory),
            reason="DATA_DIRECTORY_IN_USE",
        ) from error
    except OSError as error:
        raise errors.DataDirectoryError(
            f"{directory} cannot be locked: {error.strerror}.", subject=str(directory)
        ) from error
    lock.write_note(f"process {os.getpid()}")
    return lock


def _check_format(directory: Path) -> None:
    path = directory / "format.json"
    try:
        version = int(json.loads(path.read_text())["format"])
    except FileNotFoundError:
        files.write_json(path, {"format": FORMAT})
        return
    except (ValueError, KeyError, TypeError) as error:
        raise errors.DataDirectoryError(
            f"{path} is damaged.", subject=str(directory), reason="DATA_DIRECTORY_DAMAGED"
        ) from error
    if version > FORMAT:
        raise errors.DataDirectoryError(
            f"{directory} was written by a newer release (format {version}; this one reads up to "
            f"{FORMAT}). Use that release, or another directory.",
            subject=str(directory),
            reason="DATA_DIRECTORY_NEWER",
        )
