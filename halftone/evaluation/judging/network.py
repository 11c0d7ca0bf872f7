"""Trains the network in the form that `halftone.matching.looks.judge` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.matching.looks.judge import CHANNELS, STRIDES, TAPS, Judge
from halftone.vision import judging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def train(
    pairs: Sequence[judging.SeenPair],
    *,
    epochs: int,
    seed: int,
    progress: Callable[[int, float], None] = lambda *_: None,
) -> judging.JudgeNetwork:
    """Train the network; arguments as in `halftone.vision.judging.train`."""
    form = judging.Form(channels=CHANNELS, strides=STRIDES, taps=TAPS)
    return judging.train(pairs, form=form, epochs=epochs, seed=seed, progress=progress)


def fold(network: judging.JudgeNetwork) -> Judge:
    """Return the network as `halftone.matching` runs it."""
    kernels, biases, hidden, output = network.fold()
    return Judge(kernels=tuple(kernels), biases=tuple(biases), hidden=hidden, output=output)
