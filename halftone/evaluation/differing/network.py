"""Trains the network in the form that `halftone.matching.looks.difference_map` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.matching.looks.difference_map import CELL, DILATIONS, POOLED, STRIDES, DifferenceMap
from halftone.matching.looks.seen import CHANNELS
from halftone.vision import differing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORM: Final = differing.Form(
    channels=CHANNELS, cell=CELL, strides=STRIDES, dilations=DILATIONS, pooled=POOLED
)


def train(
    printings: Sequence[differing.SeenPrinting],
    *,
    epochs: int,
    seed: int,
    progress: Callable[[int, float], None] = lambda *_: None,
) -> differing.DifferenceNetwork:
    """Train the network; arguments as in `halftone.vision.differing.train`."""
    return differing.train(printings, form=FORM, epochs=epochs, seed=seed, progress=progress)


def fold(network: differing.DifferenceNetwork) -> DifferenceMap:
    """Return the network as `halftone.matching` runs it."""
    kernels, biases, usual, output = network.fold()
    return DifferenceMap(kernels=tuple(kernels), biases=tuple(biases), usual=usual, output=output)
