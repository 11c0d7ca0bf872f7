"""Words of descriptions."""

from __future__ import annotations

import pytest

from halftone.archive.pages import Kind
from halftone.archive.pages.vocabulary import classify, find_language, read_date


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Illustration", Kind.PICTURE),
        ("PHOTOS", Kind.PICTURE),
        ("GraphicZone", Kind.PICTURE),
        ("np:picture", Kind.PICTURE),
        ("Publicité", Kind.ADVERTISEMENT),
        ("advert", Kind.ADVERTISEMENT),
        ("table", Kind.TABLE),
        ("légende", Kind.CAPTION),
        ("separatorsBox", Kind.OTHER),
        ("ILLUSTRATION_PAGE", None),
        ("article", None),
        ("", None),
        (None, None),
    ],
)
def test_kinds(word, kind):
    assert classify(word) is kind


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("fre", "fr"),
        ("ger", "de"),
        ("eng", "en"),
        ("French", "fr"),
        ("Français", "fr"),
        ("de-AT", "de-AT"),
        ("en_GB", "en-GB"),
        ("und", ""),
        ("Klingon spoken", ""),
        ("", ""),
    ],
)
def test_languages(text, tag):
    assert find_language(text) == tag


@pytest.mark.parametrize(
    ("text", "qualifier", "date"),
    [
        ("1914-08-22", "", "1914-08-22"),
        ("1914-08-22T00:00:00+00:00", "", "1914-08-22"),
        ("10.10.1891", "approximate", "1891-10-10~"),
        ("22 August 1914", "", "1914-08-22"),
        ("19050101", "", "1905-01-01"),
        ("1914", "questionable", "1914?"),
        ("3/4/1914", "", ""),
        ("n.d.", "", ""),
        ("", "", ""),
        ("x" * 500, "", ""),
    ],
)
def test_dates(text, qualifier, date):
    assert read_date(text, qualifier=qualifier) == date
