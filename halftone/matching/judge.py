"""Judges by looking whether two registered pictures show one picture, or share furniture alone.

Tiles say where two pictures agree, not what agrees there: a photograph, or the frame around it, a
masthead, lines of type, a chart on the copy stand, the squares of a board. A small convolutional
network sees both pictures in one frame and gives the logarithm of the odds that what they share
is a picture. `python -m halftone.evaluation.judging` trains it; it runs on NumPy and OpenCV.

Nothing that it sees depends on which picture comes first.
"""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.core import errors
from halftone.matching.tiles import FRAME, find_gradients, level_gradients

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FORMAT: Final = 1
PACKAGED: Final = "judge.npz"
CHANNELS: Final = 9
SIDE: Final = FRAME // 2
"""Side of the network's input in pixels; what is smaller lies in its middle."""
STRIDES: Final = (3, 2, 2, 1, 2, 1)
"""Strides of the convolutions. The fourth one's output and the last one's are pooled."""
TAPS: Final = (3, 5)
"""Indices of the convolutions whose outputs are pooled, by mean over the frame and by maximum."""

_AROUND: Final = 35  # pixels of the frame: pictures are levelled by mean and deviation in there
_FLAT: Final = 4.0  # grey values: a deviation of as much is no contrast
_STRONG: Final = 95  # percentile of a picture's gradients
_SPARSE: Final = (slice(None, None, 3),) * 2
"""Every third pixel of every third row is enough for a percentile."""
_MOST: Final = 2.0  # of what is seen in a channel
_DARK, _LIGHT = 2, 98  # percentiles
_RANGE: Final = 20.0  # grey values: the least that lies between dark and light


def describe(first: Floats, second: Floats, inside: Bools) -> Floats:
    """Return what the network sees of two registered pictures.

    Args:
        first: The first picture in the frame, 0 to 255, float32 [H, W], H and W from 2 to `FRAME`.
        second: The second picture in the same frame.
        inside: Where the pictures' frames meet, bool [H, W].

    Returns:
        float32 [9, `SIDE`, `SIDE`], half as large as the frame, 0 outside: where both are seen;
        their levelled mean and difference; the product of their gradients' directions; the weaker
        and stronger gradient, as against what is around it, and as against the whole picture; tone.
    """
    mask = inside.astype(np.float32)
    (one, tone), (other, toned) = (_level(each, inside, mask) for each in (first, second))
    slopes = [find_gradients(each) for each in (first, second)]
    (ax, ay), (bx, by) = (level_gradients(*each) for each in slopes)
    lengths = np.sqrt(ax * ax + ay * ay), np.sqrt(bx * bx + by * by)
    heights = [_against_strong(np.sqrt(x * x + y * y), inside) for x, y in slopes]
    channels = (
        np.ones_like(mask),
        (one + other) / 3,
        np.abs(one - other) / 2,
        2 * (ax * bx + ay * by),
        np.minimum(*lengths),
        np.maximum(*lengths),
        np.minimum(*heights),
        np.maximum(*heights),
        (tone + toned) / 2 - 0.5,
    )
    height, width = (side // 2 for side in mask.shape)
    seen = np.zeros((CHANNELS, SIDE, SIDE), dtype=np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    for channel, values in zip(seen, channels, strict=True):
        shown = (values * mask)[: 2 * height, : 2 * width]
        channel[top : top + height, left : left + width] = cv2.resize(
            shown, (width, height), interpolation=cv2.INTER_AREA
        )
    return np.clip(seen, -_MOST, _MOST, out=seen)


def _level(picture: Floats, inside: Bools, mask: Floats) -> tuple[Floats, Floats]:
    """Return a picture levelled by what is around each pixel, and its tone from dark to light."""
    seen = picture[_SPARSE][inside[_SPARSE]]
    dark, light = np.percentile(seen, (_DARK, _LIGHT)) if len(seen) else (0.0, 255.0)
    tone = np.clip((picture - np.float32(dark)) / np.float32(max(light - dark, _RANGE)), 0, 1)
    # Numbers near 0 keep their digits in the difference of two squares.
    centred = (picture - np.float32((dark + light) / 2)) * mask
    weight = _blur(mask) + np.float32(1e-3)
    mean = _blur(centred) / weight
    deviation = np.sqrt(np.maximum(_blur(centred * centred) / weight - mean * mean, 0))
    levelled = np.clip((centred - mean) / (deviation + np.float32(_FLAT)), -3, 3)
    return levelled.astype(np.float32), tone.astype(np.float32)


def _against_strong(gradients: Floats, inside: Bools) -> Floats:
    seen = gradients[_SPARSE][inside[_SPARSE]]
    strong = float(np.percentile(seen, _STRONG)) if len(seen) else 1.0
    against = np.clip(gradients / np.float32(strong + 0.5), 0, 2)
    return np.asarray(against, dtype=np.float32)


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (_AROUND, _AROUND)), dtype=np.float32)


_DAMAGE: Final = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy raises for a file that is none, or whose arrays do not fit together."""


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
            seen: What `describe` returns, float32 [9, `SIDE`, `SIDE`].
        """
        values, pooled = seen, []
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            values = _convolve(values, kernel, bias, stride=STRIDES[layer])
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
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            if int(values["format"]) != FORMAT:
                raise errors.DataLoss(
                    f"The judge has format {int(values['format'])}; this release reads {FORMAT}."
                )
            judge = cls._from_arrays(values)
            # What does not fit together fails here, and not at the first search.
            if not np.isfinite(judge(np.ones((CHANNELS, SIDE, SIDE), dtype=np.float32))):
                raise ValueError("a number is not finite")
        except _DAMAGE as error:
            raise errors.DataLoss(f"The judge is damaged: {error}.") from error
        return judge

    @classmethod
    def _from_arrays(cls, values: Mapping[str, NDArray[np.generic]]) -> Judge:
        numbers = {
            name: np.asarray(each, dtype=np.float32)
            for name, each in values.items()
            if name != "format"
        }
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
        halves: dict[str, Any] = {
            name: np.asarray(each, dtype=np.float16) for name, each in arrays.items()
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, format=np.int64(FORMAT), **halves)
        return buffer.getvalue()


def _convolve(values: Floats, kernel: Floats, bias: Floats, *, stride: int) -> Floats:
    """Convolve [I, H, W] with [O, I, K, K], zeros around it, and rectify: [O, H', W']."""
    reach = kernel.shape[-1] // 2
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    inputs, height, width = windows.shape[:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(inputs * kernel[0, 0].size, -1)
    summed = kernel.reshape(len(kernel), -1) @ columns + bias[:, None]
    return np.asarray(np.maximum(summed, 0).reshape(-1, height, width), dtype=np.float32)


@functools.cache
def load_packaged() -> Judge:
    """Load the packaged network."""
    return Judge.from_bytes((resources.files("halftone.matching") / PACKAGED).read_bytes())
