"""Prints clusters: a table of several, and a single one as a timeline."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from halftone.cli import hits, output, tables
from halftone.cli.tables import Column, Layout
from halftone.rendering import alignments, overlaps, texts, timelines, wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Cluster, Link
    from halftone.rendering.timelines import Printing

_BROAD_AXIS, _NARROW_AXIS = 100, 40
_MOST_TICKS: Final = 8
_LEAST_TEXT: Final = 32
"""The fewest characters of a column of journals and captions beside figures."""


def print_clusters(shown: Sequence[Cluster], *, total: int) -> None:
    """Print clusters as a table; `total` also counts clusters that are not shown."""
    out = output.make_console()
    if not shown:
        out.print("No clusters.")
        return
    tables.print_table(out, *lay_out_clusters(shown))
    if total > len(shown):
        out.print(f"{len(shown)} of {total:,}; --limit shows more.", style="dim")


def lay_out_clusters(shown: Sequence[Cluster]) -> tuple[Layout, ...]:
    """Return the layouts of a table of clusters, the broadest first."""
    undated = any(cluster.undated_count for cluster in shown)
    titles = ("printings", "journals", "years", *(["undated"] if undated else []), "weakest")
    # The cluster comes first, because the next command needs it.
    figures = [Column(title="cluster"), *(Column(title=title, right=True) for title in titles)]
    cells = [
        [
            cluster.id,
            str(cluster.size),
            str(cluster.journal_count),
            _format_years(cluster),
            *([str(cluster.undated_count or "")] if undated else []),
            wording.format_probability(cluster.weakest_link),
        ]
        for cluster in shown
    ]
    firsts = [
        ", ".join(filter(None, (wording.describe_date(image), image.journal)))
        for image in (texts.flatten_record(cluster.first_image) for cluster in shown)
    ]
    first = "earliest known printing"
    return (
        Layout(
            columns=[*figures, Column(title=first, most=52), Column(title="caption", most=44)],
            rows=[
                [*row, text, texts.flatten(cluster.first_image.caption)]
                for row, text, cluster in zip(cells, firsts, shown, strict=True)
            ],
        ),
        Layout(
            columns=[*figures, Column(title=first, wraps=True, least=_LEAST_TEXT)],
            rows=[[*row, text] for row, text in zip(cells, firsts, strict=True)],
        ),
    )


def _format_years(cluster: Cluster) -> str:
    if not cluster.earliest_date or not cluster.latest_date:
        return ""
    years = sorted({cluster.earliest_date.year, cluster.latest_date.year})
    return "-".join(map(str, years))


def print_cluster(cluster: Cluster) -> None:
    """Print a cluster as a timeline: an axis of years, then a row for each printing."""
    out = output.make_console()
    printings = timelines.list_printings(cluster)
    out.print(f"{cluster.name}  {timelines.summarize(cluster)}", style="bold", soft_wrap=True)
    width = _BROAD_AXIS if out.width > _BROAD_AXIS + 2 else max(out.width - 2, _NARROW_AXIS)
    for line in draw_axis(printings, width=width):
        out.print(line, soft_wrap=True)
    tables.print_table(out, *lay_out_timeline(printings))
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
    elif timelines.describe_certainty(cluster):
        out.print(timelines.describe_certainty(cluster), soft_wrap=True)


def lay_out_timeline(printings: Sequence[Printing]) -> tuple[Layout, ...]:
    """Return the layouts of a table with a row for each printing, the broadest first."""
    figures = [Column(right=True), Column(title="date"), Column(title="since")]
    marks = [Column(title="weakest", right=True), Column()]
    before = [[str(each.number), each.date, each.gap] for each in printings]
    after = [[each.weakest, ", ".join(list_marks(each))] for each in printings]
    images = [texts.flatten_record(each.image) for each in printings]
    said = [hits.describe_printing(image, date=False) for image in images]
    names = [image.name for image in images]
    printing = Column(title="printing", wraps=True, least=max(_LEAST_TEXT, tables.measure(names)))
    fields = [
        Column(title="journal", wraps=True, least=34),
        Column(title="page", most=8),
        Column(title="caption", wraps=True, least=46),
        Column(title="name"),
    ]
    return (
        Layout(
            columns=[*figures, *marks, *fields],
            rows=[
                [*left, *right, image.journal, image.page, image.caption, image.name]
                for left, right, image in zip(before, after, images, strict=True)
            ],
        ),
        Layout(
            columns=[*figures, *marks, printing],
            rows=[
                [*left, *right, "\n".join(filter(None, (text, name)))]
                for left, right, text, name in zip(before, after, said, names, strict=True)
            ],
        ),
        Layout(
            columns=[*figures, *marks, Column(title="printing", wraps=True), Column()],
            rows=[
                [*left, *right, text, name]
                for left, right, text, name in zip(before, after, said, names, strict=True)
            ],
        ),
    )


def _describe_evidence(link: Link) -> str:
    overlap = alignments.find_main_overlap(link)
    if overlap is None:
        return "not compared by details"
    differing = overlaps.count_differences(overlaps.list_differences(link))
    return ", ".join(filter(None, (f"{overlap.inlier_count} matching details", differing)))


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
    if overlap is not None and overlap.negative:
        marks.append("negative")
    if printing.link is not None:
        differing = overlaps.count_differences(overlaps.list_differences(printing.link))
        marks += [differing] if differing else []
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
