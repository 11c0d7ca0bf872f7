"""Figures of the press benchmark against hand-made outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from halftone.evaluation.press.figures import Outcome, figures, threshold_at


def outcome(source: int, score: float | None, *false: float, positive: bool = True) -> Outcome:
    falling = np.array(sorted(false, reverse=True), dtype=float)
    rank = 0 if score is None else 1 + int((falling >= score).sum())
    return Outcome(
        transformation="crop",
        strength=1,
        source=source,
        positive=positive,
        rank=rank,
        score=-np.inf if score is None else score,
        false_scores=falling,
        rows=(),
        scores=(),
        corner_error=0.02 if rank == 1 else float("nan"),
    )


def test_queries_without_a_match_count_against_precision():
    outcomes = [
        outcome(0, 0.9, 0.3),
        outcome(1, 0.6, 0.7),
        outcome(2, None, 0.2),
        outcome(3, None, 0.8, positive=False),
    ]
    found = figures(outcomes, threshold=0.75, resamples=0)
    assert found["recall_at_1"] == pytest.approx(1 / 3)
    assert found["recall_at_10"] == pytest.approx(2 / 3)
    # Falling: 0.9 right, 0.8 and 0.7 wrong, 0.6 right.
    assert found["micro_ap"] == pytest.approx((1 + 2 / 4) / 3)
    assert found["recall_at_p90"] == pytest.approx(1 / 3)
    assert found["called"] == pytest.approx(1 / 3)
    assert found["false_positives"] == 1.0
    assert (found["queries"], found["positives"], found["without_match"]) == (4, 3, 1)
    assert (found["corner_error_mean"], found["overlaps"]) == (pytest.approx(0.02), 1)
    assert found["intervals"] == {}


def test_micro_ap_is_that_of_scikit_learn():
    generator = np.random.default_rng(4)
    outcomes, scores, right = [], [], []
    for source in range(30):
        positive = source % 3 != 0
        true, false = float(generator.random()), generator.random(5)
        outcomes.append(outcome(source, true if positive else None, *false, positive=positive))
        scores += [*false, *([true] if positive else [])]
        right += [0] * 5 + [1] * positive
    found = figures(outcomes, threshold=0.5, resamples=0)
    assert found["micro_ap"] == pytest.approx(average_precision_score(right, scores))


def test_ties_are_broken_against_the_match():
    found = figures([outcome(0, 0.5, 0.5)], threshold=0.5, resamples=0)
    assert (found["recall_at_1"], found["micro_ap"]) == (0.0, 0.5)


def test_intervals_resample_sources_and_hold_the_figure():
    outcomes = [outcome(source, 0.9 if source < 8 else 0.1, 0.5) for source in range(10)]
    outcomes += [outcome(20 + n, None, 0.95 if n == 0 else 0.2, positive=False) for n in range(4)]
    found = figures(outcomes, threshold=0.9, seed=1)
    again = figures(outcomes, threshold=0.9, seed=1)
    assert found == again
    low, high = found["intervals"]["recall_at_1"]
    assert low < 0.8 < high
    assert low >= 0
    assert high <= 1
    assert found["intervals"]["false_positives"][0] == 0.0
    # One source many times is one draw: no interval is narrower for repeating it.
    wide = figures(outcomes * 5, threshold=0.9, seed=1)["intervals"]["recall_at_1"]
    assert wide == pytest.approx([low, high])


def test_a_figure_over_nothing_is_none():
    found = figures([outcome(0, 0.9, 0.1)], threshold=0.9, seed=1)
    assert found["false_positives"] is None
    assert "false_positives" not in found["intervals"]
    none = figures([outcome(0, None, 0.1, positive=False)], threshold=0.9, seed=1)
    assert none["recall_at_1"] is None
    assert none["micro_ap"] is None


def test_the_threshold_is_the_lowest_that_keeps_nine_in_ten_right():
    outcomes = [outcome(source, 1 - source / 100, 0.0) for source in range(20)]
    assert threshold_at(outcomes) == pytest.approx(0.81)
    # Two wrong pairs below the tenth leave 10 of 12 right there and 20 of 22 at the end.
    outcomes += [outcome(30 + n, None, 0.895, positive=False) for n in range(2)]
    assert threshold_at(outcomes) == pytest.approx(0.81)
    outcomes += [outcome(40, None, 0.895, positive=False)]
    assert threshold_at(outcomes) == pytest.approx(0.90)
    assert threshold_at([outcome(0, 0.5, 0.5)]) == np.inf
