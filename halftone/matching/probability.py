"""Turns all the evidence for a candidate into one probability.

The probability is a logistic regression on a few features. Inliers, shares, judgement and likeness
can only speak for a match as they grow. `halftone/evaluation/calibration.py` fits it, and the fit
travels with the model version.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from halftone.matching.agreement import TileEvidence
    from halftone.matching.overlaps import Overlap, Verification

Doubles = NDArray[np.float64]

FORMAT: Final = 2
PACKAGED: Final = "calibration.json"

FEATURES: Final = (
    "inliers",
    "agreement",
    "share",
    "judgement",
    "solid",
    "count",
    "similarity",
    "pdq",
    "words",
    "compared",
    "unverified_similarity",
    "unverified_pdq",
    "unverified_words",
    "has_pdq",
    "has_words",
)
"""Names of the features.

The channels have separate columns for pairs without a conclusive comparison.

A high cosine means much if there was no conclusive comparison, and little once the comparison found
nothing.
"""

_GEOMETRY: Final = FEATURES.index("similarity")
_INLIERS: Final = FEATURES.index("inliers")
_COUNT: Final = FEATURES.index("count")
_COMPARED: Final = FEATURES.index("compared")
_UNVERIFIED_PDQ: Final = FEATURES.index("unverified_pdq")
_MOST_JUDGED: Final = 8.0  # logarithm of odds: more makes nothing more certain
_SLACK: Final = 0.02  # of a share: less is noise
_LEAST: Final = float(np.log((1 + _SLACK) / _SLACK))

LIKELY: Final = 0.5
"""The probability from which a match is more likely than not."""
MOST_INLIERS: Final = 60
"""The most inliers that count; further ones make nothing more certain."""
MOST_TILES: Final = 60
"""The most tiles that count."""
PROVEN_PDQ: Final = 0.9
"""The cosine of perceptual hashes from which two pictures are the same without a comparison.

That is 12 of 256 bits. No two different pictures of the press archive have more than 0.42 in any
orientation, and none of press-furniture more than 0.63, where boards and maps are nearly the same.
"""
UNCOMPARED: Final = 0.89
"""The most probable that a pair can be whose local features were not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence that a query and a candidate show the same picture.

    Attributes:
        similarity: Cosine of their descriptors in the best orientation; None if unknown.
        pdq: Cosine of their perceptual hashes, -1 to 1; None if unknown.
        words: Cosine of their visual words, 0 to 1; None if unknown or if one picture has none.
        verification: The comparison of their local features; None if they were not compared.
    """

    similarity: float | None
    pdq: float | None
    words: float | None
    verification: Verification | None

    @property
    def is_compared(self) -> bool:
        """Return whether local features were compared conclusively."""
        return self.verification is not None and self.verification.is_conclusive

    def is_verified_match(self, probability: float) -> bool:
        """Return whether the comparison was conclusive and `probability` is at least `LIKELY`."""
        return self.is_compared and probability >= LIKELY


def evidence_features(evidence: Evidence) -> Doubles:
    """Return the regression's features, float64 [F], named by `FEATURES`; 0 if not known.

    The share of tiles enters as the logarithm of odds: what sets two pictures apart is whether all
    agrees or nearly all, and whether nothing does or a little.
    """
    compared = evidence.is_compared
    overlap = _largest(evidence.verification)
    geometry = [0.0] * _GEOMETRY
    if overlap is not None:
        geometry = [
            float(np.log1p(min(overlap.inliers, MOST_INLIERS))),
            overlap.inliers / max(overlap.matches, 1),
            max(overlap.query_share, overlap.candidate_share),
            *_tile_features(overlap.evidence),
        ]
    # Printers' rules and drawings in two tones have few words, and often the same ones.
    words = evidence.words if compared or evidence.verification is None else None
    channels = [
        0.0 if each is None else each for each in (evidence.similarity, evidence.pdq, words)
    ]
    unknown = [0.0] * len(channels)
    return np.array(
        [
            *geometry,
            *(channels if compared else unknown),
            float(compared),
            *(unknown if compared else channels),
            *(float(each is not None) for each in (evidence.pdq, words)),
        ],
        dtype=np.float64,
    )


def _tile_features(tiles: TileEvidence | None) -> list[float]:
    """Return the features from `judgement` to `count`.

    Without a comparison of tiles, the judgement speaks neither for a match nor against it.
    """
    if tiles is None:
        return [_MOST_JUDGED, 0.0, 0.0]
    return [
        min(max(tiles.judgement, -_MOST_JUDGED), _MOST_JUDGED) + _MOST_JUDGED,
        float(np.log((tiles.solid + _SLACK) / (1 - tiles.solid + _SLACK)) + _LEAST),
        float(np.log1p(min(tiles.count, MOST_TILES))),
    ]


def _largest(verification: Verification | None) -> Overlap | None:
    return verification.overlaps[0] if verification and verification.overlaps else None


class Calibration:
    """Maps evidence to the probability that two pictures are printings of the same picture.

    Args:
        mean: [F], subtracted from the features.
        scale: [F], divides the differences.
        coefficients: [F], coefficients of the logistic regression.
        intercept: Intercept of the logistic regression.
        table: [K, 2], optional isotonic correction: rows of (probability of the regression,
            observed share of matches), both ascending, interpolated linearly. None corrects
            nothing.
        features: Names of the features, `FEATURES`.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] | Doubles,
        scale: Sequence[float] | Doubles,
        coefficients: Sequence[float] | Doubles,
        intercept: float,
        table: Sequence[Sequence[float]] | Doubles | None = None,
    ) -> None:
        self._mean = np.asarray(mean, dtype=np.float64)
        self._scale = np.asarray(scale, dtype=np.float64)
        self._coefficients = np.asarray(coefficients, dtype=np.float64)
        self._intercept = float(intercept)
        self._table = None if table is None else np.asarray(table, dtype=np.float64)
        self._check()

    def _check(self) -> None:
        shapes = {each.shape for each in (self._mean, self._scale, self._coefficients)}
        if shapes != {(len(FEATURES),)}:
            raise ValueError(f"each of mean, scale and coefficients needs {len(FEATURES)} numbers")
        numbers = np.concatenate([self._mean, self._scale, self._coefficients, [self._intercept]])
        if not np.isfinite(numbers).all() or (self._scale <= 0).any():
            raise ValueError("a number is not finite, or a scale is not above 0")
        if self._table is None:
            return
        if self._table.ndim != 2 or self._table.shape[1] != 2 or not len(self._table):  # noqa: PLR2004
            raise ValueError("the table needs rows of two numbers")
        inside = (self._table >= 0) & (self._table <= 1)
        if not inside.all() or (np.diff(self._table, axis=0) < 0).any():
            raise ValueError("the table's columns need to ascend from 0 to 1")

    @classmethod
    def default(cls) -> Calibration:
        """Return the packaged calibration, for model versions without one of their own.

        It ignores the similarity of descriptors.
        """
        return _load_packaged()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Build the calibration from the result of `to_dict`.

        Raises:
            errors.DataLoss: The values are damaged, or of another format.
        """
        try:
            if values["format"] != FORMAT:
                raise errors.DataLoss(
                    f"The calibration has format {values['format']}; this release reads {FORMAT}."
                )
            if tuple(values["features"]) != FEATURES:
                raise errors.DataLoss(
                    "The calibration was fitted on other evidence; it has to be fitted again."
                )
            return cls(
                mean=values["mean"],
                scale=values["scale"],
                coefficients=values["coefficients"],
                intercept=values["intercept"],
                table=values.get("table"),
            )
        except (KeyError, TypeError, ValueError) as error:
            detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise errors.DataLoss(f"The calibration is damaged: {detail}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "features": list(FEATURES),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "coefficients": self._coefficients.tolist(),
            "intercept": self._intercept,
        }
        if self._table is not None:
            values["table"] = self._table.tolist()
        return values

    def probability(self, evidence: Evidence) -> float:
        """Return the probability, 0 to 1, that two pictures are printings of the same picture."""
        return float(self.probabilities([evidence])[0])

    def probabilities(self, evidence: Sequence[Evidence]) -> Doubles:
        """Return the probability for each piece of evidence, float64 [N]."""
        if not evidence:
            return np.empty(0)
        return self.predict(np.stack([evidence_features(each) for each in evidence]))

    def of_similarities(self, similarities: Sequence[float]) -> Doubles:
        """Return the probability for each pair if nothing but its similarity is known, [N]."""
        features = np.zeros((len(similarities), len(FEATURES)))
        features[:, FEATURES.index("unverified_similarity")] = similarities
        return self.predict(features)

    def predict(self, features: Doubles) -> Doubles:
        """Map features, [N, F], to probabilities, float64 [N].

        A pair that was not compared is never near certain, unless its hashes prove it.
        """
        logits = ((features - self._mean) / self._scale) @ self._coefficients + self._intercept
        result: Doubles = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
        if self._table is not None:
            result = np.interp(result, self._table[:, 0], self._table[:, 1])
        # An overlap that is smaller than a tile was not compared either.
        proven = (features[:, _COMPARED] > 0) & (
            (features[:, _INLIERS] <= 0) | (features[:, _COUNT] > 0)
        )
        proven |= features[:, _UNVERIFIED_PDQ] >= PROVEN_PDQ
        return np.where(proven, result, np.minimum(result, UNCOMPARED))


@functools.cache
def _load_packaged() -> Calibration:
    text = (resources.files("halftone.matching") / PACKAGED).read_text(encoding="utf-8")
    return Calibration.from_dict(json.loads(text))
