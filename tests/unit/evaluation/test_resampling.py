"""Intervals: groups are what varies."""

from __future__ import annotations

import numpy as np
import pytest

from halftone.evaluation.metrics import Cosines, Matrix, Truth, figures, judge
from halftone.evaluation.resampling import intervals, resample


def judgement_of(groups: int, *, noise: float, seed: int = 0):
    generator = np.random.default_rng(seed)
    pictures = generator.normal(size=(groups, 12))
    rows = np.repeat(pictures, 3, axis=0) + noise * generator.normal(size=(3 * groups, 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return judge(Cosines(rows), truth=Truth.of_groups([str(n // 3) for n in range(3 * groups)]))


def test_each_figure_lies_in_its_interval_and_the_seed_decides():
    judgement = judgement_of(20, noise=1.2)
    draws = resample(judgement, threshold=0.6, resamples=200, seed=1)
    found, bounds = figures(judgement, threshold=0.6), intervals(draws)
    assert set(bounds) == {
        *("recall_at_1", "map", "ndcg_at_5", "micro_ap", "best_f1", "recall_at_p90"),
        *("precision", "recall", "f1"),
    }
    for name, (low, high) in bounds.items():
        assert low <= found[name] <= high, name
        assert low < high, name
    again = resample(judgement, threshold=0.6, resamples=200, seed=1)
    assert all((draws[name] == again[name]).all() for name in draws)
    other = resample(judgement, threshold=0.6, resamples=200, seed=2)
    assert any((draws[name] != other[name]).any() for name in draws)


class _Once:
    """Draws every group once: the figures themselves must come out."""

    def integers(self, low, high, size):
        return np.arange(low, high)[:size]


@pytest.mark.parametrize("seed", range(3))
def test_drawing_every_group_once_gives_the_figures(seed, monkeypatch):
    judgement = judgement_of(15, noise=1.5, seed=seed)
    monkeypatch.setattr(np.random, "default_rng", lambda _seed: _Once())
    draws = resample(judgement, threshold=0.5, resamples=1)
    found = figures(judgement, threshold=0.5)
    for name, values in draws.items():
        assert values[0] == pytest.approx(found[name]), name


def test_a_false_pair_counts_as_often_as_both_its_groups(monkeypatch):
    """Group a is drawn twice and b not at all: only false pairs within a's copies are left."""
    scores = np.eye(5)
    for (a, b), value in {(0, 1): 0.6, (2, 3): 0.9, (0, 2): 0.8, (0, 4): 0.7}.items():
        scores[a, b] = scores[b, a] = value
    judgement = judge(Matrix(scores), truth=Truth.of_groups(["a", "a", "b", "b", ""]))

    class Twice:
        def integers(self, low, high, size):
            return np.zeros(size, dtype=np.int64)

    monkeypatch.setattr(np.random, "default_rng", lambda _seed: Twice())
    draws = resample(judgement, threshold=0.5, resamples=1)
    # Two copies of 0-1 are right, two of 0-4 wrong; 0-2 went with b, and so did 2-3.
    assert draws["precision"][0] == pytest.approx(2 / 4)
    assert draws["micro_ap"][0] == pytest.approx(2 / 4)
    assert draws["recall"][0] == 1


def test_without_queries_or_resamples_there_are_no_intervals():
    alone = judge(Matrix(np.eye(2)), truth=Truth.of_groups(["a", "b"]))
    assert intervals(resample(alone, resamples=10)) == {}
    assert resample(judgement_of(3, noise=1.0), resamples=0) == {}
