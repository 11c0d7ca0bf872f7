"""The door of the registry: publish, verify, resolve, promote, roll back. Needs no torch.

    <directory>/
      active                     the pointer: which version answers, and which one did before
      needed                     versions that the search service uses beside these
      <name>/<version>/          immutable once it is there
        spec.json model.safetensors golden.json metrics.json report/
        MANIFEST.json            sha-256 and size of each of these files
      .int8/<hash>/              the int8 form of the version whose manifest has this hash
      <name>/.deleted/<version>  numbers of deleted versions are never given again

A version appears by renaming a complete directory, the pointer moves by replacing a file, so that
readers in other processes see either the old state or the new one. Whoever changes the pointer,
deletes or repairs holds a lock on the directory; readers and publishers of different versions need
none. Only while a damaged version is repaired is it missing for a moment, between two renames.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from halftone.core import errors, files
from halftone.core.locks import locked
from halftone.registry import copies, manifest
from halftone.registry.manifest import MANIFEST
from halftone.registry.pointer import Pointer, PointerFiles
from halftone.registry.version import REQUIRED, ModelVersion, is_name, parse_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# Within `Registry`, `list` is its method.
Versions = list[ModelVersion]


class Registry:
    """The model versions in one directory. The first publication creates the directory."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory. Nothing is read yet."""
        self.directory = directory
        self._pointer = PointerFiles(directory)

    # ---- reading

    def list(self) -> Versions:
        """Return all published versions, by name, then by number."""
        versions = []
        for folder in files.subdirectories(self.directory):
            if not is_name(folder.name):
                continue
            for path in files.subdirectories(folder):
                if parsed := parse_id(f"{folder.name}/{path.name}"):
                    name, number = parsed
                    versions.append(ModelVersion(name=name, version=number, directory=path))
        return sorted(versions)

    def pointer(self) -> Pointer:
        """Return which version is active and which one was before it.

        If nothing was ever promoted and there is only one version, that one is active.

        Raises:
            errors.DataLoss: The pointer's file is damaged.
        """
        pointer = self._pointer.read()
        if pointer is not None:
            return pointer
        versions = self.list()
        return Pointer(versions[0].id if len(versions) == 1 else None)

    def list_needed(self) -> tuple[str, ...]:
        """Return the ids of the versions that `need` has set, the most important first."""
        return self._pointer.read_needed()

    @property
    def active(self) -> ModelVersion | None:
        """The active version, which answers requests that name no version; None if none is active.

        Raises:
            errors.NotFound: The active version does not exist any more.
            errors.DataLoss: The pointer's file is damaged.
        """
        active = self.pointer().active
        return None if active is None else self.resolve(active)

    def resolve(self, reference: str) -> ModelVersion:
        """Find a version.

        Args:
            reference: `name/version`; `name` for its newest version; empty for the active one.

        Raises:
            errors.NotFound: There is no such version.
        """
        if not reference:
            active = self.pointer().active
            if active is None:
                raise _not_found_error("", "No model version is active.")
            reference = active
        if parsed := parse_id(reference):
            name, number = parsed
            path = self.directory / name / str(number)
            if path.is_dir():
                return ModelVersion(name=name, version=number, directory=path)
        elif is_name(reference):
            versions = [version for version in self.list() if version.name == reference]
            if versions:
                return versions[-1]
        raise _not_found_error(reference, f"There is no model version {reference!r}.")

    def verify(self, version: ModelVersion | str) -> None:
        """Compare each file of a version with its manifest.

        Raises:
            errors.NotFound: There is no such version.
            errors.DataLoss: A file differs, is missing or is not in the manifest. The error names
                it.
        """
        if isinstance(version, str):
            version = self.resolve(version)
        manifest.verify(version.directory, label=version.id)

    # ---- writing

    def need(self, references: Sequence[str]) -> None:
        """Replace the list of versions that embedders keep loaded, even if they are old.

        Args:
            references: The ids of the versions, the most important first.
        """
        self._pointer.write_needed(references)

    def publish(
        self, staging: Path, *, name: str, version: int | None = None, promote: bool = False
    ) -> ModelVersion:
        """Publish the files of a directory as a model version.

        The first version ever becomes active.

        Args:
            staging: The directory of the version's files. It is copied and left unchanged, except
                that its `spec.json` gets the name and version under which it is published.
            name: Lower-case letters, digits, `-` and `_`.
            version: The number of the version; None takes the next one.
            promote: Whether to make it the active version.

        Raises:
            errors.InvalidArgument: The name, the number or the files are invalid.
            errors.AlreadyExists: That version exists, or existed before it was deleted.
        """
        if not is_name(name):
            raise errors.InvalidArgument(
                f"{name!r} cannot name a model: use lower-case letters, digits, - and _.",
                field="name",
            )
        if version is not None and parse_id(f"{name}/{version}") is None:
            raise errors.InvalidArgument(f"{version} is no version number.", field="version")
        missing = [file for file in REQUIRED if not (staging / file).is_file()]
        if missing:
            raise errors.InvalidArgument(
                f"{staging} is no model version: {', '.join(missing)} is missing.",
                reason="MODEL_FILES_MISSING",
            )
        before = self.pointer()
        with copies.copy_beside(staging, directory=self.directory) as copy:
            (copy / MANIFEST).unlink(missing_ok=True)
            number = copies.next_number(self.directory / name) if version is None else version
            while True:
                manifest.write_label(copy, name=name, version=number)
                manifest.write_manifest(copy)
                files.sync_tree(copy)
                if copies.put(copy, directory=self.directory, name=name, version=number):
                    break
                if version is not None:
                    raise _exists_error(f"{name}/{version}")
                number = max(number + 1, copies.next_number(self.directory / name))
        published = self.resolve(f"{name}/{number}")
        if promote:
            self.promote(published.id)
        else:
            self._settle(before.active or published.id)
        return published

    def install(
        self, source: Path, *, repaired: Callable[[errors.DataLoss], None] | None = None
    ) -> ModelVersion:
        """Copy a published version from elsewhere, keeping its name, number and hashes.

        Does nothing if an intact copy is there already; replaces a damaged one. The version becomes
        active only if no other version is.

        Args:
            source: A directory `…/<name>/<version>` with its manifest.
            repaired: Called with the damage that was found, if a damaged copy was replaced.

        Raises:
            errors.DataLoss: The source does not match its manifest; nothing was copied.
            errors.AlreadyExists: Another version has, or had before it was deleted, the same name
                and number.
        """
        source = source.absolute()
        label = f"{source.parent.name}/{source.name}"
        parsed = parse_id(label)
        if parsed is None or not (source / MANIFEST).is_file():
            raise _not_found_error(
                str(source),
                f"{source} is no published model version, a directory …/NAME/NUMBER with a "
                f"{MANIFEST}.",
            )
        name, version = parsed
        target = self.directory / name / str(version)
        if not target.is_dir():
            with copies.copy_beside(source, directory=self.directory) as copy:
                manifest.verify(copy, label=label)
                files.sync_tree(copy)
                copies.put(copy, directory=self.directory, name=name, version=version)
        if not target.is_dir():
            raise _exists_error(label)
        if manifest.find_damage(target, source=source, label=label) is not None:
            with copies.copy_beside(source, directory=self.directory) as copy:
                manifest.verify(copy, label=label)
                files.sync_tree(copy)
                damage = self._replace_damaged(target, copy, label=label)
            if damage is not None and repaired is not None:
                repaired(damage)
        self._settle(label)
        return self.resolve(label)

    def promote(self, reference: str) -> ModelVersion:
        """Make a version the active one and remember the one before it.

        Raises:
            errors.NotFound: There is no such version.
            errors.DataLoss: Its files do not match its manifest; the pointer did not move.
        """
        with self._lock():
            version = self.resolve(reference)
            manifest.verify(version.directory, label=version.id)
            before = self.pointer()
            if before.active != version.id or not self._pointer.exists():
                self._pointer.write(before.move_to(version.id))
        return version

    def roll_back(self, to: str | None = None) -> ModelVersion:
        """Make the version active again that was before the active one. Repeat it to go further.

        Args:
            to: The id of the version to go back to; None stands for the previous one.

        Raises:
            errors.NotFound: There is no version `to`.
            errors.DataLoss: Its files do not match its manifest; the pointer did not move.
            errors.FailedPrecondition: There is no version to go back to.
        """
        with self._lock():
            pointer = self.pointer()
            version = self.resolve(to or self.find_previous())
            manifest.verify(version.directory, label=version.id)
            self._pointer.write(pointer.move_back_to(version.id))
        return version

    def find_previous(self) -> str:
        """Return the id of the version that a roll-back goes to.

        Raises:
            errors.FailedPrecondition: There is none.
        """
        pointer = self.pointer()
        if pointer.previous is None:
            raise errors.FailedPrecondition(
                f"No model version was active before {pointer.active or 'this one'}, so there is "
                "nothing to go back to. Promote another version by its name.",
                reason="NO_PREVIOUS_VERSION",
            )
        return pointer.previous

    def delete(self, reference: str) -> None:
        """Delete a version. Its number is never used again.

        Raises:
            errors.NotFound: There is no such version.
            errors.FailedPrecondition: It is the active one.
        """
        with self._lock():
            version = self.resolve(reference)
            pointer = self.pointer()
            if version.id == pointer.active:
                raise errors.FailedPrecondition(
                    f"Model version {version.id} is active; promote another one first.",
                    reason="VERSION_ACTIVE",
                    subject=version.id,
                )
            if version.id in pointer.before:
                self._pointer.write(pointer.forget(version.id))
            copies.remove(version, directory=self.directory)

    # ---- steps

    def _replace_damaged(self, target: Path, copy: Path, *, label: str) -> errors.DataLoss | None:
        """Put an intact copy in the place of a damaged one.

        Returns the damage; None if another process has repaired it already.
        """
        with self._lock():
            # Another process may have repaired or deleted it while this one copied.
            if not target.is_dir():
                raise _exists_error(label)
            damage = manifest.find_damage(target, source=copy, label=label)
            if damage is not None:
                copies.replace(target, copy)
        return damage

    def _settle(self, active: str) -> None:
        """Write the pointer if there is none: a second version must not unseat the first."""
        if not self._pointer.exists():
            with self._lock():
                if not self._pointer.exists():
                    self._pointer.write(Pointer(active))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory / ".lock", seconds=None):
            yield


def _not_found_error(name: str, message: str) -> errors.NotFound:
    return errors.NotFound(message, resource_type="model version", resource_name=name)


def _exists_error(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"Model version {name} exists already, or did before it was deleted; versions are "
        "immutable.",
        resource_type="model version",
        resource_name=name,
    )
