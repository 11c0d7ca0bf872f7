"""A small collection of pictures that differ."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A folder with 40 pictures; 0 and 1 are printings of one picture in two journals."""
    folder = tmp_path_factory.mktemp("collection")
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
    return folder
