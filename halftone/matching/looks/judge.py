"""Judges by looking whether two registered pictures show one picture, or share furniture alone.

Tiles say where two pictures agree, not what agrees there: a photograph, or the frame around it, a
masthead, lines of type, a chart on the copy stand, the squares of a board. A small convolutional
network sees both pictures in one frame and gives the logarithm of the odds that what they share
is a picture. `python -m halftone.evaluation.judging` trains it; it runs on NumPy and OpenCV.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.core import errors
from halftone.matching.looks.networks import DAMAGE, convolve, read_weights, write_weights
from halftone.matching.looks.seen import SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = NDArray[np.float32]

FORMAT: Final = 1
PACKAGED: Final = "judge.npz"
CHANNELS: Final = 9
"""The judge sees the first channels of `halftone.matching.looks.seen`."""
STRIDES: Final = (3, 2, 2, 1, 2, 1)
"""Strides of the convolutions. The fourth one's output and the last one's are pooled."""
TAPS: Final = (3, 5)
"""Indices of the convolutions whose outputs are pooled, by mean over the frame and by maximum."""
_NAME: Final = "The judge"


@dataclass(frozen=True, eq=False)
class Judge:
    """The network: convolutions, pooling, and two dense layers.

    Attributes:
        kernels: Of each convolution, float32 [O, I, K, K]; each is followed by a rectifier.
        biases: Of each convolution, float32 [O].
        hidden: Weights and biases of the dense layer over what is pooled, [U, F] and [U].
        output: Weights and bias of the last layer, [U] and [].
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    hidden: tuple[Floats, Floats]
    output: tuple[Floats, Floats]

    def __call__(self, seen: Floats) -> float:
        """Return the logarithm of the odds that both show one picture.

        Args:
            seen: What `seen.describe` returns; its first `CHANNELS` are enough.
        """
        values, pooled = seen[:CHANNELS], []
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            values = convolve(values, kernel, bias, stride=STRIDES[layer])
            if layer in TAPS:
                within = cv2.resize(seen[0], values.shape[:0:-1], interpolation=cv2.INTER_AREA)
                within = within / (within.sum() + np.float32(1e-6))
                pooled += [(values * within).sum(axis=(1, 2)), values.max(axis=(1, 2))]
        weights, biases = self.hidden
        units = np.maximum(weights @ np.concatenate(pooled) + biases, 0)
        return float(self.output[0] @ units + self.output[1])

    @classmethod
    def from_bytes(cls, data: bytes) -> Judge:
        """Read a network that `to_bytes` wrote.

        Raises:
            errors.DataLoss: The file is damaged, or of another format.
        """
        try:
            judge = cls._from_arrays(read_weights(data, name=_NAME, format_number=FORMAT))
            # What does not fit together fails here, and not at the first search.
            if not np.isfinite(judge(np.ones((CHANNELS, SIDE, SIDE), dtype=np.float32))):
                raise ValueError("a number is not finite")
        except DAMAGE as error:
            raise errors.DataLoss(f"{_NAME} is damaged: {error}.") from error
        return judge

    @classmethod
    def _from_arrays(cls, numbers: Mapping[str, Floats]) -> Judge:
        layers = range(len(STRIDES))
        return cls(
            kernels=tuple(numbers[f"kernel{layer}"] for layer in layers),
            biases=tuple(numbers[f"bias{layer}"] for layer in layers),
            hidden=(numbers["hidden"], numbers["hidden_bias"]),
            output=(numbers["output"], numbers["output_bias"]),
        )

    def to_bytes(self) -> bytes:
        """Return the network as a compressed NumPy archive, weights in half precision."""
        arrays = {f"kernel{layer}": kernel for layer, kernel in enumerate(self.kernels)}
        arrays |= {f"bias{layer}": bias for layer, bias in enumerate(self.biases)}
        arrays |= {"hidden": self.hidden[0], "hidden_bias": self.hidden[1]}
        arrays |= {"output": self.output[0], "output_bias": self.output[1]}
        return write_weights(arrays, format_number=FORMAT)


@functools.cache
def load_packaged() -> Judge:
    """Load the packaged network."""
    return Judge.from_bytes((resources.files("halftone.matching.looks") / PACKAGED).read_bytes())
