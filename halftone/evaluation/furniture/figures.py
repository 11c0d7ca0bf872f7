"""Compute the figures of the furniture benchmark: shares, intervals, ROC, verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.furniture.kinds import CASES
from halftone.evaluation.resampling import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

CERTAIN: Final = 0.9
"""The probability from which two pictures are called the same."""
MOST_DIFFERENT: Final = 0.01
"""Of different pictures in the same furniture, at most this share may be called the same."""
FEWEST_SAME: Final = 0.97
"""Of the same pictures, at least this share has to be."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a version says about a pair.

    Attributes:
        kind: The name of the kind of furniture.
        case: The name of the case.
        strength: The strength, from 1.
        number: The number of the pair.
        probability: That both sheets show the same picture.
        relation: The name of a `matching.relation.Relation`.
        inliers: Inliers of the largest overlap.
        seconds: How long the comparison took, without features.
    """

    kind: str
    case: str
    strength: int
    number: int
    probability: float
    relation: str
    inliers: int
    seconds: float

    @property
    def is_same(self) -> bool:
        """Return whether both sheets show the same picture in truth."""
        return CASES[self.case].same

    @property
    def is_called_same(self) -> bool:
        """Return whether they are called the same."""
        return self.probability >= CERTAIN

    @property
    def is_wrong(self) -> bool:
        """Return whether that is not so."""
        return self.is_same != self.is_called_same


def count(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how many of some pairs are called the same.

    Args:
        outcomes: At least one outcome.

    Returns:
        `pairs`; `called`, of these; the `share` with its 95 % `interval` (Wilson); the median
        `probability`; the `relations` with their numbers, the most frequent first.
    """
    called = sum(one.is_called_same for one in outcomes)
    relations = Counter(one.relation for one in outcomes)
    return {
        "pairs": len(outcomes),
        "called": called,
        "share": called / len(outcomes),
        "interval": list(wilson_interval(called, len(outcomes))),
        "probability": float(np.median([one.probability for one in outcomes])),
        "relations": dict(sorted(relations.items(), key=lambda item: (-item[1], item[0]))),
    }


def judge(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of a kind's case: all its pairs, each strength, the bar and the verdict.

    Args:
        outcomes: The outcomes of one kind and case, at least one.
    """
    same = outcomes[0].is_same
    total = count(outcomes)
    strengths = sorted({one.strength for one in outcomes})
    share = total["share"]
    return {
        "same": same,
        "bar": FEWEST_SAME if same else MOST_DIFFERENT,
        "passes": share >= FEWEST_SAME if same else share <= MOST_DIFFERENT,
        "all": total,
        "strengths": {
            str(strength): count([one for one in outcomes if one.strength == strength])
            for strength in strengths
        },
    }


def separate(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return how well the probability separates the same pictures from different ones.

    Args:
        outcomes: Outcomes of any cases.

    Returns:
        `same` and `different`, the numbers of pairs; `auc`, the area under the ROC curve, where a
        tie counts half; `same_at_bar`, the share of the same pictures above the lowest threshold
        that at most `MOST_DIFFERENT` of the different pairs reach; both None if there is only
        one sort of pairs.
    """
    right, wrong = _scores(outcomes)
    figures: dict[str, Any] = {"same": len(right), "different": len(wrong)}
    if not len(right) or not len(wrong):
        return {**figures, "auc": None, "same_at_bar": None}
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    false, true = roc(outcomes)
    return {
        **figures,
        "auc": float(below.mean() / 2 / len(wrong)),
        "same_at_bar": float(true[false <= MOST_DIFFERENT].max()),
    }


def roc(outcomes: Iterable[Outcome]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ROC curve from (0, 0) to (1, 1): shares of different and of same pairs, [K] each.

    Args:
        outcomes: Outcomes with at least one pair of each sort.
    """
    right, wrong = _scores(outcomes)
    limits = np.unique(np.concatenate([right, wrong]))[::-1]
    true = 1 - np.searchsorted(right, limits, side="left") / len(right)
    false = 1 - np.searchsorted(wrong, limits, side="left") / len(wrong)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def worst(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the pairs that are judged wrongly, those that are furthest off first."""
    wrong = [one for one in outcomes if one.is_wrong]
    return sorted(
        wrong,
        key=lambda one: (
            one.probability if one.is_same else -one.probability,
            one.kind,
            one.case,
            one.strength,
            one.number,
        ),
    )


def _scores(outcomes: Iterable[Outcome]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of the same and of different pairs, both ascending."""
    sides: tuple[list[float], list[float]] = ([], [])
    for one in outcomes:
        sides[0 if one.is_same else 1].append(one.probability)
    return np.sort(np.array(sides[0])), np.sort(np.array(sides[1]))
