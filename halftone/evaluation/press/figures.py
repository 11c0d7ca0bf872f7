"""Compute the figures of the press benchmark, with intervals by a bootstrap over pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIGURES: Final = {
    "recall_at_1": "R@1",
    "recall_at_10": "R@10",
    "micro_ap": "µAP",
    "recall_at_p90": "R@P90",
    "called": "called the same",
    "false_positives": "false positives",
}
PRECISION: Final = 0.9
_RESAMPLES: Final = 400
_FIRST: Final = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The answer of one system to one query.

    Attributes:
        transformation: The transformation's name.
        strength: The strength's number, from 1.
        source: Row of the picture that was printed anew.
        positive: Whether that picture is in the gallery.
        rank: Rank of that picture, from 1; 0 if it is not among the candidates.
        score: Score of that picture; minus infinity if it is not among the candidates.
        false_scores: Scores of the other candidates, falling.
        rows: The first candidates, as rows of the collection.
        scores: Scores of the first candidates.
        inliers: Inliers of the first candidates, if the system compares local features.
        own_inliers: Inliers of the right picture; -1 if it was not compared.
        corner_error: Mean distance of the region's corners from where the verified overlap puts
            them, as a share of the picture's longer side; nan without an overlap.
    """

    transformation: str
    strength: int
    source: int
    positive: bool
    rank: int
    score: float
    false_scores: NDArray[np.float64]
    rows: tuple[int, ...]
    scores: tuple[float, ...]
    inliers: tuple[int, ...] = ()
    own_inliers: int = -1
    corner_error: float = float("nan")

    def finds(self, threshold: float) -> bool:
        """Return whether the right picture is called the same at this threshold."""
        return self.score >= threshold

    def is_deceived(self, threshold: float) -> bool:
        """Return whether a wrong picture is called the same at this threshold."""
        return bool(len(self.false_scores)) and float(self.false_scores[0]) >= threshold


def figures(
    outcomes: Sequence[Outcome], *, threshold: float, seed: int = 0, resamples: int = _RESAMPLES
) -> dict[str, Any]:
    """Return the figures of one system's outcomes.

    Args:
        outcomes: The outcomes of one strength, of one transformation, or all.
        threshold: The score from which two pictures are called the same.
        seed: Seed of the resampling.
        resamples: The number of draws; 0 leaves the intervals out.

    Returns:
        `FIGURES`; `queries` and `positives`; the mean and the median `corner_error` and the number
        of overlaps behind them; `intervals` of 95 %. A figure over nothing is None.
    """
    positives = [one for one in outcomes if one.positive]
    others = [one for one in outcomes if not one.positive]
    errors = np.array([one.corner_error for one in positives])
    errors = errors[np.isfinite(errors)]
    table = _Table(outcomes, threshold=threshold)
    values = table.figures(np.ones((1, table.count)))
    draws = {}
    if resamples and outcomes:
        draws = table.figures(table.weights(resamples, seed=seed))
    return {
        "queries": len(outcomes),
        "positives": len(positives),
        **{name: _value(samples[0]) for name, samples in values.items()},
        "corner_error_mean": float(errors.mean()) if len(errors) else None,
        "corner_error_median": float(np.median(errors)) if len(errors) else None,
        "overlaps": len(errors),
        "without_match": len(others),
        "intervals": {
            name: [float(np.percentile(samples, end)) for end in (2.5, 97.5)]
            for name, samples in draws.items()
            if np.isfinite(samples).all()
        },
    }


def threshold_at(outcomes: Sequence[Outcome], *, precision: float = PRECISION) -> float:
    """Return the lowest threshold with at least this precision; infinity if there is none.

    This is for systems without a threshold of their own. One threshold is used for all
    transformations and strengths.
    """
    table = _Table(outcomes, threshold=np.inf)
    right = np.cumsum(table.right)
    reached = right / np.arange(1, len(right) + 1) >= precision
    # Pairs of equal score stand or fall together.
    last = np.append(table.pair_scores[1:] != table.pair_scores[:-1], True)
    places = np.flatnonzero(reached & last)
    return float(table.pair_scores[places[-1]]) if len(places) else float("inf")


class _Table:
    """The outcomes as arrays.

    Their pairs are sorted by falling score, among equals a wrong one first.
    """

    def __init__(self, outcomes: Sequence[Outcome], *, threshold: float) -> None:
        sources, place = np.unique([one.source for one in outcomes], return_inverse=True)
        self.count = len(sources)
        self._place = place
        self._positive = np.array([one.positive for one in outcomes], dtype=bool)
        self._of_source = np.zeros(self.count, dtype=bool)
        self._of_source[place] = self._positive
        ranks = np.array([one.rank for one in outcomes])
        self._first = (ranks == 1).astype(float)
        self._ten = ((ranks >= 1) & (ranks <= _FIRST)).astype(float)
        self._called = np.array([one.finds(threshold) for one in outcomes], dtype=float)
        self._deceived = np.array([one.is_deceived(threshold) for one in outcomes], dtype=float)
        true = np.array([one.score for one in outcomes])
        known = np.flatnonzero(self._positive & np.isfinite(true))
        # A wrong pair that scores below every right one changes nothing.
        lowest = true[known].min() if len(known) else np.inf
        wrong = [one.false_scores[one.false_scores >= lowest] for one in outcomes]
        scores = np.concatenate([true[known], *wrong])
        of = np.concatenate(
            [known, np.repeat(np.arange(len(outcomes)), [len(found) for found in wrong])]
        )
        right = np.arange(len(scores)) < len(known)
        order = np.lexsort((right, -scores))
        self.pair_scores, self.right = scores[order], right[order]
        self._pair_place = place[of[order].astype(int)]

    def weights(self, resamples: int, *, seed: int) -> NDArray[np.float64]:
        """Draw how often each source counts, [R, S]; sources with and without a match apart."""
        generator = np.random.default_rng(seed)
        drawn = np.zeros((resamples, self.count))
        for kind in (True, False):
            chosen = np.flatnonzero(self._of_source == kind)
            if len(chosen):
                share = np.full(len(chosen), 1 / len(chosen))
                drawn[:, chosen] = generator.multinomial(len(chosen), share, size=resamples)
        return drawn

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return each figure for each row of weights [R, S]: float64 [R]."""
        of_query = weights[:, self._place]
        positive, other = of_query[:, self._positive], of_query[:, ~self._positive]
        total = positive.sum(axis=1)
        samples = {
            "recall_at_1": _share(positive, self._first[self._positive]),
            "recall_at_10": _share(positive, self._ten[self._positive]),
            "called": _share(positive, self._called[self._positive]),
            "false_positives": _share(other, self._deceived[~self._positive]),
            "micro_ap": np.full(len(weights), np.nan),
            "recall_at_p90": np.full(len(weights), np.nan),
        }
        for row, weight in enumerate(weights):
            if total[row]:
                of_pair = weight[self._pair_place]
                hits = np.cumsum(of_pair * self.right)
                precision = hits / np.maximum(np.cumsum(of_pair), 1e-12)
                gained = (of_pair * precision)[self.right].sum() / total[row]
                reached = hits[precision >= PRECISION]
                samples["micro_ap"][row] = gained
                samples["recall_at_p90"][row] = reached.max() / total[row] if len(reached) else 0.0
        return samples


def _share(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = (weights @ values) / total
    return result


def _value(found: float) -> float | None:
    return float(found) if np.isfinite(found) else None
