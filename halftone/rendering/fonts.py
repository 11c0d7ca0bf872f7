"""The font for text in pictures: contact sheets and overlays."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@functools.cache
def load(size: int) -> Font:
    """Return a font of about `size` pixels.

    If matplotlib is installed, it is the font that matplotlib carries. Otherwise it is Pillow's
    font, which has no accents.
    """
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        with contextlib.suppress(OSError):
            path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
            return ImageFont.truetype(path, round(size * 0.9))
    return ImageFont.load_default(size)


def wrap(text: str, *, font: Font, width: int) -> list[str]:
    """Return the lines of a text that is broken to be at most `width` pixels broad.

    It is broken between words. A word that is longer than a line, as a path may be, is broken
    anywhere.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines += [""] * bool(lines[-1])
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def shorten(text: str, *, font: Font, width: int) -> str:
    """Return a text; if it is longer than `width` pixels in a font, it is cut off with "…"."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
