"""One model version: its files, its spec and its id."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from halftone.core import errors, files
from halftone.registry.manifest import MANIFEST, SPEC, damage_error

if TYPE_CHECKING:
    from pathlib import Path

INT8: Final = ".int8"
"""The directory next to the versions that holds their int8 forms."""
REQUIRED: Final = (SPEC, "model.safetensors", "golden.json")
"""The files that every version must have."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ID: Final = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})/([1-9][0-9]{0,8})")


def is_name(text: str) -> bool:
    """Return whether a text can name a model: lower-case letters, digits, `-` and `_`."""
    return _NAME.fullmatch(text) is not None


def parse_id(text: str) -> tuple[str, int] | None:
    """Split `name/version` into a name and a number; None if the text is something else."""
    match = _ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]))


class VersionSummary(NamedTuple):
    """The fields of a version that lists show, read from its `spec.json`.

    Attributes:
        backbone: Name of the network; empty if the spec does not say or is damaged.
        size: Side of the network's input in pixels; 0 if unknown.
        dimension: Length of a descriptor; 0 if unknown.
        damage: What is wrong with the spec; empty if nothing is.
    """

    backbone: str
    size: int
    dimension: int
    damage: str


@dataclass(frozen=True, kw_only=True, order=True)
class ModelVersion:
    """One published version.

    Attributes:
        name: The name of the model.
        version: The number, from 1.
        directory: The directory of its files.
    """

    name: str
    version: int
    directory: Path

    @property
    def id(self) -> str:
        """The id of the version: `name/version`."""
        return f"{self.name}/{self.version}"

    @property
    def published(self) -> float:
        """The time of publication in seconds since the epoch; 0 if unknown."""
        # A version without a manifest must not make a list of versions fail.
        with contextlib.suppress(OSError):
            return (self.directory / MANIFEST).stat().st_mtime
        return 0.0

    def spec(self) -> dict[str, Any]:
        """Read `spec.json`.

        Raises:
            errors.DataLoss: It is missing or holds something else.
        """
        try:
            return files.read_object(self.directory / SPEC)
        except OSError as error:
            raise damage_error(self.id, SPEC, "is missing or cannot be read") from error

    def summary(self) -> VersionSummary:
        """Return the fields that lists show.

        Never fails, so that one broken version does not hide the others: `damage` says what is
        wrong with it.
        """
        try:
            spec = self.spec()
            return VersionSummary(
                backbone=str(spec.get("network", {}).get("backbone", "")),
                size=_natural(spec.get("preprocessing", {}).get("size", 0)),
                dimension=_natural(spec.get("dimension", 0)),
                damage="",
            )
        except errors.DataLoss as error:
            return VersionSummary(backbone="", size=0, dimension=0, damage=error.message)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            damage = f"Model version {self.id}: {SPEC} holds something unexpected ({error})."
            return VersionSummary(backbone="", size=0, dimension=0, damage=damage)

    def metrics(self) -> dict[str, Any]:
        """Read `metrics.json`; empty if there is none."""
        path = self.directory / "metrics.json"
        return files.read_object(path) if path.exists() else {}


def newest_version(folder: Path) -> Path | None:
    """Return the version with the highest number in a directory `…/<name>`; None if it has none."""
    directories = [
        path.parent for path in folder.glob(f"*/{MANIFEST}") if path.parent.name.isdecimal()
    ]
    return max(directories, key=lambda path: int(path.name), default=None)


def _natural(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is no size")
    return value
