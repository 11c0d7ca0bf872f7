"""From a decoded picture to the network's input: one definition for training, serving and evaluation.

NumPy and Pillow only. Whoever embeds a picture must use the `Preprocessing` stored with the model version: a descriptor is
comparable only with descriptors that were prepared the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TRIM_SIDE = 256  # margins are looked for on a reduced copy: the answer is the same and a 40-megapixel scan costs nothing


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Everything that turns an upright picture into network input.

    size: side of the square input, in pixels. The whole picture is squashed into it, without a centre crop, because a
        reprint keeps its composition but loses its edges.
    trim: the largest fraction of a side that may be cut off as blank paper margin; 0 leaves margins alone.
    trim_tolerance: how far, in grey levels, a margin's pixels may differ from its paper.
    """

    size: int = 128
    trim: float = 0.0
    trim_tolerance: int = 24

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"preprocessing.size must be at least 16 pixels, not {self.size}")
        if not 0.0 <= self.trim < 0.5:
            raise ValueError(f"preprocessing.trim must lie in [0, 0.5), not {self.trim}")

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the luminance of `image` as uint8 [size, size]; `image` is upright and of any mode that converts to L."""
        grey = image if image.mode == "L" else image.convert("L")
        box = (
            margin_box(grey, limit=self.trim, tolerance=self.trim_tolerance)
            if self.trim > 0
            else None
        )
        # Pillow's bilinear filter widens with the reduction, so it averages the screen's dots away instead of aliasing them.
        squashed = grey.resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0
        )
        return np.array(squashed, dtype=np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from `to_dict()`'s result. Raises ValueError on an unknown field: its effect would be lost in silence."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown preprocessing fields: {', '.join(sorted(unknown))}")
        return cls(**values)


def margin_box(
    grey: Image.Image, *, limit: float, tolerance: int
) -> tuple[float, float, float, float]:
    """Return the box (left, top, right, bottom; source pixels) that remains of `grey` without its blank paper margins.

    A line of pixels is blank when at most 3 % of them differ by more than `tolerance` grey levels from the paper, which is the
    brightest decile of the outermost lines. At most `limit` of a side's length goes from each end.
    """
    reduced = grey.copy()
    reduced.thumbnail((_TRIM_SIDE, _TRIM_SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(reduced, dtype=np.int16)
    height, width = pixels.shape
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = np.percentile(border, 90)
    inked = np.abs(pixels - paper) > tolerance
    top, bottom = _blank_ends(inked.mean(axis=1) <= 0.03, limit=int(limit * height))
    left, right = _blank_ends(inked.mean(axis=0) <= 0.03, limit=int(limit * width))
    across, down = grey.width / width, grey.height / height
    return left * across, top * down, (width - right) * across, (height - bottom) * down


def _blank_ends(blank: NDArray[np.bool_], *, limit: int) -> tuple[int, int]:
    """Count the blank lines at the start and at the end of `blank`, at most `limit` each."""
    if limit == 0:
        return 0, 0
    first = int(np.argmin(blank[:limit])) if not blank[:limit].all() else limit
    backwards = blank[::-1][:limit]
    last = int(np.argmin(backwards)) if not backwards.all() else limit
    return first, last
