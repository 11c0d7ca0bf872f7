"""Model versions on disk: publish, verify, resolve, promote, roll back. Needs no torch.

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
import errno
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from halftone.core import errors, files
from halftone.core.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MANIFEST: Final = "MANIFEST.json"
SPEC: Final = "spec.json"
INT8: Final = ".int8"
REQUIRED: Final = (SPEC, "model.safetensors", "golden.json")
"""Files without which a version cannot be served."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ID: Final = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})/([1-9][0-9]{0,8})")
_ACTIVE: Final = "active"
_NEEDED: Final = "needed"
_STAGING: Final = ".staging-"
_DELETED: Final = ".deleted"
# What a publisher that was killed left behind is removed by a later one after this many seconds.
_ABANDONED_AFTER: Final = 24 * 3600.0
# A limit on the size of files counts: it ends a copy in its middle just so.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Summary(NamedTuple):
    """What a version's spec says in short: empty and 0 where it does not, or is damaged."""

    backbone: str
    size: int
    dimension: int
    damage: str


@dataclass(frozen=True, kw_only=True, order=True)
class ModelVersion:
    """One published version. `directory` holds its files."""

    name: str
    version: int
    directory: Path

    @property
    def id(self) -> str:
        """As everything else names it: `name/version`."""
        return f"{self.name}/{self.version}"

    @property
    def published(self) -> float:
        """When it was published, in seconds since the epoch; 0 when that is not known."""
        # Whoever lists versions is not to fail at one that lost its manifest.
        with contextlib.suppress(OSError):
            return (self.directory / MANIFEST).stat().st_mtime
        return 0.0

    def spec(self) -> dict[str, Any]:
        """The contents of `spec.json`.

        Raises:
            errors.DataLoss: It is missing or holds something else.
        """
        try:
            return files.read_object(self.directory / SPEC)
        except OSError as error:
            raise _damaged(self.id, SPEC, "is missing or cannot be read") from error

    def summary(self) -> Summary:
        """What lists show of it; never fails, for one broken version is not to hide the others."""
        try:
            spec = self.spec()
            return Summary(
                backbone=str(spec.get("network", {}).get("backbone", "")),
                size=_natural(spec.get("preprocessing", {}).get("size", 0)),
                dimension=_natural(spec.get("dimension", 0)),
                damage="",
            )
        except errors.DataLoss as error:
            return Summary(backbone="", size=0, dimension=0, damage=error.message)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            damage = f"Model version {self.id}: {SPEC} holds something unexpected ({error})."
            return Summary(backbone="", size=0, dimension=0, damage=damage)

    def metrics(self) -> dict[str, Any]:
        """The contents of `metrics.json`; empty when there is none."""
        path = self.directory / "metrics.json"
        return files.read_object(path) if path.exists() else {}


# Within `Registry`, `list` is its method.
Versions = list[ModelVersion]


class Pointer(NamedTuple):
    """Which versions answer: ids, or None."""

    active: str | None
    previous: str | None


class Registry:
    """The model versions in one directory, which need not exist before something is published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    # ---- reading

    def list(self) -> Versions:
        """All published versions, by name, then by number."""
        found = []
        for folder in files.subdirectories(self.directory):
            if _NAME.fullmatch(folder.name):
                for path in files.subdirectories(folder):
                    if _ID.fullmatch(f"{folder.name}/{path.name}"):
                        version = int(path.name)
                        found.append(
                            ModelVersion(name=folder.name, version=version, directory=path)
                        )
        return sorted(found)

    def pointer(self) -> Pointer:
        """Which version is active and which one was before it.

        Where nothing was ever promoted, the only version there is counts as active.

        Raises:
            errors.DataLoss: The pointer's file is damaged.
        """
        path = self.directory / _ACTIVE
        try:
            values = files.read_object(path)
        except FileNotFoundError:
            versions = self.list()
            return Pointer(versions[0].id if len(versions) == 1 else None, None)
        active, previous = values.get("active"), values.get("previous")
        if not isinstance(active, str) or not isinstance(previous, str | None):
            raise errors.DataLoss(
                f"{path} does not name a model version.", reason="POINTER_DAMAGED"
            )
        return Pointer(active, previous)

    def needed(self) -> tuple[str, ...]:
        """Versions that are to be loaded beside those of the pointer, the most important first."""
        try:
            return _texts(files.read_object(self.directory / _NEEDED).get("versions"))
        except (FileNotFoundError, errors.DataLoss):
            return ()

    @property
    def active(self) -> ModelVersion | None:
        """The version that answers requests which name none."""
        active = self.pointer().active
        return None if active is None else self.resolve(active)

    def resolve(self, reference: str) -> ModelVersion:
        """Finds a version.

        Args:
            reference: `name/version`; `name` for its newest version; empty for the active one.

        Raises:
            errors.NotFound: There is no such version.
        """
        if not reference:
            active = self.pointer().active
            if active is None:
                raise _not_found("", "No model version is active.")
            reference = active
        match = _ID.fullmatch(reference)
        if match:
            path = self.directory / match[1] / match[2]
            if path.is_dir():
                return ModelVersion(name=match[1], version=int(match[2]), directory=path)
        elif _NAME.fullmatch(reference):
            versions = [version for version in self.list() if version.name == reference]
            if versions:
                return versions[-1]
        raise _not_found(reference, f"There is no model version {reference!r}.")

    def verify(self, version: ModelVersion | str) -> None:
        """Compares each file of a version with its manifest.

        Raises:
            errors.NotFound: There is no such version.
            errors.DataLoss: A file differs, is missing or is not in the manifest; names it.
        """
        if isinstance(version, str):
            version = self.resolve(version)
        _verify(version.directory, label=version.id)

    # ---- writing

    def need(self, references: Sequence[str]) -> None:
        """Says which versions are to be loaded, whatever the pointer and their age."""
        if tuple(references) != self.needed():
            self.directory.mkdir(parents=True, exist_ok=True)
            content = files.to_json({"versions": list(references)})
            files.replace_file(self.directory / _NEEDED, content)

    def publish(
        self, staging: Path, *, name: str, version: int | None = None, promote: bool = False
    ) -> ModelVersion:
        """Makes a directory's files a model version. The first version ever becomes active.

        Args:
            staging: Holds the files of a version; it is copied and stays as it is. Its `spec.json`
                is given the name and version under which it is published.
            name: Lower-case letters, digits, `-` and `_`.
            version: A number; None takes the next one.
            promote: Make it the active version, too.

        Raises:
            errors.InvalidArgument: The name, the number or the files are not right.
            errors.AlreadyExists: That version exists, or did before it was deleted.
        """
        if not _NAME.fullmatch(name):
            raise errors.InvalidArgument(
                f"{name!r} cannot name a model: use lower-case letters, digits, - and _.",
                field="name",
            )
        if version is not None and not _ID.fullmatch(f"{name}/{version}"):
            raise errors.InvalidArgument(f"{version} is no version number.", field="version")
        missing = [file for file in REQUIRED if not (staging / file).is_file()]
        if missing:
            raise errors.InvalidArgument(
                f"{staging} is no model version: {', '.join(missing)} is missing.",
                reason="MODEL_FILES_MISSING",
            )
        before = self.pointer()
        with self._copy(staging) as copy:
            (copy / MANIFEST).unlink(missing_ok=True)
            number = self._next(name) if version is None else version
            while True:
                _label(copy, name=name, version=number)
                _write_manifest(copy)
                files.sync_tree(copy)
                if self._put(copy, name=name, version=number):
                    break
                if version is not None:
                    raise _exists(f"{name}/{version}")
                number = max(number + 1, self._next(name))
        published = self.resolve(f"{name}/{number}")
        if promote:
            self.promote(published.id)
        else:
            self._settle(before.active or published.id)
        return published

    def install(
        self, source: Path, *, repaired: Callable[[errors.DataLoss], None] | None = None
    ) -> ModelVersion:
        """Copies a published version from elsewhere, keeping its name, number and hashes.

        Does nothing if it is there already and whole; a damaged copy is replaced. Becomes active
        only if no version is.

        Args:
            source: A directory `…/<name>/<version>` with its manifest.
            repaired: Called with what was wrong, when a damaged copy was replaced.

        Raises:
            errors.DataLoss: The source does not match its manifest; nothing was copied.
            errors.AlreadyExists: Another version is there under the same name and number, or was
                before it was deleted.
        """
        source = source.absolute()
        name, _, number = f"{source.parent.name}/{source.name}".partition("/")
        if not _ID.fullmatch(f"{name}/{number}") or not (source / MANIFEST).is_file():
            raise _not_found(str(source), f"{source} is no published model version.")
        version = int(number)
        label = f"{name}/{version}"
        target = self.directory / name / number
        if not target.is_dir():
            with self._copy(source) as copy:
                _verify(copy, label=label)
                files.sync_tree(copy)
                self._put(copy, name=name, version=version)
        if not target.is_dir():
            raise _exists(label)
        if _damage(target, source=source, label=label) is not None:
            with self._copy(source) as copy:
                _verify(copy, label=label)
                files.sync_tree(copy)
                damage = self._replace_damaged(target, copy, label=label)
            if damage is not None and repaired is not None:
                repaired(damage)
        self._settle(label)
        return self.resolve(label)

    def promote(self, reference: str) -> ModelVersion:
        """Makes a version the active one and remembers the one before it.

        Raises:
            errors.NotFound: There is no such version.
            errors.DataLoss: Its files do not match its manifest; the pointer did not move.
        """
        with self._lock():
            version = self.resolve(reference)
            _verify(version.directory, label=version.id)
            before = self.pointer()
            if before.active != version.id:
                self._point(Pointer(version.id, before.active))
            elif not (self.directory / _ACTIVE).exists():
                self._point(before)
        return version

    def roll_back(self) -> ModelVersion:
        """Makes the previous version the active one again. Doing so twice changes nothing.

        Raises:
            errors.FailedPrecondition: There is no previous version.
        """
        with self._lock():
            active, previous = self.pointer()
            if previous is None:
                raise errors.FailedPrecondition(
                    "No model version was active before this one.", reason="NO_PREVIOUS_VERSION"
                )
            version = self.resolve(previous)
            _verify(version.directory, label=version.id)
            self._point(Pointer(previous, active))
        return version

    def delete(self, reference: str) -> None:
        """Deletes a version. Its number is not given again.

        Raises:
            errors.NotFound: There is no such version.
            errors.FailedPrecondition: It is the active one.
        """
        with self._lock():
            version = self.resolve(reference)
            active, previous = self.pointer()
            if version.id == active:
                raise errors.FailedPrecondition(
                    f"Model version {version.id} is active; promote another one first.",
                    reason="VERSION_ACTIVE",
                    subject=version.id,
                )
            if version.id == previous:
                self._point(Pointer(active, None))
            tombstones = version.directory.parent / _DELETED
            tombstones.mkdir(exist_ok=True)
            (tombstones / str(version.version)).touch()
            files.sync_directory(tombstones)
            manifest = version.directory / MANIFEST
            key = files.sha256(manifest) if manifest.is_file() else None
            # Readers see all of it or nothing.
            trash = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.directory))
            version.directory.rename(trash / "deleted")
            files.sync_directory(version.directory.parent)
            shutil.rmtree(trash)
            if key is not None:
                shutil.rmtree(self.directory / INT8 / key, ignore_errors=True)

    # ---- steps

    @contextlib.contextmanager
    def _copy(self, source: Path) -> Iterator[Path]:
        """A copy beside the versions, on their file system; removed unless it was renamed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._tidy()
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.directory))
        try:
            copy = shutil.copytree(source, staging / "version")
            # A staging directory is often private; other users' processes read models.
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            yield copy
        except OSError as error:
            # `copytree` gathers its errors as text, in one that has no number.
            if error.errno in _FULL or any(os.strerror(code) in str(error) for code in _FULL):
                raise errors.StorageFull(
                    f"The disk is full; the model version was not written to {self.directory}."
                ) from error
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _tidy(self) -> None:
        for path in files.subdirectories(self.directory):
            if path.name.startswith(_STAGING):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                        shutil.rmtree(path, ignore_errors=True)

    def _next(self, name: str) -> int:
        folder = self.directory / name
        taken = [path.name for path in files.subdirectories(folder)]
        with contextlib.suppress(FileNotFoundError):
            taken += [path.name for path in (folder / _DELETED).iterdir()]
        return 1 + max((int(number) for number in taken if number.isdecimal()), default=0)

    def _put(self, copy: Path, *, name: str, version: int) -> bool:
        """Renames a complete version into its place; False when that is taken."""
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        if (folder / _DELETED / str(version)).exists():
            return False
        try:
            # Fails where a directory with files in it is, which makes this the one decision
            # between two publishers of the same number.
            copy.rename(folder / str(version))
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        files.sync_directory(folder)
        files.sync_directory(self.directory)
        return True

    def _replace_damaged(self, target: Path, copy: Path, *, label: str) -> errors.DataLoss | None:
        """Puts a whole copy in a damaged one's place; what was wrong, None if nothing is any more.

        The damaged one goes into the copy's own staging directory, and with that.
        """
        with self._lock():
            # Another process may have repaired or deleted it while this one copied.
            if not target.is_dir():
                raise _exists(label)
            damage = _damage(target, source=copy, label=label)
            if damage is not None:
                aside = copy.parent / "damaged"
                target.rename(aside)
                try:
                    copy.rename(target)
                except OSError:
                    # Damaged, it says what is wrong; gone, it would be missed without a reason.
                    aside.rename(target)
                    raise
                files.sync_directory(target.parent)
        return damage

    def _settle(self, active: str) -> None:
        """Writes the pointer if there is none: a second version must not unseat the first."""
        if not (self.directory / _ACTIVE).exists():
            with self._lock():
                if not (self.directory / _ACTIVE).exists():
                    self._point(Pointer(active, None))

    def _point(self, pointer: Pointer) -> None:
        files.write_json(self.directory / _ACTIVE, pointer._asdict())

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory / ".lock", seconds=None):
            yield


def _natural(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is no size")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def newest_version(folder: Path) -> Path | None:
    """The published version with the highest number in a directory `…/<name>`, if it has any."""
    found = [path.parent for path in folder.glob(f"*/{MANIFEST}") if path.parent.name.isdecimal()]
    return max(found, key=lambda path: int(path.name), default=None)


def _label(directory: Path, *, name: str, version: int) -> None:
    spec = files.read_object(directory / SPEC)
    files.replace_file(directory / SPEC, files.to_json({**spec, "name": name, "version": version}))


def _write_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink(missing_ok=True)
    entries = {
        path.relative_to(directory).as_posix(): {
            "sha256": files.sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in files.files_below(directory)
    }
    files.replace_file(directory / MANIFEST, files.to_json({"files": entries}))


def _damage(target: Path, *, source: Path, label: str) -> errors.DataLoss | None:
    """What is wrong with a copy of `source`; None when it is whole.

    Raises:
        errors.AlreadyExists: It is, as far as its manifest can be read, a copy of something else.
    """
    try:
        _expected(target, label=label)
        if files.sha256(target / MANIFEST) == files.sha256(source / MANIFEST):
            _verify(target, label=label)
            return None
    except errors.DataLoss as damage:
        return damage
    raise errors.AlreadyExists(
        f"Model version {label} exists already in {target.parent.parent}, with other files than "
        f"in {source}. Versions are immutable: publish the other one under a number of its own.",
        resource_type="model version",
        resource_name=label,
    )


def _expected(directory: Path, *, label: str) -> dict[str, str]:
    """The files of a version and their hashes, by its manifest."""
    try:
        entries = files.read_object(directory / MANIFEST)["files"]
        return {file: str(facts["sha256"]) for file, facts in entries.items()}
    except (OSError, KeyError, TypeError, AttributeError, errors.DataLoss) as error:
        raise _damaged(label, MANIFEST, "is missing or cannot be read") from error


def _verify(directory: Path, *, label: str) -> None:
    expected = _expected(directory, label=label)
    present = {path.relative_to(directory).as_posix() for path in files.files_below(directory)} - {
        MANIFEST
    }
    for file in sorted(expected.keys() | present):
        if file not in present:
            raise _damaged(label, file, "is missing")
        if file not in expected:
            raise _damaged(label, file, "is not in its manifest")
        if files.sha256(directory / file) != expected[file]:
            raise _damaged(label, file, "differs from its manifest")


def _damaged(label: str, file: str, problem: str) -> errors.DataLoss:
    return errors.DataLoss(
        f"Model version {label}: {file} {problem}.",
        reason="MODEL_DAMAGED",
        metadata={"model_version": label, "file": file},
    )


def _not_found(name: str, message: str) -> errors.NotFound:
    return errors.NotFound(message, resource_type="model version", resource_name=name)


def _exists(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"Model version {name} exists already, or did before it was deleted; versions are "
        "immutable.",
        resource_type="model version",
        resource_name=name,
    )
