"""Draw the diagrams of a report."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from halftone.evaluation.metrics import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from halftone.evaluation.metrics import Judgement

# The colours differ in lightness as well as in hue, to be told apart without colour and in black
# print.
COLOURS: Final = ("#1f5a96", "#d1711a", "#4b8b57", "#8a3f8c", "#666666")
SAME: Final = "#2e7d4f"
DIFFERENT: Final = "#b3392f"
_DPI: Final = 110
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
# Labels for the names in a training curve; other names are shown as they are.
_LABELS: Final = {
    "copy_recall_at_1": "R@1 of simulated printings",
    "copy_micro_ap": "µAP of simulated printings",
    "recall_at_1": "R@1",
    "map": "mAP",
    "micro_ap": "µAP",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
# Entries of the history that are not figures of quality.
_CLOCKS: Final = {"step", "epoch", "elapsed", "loss", "images_per_second", "waiting"}


@contextlib.contextmanager
def draw(
    path: Path, *, size: tuple[float, float], grid: bool = True, colours: int = 128
) -> Iterator[Figure]:
    """Yield a figure in the style of all reports, and write it as a PNG at the end.

    Args:
        path: The file.
        size: Width and height in inches.
        grid: Whether a grid is drawn.
        colours: The size of the palette. A version travels with its report, and with a palette a
            diagram takes a third of the bytes.
    """
    with mpl.rc_context(_STYLE | {"axes.grid": grid}):
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        yield figure
        _write(figure, path=path, colours=colours)


def _write(figure: Figure, *, path: Path, colours: int) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB")
    picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)


def curves(path: Path, *, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Draw loss and validation figures over epochs; return the names of the figures drawn."""
    names = sorted(
        {
            name
            for entry in history
            for name, value in entry.items()
            if isinstance(value, int | float)
            and (name in _LABELS or (name not in _CLOCKS and -1 <= value <= 1))
        }
        - _CLOCKS
    )
    with draw(path, size=(9, 3.2)) as figure:
        left, right = figure.subplots(1, 2)
        points = [(entry["epoch"], entry["loss"]) for entry in history if "loss" in entry]
        if points:
            left.plot(*zip(*points, strict=True), color=COLOURS[0])
        left.set(xlabel="epoch", ylabel="loss")
        for number, name in enumerate(names):
            checked = [(entry["epoch"], entry[name]) for entry in history if name in entry]
            right.plot(
                *zip(*checked, strict=True),
                color=COLOURS[number % len(COLOURS)],
                marker="o",
                markersize=3,
                label=_LABELS.get(name, name.replace("_", " ")),
            )
        right.set(xlabel="epoch", ylabel="on the validation split", ylim=(0, 1.02))
        if names:
            right.legend(loc="lower right")
    return names


def precision_recall(
    path: Path, *, judgements: Mapping[str, Judgement], thresholds: Mapping[str, float]
) -> None:
    """Draw precision over recall of all pairs, a line for each model, a dot at its threshold.

    Args:
        path: The PNG file to write.
        judgements: The judgement of each model, by its name.
        thresholds: The threshold of each model; a model without one gets no dot.
    """
    with draw(path, size=(5.4, 3.6)) as figure:
        axes = figure.subplots()
        for number, (name, judgement) in enumerate(judgements.items()):
            curve, colour = judgement.curve, COLOURS[number % len(COLOURS)]
            axes.step(curve.recall, curve.precision, where="pre", color=colour, label=name)
            above = curve.threshold >= thresholds.get(name, np.inf)
            if above.any():
                last = int(np.flatnonzero(above)[-1])
                axes.plot(curve.recall[last], curve.precision[last], "o", color=colour)
        axes.axhline(0.9, color="#999999", linewidth=0.8, linestyle=":")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        if len(judgements) > 1:
            axes.legend(loc="lower left")


def histogram(path: Path, *, judgement: Judgement, threshold: float) -> None:
    """Draw the scores of true and of false pairs as two histograms, with a line at `threshold`."""
    edges = np.arange(-0.5, 1.0001, 0.02)
    true = np.histogram(judgement.true_scores / UNITS, bins=edges)[0]
    limits = np.rint(edges * UNITS).astype(np.int64)
    at_least = judgement.false_at_least(limits)
    false = at_least[:-1] - at_least[1:]
    false[-1] += judgement.false_at_least(limits[-1:])[0]
    with draw(path, size=(5.4, 3.6)) as figure:
        axes = figure.subplots()
        for counts, label, colour, hatch in (
            (false, "different pictures", DIFFERENT, "//"),
            (true, "the same picture", SAME, ""),
        ):
            axes.stairs(
                counts / max(counts.sum(), 1),
                edges,
                fill=True,
                alpha=0.55,
                color=colour,
                hatch=hatch,
                label=f"{label} ({counts.sum():,} pairs)",
            )
        axes.axvline(threshold, color="black", linewidth=1, linestyle="--")
        axes.annotate(
            f"threshold {threshold:.3f}",
            (threshold, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
        )
        axes.set(xlabel="cosine", ylabel="share of pairs", xlim=(-0.5, 1.0))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def confusion(path: Path, *, matrix: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Draw a confusion matrix as shares of each row.

    Args:
        path: The file to write.
        matrix: The number of pictures by true class (rows) and predicted class (columns).
        names: The names of the classes.
    """
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.2 + 0.34 * len(names), 9.0)
    with draw(path, size=(side + 1.2, side), grid=False) as figure:
        axes = figure.subplots()
        shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(names) <= 20:  # noqa: PLR2004 - more would not be read
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004
                    axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour)
        short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]  # noqa: PLR2004
        axes.set_xticks(range(len(names)), short, rotation=90 if len(names) > 4 else 0)  # noqa: PLR2004
        axes.set_yticks(range(len(names)), short)
        axes.set(xlabel="predicted", ylabel="truth")
        figure.colorbar(shown, label="share of the class", shrink=0.8)


def balance(path: Path, *, splits: Mapping[str, Mapping[str, int]]) -> None:
    """Draw the sizes of the groups of each split, the largest first."""
    with draw(path, size=(9, 2.8)) as figure:
        axes_row = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
        for number, (name, sizes) in enumerate(splits.items()):
            axes: Axes = axes_row[number]
            falling = sorted(sizes.values(), reverse=True)
            positions = np.arange(len(falling) + 1)
            axes.stairs(falling, positions, fill=True, color=COLOURS[number % len(COLOURS)])
            axes.set(xlabel=f"{name}: {len(falling):,} groups", ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes_row[0].set(ylabel="pictures in the group")
        axes_row[0].yaxis.set_major_locator(MaxNLocator(integer=True))


def reliability(path: Path, *, bins: Sequence[Mapping[str, float]]) -> None:
    """Draw observed shares of matches over predicted probabilities, and how many had each.

    Bins are those of `halftone.evaluation.calibration.fit`.
    """
    predicted = [each["probability"] for each in bins]
    observed = np.array([each["observed"] for each in bins])
    low = observed - [each["low"] for each in bins]
    high = np.array([each["high"] for each in bins]) - observed
    with draw(path, size=(5.4, 4.4)) as figure:
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        axes.errorbar(
            predicted,
            observed,
            yerr=np.clip([low, high], 0, None),
            color=COLOURS[0],
            marker="o",
            markersize=4,
            capsize=2,
        )
        axes.set(ylabel="share that is the same picture", xlim=(0, 1), ylim=(0, 1.02))
        counts.bar(predicted, [bin_["count"] for bin_ in bins], width=0.04, color=COLOURS[0])
        counts.set(xlabel="probability", ylabel="candidates", yscale="log")
