"""A file with its right answer, and what such files are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from tests.support.pictures.image_corpus import saved
from tests.support.pictures.scenes import scene

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEIGHT = 203, 152
"""Odd on purpose: what halves sizes rounds them."""
SEED: Final = 1914
DEEP: Final = (8, 10, 12, 14, 16)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and what must become of it.

    Attributes:
        name: What it is.
        make: Returns its bytes.
        pixels: What it must decode to, [height, width] or [height, width, 3]; None if it is to be
            refused.
        tolerance: The largest difference in grey levels.
        reasons: The reasons with which it may be refused.
        says: What the refusal must say.
    """

    name: str
    make: Callable[[], bytes]
    pixels: np.ndarray | None = None
    tolerance: float = 0
    reasons: frozenset[str] = frozenset()
    says: str = ""


def draw_grey(seed: int = SEED) -> np.ndarray:
    """A picture with every tone from 0 to 255, uint8 [HEIGHT, WIDTH]."""
    values = np.asarray(scene(seed, size=(WIDTH, HEIGHT)), dtype=float)
    low, high = values.min(), values.max()
    return ((values - low) * 255 / (high - low)).round().astype(np.uint8)


def draw_colour(seed: int = SEED) -> np.ndarray:
    """Three such pictures as colours, uint8 [HEIGHT, WIDTH, 3]."""
    return np.stack([draw_grey(seed + each) for each in range(3)], axis=2)


GREY, COLOUR = draw_grey(), draw_colour()


def deepen(values: np.ndarray, bits: int) -> np.ndarray:
    """Return the same tones in samples of `bits` bits, uint16."""
    return (values.astype(float) * ((1 << bits) - 1) / 255).round().astype(np.uint16)


def draw_lines(ink: int, paper: int) -> Image.Image:
    """A line drawing, L [HEIGHT, WIDTH]."""
    image = Image.new("L", (WIDTH, HEIGHT), paper)
    pen = ImageDraw.Draw(image)
    rng = np.random.default_rng(SEED)
    for _ in range(30):
        ends = rng.uniform((0, 0), (WIDTH, HEIGHT), (2, 2)).ravel()
        pen.line(list(ends), fill=ink, width=2)
    return image


def encode(values: np.ndarray, kind: str, **options: object) -> bytes:
    return saved(Image.fromarray(values), kind, **options)


def good(
    name: str, make: Callable[[], bytes], pixels: np.ndarray, tolerance: float = 0, says: str = ""
) -> Case:
    return Case(name=name, make=make, pixels=pixels, tolerance=tolerance, says=says)


def bad(name: str, make: Callable[[], bytes], *reasons: str, says: str = "") -> Case:
    return Case(name=name, make=make, reasons=frozenset(reasons), says=says)


def encode_part(kind: str, **options: object) -> Callable[[np.ndarray], bytes]:
    def compress(part: np.ndarray) -> bytes:
        return encode(part[..., 0] if part.shape[2] == 1 else part, kind, **options)

    return compress
