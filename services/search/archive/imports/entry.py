"""A record on its way through an import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from halftone.services.search.store.port import Payload, Stored

    Outcome = search_pb2.ImportImagesResponse.State | errors.HalftoneError

State = search_pb2.ImportImagesResponse.State


@dataclass(slots=True, kw_only=True)
class Entry:
    """A record on its way through an import.

    Attributes:
        row: The number that the sender gave the record.
        name: The record's name, as it was sent.
        point_id: The id of its point in the store; None if the name is not valid.
        payload: The fields of the record, without the fields about its picture.
        content: The picture's bytes.
        sha256: The SHA-256 of the picture's bytes.
        existing: The record that is stored under this name, once it was looked up.
        has_claim: Whether it has taken its name; see `NameClaims`.
        outcome: The outcome to acknowledge; None while work is left to do.
        notes: Sentences about what is not imported of the picture's file.
    """

    row: int
    name: str
    point_id: uuid.UUID | None = None
    payload: Payload = field(default_factory=dict)
    content: bytes = b""
    sha256: str = ""
    existing: Stored | None = None
    has_claim: bool = False
    outcome: Outcome | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether work is left to do."""
        return self.outcome is None

    @property
    def is_refused(self) -> bool:
        """Whether the record is rejected."""
        return isinstance(self.outcome, errors.HalftoneError)

    def to_response(self) -> search_pb2.ImportImagesResponse:
        """Return the acknowledgement of an entry that has its outcome."""
        if isinstance(self.outcome, errors.HalftoneError):
            return search_pb2.ImportImagesResponse(
                row=self.row,
                name=self.name,
                state=State.REJECTED,
                error=errors.to_status(self.outcome, request_id=telemetry.request_id()),
            )
        return search_pb2.ImportImagesResponse(
            row=self.row, name=self.name, state=self.outcome, notes=self.notes
        )


def finish(entries: Iterable[Entry], outcome: Outcome) -> None:
    """Give an outcome to the entries that have none."""
    for entry in entries:
        if entry.outcome is None:
            entry.outcome = outcome
