"""From evidence to a probability: what speaks for a match, JSON, damage."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from halftone.core import errors
from halftone.matching.overlaps import Overlap, Verification
from halftone.matching.probability import (
    FEATURES,
    PROVEN_PDQ,
    UNCOMPARED,
    Calibration,
    Evidence,
    evidence_features,
)
from tests.support.search.tile_evidence import WHOLE


def overlap(inliers: int, matches: int, **changed: object) -> Overlap:
    values = {
        "query_share": 0.9,
        "candidate_share": 0.9,
        "rotation": 0.0,
        "scale": 1.0,
        "residual": 0.7,
        "evidence": WHOLE,
    } | changed
    square = np.zeros((4, 2), np.float32)
    return Overlap(
        inliers=inliers,
        matches=matches,
        homography=np.eye(3),
        query_polygon=square,
        candidate_polygon=square,
        mirrored=False,
        **values,
    )


def evidence(*overlaps: Overlap, **channels: float) -> Evidence:
    channels = {"similarity": None, "pdq": 0.1, "words": 0.05} | channels
    verification = Verification(overlaps=overlaps, seconds=0.0)
    return Evidence(verification=verification, **channels)


def calibration(**changed: object) -> Calibration:
    count = len(FEATURES)
    values = {
        "mean": np.zeros(count),
        "scale": np.ones(count),
        "coefficients": np.ones(count),
        "intercept": -3.0,
    } | changed
    return Calibration(**values)


def test_features_have_names_and_are_finite():
    for each in (
        evidence(),
        evidence(overlap(20, 30)),
        evidence(overlap(5000, 5000), similarity=1.0, pdq=None, words=None),
        Evidence(similarity=None, pdq=None, words=None, verification=None),
    ):
        features = evidence_features(each)
        assert features.shape == (len(FEATURES),)
        assert features.dtype == np.float64
        assert np.isfinite(features).all()


def test_by_default_the_judge_decides():
    default = Calibration.default()
    chances = [default.probability(evidence(overlap(n, 60))) for n in (6, 12, 30, 60)]
    assert chances == sorted(chances)
    assert default.probability(evidence()) < 0.02
    assert default.probability(evidence(overlap(60, 66), pdq=0.6, words=0.3)) > 0.95
    without = Evidence(similarity=None, pdq=0.1, words=0.05, verification=None)
    assert default.probability(without) < 0.1


def test_a_comparison_in_vain_is_no_evidence():
    channels = {"similarity": 0.9, "pdq": 0.8, "words": 0.0}
    in_vain = Verification(overlaps=(), seconds=0.0, is_conclusive=False)
    without, vain = (Evidence(verification=each, **channels) for each in (None, in_vain))
    # Words of pictures with almost no features are chance.
    without = dataclasses.replace(without, words=None)
    np.testing.assert_array_equal(evidence_features(vain), evidence_features(without))
    default = Calibration.default()
    assert default.probability(vain) > 10 * default.probability(evidence(**channels))
    assert not vain.is_verified_match(0.9)
    assert evidence(overlap(20, 30)).is_verified_match(0.9)
    assert not evidence(overlap(20, 30)).is_verified_match(0.4)


def test_what_was_not_compared_is_never_near_certain_unless_hashes_prove_it():
    steep = calibration(intercept=20.0)
    for verification in (None, Verification(overlaps=(), seconds=0.0, is_conclusive=False)):
        alike = Evidence(similarity=1.0, pdq=0.5, words=1.0, verification=verification)
        assert steep.probability(alike) == UNCOMPARED
        proven = dataclasses.replace(alike, pdq=PROVEN_PDQ)
        assert steep.probability(proven) > 0.99
    assert steep.probability(evidence(overlap(20, 30))) > 0.99


def test_an_overlap_that_no_tile_compares_is_not_certain():
    steep = calibration(intercept=20.0)
    for nothing in (None, dataclasses.replace(WHOLE, count=0)):
        assert steep.probability(evidence(overlap(60, 60, evidence=nothing))) == UNCOMPARED


def test_an_overlap_that_no_tile_compares_is_no_evidence_against():
    default = Calibration.default()
    silent = overlap(60, 65, evidence=None)
    furniture = overlap(60, 65, evidence=dataclasses.replace(WHOLE, judgement=-4.0))
    chances = [default.probability(evidence(each, pdq=0.8)) for each in (furniture, silent)]
    assert chances[0] < 0.3 < chances[1] <= UNCOMPARED


def test_the_judgement_counts_up_to_a_limit():
    default = Calibration.default()
    judged = [
        evidence(overlap(60, 65, evidence=dataclasses.replace(WHOLE, judgement=each)))
        for each in (-50.0, -8.0, 0.0, 4.0, 8.0, 50.0)
    ]
    chances = [default.probability(each) for each in judged]
    assert chances == sorted(chances)
    assert chances[0] == chances[1] < 0.01
    assert chances[-1] == chances[-2] > 0.98


def test_probabilities_are_those_of_each():
    default = Calibration.default()
    some = [evidence(), evidence(overlap(20, 30)), evidence(overlap(60, 60), similarity=0.9)]
    together = default.probabilities(some)
    np.testing.assert_allclose(together, [default.probability(each) for each in some])
    assert default.probabilities([]).shape == (0,)


def test_similarities_alone_are_evidence_of_nothing_else():
    weighed = calibration(coefficients=np.arange(1.0, len(FEATURES) + 1))
    similarities = [-0.2, 0.3, 0.99]
    each = [Evidence(similarity=s, pdq=None, words=None, verification=None) for s in similarities]
    expected = weighed.probabilities(each)
    np.testing.assert_array_equal(weighed.of_similarities(similarities), expected)
    assert sorted(expected) == expected.tolist()
    assert expected[-1] == UNCOMPARED
    assert weighed.of_similarities([]).shape == (0,)


def test_a_table_bends_the_curve():
    plain = calibration()
    bent = calibration(table=[[0.0, 0.0], [0.5, 0.1], [1.0, 1.0]])
    features = np.random.default_rng(0).normal(size=(50, len(FEATURES)))
    features[:, [FEATURES.index("compared"), FEATURES.index("count")]] = 1
    expected = np.interp(plain.predict(features), [0, 0.5, 1], [0, 0.1, 1])
    np.testing.assert_allclose(bent.predict(features), expected)


@pytest.mark.parametrize("table", [None, [[0.0, 0.0], [1.0, 0.9]]])
def test_a_calibration_survives_json(table):
    before = calibration(table=table, intercept=-1.25)
    after = Calibration.from_dict(json.loads(json.dumps(before.to_dict())))
    features = np.random.default_rng(0).normal(size=(5, len(FEATURES)))
    np.testing.assert_array_equal(before.predict(features), after.predict(features))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"format": 99}, "format 99"),
        ({"features": ["x"]}, "other evidence"),
        ({"mean": [1.0]}, "needs"),
        ({"mean": None}, "damaged"),
        ({"scale": [0.0] * len(FEATURES)}, "scale"),
        ({"intercept": float("nan")}, "finite"),
        ({"coefficients": ["a"] * len(FEATURES)}, "damaged"),
        ({"table": [[0.5, 0.5], [0.2, 0.7]]}, "ascend"),
        ({"table": [[0.5, 1.5]]}, "ascend"),
        ({"table": [1, 2]}, "rows"),
    ],
)
def test_a_damaged_calibration_is_data_loss(changed, says):
    with pytest.raises(errors.DataLoss, match=says):
        Calibration.from_dict(calibration().to_dict() | changed)
    for name in ("format", "features", "mean", "intercept"):
        lacking = {key: value for key, value in calibration().to_dict().items() if key != name}
        with pytest.raises(errors.DataLoss, match=name):
            Calibration.from_dict(lacking)
