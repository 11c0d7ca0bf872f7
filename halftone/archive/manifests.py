"""Read manifests: a folder of pictures with a CSV, TSV or JSON Lines file.

A manifest names one picture a row: `image_id` and `file` (relative to the manifest's folder), and
as far as they are known `journal`, `date` (EDTF), `page`, `caption`, `language`, `rights`, `show`
(`none`, `thumbnail` or `full`), `source_uri`, `source` (a URI becomes `source_uri`, anything else a
label), `page_image` (the page that the picture stands on: an image id of this archive, or the whole
name of a record) and `page_region` (`x,y,width,height`). Every other column becomes a label. Texts
are read in Unicode's normal form C, and a file is found in whatever form its name is. A row that
cannot be used is yielded with its reason and does not end the reading.

`open_manifest` goes through all rows once before the first is given, since only all of them tell
how dates and numbers are written; see `halftone.archive.habits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.habits import TELLING, Habits, find_habits
from halftone.archive.locating import file_below
from halftone.archive.loose_dates import DateReader
from halftone.archive.records import Name, make_name, parse_name, validate
from halftone.archive.rows import COLUMNS, REQUIRED, Row, RowMaker, tidy_row
from halftone.archive.tables import describe_row, open_table
from halftone.core import errors, files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from halftone.archive.mapping import ColumnMap
    from halftone.archive.tables import TableFile

__all__ = [
    "COLUMNS",
    "NAMES",
    "REQUIRED",
    "Manifest",
    "Name",
    "Row",
    "file_below",
    "find_manifest",
    "list_pictures",
    "make_name",
    "open_manifest",
    "parse_name",
    "read_manifest",
    "validate",
]

NAMES: Final = ("manifest.csv", "manifest.tsv", "manifest.jsonl")
"""The file names that are looked for in a folder."""


def find_manifest(path: Path) -> Path:
    """Return the manifest: `path` itself, or the one in the folder `path`.

    Raises:
        errors.InvalidArgument: The folder has no manifest, or more than one.
    """
    if path.is_dir():
        candidates = [path / name for name in NAMES if (path / name).is_file()]
        if len(candidates) != 1:
            what = "more than one" if candidates else "none"
            raise errors.InvalidArgument(
                f"{path} must hold one of {', '.join(NAMES)}, and holds {what}.", field="path"
            )
        return candidates[0]
    if not path.is_file():
        raise errors.InvalidArgument(f"{path} is neither a manifest nor a folder.", field="path")
    return path


def list_pictures(path: Path) -> list[Path]:
    """Return the files of the pictures of an archive; all files of a folder without a manifest.

    Rows of a manifest that cannot be used are left out.
    """
    if path.is_file() or any((path / name).is_file() for name in NAMES):
        rows = read_manifest(path, archive="any")
        return [row.path for row in rows if row.path is not None]
    return files.files_below(path)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest whose table was opened and gone through once.

    Attributes:
        table: Its table.
        columns: Which columns are the fields; None if they are called so.
        habits: How it writes dates and numbers.
        total: The number of its rows.
    """

    table: TableFile
    columns: ColumnMap | None
    habits: Habits
    total: int

    def read_fields(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield the number of each row and its fields as they are written, or why there are none.

        An object of JSON Lines that lacks a needed field is none.
        """
        for number, row in self.table.rows():
            problem = ""
            if isinstance(row, dict) and not self.table.delimiter:
                names = tidy_row(row, columns=self.columns)
                missing = [key for key in REQUIRED if key not in names]
                has = ", ".join(row) or "nothing"
                problem = f"the line has no {missing[0]!r}; it has: {has}." if missing else ""
            yield number, problem or row

    def read_rows(self, *, archive: str, dates: DateReader | None = None) -> Iterator[Row]:
        """Yield all rows, good and rejected ones; see `read_manifest`."""
        return self.make_maker(archive=archive, dates=dates).make_rows(self.read_fields())

    def make_maker(self, *, archive: str, dates: DateReader | None = None) -> RowMaker:
        """Return what makes records of the rows."""
        return RowMaker(
            archive=archive,
            folder=self.table.path.parent.resolve(),
            describe_row=partial(describe_row, self.table.path),
            dates=dates or DateReader(habits=self.habits),
            columns=self.columns,
        )


def open_manifest(
    path: Path, *, encoding: str | None = None, columns: ColumnMap | None = None
) -> Manifest:
    """Open a manifest, check its columns, and find out how it writes.

    Args:
        path: A CSV, TSV or JSON Lines file, or a folder with a `manifest.csv`, `manifest.tsv` or
            `manifest.jsonl`; see `open_table`.
        encoding: The file's encoding. None lets the file decide, see `halftone.archive.encodings`;
            `Manifest.table.remark` tells if it was guessed.
        columns: Which columns are the fields of records; None if they are called so.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be read: the file is missing, its
            encoding is another one, or it lacks a needed column.
    """
    known = COLUMNS | columns.sources if columns else COLUMNS
    table = open_table(find_manifest(path), encoding=encoding, known=known)
    _check_columns(table, columns=columns)
    total = 0

    def read_all() -> Iterator[dict[str, Any]]:
        nonlocal total
        for _, row in table.rows(ragged=True, strict=False):
            total += 1
            if isinstance(row, dict):
                # Other columns of a table, whose names are in lower case, tell nothing.
                plain = table.delimiter and columns is None
                yield tidy_row(
                    {key: row[key] for key in TELLING if key in row} if plain else row,
                    columns=columns,
                )

    habits = find_habits(read_all())
    return Manifest(table=table, columns=columns, habits=habits, total=total)


def _check_columns(table: TableFile, *, columns: ColumnMap | None) -> None:
    if not table.delimiter:
        return
    mapped: set[str] = set()
    if columns:
        columns.check(table.columns)
        mapped = set(columns.columns)
    try:
        table.check_columns(*(key for key in REQUIRED if key not in mapped), single=COLUMNS)
    except errors.InvalidArgument as error:
        if error.reason != "MISSING_COLUMN":
            raise
        raise errors.InvalidArgument(
            f"{error.message} If one of them is it under another name, say so: "
            f"--map {error.field}=NAME.",
            field=error.field,
            reason=error.reason,
        ) from None


def read_manifest(path: Path, *, archive: str, encoding: str | None = None) -> Iterator[Row]:
    """Read a manifest row by row.

    Args:
        path: The manifest or its folder, see `open_manifest`.
        archive: The archive that the records belong to.
        encoding: The file's encoding, see `open_manifest`.

    Returns:
        All rows, good and rejected ones, in the order of the file. A row is rejected if its image
        id occurred before, its date is not one, or its file is missing, empty, too large, or
        outside the folder, also behind a symbolic link.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be read. Raised before the first row.
    """
    return open_manifest(path, encoding=encoding).read_rows(archive=archive)
