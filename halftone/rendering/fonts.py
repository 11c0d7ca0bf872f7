"""The font for text in pictures: contact sheets and overlays."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

# DejaVu Sans has Latin with all its accents, Greek, Cyrillic and more; its licence lies beside it.
_FILE: Final = Path(__file__).parent / "typefaces" / "DejaVuSans.ttf"


@functools.cache
def load(size: int) -> Font:
    """Return a font of about `size` pixels. It comes with the package: it is the same anywhere."""
    return ImageFont.truetype(_FILE, round(size * 0.9))


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
