"""Finds by looking where two registered printings of one picture show something else.

A retouched sky, a figure that was removed or pasted in, another man on the board. Tiles tell what
contradicts; what was painted out where little was to be seen contradicts nothing. A small
convolutional network sees both pictures in one frame and gives for each cell of the frame how
probable it is that no press, paper or scanner made the difference there.
`python -m halftone.evaluation.differing` trains it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.core import errors
from halftone.matching.looks.networks import DAMAGE, convolve, read_weights, write_weights
from halftone.matching.looks.seen import CHANNELS, SIDE

Floats = NDArray[np.float32]

FORMAT: Final = 1
PACKAGED: Final = "difference_map.npz"
CELL: Final = 6
"""Side of a cell in pixels of what is seen."""
STRIDES: Final = (3, 2, 1, 1, 1, 1)
"""Strides of the convolutions: from pixels to cells."""
DILATIONS: Final = (1, 1, 1, 2, 4, 8)
"""Dilations of the convolutions: the last ones see the whole frame."""
POOLED: Final = 2
"""The convolution whose mean over the frame is told to each cell: what is usual in this pair. Its
output and those of the ones that follow are weighed at the end."""
_NAME: Final = "The difference map"


@dataclass(frozen=True, eq=False)
class DifferenceMap:
    """The network: convolutions, and a weighted sum of the last ones.

    Attributes:
        kernels: Of each convolution, float32 [O, I, K, K]; each is followed by a rectifier.
        biases: Of each convolution, float32 [O].
        usual: Weights and biases from the pooled convolution's mean to its cells, [O, O] and [O].
        output: Weights and bias of the sum, [F] and [].
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    usual: tuple[Floats, Floats]
    output: tuple[Floats, Floats]

    def __call__(self, seen: Floats) -> Floats:
        """Return how probably each cell differs, float32 [C, C] for C = `SIDE` / `CELL`.

        Args:
            seen: What `seen.describe` returns.
        """
        cells = SIDE // CELL
        inside = cv2.resize(seen[0], (cells, cells), interpolation=cv2.INTER_AREA)
        values, kept = seen, []
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            values = convolve(
                values, kernel, bias, stride=STRIDES[layer], dilation=DILATIONS[layer]
            )
            if layer == POOLED:
                mean = (values * inside).sum(axis=(1, 2)) / (inside.sum() + np.float32(1e-6))
                told = self.usual[0] @ mean + self.usual[1]
                values = np.maximum(values + told[:, None, None], 0)
            if layer >= POOLED:
                kept.append(values)
        weights, bias = self.output
        summed = np.tensordot(weights, np.concatenate(kept), axes=1) + bias
        return np.asarray(1 / (1 + np.exp(-np.clip(summed, -30, 30))), dtype=np.float32)

    @classmethod
    def from_bytes(cls, data: bytes) -> DifferenceMap:
        """Read a network that `to_bytes` wrote.

        Raises:
            errors.DataLoss: The file is damaged, or of another format.
        """
        numbers = read_weights(data, name=_NAME, format_number=FORMAT)
        layers = range(len(STRIDES))
        try:
            network = cls(
                kernels=tuple(numbers[f"kernel{layer}"] for layer in layers),
                biases=tuple(numbers[f"bias{layer}"] for layer in layers),
                usual=(numbers["usual"], numbers["usual_bias"]),
                output=(numbers["output"], numbers["output_bias"]),
            )
            # What does not fit together fails here, and not at the first search.
            if not np.isfinite(network(np.ones((CHANNELS, SIDE, SIDE), dtype=np.float32))).all():
                raise ValueError("a number is not finite")
        except DAMAGE as error:
            raise errors.DataLoss(f"{_NAME} is damaged: {error}.") from error
        return network

    def to_bytes(self) -> bytes:
        """Return the network as a compressed NumPy archive, weights in half precision."""
        arrays = {f"kernel{layer}": kernel for layer, kernel in enumerate(self.kernels)}
        arrays |= {f"bias{layer}": bias for layer, bias in enumerate(self.biases)}
        arrays |= {"usual": self.usual[0], "usual_bias": self.usual[1]}
        arrays |= {"output": self.output[0], "output_bias": self.output[1]}
        return write_weights(arrays, format_number=FORMAT)


@functools.cache
def load_packaged() -> DifferenceMap:
    """Load the packaged network."""
    return DifferenceMap.from_bytes(
        (resources.files("halftone.matching.looks") / PACKAGED).read_bytes()
    )
