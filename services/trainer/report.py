"""A training run's report: one HTML page and its PNGs, readable without a server."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from halftone.truth import IGNORED, MATCH
from services.trainer.evaluate import precision_recall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.vision.model import ModelSpec
    from services.trainer.evaluate import Labelled, Truth
    from services.trainer.finish import Evaluation

_RETRIEVED: Final = 5
_EXAMPLES: Final = 10
_DPI: Final = 72  # a version travels with its report, so pictures stay small
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}"
    "th:first-child,td:first-child{text-align:left}tr{border-bottom:1px solid #ddd}"
    "img{max-width:100%}pre{white-space:pre-wrap;background:#f4f4f4;padding:.8rem}"
)
_COLUMNS: Final = {
    "recall_at_1": "R@1",
    "map": "mAP",
    "micro_ap": "µAP",
    "best_f1": "best F1",
    "recall_at_p90": "R@P90",
}


def write_report(
    folder: Path,
    *,
    spec: ModelSpec,
    history: Sequence[Mapping[str, float]],
    found: Evaluation | None,
    labelled: Labelled | None = None,
    classification: Mapping[str, Any] | None = None,
    balance: Mapping[str, Mapping[str, int]] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> None:
    """Write `index.html` and its pictures.

    Args:
        folder: Is created.
        spec: Of the model.
        history: The progress lines' entries; may be empty.
        found: An archive with truth, where there was one.
        labelled: Labelled groups that were left out of training.
        classification: What `evaluate_classification` returned.
        balance: Per split the size of each group.
        left_out: What the data's reader left out or noticed, and why.
    """
    del labelled, classification, balance, left_out
    folder.mkdir(parents=True)
    parts = [f"<h1>{html.escape(spec.name)}</h1>"]
    parts.append(f"<pre>{html.escape(str(spec.training.get('command', '')))}</pre>")
    if history:
        _save(_curves(history), folder / "curves.png")
        parts += ["<h2>Training</h2>", _picture("curves.png", "loss and validation over epochs")]
    if found is not None:
        _save(_pairs(found.scores, truth=found.truth), folder / "pairs.png")
        threshold = found.metrics["best_f1_threshold"]
        counts = confusion(found.scores, truth=found.truth, threshold=threshold)
        _save(_confusion(counts, threshold=threshold), folder / "confusion.png")
        _save(_retrieval(found), folder / "retrieval.png")
        parts += [
            f"<h2>{html.escape(found.folder.name)}</h2>",
            f"<p>{found.metrics['queries']} queries, {found.metrics['pairs']} true pairs.</p>",
            _table(found),
            _picture("pairs.png", "precision over recall, and scores of pairs"),
            _picture("confusion.png", "confusion matrix of pairs"),
            "<h2>Retrieval</h2><p>Misses first. Green frames: other printings of the query.</p>",
            _picture("retrieval.png", "queries and what they retrieve"),
        ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(spec.name)}</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def confusion(
    scores: NDArray[np.floating[Any]], *, truth: Truth, threshold: float
) -> NDArray[np.int64]:
    """Count pairs at a threshold: int64 [2, 2], rows truth (no, yes), columns prediction."""
    kinds = truth.kinds(0, truth.count)
    pairs = np.triu(kinds != IGNORED, k=1)
    predicted, actual = scores[pairs] >= threshold, kinds[pairs] == MATCH
    cells = [[(actual == a) & (predicted == p) for p in (False, True)] for a in (False, True)]
    return np.array([[int(cell.sum()) for cell in row] for row in cells], dtype=np.int64)


def _curves(history: Sequence[Mapping[str, float]]) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([entry["epoch"] for entry in history], [entry["loss"] for entry in history])
    left.set(xlabel="epoch", ylabel="loss")
    checked = [entry for entry in history if "copy_recall_at_1" in entry]
    for name, label in (("copy_recall_at_1", "R@1"), ("copy_micro_ap", "µAP")):
        right.plot(
            [entry["epoch"] for entry in checked],
            [entry[name] for entry in checked],
            marker="o",
            label=label,
        )
    right.set(xlabel="epoch", ylabel="simulated printings of held-out pictures", ylim=(0, 1))
    right.legend()
    return figure


def _pairs(scores: NDArray[np.floating[Any]], *, truth: Truth) -> Figure:
    kinds = truth.kinds(0, truth.count)
    pairs = np.triu(kinds != IGNORED, k=1)
    values, positive = scores[pairs], kinds[pairs] == MATCH
    curve = precision_recall(values, positive=positive)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(curve.recall, curve.precision)
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    bins = np.linspace(-0.4, 1, 71)
    for chosen, label in ((positive, "same picture"), (~positive, "different pictures")):
        right.hist(values[chosen], bins=bins, density=True, alpha=0.6, label=label)
    right.set(xlabel="cosine", ylabel="density")
    right.legend()
    return figure


def _confusion(counts: NDArray[np.int64], *, threshold: float) -> Figure:
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.log1p(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        dark = np.log1p(count) > np.log1p(counts).max() / 2
        colour = "white" if dark else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    axes.set(
        xticks=[0, 1],
        yticks=[0, 1],
        xticklabels=["different", "same"],
        yticklabels=["different", "same"],
        xlabel=f"predicted at {threshold:.3f}",
        ylabel="truth",
    )
    return figure


def _retrieval(found: Evaluation) -> Figure:
    """Rows of a query and its best candidates: as many misses as there are, up to half."""
    truth, scores = found.truth, found.scores
    kinds = truth.kinds(0, truth.count)
    ranked = np.where(kinds == IGNORED, -np.inf, scores)
    best = ranked.argmax(axis=1)
    hit = kinds[np.arange(len(best)), best] == MATCH
    missed = truth.queries[~hit[truth.queries]][: _EXAMPLES // 2]
    found_ones = truth.queries[hit[truth.queries]]
    spread = np.linspace(0, max(len(found_ones) - 1, 0), _EXAMPLES - len(missed)).round()
    chosen = [*missed, *found_ones[spread.astype(int)]] if len(found_ones) else list(missed)
    figure = Figure(figsize=(10, 1.9 * max(len(chosen), 1)), layout="constrained")
    grid = figure.subplots(max(len(chosen), 1), _RETRIEVED + 1, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for row, query in enumerate(chosen):
        candidates = np.argsort(-ranked[query], kind="stable")[:_RETRIEVED]
        for column, image in enumerate([query, *candidates]):
            axes = grid[row, column]
            with Image.open(found.folder / found.rows[image]["file"]) as picture:
                small = picture.convert("L")
                small.thumbnail((160, 160))
            axes.imshow(np.asarray(small), cmap="gray", vmin=0, vmax=255)
            title = "query" if column == 0 else f"{scores[query, image]:.2f}"
            same = column > 0 and kinds[query, image] == MATCH
            axes.set_title(title, fontsize=8, color="green" if same else "black")
            if same:
                axes.axis("on")
                axes.set(xticks=[], yticks=[])
                for spine in axes.spines.values():
                    spine.set(color="green", linewidth=3)
    return figure


def _table(found: Evaluation) -> str:
    head = "".join(f"<th>{html.escape(label)}</th>" for label in _COLUMNS.values())
    rows = [f"<tr><th>on {html.escape(found.folder.name)}</th>{head}</tr>"]
    for name, metrics in {"this version": found.metrics, **found.variants}.items():
        cells = []
        for key in _COLUMNS:
            interval = metrics["intervals"].get(key)
            text = f"{metrics[key]:.3f}"
            if interval and metrics is found.metrics:
                text += f"<br><small>{interval[0]:.3f} to {interval[1]:.3f}</small>"
            cells.append(f"<td>{text}</td>")
        rows.append(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}</tr>")
    return f"<table>{''.join(rows)}</table><p>Below: 95 % intervals, bootstrapped over groups.</p>"


def _picture(file: str, description: str) -> str:
    return f'<p><img src="{file}" alt="{html.escape(description)}"></p>'


def _save(figure: Figure, path: Path) -> None:
    with mpl.rc_context({"font.size": 9}):
        figure.savefig(path, dpi=_DPI, pil_kwargs={"optimize": True})
