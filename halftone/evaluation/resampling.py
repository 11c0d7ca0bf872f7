"""Confidence intervals of `halftone.evaluation.metrics`, by resampling groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from halftone.evaluation.metrics import UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.evaluation.metrics import Judgement
    from halftone.evaluation.truth import Ints

Draws = NDArray[np.float64]

# If there are more true pairs, this many are sampled: a thousand resamples of 200,000 take some ten
# seconds.
_MOST_PAIRS: Final = 200_000


def resample(
    judgement: Judgement, *, threshold: float | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Draws]:
    """Draw the groups anew, with replacement, and compute every figure for each draw.

    The images of a group share one picture, so groups are drawn, not images. The gallery stays:
    images outside every group, and groups without a query, are in every resample. A true pair
    counts as often as its group was drawn. A false pair between two groups counts as often as the
    one was drawn, times as often as the other was. False pairs that score too low to be among
    `judgement.false_pairs` count once each. Equal truths and seeds draw the same groups, so two
    models can be compared draw by draw.

    Args:
        judgement: The judgement of one model.
        threshold: The threshold for precision, recall and f1; None leaves them out.
        resamples: R, the number of draws.
        seed: Seed of the draws.

    Returns:
        float64 [R] for each of recall_at_1, map, ndcg_at_5, micro_ap, best_f1 and recall_at_p90,
        and with a threshold for precision, recall and f1. Empty without queries.
    """
    truth = judgement.truth
    drawn_from = np.unique(truth.groups[truth.queries])
    if not len(drawn_from) or not resamples:
        return {}
    # The place of each group's number among the groups that are drawn; all other numbers get the
    # last place.
    last = len(drawn_from)
    place = np.full(truth.count, last)
    inside = np.isin(truth.groups, drawn_from)
    place[inside] = np.searchsorted(drawn_from, truth.groups[inside])
    query_place = place[truth.queries]
    sampler = np.random.default_rng(seed)
    pairs = _Pairs(judgement, place=place, seed=seed)
    names = ["recall_at_1", "map", "ndcg_at_5", "micro_ap", "best_f1", "recall_at_p90"]
    names += ["precision", "recall", "f1"] if threshold is not None else []
    draws = {name: np.zeros(resamples) for name in names}
    for number in range(resamples):
        counts = np.bincount(sampler.integers(0, last, last), minlength=last + 1).astype(float)
        counts[last] = 1
        weight = counts[query_place]
        values = {
            "recall_at_1": weight @ judgement.found_first / weight.sum(),
            "map": weight @ judgement.average_precision / weight.sum(),
            "ndcg_at_5": weight @ judgement.ndcg / weight.sum(),
            **pairs.figures(counts, threshold=threshold),
        }
        for name, value in values.items():
            draws[name][number] = value
    return draws


def intervals(draws: Mapping[str, Draws]) -> dict[str, list[float]]:
    """Return the 2.5th and the 97.5th percentile of each figure."""
    return {
        name: [float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))]
        for name, values in draws.items()
    }


class _Pairs:
    """The pairs by falling score: true ones, the hardest false ones, and the others as counts."""

    def __init__(self, judgement: Judgement, *, place: Ints, seed: int) -> None:
        matches, scores = judgement.truth.matches, judgement.true_scores
        self._share = 1.0
        if len(scores) > _MOST_PAIRS:
            chosen = np.random.default_rng(seed).choice(len(scores), _MOST_PAIRS, replace=False)
            self._share = _MOST_PAIRS / len(scores)
            matches, scores = matches[chosen], scores[chosen]
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        self._true_place = place[matches[order, 0]]
        self._thresholds, begin = np.unique(-scores, return_index=True)
        self._thresholds = -self._thresholds  # falling
        self._last = np.append(begin[1:], len(scores)) - 1  # true pairs down to a threshold

        hard, pairs = judgement.false_scores, judgement.false_pairs
        self._first_place, self._second_place = place[pairs[:, 0]], place[pairs[:, 1]]
        self._same = self._first_place == self._second_place
        self._hard_scores = hard
        self._hard_above = self._count(hard, self._thresholds)
        # False pairs outside the list count the same in every draw.
        self._fixed = judgement.false_at_least(self._thresholds) - self._hard_above
        self._judgement = judgement

    @staticmethod
    def _count(falling: Ints, scores: Ints) -> Ints:
        """Return for each score how many of the descending scores are at least as high."""
        return np.searchsorted(-falling, -scores, side="right").astype(np.int64)

    def figures(self, counts: Draws, *, threshold: float | None) -> dict[str, float]:
        """Return the figures of pairs when each group counts as often as it was drawn.

        Args:
            counts: How often each group was drawn.
            threshold: The threshold for precision, recall and f1; None leaves them out.
        """
        true = np.cumsum(counts[self._true_place])
        total = max(float(true[-1]), 1e-12)
        both = counts[self._first_place] * np.where(self._same, 1.0, counts[self._second_place])
        false = np.concatenate([[0.0], np.cumsum(both)])
        hits = true[self._last]
        wrong = (false[self._hard_above] + self._fixed) * self._share
        precision = hits / np.maximum(hits + wrong, 1e-12)
        recall = hits / total
        f1 = 2 * hits / np.maximum(hits + wrong + total, 1e-12)
        reached = recall[precision >= 0.9]  # noqa: PLR2004 - the figure's definition
        values = {
            "micro_ap": float((np.diff(recall, prepend=0.0) * precision).sum()),
            "best_f1": float(f1.max()),
            "recall_at_p90": float(reached.max()) if len(reached) else 0.0,
        }
        if threshold is not None:
            limit = np.array([round(threshold * UNITS)])
            taken = int(np.searchsorted(-self._thresholds, -limit[0], side="right"))
            hit = float(hits[taken - 1]) if taken else 0.0
            listed = self._count(self._hard_scores, limit)
            rest = self._judgement.false_at_least(limit) - listed
            miss = float((false[listed] + rest)[0]) * self._share
            values["precision"] = hit / max(hit + miss, 1e-12)
            values["recall"] = hit / total
            values["f1"] = 2 * hit / max(hit + miss + total, 1e-12)
        return values


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent trials (Wilson 1927).

    Args:
        hits: The number of hits.
        count: The number of trials, at least 1.
    """
    z = 1.959964
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * (share * (1 - share) / count + z * z / (4 * count**2)) ** 0.5 / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)
