"""Probabilities: fitted, judged on groups left out, the same in repeated runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from halftone.core import errors
from halftone.evaluation.calibration import CalibrationSample, figures, fit
from halftone.evaluation.calibration_samples import fit_held_out
from halftone.matching.probability import FEATURES, MOST_INLIERS, Calibration


def sample(
    *, groups: int = 60, each: int = 40, signal: float = 3.0, seed: int = 0
) -> CalibrationSample:
    """Candidates of queries: about one in forty is true, and its evidence is larger."""
    generator = np.random.default_rng(seed)
    count = groups * each
    labels = generator.random(count) < 2 / each
    features = generator.normal(size=(count, len(FEATURES)))
    features[labels] += signal / len(FEATURES) ** 0.5
    features[:, FEATURES.index("compared")] = 1
    return CalibrationSample(
        features=features,
        unverified=np.zeros_like(features),
        labels=labels,
        groups=np.repeat(np.arange(groups), each),
        hard=np.zeros(count, dtype=np.bool_),
        weights=np.ones(count),
    )


def test_probabilities_are_as_often_right_as_they_say():
    calibration, found = fit(sample(groups=400))

    assert found["ece"] <= 0.02
    assert found["ece_likely"] <= 0.05
    assert found["precision_at_90"] >= 0.85
    assert found["matches"] == sample(groups=400).labels.sum()
    for each in found["bins"]:
        assert each["low"] <= each["observed"] <= each["high"]
    assert isinstance(calibration, Calibration)


def test_evidence_that_says_nothing_gives_the_share_of_matches():
    _, found = fit(sample(groups=200, signal=0.0))

    assert all(each["probability"] < 0.3 for each in found["bins"])
    assert found["ece"] <= 0.02


def test_the_figures_are_of_groups_left_out():
    # In each group one feature marks the matches by the group's own sign: what is learnt on the
    # other groups is of no use, which figures on the training data would hide.
    whole = sample(groups=40, signal=0.0)
    sign = np.random.default_rng(1).choice([-1.0, 1.0], size=40)[whole.groups]
    whole.features[:, 1] = 10 * sign * (2 * whole.labels - 1)

    _, found = fit(whole)

    assert found["recall_at_90"] <= 0.2


def test_no_pair_is_left_out_for_being_hard():
    """False pairs with all the evidence of true ones make those doubtful: they are the truth."""
    whole = sample(groups=200)
    inliers = whole.features[:, 0]
    inliers[:] = np.where(whole.labels, np.log1p(MOST_INLIERS), np.minimum(inliers, 1.0))
    before, _ = fit(whole)
    false = np.flatnonzero(~whole.labels)[:: 2 * 40]
    whole.features[false] = whole.features[np.flatnonzero(whole.labels)[: len(false)]]

    after, found = fit(whole)

    assert found["precision_at_90"] < 1
    matches = whole.features[whole.labels]
    assert after.predict(matches).mean() < before.predict(matches).mean() - 0.02


def test_hard_pairs_are_judged_apart():
    hard = sample(groups=80, signal=1.0, seed=1)
    hard.hard[:] = True

    _, found = fit(sample(groups=80) + hard)

    assert found["pairs"] == found["ordinary"]["pairs"] + found["hard"]["pairs"]
    assert found["ordinary"]["brier"] < found["hard"]["brier"]
    assert "hard" not in fit(sample())[1]


def test_a_fit_repeats_itself():
    first, again = fit(sample()), fit(sample())

    assert first[1] == again[1]
    assert first[0].to_dict() == again[0].to_dict()
    assert Calibration.from_dict(json.loads(json.dumps(first[0].to_dict()))).to_dict() == (
        first[0].to_dict()
    )


def test_too_few_matches_are_refused():
    with pytest.raises(errors.InvalidArgument, match="needs 30 true pairs"):
        fit(sample(groups=5))


def test_samples_keep_their_groups_apart():
    both = sample(groups=3) + sample(groups=2)

    assert len(np.unique(both.groups)) == 5
    assert len(both.features) == len(both.labels) == 5 * 40


def test_a_miscalibrated_probability_shows():
    labels = np.arange(1000) % 2 == 0

    assert figures(np.full(1000, 0.9), labels=labels)["ece_likely"] == pytest.approx(0.4)
    assert figures(labels.astype(float), labels=labels)["ece"] == 0


def test_few_pictures_held_out_fit_nothing(tmp_path):
    calibration, found = fit_held_out(None, paths=[tmp_path / "a.jpg"] * 20, seed=0)

    assert calibration is None
    assert "20 pictures were held out" in found["why"]
