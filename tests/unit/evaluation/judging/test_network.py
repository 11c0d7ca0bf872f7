"""Training of the judge, on pairs that can be told by one channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from halftone.evaluation.judging import network
from halftone.matching.looks.judge import CHANNELS, SIDE, Judge
from halftone.vision.judging import STEPS, JudgeNetwork, SeenPair, score


def pair(*, same: bool, overlaps: int = 1, seed: int = 0) -> SeenPair:
    """A pair whose pictures agree, in its last overlap alone, if it is one picture."""
    generator = np.random.default_rng(seed)
    seen = generator.integers(-9, 10, (overlaps, CHANNELS, SIDE, SIDE)).astype(np.int8)
    seen[:, 0] = STEPS
    if same:
        seen[-1, 3, 30:110, 30:110] = STEPS
    return SeenPair(variants=(seen,), same=same, weight=1.0, group=f"{seed % 4}")


@pytest.fixture(scope="module")
def trained() -> JudgeNetwork:
    pairs = [pair(same=bool(seed % 2), overlaps=1 + seed % 3 // 2, seed=seed) for seed in range(16)]
    # Normalisation follows the pairs by a tenth in each step.
    return network.train(pairs, epochs=80, seed=0)


@pytest.mark.soak
def test_it_learns_by_the_most_favourable_overlap(trained):
    pairs = [pair(same=same, overlaps=2, seed=100 + same) for same in (False, True)]
    different, same = score(trained, pairs)
    assert different < 0 < same


def test_the_folded_network_says_what_the_trained_one_says(trained):
    """Another implementation of the same layers: torch's against NumPy's."""
    folded = Judge.from_bytes(network.fold(trained).to_bytes())
    for same in (False, True):
        seen = pair(same=same, seed=7).variants[0].astype(np.float32) / STEPS
        with torch.no_grad():
            expected = float(trained(torch.from_numpy(seen)))
        assert folded(seen[0]) == pytest.approx(expected, abs=0.05)


def test_training_is_repeatable():
    pairs = [pair(same=bool(seed % 2), seed=seed) for seed in range(32)]
    losses: list[list[float]] = [[], []]
    for lost in losses:
        network.train(
            pairs, epochs=1, seed=3, progress=lambda _, loss, lost=lost: lost.append(loss)
        )
    assert losses[0] == losses[1]
