"""Computes PDQ, Meta's perceptual hash of 256 bits, with pdqhash.

https://github.com/facebook/ThreatExchange/tree/main/pdq
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pdqhash

from halftone.imaging.luminance import luminance, shrink
from halftone.imaging.orientations import UPRIGHT, Orientation, orientations

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    Bits = NDArray[np.uint8]

DIMENSION: Final = 256
_SIDE: Final = 512  # pixels; PDQ itself averages over 64 x 64 windows


def pdq(image: Image.Image) -> Bits:
    """Return the hash of a picture of any mode: uint8 [256] of 0 and 1, all 0 for a plain one."""
    return _hash(shrink(luminance(image), _SIDE), UPRIGHT)


def pdq_orientations(image: Image.Image) -> dict[Orientation, Bits]:
    """Return the hashes of a picture in each of the eight orientations.

    Each hash is computed from pixels that were turned or mirrored before, since an archive that
    holds a mirrored copy has the hash of that copy's pixels. `pdqhash.compute_dihedral` derives all
    eight from one transform instead. But PDQ samples its windows off centre, so the derived hash
    of a mirrored picture differs from the true one in 30 of 256 bits.
    """
    grey = shrink(luminance(image), _SIDE)
    return {each: _hash(grey, each) for each in orientations(mirrored=True, rotated=True)}


def to_vector(bits: Bits) -> NDArray[np.float32]:
    """Map 0 and 1 to -1 and +1, float32 [256]: cosines are then 1 - 2 * distance / 256."""
    return bits.astype(np.float32) * 2 - 1


def _hash(grey: Bits, orientation: Orientation) -> Bits:
    turned = orientation.apply(grey)
    bits, _ = pdqhash.compute(np.repeat(turned[:, :, None], 3, axis=2))
    return np.asarray(bits, dtype=np.uint8)
