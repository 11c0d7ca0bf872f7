"""Lay sheets upon each other where they repeat: squares on squares, lines of type on lines.

Different chess diagrams agree by chance where men stand alike, shifted by whole squares. That is
too rare among drawn pairs to learn from, so pairs are laid like that on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching.verification import verify

if TYPE_CHECKING:
    from PIL import Image

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_SIDE: Final = 256  # of the copies in which shifts are found
_LEAST_SHIFT: Final = 0.06  # of the longer side
_LEAST_COMMON: Final = 0.3  # of the area
_PEAKS: Final = 12
_AROUND: Final = 5  # pixels: peaks are this far apart


def find_repeat(
    first: Image.Image, second: Image.Image, *, generator: np.random.Generator
) -> Doubles:
    """Return a shift, [3, 3], that lays the first sheet upon the second where edges meet edges.

    One of the dozen best shifts is drawn, none of them nearly naught.

    Args:
        first: A clean sheet.
        second: Another one of its size.
        generator: Draws.
    """
    scale = _SIDE / max(first.size)
    size = max(2, round(first.width * scale)), max(2, round(first.height * scale))
    edges = [_find_edges(each, size=size) for each in (first, second)]
    meeting = _correlate(*edges)
    common = _correlate(np.ones_like(edges[0]), np.ones_like(edges[1]))
    worth = meeting / np.maximum(common, 1.0)
    worth[common < _LEAST_COMMON * size[0] * size[1]] = -np.inf
    height, width = worth.shape
    y, x = np.mgrid[:height, :width]
    y, x = y - height // 2, x - width // 2
    worth[np.hypot(y, x) < _LEAST_SHIFT * _SIDE] = -np.inf
    around = cv2.dilate(worth.astype(np.float32), np.ones((_AROUND, _AROUND), np.uint8))
    peaks = np.flatnonzero((worth.astype(np.float32) == around) & np.isfinite(worth))
    best = peaks[np.argsort(-worth.ravel()[peaks])[:_PEAKS]]
    at = int(best[generator.integers(len(best))])
    back = first.width / size[0], first.height / size[1]
    return np.array([[1, 0, x.flat[at] * back[0]], [0, 1, y.flat[at] * back[1]], [0, 0, 1.0]])


def _find_edges(sheet: Image.Image, *, size: tuple[int, int]) -> Floats:
    grey = np.asarray(sheet.convert("L").resize(size), dtype=np.float32)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.asarray(edges - edges.mean(), dtype=np.float32)


def _correlate(first: Floats, second: Floats) -> Doubles:
    """Return the correlation for every shift of the first, no shift in the middle."""
    height, width = (2 * side for side in first.shape)
    spectra = [np.fft.rfft2(each, (height, width)) for each in (first, second)]
    return np.asarray(
        np.fft.fftshift(np.fft.irfft2(spectra[0].conj() * spectra[1], (height, width)))
    )


def lay_upon(
    sheets: tuple[LocalFeatures, LocalFeatures],
    printings: tuple[LocalFeatures, LocalFeatures],
    shift: Doubles,
) -> Doubles | None:
    """Return the homography between two printings that a shift of their sheets means.

    Args:
        sheets: Features of the clean sheets.
        printings: Features of their printings.
        shift: [3, 3], takes points of the first sheet to points of the second.

    Returns:
        [3, 3], from the first printing to the second; None if a printing is not found on its sheet.
    """
    found = [
        verify(sheet, printing, mirrored=False).overlaps
        for sheet, printing in zip(sheets, printings, strict=True)
    ]
    if not all(found):
        return None
    first, second = (each[0].homography for each in found)
    homography: Doubles = second @ shift @ np.linalg.inv(first)
    return homography
