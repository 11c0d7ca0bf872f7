"""Converts pictures of any mode to 8-bit luminance, and makes smaller copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def luminance(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a picture of any mode to uint8 [H, W].

    Alpha is composited on white; samples of more than 8 bits are scaled to their own range.
    Pictures from `halftone.imaging.images.decode` are "L" or "RGB" and need neither step.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scale(np.asarray(image, dtype=np.float32))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(paper, layer)
    grey = image if image.mode == "L" else image.convert("L")
    return np.ascontiguousarray(np.asarray(grey, dtype=np.uint8))


def shrink(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale uint8 [H, W] so that neither side exceeds `side` pixels, by averaging.

    A picture that is small enough is returned as it is; nothing is enlarged.
    """
    height, width = grey.shape
    scale = side / max(height, width)
    if scale >= 1:
        return grey
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _scale(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    scaled: NDArray[np.uint8] = np.rint((finite - low) * (255 / max(high - low, 1e-12))).astype(
        np.uint8
    )
    return scaled
