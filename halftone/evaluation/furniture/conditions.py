"""Print and scan a sheet under moderate conditions: tone, screen, crop, turn, blur, noise.

The steps and screens are the press benchmark's. Two printings of one sheet differ as two issues of
one archive do; nothing is so strong that the press benchmark fails at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from halftone.evaluation.press import steps

if TYPE_CHECKING:
    from halftone.evaluation.furniture.canvas import Grey
    from halftone.evaluation.press.steps import Step

RULINGS: Final = (150, 133, 120, 100, 85)
"""Lines per inch of the screens."""
INCHES: Final = (3.2, 4.0)
"""The shortest and the longest print, along its longer side."""
UNSCREENED: Final = 0.3
"""The share of printings in continuous tone, as photographs and collotypes are."""
DEGREES: Final = 1.5
KEPT: Final = (0.94, 0.99)
"""The smallest and the largest share of the sheet that a scan keeps."""
GAMMA: Final = (1.05, 1.6)
CONTRAST: Final = (0.75, 1.0)
BLUR: Final = (0.0006, 0.0018)
"""Of the longer side."""
NOISE: Final = (1.5, 6.0)
"""Standard deviation of a scanner's noise, of 255."""
QUALITY: Final = (55, 88)
"""Of the JPEG file."""


def print_sheet(pixels: Grey, *, seed: int, screened: bool = True) -> Image.Image:
    """Print a sheet and scan it.

    Args:
        pixels: The sheet, uint8 [H, W].
        seed: Equal arguments give equal scans.
        screened: Whether it may be printed through a halftone screen; screens of computers are not.

    Returns:
        The scan in mode L.
    """
    generator = np.random.default_rng(seed)
    uniform = generator.uniform
    chain: list[Step] = [
        steps.tone(gamma=float(uniform(*GAMMA)), contrast=float(uniform(*CONTRAST)))
    ]
    plain = generator.random() < UNSCREENED
    ruling, inches = int(generator.choice(RULINGS)), float(uniform(*INCHES))
    if screened and not plain:
        chain.append(steps.halftone(lpi=ruling, inches=inches))
    chain += [
        steps.crop(share=float(uniform(*KEPT))),
        steps.rotate(degrees=float(uniform(0.1, DEGREES))),
        steps.blur(share=float(uniform(*BLUR))),
        _add_noise(deviation=float(uniform(*NOISE))),
        steps.jpeg(quality=int(generator.integers(*QUALITY))),
    ]
    image = Image.fromarray(pixels)
    for number, step in enumerate(chain):
        draw = steps.Draw(np.random.default_rng([seed, number]), ())
        image, _ = step(image, draw)
    return image


def _add_noise(*, deviation: float) -> Step:
    def step(image: Image.Image, draw: steps.Draw) -> tuple[Image.Image, steps.Matrix]:
        seen = np.asarray(image, dtype=np.float32)
        noise = draw.generator.standard_normal(seen.shape, dtype=np.float32)
        grain = (seen + np.float32(deviation) * noise).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grain), np.eye(3)

    return step
