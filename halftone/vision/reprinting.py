"""Prints one photograph anew at full size: the effects of a press, an archive and a scanner.

NumPy and Pillow only. The amplitude-modulated screen follows Ulichney, *Digital Halftoning* (1987):
ink falls where the tone is darker than a periodic threshold, rotated to the screen's angle.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Floats = NDArray[np.float32]

_CAPTIONED: Final = 0.5
_FRAMED: Final = 0.4
_PLATE_INCHES: Final = 5.0  # the longer side of a picture across two newspaper columns


def reprint(
    image: Image.Image,
    *,
    seed: int,
    screen_lpi: float | None = None,
    max_crop: float = 0.15,
    caption: str | None = "",
    mirror: bool = False,
    side: int = 1000,
) -> Image.Image:
    """Simulate another printing of `image` and its scan.

    Args:
        image: An upright picture of any mode.
        seed: The same seed gives the same printing.
        screen_lpi: Lines per inch; None draws from 50 to 133, newspapers to journals.
        max_crop: The largest share of a side that is cut off.
        caption: Text below the picture; "" draws lines that look like one or leaves it out, None
            never prints any.
        mirror: Whether the plate is turned over.
        side: The longer side of the scan, in pixels.

    Returns:
        A picture of mode L: light paper around a screened picture.
    """
    generator = np.random.default_rng(seed)
    picture = _crop(image.convert("L"), generator=generator, limit=max_crop)
    if mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = side / max(picture.size)
    size = (max(16, round(picture.width * scale)), max(16, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    tone = _tone(np.asarray(picture, dtype=np.float32) / 255, generator=generator)
    lpi = screen_lpi or float(generator.choice([50, 65, 85, 100, 120, 133]))
    ink = _screen(tone, period=side / _PLATE_INCHES / lpi, generator=generator)
    sheet = _mount(ink, caption=caption, generator=generator)
    return _scan(sheet, generator=generator)


def _crop(picture: Image.Image, *, generator: np.random.Generator, limit: float) -> Image.Image:
    lost = generator.uniform(0, limit / 2, size=4)
    left, top = lost[0] * picture.width, lost[1] * picture.height
    right, bottom = (1 - lost[2]) * picture.width, (1 - lost[3]) * picture.height
    return picture.crop((round(left), round(top), round(right), round(bottom)))


def _tone(x: NDArray[np.floating[Any]], *, generator: np.random.Generator) -> Floats:
    """Return the engraver's plate: stretched contrast, closed shadows, lights that drop out."""
    low, high = np.percentile(x, [1, 99])
    x = np.clip((x - low) / max(float(high - low), 0.05), 0, 1)
    x = x ** math.exp(generator.uniform(-0.4, 0.4))
    pivot, slope = generator.uniform(0.4, 0.6), generator.uniform(2, 6)
    curve = 1 / (1 + np.exp(-(x - pivot) * slope))
    edges = 1 / (1 + np.exp(-(np.array([0.0, 1.0]) - pivot) * slope))
    result: Floats = (0.06 + 0.88 * (curve - edges[0]) / (edges[1] - edges[0])).astype(np.float32)
    return result


def _screen(x: Floats, *, period: float, generator: np.random.Generator) -> Floats:
    """Return dots of ink, 1 for paper, computed at twice the size so that the dots are round."""
    fine = 2
    height, width = x.shape
    large = np.asarray(
        Image.fromarray(x).resize((width * fine, height * fine), Image.Resampling.BILINEAR),
        dtype=np.float32,
    )
    angle = math.radians(float(generator.choice([15, 45, 75])) + generator.uniform(-2, 2))
    frequency = 2 * math.pi / (max(period, 1.6) * fine)
    v, u = np.mgrid[0 : height * fine, 0 : width * fine].astype(np.float32)
    along = (u * math.cos(angle) + v * math.sin(angle)) * frequency
    across = (v * math.cos(angle) - u * math.sin(angle)) * frequency
    threshold = 0.5 + 0.25 * (np.cos(along) + np.cos(across))
    gain = generator.uniform(0.0, 0.08)  # dots spread on cheap paper
    dots = 1 / (1 + np.exp(-(large - gain - threshold) * 18))
    result: Floats = dots.reshape(height, fine, width, fine).mean(axis=(1, 3), dtype=np.float32)
    return result


def _mount(ink: Floats, *, caption: str | None, generator: np.random.Generator) -> Floats:
    """Put the plate on paper: margins, perhaps a frame line, perhaps a caption."""
    height, width = ink.shape
    margin = round(generator.uniform(0.01, 0.05) * max(ink.shape))
    captioned = bool(caption) or (caption == "" and generator.random() < _CAPTIONED)
    strip = round(0.07 * height) if captioned else 0
    sheet = np.ones((height + 2 * margin + strip, width + 2 * margin), dtype=np.float32)
    sheet[margin : margin + height, margin : margin + width] = ink
    if generator.random() < _FRAMED:
        line = max(1, round(0.002 * max(ink.shape)))
        frame = np.ones_like(sheet, dtype=bool)
        frame[margin + line : margin + height - line, margin + line : margin + width - line] = False
        frame[: margin - line], frame[margin + height + line :] = False, False
        frame[:, : margin - line], frame[:, margin + width + line :] = False, False
        sheet[frame] = 0.15
    if strip:
        text = caption or _gibberish(generator)
        page = Image.fromarray((sheet * 255).astype(np.uint8))
        font = ImageFont.load_default(size=max(8, round(strip * 0.4)))
        place = (sheet.shape[1] / 2, margin + height + strip * 0.55)
        ImageDraw.Draw(page).text(place, text, fill=50, font=font, anchor="mm")
        sheet = np.asarray(page, dtype=np.float32) / 255
    return sheet


def _gibberish(generator: np.random.Generator) -> str:
    lengths = generator.integers(2, 9, size=6)
    letters = "etaoinshrdlu"
    return " ".join("".join(generator.choice(list(letters), size=n)) for n in lengths).capitalize()


def _scan(sheet: Floats, *, generator: np.random.Generator) -> Image.Image:
    """Add paper tone and grain, uneven light, a slight turn and the scanner's blur."""
    height, width = sheet.shape
    paper, black = generator.uniform(0.82, 0.98), generator.uniform(0.03, 0.16)
    grain = generator.normal(0, 0.012, size=sheet.shape).astype(np.float32)
    mottle = Image.fromarray(generator.normal(0, 0.02, size=(24, 24)).astype(np.float32))
    mottle = mottle.resize((width, height), Image.Resampling.BICUBIC)
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = u * generator.normal(0, 0.02) + v * generator.normal(0, 0.02)
    scanned = black + sheet * (paper - black) + grain + np.asarray(mottle) + light
    page = Image.fromarray((np.clip(scanned, 0, 1) * 255).astype(np.uint8))
    angle = float(np.clip(generator.normal(0, 0.8), -2.5, 2.5))
    page = page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=round(paper * 255))
    return page.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 0.9)))
