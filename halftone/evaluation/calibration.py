"""Fit the probability of a match to evidence, and judge the fit on groups that were left out.

`halftone.evaluation.calibration_samples` collects the pairs. Ordinary ones, and those that were
chosen because they share furniture, are judged apart. No pair is left out of a fit for being hard.

Logistic regression on standardised evidence, with bounds (L-BFGS-B by SciPy); reliability as in
Guo et al., *On Calibration of Modern Neural Networks* (2017), on held-out folds by group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from halftone.core import errors
from halftone.evaluation.resampling import wilson_interval
from halftone.matching.probability import FEATURES, Calibration

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS: Final = 5
BINS: Final = 10
FEWEST_PAIRS: Final = 30
"""The fewest true pairs for a fit."""
_LIKELY: Final = 0.01
"""`ece_likely` leaves out less probable candidates.

They are almost all candidates, and rightly improbable: their share would hide the others.
"""
_EITHER_WAY: Final = ("compared", "has_pdq", "has_words")
"""Flags that say which evidence exists. Only their weights may be negative."""
_INVERSE_REGULARISATION: Final = 1.0
_CONSTANT: Final = 1e-9
_STEEPEST: Final = 500.0


@dataclass(frozen=True, kw_only=True)
class CalibrationSample:
    """Pairs of query and candidate with their evidence and whether they match, as `fit` needs them.

    Attributes:
        features: float64 [P, F], from `evidence_features`.
        unverified: float64 [P, F], the same without the comparison of local features.
        labels: bool [P], whether they are the same picture.
        groups: int64 [P]; pairs of one group are never split between fitting and judging.
        hard: bool [P], whether the pairs were chosen because they share furniture.
        weights: float64 [P], how much each pair counts in a fit.
    """

    features: Floats
    unverified: Floats
    labels: Bools
    groups: Ints
    hard: Bools
    weights: Floats

    def __add__(self, other: CalibrationSample) -> CalibrationSample:
        """Join two samples; their groups stay apart."""
        shift = int(self.groups.max(initial=-1)) + 1
        return CalibrationSample(
            features=np.concatenate([self.features, other.features]),
            unverified=np.concatenate([self.unverified, other.unverified]),
            labels=np.concatenate([self.labels, other.labels]),
            groups=np.concatenate([self.groups, other.groups + shift]),
            hard=np.concatenate([self.hard, other.hard]),
            weights=np.concatenate([self.weights, other.weights]),
        )


def fit(
    sample: CalibrationSample, *, folds: int = FOLDS, seed: int = 0
) -> tuple[Calibration, dict[str, Any]]:
    """Fit a calibration on all pairs, and judge it by cross-validation over groups.

    Args:
        sample: The pairs.
        folds: The number of parts of the cross-validation.
        seed: Seed of the division into parts.

    Returns:
        The calibration, and its figures: `pairs`; `matches`; `ece` (expected calibration error)
        over all candidates; `likely`, the number of candidates with a probability of 0.01 or more,
        and `ece_likely`, their error; `brier`; `precision_at_90` and `recall_at_90` (of candidates
        with 0.9 or more); `bins`, each with the mean `probability`, the `observed` share of
        matches, its 95 % interval `low` and `high`, and `count`; `unverified`, the same figures
        without the comparison of local features; `ordinary` and `hard`, the same figures of the
        pairs that were not and that were chosen for sharing furniture, if there are both.

    Raises:
        errors.InvalidArgument: There are fewer than `FEWEST_PAIRS` matches, or too few groups with
            one.
    """
    matches = int(sample.labels.sum())
    grouped = len(np.unique(sample.groups[sample.labels]))
    if matches < FEWEST_PAIRS or grouped < folds or matches == len(sample.labels):
        raise errors.InvalidArgument(
            f"A calibration needs {FEWEST_PAIRS} true pairs of {folds} groups among the "
            f"candidates, and false ones; there are {matches} of {grouped} groups.",
            field="calibrate_on",
        )
    held_out, unverified = np.empty((2, len(sample.labels)))
    fold_of = _folds(sample, folds=folds, seed=seed)
    for fold in range(folds):
        aside = fold_of == fold
        part = _fit_regression(sample, ~aside)
        held_out[aside] = part.predict(sample.features[aside])
        unverified[aside] = part.predict(sample.unverified[aside])
    judged = figures(held_out, labels=sample.labels)
    judged["unverified"] = figures(unverified, labels=sample.labels)
    if sample.hard.any() and not sample.hard.all():
        for name, chosen in (("ordinary", ~sample.hard), ("hard", sample.hard)):
            judged[name] = figures(held_out[chosen], labels=sample.labels[chosen])
    return _fit_regression(sample, np.ones(len(sample.labels), dtype=np.bool_)), judged


def figures(probabilities: Floats, *, labels: Bools) -> dict[str, Any]:
    """Return the figures of held-out probabilities, as `fit` describes them.

    Args:
        probabilities: The probability of each pair, [P].
        labels: Whether each pair matches, [P].
    """
    likely = probabilities >= _LIKELY
    sure = probabilities >= 0.9  # noqa: PLR2004 - what the figures are named after
    right = int((labels & sure).sum())
    return {
        "pairs": len(labels),
        "matches": int(labels.sum()),
        "ece": _calibration_error(probabilities, labels=labels),
        "ece_likely": _calibration_error(probabilities[likely], labels=labels[likely]),
        "likely": int(likely.sum()),
        "brier": float(((probabilities - labels) ** 2).mean()),
        "precision_at_90": right / max(int(sure.sum()), 1),
        "recall_at_90": right / max(int(labels.sum()), 1),
        "bins": _bins(probabilities[likely], labels=labels[likely]),
    }


def _folds(sample: CalibrationSample, *, folds: int, seed: int) -> Ints:
    """Return the fold of each pair; a group lies in one fold, and every fold has matches."""
    # Imported here because it takes a second.
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    folds_of_pairs = np.empty(len(sample.labels), dtype=np.int64)
    for number, (_, aside) in enumerate(
        splitter.split(sample.features, sample.labels, sample.groups)
    ):
        folds_of_pairs[aside] = number
    return folds_of_pairs


def _fit_regression(sample: CalibrationSample, chosen: Bools) -> Calibration:
    """Fit a calibration on the chosen pairs, each once with and once without the comparison.

    Evidence may only speak for a match: no coefficient but those of `_EITHER_WAY` is below 0. If
    two features say much the same, a free regression sets one against the other: with likeness of
    descriptors free, two copies of one scan are improbable, because boards with other men are as
    alike.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - takes a while to import

    features = np.concatenate([sample.features[chosen], sample.unverified[chosen]])
    signs = np.where(np.tile(sample.labels[chosen], 2), 1.0, -1.0)
    importance = np.tile(sample.weights[chosen], 2)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    # Features that are always the same say nothing.
    scale[scale < _CONSTANT] = 1.0
    standard = (features - mean) / scale

    def loss(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (standard @ weights[:-1] + weights[-1])
        pull = -importance * signs / (1 + np.exp(np.clip(margins, -_STEEPEST, _STEEPEST)))
        penalty = weights[:-1] / _INVERSE_REGULARISATION
        gradient = np.append(pull @ standard + penalty, pull.sum())
        lost = importance @ np.logaddexp(0, -margins)
        return float(lost + penalty @ weights[:-1] / 2), gradient

    free = np.append(np.isin(FEATURES, _EITHER_WAY), True)
    found = minimize(
        loss,
        np.zeros(len(FEATURES) + 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None) if each else (0.0, None) for each in free],
        options={"maxiter": 2000},
    )
    return Calibration(
        mean=mean, scale=scale, coefficients=found.x[:-1], intercept=float(found.x[-1])
    )


def _calibration_error(probabilities: Floats, *, labels: Bools) -> float:
    """Return the mean distance of probabilities from observed shares, over equally wide bins."""
    if not len(labels):
        return 0.0
    return float(
        sum(
            each["count"] * abs(each["probability"] - each["observed"])
            for each in _bins(probabilities, labels=labels)
        )
        / len(labels)
    )


def _bins(probabilities: Floats, *, labels: Bools) -> list[dict[str, float]]:
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    bins = []
    for place in np.unique(places):
        here = places == place
        low, high = wilson_interval(int(labels[here].sum()), int(here.sum()))
        bins.append(
            {
                "probability": float(probabilities[here].mean()),
                "observed": float(labels[here].mean()),
                "low": low,
                "high": high,
                "count": int(here.sum()),
            }
        )
    return bins
