"""Compute the figures that a trained model is judged by: retrieval, and classification.

`metrics` has the definitions of retrieval and needs NumPy alone; here the figures are put together
into the dictionaries that `metrics.json`, reports and trackers hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.metrics import (
    Cosines,
    Curve,
    Floats,
    Judgement,
    Matrix,
    Truth,
    average_precision,
    best_f1,
    evaluate_copies,
    figures,
    judge,
    precision_recall,
    read_truth,
    recall_at_precision,
    threshold_of,
)
from halftone.evaluation.resampling import intervals, resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.evaluation.truth import Ints

__all__ = [
    "Curve",
    "Truth",
    "average_precision",
    "best_f1",
    "choose_threshold",
    "evaluate",
    "evaluate_classification",
    "evaluate_copies",
    "evaluate_groups",
    "evaluate_scores",
    "figures_of",
    "precision_recall",
    "read_truth",
    "recall_at_precision",
]

_CONFUSED: Final = 50
_MOST_CELLS: Final = 100  # a side


def evaluate(
    descriptors: Floats,
    *,
    truth: Truth,
    threshold: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge descriptors by their cosines.

    Args:
        descriptors: [N, D], rows of unit length.
        truth: Which of the N images match.
        threshold: As in `figures_of`.
        resamples: As in `figures_of`.
        seed: As in `figures_of`.

    Returns:
        The figures, as `figures_of` returns them.
    """
    judgement = judge(Cosines(descriptors), truth=truth)
    return figures_of(judgement, threshold=threshold, resamples=resamples, seed=seed)


def evaluate_scores(
    scores: Floats,
    *,
    truth: Truth,
    threshold: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge scores between all images.

    Args:
        scores: A symmetric matrix, [N, N], of values between -1 and 1.
        truth: Which of the N images match.
        threshold: As in `figures_of`.
        resamples: As in `figures_of`.
        seed: As in `figures_of`.

    Returns:
        The figures, as `figures_of` returns them.
    """
    judgement = judge(Matrix(scores), truth=truth)
    return figures_of(judgement, threshold=threshold, resamples=resamples, seed=seed)


def evaluate_groups(
    descriptors: Floats,
    *,
    groups: Sequence[str],
    threshold: float | None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge descriptors [N, D] by labelled groups: every other member of a group is a match.

    An image whose group is empty, or that is alone in its group, is no query but stays a candidate.
    The other parameters and the result are as in `figures_of`.
    """
    truth = Truth.of_groups(groups)
    return evaluate(descriptors, truth=truth, threshold=threshold, resamples=resamples, seed=seed)


def figures_of(
    judgement: Judgement, *, threshold: float | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return `metrics.figures` with 95 % `intervals`, bootstrapped over groups.

    Args:
        judgement: The judgement of one model.
        threshold: The threshold for precision, recall and f1; None leaves them out.
        resamples: The number of bootstrap draws; 0 leaves the intervals out.
        seed: Seed of the bootstrap.
    """
    result = figures(judgement, threshold=threshold)
    if resamples:
        draws = resample(judgement, threshold=threshold, resamples=resamples, seed=seed)
        result["intervals"] = intervals(draws)
    return result


def choose_threshold(descriptors: Floats, *, groups: Sequence[str]) -> float:
    """Return the cosine from which two images count as the same: best F1 over the pairs of [N, D].

    The threshold suits archives of about this size. With ten times the images, a query meets ten
    times the false candidates, and the best threshold is higher.
    """
    return threshold_of(judge(Cosines(descriptors), truth=Truth.of_groups(groups)))


def evaluate_classification(
    logits: Floats,
    *,
    labels: Sequence[int],
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score logits [N, C] against labels [N].

    Args:
        logits: One row for each image.
        labels: The class of each image, 0 to C - 1.
        names: The names of the classes, [C].
        groups: The group of each image, [N]; the intervals draw whole groups. None draws the images
            one by one.
        resamples: The number of bootstrap draws; 0 leaves the intervals out.
        seed: Seed of the bootstrap.

    Returns:
        images, classes, names, accuracy, balanced_accuracy (mean recall of the classes that occur),
        macro_f1 (over the classes that occur or are predicted), per_class
        (name, images, predicted, precision, recall, f1; None where there is nothing to divide by),
        confused (the most frequent mistakes: truth, predicted, images), intervals, and for at
        most 100 classes confusion ([C, C], rows the truth, columns the prediction).

    Raises:
        ValueError: The shapes do not fit, a label is not a class, or there is no image.
    """
    values, actual = np.asarray(logits), np.asarray(labels, dtype=np.int64)
    count = len(names)
    if values.shape != (len(actual), count) or not len(actual):
        raise ValueError(f"logits are {values.shape}, for {len(actual)} labels of {count} classes")
    if actual.min() < 0 or actual.max() >= count:
        raise ValueError(f"labels are 0 to {count - 1}, not {actual.min()} to {actual.max()}")
    predicted = values.argmax(axis=1)
    cells, images = np.unique(actual * count + predicted, return_counts=True)
    wrong = sorted(
        (-int(number), *divmod(int(cell), count))
        for cell, number in zip(cells, images, strict=True)
        if cell % (count + 1)  # not on the diagonal
    )
    totals = _totals(actual, predicted=predicted, classes=count)
    result: dict[str, Any] = {
        "images": len(actual),
        "classes": count,
        "names": list(names),
        **_class_figures(*totals),
        "per_class": _per_class(*totals, names=names),
        "confused": [
            {"truth": names[a], "predicted": names[b], "images": -number}
            for number, a, b in wrong[:_CONFUSED]
        ],
    }
    if count <= _MOST_CELLS:
        matrix = np.bincount(actual * count + predicted, minlength=count**2)
        result["confusion"] = matrix.reshape(count, count).tolist()
    if resamples:
        drawn_from = np.arange(len(actual)) if groups is None else np.asarray(groups)
        _, unit = np.unique(drawn_from, return_inverse=True)
        size = int(unit.max()) + 1
        generator = np.random.default_rng(seed)
        drawn: dict[str, list[float]] = {}
        for _ in range(resamples):
            weight = np.bincount(generator.integers(0, size, size), minlength=size)[unit]
            again = _totals(actual, predicted=predicted, classes=count, weight=weight)
            for name, value in _class_figures(*again).items():
                drawn.setdefault(name, []).append(value)
        result["intervals"] = intervals({name: np.array(draws) for name, draws in drawn.items()})
    return result


def _totals(
    actual: Ints, *, predicted: Ints, classes: int, weight: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """Count for each class the right answers, the images, and the predictions: float [C] each."""
    right = (actual == predicted).astype(float)
    if weight is not None:
        right *= weight
    hits = np.bincount(actual, weights=right, minlength=classes).astype(float)
    there = np.bincount(actual, weights=weight, minlength=classes).astype(float)
    given = np.bincount(predicted, weights=weight, minlength=classes).astype(float)
    return hits, there, given


def _class_figures(hits: Floats, there: Floats, given: Floats) -> dict[str, float]:
    present, seen = there > 0, (there + given) > 0
    return {
        "accuracy": float(hits.sum() / there.sum()),
        "balanced_accuracy": float((hits[present] / there[present]).mean()),
        "macro_f1": float((2 * hits[seen] / (there + given)[seen]).mean()),
    }


def _per_class(
    hits: Floats, there: Floats, given: Floats, *, names: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "images": int(images),
            "predicted": int(predicted),
            "precision": float(right / predicted) if predicted else None,
            "recall": float(right / images) if images else None,
            "f1": float(2 * right / (images + predicted)) if images + predicted else None,
        }
        for name, right, images, predicted in zip(names, hits, there, given, strict=True)
    ]
