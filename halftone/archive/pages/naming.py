"""Names the records of pages and of the pictures on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.archive.pages.model import Block


def make_id(image: Path, *, folder: Path, ambiguous: bool) -> str:
    """Return the image id of a page: its scan's path without suffix, unless two differ by it."""
    path = image.relative_to(folder)
    return (path if ambiguous else path.with_suffix("")).as_posix()


def name_picture(block: Block, *, number: int, used: set[str]) -> str:
    """Return the last part of a picture's image id: its block's own id, or `b` and a number.

    Args:
        block: The picture.
        number: Its number among the pictures of its page, from 1.
        used: The names that the page's other pictures have; the new one is added.
    """
    own = re.sub(r"[^\w.-]+", "_", block.id).strip("._")[:100]
    name = own if own and own not in used else f"b{number}"
    while name in used:
        name += "_"
    used.add(name)
    return name
