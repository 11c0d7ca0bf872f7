"""Pictures full of corners and blobs, and reprints of them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def scene(seed, *, size=(240, 180)):
    """A picture full of corners and blobs."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 225, (9, 12), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 255, (24, 32), dtype=np.uint8))
    layers = [layer.resize(size, Image.Resampling.BICUBIC) for layer in (coarse, fine)]
    return Image.blend(*layers, 0.5)


def png(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def reprint(picture):
    """Smaller, of another tone, and without its edges."""
    inner = picture.crop((8, 6, picture.width - 8, picture.height - 6))
    smaller = inner.resize((196, 147), Image.Resampling.LANCZOS)
    return smaller.point(lambda value: 40 + value // 2)
