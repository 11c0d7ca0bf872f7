"""The font of texts in pictures."""

from __future__ import annotations

import pytest

from halftone.rendering import fonts


@pytest.mark.parametrize("letter", "áñßøčŁőΩЖїѣ…„")
def test_letters_of_europes_newspapers_have_glyphs(letter):
    font = fonts.load(20)
    # What a font lacks is drawn as the same box as this code, which no font has.
    assert bytes(font.getmask(letter)) != bytes(font.getmask("\U0010fffd"))


def test_a_long_word_is_broken_anywhere():
    font = fonts.load(20)
    lines = fonts.wrap("see /archives/a-very-long-name", font=font, width=100)
    assert "".join(lines).replace(" ", "") == "see/archives/a-very-long-name"
    assert all(font.getlength(line) <= 100 for line in lines)
