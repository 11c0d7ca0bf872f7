"""Prints the figures of `halftone eval`: how good versions are, and what each figure says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from halftone.cli import output, tables
from halftone.evaluation.report.reading import MEANINGS
from halftone.evaluation.report.retrieval import AT_THRESHOLD, COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from halftone.evaluation.comparison import JudgedVersion

_LABELS: Final = COLUMNS | AT_THRESHOLD
_LISTED: Final = 10


def print_figures(
    candidates: Sequence[JudgedVersion], *, changes: Mapping[str, Mapping[str, dict[str, Any]]]
) -> None:
    """Print the figures with their intervals, then what was measured and what they say.

    Args:
        candidates: The versions, judged by the same truth.
        changes: For each version but the first, what `comparison.differences` returned.
    """
    console = output.make_console()
    judged = candidates[0].judged
    console.print(
        f"{judged.name}: {judged.metrics['queries']:,} queries, {judged.metrics['pairs']:,} pairs"
    )
    tables.print_table(console, *lay_out_figures(candidates, changes=changes))
    for one in candidates:
        if one.judged.threshold_from:
            console.print(
                f"{one.version}: threshold {one.judged.threshold:.3f} from "
                f"{one.judged.threshold_from}",
                soft_wrap=True,
            )
    console.print(f"\nMeasured: {judged.measured}", soft_wrap=True)
    if not judged.is_whole_search:
        console.print("--search measures the search as a whole.", soft_wrap=True)
    explained = [
        (label, MEANINGS[name]) for name, label in _LABELS.items() if name in judged.metrics
    ]
    tables.print_facts(console, explained)


def lay_out_figures(
    candidates: Sequence[JudgedVersion], *, changes: Mapping[str, Mapping[str, dict[str, Any]]]
) -> tuple[tables.Layout, ...]:
    """Return a table with a row for each version, and one with a row for each figure.

    The arguments are those of `print_figures`.
    """
    known = [one.judged.metrics for one in candidates]
    labels = {name: label for name, label in _LABELS.items() if any(name in each for each in known)}
    rows: list[list[str]] = []
    styles: list[str] = []

    def add(label: str, cells: Iterable[str], *, style: str = "") -> None:
        rows.append([label, *cells])
        styles.append(style)

    for one in candidates:
        found = one.judged.metrics
        add(one.version, (output.format_number(found.get(name)) for name in labels))
        low_high = (found["intervals"].get(name) for name in labels)
        add(
            "  95 %",
            ("" if two is None else f"{two[0]:.3f}-{two[1]:.3f}" for two in low_high),
            style="dim",
        )
        for label, variant in one.judged.variants.items():
            add(f"  {label}", (output.format_number(variant.get(name)) for name in labels))
    for version, change in changes.items():
        add(
            f"{version} - {candidates[0].version}",
            (f"{change[name]['difference']:+.3f}" if name in change else "" for name in labels),
        )
        intervals = (change[name]["interval"] if name in change else None for name in labels)
        add(
            "  95 %",
            ("" if two is None else f"{two[0]:+.3f} {two[1]:+.3f}" for two in intervals),
            style="dim",
        )
    figures = [tables.Column(title=title, right=True) for title in labels.values()]
    others = [tables.Column(title=row[0].strip(), right=True) for row in rows]
    turned = [[label, *(row[1 + at] for row in rows)] for at, label in enumerate(labels.values())]
    return (
        tables.Layout(columns=[tables.Column(), *figures], rows=rows, styles=styles),
        tables.Layout(columns=[tables.Column(), *others], rows=turned),
    )


def print_left_out(left_out: Sequence[tuple[str, str]]) -> None:
    """Print the pictures that could not be used, and why."""
    notes = output.make_notes()
    for what, why in left_out[:_LISTED]:
        notes.print(f"left out {what}: {why}")
    if len(left_out) > _LISTED:
        notes.print(f"… and {len(left_out) - _LISTED} more")
