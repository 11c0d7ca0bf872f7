"""A picture of any mode as 8-bit luminance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def luminance(image: Image.Image) -> NDArray[np.uint8]:
    """Uint8 [H, W]. Alpha is composited on white; samples of more than 8 bits are scaled.

    `halftone.imaging.images.decode` gives "L" or "RGB", which need nothing of the kind.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(np.asarray(image, dtype=np.float32))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(paper, layer)
    grey = image if image.mode == "L" else image.convert("L")
    return np.ascontiguousarray(np.asarray(grey, dtype=np.uint8))


def _scaled(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    scaled: NDArray[np.uint8] = np.rint((finite - low) * (255 / max(high - low, 1e-12))).astype(
        np.uint8
    )
    return scaled
