"""Draw the diagrams of the press benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.report.plots import COLOURS, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_MARKERS: Final = "so^Dvx"
_PANELS: Final = {"recall_at_1": "R@1", "micro_ap": "µAP"}
_LONGEST_LABEL: Final = 14


def strengths(
    path: Path,
    *,
    labels: Sequence[str],
    systems: Mapping[str, Sequence[Mapping[str, Any]]],
    ordered: bool,
) -> None:
    """Draw R@1 and µAP over the strengths of a transformation, a line for each system.

    Args:
        path: The PNG file to write.
        labels: The labels of the strengths.
        systems: For each system, its figures at each strength; the intervals are drawn as bars.
        ordered: Whether strengths follow one another; otherwise no lines join them.
    """
    places = np.arange(len(labels))
    # The whole search comes last and is drawn in the first colour.
    order = [*range(1, len(systems)), 0]
    with draw(path, size=(9, 3.4), colours=64) as figure:
        for axes, (name, title) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
            for number, (system, figures) in enumerate(systems.items()):
                values = np.array([_number(entry.get(name)) for entry in figures])
                low, high = (
                    np.array(
                        [
                            _number(entry["intervals"].get(name, [None] * 2)[end])
                            for entry in figures
                        ]
                    )
                    for end in (0, 1)
                )
                axes.errorbar(
                    places + 0.06 * (number - (len(systems) - 1) / 2),
                    values,
                    yerr=np.clip(np.stack([values - low, high - values]), 0, None),
                    color=COLOURS[order[number] % len(COLOURS)],
                    marker=_MARKERS[number % len(_MARKERS)],
                    markersize=5,
                    linewidth=1.5 if ordered else 0,
                    elinewidth=0.8,
                    capsize=2,
                    label=system,
                )
            slanted = max(len(label) for label in labels) > _LONGEST_LABEL
            axes.set_xticks(
                places,
                [label.replace(", ", ",\n") for label in labels],
                rotation=30 if slanted else 0,
                ha="right" if slanted else "center",
                fontsize=7 if slanted else 9,
            )
            axes.set(ylabel=title, ylim=(-0.03, 1.03))
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
