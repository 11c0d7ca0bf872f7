"""Figures of the furniture benchmark against hand-made outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from halftone.evaluation.furniture.figures import Outcome, count, judge, roc, separate, worst
from halftone.evaluation.resampling import wilson_interval


def outcome(probability: float, *, case: str = "different", strength: int = 1, number: int = 0):
    return Outcome(
        kind="frame",
        case=case,
        strength=strength,
        number=number,
        probability=probability,
        relation="REPRINT" if probability > 0.5 else "UNRELATED",
        inliers=30,
        seconds=0.02,
    )


def test_shares_and_relations_are_counted():
    found = count([outcome(0.95), outcome(0.9), outcome(0.6), outcome(0.1)])
    assert (found["pairs"], found["called"], found["share"]) == (4, 2, 0.5)
    assert found["relations"] == {"REPRINT": 3, "UNRELATED": 1}
    assert found["probability"] == pytest.approx(0.75)
    assert found["interval"] == pytest.approx([0.15, 0.85], abs=0.005)


def test_wilson_interval_holds_the_share_and_stays_inside():
    assert wilson_interval(0, 50) == pytest.approx((0, 0.0714), abs=1e-4)
    assert wilson_interval(50, 50) == pytest.approx((0.9286, 1), abs=1e-4)
    assert wilson_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)


def test_bars_are_for_all_strengths_together():
    different = [outcome(0.95 if number == 0 else 0.1, number=number) for number in range(100)]
    assert judge(different)["passes"], "one of a hundred is allowed"
    assert not judge([*different, outcome(0.91)])["passes"]
    same = [
        outcome(0.2 if number < 3 else 0.99, case="moved", number=number, strength=1 + number % 2)
        for number in range(100)
    ]
    found = judge(same)
    assert found["passes"]
    assert found["same"]
    assert found["bar"] == 0.97
    assert found["strengths"]["1"]["share"] == pytest.approx(0.96)
    assert found["strengths"]["2"]["share"] == pytest.approx(0.98)
    assert not judge([*same, outcome(0.2, case="moved")])["passes"]


def test_area_under_the_curve_is_that_of_scikit_learn_with_ties():
    generator = np.random.default_rng(2)
    outcomes, truth, scores = [], [], []
    for number in range(80):
        same = number % 3 == 0
        score = round(float(np.clip(generator.normal(0.6 if same else 0.45, 0.2), 0, 1)), 1)
        outcomes.append(outcome(score, case="again" if same else "different"))
        truth.append(same)
        scores.append(score)
    found = separate(outcomes)
    assert found["auc"] == pytest.approx(roc_auc_score(truth, scores))
    assert (found["same"], found["different"]) == (27, 53)
    false, true = roc(outcomes)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    area = float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())
    assert area == pytest.approx(found["auc"])


def test_same_at_the_bar_needs_a_threshold_above_the_different():
    same = [outcome(score, case="again") for score in (0.9, 0.8, 0.3)]
    assert separate([*same, outcome(0.5), outcome(0.4)])["same_at_bar"] == pytest.approx(2 / 3)
    assert separate([*same, outcome(0.95)])["same_at_bar"] == 0
    assert separate(same)["auc"] is None


def test_the_worst_come_first_and_what_is_right_does_not_come():
    found = worst(
        [
            outcome(0.93),
            outcome(0.99, strength=2),
            outcome(0.3),
            outcome(0.05, case="moved"),
            outcome(0.7, case="moved"),
            outcome(0.95, case="moved"),
        ]
    )
    assert [one.probability for one in found] == [0.99, 0.93, 0.05, 0.7]
