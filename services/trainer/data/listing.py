"""What data sets name: pictures and the groups they form, from manifests and from wide tables."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MANIFEST: Final = "manifest.csv"
GROUPS: Final = "groups.json"
_DELIMITERS: Final = ",;\t"
_FILE_COLUMN: Final = "file"

Kind = Literal[
    "missing file",
    "broken file",
    "same bytes",
    "image in two groups",
    "group of one",
    "composite group",
    "repeated name",
    "ambiguous name",
    "unknown image",
    "new group",
]


@dataclass(frozen=True)
class Finding:
    """Something about the data that a person should know and that stops nothing."""

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture as it is listed. Pictures of several data sets may share an image_id."""

    image_id: str
    path: Path
    journal: str = ""
    rights: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures that belong together, by their places in the listing.

    links: The pairs that show the same picture; None: all of them do. A plate with two pictures
        on it belongs to both, which do not belong to each other.
    """

    name: str
    members: tuple[int, ...]
    links: tuple[tuple[int, int], ...] | None = None


@dataclass
class Listing:
    """The pictures and groups of all data sets of a run."""

    entries: list[Entry] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def is_below(path: Path, *, roots: Sequence[Path]) -> bool:
    """Whether a file lies below one of the roots, symbolic links followed; always if none is."""
    found = path.resolve()
    return not roots or any(found.is_relative_to(root.resolve()) for root in roots)


def read_listing(
    sources: Sequence[Path], *, group_column: str = "group", roots: Sequence[Path] = ()
) -> Listing:
    """Read what the data sets name; nothing that leads out of `roots`, if there are some.

    Each is a folder with `manifest.csv`, such a manifest (it has a column `file`), or a wide table:
    the first column holds a reference picture, the others of its row the pictures similar to it,
    with a header or without. Files are named relative to the table's folder.

    Raises:
        errors.InvalidArgument: A data set is not there or cannot be understood.
    """
    listing = Listing()
    for source in sources:
        path = source / MANIFEST if source.is_dir() else source
        rows = _read_rows(path, listing=listing)
        header = [cell.strip() for cell in rows[0]] if rows else []
        if _FILE_COLUMN in header:
            _add_manifest(rows, path=path, group_column=group_column, roots=roots, listing=listing)
        elif source.is_dir():
            raise errors.InvalidArgument(f"{path} has no column {_FILE_COLUMN!r}.", field="data")
        else:
            _add_table(rows, path=path, roots=roots, listing=listing)
    return listing


def _read_rows(path: Path, *, listing: Listing) -> list[list[str]]:
    """The rows of a table with something in them; any of three delimiters."""
    try:
        content = path.read_bytes()
    except OSError as error:
        # Whoever asked for the job knows the names, and has no use for the paths of this machine.
        name = f"{path.parent.name}/{path.name}"
        gone = isinstance(error, FileNotFoundError)
        raise errors.InvalidArgument(
            f"The data set {name} {'is not there' if gone else 'cannot be read'}: "
            f"{error.strerror}.",
            field="data",
            reason="DATASET_NOT_FOUND" if gone else None,
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What spreadsheets of the western world save by default.
        text = content.decode("cp1252", errors="replace")
        listing.findings.append(
            Finding("ambiguous name", f"{path.name} is not UTF-8; read as Windows-1252")
        )
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
    return [row for row in rows if any(cell.strip() for cell in row)]


def _add_manifest(
    rows: list[list[str]],
    *,
    path: Path,
    group_column: str,
    roots: Sequence[Path],
    listing: Listing,
) -> None:
    header = [cell.strip() for cell in rows[0]]
    start = len(listing.entries)
    by_id: dict[str, int] = {}
    named: dict[str, list[int]] = {}
    for cells in rows[1:]:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        image_id = row.get("image_id") or row.get(_FILE_COLUMN, "")
        file = path.parent / row.get(_FILE_COLUMN, "")
        if not file.is_file():
            listing.findings.append(Finding("missing file", f"{image_id}: {file} is not there"))
            continue
        if not is_below(file, roots=roots):
            outside = f"{image_id}: {file} is not below the data roots"
            listing.findings.append(Finding("missing file", outside))
            continue
        if image_id in by_id:
            listing.findings.append(
                Finding("repeated name", f"{path.name} lists {image_id} twice; the first counts")
            )
            number = by_id[image_id]
        else:
            number = by_id[image_id] = len(listing.entries)
            listing.entries.append(
                Entry(
                    image_id=image_id,
                    path=file,
                    journal=row.get("journal", ""),
                    rights=row.get("rights", ""),
                )
            )
        if row.get(group_column):
            named.setdefault(row[group_column], []).append(number)
    if group_column in header:
        for name, members in named.items():
            _add_group(name, members, listing=listing)
    elif (path.parent / GROUPS).is_file():
        _add_groups_json(path.parent / GROUPS, by_id=by_id, listing=listing)
    if len(listing.entries) == start:
        raise errors.InvalidArgument(f"None of the files that {path} names is there.", field="data")


def _add_groups_json(path: Path, *, by_id: dict[str, int], listing: Listing) -> None:
    """An archive's `groups.json`: a list of groups, in a composite one only the links are true."""
    try:
        for group in json.loads(path.read_bytes()):
            known = [by_id[member] for member in group["members"] if member in by_id]
            for member in sorted(set(group["members"]) - set(by_id)):
                listing.findings.append(
                    Finding("unknown image", f"{path.name} names {member} in {group['group']}")
                )
            links = None
            if group.get("composite"):
                pairs = [(link["a"], link["b"]) for link in group["links"]]
                links = [(by_id[a], by_id[b]) for a, b in pairs if a in by_id and b in by_id]
                listing.findings.append(
                    Finding(
                        "composite group",
                        f"{group['group']}: only its {len(links)} links attract; no class",
                    )
                )
            _add_group(str(group["group"]), known, listing=listing, links=links)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.InvalidArgument(f"{path} cannot be used: {error!r}.", field="data") from error


def _add_table(
    rows: list[list[str]], *, path: Path, roots: Sequence[Path], listing: Listing
) -> None:
    """The wide table. Rows with the same reference are one group."""
    names = _Names(path.parent, roots=roots)
    table = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    # A header names no file.
    if table and not any(names.find(cell) for cell in table[0]):
        table = table[1:]
    if not any(names.find(cell) for row in table for cell in row):
        raise errors.InvalidArgument(
            f"{path} is neither a manifest (it has no column {_FILE_COLUMN!r}) nor a table of "
            "pictures: none of the files it names is there.",
            field="data",
        )
    numbers: dict[Path, int] = {}
    groups: dict[str, list[int]] = {}
    for row in table:
        reference = names.find(row[0])
        name = reference.name if reference else row[0]
        members = groups.setdefault(name, [])
        seen = set()
        for cell in row:
            file = names.find(cell)
            if file is None:
                listing.findings.append(
                    Finding("missing file", f"{cell}, similar to {row[0]}: no such file")
                )
                continue
            if file in seen:
                listing.findings.append(
                    Finding("repeated name", f"{cell} is twice in the row of {row[0]}")
                )
            seen.add(file)
            if file not in numbers:
                numbers[file] = len(listing.entries)
                image_id = file.relative_to(path.parent.resolve()).as_posix()
                listing.entries.append(Entry(image_id=image_id, path=file))
            members.append(numbers[file])
    listing.findings += names.findings
    for name, members in groups.items():
        _add_group(name, members, listing=listing)


class _Names:
    """Finds files by names as people type them: another case, no extension, no folder."""

    def __init__(self, folder: Path, *, roots: Sequence[Path]) -> None:
        self.findings: list[Finding] = []
        self._folder = folder.resolve()
        self._by_key: dict[str, list[Path]] = {}
        for path in files.files_below(self._folder):
            if not is_below(path, roots=roots):
                continue
            for key in self._keys(path):
                self._by_key.setdefault(key, []).append(path)
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Path | None:
        exact = (self._folder / name).resolve()
        if exact.is_relative_to(self._folder) and exact.is_file():
            return exact
        candidates = self._by_key.get(name.replace("\\", "/").casefold(), [])
        # Of two that differ in case or folder only, the first by name.
        if len(candidates) > 1:
            self.findings.append(
                Finding("ambiguous name", f"{name} may be {len(candidates)} files; took the first")
            )
        return candidates[0] if candidates else None

    def _keys(self, path: Path) -> Iterator[str]:
        relative = path.relative_to(self._folder)
        yield from dict.fromkeys(
            str(key).casefold()
            for key in (
                relative.as_posix(),
                relative.name,
                relative.with_suffix("").as_posix(),
                relative.stem,
            )
        )


def _add_group(
    name: str,
    members: Sequence[int],
    *,
    listing: Listing,
    links: Sequence[tuple[int, int]] | None = None,
) -> None:
    distinct = tuple(dict.fromkeys(members))
    if not distinct:
        return
    pairs: Any = None if links is None else tuple(links)
    listing.groups.append(Group(name=name, members=distinct, links=pairs))
