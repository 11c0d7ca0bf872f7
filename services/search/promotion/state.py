"""What is kept of a promotion: its state, its lock, and the wish to stop it.

    promotion.json      the `Promotion` as the contract has it, replaced atomically
    promotion.groups    the images whose matches the caller knows, where any were given
    promotion.failed    the records that the version which answers could not embed
    promotion.lock      held by the process that runs it
    promotion.cancel    holds the id of the promotion that is to be stopped

The files lie where every process finds them that answers for the same collections: in the data
directory of Qdrant Edge, in the models' directory for a Qdrant server with several search services.
"""

from __future__ import annotations

import errno
import json
import uuid
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from halftone.core import errors, files
from halftone.core.locks import FileLock, LockHeldError, locked
from halftone.v1 import models_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

State = models_pb2.Promotion.State
RUNNING: Final = frozenset({State.EMBEDDING, State.COMPARING, State.SWITCHING})


def is_running(promotion: models_pb2.Promotion | None) -> bool:
    """Whether a promotion has not come to its end."""
    return promotion is not None and promotion.state in RUNNING


class PromotionFiles:
    """The files of the one promotion that there is at a time. Calls block."""

    def __init__(self, directory: Path, *, stem: str = "promotion") -> None:
        """Nothing is read yet."""
        self._directory = directory
        self._state = directory / f"{stem}.json"
        self._groups = directory / f"{stem}.groups"
        self._failed = directory / f"{stem}.failed"
        self._cancel = directory / f"{stem}.cancel"
        self._lock = directory / f"{stem}.lock"

    def read(self) -> models_pb2.Promotion | None:
        """The last promotion; None where there was none.

        Raises:
            errors.DataLoss: The file is damaged.
        """
        try:
            text = self._state.read_text()
        except FileNotFoundError:
            return None
        try:
            return json_format.Parse(text, models_pb2.Promotion(), ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise errors.DataLoss(
                f"{self._state} is damaged. Remove it: the version that answers goes on answering, "
                "and a promotion can be started anew.",
                reason="FILE_DAMAGED",
            ) from error

    def write(self, promotion: models_pb2.Promotion) -> None:
        """Replaces the state; on disk when it returns."""
        text = json_format.MessageToJson(promotion, preserving_proto_field_name=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        _replace(self._state, text.encode())

    def read_groups(self) -> list[list[str]]:
        """The groups of image names that the caller gave."""
        try:
            found: list[list[str]] = json.loads(self._groups.read_text())
        except (FileNotFoundError, ValueError):
            return []
        return found

    def write_groups(self, groups: Sequence[Sequence[str]]) -> None:
        """Keeps the groups, before the promotion begins that they belong to."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if groups:
            _replace(self._groups, json.dumps([list(group) for group in groups]).encode())
        else:
            self._groups.unlink(missing_ok=True)

    def read_failed(self, model_version: str) -> frozenset[uuid.UUID]:
        """The records that its collection lacks because the version could not embed them."""
        try:
            found = json.loads(self._failed.read_text())
            known = found["ids"] if found["model_version"] == model_version else ()
            return frozenset(map(uuid.UUID, known))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return frozenset()

    def write_failed(self, model_version: str, ids: Iterable[uuid.UUID]) -> None:
        """Keeps what a version could not embed, before it answers."""
        content = {"model_version": model_version, "ids": sorted(map(str, ids))}
        _replace(self._failed, json.dumps(content).encode())

    def ask_to_cancel(self, promotion_id: str) -> None:
        """Says that a promotion is to be stopped, to whichever process runs it."""
        _replace(self._cancel, promotion_id.encode())

    def is_cancelled(self, promotion_id: str) -> bool:
        """Whether it is to be stopped."""
        try:
            return self._cancel.read_text() == promotion_id
        except FileNotFoundError:
            return False

    def try_lock(self) -> FileLock | None:
        """Take the lock, which lasts until it is closed; None while another process has it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            return locked(self._lock)
        except LockHeldError:
            return None


def _replace(path: Path, content: bytes) -> None:
    try:
        files.replace_file(path, content)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise errors.StorageFull(f"The disk is full; {path} was not written.") from error
        raise errors.Unavailable(f"{path} cannot be written: {error.strerror}.") from error
