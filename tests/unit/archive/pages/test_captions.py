"""The text of a picture: what is called its caption, else what stands near it."""

from __future__ import annotations

from halftone.archive.pages import Block, Box, Kind, captions
from halftone.archive.pages.captions import CAPTION, NEARBY

PICTURE = Box(100, 100, 400, 300)


def text(words, x, y, width=400, height=20, *, kind=Kind.TEXT):
    return Block(kind=kind, box=Box(x, y, width, height), text=words)


def find(*blocks, own=""):
    return captions.find_text(PICTURE, blocks=blocks, page_height=1200, own=own)


BELOW = text("below it", 100, 405)
ABOVE = text("above it", 100, 75)
BESIDE = text("beside it", 505, 150, 200)
FAR = text("far away", 100, 900)


def test_what_is_called_a_caption_comes_first():
    assert find(BELOW, own="Its own\n text") == ("Its own text", CAPTION)
    assert find(BELOW, text("called so", 100, 430, kind=Kind.CAPTION)) == ("called so", CAPTION)


def test_the_nearest_text_by_side():
    assert find(BESIDE, ABOVE, BELOW, FAR) == ("below it", NEARBY)
    assert find(BESIDE, ABOVE, FAR) == ("above it", NEARBY)
    assert find(BESIDE, FAR) == ("beside it", NEARBY)
    assert find(FAR) == ("", "")


def test_other_columns_and_specks_are_none():
    assert find(text("another column", 480, 405)) == ("", "")
    assert find(text('•: : "', 100, 405), ABOVE) == ("above it", NEARBY)


def test_an_article_is_cut_off_at_a_word():
    words, _ = find(text("many words " * 200, 100, 405, 400, 700))
    assert len(words) <= captions.MAX_CHARACTERS + 2
    assert words.endswith(("many …", "words …"))
