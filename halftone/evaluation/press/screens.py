"""Simulate what the press benchmark prints with: screens, ink, paper, letters.

This is made for judging, so it shares nothing with what makes training pairs. A dot screen is a
cell of ranked thresholds (dots grow in the order of an elliptical spot function) laid over the
picture at any period and angle by fixed-point phases. Everything is thresholded hard at three times
the scan's resolution, as an imagesetter does it, and then scanned.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Grey = NDArray[np.uint8]
Kind = Literal["dots", "lines"]

SCAN_DPI: Final = 300
# Device pixels for each pixel of the scan, along a side: 900 dpi.
FINE: Final = 3
_CELL_BITS: Final = 6
_SPREAD: Final = 1.0  # device pixels that ink spreads: 28 µm
_INKED: Final = 104  # of 255; below one half, so that dots gain
_FIBRE: Final = 13
_CONSONANTS: Final = "bcdfghlmnprstvw"
_VOWELS: Final = "aeiou"


def print_through_screen(
    tone: Grey,
    *,
    period: float,
    angle: float,
    kind: Kind = "dots",
    generator: np.random.Generator,
) -> Grey:
    """Print a picture through a screen, and scan it.

    Args:
        tone: [H, W], 0 black, at the scan's resolution.
        period: Distance between two rows of dots, or two lines, in pixels of the scan.
        angle: Angle of the screen, in degrees.
        kind: Dots, or parallel lines that swell.
        generator: Source of randomness for the screen's phase, the paper and the ink.

    Returns:
        The scan, [H, W].
    """
    height, width = tone.shape
    fine = cv2.resize(tone, (width * FINE, height * FINE), interpolation=cv2.INTER_LINEAR)
    limit = thresholds(
        fine.shape[:2],
        period=period * FINE,
        angle=angle,
        kind=kind,
        phase=(float(generator.random()), float(generator.random())),
    )
    ink = np.where(fine < limit, np.uint8(255), np.uint8(0))
    spread = cv2.GaussianBlur(ink, (0, 0), _SPREAD)
    return scan(spread > _INKED, generator=generator)


def thresholds(
    shape: Sequence[int], *, period: float, angle: float, kind: Kind, phase: tuple[float, float]
) -> Grey:
    """Return the thresholds of a screen, uint8 [H, W]: ink falls where the tone is lower.

    Args:
        shape: Height and width in pixels.
        period: Distance between two rows of dots, or two lines, in pixels.
        angle: Angle of the screen, in degrees.
        kind: Dots, or parallel lines that swell.
        phase: The offsets of the screen in its two directions, as shares of a period.
    """
    height, width = shape[0], shape[1]
    turn = np.deg2rad(angle)
    cos, sin = float(np.cos(turn)) / period, float(np.sin(turn)) / period

    def along(across: float, down: float, offset: float) -> NDArray[np.uint8]:
        x = ((np.arange(width) * across + offset) % 1.0 * 2**32).astype(np.uint64)
        y = ((np.arange(height) * down) % 1.0 * 2**32).astype(np.uint64)
        total = x.astype(np.uint32)[None, :] + y.astype(np.uint32)[:, None]
        return (total >> np.uint32(32 - _CELL_BITS)).astype(np.uint8)

    first = along(cos, sin, phase[0])
    if kind == "lines":
        lines: Grey = _line()[first]
        return lines
    dots: Grey = _cell()[along(-sin, cos, phase[1]), first]
    return dots


def scan(ink: NDArray[np.bool_], *, generator: np.random.Generator) -> Grey:
    """Scan ink on newsprint at a third of the resolution."""
    height, width = ink.shape[0] // FINE, ink.shape[1] // FINE
    covered = cv2.resize(
        np.where(ink, np.float32(1), np.float32(0)),
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    sheet = paper((height, width), generator=generator)
    black = np.float32(generator.uniform(18, 55))
    printed = sheet + (black - sheet) * covered
    seen = cv2.GaussianBlur(printed, (0, 0), 0.45)
    return seen.clip(0, 255).astype(np.uint8)


def paper(shape: tuple[int, int], *, generator: np.random.Generator) -> NDArray[np.float32]:
    """Make a sheet with a tint, fibres along the machine's direction, a stain: float32 [H, W]."""
    height, width = shape
    speckle = generator.standard_normal((height, width), dtype=np.float32)
    fibres = cv2.blur(speckle, (_FIBRE, 1)) * np.float32(_FIBRE**0.5)
    tint = generator.uniform(198, 247)
    sheet = np.float32(tint) + np.float32(generator.uniform(1.0, 3.5)) * fibres
    x, y = generator.uniform(-0.2, 1.2, 2) * (width, height)
    reach = generator.uniform(0.2, 0.5) * max(shape)
    across = np.exp(-(((np.arange(width) - x) / reach) ** 2)).astype(np.float32)
    down = np.exp(-(((np.arange(height) - y) / reach) ** 2)).astype(np.float32)
    sheet -= np.float32(generator.uniform(0, 14)) * down[:, None] * across[None, :]
    return sheet.clip(0, 255).astype(np.float32)


def write_lines(
    sheet: Grey, *, box: tuple[int, int, int, int], height: int, generator: np.random.Generator
) -> None:
    """Set lines of made-up words into the box (left, top, right, bottom) of a sheet, in place.

    Args:
        sheet: uint8 [H, W].
        box: Left, top, right and bottom, in pixels.
        height: Height of a line with its leading, in pixels.
        generator: Source of randomness for the words.
    """
    left, top, right, bottom = box
    scale = height / 42
    thickness = max(1, round(height / 20))
    for baseline in range(top + (3 * height) // 4, bottom - height // 5 + 1, height):
        x = left
        while True:
            word = _word(generator)
            (width, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_COMPLEX, scale, thickness)
            if x + width > right:
                break
            cv2.putText(
                sheet,
                word,
                (x, baseline),
                cv2.FONT_HERSHEY_COMPLEX,
                scale,
                45,
                thickness,
                cv2.LINE_AA,
            )
            x += width + round(height * 0.4)
        if x == left:
            return  # not even one word has room


def _word(generator: np.random.Generator) -> str:
    syllables = int(generator.integers(1, 5))
    letters = [
        (_CONSONANTS, _VOWELS)[place % 2][int(generator.integers(0, 15 if place % 2 == 0 else 5))]
        for place in range(2 * syllables)
    ]
    return "".join(letters)


@functools.cache
def _cell() -> Grey:
    """Return a cell's thresholds, uint8 [64, 64], with as many pixels for each tone."""
    side = 1 << _CELL_BITS
    x = (np.arange(side) + 0.5) / side * 2 - 1
    # Elliptical dots touch in one direction first, so the middle tones do not jump.
    spot = np.cos(np.pi * x)[None, :] * 0.92 + np.cos(np.pi * x)[:, None] * 1.08
    rank = np.argsort(np.argsort(spot, axis=None, kind="stable"), kind="stable")
    return (1 + rank * 254 // side**2).astype(np.uint8).reshape(side, side)


@functools.cache
def _line() -> Grey:
    side = 1 << _CELL_BITS
    x = (np.arange(side) + 0.5) / side * 2 - 1
    return (1 + (1 - np.abs(x)) * 254).astype(np.uint8)
