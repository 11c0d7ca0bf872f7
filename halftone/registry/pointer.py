"""The pointer to the active version, and the list of the other versions that are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ACTIVE: Final = "active"
_NEEDED: Final = "needed"


class Pointer(NamedTuple):
    """The active version and the one that was active before it.

    Attributes:
        active: Id of the active version; None if there is none.
        previous: Id of the version that was active before; None if there was none.
    """

    active: str | None
    previous: str | None


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
        return Pointer(active, previous)

    def write(self, pointer: Pointer) -> None:
        """Replace the pointer; it is on disk when this returns."""
        files.write_json(self._active, pointer._asdict())

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
