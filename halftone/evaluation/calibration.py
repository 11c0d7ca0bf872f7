"""Fit the probability of a match to evidence, and judge the fit on groups that were left out.

The pairs are the ones that searches compare: every candidate of every query that was compared by
local features, so that chance matches occur as often as a search meets them. For an archive without
labels, printings of its pictures are simulated, and a part of the queries has no match in the
gallery.

Logistic regression (scikit-learn) on standardised evidence; reliability as in Guo et al.,
*On Calibration of Modern Neural Networks* (2017), on held-out folds by group.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from halftone.core import errors
from halftone.evaluation.resampling import wilson_interval
from halftone.imaging import images
from halftone.imaging.orientations import orientations
from halftone.matching.fingerprint import archive_fingerprint, fingerprint
from halftone.matching.offline import Gallery
from halftone.matching.probability import (
    FEATURES,
    MOST_INLIERS,
    Calibration,
    evidence_features,
)
from halftone.vision.reprinting import reprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.truth import Truth
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.probability import Evidence
    from halftone.vision.descriptor_model import DescriptorModel

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
_MAX_PIXELS: Final = 100_000_000
_WITHOUT_MATCH: Final = 0.3
_AREAS: Final = (1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.25, 0.15)
"""Shares of a picture that simulated queries keep."""
_EITHER_WAY: Final = ("compared", "has_pdq", "has_words")
"""Flags that say which evidence exists. Only their weights may be negative."""
_LARGEST_GALLERY: Final = 1_200
"""The most pictures of a training run that are searched. Reading 1,200 takes a core 90 seconds."""
_MOST_QUERIES: Final = 400
_FEWEST_PICTURES: Final = 200
_SIDE: Final = 640  # of a simulated scan, in pixels
_INVERSE_REGULARISATION: Final = 1.0
_THREADS: Final = 2


@dataclass(frozen=True, kw_only=True)
class CalibrationSample:
    """Pairs of query and candidate with their evidence and whether they match, as `fit` needs them.

    Attributes:
        features: float64 [P, F], from `evidence_features`.
        unverified: float64 [P, F], the same without the comparison of local features.
        labels: bool [P], whether they are the same picture.
        groups: int64 [P]; pairs of one group are never split between fitting and judging.
    """

    features: Floats
    unverified: Floats
    labels: Bools
    groups: Ints

    def __add__(self, other: CalibrationSample) -> CalibrationSample:
        """Join two samples; their groups stay apart."""
        shift = int(self.groups.max(initial=-1)) + 1
        return CalibrationSample(
            features=np.concatenate([self.features, other.features]),
            unverified=np.concatenate([self.unverified, other.unverified]),
            labels=np.concatenate([self.labels, other.labels]),
            groups=np.concatenate([self.groups, other.groups + shift]),
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
        without the comparison of local features; `mislabelled`, the number of false pairs that were
        left out of the fit but count as false in all figures.

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
    sound = ~_find_mislabelled(sample)
    for fold in range(folds):
        aside = fold_of == fold
        part = _fit_regression(sample, sound & ~aside)
        held_out[aside] = part.predict(sample.features[aside])
        unverified[aside] = part.predict(sample.unverified[aside])
    judged = figures(held_out, labels=sample.labels)
    judged["unverified"] = figures(unverified, labels=sample.labels)
    judged["mislabelled"] = int((~sound).sum())
    return _fit_regression(sample, sound), judged


def fit_held_out(
    model: DescriptorModel, *, paths: Sequence[Path], seed: int
) -> tuple[Calibration | None, dict[str, Any]]:
    """Fit a calibration on simulated printings of pictures that a model was not trained on.

    Args:
        model: The model as it is published.
        paths: The pictures' files.
        seed: Seed of the choice of pictures, the printings and the folds.

    Returns:
        The calibration and the figures of `fit`, with what they were measured on under `on`; or
        None and the reason under `why`.
    """
    order = np.random.default_rng(seed).permutation(len(paths))[:_LARGEST_GALLERY]
    chosen = [paths[int(at)] for at in order]
    if len(chosen) < _FEWEST_PICTURES:
        why = (
            f"{len(chosen)} pictures were held out; to fit probabilities takes "
            f"{_FEWEST_PICTURES}. Those of the parent hold, or the ones that do without "
            "descriptors; `halftone models calibrate` fits them on a labelled archive."
        )
        return None, {"why": why}
    queries = min(_MOST_QUERIES, len(chosen) // 2)
    try:
        calibration, judged = fit(
            sample_simulated(model, paths=chosen, queries=queries, seed=seed), seed=seed
        )
    except (errors.HalftoneError, OSError) as error:
        # A version without probabilities is worth more than none.
        return None, {"why": str(error)}
    judged["on"] = (
        f"{queries:,} simulated printings, which search among {len(chosen):,} pictures that were "
        "held out of training"
    )
    return calibration, judged


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


def sample_archive(
    *,
    descriptors: NDArray[np.float32],
    views: NDArray[np.float32],
    paths: Sequence[Path],
    truth: Truth,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSample:
    """Let every picture of a labelled archive search the others; return the candidates.

    Pairs that count neither way in `truth` are left out.

    Args:
        descriptors: float32 [N, D], one row for each picture.
        views: float32 [8, N, D], in the order of `orientations`.
        paths: The N pictures' files.
        truth: Which of the N pictures match.
        progress: Called with a number of pictures that were read or searched; the numbers add up to
            2 N.
    """
    gallery = Gallery(descriptors, _fingerprints(paths, progress=progress), threads=_THREADS)
    ways = orientations(mirrored=True, rotated=True)
    # A picture outside every group is a group of its own.
    alone = truth.groups.max() + 1 + np.arange(len(paths))
    groups = np.where(truth.groups >= 0, truth.groups, alone)

    def queries() -> Iterator[tuple[dict[Any, NDArray[np.float32]], Fingerprint, list[int]]]:
        for row, path in enumerate(paths):
            views_of = {way: views[at, row] for at, way in enumerate(ways)}
            ignored = np.flatnonzero(truth.kinds(row, row + 1)[0] == 2)  # noqa: PLR2004 - IGNORED
            yield views_of, fingerprint(_read(path)), ignored.tolist()

    pairs: list[tuple[Evidence, bool, int]] = []
    for row, found in enumerate(gallery.search_all(queries())):
        compared = [each for each in found if each.evidence.verification is not None]
        indices = np.array([each.index for each in compared], dtype=np.int64)
        matches = truth.are_matches(np.full(len(indices), row), indices)
        for each, match in zip(compared, matches, strict=True):
            pairs.append((each.evidence, bool(match), int(groups[row])))
        progress(1)
    return _make_sample(pairs)


def sample_simulated(
    model: DescriptorModel,
    *,
    paths: Sequence[Path],
    queries: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSample:
    """Let simulated printings search for their pictures; three in ten have no match.

    Args:
        model: The model that describes pictures.
        paths: Files of different pictures. Some may show the same picture all the same, so their
            number should not be much larger than the number of candidates of all queries.
        queries: The number of printings.
        seed: The same seed gives the same printings.
        progress: Called with a number of pictures that were read or searched.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(paths))
    queries = min(queries, len(paths) // 2)
    sources = order[:queries]
    absent = set(sources[: round(_WITHOUT_MATCH * queries)].tolist())
    kept = [int(row) for row in order if int(row) not in absent]
    place = {row: at for at, row in enumerate(kept)}
    shown = [paths[row] for row in kept]
    descriptors = np.concatenate(
        [
            model.embed_images([_read(path) for path in shown[start : start + 64]])
            for start in range(0, len(shown), 64)
        ]
    )
    gallery = Gallery(descriptors, _fingerprints(shown, progress=progress), threads=_THREADS)
    ways = orientations(mirrored=True, rotated=True)

    def printings() -> Iterator[tuple[dict[Any, NDArray[np.float32]], Fingerprint, list[int]]]:
        for row in sources.tolist():
            picture = _printing(_read(paths[row]), generator=generator)
            pixels = np.asarray(picture)
            turned = [Image.fromarray(way.apply(pixels)) for way in ways]
            yield dict(zip(ways, model.embed_images(turned), strict=True)), fingerprint(picture), []

    pairs: list[tuple[Evidence, bool, int]] = []
    for source, found in zip(sources.tolist(), gallery.search_all(printings()), strict=True):
        pairs += [
            (each.evidence, place.get(source) == each.index, source)
            for each in found
            if each.evidence.verification is not None
        ]
        progress(1)
    return _make_sample(pairs)


def _printing(picture: Image.Image, *, generator: np.random.Generator) -> Image.Image:
    """Print a part of a picture anew, perhaps mirrored or turned."""
    area = float(generator.choice(_AREAS))
    width, height = (max(16, round(side * area**0.5)) for side in picture.size)
    left = int(generator.integers(max(picture.width - width, 0) + 1))
    top = int(generator.integers(max(picture.height - height, 0) + 1))
    part = picture.crop((left, top, left + width, top + height))
    printed = reprint(
        part,
        seed=int(generator.integers(2**31)),
        mirror=bool(generator.random() < 0.1),  # noqa: PLR2004 - one in ten
        side=_SIDE,
    )
    turn = int(generator.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 3]))
    return Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(printed), k=turn)))


def _fingerprints(paths: Sequence[Path], *, progress: Callable[[int], None]) -> list[Fingerprint]:
    def make(path: Path) -> Fingerprint:
        return archive_fingerprint(_read(path))

    readable = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        for each in pool.map(make, paths):
            readable.append(each)
            progress(1)
    return readable


def _read(path: Path) -> Image.Image:
    return images.decode(path.read_bytes(), max_pixels=_MAX_PIXELS, target=1024, luminance=True)


def _make_sample(pairs: Sequence[tuple[Evidence, bool, int]]) -> CalibrationSample:
    """Make a sample of pairs: the evidence, whether they match, and their group."""

    def stack(rows: Iterable[Evidence]) -> Floats:
        return np.array([evidence_features(row) for row in rows]).reshape(-1, len(FEATURES))

    return CalibrationSample(
        features=stack(evidence for evidence, _, _ in pairs),
        unverified=stack(replace(evidence, verification=None) for evidence, _, _ in pairs),
        labels=np.array([match for _, match, _ in pairs], dtype=np.bool_),
        groups=np.array([group for _, _, group in pairs], dtype=np.int64),
    )


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


def _find_mislabelled(sample: CalibrationSample) -> Bools:
    """Find false pairs in which many local features agree, so that only the label can be wrong.

    No truth is complete, and pictures that printings are simulated of were reprinted themselves. A
    dozen such pairs would make every sound match doubtful.
    """
    inliers = sample.features[:, FEATURES.index("inliers")]
    marked: Bools = ~sample.labels & (inliers >= np.log1p(MOST_INLIERS))
    return marked


def _fit_regression(sample: CalibrationSample, chosen: Bools) -> Calibration:
    """Fit a calibration on the chosen pairs, each once with and once without the comparison.

    Evidence may only speak for a match. If two features say much the same, a regression sets one
    against the other, and a sound match with little of the one is called doubtful. So features that
    would get a weight below 0 are left out, and the others are fitted again.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    features = np.concatenate([sample.features[chosen], sample.unverified[chosen]])
    labels = np.tile(sample.labels[chosen], 2)
    used = np.ones(len(FEATURES), dtype=np.bool_)
    free = np.isin(FEATURES, _EITHER_WAY)
    while True:
        scaler = StandardScaler()
        regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=1000)
        make_pipeline(scaler, regression).fit(features * used, labels)
        against = (regression.coef_[0] < 0) & used & ~free
        if not against.any():
            break
        used &= ~against
    return Calibration(
        mean=np.where(used, scaler.mean_, 0.0),
        scale=np.where(used, scaler.scale_, 1.0),
        coefficients=np.where(used, regression.coef_[0], 0.0),
        intercept=float(regression.intercept_[0]),
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
