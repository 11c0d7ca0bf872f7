"""What the networks see of two registered pictures: what differs, what agrees, how strongly.

Nothing of it depends on which picture comes first, so neither do the networks' answers.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching.tiles import FRAME, find_gradients, level_gradients

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

CHANNELS: Final = 10
SIDE: Final = FRAME // 2
"""Side of what is seen in pixels; what is smaller lies in its middle."""

_AROUND: Final = 35  # pixels of the frame: pictures are levelled by mean and deviation in there
_FLAT: Final = 4.0  # grey values: a deviation of as much is no contrast
_STRONG: Final = 95  # percentile of a picture's gradients
_SPARSE: Final = (slice(None, None, 3),) * 2
"""Every third pixel of every third row is enough for a percentile."""
_MOST: Final = 2.0  # of what is seen in a channel
_DARK, _LIGHT = 2, 98  # percentiles
_RANGE: Final = 20.0  # grey values: the least that lies between dark and light


def describe(first: Floats, second: Floats, inside: Bools) -> Floats:
    """Return what the networks see of two registered pictures.

    Args:
        first: The first picture in the frame, 0 to 255, float32 [H, W], H and W from 2 to `FRAME`.
        second: The second picture in the same frame.
        inside: Where the pictures' frames meet, bool [H, W].

    Returns:
        float32 [10, `SIDE`, `SIDE`], half as large as the frame, 0 outside: where both are seen;
        their levelled mean and difference; the product of their gradients' directions; the weaker
        and stronger gradient, as against what is around it, and as against the whole picture; tone,
        and its difference.
    """
    mask = inside.astype(np.float32)
    (one, tone), (other, toned) = (_level(each, inside, mask) for each in (first, second))
    slopes = [find_gradients(each) for each in (first, second)]
    (ax, ay), (bx, by) = (level_gradients(*each) for each in slopes)
    lengths = np.sqrt(ax * ax + ay * ay), np.sqrt(bx * bx + by * by)
    heights = [_against_strong(np.sqrt(x * x + y * y), inside) for x, y in slopes]
    channels = (
        np.ones_like(mask),
        (one + other) / 3,
        np.abs(one - other) / 2,
        2 * (ax * bx + ay * by),
        np.minimum(*lengths),
        np.maximum(*lengths),
        np.minimum(*heights),
        np.maximum(*heights),
        (tone + toned) / 2 - 0.5,
        2 * np.abs(tone - toned),
    )
    seen = np.zeros((CHANNELS, SIDE, SIDE), dtype=np.float32)
    top, left, height, width = place(mask.shape)
    for channel, values in zip(seen, channels, strict=True):
        shown = (values * mask)[: 2 * height, : 2 * width]
        channel[top : top + height, left : left + width] = cv2.resize(
            shown, (width, height), interpolation=cv2.INTER_AREA
        )
    return np.clip(seen, -_MOST, _MOST, out=seen)


def _level(picture: Floats, inside: Bools, mask: Floats) -> tuple[Floats, Floats]:
    """Return a picture levelled by what is around each pixel, and its tone from dark to light."""
    seen = picture[_SPARSE][inside[_SPARSE]]
    dark, light = np.percentile(seen, (_DARK, _LIGHT)) if len(seen) else (0.0, 255.0)
    tone = np.clip((picture - np.float32(dark)) / np.float32(max(light - dark, _RANGE)), 0, 1)
    # Numbers near 0 keep their digits in the difference of two squares.
    centred = (picture - np.float32((dark + light) / 2)) * mask
    weight = _blur(mask) + np.float32(1e-3)
    mean = _blur(centred) / weight
    deviation = np.sqrt(np.maximum(_blur(centred * centred) / weight - mean * mean, 0))
    levelled = np.clip((centred - mean) / (deviation + np.float32(_FLAT)), -3, 3)
    return levelled.astype(np.float32), tone.astype(np.float32)


def _against_strong(gradients: Floats, inside: Bools) -> Floats:
    seen = gradients[_SPARSE][inside[_SPARSE]]
    strong = float(np.percentile(seen, _STRONG)) if len(seen) else 1.0
    against = np.clip(gradients / np.float32(strong + 0.5), 0, 2)
    return np.asarray(against, dtype=np.float32)


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (_AROUND, _AROUND)), dtype=np.float32)


def place(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return where a frame of a shape lies in what is seen: top, left, height and width."""
    height, width = (side // 2 for side in shape)
    return (SIDE - height) // 2, (SIDE - width) // 2, height, width
