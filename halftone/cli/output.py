"""Prints for the commands: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from halftone.client.types import VerificationState, probability_label
from halftone.core import errors
from halftone.rendering import json_forms, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from halftone.client import ClusterJob, Facets, Hit, ImageRecord, Overlap, Promotion, Verdict
    from halftone.client.training import TrainingJob

T = TypeVar("T")
Job = TypeVar("Job", "ClusterJob", "Promotion", "TrainingJob")

# This is wide enough for every column: a pipe has no width, and names must not be cut there.
PIPE_WIDTH = 500
BROAD: Final = 180
"""The width in characters from which a table has a column for each field; on narrower terminals a
row has several lines instead."""
VERDICTS_UNAVAILABLE: Final = "What archivists said of these pairs could not be read."
# Markup is off, because the texts come from archives, paths and logs, where `[1914]` and `:ship:`
# mean themselves.
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False}


def make_console() -> Console:
    """Return a console for standard output, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, **_PLAIN)


def make_notes() -> Console:
    """Return a console for standard error, for progress and remarks."""
    return Console(stderr=True, soft_wrap=True, **_PLAIN)


def remark(*sentences: str) -> None:
    """Print sentences on standard error, each on a line of its own."""
    for sentence in sentences:
        make_notes().print(sentence)


def remark_more(limit: int, *, hint: str = "") -> None:
    """Say on standard error that a list is longer than the `limit` items that were printed."""
    remark(f"There are more than these {limit}: --limit shows more{hint}.")


def take(items: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """Return the first `limit` items, and whether there are more."""
    first = list(itertools.islice(items, limit + 1))
    return first[:limit], len(first) > limit


def count_images(count: int) -> str:
    """Return a count in words, for example `1 image` or `1,204 images`."""
    return wording.format_count(count, "image")


def watch(
    follow: Callable[[], Iterable[Job]],
    *,
    share: Callable[[Job], float],
    describe: Callable[[Job], str],
    describe_line: Callable[[Job], str],
    mark: Callable[[Job], object] = lambda job: job.state,
    service: str,
    interrupted: str,
) -> Job:
    """Show a job until its end and return its last state.

    On a terminal a bar is shown. Elsewhere a line is printed for each tenth of the job, and each
    time that `mark` returns another value.

    Args:
        follow: Returns the states of the job as they come.
        share: Returns the share of a job that is done, 0 to 1.
        describe: Returns the text beside the bar.
        describe_line: Returns the line that is printed where there is no bar.
        mark: Returns a value of a state. By default it is the job's `state`.
        service: The name of the service that sends the states, for the error's message.
        interrupted: The sentence to print after Ctrl-C, which does not end the job.

    Raises:
        errors.Unavailable: No state came.
        SystemExit: Ctrl-C was pressed.
    """
    notes = make_notes()
    last: Job | None = None
    told: object = None
    try:
        if sys.stderr.isatty():
            columns = TaskProgressColumn(), TextColumn("{task.description}", markup=False)
            with Progress(BarColumn(bar_width=30), *columns, console=notes) as bar:
                task = bar.add_task("", total=None)
                for last in follow():
                    bar.update(task, total=1.0, completed=share(last), description=describe(last))
        else:
            for last in follow():
                now = int(10 * share(last)), mark(last)
                if now != told:
                    told = now
                    notes.print(describe_line(last))
    except KeyboardInterrupt:
        notes.print(interrupted)
        raise SystemExit(130) from None
    if last is None:
        raise errors.Unavailable(f"The {service} service ended the stream without a word.")
    return last


def make_counter() -> Progress:
    """Return a progress display that counts the steps of tasks, and vanishes at the end."""
    return Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=make_notes(), transient=True
    )


def make_facts() -> Table:
    """Return a table for the facts of one thing, with the names of the facts on the left."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def format_number(value: float | None) -> str:
    """Return a figure with three digits, or "" if it is not known."""
    return "" if value is None else f"{value:.3f}"


def print_hits(
    hits: Sequence[Hit],
    *,
    title: str = "",
    note: str = "",
    truth: Callable[[Hit], str] | None = None,
    explained: bool = False,
) -> None:
    """Print hits as a table.

    Args:
        hits: The most probable first.
        title: A line above the table.
        note: A line between title and table.
        truth: Function that says in a word whether a hit is right, if that is known.
        explained: Whether to print below the table what each hit shares with the query.
    """
    if title:
        make_console().print(f"\n{title}", style="bold", soft_wrap=True)
    if note:
        make_console().print(note, style="dim", soft_wrap=True)
    if not hits:
        make_console().print("Nothing found.")
        return
    # Columns that would be empty are left out: most hits lie as the query does, without a verdict.
    turned = any(hit.lies for hit in hits)
    judged = any(hit.verdict for hit in hits)
    out = make_console()
    table = _make_table()
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("relation", no_wrap=True)
    if truth is not None:
        table.add_column("truth", no_wrap=True)
    if judged:
        table.add_column("verdict", max_width=11)
    _add_record_columns(table, width=out.width, lies=turned)
    for rank, hit in enumerate(hits, start=1):
        table.add_row(
            str(rank),
            probability_label(hit.probability),
            hit.relation.label,
            *([truth(hit)] if truth is not None else []),
            *([hit.verdict.label if hit.verdict else ""] if judged else []),
            *_make_record_cells(hit.image, width=out.width, lies=hit.lies if turned else None),
        )
    make_console().print(table)
    if explained:
        for rank, hit in enumerate(hits, start=1):
            make_console().print(f"\n{rank}  {hit.image.name}", style="bold", soft_wrap=True)
            print_explanation(hit)


def print_explanation(hit: Hit) -> None:
    """Print why a hit was found: its likeness in each channel, and the parts that it shares."""
    make_console().print(f"   {describe_likeness(hit)}", soft_wrap=True)
    if hit.verdict:
        make_console().print(
            f"   an archivist says: {describe_verdict(hit.verdict)}", soft_wrap=True
        )
    for overlap in hit.overlaps:
        make_console().print(f"   {describe_overlap(overlap)}", soft_wrap=True)
    if not hit.overlaps:
        make_console().print(f"   {_STATES[hit.verification.state]}", style="dim", soft_wrap=True)


def describe_likeness(hit: Hit) -> str:
    """Return in words how alike a hit is in each channel."""
    parts = [f"similarity {hit.similarity:.3f}"]
    if hit.pdq_distance is not None:
        parts.append(f"PDQ {hit.pdq_distance} of 256 bits apart")
    if hit.words_similarity is not None:
        parts.append(f"words {hit.words_similarity:.3f}")
    return ", ".join(parts)


_STATES: Final = {
    VerificationState.OVERLAPPING: "",
    VerificationState.NO_OVERLAP: "compared; no part in common",
    VerificationState.NOT_COMPARED: "not compared by local features",
    VerificationState.OUT_OF_TIME: "not compared: the time was over",
}


def describe_overlap(overlap: Overlap) -> str:
    """Return an overlap in words, for example `78 inliers; 98 % of the query, …`."""
    parts = [
        f"{overlap.inlier_count} inliers",
        f"{overlap.query_share:.0%} of the query, {overlap.image_share:.0%} of the image",
        f"scale {overlap.scale:.2f}",
        f"turned {overlap.rotation:+z.1f}°",
        *(["mirrored"] if overlap.mirrored else []),
    ]
    return "; ".join(parts)


def print_records(records: Iterable[ImageRecord]) -> None:
    """Print records as a table."""
    out = make_console()
    table = _make_table()
    _add_record_columns(table, width=out.width)
    for image in records:
        table.add_row(*_make_record_cells(image, width=out.width))
    out.print(table if table.rows else "Nothing found.")


def _add_record_columns(table: Table, *, width: int, lies: bool = False) -> None:
    if width < BROAD:
        table.add_column("printing", overflow="fold")
        return
    for column, most in (("journal", 32), ("date", None), ("page", 8), ("caption", 48)):
        table.add_column(column, no_wrap=True, overflow="ellipsis", max_width=most)
    if lies:
        table.add_column("lies", no_wrap=True)
    table.add_column("name", overflow="fold")


def _make_record_cells(image: ImageRecord, *, width: int, lies: str | None = None) -> list[str]:
    """Return the cells of a record; on a narrow terminal a single cell of several lines."""
    if width >= BROAD:
        cells = [image.journal, image.date, image.page, image.caption]
        return [*cells, *([] if lies is None else [lies]), image.name]
    return [describe_record(image, lies=lies)]


def describe_record(image: ImageRecord, *, lies: str | None = None) -> str:
    """Return a record in up to three lines; the last line is its name.

    Args:
        image: The record.
        lies: How the query lies in the image, in words; None or "": it is not said.
    """
    page = f"page {image.page}" if image.page else ""
    first = ", ".join(part for part in (image.journal, image.date, page, lies) if part)
    return "\n".join(part for part in (first, image.caption, image.name) if part)


def print_record(record: ImageRecord) -> None:
    """Print all fields of a record."""
    table = make_facts()
    for key, value in json_forms.record_to_json(record).items():
        if isinstance(value, dict):
            for label, values in value.items():
                table.add_row(f"label {label}", ", ".join(values))
        elif isinstance(value, list):
            table.add_row(key, "\n".join(map(str, value)))
        else:
            table.add_row(key, str(value))
    make_console().print(table)


def print_facets(facets: Facets) -> None:
    """Print the counts of each facet."""
    out = make_console()
    out.print(count_images(facets.total))
    for title, counts in (
        ("journal", facets.journals),
        ("year", facets.years),
        ("language", facets.languages),
    ):
        table = _make_table()
        table.add_column(title, overflow="fold")
        table.add_column("images", justify="right")
        for value, count in counts.items():
            table.add_row(value, str(count))
        if counts:
            out.print(table)


def print_json(value: Any) -> None:  # whatever JSON can hold
    """Print a value as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def describe_verdict(verdict: Verdict) -> str:
    """Return a verdict in words: `same, by Eva on 2025-03-04 (verdicts/12): the same crack`."""
    day = f"{verdict.create_time.astimezone():%Y-%m-%d}" if verdict.create_time else ""
    said = " ".join(
        f"{word} {value}" for word, value in (("by", verdict.author), ("on", day)) if value
    )
    text = f"{', '.join(filter(None, (verdict.label, said)))} ({verdict.name})"
    return f"{text}: {verdict.note}" if verdict.note else text


def _make_table() -> Table:
    return Table(box=None)
