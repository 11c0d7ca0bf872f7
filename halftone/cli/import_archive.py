"""`halftone import`: a folder of pictures with a manifest goes into the archive."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from halftone.archive import manifests as archives
from halftone.archive import records
from halftone.cli import output
from halftone.cli.options import server_options
from halftone.client import ImportState
from halftone.core import errors, files

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from halftone.cli.options import Connect
    from halftone.client import Client, ImportAck, ImportSummary

REJECTED_HEADER: Final = ("row", "image_id", "reason")
_HEADER_BYTES: Final = ",".join(REJECTED_HEADER).encode()
# These are the usual suffixes of manifests; any other file is tried all the same.
_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")


@click.command(name="import")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--archive", metavar="NAME", help="Archive to import into.  [default: DIR's name]")
@click.option("--encoding", default="utf-8", show_default=True, help="The manifest's encoding.")
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rejected.csv"),
    show_default=True,
    help="Where rejected rows are listed.",
)
@server_options
def import_(
    *,
    source: Path,
    archive: str | None,
    encoding: str,
    rejected: Path,
    connect: Connect,
) -> None:
    """Import a folder of pictures with a manifest (CSV, TSV or JSON Lines).

    DIR is the folder, or the manifest itself.

    Importing again changes nothing, so an import that was cut off is resumed by running it again.
    Exit code: 0, or 1 when rows were rejected, or 2 when the manifest cannot be used.
    """
    name = archive or derive_archive(source)
    with connect() as client:
        try:
            summary = run_import(client, source, archive=name, encoding=encoding, rejected=rejected)
        except KeyboardInterrupt:
            output.make_notes().print(
                "Stopped. What was acknowledged is stored; the same command goes on from there."
            )
            raise SystemExit(130) from None
    click.echo(describe(summary, archive=name))
    if summary.rejected:
        click.echo(f"The rejected rows are in {rejected}.", err=True)
        raise SystemExit(1)


def run_import(
    client: Client, source: Path, *, archive: str, encoding: str = "utf-8", rejected: Path
) -> ImportSummary:
    """Import a folder, with a progress bar on standard error, and list the rejected rows.

    Args:
        client: A client of the service to import into.
        source: A manifest or its folder.
        archive: The archive to import into.
        encoding: The manifest's encoding.
        rejected: The file for rejected rows; written only if there are any.

    Raises:
        errors.InvalidArgument: The manifest as a whole cannot be used, or `rejected` is a file
            that is no list of rejected rows.
    """
    records.make_name(archive, image_id="any", field="--archive")
    # This reads the header before anything is sent, so that a bad manifest changes nothing.
    try:
        rows = archives.read_manifest(source, archive=archive, encoding=encoding)
    except errors.InvalidArgument as error:
        known = not source.is_file() or source.suffix.lower() in _SUFFIXES
        if known or error.reason not in {"WRONG_ENCODING", "MISSING_COLUMN"}:
            raise
        raise errors.InvalidArgument(
            f"{source} is no manifest. What is imported is a folder of pictures with a manifest "
            "(CSV, TSV or JSON Lines), which names them in the columns image_id and file.",
            field="path",
        ) from error
    total = _count_rows(archives.find_manifest(source))
    with _Rejections(rejected) as rejections, _make_progress() as progress:
        task = progress.add_task("Importing", total=total, rejected=0)
        count = 0

        def on_progress(ack: ImportAck) -> None:
            nonlocal count
            if ack.state is ImportState.REJECTED:
                count += 1
                rejections.add(ack)
            progress.update(task, advance=1, rejected=count)

        summary = client.import_images(rows, on_progress=on_progress)
        # A caption with line breaks counts as several lines above.
        progress.update(task, total=summary.total, completed=summary.total)
    return summary


def describe(summary: ImportSummary, *, archive: str) -> str:
    """Return the result of an import as one line of text."""
    if not summary.total:
        return f"{archive}: nothing was imported, the manifest has no rows."
    text = (
        f"{archive}: {summary.created} created, {summary.unchanged} unchanged, "
        f"{summary.updated} updated, {len(summary.rejected)} rejected."
    )
    if summary.reconnects:
        text += f" The connection was lost and taken up again {summary.reconnects} times."
    return text


def derive_archive(source: Path) -> str:
    """Return an archive's name: the folder's name without characters that are not allowed there.

    The folder is `source`, or the folder that contains it if it is a file.
    """
    path = source.resolve()
    name = path.name if path.is_dir() else path.parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:63] or "default"


class _Rejections:
    """The list of rejected rows. Its file is created with the first rejected row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        # The list of an earlier run is removed, because it would be mistaken for this run's; any
        # other file is not ours.
        if self._path.is_file():
            with self._path.open("rb") as file:
                begins = file.read(len(_HEADER_BYTES))
            if begins not in {_HEADER_BYTES, b""}:
                raise errors.InvalidArgument(
                    f"{self._path} exists and is no list of rejected rows; name another file with "
                    "--rejected.",
                    field="rejected",
                )
            self._path.unlink()
        return self

    def add(self, ack: ImportAck) -> None:
        if self._file is None:
            self._file = files.with_folders(self._path).open(
                "w", newline="", encoding="utf-8", errors="backslashreplace"
            )
            csv.writer(self._file).writerow(REJECTED_HEADER)
        image_id = ack.name.partition("/images/")[2] or ack.name
        reason = ack.error.message if ack.error else ""
        csv.writer(self._file).writerow(
            (ack.row, files.escape_formula(image_id), files.escape_formula(reason))
        )
        self._file.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        # This is the mean from the beginning: records are acknowledged in batches, so the latest
        # pace says little.
        return Text(f"{task.completed / task.elapsed:.1f} images/s" if task.elapsed else "")


def _make_progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rejected]} rejected"),
        console=output.make_notes(),
    )


def _count_rows(manifest: Path) -> int:
    with manifest.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return max(1, lines - (manifest.suffix not in {".jsonl", ".ndjson"}))
