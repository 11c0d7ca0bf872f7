"""Pictures with something to find in them, drawn, so that tests need no files."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.support.printed_pages import printed_page


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


@pytest.fixture
def picture():
    """A drawn picture by its seed."""
    return scene


@pytest.fixture
def page():
    """A page of text with pictures, set at their left and top."""
    return printed_page
