"""The files of a promotion: its state, its lock, and the request to stop it.

    promotion.json      the message `Promotion` of the contract, replaced atomically
    promotion.groups    the groups of images that the caller gave, if any
    promotion.failed    the records that the active version could not embed
    promotion.lock      held by the process that runs the promotion
    promotion.cancel    has the id of the promotion that should be stopped

The files lie where every process of the same collections finds them: in the data directory of
Qdrant Edge, or in the models' directory for a Qdrant server with several search services.
"""

from __future__ import annotations

import contextlib
import errno
import json
import uuid
from typing import TYPE_CHECKING

from google.protobuf import json_format

from halftone.core import errors, files
from halftone.core.locks import FileLock, LockHeldError, locked
from halftone.v1 import models_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


class PromotionFiles:
    """The files of a promotion. There is one promotion at a time. All calls block.

    Each call raises `errors.Unavailable` when a file cannot be read or written, and
    `errors.StorageFull` when the disk is full.
    """

    def __init__(self, directory: Path, *, stem: str = "promotion") -> None:
        """Prepare the paths of the files. Nothing is read yet; the first write creates `directory`.

        Args:
            directory: The directory of the files.
            stem: What the names of the files begin with.
        """
        self._directory = directory
        self._state = directory / f"{stem}.json"
        self._groups = directory / f"{stem}.groups"
        self._failed = directory / f"{stem}.failed"
        self._cancel = directory / f"{stem}.cancel"
        self._lock = directory / f"{stem}.lock"

    def read(self) -> models_pb2.Promotion | None:
        """Return the last promotion, or None if there was none.

        Raises:
            errors.DataLoss: The file is damaged.
        """
        content = _read(self._state)
        if content is None:
            return None
        try:
            text = content.decode()
            return json_format.Parse(text, models_pb2.Promotion(), ignore_unknown_fields=True)
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise errors.DataLoss(
                f"{self._state} is damaged. Remove it: the version that answers goes on answering, "
                "and a promotion can be started anew.",
                reason="FILE_DAMAGED",
            ) from error

    def write(self, promotion: models_pb2.Promotion) -> None:
        """Replace the promotion's state; durable on return."""
        text = json_format.MessageToJson(promotion, preserving_proto_field_name=True)
        self._replace(self._state, text.encode())

    def read_groups(self) -> list[list[str]]:
        """Return the groups of image names that the caller gave; empty if there are none."""
        try:
            groups: list[list[str]] = json.loads(_read(self._groups) or b"[]")
        except ValueError:
            return []
        return groups

    def write_groups(self, groups: Sequence[Sequence[str]]) -> None:
        """Store the groups of image names that the caller gave, before their promotion begins."""
        if groups:
            self._replace(self._groups, json.dumps([list(group) for group in groups]).encode())
        else:
            with _translate_errors(self._groups, "removed"):
                self._groups.unlink(missing_ok=True)

    def read_failed(self, model_version: str) -> frozenset[uuid.UUID]:
        """Return the ids of the records that a version could not embed; empty if none are known."""
        try:
            content = json.loads(_read(self._failed) or b"{}")
            known = content["ids"] if content["model_version"] == model_version else ()
            return frozenset(map(uuid.UUID, known))
        except (ValueError, KeyError, TypeError, AttributeError):
            return frozenset()

    def write_failed(self, model_version: str, ids: Iterable[uuid.UUID]) -> None:
        """Store the ids of records that a version could not embed.

        Call it before the version becomes active.
        """
        content = {"model_version": model_version, "ids": sorted(map(str, ids))}
        self._replace(self._failed, json.dumps(content).encode())

    def ask_to_cancel(self, promotion_id: str) -> None:
        """Ask whichever process runs a promotion to stop it."""
        self._replace(self._cancel, promotion_id.encode())

    def is_cancelled(self, promotion_id: str) -> bool:
        """Return whether somebody asked to stop a promotion."""
        return _read(self._cancel) == promotion_id.encode()

    def try_lock(self) -> FileLock | None:
        """Take the lock, which lasts until it is closed. Returns None if another process has it."""
        with _translate_errors(self._lock, "locked"):
            self._directory.mkdir(parents=True, exist_ok=True)
            try:
                return locked(self._lock)
            except LockHeldError:
                return None

    def _replace(self, path: Path, content: bytes) -> None:
        with _translate_errors(path, "written"):
            self._directory.mkdir(parents=True, exist_ok=True)
            files.replace_file(path, content)


def _read(path: Path) -> bytes | None:
    with _translate_errors(path, "read"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _translate_errors(path: Path, participle: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise errors.StorageFull(
                f"The disk is full; {path} could not be {participle}."
            ) from error
        raise errors.Unavailable(f"{path} could not be {participle}: {error.strerror}.") from error
