"""How clusters are printed: a table of them, and one of them as a timeline."""

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
    """Prints clusters as a table; `total` counts those that are not shown as well."""
    out = output.make_console()
    if not shown:
        out.print("No clusters.")
        return
    table = Table(box=None)
    # First, and never cut: it is what the next command needs.
    table.add_column("cluster", no_wrap=True)
    for column in ("printings", "journals", "years", "weakest"):
        table.add_column(column, justify="right", no_wrap=True)
    broad = out.width >= output.BROAD
    # On a narrow terminal these wrap, and the figures stay.
    table.add_column("earliest known printing", no_wrap=broad, overflow="ellipsis", max_width=52)
    if broad:
        table.add_column("caption", no_wrap=True, overflow="ellipsis", max_width=44)
    for each in shown:
        first = each.first_image
        years = (
            f"{each.earliest_date.year}-{each.latest_date.year}"
            if each.earliest_date and each.latest_date
            else ""
        )
        table.add_row(
            each.id,
            str(each.size),
            str(each.journal_count),
            years,
            wording.format_probability(each.weakest_link),
            ", ".join(part for part in (wording.describe_date(first), first.journal) if part),
            *([first.caption] if broad else []),
        )
    out.print(table)
    if total > len(shown):
        out.print(f"{len(shown)} of {total:,}; --limit shows more.", style="dim")


def print_cluster(found: Cluster) -> None:
    """A timeline: an axis of years, then a row for each printing."""
    out = output.make_console()
    printings = timelines.list_printings(found)
    out.print(f"{found.name}  {timelines.summarize(found)}", style="bold", soft_wrap=True)
    width = _BROAD_AXIS if out.width > _BROAD_AXIS + 2 else max(out.width - 2, _NARROW_AXIS)
    for line in axis_lines(printings, width=width):
        out.print(line, soft_wrap=True)
    out.print(timeline_table(printings, width=out.width))
    if timelines.describe_left_out(found):
        out.print(timelines.describe_left_out(found), style="dim")
    weakest = timelines.find_weakest_link(found)
    if weakest is not None:
        numbers = {printing.image.name: printing.number for printing in printings}
        a, b = sorted((numbers[weakest.a], numbers[weakest.b]))
        out.print(
            f"Weakest link: between {a} and {b}, {wording.format_probability(weakest.probability)} "
            f"({_evidence(weakest)}).",
            soft_wrap=True,
        )
        names = f"{shlex.quote(weakest.a)} {shlex.quote(weakest.b)}"
        hint = f"Not the same? halftone judge {names} different"
        out.print(hint, style="dim", soft_wrap=True)
    elif timelines.is_held_by_verdicts(found):
        out.print("Nothing but what archivists said holds it together.", soft_wrap=True)


def timeline_table(printings: Sequence[Printing], *, width: int) -> Table:
    """A row for each printing; on a narrow terminal what is printed shares a column."""
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
            ", ".join(marks(printing)),
        )
    return table


def _evidence(link: Link) -> str:
    overlap = alignments.find_main_overlap(link)
    if overlap is not None:
        return f"{overlap.inlier_count} matching details"
    return "the very same file" if timelines.is_same_file(link) else "not compared by details"


def marks(printing: Printing) -> list[str]:
    """What a row of the timeline says of its printing."""
    found = []
    if printing.is_earliest and printing.image.earliest_date:
        found.append("earliest known")
    if printing.may_be_earliest:
        found.append("may be as early")
    overlap = alignments.find_main_overlap(printing.link) if printing.link else None
    if overlap is not None and overlap.mirrored:
        found.append("mirrored")
    if printing.is_weakest:
        found.append("weakest link")
    if printing.is_judged:
        found.append("judged same")
    return found


def axis_lines(printings: tuple[Printing, ...], *, width: int) -> list[str]:
    """The years above a line on which the printings stand by number; nothing without dates."""
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
        # Of printings that stand too near each other the later ones go a row down.
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
