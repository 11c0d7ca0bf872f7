"""Draws scans of pages from the boxes and the text of their descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from halftone.archive.pages import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from halftone.archive.pages import Block, Box

_PAPER, _INK = 236, 40


def draw_page(
    path: Path, *, size: tuple[int, int], blocks: Iterable[Block], scale: float = 1.0
) -> None:
    """Save a scan: grey lines for text, a texture of its own for each picture.

    Args:
        path: Where; its suffix says the format.
        size: Its width and height in pixels.
        blocks: The blocks, in units of which the scan has `scale` pixels.
        scale: Pixels in a unit.
    """
    image = Image.new("L", size, _PAPER)
    pen = ImageDraw.Draw(image)
    for number, block in enumerate(blocks):
        box = _corners(block.box, scale=scale)
        if block.kind is Kind.PICTURE:
            image.paste(make_texture((box[2] - box[0], box[3] - box[1]), seed=number), box[:2])
        for line in block.lines:
            left, top, right, bottom = _corners(line, scale=scale)
            for x in range(left, right, 14):
                pen.rectangle((x, top + 2, min(x + 8, right), max(top + 2, bottom - 2)), fill=_INK)
    image.save(path, quality=90)


def make_texture(size: tuple[int, int], *, seed: int) -> Image.Image:
    """Return a picture that no other seed has: smooth noise in grey."""
    noise = np.random.default_rng(seed).integers(0, 200, (12, 12), dtype=np.uint8)
    width, height = max(1, size[0]), max(1, size[1])
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _corners(box: Box, *, scale: float) -> tuple[int, int, int, int]:
    edges = (box.x, box.y, box.right, box.bottom)
    left, top, right, bottom = (round(edge * scale) for edge in edges)
    return left, top, right, bottom
