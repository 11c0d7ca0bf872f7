"""Finds the text that belongs to a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.archive.pages.model import Box, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.archive.pages.model import Block

_NEAR: Final = 0.04
"""How far away a text may stand, as a share of the page's height."""
_BESIDE: Final = 0.3
"""How much of the narrower of both has to stand above the other."""
_INSIDE: Final = 0.5
_LETTERS: Final = 3
MAX_CHARACTERS: Final = 600
"""Longer texts are cut off: an article beside a picture is no caption."""

CAPTION: Final = "caption"
NEARBY: Final = "nearby text"


def find_text(
    box: Box, *, blocks: Sequence[Block], page_height: float, own: str = ""
) -> tuple[str, str]:
    """Return the text of a picture, and what it is: `CAPTION` or `NEARBY`; both empty for none.

    A text that its description calls a caption comes first, then the nearest block of text below,
    then above, then beside the picture.

    Args:
        box: The picture.
        blocks: The blocks of its page, in the same unit.
        page_height: The page's height in that unit.
        own: The text that the description itself gives the picture.
    """
    if own.strip():
        return _shorten(own), CAPTION
    reach = _NEAR * page_height
    for kind, name in ((Kind.CAPTION, CAPTION), (Kind.TEXT, NEARBY)):
        texts = [block for block in blocks if block.kind is kind and _is_readable(block.text)]
        ranked = [
            (rank, block.text) for block in texts if (rank := _rank(box, block.box, reach=reach))
        ]
        if ranked:
            return _shorten(min(ranked)[1]), name
    return "", ""


def _is_readable(text: str) -> bool:
    """Return whether a text has words: specks and hatching are read as punctuation."""
    marks = [character for character in text if not character.isspace()]
    letters = sum(character.isalnum() for character in marks)
    return letters >= _LETTERS and letters >= len(marks) / 2


def _rank(picture: Box, text: Box, *, reach: float) -> tuple[int, float] | None:
    """Return how far a text is from a picture, first by side; None if it is too far."""
    if text.area and picture.intersect(text).area > _INSIDE * text.area:
        return (3, 0.0)  # lettering in the picture
    above = _shared(picture.x, picture.right, text.x, text.right)
    beside = _shared(picture.y, picture.bottom, text.y, text.bottom)
    below_by, above_by = text.y - picture.bottom, picture.y - text.bottom
    right_by, left_by = text.x - picture.right, picture.x - text.right
    slack = -0.25 * min(picture.height, text.height)
    if above >= _BESIDE and slack <= below_by <= reach:
        return (0, max(0.0, below_by))
    if above >= _BESIDE and slack <= above_by <= reach:
        return (1, max(0.0, above_by))
    aside = max(right_by, left_by)
    if beside >= _BESIDE and slack <= aside <= reach:
        return (2, max(0.0, aside))
    return None


def _shared(begin: float, end: float, other_begin: float, other_end: float) -> float:
    shorter = min(end - begin, other_end - other_begin)
    return (min(end, other_end) - max(begin, other_begin)) / shorter if shorter > 0 else 0.0


def _shorten(text: str) -> str:
    """Return a text in one line, cut off at a word."""
    plain = " ".join(text.split())
    if len(plain) <= MAX_CHARACTERS:
        return plain
    return plain[:MAX_CHARACTERS].rsplit(" ", 1)[0] + " …"
