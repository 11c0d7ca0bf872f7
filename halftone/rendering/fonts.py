"""The font of what is drawn: contact sheets and overlays."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from pathlib import Path

from PIL import ImageFont


@functools.cache
def of_size(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of about so many pixels.

    Pillow's own has no accents; the one that matplotlib carries does, where it is installed.
    """
    found = importlib.util.find_spec("matplotlib")
    for folder in (found and found.submodule_search_locations) or ():
        with contextlib.suppress(OSError):
            path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
            return ImageFont.truetype(path, round(size * 0.9))
    return ImageFont.load_default(size)
