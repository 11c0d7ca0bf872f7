"""What every source of records gives, whatever it is read from."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from halftone.archive.pages.placing import Override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from halftone.archive.loose_dates import DateReader
    from halftone.archive.mapping import ColumnMap
    from halftone.archive.pages.model import Kind as BlockKind
    from halftone.archive.rows import Row


class Layout(enum.Enum):
    """When pictures are looked for on pages by their layout."""

    AUTO = "auto"
    """Where no picture of an issue is described."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """How a folder of page scans is to be read.

    Attributes:
        layout: When pictures are found by layout.
        kinds: What besides pictures becomes a record: advertisements, tables.
        override: The unit or scale of all descriptions, where they say it wrongly.
    """

    layout: Layout = Layout.AUTO
    kinds: tuple[BlockKind, ...] = ()
    override: Override = field(default_factory=Override)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a source is to be read.

    Attributes:
        encoding: The encoding of a text file. None lets the file decide: UTF-8, UTF-16, or else
            Windows-1252, which `Source.remarks` tells.
        columns: Which columns of a table are the fields of records.
        loose_dates: Whether dates are read that are not EDTF; see `loose_dates`.
        kind: The name of the kind of source that it is; None to find out.
        pages: How page scans are read. A folder is read as one of page scans if this is given, and
            otherwise only if it has descriptions of pages and no manifest.
        opens_pictures: Whether pictures may be decoded in this process. A service that reads what
            strangers send says no; kinds that need it are then no sources.
    """

    encoding: str | None = None
    columns: ColumnMap | None = None
    loose_dates: bool = False
    kind: str | None = None
    pages: PageOptions | None = None
    opens_pictures: bool = True


@dataclass(frozen=True, kw_only=True)
class Source:
    """Records to import, and where they come from.

    Attributes:
        path: The file or folder that describes the records.
        folder: The folder below which the pictures lie.
        rows: The records in their order, those that cannot be used with a reason. They can be gone
            through once.
        total: About how many rows there are.
        describe_row: Returns in words where the row of a number is, for example `row 3`.
        numbering: A sentence about what the numbers of rows count; may be empty.
        dates: What reads the dates of the rows, and counts them; None if they are not written by
            people.
        remarks: Sentences for people about how the source is read. Reading the rows may add to
            them, so they are complete only afterwards.
    """

    path: Path
    folder: Path
    rows: Iterator[Row]
    total: int
    describe_row: Callable[[int], str]
    numbering: str = ""
    dates: DateReader | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of source that `open_source` can open.

    Attributes:
        name: Its name for people and options, for example `manifest`.
        recognise: Returns whether a file or a folder is one, by a quick look. It must not raise
            because of what it finds.
        opens_pictures: Whether its rows come from decoded pictures.
        open: Opens a source. It is called as `open(path, archive=…, options=…)`, and raises
            `errors.InvalidArgument` if the source as a whole cannot be used.
    """

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[..., Source]
    opens_pictures: bool = False
