"""Pictures, and pages of real type with pictures on them, drawn, so that tests need no files."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE = 17
COLUMN = 260
GAP = 20


@functools.cache
def scene(seed: int, *, width: int = 480, height: int = 360) -> Image.Image:
    """Figures of many tones and sizes, with grain: a few hundred features, unlike other seeds'."""
    generator = np.random.default_rng(seed)
    image = Image.new("L", (width, height), int(generator.integers(90, 170)))
    draw = ImageDraw.Draw(image)
    for _ in range(160):
        x, y = generator.uniform(0, width), generator.uniform(0, height)
        corners = generator.normal((x, y), generator.uniform(6, 40), size=(5, 2))
        shape = [tuple(map(float, each)) for each in corners]
        draw.polygon(shape, fill=int(generator.integers(0, 256)))
    grain = generator.normal(0, 6, size=(height, width))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), dtype=float) + grain
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def printed_page(
    pictures: Sequence[tuple[Image.Image, tuple[int, int]]] = (),
    *,
    size: tuple[int, int] = (860, 1200),
    seed: int = 0,
    text: bool = True,
) -> Image.Image:
    """Three columns of made-up words, set around pictures at their left and top."""
    generator = np.random.default_rng(seed)
    paper = generator.normal(222, 4, size=(size[1], size[0])).clip(0, 255).astype(np.uint8)
    sheet = Image.fromarray(paper)
    taken = [
        (left - 8, top - 8, left + picture.width + 8, top + picture.height + 8)
        for picture, (left, top) in pictures
    ]
    if text:
        _set_text(sheet, taken=taken, generator=generator)
    for picture, place in pictures:
        sheet.paste(picture, place)
    return sheet


def _set_text(
    sheet: Image.Image, *, taken: list[tuple[int, int, int, int]], generator: np.random.Generator
) -> None:
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for left in range(GAP, sheet.width - COLUMN, COLUMN + GAP):
        for top in range(GAP, sheet.height - 2 * GAP, LINE):
            x = float(left)
            while True:
                letters = generator.integers(97, 123, size=generator.integers(2, 11))
                word = bytes(letters.tolist()).decode()
                length = draw.textlength(word, font=font)
                box = (x, top, x + length, top + LINE)
                if box[2] > left + COLUMN:
                    break
                if not any(_touch(box, other) for other in taken):
                    draw.text((x, top), word, fill=45, font=font)
                x += length + 5


def _touch(a: tuple[float, float, float, float], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
