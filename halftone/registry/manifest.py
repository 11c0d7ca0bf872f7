"""The manifest of a version: the hash of each of its files, written once and checked later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.core import errors, files

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = "MANIFEST.json"
SPEC: Final = "spec.json"


def write_manifest(directory: Path) -> None:
    """Write the SHA-256 and size of every file below a directory into its manifest."""
    (directory / MANIFEST).unlink(missing_ok=True)
    entries = {
        path.relative_to(directory).as_posix(): {
            "sha256": files.sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in files.files_below(directory)
    }
    files.replace_file(directory / MANIFEST, files.to_json({"files": entries}))


def write_label(directory: Path, *, name: str, version: int) -> None:
    """Write a version's name and number into its `spec.json`.

    Raises:
        errors.DataLoss: `spec.json` does not hold a JSON object.
    """
    spec = files.read_object(directory / SPEC)
    files.replace_file(directory / SPEC, files.to_json({**spec, "name": name, "version": version}))


def verify(directory: Path, *, label: str) -> None:
    """Compare each file below a directory with its manifest.

    Args:
        directory: The directory of the version.
        label: The version's name in errors: `name/version`.

    Raises:
        errors.DataLoss: A file differs, is missing or is not in the manifest. The error names it.
    """
    expected = _read_hashes(directory, label=label)
    present = {path.relative_to(directory).as_posix() for path in files.files_below(directory)} - {
        MANIFEST
    }
    for file in sorted(expected.keys() | present):
        if file not in present:
            raise damage_error(label, file, "is missing")
        if file not in expected:
            raise damage_error(label, file, "is not in its manifest")
        if files.sha256(directory / file) != expected[file]:
            raise damage_error(label, file, "differs from its manifest")


def find_damage(target: Path, *, source: Path, label: str) -> errors.DataLoss | None:
    """Return what is wrong with a copy of a version; None if it is intact.

    Args:
        target: The copy's directory.
        source: The directory that it was copied from.
        label: The version's name in errors: `name/version`.

    Raises:
        errors.AlreadyExists: The manifest is readable, and is the manifest of another version.
    """
    try:
        _read_hashes(target, label=label)
        if files.sha256(target / MANIFEST) == files.sha256(source / MANIFEST):
            verify(target, label=label)
            return None
    except errors.DataLoss as damage:
        return damage
    raise errors.AlreadyExists(
        f"Model version {label} exists already in {target.parent.parent}, with other files than "
        f"in {source}. Versions are immutable: publish the other one under a number of its own.",
        resource_type="model version",
        resource_name=label,
    )


def damage_error(label: str, file: str, problem: str) -> errors.DataLoss:
    """Return the error that says what is wrong with a file of a version.

    Args:
        label: The version's name in errors: `name/version`.
        file: The file, relative to the version's directory.
        problem: What is wrong with it, to follow the file's name, for example `is missing`.
    """
    return errors.DataLoss(
        f"Model version {label}: {file} {problem}.",
        reason="MODEL_DAMAGED",
        metadata={"model_version": label, "file": file},
    )


def _read_hashes(directory: Path, *, label: str) -> dict[str, str]:
    """Return the hashes that a version's manifest lists, by file."""
    try:
        entries = files.read_object(directory / MANIFEST)["files"]
        return {file: str(facts["sha256"]) for file, facts in entries.items()}
    except (OSError, KeyError, TypeError, AttributeError, errors.DataLoss) as error:
        raise damage_error(label, MANIFEST, "is missing or cannot be read") from error
