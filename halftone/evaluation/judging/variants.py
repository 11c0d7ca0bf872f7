"""Vary registered pictures as presses, paper, scanners and retouchers do.

Simulated printings lie exactly on each other and keep their tones; real ones are printed on paper
that was not flat, from plates whose lights were cut away. A network that has to judge real pairs
learns from both.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_OFTEN: Final = 0.6
_HALF: Final = 0.5
_SELDOM: Final = 0.3
_RETOUCHED: Final = 0.3
_AREAS: Final = (0.01, 0.1)
"""The smallest and the largest share of a picture that is retouched."""
_LEAST_RANGE: Final = 0.25  # of the tones, which is left between black and white


def print_anew(picture: Floats, *, generator: np.random.Generator) -> Floats:
    """Vary tone, flatness, sharpness, stains and grain of a picture, each with some chance.

    Args:
        picture: 0 to 255, float32 [H, W].
        generator: Draws.
    """
    chance, uniform = generator.random, generator.uniform
    if chance() < _OFTEN:
        picture = _change_tone(picture, generator=generator)
    if chance() < _HALF:
        picture = _bend(picture, by=float(uniform(0.3, 1.6)), generator=generator)
    if chance() < _SELDOM:
        picture = _soften(picture, by=float(uniform(0.5, 1.5)))
    if chance() < _HALF:
        stains = generator.normal(0, uniform(3, 15), (8, 8)).astype(np.float32)
        picture = picture + _enlarge(stains, picture.shape)
    if chance() < _HALF:
        grain = generator.normal(0, uniform(4, 20), picture.shape).astype(np.float32)
        picture = picture + _soften(grain, by=0.8)
    if chance() < _HALF:
        dark, light = uniform(0, 60), uniform(120, 255)
        picture = np.float32(dark) + picture * np.float32((light - dark) / 255)
    return np.clip(picture, 0, 255).astype(np.float32)


def retouch_one(
    first: Floats, second: Floats, *, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Retouch one of two pictures, with some chance: it stays the same picture."""
    if generator.random() >= _RETOUCHED:
        return first, second
    if generator.random() < _HALF:
        return _retouch(first, generator=generator), second
    return first, _retouch(second, generator=generator)


def _change_tone(picture: Floats, *, generator: np.random.Generator) -> Floats:
    """Close shadows, drop out lights, and bend what lies between."""
    uniform = generator.uniform
    if generator.random() < _OFTEN:
        dark, light = uniform(0, 0.3), uniform(0.6, 1)
    else:
        dark, light = uniform(0, 0.55), 1.0
    light = max(light, dark + _LEAST_RANGE)
    tone = np.clip((picture / 255 - dark) / (light - dark), 0, 1)
    return np.asarray(255 * tone ** np.exp(uniform(-0.7, 0.7)), dtype=np.float32)


def _bend(picture: Floats, *, by: float, generator: np.random.Generator) -> Floats:
    """Shift what is seen by a few pixels, smoothly, as paper does that is not flat."""
    height, width = picture.shape
    shifts = [
        _enlarge(generator.normal(0, by, (5, 5)).astype(np.float32), picture.shape)
        for _ in range(2)
    ]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bent = cv2.remap(
        picture, x + shifts[0], y + shifts[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(bent, dtype=np.float32)


def _retouch(picture: Floats, *, generator: np.random.Generator) -> Floats:
    """Paste, paint out, or draw over 1 to 10 % of a picture."""
    height, width = picture.shape
    area = generator.uniform(*_AREAS) * height * width
    form = float(np.exp(generator.uniform(-0.7, 0.7)))
    tall = max(2, int(min(height * 0.8, (area * form) ** 0.5)))
    wide = max(2, int(min(width * 0.8, area / tall)))
    top, left = (int(generator.integers(0, n + 1)) for n in (height - tall, width - wide))
    changed = picture.copy()
    here = slice(top, top + tall), slice(left, left + wide)
    how = int(generator.integers(3))
    if how == 0:
        y, x = (int(generator.integers(0, n + 1)) for n in (height - tall, width - wide))
        changed[here] = picture[y : y + tall, x : x + wide]
    elif how == 1:
        changed[here] = picture[here].mean() + generator.normal(0, 20)
    else:
        changed[here] = _enlarge(generator.uniform(0, 255, (6, 6)).astype(np.float32), (tall, wide))
    return changed


def _enlarge(values: Floats, shape: tuple[int, ...]) -> Floats:
    height, width = shape
    return np.asarray(
        cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32
    )


def _soften(picture: Floats, *, by: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), by), dtype=np.float32)
