"""Writes down how far an import is, so that it is known after a restart of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from halftone.client import ImportAck, ImportState
from halftone.core import errors, files

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What went wrong.

    Attributes:
        code: The name of its gRPC code.
        reason: The reason for programs.
        message: The sentence for people.
    """

    code: str
    reason: str
    message: str

    @classmethod
    def of(cls, error: errors.HalftoneError | None) -> Fault | None:
        """Return what is kept of an error; None for None."""
        if error is None:
            return None
        return cls(code=errors.code_of(error).name, reason=error.reason, message=error.message)

    def make_error(self) -> errors.HalftoneError:
        """Return the error."""
        kind = errors.of_code(self.code, reason=self.reason)
        return kind(self.message, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A rejected record.

    Attributes:
        row: Its row in the manifest or the list of files.
        name: Its name.
        fault: Why it was rejected.
    """

    row: int
    name: str
    fault: Fault | None = None

    @classmethod
    def of(cls, ack: ImportAck) -> Rejected:
        """Return what is kept of an acknowledgement."""
        return cls(row=ack.row, name=ack.name, fault=Fault.of(ack.error))

    def make_ack(self) -> ImportAck:
        """Return the acknowledgement."""
        error = self.fault.make_error() if self.fault else None
        return ImportAck(row=self.row, name=self.name, state=ImportState.REJECTED, error=error)


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is kept of an import.

    Attributes:
        state: Its state, as `importing.State` writes it.
        counts: Acknowledged records by their state.
        problem: Why it failed; None if it did not.
        time: When it was written, in seconds since 1970.
        began: When the import was begun, likewise; 0 in notes of earlier releases.
    """

    id: str
    archive: str
    state: str
    files: int
    bytes: int
    total: int
    counts: dict[ImportState, int]
    rejected: tuple[Rejected, ...] = ()
    problem: Fault | None = None
    time: float
    began: float = 0.0


_NOTE: Final[TypeAdapter[Note]] = TypeAdapter(Note)


def write_note(note: Note, *, directory: Path) -> None:
    """Write a note down."""
    path = _find_path(directory, note.id)
    files.replace_file(files.with_folders(path), _NOTE.dump_json(note))


def remove_note(note_id: str, *, directory: Path) -> None:
    """Remove the note of an import that nobody asks for any more."""
    _find_path(directory, note_id).unlink(missing_ok=True)


def read_notes(directory: Path) -> list[Note]:
    """Return the notes of a directory, the oldest first. Damaged ones are left out."""
    notes = []
    for path in directory.glob("*.json"):
        try:
            notes.append(_NOTE.validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            continue
    return sorted(notes, key=lambda note: note.time)


def _find_path(directory: Path, note_id: str) -> Path:
    return directory / f"{note_id}.json"
