"""Captions side by side, word by word."""

from __future__ import annotations

import pytest

from halftone.services.web.answers.captions import Kind, compare_captions, compare_words


def show(words):
    """Words as text: +only here+, -only in the other one-."""
    marks = {Kind.SAME: "", Kind.OTHER: "+", Kind.MISSING: "-"}
    return " ".join(f"{marks[word.kind]}{word.text}{marks[word.kind]}" for word in words)


@pytest.mark.parametrize(
    ("caption", "beside", "said"),
    [
        ("The fleet leaves.", "The fleet leaves", "The fleet leaves."),
        ("The German fleet", "The fleet", "The +German+ fleet"),
        ("The fleet", "The German fleet", "The -German- fleet"),
        ("The fleet stays", "The fleet leaves Kiel", "The fleet -leaves- -Kiel- +stays+"),
        ("THE\nFLEET", "The fleet", "THE FLEET"),
        ("One thing", "Another matter", ""),
        ("", "x", ""),
        ("x", "", ""),
    ],
)
def test_words_that_differ_are_found_at_their_places(caption, beside, said):
    assert show(compare_words(caption, beside=beside)) == said


def test_each_caption_is_compared_with_the_first_of_its_language():
    compared = compare_captions(
        [
            (1, "The fleet", "en"),
            (2, "Die Flotte", "de"),
            (3, " \n ", "en"),
            (4, "Die große Flotte", "de-AT"),
            (5, "The great fleet", "en"),
            (6, "The fleet again", ""),
            (7, "Autre chose", "fr"),
        ]
    )
    assert [(each.number, each.beside, show(each.words)) for each in compared] == [
        (1, None, "The fleet"),
        (2, None, "Die Flotte"),
        (4, 2, "Die +große+ Flotte"),
        (5, 1, "The +great+ fleet"),
        (6, 1, "The fleet +again+"),
        (7, None, "Autre chose"),
    ]


def test_long_captions_are_cut():
    assert len(compare_words("word " * 10_000, beside="word " * 10_000)) < 500
