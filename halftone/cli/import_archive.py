"""`halftone import`: a folder of pictures with a manifest goes into the archive."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from halftone.archive import records
from halftone.archive.sources import Options, find_kind, open_source
from halftone.cli import output
from halftone.cli.connecting import server_options
from halftone.cli.page_scans import page_options, write_sheet
from halftone.cli.terminal.progress import Counter
from halftone.client import ImportState
from halftone.core import errors, files
from halftone.core.formulas import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from halftone.archive.sources import PageOptions, Source
    from halftone.cli.connecting import Connect
    from halftone.client import Client, ImportAck, ImportSummary

REJECTED_HEADER: Final = ("row", "image_id", "reason")
_HEADER_BYTES: Final = ",".join(REJECTED_HEADER).encode()
_SHOWN: Final = 5
# These are the usual suffixes of manifests; any other file is tried all the same.
_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")


@click.command(name="import")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--archive", metavar="NAME", help="Archive to import into.  [default: DIR's name]")
@click.option("--encoding", default="utf-8", show_default=True, help="The manifest's encoding.")
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File in which rejected rows are listed.  [default: rejected.csv beside the manifest, or "
    "here if that folder cannot be written]",
)
@page_options
@server_options
def import_(
    *,
    source: Path,
    archive: str | None,
    encoding: str,
    rejected: Path | None,
    pages: PageOptions | None,
    sheet: Path | None,
    connect: Connect,
) -> None:
    """Import a folder of pictures with a manifest (CSV, TSV or JSON Lines), or of page scans.

    DIR is the folder, or the manifest itself. JPEG, PNG, TIFF, WebP, GIF and BMP are read, of at
    most 32 MiB a file.

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
    rejected = rejected or _place_rejections(source)
    with connect() as client:
        try:
            outcome = run_import(
                client, source, archive=name, encoding=encoding, rejected=rejected, pages=pages
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
    encoding: str = "utf-8",
    rejected: Path,
    pages: PageOptions | None = None,
) -> Outcome:
    """Import a folder, with a progress bar on standard error, and list the rejected rows.

    Args:
        client: A client of the service to import into.
        source: A manifest or its folder.
        archive: The archive to import into.
        encoding: The manifest's encoding.
        rejected: The file for rejected rows; written only if there are any. An import does not
            end because it cannot be written.
        pages: How page scans are read; None for a manifest, or pages that have descriptions.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be used, or `rejected` is a file
            that is no list of rejected rows.
    """
    records.make_name(archive, image_id="any", field="--archive")
    # This reads the header before anything is sent, so that a bad manifest changes nothing.
    try:
        options = Options(encoding=encoding, pages=pages)
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
    with _Rejections(rejected, source=opened) as rejections, Counter() as counter:
        advance = counter.add("Importing", total=opened.total)
        noted: list[ImportAck] = []
        waits = _Waits(counter.say, note=lambda text: advance(0, remark=text))

        def on_progress(ack: ImportAck) -> None:
            waits.end()
            if ack.state is ImportState.REJECTED:
                rejections.add(ack)
            if ack.notes:
                noted.append(ack)
            advance(1, remark=f"{rejections.count:,} rejected" if rejections.count else "")

        summary = client.import_images(opened.rows, on_progress=on_progress, on_wait=waits.tell)
    remarks = [
        *opened.remarks,
        *_list_notes(noted, source=opened),
        *_describe_rejections(summary, source=opened),
        *rejections.describe(),
    ]
    return Outcome(summary=summary, remarks=tuple(remarks))


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


def _describe_rejections(summary: ImportSummary, *, source: Source) -> list[str]:
    """Return a line about each of the first rejected rows."""
    lines = [
        f"{_describe_row(ack, source=source)}: {ack.error.message if ack.error else ''}"
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


def _place_rejections(source: Path) -> Path:
    folder = _find_folder(source)
    return (folder if os.access(folder, os.W_OK) else Path.cwd()) / "rejected.csv"


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


class _Rejections:
    """The list of rejected rows. Its file is created with the first rejected row.

    If the file cannot be written, the rows are counted all the same: an import must not end
    because of its report.

    Attributes:
        count: The number of rejected rows.
    """

    def __init__(self, path: Path, *, source: Source) -> None:
        self.count = 0
        self._path = path
        self._source = source
        self._file: IO[str] | None = None
        self._problem = ""

    def __enter__(self) -> Self:
        # The list of an earlier run is removed, because it would be mistaken for this run's; any
        # other file is not ours.
        try:
            if self._path.is_file():
                self._remove()
        except OSError as error:
            self._fail(error)
        return self

    def _remove(self) -> None:
        with self._path.open("rb") as file:
            begins = file.read(len(_HEADER_BYTES))
        if begins not in {_HEADER_BYTES, b""}:
            raise errors.InvalidArgument(
                f"{self._path} exists and is no list of rejected rows; name another file with "
                "--rejected.",
                field="rejected",
            )
        self._path.unlink()

    def add(self, ack: ImportAck) -> None:
        """Append a row, unless the file could not be written before."""
        self.count += 1
        if self._problem:
            return
        image_id = _find_image_id(ack)
        reason = ack.error.message if ack.error else ""
        try:
            if self._file is None:
                self._file = files.with_folders(self._path).open(
                    "w", newline="", encoding="utf-8", errors="backslashreplace"
                )
                csv.writer(self._file).writerow(REJECTED_HEADER)
            csv.writer(self._file).writerow((ack.row, guard(image_id), guard(reason)))
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def describe(self) -> list[str]:
        """Return a sentence about where the rejected rows are listed, and which rows those are."""
        if not self.count and not self._problem:
            return []
        path = self._path.absolute()
        if not self.count:
            text = f"{path} lists rows that an earlier import rejected, and cannot be removed"
            return [f"{text}: {self._problem}."]
        one = self.count == 1
        rows = "The rejected row" if one else f"The {self.count:,} rejected rows"
        if self._problem:
            text = (
                f"{rows} could not be listed in {path}: {self._problem}. The same command with "
                f"--rejected FILE lists {'it' if one else 'them'} elsewhere."
            )
        else:
            text = f"{rows} {'is' if one else 'are'} listed with the reason in {path}."
        return [f"{text} {self._source.numbering}".rstrip()]

    def _fail(self, error: OSError) -> None:
        self._problem = error.strerror or str(error)
        self._close()

    def _close(self) -> None:
        # What is still buffered may fail once more.
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
