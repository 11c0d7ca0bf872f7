"""A small archive with printings of known pictures, and a folder whose pictures all differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from halftone.vision.reprinting import reprint
from tests.support.pictures.printed_pages import scene

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


def write_pool(folder: Path, *, count: int) -> None:
    """Write pictures without a manifest."""
    for number in range(count):
        scene(number).save(folder / f"{number}.png")


def write_archive(folder: Path) -> None:
    """Write three pictures; `first` and `again` are printings of one in two journals."""
    pictures = {"first": scene(1), "again": reprint(scene(1), seed=4, side=600), "other": scene(2)}
    journals = {"first": "A", "again": "B", "other": "B"}
    _write(folder, pictures=pictures, journals=journals)
    group = {
        "group": "g",
        "members": ["first", "again"],
        "composite": False,
        "links": [{"a": "first", "b": "again"}],
    }
    (folder / "groups.json").write_text(json.dumps([group]))


def write_different(folder: Path) -> None:
    """Write three pictures of one book; two of them are one picture, which nobody listed."""
    pictures = {"one": scene(3), "two": scene(4), "three": reprint(scene(3), seed=5, side=600)}
    _write(folder, pictures=pictures, journals=dict.fromkeys(pictures, "A"))


def _write(folder: Path, *, pictures: dict[str, Image.Image], journals: dict[str, str]) -> None:
    rows = ["image_id,file,journal,date,rights"]
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
        rows.append(f"{name},{name}.png,{journals[name]},1900,Public domain")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
