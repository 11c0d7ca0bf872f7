"""The reprint protocol: how well descriptors find the same picture in other publications.

Definitions follow the archive's README: a query is an image with a match in another publication;
from its ranking the query itself and the other images of its group within its own publication are
left out. Ties are broken pessimistically (a non-match that scores the same as a match ranks before
it), as in SSCD (Pizzi et al. 2022), so that a constant descriptor scores zero.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Which pairs of N images match and which are left out.

    match: bool [N, N], symmetric; the same picture in two publications.
    ignore: bool [N, N], symmetric; the diagonal and copies within a publication.
    groups: int [N]; images of one group share a number, -1 outside every group. Confidence
        intervals resample groups.
    """

    match: Bools
    ignore: Bools
    groups: NDArray[np.int64]

    @property
    def queries(self) -> NDArray[np.int64]:
        """Indices of the images that have a match."""
        return np.flatnonzero(self.match.any(axis=1))


def read_truth(folder: Path, *, image_ids: Sequence[str], journals: Mapping[str, str]) -> Truth:
    """Read `groups.json`.

    In an ordinary group all members match each other; in a composite one only the listed links do.
    Members within one publication are never a match and never a mistake.

    Args:
        folder: Of the archive.
        image_ids: Of the archive's images, in the order of the scores.
        journals: The publication of each image.

    Raises:
        ValueError: A group names an unknown image.
    """
    index = {image_id: number for number, image_id in enumerate(image_ids)}
    count = len(index)
    match = np.zeros((count, count), dtype=bool)
    ignore = np.eye(count, dtype=bool)
    groups = np.full(count, -1, dtype=np.int64)
    for number, group in enumerate(
        json.loads((folder / "groups.json").read_text(encoding="utf-8"))
    ):
        missing = [member for member in group["members"] if member not in index]
        if missing:
            raise ValueError(
                f"{folder / 'groups.json'}: group {group['group']} names unknown images: "
                f"{', '.join(missing)}"
            )
        groups[[index[member] for member in group["members"]]] = number
        linked = {frozenset((link["a"], link["b"])) for link in group["links"]}
        for a in group["members"]:
            for b in group["members"]:
                if a == b:
                    continue
                if journals[a] == journals[b]:
                    ignore[index[a], index[b]] = True
                elif not group["composite"] or frozenset((a, b)) in linked:
                    match[index[a], index[b]] = True
    return Truth(match=match, ignore=ignore, groups=groups)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images of labelled groups, for the report.

    Attributes:
        name: What they are, for example "test split".
        descriptors: float32 [N, D], unit length.
        groups: The group of each image.
        paths: The file of each image.
        metrics: What `evaluate_groups` returned.
    """

    name: str
    descriptors: Floats
    groups: Sequence[str]
    paths: Sequence[Path]
    metrics: Mapping[str, Any]


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """Read the rows of `manifest.csv` in `folder` (UTF-8)."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@dataclass(frozen=True)
class Curve:
    """Precision and recall at falling thresholds: float [K] each, one point per distinct score."""

    precision: Floats
    recall: Floats
    threshold: Floats


def precision_recall(scores: Floats, *, positive: Bools) -> Curve:
    """The curve of pairs, [P] each: their scores and whether they match.

    Pairs of equal score stand or fall together.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # the last pair of each run of equal scores
    hits, ranks, thresholds = hits[last], np.flatnonzero(last) + 1, ranked[last]
    total = max(int(positive.sum()), 1)
    return Curve(precision=hits / ranks, recall=hits / total, threshold=thresholds)


def average_precision(curve: Curve) -> float:
    """Area under the curve as a step function; of equal scores the last precision counts."""
    gained = np.diff(curve.recall, prepend=0.0)
    return float((gained * curve.precision).sum())


def best_f1(curve: Curve) -> tuple[float, float]:
    """Return the best F1 on the curve and the threshold that gives it."""
    total = np.maximum(curve.precision + curve.recall, 1e-12)
    f1 = 2 * curve.precision * curve.recall / total
    best = int(np.argmax(f1))
    return float(f1[best]), float(curve.threshold[best])


def recall_at_precision(curve: Curve, *, precision: float) -> float:
    """Return the highest recall at which precision is at least `precision`; 0 if it never is."""
    reached = curve.recall[curve.precision >= precision]
    return float(reached.max()) if len(reached) else 0.0


def rank_queries(scores: Floats, *, truth: Truth) -> tuple[Floats, Floats]:
    """Return R@1 (0 or 1) and average precision of each query, [Q], from scores [N, N]."""
    first = np.zeros(len(truth.queries))
    precision = np.zeros(len(truth.queries))
    for number, query in enumerate(truth.queries):
        candidates = ~truth.ignore[query]
        row, hit = scores[query][candidates], truth.match[query][candidates]
        # Pessimistic: sort by falling score, non-matches first among equals.
        hit = hit[np.lexsort((hit, -row))]
        ranks = np.flatnonzero(hit) + 1
        first[number] = float(hit[0])
        precision[number] = float((np.arange(1, len(ranks) + 1) / ranks).mean())
    return first, precision


def evaluate(
    descriptors: Floats, *, truth: Truth, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Score descriptors [N, D] (unit length) by their cosine; see `evaluate_scores`."""
    return evaluate_scores(descriptors @ descriptors.T, truth=truth, resamples=resamples, seed=seed)


def evaluate_scores(
    scores: Floats, *, truth: Truth, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Score a symmetric matrix [N, N] by the protocol.

    Returns recall_at_1, map, micro_ap, best_f1, best_f1_threshold, recall_at_p90, queries, pairs,
    and `intervals` with 95 % bootstrap intervals of the first two over groups and of micro_ap over
    the groups' pairs (`resamples` = 0 leaves them out).
    """
    first, precision = rank_queries(scores, truth=truth)
    upper = np.triu(~truth.ignore, k=1)
    rows, columns = np.nonzero(upper)
    pair_scores, positive = scores[rows, columns], truth.match[rows, columns]
    curve = precision_recall(pair_scores, positive=positive)
    f1, threshold = best_f1(curve)
    result: dict[str, Any] = {
        "queries": len(first),
        "pairs": int(positive.sum()),
        "recall_at_1": float(first.mean()),
        "map": float(precision.mean()),
        "micro_ap": average_precision(curve),
        "best_f1": f1,
        "best_f1_threshold": threshold,
        "recall_at_p90": recall_at_precision(curve, precision=0.9),
    }
    if resamples:
        result["intervals"] = _intervals(
            first,
            precision,
            pair_scores=pair_scores,
            positive=positive,
            rows=rows,
            truth=truth,
            resamples=resamples,
            seed=seed,
        )
    return result


def evaluate_copies(scores: Floats) -> dict[str, float]:
    """Score [N, N]: row i's only match is column i. Returns copy_recall_at_1 and copy_micro_ap."""
    own = np.diag(scores)
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    curve = precision_recall(scores.ravel(), positive=np.eye(len(scores), dtype=bool).ravel())
    recall = float((own > others.max(axis=1)).mean())
    return {"copy_recall_at_1": recall, "copy_micro_ap": average_precision(curve)}


def _intervals(
    first: Floats,
    precision: Floats,
    *,
    pair_scores: Floats,
    positive: Bools,
    rows: NDArray[np.int64],
    truth: Truth,
    resamples: int,
    seed: int,
) -> dict[str, list[float]]:
    """Bootstrap over groups: a group's queries and pairs share one picture."""
    generator = np.random.default_rng(seed)
    query_groups = truth.groups[truth.queries]
    names, query_group = np.unique(query_groups, return_inverse=True)
    pair_group = np.searchsorted(names, truth.groups[rows[positive]])
    # Only false pairs above the lowest true pair can change a precision, and few do: count them per
    # true pair once.
    false = np.sort(pair_scores[~positive])
    true = pair_scores[positive]
    above = len(false) - np.searchsorted(false, true, side="left")
    order = np.argsort(-true, kind="stable")
    drawn: dict[str, list[float]] = {"recall_at_1": [], "map": [], "micro_ap": []}
    for _ in range(resamples):
        weight = np.bincount(
            generator.integers(0, len(names), len(names)), minlength=len(names)
        ).astype(float)
        query_weight, pair_weight = weight[query_group], weight[pair_group][order]
        drawn["recall_at_1"].append(float(np.average(first, weights=query_weight)))
        drawn["map"].append(float(np.average(precision, weights=query_weight)))
        hits = np.cumsum(pair_weight)
        at = hits / np.maximum(hits + above[order], 1e-12)
        drawn["micro_ap"].append(float((pair_weight * at).sum() / max(pair_weight.sum(), 1e-12)))
    return {
        name: [float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))]
        for name, values in drawn.items()
    }


def evaluate_groups(
    descriptors: Floats,
    *,
    groups: Sequence[str],
    threshold: float | None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score descriptors [N, D] by labelled groups: every other member of a group is a match.

    An image whose group is empty belongs to none. Returns what `evaluate_scores` does.
    """
    truth = _labelled(groups)
    result = evaluate(descriptors, truth=truth, resamples=resamples, seed=seed)
    result["threshold"] = threshold
    return result


def choose_threshold(descriptors: Floats, *, groups: Sequence[str]) -> float:
    """The cosine from which two images count as the same: best F1 over the pairs of [N, D]."""
    found = evaluate_groups(descriptors, groups=groups, threshold=None, resamples=0)
    return float(found["best_f1_threshold"])


def evaluate_classification(
    logits: Floats, *, labels: Sequence[int], names: Sequence[str]
) -> dict[str, Any]:
    """Score logits [N, C] against labels [N]: accuracy and the confusion matrix."""
    predicted = np.asarray(logits).argmax(axis=1)
    actual = np.asarray(labels)
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(matrix, (actual, predicted), 1)
    return {
        "images": len(actual),
        "names": list(names),
        "accuracy": float((predicted == actual).mean()),
        "confusion": matrix.tolist(),
    }


def _labelled(groups: Sequence[str]) -> Truth:
    names = np.asarray(groups)
    _, numbers = np.unique(names, return_inverse=True)
    numbers = np.where(names == "", -1, numbers).astype(np.int64)
    same = (numbers[:, None] == numbers[None]) & (numbers >= 0)[:, None]
    own = np.eye(len(names), dtype=bool)
    return Truth(match=same & ~own, ignore=own, groups=numbers)
