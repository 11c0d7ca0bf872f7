"""`halftone import`: a folder of pictures with a manifest goes into the archive."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from halftone.archive import records
from halftone.archive.documents import DocumentOptions, expand_rows
from halftone.archive.mapping import merge_maps, parse_map, read_map
from halftone.archive.sources import KINDS, Options, find_kind, open_source
from halftone.archive.sources.pages import PAGES
from halftone.cli import output
from halftone.cli.connecting import server_options
from halftone.cli.page_scans import page_options, write_sheet
from halftone.cli.row_lists import NOTED, REJECTED, RowList
from halftone.cli.terminal.progress import Counter
from halftone.client import ImportState
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from halftone.archive.rows import Row
    from halftone.archive.sources import PageOptions, Source
    from halftone.cli.connecting import Connect
    from halftone.client import Client, ImportAck, ImportSummary

_SHOWN: Final = 5
# These are the usual suffixes of manifests; any other file is tried all the same.
_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")


@click.command(name="import")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--archive", metavar="NAME", help="Archive to import into.  [default: DIR's name]")
@click.option(
    "--encoding",
    help="The manifest's encoding.  [default: UTF-8, UTF-16 or else Windows-1252, as the file is]",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice([kind.name for kind in KINDS]),
    help="What DIR is, if it is not recognised.",
)
@click.option(
    "--map",
    "maps",
    metavar="FIELD=COLUMN,…",
    multiple=True,
    help='Columns that are called otherwise: journal=Publication,date="Date issued".',
)
@click.option(
    "--map-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help='The same in a file of TOML, with lines such as journal = "Publication".',
)
@click.option(
    "--loose-dates",
    is_flag=True,
    help="Read dates as people write them (22.08.1914, ca. 1914, n.d.) where they can mean one "
    "thing only, and import a picture undated where not, instead of rejecting its row.",
)
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File in which rejected rows are listed.  [default: rejected.csv beside the manifest, or "
    "here if that folder cannot be written]",
)
@page_options
@click.option(
    "--tiff-pages",
    type=click.Choice(["all", "first"]),
    default="all",
    show_default=True,
    help="Which pages of a TIFF with several become records, as ID/p1, ID/p2 …",
)
@click.option(
    "--pdf-dpi",
    type=click.IntRange(36, 1200),
    metavar="N",
    help="Draw the pages of PDFs at this resolution.  [default: pictures that fill a page as they "
    "are, other pages at the resolution of their pictures]",
)
@click.option(
    "--notes",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File in which rows are listed that were kept, but not as they are, for example with a "
    "date that was read loosely.  [default: notes.csv beside the manifest]",
)
@server_options
def import_(
    *,
    source: Path,
    archive: str | None,
    encoding: str | None,
    kind: str | None,
    maps: tuple[str, ...],
    map_file: Path | None,
    loose_dates: bool,
    rejected: Path | None,
    pages: PageOptions | None,
    sheet: Path | None,
    tiff_pages: Literal["all", "first"],
    pdf_dpi: int | None,
    notes: Path | None,
    connect: Connect,
) -> None:
    """Import a folder of pictures with a manifest (CSV, TSV or JSON Lines), or of page scans.

    DIR is the folder, or the manifest itself. JPEG, PNG, TIFF, JPEG 2000, WebP, AVIF, GIF
    and BMP are read, of at most 32 MiB a picture. A TIFF or PDF with several pages becomes a record
    for each page.

    Exports of Omeka S (CSV, JSON-LD) and Tropy, BagIt bags, IIIF manifests and JSON of Chronicling
    America are read as they are; their pictures lie in the same folder.

    A folder of page scans with METS, ALTO, PAGE XML or IIIF annotations beside them needs no
    manifest: each page becomes a record, and so does each picture on it. --pages imports scans
    without descriptions, too; the pictures on them are found by layout. --dry-run shows the first
    pages with their boxes and sends nothing.

    Importing again changes nothing, so an import that was cut off is resumed by running it again.
    Exit code: 0, or 1 when rows were rejected, or 2 when the manifest cannot be used.
    """
    name = archive or derive_archive(source)
    if archive is None and name != _find_folder(source).name:
        output.remark(
            f"The archive is called {name}: names of archives have letters, digits, '.', '_' and "
            "'-' only. --archive NAME chooses another."
        )
    if sheet is not None:
        write_sheet(source, pages=pages, sheet=sheet)
        return
    rejected = rejected or _place_list(source, name="rejected.csv")
    columns = merge_maps(read_map(map_file) if map_file else None, parse_map(maps))
    options = Options(
        encoding=encoding, kind=kind, columns=columns, loose_dates=loose_dates, pages=pages
    )
    with connect() as client:
        try:
            outcome = run_import(
                client,
                source,
                archive=name,
                options=options,
                documents=DocumentOptions(tiff_pages=tiff_pages, pdf_dpi=pdf_dpi),
                rejected=rejected,
                notes=notes,
            )
        except KeyboardInterrupt:
            output.make_notes().print(
                "Stopped. What was acknowledged is stored; the same command goes on from there."
            )
            raise SystemExit(output.INTERRUPTED) from None
    output.say(describe(outcome.summary, archive=name))
    output.remark(*outcome.remarks)
    if outcome.summary.rejected:
        raise SystemExit(1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an import.

    Attributes:
        summary: The counts, and the acknowledgements of rejected rows.
        remarks: Sentences to print behind the summary: the first rejected rows and where all of
            them are listed, and pictures that were not imported as a whole.
    """

    summary: ImportSummary
    remarks: tuple[str, ...]


def run_import(
    client: Client,
    source: Path,
    *,
    archive: str,
    options: Options | None = None,
    documents: DocumentOptions | None = None,
    rejected: Path,
    notes: Path | None = None,
) -> Outcome:
    """Import a folder, with a progress bar on standard error, and list the rejected rows.

    Args:
        client: A client of the service to import into.
        source: A manifest or its folder.
        archive: The archive to import into.
        options: How the source is to be read.
        documents: How files with several pages are read.
        rejected: The file for rejected rows; written only if there are any. An import does not
            end because it cannot be written.
        notes: The file for rows that were kept with a note; None stands for `notes.csv` beside the
            manifest, where a file of somebody else's stays and stops nothing.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be used, or `rejected` is a file
            that is no list of rejected rows.
    """
    records.make_name(archive, image_id="any", field="--archive")
    # This reads the header before anything is sent, so that a bad manifest changes nothing.
    try:
        opened = open_source(source, archive=archive, options=options)
    except errors.InvalidArgument as error:
        if source.is_dir() and find_kind(source) is None:
            raise errors.InvalidArgument(
                f"{error.message} If its pictures are scans of pages, --pages imports them.",
                field="path",
            ) from error
        known = not source.is_file() or source.suffix.lower() in _SUFFIXES
        if known or error.reason not in {"WRONG_ENCODING", "MISSING_COLUMN"}:
            raise
        raise errors.InvalidArgument(
            f"{source} is no manifest. What is imported is a folder of pictures with a manifest "
            "(CSV, TSV or JSON Lines), which names them in the columns image_id and file.",
            field="path",
        ) from error
    numbering = opened.numbering
    with (
        RowList(rejected, purpose=REJECTED, numbering=numbering) as rejections,
        RowList(
            notes or _place_list(source, name="notes.csv"),
            purpose=NOTED,
            numbering=numbering,
            # Nearly no import has notes, and many people have a file of that name.
            refuse=notes is not None,
        ) as kept,
        Counter() as counter,
    ):
        advance = counter.add("Importing", total=opened.total)
        noted: list[ImportAck] = []
        files: dict[str, str] = {}
        waits = _Waits(counter.say, note=lambda text: advance(0, remark=text))

        def on_progress(ack: ImportAck) -> None:
            waits.end()
            if ack.state is ImportState.REJECTED:
                reason = _explain(ack, files=files)
                rejections.add(ack.row, image_id=_find_image_id(ack), text=reason)
            else:
                files.pop(ack.name, None)
            if ack.notes:
                noted.append(ack)
            advance(1, remark=f"{rejections.count:,} rejected" if rejections.count else "")

        rows = opened.rows
        if not _is_of_pages(source, options):
            rows = expand_rows(rows, options=documents or DocumentOptions())
        summary = client.import_images(
            _list_kept(rows, kept=kept, files=files), on_progress=on_progress, on_wait=waits.tell
        )
    remarks = [
        *opened.remarks,
        *_list_notes(noted, source=opened),
        *_describe_rejections(summary, source=opened, files=files),
        *rejections.describe(),
        *(opened.dates.describe(option="--loose-dates") if opened.dates else ()),
        *kept.describe(),
    ]
    return Outcome(summary=summary, remarks=tuple(remarks))


def _is_of_pages(source: Path, options: Options | None) -> bool:
    """Return whether a source holds page scans, whose pages are records as they are."""
    pages = options is not None and (options.pages is not None or options.kind == PAGES.name)
    return pages or find_kind(source) is PAGES


def _explain(ack: ImportAck, *, files: Mapping[str, str]) -> str:
    """Return why a row was rejected, with the name of its file."""
    reason = ack.error.message if ack.error else ""
    file = files.get(ack.name, "")
    return reason if file in reason else f"{file}: {reason}"


def _list_kept(rows: Iterator[Row], *, kept: RowList, files: dict[str, str]) -> Iterator[Row]:
    """Yield the rows, list those that have notes, and remember what the files are called."""
    for row in rows:
        if row.image is not None and row.path is not None:
            files[row.image.name] = row.path.name
        if row.notes:
            kept.add(row.number, image_id=row.image_id, text=" ".join(row.notes))
        yield row


def describe(summary: ImportSummary, *, archive: str) -> str:
    """Return the result of an import as one line of text."""
    if not summary.total:
        return f"{archive}: nothing was imported, the manifest has no rows."
    text = (
        f"{archive}: {summary.created} created, {summary.unchanged} unchanged, "
        f"{summary.updated} updated, {len(summary.rejected)} rejected."
    )
    if summary.reconnects:
        times = "once" if summary.reconnects == 1 else f"{summary.reconnects} times"
        text += f" The connection was lost {times} and taken up again."
    return text


def _describe_rejections(
    summary: ImportSummary, *, source: Source, files: Mapping[str, str]
) -> list[str]:
    """Return a line about each of the first rejected rows."""
    lines = [
        f"{_describe_row(ack, source=source)}: {_explain(ack, files=files)}"
        for ack in summary.rejected[:_SHOWN]
    ]
    return [*lines, *["…"] * (len(summary.rejected) > _SHOWN)]


def derive_archive(source: Path) -> str:
    """Return an archive's name: the folder's name without characters that are not allowed there.

    The folder is `source`, or the folder that contains it if it is a file.
    """
    name = _find_folder(source).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:63] or "default"


def _find_folder(source: Path) -> Path:
    path = source.resolve()
    return path if path.is_dir() else path.parent


def _place_list(source: Path, *, name: str) -> Path:
    folder = _find_folder(source)
    return (folder if os.access(folder, os.W_OK) else Path.cwd()) / name


def _list_notes(noted: Sequence[ImportAck], *, source: Source) -> list[str]:
    """Return what is said of the first pictures that were not imported as a whole."""
    lines = [
        f"{_describe_row(ack, source=source)}: {' '.join(ack.notes)}" for ack in noted[:_SHOWN]
    ]
    if len(noted) > _SHOWN:
        lines.append(f"… and the like of {len(noted) - _SHOWN:,} more.")
    return lines


def _describe_row(ack: ImportAck, *, source: Source) -> str:
    return ", ".join(filter(None, (source.describe_row(ack.row), _find_image_id(ack))))


def _find_image_id(ack: ImportAck) -> str:
    return ack.name.partition("/images/")[2] or ack.name


class _Waits:
    """Says when an import waits for its service, once for each time.

    Args:
        say: Prints a sentence.
        note: Shows a text beside the progress.
    """

    def __init__(self, say: Callable[[str], None], *, note: Callable[[str], None]) -> None:
        self._say = say
        self._note = note
        self._told = ""

    def tell(self, error: errors.HalftoneError, seconds: float) -> None:
        """Say what is waited for and until when, unless that was said before."""
        if error.message != self._told:
            self._told = error.message
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
            self._say(f"{error.message} It is tried again until {until}.")
            self._note("waiting for the service")

    def end(self) -> None:
        """Say that it goes on, if it had to wait."""
        if self._told:
            self._told = ""
            self._say("The service answers.")
