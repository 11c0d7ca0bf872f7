"""A small labelled archive on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def write_collection(folder: Path) -> None:
    """Write 40 pictures; 0 and 1 are printings of one picture in two journals."""
    generator = np.random.default_rng(0)
    rows = ["image_id,file,journal,date,rights"]
    blocks = generator.integers(0, 255, (40, 6, 6), dtype=np.uint8)
    blocks[1] = np.clip(blocks[0].astype(int) * 0.7 + 40, 0, 255)
    for number, block in enumerate(blocks):
        pixels = np.kron(block, np.ones((10, 12), dtype=np.uint8))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"p{number},{number}.png,Journal {number % 2},1900,Public domain")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "groups.json").write_text(
        '[{"group": "g", "members": ["p0", "p1"], "composite": false,'
        ' "links": [{"a": "p0", "b": "p1"}]}]'
    )
