"""Smooth pictures, all different, the same for a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smooth(count: int, *, size: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    """Network inputs: uint8 [size, size] each."""
    generator = np.random.default_rng(seed)
    return [
        np.array(
            Image.fromarray(generator.integers(0, 256, (7, 7), dtype=np.uint8)).resize(
                (size, size), Image.Resampling.BICUBIC
            )
        )
        for _ in range(count)
    ]
