"""Computes PDQ, Meta's perceptual hash of 256 bits.

https://github.com/facebook/ThreatExchange/tree/main/pdq, "TMK+PDQF and PDQ image hashing" (2019).
PDQ blurs a picture, samples it at 64 x 64 places, takes the 16 x 16 lowest frequencies of a cosine
transform, and compares each with their median. All but the last step are linear, along rows and
along columns, so the frequencies are a product: a matrix for the rows, the pixels, a matrix for the
columns. Mirroring or turning a picture reverses or swaps these matrices.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.imaging.luminance import luminance, shrink
from halftone.imaging.orientations import UPRIGHT, Orientation, orientations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from PIL import Image

    Bits = NDArray[np.uint8]

DIMENSION: Final = 256
_SIDE: Final = 512
"""Pixels of the longer side, to which larger pictures are shrunk."""
_SAMPLES: Final = 64
_FREQUENCIES: Final = 16
_SMALLEST: Final = 5
"""Pixels of the shorter side of a picture that has a hash."""
_NOISE: Final = 1e-6
"""Frequencies below this are rounding errors of a plain picture; one grey level gives 0.01."""


def pdq(image: Image.Image) -> Bits:
    """Return the hash of a picture of any mode: uint8 [256] of 0 and 1, all 0 for a plain one."""
    return _hashes(image, [UPRIGHT])[UPRIGHT]


def pdq_orientations(image: Image.Image) -> dict[Orientation, Bits]:
    """Return the hashes of a picture in each of the eight orientations.

    Each is the hash of the pixels that were turned or mirrored before, since an archive that holds
    a mirrored copy has the hash of that copy's pixels. The reference derives all eight from the
    frequencies of one. But PDQ samples off centre, so a hash that it derives for a mirrored picture
    differs from the true one in 30 of 256 bits.
    """
    return _hashes(image, orientations(mirrored=True, rotated=True))


def to_vector(bits: Bits) -> NDArray[np.float32]:
    """Map 0 and 1 to -1 and +1, float32 [256]: cosines are then 1 - 2 * distance / 256."""
    return bits.astype(np.float32) * 2 - 1


def _hashes(image: Image.Image, wanted: Iterable[Orientation]) -> dict[Orientation, Bits]:
    grey = shrink(luminance(image), _SIDE)
    if min(grey.shape) < _SMALLEST:
        return {each: np.zeros(DIMENSION, np.uint8) for each in wanted}
    rows, columns = (np.stack([basis, basis[:, ::-1]]) for basis in map(_basis, grey.shape))
    # The frequencies [2, 2, 16, 16] with rows and columns as they are and reversed.
    frequencies = (rows @ grey.astype(np.float64))[:, None] @ columns.transpose(0, 2, 1)
    return {each: _to_bits(_lay(frequencies, each)) for each in wanted}


def _lay(frequencies: NDArray[np.float64], orientation: Orientation) -> NDArray[np.float64]:
    """Choose the frequencies of a picture in an orientation from those of `_hashes`."""
    rotation = orientation.rotation
    upside_down = rotation in {90, 180}
    mirrored = orientation.mirrored != (rotation in {180, 270})
    chosen: NDArray[np.float64] = frequencies[int(upside_down), int(mirrored)]
    return chosen.T if rotation in {90, 270} else chosen


def _to_bits(frequencies: NDArray[np.float64]) -> Bits:
    """Compare frequencies with their median. The last one comes first, as in the reference."""
    values = np.where(np.abs(frequencies) < _NOISE, 0.0, frequencies).ravel()
    middle = DIMENSION // 2 - 1
    median = np.partition(values, middle)[middle]
    bits: Bits = (values[::-1] > median).astype(np.uint8)
    return bits


@functools.lru_cache(maxsize=64)
def _basis(length: int) -> NDArray[np.float64]:
    """Return what takes pixels along a side to frequencies: [16, length].

    Two passes of a box filter, samples at the middles of 64 equal parts, and the frequencies 1 to
    16 of their cosine transform.
    """
    window = -(-length // (2 * _SAMPLES))
    half = (window + 2) // 2
    at = np.arange(length)
    start, stop = np.maximum(at - window + half, 0), np.minimum(at + half, length)
    box = ((at >= start[:, None]) & (at < stop[:, None])) / (stop - start)[:, None]
    middles = ((np.arange(_SAMPLES) + 0.5) * length / _SAMPLES).astype(int)
    angles = np.outer(np.arange(1, _FREQUENCIES + 1), 2 * np.arange(_SAMPLES) + 1)
    cosines = np.sqrt(2 / _SAMPLES) * np.cos(np.pi / (2 * _SAMPLES) * angles)
    basis: NDArray[np.float64] = cosines @ (box[middles] @ box)
    return basis
