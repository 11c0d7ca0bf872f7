"""Draw the diagrams of the furniture benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.evaluation.furniture.figures import FEWEST_SAME, MOST_DIFFERENT, roc
from halftone.evaluation.report.plots import COLOURS, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from halftone.evaluation.furniture.figures import Outcome

_STYLES = ("-", "--", ":", "-.")
_WIDEST = 6  # entries of a legend's column


def curves(path: Path, *, series: Mapping[str, Sequence[Outcome]]) -> None:
    """Draw the ROC curve of each series, with both bars.

    Args:
        path: The PNG file to write.
        series: Outcomes by the name of the curve, each with pairs of both sorts.
    """
    with draw(path, size=(7, 4.4), colours=64) as figure:
        axes = figure.subplots()
        for number, (name, outcomes) in enumerate(series.items()):
            false, true = roc(outcomes)
            axes.plot(
                false,
                true,
                color=COLOURS[number % len(COLOURS)],
                linestyle=_STYLES[number // len(COLOURS) % len(_STYLES)],
                label=name,
            )
        axes.axvline(MOST_DIFFERENT, color="#999999", linewidth=0.8, linestyle=":")
        axes.axhline(FEWEST_SAME, color="#999999", linewidth=0.8, linestyle=":")
        axes.set(
            xlabel="different pictures above the threshold",
            ylabel="same pictures above the threshold",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.02),
        )
        figure.legend(loc="outside right center", ncols=1 + (len(series) - 1) // (2 * _WIDEST))
