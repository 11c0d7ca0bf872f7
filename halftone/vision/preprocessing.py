"""Prepares a decoded picture for the network, in training, serving and evaluation alike.

NumPy and Pillow only. A picture must be embedded with the `Preprocessing` that is stored with the
model version: a descriptor is comparable only with descriptors that were prepared the same way.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.imaging import images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_SMALLEST: Final = 16
# Margins are looked for on a reduced copy: the answer is the same, and large scans cost nothing.
_TRIM_SIDE: Final = 256
_LARGEST_TRIM: Final = 0.5
_SPECKS: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The settings that turn an upright picture into network input.

    Attributes:
        size: Side of the square input in pixels. The whole picture is squashed into it, without
            a centre crop, because a reprint keeps its composition but loses its edges.
        trim: The largest fraction of a side that is cut off as blank paper margin; 0 cuts nothing.
        trim_tolerance: The largest difference, in grey levels, between a margin's pixels and its
            paper.
    """

    size: int = 128
    trim: float = 0.0
    trim_tolerance: int = 24

    def __post_init__(self) -> None:
        if self.size < _SMALLEST:
            raise ValueError(
                f"preprocessing.size must be at least {_SMALLEST} pixels, not {self.size}"
            )
        if not 0.0 <= self.trim < _LARGEST_TRIM:
            raise ValueError(f"preprocessing.trim must lie in [0, 0.5), not {self.trim}")

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Prepare an upright picture of any mode that converts to L: uint8 [size, size]."""
        grey = image if image.mode == "L" else image.convert("L")
        box = None
        if self.trim > 0:
            box = margin_box(grey, limit=self.trim, tolerance=self.trim_tolerance)
        # Pillow's bilinear filter widens with the reduction, so it averages the screen's dots away
        # instead of aliasing them.
        squashed = grey.resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0
        )
        return np.array(squashed, dtype=np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from what `to_dict` returned.

        Raises:
            ValueError: A field is unknown; its effect would be lost in silence.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown preprocessing fields: {', '.join(sorted(unknown))}")
        return cls(**values)


def prepare_file(
    path: Path, *, preprocessing: Preprocessing
) -> tuple[str, NDArray[np.uint8] | str]:
    """Read a picture file as the embedder does: its sha-256, and the network's input.

    Returns:
        The hash of the file and uint8 [size, size]; or an empty text and the reason, if the file
        cannot be read or holds no usable picture.
    """
    try:
        content = path.read_bytes()
        image = images.decode(
            content, max_pixels=read_max_pixels(), target=2 * preprocessing.size, luminance=True
        )
    except OSError as error:
        return "", str(error)
    except errors.ImageRejected as error:
        return "", error.message
    return hashlib.sha256(content).hexdigest(), preprocessing(image)


def margin_box(
    grey: Image.Image, *, limit: float, tolerance: int
) -> tuple[float, float, float, float]:
    """Return the box that remains of a page without its blank paper margins.

    A line of pixels is blank if next to none of them differ from the paper, which is the brightest
    decile of the outermost lines.

    Args:
        grey: A picture in mode L.
        limit: The largest share of a side that is cut off at each end.
        tolerance: Grey levels by which a pixel may differ from the paper.

    Returns:
        Left, top, right, bottom, in pixels of `grey`.
    """
    reduced = grey.copy()
    reduced.thumbnail((_TRIM_SIDE, _TRIM_SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(reduced, dtype=np.int16)
    height, width = pixels.shape
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = np.percentile(border, 90)
    inked = np.abs(pixels - paper) > tolerance
    top, bottom = _blank_ends(inked.mean(axis=1) <= _SPECKS, limit=int(limit * height))
    left, right = _blank_ends(inked.mean(axis=0) <= _SPECKS, limit=int(limit * width))
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
