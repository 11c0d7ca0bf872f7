"""Opens a manifest as a source: a CSV, TSV or JSON Lines file, alone or in a folder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from halftone.archive import manifests
from halftone.archive.loose_dates import DateReader
from halftone.archive.sources.source import Kind, Source
from halftone.archive.tables import describe_row

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.archive.sources.source import Options


def recognise_manifest(path: Path) -> bool:
    """Return whether a path is a folder with a manifest; any file may be one."""
    return path.is_file() or any((path / name).is_file() for name in manifests.NAMES)


def open_manifest(path: Path, *, archive: str, options: Options) -> Source:
    """Open a manifest; see `manifests.read_manifest` for what it may hold.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be read.
    """
    manifest = manifests.open_manifest(path, encoding=options.encoding, columns=options.columns)
    table = manifest.table
    dates = DateReader(loose=options.loose_dates, habits=manifest.habits)
    return Source(
        path=table.path,
        folder=table.path.parent,
        rows=manifest.read_rows(archive=archive, dates=dates),
        total=manifest.total,
        describe_row=partial(describe_row, table.path),
        # A cell with a line break does not begin a row, so these are not the lines of the file.
        numbering="Rows are numbered as a spreadsheet shows them." if table.delimiter else "",
        dates=dates,
        remarks=[table.remark] if table.remark else [],
    )


MANIFEST: Final = Kind(name="manifest", recognise=recognise_manifest, open=open_manifest)
