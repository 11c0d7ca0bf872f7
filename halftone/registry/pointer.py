"""The pointer to the active version, its past, and the list of other versions that are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ACTIVE: Final = "active"
_NEEDED: Final = "needed"
_MOST_BEFORE: Final = 100


@dataclass(frozen=True)
class Pointer:
    """The active version and those that were active before it.

    Attributes:
        active: Id of the active version; None if there is none.
        before: Ids of the versions to go back to, the latest first. A version that was gone back
            from is not among them, so that going back twice goes further back.
    """

    active: str | None
    before: tuple[str, ...] = ()

    @property
    def previous(self) -> str | None:
        """The id of the version to go back to; None if there is none."""
        return self.before[0] if self.before else None

    def move_to(self, version: str) -> Pointer:
        """Return the pointer after a promotion of a version."""
        if version == self.active:
            return self
        before = (self.active, *self.before) if self.active else self.before
        return Pointer(version, before[:_MOST_BEFORE])

    def move_back_to(self, version: str) -> Pointer:
        """Return the pointer after going back to a version."""
        if version == self.active:
            return self
        place = self.before.index(version) + 1 if version in self.before else 0
        return Pointer(version, self.before[place:])

    def forget(self, version: str) -> Pointer:
        """Return the pointer after the deletion of a version that is not active."""
        return Pointer(self.active, tuple(each for each in self.before if each != version))

    def to_json(self) -> dict[str, Any]:
        """Return the values of the pointer's file.

        Earlier releases read `active` and `previous`.
        """
        return {"active": self.active, "previous": self.previous, "before": list(self.before)}


class PointerFiles:
    """The files next to the versions that record the pointer and the needed versions.

    They are replaced atomically. Hold the registry's lock to write the pointer.
    """

    def __init__(self, directory: Path) -> None:
        self._active = directory / _ACTIVE
        self._needed = directory / _NEEDED

    def exists(self) -> bool:
        """Return whether a pointer was ever written."""
        return self._active.exists()

    def read(self) -> Pointer | None:
        """Return the pointer; None if none was ever written.

        Raises:
            errors.DataLoss: The file is damaged.
        """
        try:
            values = files.read_object(self._active)
        except FileNotFoundError:
            return None
        active, previous = values.get("active"), values.get("previous")
        if not isinstance(active, str) or not isinstance(previous, str | None):
            raise errors.DataLoss(
                f"{self._active} does not name a model version.", reason="POINTER_DAMAGED"
            )
        before = _texts(values.get("before"))
        if previous != (before[0] if before else None):
            # An earlier release wrote the file: it knows only one version to go back to.
            before = (previous,) if previous else ()
        return Pointer(active, before)

    def write(self, pointer: Pointer) -> None:
        """Replace the pointer; it is on disk when this returns."""
        files.write_json(self._active, pointer.to_json())

    def read_needed(self) -> tuple[str, ...]:
        """Return the needed versions, the most important first; empty if the file is damaged."""
        try:
            return _texts(files.read_object(self._needed).get("versions"))
        except (FileNotFoundError, errors.DataLoss):
            return ()

    def write_needed(self, references: Sequence[str]) -> None:
        """Replace the list of needed versions if it changed."""
        if tuple(references) != self.read_needed():
            self._needed.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(self._needed, {"versions": list(references)})


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
