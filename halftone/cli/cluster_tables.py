"""Prints clusters: a table of several, and a single one as a timeline."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from rich.table import Table

from halftone.cli import output
from halftone.rendering import alignments, timelines, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Cluster, Link
    from halftone.rendering.timelines import Printing

_BROAD_AXIS, _NARROW_AXIS = 100, 40
_MOST_TICKS: Final = 8


def print_clusters(shown: Sequence[Cluster], *, total: int) -> None:
    """Print clusters as a table; `total` also counts clusters that are not shown."""
    out = output.make_console()
    if not shown:
        out.print("No clusters.")
        return
    table = Table(box=None)
    # This column comes first and is never cut, because the next command needs it.
    table.add_column("cluster", no_wrap=True)
    for column in ("printings", "journals", "years", "weakest"):
        table.add_column(column, justify="right", no_wrap=True)
    broad = out.width >= output.BROAD
    # These texts wrap on a narrow terminal, so that the figures keep their room.
    table.add_column("earliest known printing", no_wrap=broad, overflow="ellipsis", max_width=52)
    if broad:
        table.add_column("caption", no_wrap=True, overflow="ellipsis", max_width=44)
    for cluster in shown:
        first = cluster.first_image
        years = (
            f"{cluster.earliest_date.year}-{cluster.latest_date.year}"
            if cluster.earliest_date and cluster.latest_date
            else ""
        )
        table.add_row(
            cluster.id,
            str(cluster.size),
            str(cluster.journal_count),
            years,
            wording.format_probability(cluster.weakest_link),
            ", ".join(part for part in (wording.describe_date(first), first.journal) if part),
            *([first.caption] if broad else []),
        )
    out.print(table)
    if total > len(shown):
        out.print(f"{len(shown)} of {total:,}; --limit shows more.", style="dim")


def print_cluster(cluster: Cluster) -> None:
    """Print a cluster as a timeline: an axis of years, then a row for each printing."""
    out = output.make_console()
    printings = timelines.list_printings(cluster)
    out.print(f"{cluster.name}  {timelines.summarize(cluster)}", style="bold", soft_wrap=True)
    width = _BROAD_AXIS if out.width > _BROAD_AXIS + 2 else max(out.width - 2, _NARROW_AXIS)
    for line in draw_axis(printings, width=width):
        out.print(line, soft_wrap=True)
    out.print(make_timeline_table(printings, width=out.width))
    if timelines.describe_left_out(cluster):
        out.print(timelines.describe_left_out(cluster), style="dim")
    weakest = timelines.find_weakest_link(cluster)
    if weakest is not None:
        numbers = {printing.image.name: printing.number for printing in printings}
        a, b = sorted((numbers[weakest.a], numbers[weakest.b]))
        out.print(
            f"Weakest link: between {a} and {b}, {wording.format_probability(weakest.probability)} "
            f"({_describe_evidence(weakest)}).",
            soft_wrap=True,
        )
        names = f"{shlex.quote(weakest.a)} {shlex.quote(weakest.b)}"
        hint = f"Not the same? halftone judge {names} different"
        out.print(hint, style="dim", soft_wrap=True)
    elif timelines.is_held_by_verdicts(cluster):
        out.print("Nothing but what archivists said holds it together.", soft_wrap=True)


def make_timeline_table(printings: Sequence[Printing], *, width: int) -> Table:
    """Return a table with a row for each printing.

    If `width`, in characters, is small, journal, page and caption share one column.
    """
    broad = width >= output.BROAD
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    for column, broadest in (("date", 22), ("since", 26)):
        table.add_column(column, overflow="fold", max_width=broadest if broad else 12)
    columns = (("journal", 34), ("page", 6), ("caption", 46)) if broad else (("printing", None),)
    for column, most in columns:
        table.add_column(column, overflow="fold", max_width=most)
    table.add_column("weakest", justify="right")
    table.add_column("", overflow="fold", max_width=20 if broad else 9)
    for printing in printings:
        image = printing.image
        page = f"page {image.page}" if image.page else ""
        place = ", ".join(part for part in (image.journal, page) if part)
        table.add_row(
            str(printing.number),
            printing.date,
            printing.gap,
            *(
                (image.journal, image.page, image.caption)
                if broad
                else ("\n".join(part for part in (place, image.caption) if part),)
            ),
            printing.weakest,
            ", ".join(list_marks(printing)),
        )
    return table


def _describe_evidence(link: Link) -> str:
    overlap = alignments.find_main_overlap(link)
    if overlap is not None:
        return f"{overlap.inlier_count} matching details"
    return "the very same file" if timelines.is_same_file(link) else "not compared by details"


def list_marks(printing: Printing) -> list[str]:
    """Return the remarks at the end of a printing's row."""
    marks = []
    if printing.is_earliest and printing.image.earliest_date:
        marks.append("earliest known")
    if printing.may_be_earliest:
        marks.append("may be as early")
    overlap = alignments.find_main_overlap(printing.link) if printing.link else None
    if overlap is not None and overlap.mirrored:
        marks.append("mirrored")
    if printing.is_weakest:
        marks.append("weakest link")
    if printing.is_judged:
        marks.append("judged same")
    return marks


def draw_axis(printings: tuple[Printing, ...], *, width: int) -> list[str]:
    """Return lines: the years, an axis, and the printings' numbers; no lines without dates."""
    spans = [printing.span for printing in printings if printing.span]
    if not spans:
        return []
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    start, end = float(int(start)), max(end, int(start) + 1.0)
    room = width - len(str(len(printings))) - 1

    def place(year: float) -> int:
        return round(room * (year - start) / (end - start))

    years, line = [" "] * (width + 4), ["─"] * (room + 1)
    for tick in wording.choose_ticks(start, end, most=_MOST_TICKS):
        at = place(tick)
        line[at] = "┬"
        years[at : at + 4] = str(tick)
    rows: list[list[str]] = []
    for printing in printings:
        if printing.span is None:
            continue
        at, text = place(sum(printing.span) / 2), str(printing.number)
        # A printing too near an earlier one goes a row down.
        for row in rows:
            if all(cell == " " for cell in row[max(at - 1, 0) : at + len(text) + 1]):
                break
        else:
            row = [" "] * (width + 4)
            rows.append(row)
        row[at : at + len(text)] = text
        if line[at] == "─":
            line[at] = "┴"
        elif line[at] == "┬":
            line[at] = "┼"
    return ["".join(each).rstrip() for each in (years, line, *rows)]
