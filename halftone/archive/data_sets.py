"""Lists the pictures of data sets and their groups, from manifests and wide tables.

Data sets are what models are trained on and judged by. Nothing here opens a picture, so the
training service can check a data set before it accepts a job.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.archive import manifests, sources
from halftone.archive.boundaries import Boundary
from halftone.archive.fields import to_text
from halftone.archive.habits import find_habits
from halftone.archive.rows import tidy_row
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors, files
from halftone.core.spelling import compose, compose_all, find_spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from halftone.archive.tables import TableFile

GROUPS: Final = "groups.json"
_FILE_COLUMN: Final = "file"
# Tables are read here, since they may be wide; pages are no pictures to learn from.
_OWN_KINDS: Final = ("manifest", "pages")
# A finding quotes so many characters of a cell, which may be a whole page.
_LONGEST_NAME: Final = 200

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
    "unreadable row",
]


@dataclass(frozen=True)
class Finding:
    """An oddity of the data that a person should know. It does not stop the run."""

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture of a data set. Pictures of several data sets may have the same image_id."""

    image_id: str
    path: Path
    journal: str = ""
    rights: str = ""


@dataclass(frozen=True, kw_only=True)
class SceneGroup:
    """Pictures that belong together, by their positions in the listing.

    `links` has the pairs that show the same picture; None means that all pairs do. A plate with two
    pictures on it is linked to each of them, and the two are not linked to each other.
    """

    name: str
    members: tuple[int, ...]
    links: tuple[tuple[int, int], ...] | None = None


@dataclass
class Listing:
    """The pictures and groups of all data sets of a run."""

    entries: list[Entry] = field(default_factory=list)
    groups: list[SceneGroup] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def list_families(self) -> list[tuple[str, ...]]:
        """Return the names of the groups of each family that has at least two pictures.

        Groups that share a picture are one family, which no split may separate.
        """
        parent = list(range(len(self.groups)))

        def find(group: int) -> int:
            while parent[group] != group:
                # Each look halves the way, or a chain of thousands is walked thousands of times.
                parent[group] = group = parent[parent[group]]
            return group

        owner: dict[Path, int] = {}
        for number, group in enumerate(self.groups):
            for path in (self.entries[member].path for member in group.members):
                parent[find(owner.setdefault(path, number))] = find(number)
        families: dict[int, tuple[list[str], set[Path]]] = {}
        for number, group in enumerate(self.groups):
            names, paths = families.setdefault(find(number), ([], set()))
            names.append(group.name)
            paths.update(self.entries[member].path for member in group.members)
        return [tuple(names) for names, paths in families.values() if len(paths) > 1]


def read_listing(
    sources: Sequence[Path], *, group_column: str = "group", roots: Sequence[Path] = ()
) -> Listing:
    """List the pictures and groups of data sets, leaving out files outside `roots`.

    A data set is a folder with a manifest, a manifest (it has a column `file`), or a wide table:
    the first column has a reference picture, the other columns of a row have pictures similar to
    it. A table may have a header. Files are named relative to the table's folder.

    Args:
        sources: Folders, manifests and wide tables.
        group_column: The column of a manifest that names the group; a manifest without it may have
            a `groups.json` beside it.
        roots: Directories that files must lie in; empty allows any place.

    Raises:
        errors.InvalidArgument: A data set does not exist or cannot be understood.
    """
    listing = Listing()
    for source in sources:
        add_data_set(source, group_column=group_column, roots=roots, listing=listing)
    return listing


def add_data_set(
    source: Path, *, group_column: str, roots: Sequence[Path], listing: Listing
) -> None:
    """Add a data set to a listing; the arguments and errors are those of `read_listing`."""
    kind = sources.find_kind(source)
    if kind is not None and kind.name not in _OWN_KINDS:
        _add_source(source, group_column=group_column, roots=roots, listing=listing)
        return
    table = open_data_set(source, listing=listing)
    if _is_manifest(table):
        _add_manifest(table, group_column=group_column, roots=roots, listing=listing)
    elif source.is_dir():
        raise errors.InvalidArgument(f"{table.path} has no column {_FILE_COLUMN!r}.", field="data")
    else:
        _add_table(table, roots=roots, listing=listing)


def _add_source(
    source: Path, *, group_column: str, roots: Sequence[Path], listing: Listing
) -> None:
    """Add the pictures of an export; a label that is called as the column may group them."""
    boundary = Boundary(roots)
    opened = sources.open_source(source, archive="any", options=sources.Options(loose_dates=True))
    named: dict[str, list[int]] = {}
    for row in opened.rows:
        where = row.image_id or opened.describe_row(row.number)
        if row.image is None or row.path is None or row.content is not None:
            listing.findings.append(Finding("missing file", f"{where}: {row.error}"))
        elif not boundary.has(row.path):
            outside = f"{where}: {row.path} is not below the data roots"
            listing.findings.append(Finding("missing file", outside))
        else:
            for name in row.image.labels[group_column].values[:1]:
                named.setdefault(name, []).append(len(listing.entries))
            listing.entries.append(
                Entry(
                    image_id=row.image_id,
                    path=row.path,
                    journal=row.image.journal,
                    rights=row.image.rights,
                )
            )
    for name, members in named.items():
        _add_group(name, members, listing=listing)


def measure_tables(source: Path) -> int:
    """Return the bytes of a data set's table and of the groups beside it; 0 if there are none."""
    path = _find_table(source)
    return sum(file.stat().st_size for file in (path, path.parent / GROUPS) if file.is_file())


def count_names(source: Path, *, most: int) -> int:
    """Return how many files have to be looked for to read a data set, as far as `most` + 1.

    Those are the rows of a manifest; of a wide table, its cells and all that lies below its folder.

    Args:
        source: A folder, manifest or wide table.
        most: The count at which nothing further is looked at.

    Raises:
        errors.InvalidArgument: The data set does not exist or cannot be understood.
    """
    table = open_data_set(source, listing=Listing())
    names: Iterator[object] = table.rows(required=(_FILE_COLUMN,), ragged=True, strict=False)
    if not _is_manifest(table):
        if source.is_dir():
            return 0  # `add_data_set` refuses it
        rows = (row for _, row in table.cells(strict=False))
        cells = (cell for row in rows for cell in ([row] if isinstance(row, str) else row))
        names = itertools.chain(files.walk(table.path.parent), cells)
    return sum(1 for _ in itertools.islice(names, most + 1))


def _is_manifest(table: TableFile) -> bool:
    return not table.delimiter or _FILE_COLUMN in table.columns


def _find_table(source: Path) -> Path:
    if not source.is_dir():
        return source
    present = [source / name for name in manifests.NAMES if (source / name).is_file()]
    return present[0] if present else source / manifests.NAMES[0]


def open_data_set(source: Path, *, listing: Listing) -> TableFile:
    """Open the table of a data set: a folder's first manifest, or `source` itself.

    Args:
        source: A folder, or a table.
        listing: Gets a finding if the table is not UTF-8.

    Raises:
        errors.InvalidArgument: There is no such table, or it cannot be read.
    """
    path = _find_table(source)
    try:
        table = open_table(path, known=manifests.COLUMNS)
    except OSError as error:
        # The caller of the job knows the names, but not the paths of this machine.
        name = f"{path.parent.name}/{path.name}"
        gone = isinstance(error, FileNotFoundError)
        raise errors.InvalidArgument(
            f"The data set {name} {'is not there' if gone else 'cannot be read'}: "
            f"{error.strerror}.",
            field="data",
            reason="DATASET_NOT_FOUND" if gone else None,
        ) from error
    if table.remark:
        listing.findings.append(Finding("ambiguous name", table.remark))
    return table


def read_rows(table: TableFile, *, listing: Listing) -> Iterator[dict[str, str]]:
    """Yield the non-empty rows of a manifest, by column. Unreadable rows become findings.

    Args:
        table: The manifest.
        listing: Gets the findings.
    """
    options: Any = {"required": (_FILE_COLUMN,), "ragged": True, "strict": False}
    readable = (row for _, row in table.rows(**options) if isinstance(row, dict))
    habits = find_habits(map(tidy_row, readable))
    for number, row in table.rows(**options):
        if isinstance(row, str):
            listing.findings.append(_unreadable(table, number=number, problem=row))
            continue
        fields = tidy_row(row, habits=habits)
        # The fields of JSON Lines come as they are written, columns in lower case.
        texts = {
            key.lower(): "" if value is None else _join(value) for key, value in fields.items()
        }
        if any(texts.values()):
            yield texts


def _join(value: object) -> str:
    """Return the text of a field; that of the first value if it has several."""
    return to_text(value[0] if isinstance(value, list) and value else value)


def _read_cells(table: TableFile, *, listing: Listing) -> Iterator[list[str]]:
    """Yield the cells of each row of a wide table that are not empty."""
    for number, row in table.cells(strict=False):
        if isinstance(row, str):
            listing.findings.append(_unreadable(table, number=number, problem=row))
            continue
        texts = [cell.strip() for cell in row if cell.strip()]
        if texts:
            yield texts


def _unreadable(table: TableFile, *, number: int, problem: str) -> Finding:
    where = f"{table.path.name}, {describe_row(table.path, number)}"
    return Finding("unreadable row", f"{where}: {problem}")


def _add_manifest(
    table: TableFile, *, group_column: str, roots: Sequence[Path], listing: Listing
) -> None:
    path, column = table.path, group_column.lower()
    boundary = Boundary(roots)
    start = len(listing.entries)
    by_id: dict[str, int] = {}
    named: dict[str, list[int]] = {}
    grouped = column in table.columns
    for row in read_rows(table, listing=listing):
        grouped |= column in row
        image_id = row.get("image_id") or compose(row.get(_FILE_COLUMN, ""))
        file = find_spelling(path.parent / row.get(_FILE_COLUMN, ""))
        if not _is_file(file):
            listing.findings.append(Finding("missing file", f"{image_id}: {file} is not there"))
            continue
        if not boundary.has(file):
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
        if row.get(column):
            named.setdefault(row[column], []).append(number)
    if grouped:
        for name, members in named.items():
            _add_group(name, members, listing=listing)
    elif (path.parent / GROUPS).is_file():
        _add_groups_json(path.parent / GROUPS, by_id=by_id, listing=listing)
    if len(listing.entries) == start:
        raise errors.InvalidArgument(f"None of the files that {path} names is there.", field="data")


def _add_groups_json(path: Path, *, by_id: dict[str, int], listing: Listing) -> None:
    """Add the groups of a `groups.json`. In a composite group only the links are true."""
    try:
        for group in compose_all(json.loads(path.read_bytes())):
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


def _add_table(table: TableFile, *, roots: Sequence[Path], listing: Listing) -> None:
    """Add the pictures of a wide table. Its rows with the same reference form one group."""
    path = table.path
    names = _Names(path.parent, roots=roots)
    rows = list(_read_cells(table, listing=listing))
    # A header does not name an existing file.
    if rows and not any(names.find(cell) for cell in rows[0]):
        rows = rows[1:]
    if not any(names.find(cell) for row in rows for cell in row):
        raise errors.InvalidArgument(
            f"{path} is neither a manifest (it has no column {_FILE_COLUMN!r}) nor a table of "
            "pictures: none of the files it names is there.",
            field="data",
        )
    numbers: dict[Path, int] = {}
    groups: dict[str, list[int]] = {}
    for row in rows:
        reference = names.find(row[0])
        name = reference.name if reference else row[0]
        members = groups.setdefault(name, [])
        seen = set()
        for cell in row:
            file = names.find(cell)
            if file is None:
                listing.findings.append(
                    Finding(
                        "missing file",
                        f"{cell[:_LONGEST_NAME]}, similar to {row[0][:_LONGEST_NAME]}: "
                        "no such file",
                    )
                )
                continue
            if file in seen:
                listing.findings.append(
                    Finding("repeated name", f"{cell} is twice in the row of {row[0]}")
                )
            seen.add(file)
            if file not in numbers:
                numbers[file] = len(listing.entries)
                image_id = compose(file.relative_to(path.parent.resolve()).as_posix())
                listing.entries.append(Entry(image_id=image_id, path=file))
            members.append(numbers[file])
    listing.findings += names.findings
    for name, members in groups.items():
        _add_group(name, members, listing=listing)


def _is_file(path: Path) -> bool:
    """Return whether there is such a file. None has a name that is too long for the disk."""
    try:
        return path.is_file()
    except OSError:
        return False


class _Names:
    """Finds files by names as people type them: in another case, without extension or folder.

    Which of Unicode's normal forms a name has makes no difference.
    """

    def __init__(self, folder: Path, *, roots: Sequence[Path]) -> None:
        self.findings: list[Finding] = []
        self._folder = folder.resolve()
        self._by_key: dict[str, list[Path]] = {}
        boundary = Boundary(roots)
        self._paths = {path for path in files.files_below(self._folder) if boundary.has(path)}
        for path in sorted(self._paths):
            for key in self._keys(path):
                self._by_key.setdefault(key, []).append(path)
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Path | None:
        with contextlib.suppress(OSError, ValueError):  # no file can have such a name
            exact = (self._folder / name).resolve()
            # Where a file system ignores case, a file is also there under other names.
            if exact in self._paths:
                return exact
        candidates = self._by_key.get(compose(name).replace("\\", "/").casefold(), [])
        # Of two files that differ only in case or folder, take the first one by name.
        if len(candidates) > 1:
            self.findings.append(
                Finding("ambiguous name", f"{name} may be {len(candidates)} files; took the first")
            )
        return candidates[0] if candidates else None

    def _keys(self, path: Path) -> Iterator[str]:
        relative = path.relative_to(self._folder)
        yield from dict.fromkeys(
            compose(key).casefold()
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
    listing.groups.append(SceneGroup(name=name, members=distinct, links=pairs))
