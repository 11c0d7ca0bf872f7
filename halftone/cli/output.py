"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table

from halftone.client.types import VerificationState, probability_label
from halftone.rendering import json_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from halftone.client import Facets, Hit, ImageRecord, Overlap, Verdict

T = TypeVar("T")

# Wide enough for every column; a pipe has no width, and cutting names there would lose them.
PIPE_WIDTH = 500
BROAD: Final = 180
"""Columns from which a table has one for everything; below, a row has several lines instead."""
VERDICTS_UNAVAILABLE: Final = "What archivists said of these pairs could not be read."
# What is printed comes from archives, paths and logs, where `[1914]` and `:ship:` mean themselves.
_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False}


def console() -> Console:
    """Standard output, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, **_PLAIN)


def notes() -> Console:
    """Standard error, for progress and remarks."""
    return Console(stderr=True, soft_wrap=True, **_PLAIN)


def remark(*sentences: str) -> None:
    """Says something to the person on standard error; nothing without sentences."""
    for sentence in sentences:
        notes().print(sentence)


def remark_more(limit: int, *, hint: str = "") -> None:
    """Says that a list was longer than what it printed."""
    remark(f"There are more than these {limit}: --limit shows more{hint}.")


def head(found: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """The first of them, and whether there are more."""
    first = list(itertools.islice(found, limit + 1))
    return first[:limit], len(first) > limit


def counted(images: int) -> str:
    """For example `1 image`."""
    return f"{images:,} image{'' if images == 1 else 's'}"


def print_hits(
    hits: Sequence[Hit],
    *,
    title: str = "",
    note: str = "",
    truth: Callable[[Hit], str] | None = None,
    explained: bool = False,
) -> None:
    """Prints hits as a table.

    Args:
        hits: The most probable first.
        title: Above the table.
        note: Between the two.
        truth: Says for a hit whether it is right, where that is known.
        explained: Print below the table what each shares with the query.
    """
    if title:
        console().print(f"\n{title}", style="bold", soft_wrap=True)
    if note:
        console().print(note, style="dim", soft_wrap=True)
    if not hits:
        console().print("Nothing found.")
        return
    # Most lie as the query does, and nobody judged them: no room is kept for what the columns
    # would say of others.
    turned = any(hit.lies for hit in hits)
    judged = any(hit.verdict for hit in hits)
    out = console()
    table = _table()
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
            *_record_cells(hit.image, width=out.width, lies=hit.lies if turned else None),
        )
    console().print(table)
    if explained:
        for rank, hit in enumerate(hits, start=1):
            console().print(f"\n{rank}  {hit.image.name}", style="bold", soft_wrap=True)
            print_explanation(hit)


def print_explanation(hit: Hit) -> None:
    """Prints why a hit is one: how alike it is in each channel, and what it shares."""
    console().print(f"   {likeness_text(hit)}", soft_wrap=True)
    if hit.verdict:
        console().print(f"   an archivist says: {verdict_text(hit.verdict)}", soft_wrap=True)
    for overlap in hit.overlaps:
        console().print(f"   {overlap_text(overlap)}", soft_wrap=True)
    if not hit.overlaps:
        console().print(f"   {_STATES[hit.verification.state]}", style="dim", soft_wrap=True)


def likeness_text(hit: Hit) -> str:
    """How alike a hit is in each channel."""
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


def overlap_text(overlap: Overlap) -> str:
    """For example `78 inliers; 98 % of the query, 41 % of the image; scale 0.52`."""
    parts = [
        f"{overlap.inlier_count} inliers",
        f"{overlap.query_share:.0%} of the query, {overlap.image_share:.0%} of the image",
        f"scale {overlap.scale:.2f}",
        f"turned {overlap.rotation:+z.1f}°",
        *(["mirrored"] if overlap.mirrored else []),
    ]
    return "; ".join(parts)


def print_records(records: Iterable[ImageRecord]) -> None:
    """Prints records as a table."""
    out = console()
    table = _table()
    _add_record_columns(table, width=out.width)
    for image in records:
        table.add_row(*_record_cells(image, width=out.width))
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


def _record_cells(image: ImageRecord, *, width: int, lies: str | None = None) -> list[str]:
    """The cells of a record; on a narrow terminal one, with its name on a line of its own."""
    if width >= BROAD:
        cells = [image.journal, image.date, image.page, image.caption]
        return [*cells, *([] if lies is None else [lies]), image.name]
    return [record_text(image, lies=lies)]


def record_text(image: ImageRecord, *, lies: str | None = None) -> str:
    """A record in up to three lines, the last of which is its name."""
    page = f"page {image.page}" if image.page else ""
    first = ", ".join(part for part in (image.journal, image.date, page, lies) if part)
    return "\n".join(part for part in (first, image.caption, image.name) if part)


def print_record(record: ImageRecord) -> None:
    """Prints everything about one record."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in json_forms.record_to_json(record).items():
        if isinstance(value, dict):
            for label, values in value.items():
                table.add_row(f"label {label}", ", ".join(values))
        elif isinstance(value, list):
            table.add_row(key, "\n".join(map(str, value)))
        else:
            table.add_row(key, str(value))
    console().print(table)


def print_facets(facets: Facets) -> None:
    """Prints the counts of each facet."""
    out = console()
    out.print(counted(facets.total))
    for title, counts in (
        ("journal", facets.journals),
        ("year", facets.years),
        ("language", facets.languages),
    ):
        table = _table()
        table.add_column(title, overflow="fold")
        table.add_column("images", justify="right")
        for value, count in counts.items():
            table.add_row(value, str(count))
        if counts:
            out.print(table)


def print_json(value: Any) -> None:  # whatever JSON can hold
    """Prints JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def verdict_text(verdict: Verdict) -> str:
    """For example `same, by Eva on 2025-03-04 (verdicts/12): the same crack`."""
    day = f"{verdict.create_time.astimezone():%Y-%m-%d}" if verdict.create_time else ""
    said = " ".join(
        f"{word} {value}" for word, value in (("by", verdict.author), ("on", day)) if value
    )
    text = f"{', '.join(filter(None, (verdict.label, said)))} ({verdict.name})"
    return f"{text}: {verdict.note}" if verdict.note else text


def _table() -> Table:
    return Table(box=None)
