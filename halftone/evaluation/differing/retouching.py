"""Retouch pictures, so that a network learns what retouching looks like once it is printed.

More and other ways than `halftone.evaluation.retouches` measures: nothing here is used there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

WAYS: Final = ("paste", "clone", "continue", "blend", "paint", "draw")
_AREAS: Final = (0.006, 0.12)
"""The smallest and the largest share of a picture that a spot takes."""
_SEVERAL: Final = 0.3
_HALF: Final = 0.5
_SOFT: Final = (0.002, 0.008)  # of the width: how soft the edge is
_SEEN_AT: Final = 0.006  # of the longer side: what is smaller than this is screen and grain


@dataclass(frozen=True, kw_only=True)
class Retouched:
    """A picture of which a part was changed.

    Attributes:
        picture: uint8 [H, W].
        mask: 1 where it was changed, uint8 [H, W].
        seen: How far the change is seen from a distance, in grey values, float32 [H, W].
    """

    picture: Bytes
    mask: Bytes
    seen: Floats


def retouch(picture: Bytes, other: Bytes, *, way: str, generator: np.random.Generator) -> Retouched:
    """Change a part of a picture.

    Args:
        picture: uint8 [H, W].
        other: The picture that parts are pasted from.
        way: "paste" lays a part of the other picture in, "clone" another part of the same one;
            "continue" and "blend" cover it with what is around, without and with grain; "paint"
            covers it with a grey, and "draw" draws lines over it.
        generator: Draws.
    """
    low, high = np.log(_AREAS)
    mask = _draw_spots(picture.shape, float(np.exp(generator.uniform(low, high))), generator)
    laid = _lay(picture, other, mask, way=way, generator=generator)
    width = picture.shape[1]
    soft = cv2.GaussianBlur(
        mask.astype(np.float32), (0, 0), max(1.0, float(generator.uniform(*_SOFT)) * width)
    )
    changed = picture * (1 - soft) + laid * soft
    far = _SEEN_AT * max(picture.shape)
    seen = np.abs(
        cv2.GaussianBlur(changed.astype(np.float32), (0, 0), far)
        - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), far)
    )
    return Retouched(
        picture=changed.clip(0, 255).astype(np.uint8), mask=mask, seen=seen.astype(np.float32)
    )


def _lay(
    picture: Bytes, other: Bytes, mask: Bytes, *, way: str, generator: np.random.Generator
) -> Floats:
    """Return what lies where the mask is, float32 [H, W]."""
    height, width = picture.shape
    uniform = generator.uniform
    if way == "paste":
        laid = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
    elif way == "clone":
        shift = int(uniform(0.15, 0.85) * height), int(uniform(0.15, 0.85) * width)
        laid = np.roll(picture, shift, axis=(0, 1))
    elif way == "continue":
        laid = cv2.inpaint(picture, mask, 5, cv2.INPAINT_TELEA)
    elif way == "blend":
        kept, reach = (1 - mask).astype(np.float32), 0.06 * width
        weight = cv2.GaussianBlur(kept, (0, 0), reach) + np.float32(1e-3)
        around = cv2.GaussianBlur(picture * kept, (0, 0), reach) / weight
        grain = generator.normal(0, uniform(5, 60), picture.shape).astype(np.float32)
        return np.asarray(around + cv2.GaussianBlur(grain, (0, 0), float(uniform(1, 4))))
    elif way == "paint":
        usual = [np.percentile(picture, 5), picture.mean(), 235.0]
        tone = uniform(0, 255) if generator.random() < _HALF else generator.choice(usual)
        laid = np.full_like(picture, int(tone))
    else:
        laid = _draw_lines(picture, mask, generator=generator)
    return np.asarray(laid, dtype=np.float32)


def _draw_lines(picture: Bytes, mask: Bytes, *, generator: np.random.Generator) -> Bytes:
    laid = picture.copy()
    y, x = np.nonzero(mask)
    tone = int(generator.choice([10, 240]))
    for _ in range(int(generator.integers(2, 9))):
        a, b = generator.integers(len(y), size=2)
        weight = int(max(2, generator.uniform(0.004, 0.02) * picture.shape[1]))
        cv2.line(laid, (int(x[a]), int(y[a])), (int(x[b]), int(y[b])), tone, weight)
    return np.where(mask > 0, laid, picture)


def _draw_spots(shape: tuple[int, ...], share: float, generator: np.random.Generator) -> Bytes:
    """Draw one spot of a share of the area, or up to three, each half as large as the last."""
    height, width = shape
    mask = np.zeros(shape, dtype=np.uint8)
    count = int(generator.integers(1, 4)) if generator.random() < _SEVERAL else 1
    while not mask.any():
        for number in range(count):
            _draw_spot(mask, share * height * width / 2**number, generator=generator)
    return mask


def _draw_spot(mask: Bytes, area: float, *, generator: np.random.Generator) -> None:
    height, width = mask.shape
    uniform, side = generator.uniform, area**0.5
    form = float(np.exp(uniform(-0.7, 0.7)))
    wide, high = min(side * form, 0.9 * width), min(side / form, 0.9 * height)
    x, y = uniform(wide / 2, width - wide / 2), uniform(high / 2, height - high / 2)
    kind = int(generator.integers(3))
    if kind == 0:
        # An ellipse fills pi / 4 of its box.
        axes = max(1, round(wide / np.pi**0.5)), max(1, round(high / np.pi**0.5))
        turn = float(uniform(-40, 40))
        cv2.ellipse(mask, (round(x), round(y)), axes, turn, 0, 360, (1,), -1)
    elif kind == 1:
        first = round(x - wide / 2), round(y - high / 2)
        cv2.rectangle(mask, first, (round(x + wide / 2), round(y + high / 2)), (1,), -1)
    else:
        count = int(generator.integers(5, 12))
        turns = np.sort(uniform(0, 2 * np.pi, count))
        reach = uniform(0.6, 1.3, count)
        corners = [x + reach * np.cos(turns) * wide / 2, y + reach * np.sin(turns) * high / 2]
        cv2.fillPoly(mask, [np.rint(np.stack(corners, axis=1)).astype(np.int32)], (1,))
