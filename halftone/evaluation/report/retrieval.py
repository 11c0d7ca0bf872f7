"""Writes the part of a report on retrieval: figures, diagrams, right and wrong hits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.metrics import UNITS
from halftone.evaluation.report import pictures as report_pictures
from halftone.evaluation.report import plots
from halftone.evaluation.report.page import Cell, ReportPicture, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from halftone.evaluation.judged import JudgedImages
    from halftone.evaluation.truth import Truth

COLUMNS: Final = {
    "recall_at_1": "R@1",
    "map": "mAP",
    "ndcg_at_5": "nDCG@5",
    "micro_ap": "µAP",
    "recall_at_p90": "R@P90",
    "best_f1": "best F1",
}
AT_THRESHOLD: Final = {"precision": "precision", "recall": "recall", "f1": "F1"}
_EXAMPLES: Final = 6
_PAIRS: Final = 9
_FRAMES: Final = "Green frames: the same picture by the truth; red: different ones."


def retrieval_sections(folder: Path, *, judged: JudgedImages, prefix: str) -> list[Section]:
    """Return the sections with the figures, diagrams and pictures of one archive or split.

    Args:
        folder: The report's folder, which gets the diagrams and pictures.
        judged: The judged images of the archive or split.
        prefix: A part of the files' names, different for each archive or split of a report.
    """
    metrics, judgement = judged.metrics, judged.judgement
    first = Section(
        title=f"Retrieval on {judged.name}",
        text=[f"{_counts(judged)} {judged.rules}"],
        tables=figure_tables(judged),
    )
    if not metrics["queries"]:
        return [first]
    pictures = [
        ReportPicture(
            file=f"{prefix}-precision-recall.png",
            alt=f"Precision over recall of all pairs; µAP {metrics['micro_ap']:.3f}, recall "
            f"{metrics['recall_at_p90']:.3f} at precision 0.9.",
            caption="Precision over recall of all pairs. The dot is the threshold.",
        ),
        ReportPicture(
            file=f"{prefix}-scores.png",
            alt=f"Histograms of the scores of true and false pairs; threshold "
            f"{judged.threshold:.3f}.",
            caption="Scores of true and of false pairs, each as shares of its own.",
        ),
    ]
    plots.precision_recall(
        folder / pictures[0].file,
        judgements={judged.name: judgement},
        thresholds={judged.name: judged.threshold},
    )
    plots.histogram(folder / pictures[1].file, judgement=judgement, threshold=judged.threshold)
    return [
        first,
        Section(title="All pairs", level=3, pictures=pictures, tables=[_pair_table(judged)]),
        *_borderline(folder, judged=judged, prefix=prefix),
        *_best_and_worst(folder, judged=judged, prefix=prefix),
    ]


def figure_tables(judged: JudgedImages) -> list[Table]:
    """Return two tables: figures with their intervals, and the figures at the threshold."""
    columns = [name for name in COLUMNS if name in judged.metrics]
    rows: list[list[Cell | str]] = [
        ["this version", *(figure_cell(judged.metrics, name=name) for name in columns)]
    ]
    for label, metrics in judged.variants.items():
        rows.append([label, *(figure_cell(metrics, name=name, bare=True) for name in columns)])
    tables = [
        Table(
            head=["", *(COLUMNS[name] for name in columns)],
            rows=rows,
            caption="Below the figures 95 % intervals, bootstrapped over groups. The best F1 takes "
            "its threshold from these very pairs and is too good for that.",
        )
    ]
    if "f1" in judged.metrics:
        source = judged.threshold_from or "these pictures"
        tables.append(
            Table(
                head=["", *AT_THRESHOLD.values()],
                rows=[
                    [
                        f"threshold {judged.threshold:.3f}",
                        *(figure_cell(judged.metrics, name=name) for name in AT_THRESHOLD),
                    ]
                ],
                caption=f"Of pairs, at a threshold chosen on {source}.",
            )
        )
    return tables


def figure_cell(metrics: Mapping[str, Any], *, name: str, bare: bool = False) -> Cell:
    """Return the cell of a figure, with its interval below it.

    Args:
        metrics: The figures, from `evaluate.figures_of`.
        name: The name of the figure.
        bare: Whether to leave the interval out.
    """
    value = metrics.get(name)
    interval = metrics.get("intervals", {}).get(name)
    small = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval and not bare else ""
    return Cell(text="-" if value is None else f"{value:.3f}", small=small)


def _pair_table(judged: JudgedImages) -> Table:
    (rest, wrong), (missed, hits) = judged.judgement.confusion(judged.threshold)
    source = judged.threshold_from or "these very pairs, so they look better than others would"
    return Table(
        head=["pairs", "called the same", "called different"],
        rows=[
            ["the same picture", f"{hits:,}", f"{missed:,}"],
            ["different pictures", f"{wrong:,}", f"{rest:,}"],
        ],
        caption=f"At the threshold {judged.threshold:.3f}, chosen on {source}.",
    )


def _borderline(folder: Path, *, judged: JudgedImages, prefix: str) -> list[Section]:
    """Show pairs on the wrong side of the threshold, then the closest on the right side."""
    judgement = judged.judgement
    limit = round(judged.threshold * UNITS)
    false, true = judgement.false_scores, judgement.true_scores
    by_score = np.argsort(-true, kind="stable")
    missed = by_score[true[by_score] < limit]
    kept = by_score[true[by_score] >= limit][::-1]
    groups = (
        (
            "False positives",
            "Called the same, different by the truth, the most alike first. Truth may have gaps.",
            judgement.false_pairs[false >= limit],
            false[false >= limit],
            False,
        ),
        (
            "Missed",
            "The same by the truth, and below the threshold; the closest first.",
            judgement.truth.matches[missed],
            true[missed],
            True,
        ),
        (
            "Just found",
            "The same, and just above the threshold.",
            judgement.truth.matches[kept],
            true[kept],
            True,
        ),
        (
            "Just refused",
            "Different, and just below the threshold.",
            judgement.false_pairs[false < limit],
            false[false < limit],
            False,
        ),
    )
    sections = [
        Section(
            title="Borderline retrievals",
            text=[f"Pairs around the threshold {judged.threshold:.3f}. {_FRAMES}"],
        )
    ]
    for number, (title, text, pairs, scores, same) in enumerate(groups):
        shown = _PAIRS if number < 2 else _PAIRS // 3  # noqa: PLR2004 - mistakes get more room
        chosen = _one_a_group(judgement.truth, pairs=pairs)[:shown]
        pictures = report_pictures.pair_pictures(
            folder,
            judged=judged,
            pairs=[(int(a), int(b)) for a, b in pairs[chosen]],
            scores=[float(score) / UNITS for score in scores[chosen]],
            same=same,
            prefix=f"pair-{prefix}-{number}",
        )
        total = f"{len(pairs):,}" if number < 2 else ""  # noqa: PLR2004 - as above
        heading = f"{title}: {total}" if total else title
        sections.append(Section(title=heading, text=[text], pictures=pictures, level=3))
    return sections


def _best_and_worst(folder: Path, *, judged: JudgedImages, prefix: str) -> list[Section]:
    judgement = judged.judgement
    first = judgement.candidate_scores[:, 0]
    found = np.flatnonzero(judgement.average_precision == 1)
    best = found[np.argsort(-first[found], kind="stable")]
    failed = np.flatnonzero(judgement.average_precision < 1)
    worst = failed[np.lexsort((judgement.average_precision[failed], -judgement.first_rank[failed]))]
    sections = []
    for title, text, queries, name in (
        ("Worst retrievals", "The first match furthest down.", worst, "worst"),
        ("Best retrievals", "All matches first, the surest before.", best, "best"),
    ):
        chosen = _one_a_group(judgement.truth, pairs=judgement.truth.queries[queries][:, None])
        pictures = report_pictures.retrieval_strips(
            folder,
            judged=judged,
            queries=[int(query) for query in queries[chosen][:_EXAMPLES]],
            prefix=f"{prefix}-{name}",
        )
        note = f"{len(queries):,} of {len(judgement.first_rank):,} queries. {text} One of a group."
        sections.append(Section(title=title, text=[note], pictures=pictures))
    return sections


def _one_a_group(truth: Truth, *, pairs: Any) -> Any:
    """Return the places of the rows of images [K, …] whose groups did not occur before."""
    seen: set[tuple[int, ...]] = set()
    places = []
    for place, row in enumerate(pairs[:2000]):
        # An image outside every group stands for itself.
        key = tuple(
            sorted(
                int(truth.groups[image]) if truth.groups[image] >= 0 else -1 - int(image)
                for image in row
            )
        )
        if key not in seen:
            seen.add(key)
            places.append(place)
    return np.array(places, dtype=np.int64)


def _counts(judged: JudgedImages) -> str:
    queries, pairs = judged.metrics["queries"], judged.metrics["pairs"]
    count = judged.judgement.truth.count
    return f"{queries:,} queries among {count:,} pictures, {pairs:,} true pairs."
