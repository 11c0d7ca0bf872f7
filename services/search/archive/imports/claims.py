"""Refuses a record whose name occurred before in the same import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from halftone.services.search.archive.imports.entry import Entry

_MAX_NAMES: Final = 100_000
"""The number of names that an import remembers. The oldest are forgotten first."""


class NameClaims:
    """The names that the records of one import have taken.

    Batches are stored side by side, so two records with one name could overtake each other.
    """

    def __init__(self, *, most: int = _MAX_NAMES) -> None:
        self._most = most
        self._names: dict[str, None] = {}

    def claim(self, entry: Entry) -> None:
        """Give an entry its name. If the name is taken, the refusal becomes the entry's outcome."""
        if not entry.is_open:
            return
        if entry.name in self._names:
            entry.outcome = errors.InvalidArgument(
                f"image.name: {entry.name} was already sent in this import; if that record is "
                "refused, this one can be sent again.",
                field="image.name",
                reason="DUPLICATE_ID",
            )
            return
        entry.has_claim = True
        self._names[entry.name] = None
        if len(self._names) > self._most:
            del self._names[next(iter(self._names))]

    def release_refused(self, entry: Entry) -> None:
        """Free the name of an entry that was refused, so that it can be sent again, corrected."""
        if entry.has_claim and entry.is_refused:
            self._names.pop(entry.name, None)
