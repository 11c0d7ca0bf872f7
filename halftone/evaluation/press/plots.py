"""Draw the diagrams of the press benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from halftone.evaluation.report.plots import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
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
        figure.savefig(path, dpi=110)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
