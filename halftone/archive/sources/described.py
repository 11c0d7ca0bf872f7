"""What the readers of exports share: documents of JSON, and files that are named by addresses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from halftone.archive import manifests
from halftone.archive.habits import find_habits
from halftone.archive.locating import file_below
from halftone.archive.loose_dates import DateReader
from halftone.archive.rows import RowMaker, tidy_row
from halftone.archive.sources.source import Source
from halftone.core import errors, files
from halftone.core.spelling import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from halftone.archive.rows import Row
    from halftone.archive.sources.source import Options

FETCHED: Final = "fetched.json"
"""The file in which `halftone fetch` says where the picture of each address lies."""
MAX_BYTES: Final = 256 * 1024 * 1024
"""The most bytes of a document of JSON; it is in memory as a whole."""
# A folder is looked into for what it is; one with more documents is told by an option.
_MOST_DOCUMENTS: Final = 5_000
_SUFFIXES: Final = (".json", ".jsonld")


@dataclass(frozen=True, kw_only=True)
class Described:
    """A picture that an export describes.

    Attributes:
        fields: The fields of its record, by name, without `file`.
        files: The addresses and paths under which it may lie, the best first.
    """

    fields: dict[str, Any]
    files: tuple[str, ...]


def load_document(path: Path) -> Any:
    """Return what a file of JSON holds.

    Raises:
        errors.InvalidArgument: It is larger than `MAX_BYTES`, cannot be read, or is no JSON.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise errors.InvalidArgument(
                f"{path} has more than {MAX_BYTES // 2**20} MiB; export it in parts.", field="path"
            )
        return json.loads(path.read_bytes())
    except OSError as error:
        raise errors.InvalidArgument(
            f"{path} cannot be read: {error.strerror}.", field="path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise errors.InvalidArgument(f"{path} is no JSON: {error}.", field="path") from error


def find_documents(path: Path, *, is_one: Callable[[Any], bool]) -> list[Path]:
    """Return the documents of one kind: `path` itself, or those in a folder without a manifest.

    Args:
        path: A file or a folder.
        is_one: Returns whether a document is of that kind.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in manifests.NAMES):
            return []
        found = [each for each in sorted(path.iterdir()) if each.suffix.lower() in _SUFFIXES]
        candidates = [each for each in found if each.name != FETCHED][:_MOST_DOCUMENTS]
    else:
        candidates = [path] if path.suffix.lower() in _SUFFIXES else []
    return [each for each in candidates if _is_one(each, is_one=is_one)]


def _is_one(path: Path, *, is_one: Callable[[Any], bool]) -> bool:
    try:
        return path.is_file() and is_one(load_document(path))
    except errors.InvalidArgument:
        return False


def open_described(
    pictures: Sequence[Described], *, path: Path, archive: str, options: Options, what: str
) -> Source:
    """Open pictures that an export describes as a source.

    Args:
        pictures: The pictures, in their order.
        path: The export; its folder is that of the pictures.
        archive: The archive that the records belong to.
        options: How the source is to be read.
        what: What a row is called, for example `photo`.
    """
    folder = path if path.is_dir() else path.parent
    finder = FileFinder(folder.resolve())
    describe = f"{what} {{}}".format
    fields = [each.fields for each in pictures]
    dates = DateReader(
        loose=options.loose_dates,
        habits=find_habits(tidy_row(each, columns=options.columns) for each in fields),
    )
    maker = RowMaker(
        archive=archive,
        folder=folder.resolve(),
        describe_row=describe,
        dates=dates,
        columns=options.columns,
        locate=finder.find,
    )

    def make_rows() -> Iterator[Row]:
        for number, each in enumerate(pictures, start=1):
            yield maker.make_row(number, {**each.fields, "file": finder.choose(each.files)})

    return Source(
        path=path,
        folder=folder,
        rows=make_rows(),
        total=len(pictures),
        describe_row=describe,
        dates=dates,
    )


@dataclass
class FileFinder:
    """Finds the files of pictures in a folder, by the addresses and paths that an export has.

    An export names files as they lay where it was made: by an address, or by an absolute path. Here
    they lie below another folder, with as much of the path as somebody kept.
    """

    folder: Path
    _fetched: dict[str, str] | None = None
    _by_name: dict[str, list[Path]] = field(default_factory=dict)

    def choose(self, names: Sequence[str]) -> str:
        """Return the first name whose file is there; the first of all if none is."""
        for name in names:
            try:
                self.find(name)
            except errors.InvalidArgument:
                continue
            return name
        return names[0] if names else ""

    def find(self, name: str) -> Path:
        """Return the file of a picture.

        Raises:
            errors.InvalidArgument: It is not there, or cannot be used.
        """
        if not name:
            raise errors.InvalidArgument(
                "file: the export names no file of this picture.",
                field="file",
                reason="MISSING_FILE",
            )
        if (kept := self._read_fetched().get(name)) is not None:
            return file_below(self.folder, relative=kept, links=True)
        parts = _split(name)
        for start in range(len(parts)):
            relative = "/".join(parts[start:])
            try:
                return file_below(self.folder, relative=relative, links=True)
            except errors.InvalidArgument as error:
                if error.reason not in {"MISSING_FILE", "OUTSIDE_FOLDER"}:
                    raise
        same = self._list_names().get(compose(parts[-1]).casefold(), []) if parts else []
        if len(same) == 1:
            return file_below(
                self.folder, relative=same[0].relative_to(self.folder).as_posix(), links=True
            )
        why = "several files below the folder have its name" if same else "it is not in the folder"
        if not same and "://" in name:
            why += "; `halftone fetch` brings pictures of IIIF manifests"
        raise errors.InvalidArgument(
            f"file: {name!r} is not here: {why}.", field="file", reason="MISSING_FILE"
        )

    def _read_fetched(self) -> dict[str, str]:
        if self._fetched is None:
            path = self.folder / FETCHED
            value = load_document(path) if path.is_file() else {}
            entries = value.get("files", {}) if isinstance(value, dict) else {}
            self._fetched = {key: each for key, each in entries.items() if isinstance(each, str)}
        return self._fetched

    def _list_names(self) -> dict[str, list[Path]]:
        if not self._by_name:
            for path in files.files_below(self.folder):
                self._by_name.setdefault(compose(path.name).casefold(), []).append(path)
        return self._by_name


def _split(name: str) -> list[str]:
    """Return the parts of an address or a path, without those that lead upwards."""
    if "://" in name:
        name = unquote(urlsplit(name).path)
    return [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]


def as_list(value: Any) -> list[Any]:
    """Return a value of JSON as a list: none, one or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def shorten_id(address: str) -> str:
    """Return an image id for an address: its path without what is the same everywhere."""
    parts = _split(address)
    return "/".join(parts)
