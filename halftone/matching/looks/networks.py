"""Runs small convolutional networks on NumPy, and reads and writes their weights."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = NDArray[np.float32]

DAMAGE: Final = (
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


def convolve(
    values: Floats, kernel: Floats, bias: Floats, *, stride: int = 1, dilation: int = 1
) -> Floats:
    """Convolve [I, H, W] with [O, I, K, K], zeros around it, and rectify: [O, H', W'].

    Args:
        values: What is convolved.
        kernel: The weights; K is odd.
        bias: [O], added to the sums.
        stride: The distance of the places where sums are taken.
        dilation: The distance of the values that are summed.
    """
    reach = kernel.shape[-1] // 2 * dilation
    span = 2 * reach + 1
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (span, span), axis=(1, 2))
    windows = windows[:, ::stride, ::stride, ::dilation, ::dilation]
    inputs, height, width = windows.shape[:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(inputs * kernel[0, 0].size, -1)
    summed = kernel.reshape(len(kernel), -1) @ columns + bias[:, None]
    return np.asarray(np.maximum(summed, 0).reshape(-1, height, width), dtype=np.float32)


def read_weights(data: bytes, *, name: str, format_number: int) -> dict[str, Floats]:
    """Read arrays that `write_weights` wrote.

    Args:
        data: The file's bytes.
        name: What to call the network in messages, such as "The judge".
        format_number: The only format that is read.

    Raises:
        errors.DataLoss: The file is damaged, or of another format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            values = {each: file[each] for each in file.files}
        found = int(values.pop("format"))
    except DAMAGE as error:
        raise errors.DataLoss(f"{name} is damaged: {error}.") from error
    if found != format_number:
        raise errors.DataLoss(f"{name} has format {found}; this release reads {format_number}.")
    try:
        return {each: np.asarray(array, dtype=np.float32) for each, array in values.items()}
    except DAMAGE as error:
        raise errors.DataLoss(f"{name} is damaged: {error}.") from error


def write_weights(arrays: Mapping[str, Floats], *, format_number: int) -> bytes:
    """Return arrays as a compressed NumPy archive, in half precision."""
    halves: dict[str, Any] = {
        name: np.asarray(each, dtype=np.float16) for name, each in arrays.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=np.int64(format_number), **halves)
    return buffer.getvalue()
