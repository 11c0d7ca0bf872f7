"""What is said in each language, and that every sentence has its translation."""

from __future__ import annotations

import datetime as dt
import functools
import re

import pytest
from babel.messages import pofile
from babel.messages.extract import extract_from_dir

from halftone.archive import dates
from halftone.client import Hit, ImageRecord, Overlap, Relation, Verification, VerificationState
from halftone.client.types import Difference
from halftone.services.web.words import sentences
from halftone.services.web.words.languages import LOCALES, read_languages, tag_language

LANGUAGES = read_languages()
ENGLISH, GERMAN, FRENCH = (LANGUAGES.choose(asked=code, accepted="") for code in ("en", "de", "fr"))
PLACE = re.compile(r"%\((\w+)\)s")


@functools.cache
def written():
    """Every sentence of the templates and the code."""
    found = extract_from_dir(
        str(LOCALES.parent.resolve()),
        method_map=[("**.py", "python"), ("templates/**.jinja", "jinja2")],
        keywords={"_": None, "gettext": None, "ngettext": (1, 2)},
    )
    return {message for _, _, message, _, _ in found}


@pytest.mark.parametrize("code", ["de", "fr"])
def test_every_sentence_is_translated_with_its_places(code):
    with (LOCALES / code / "page.po").open("rb") as file:
        catalog = pofile.read_po(file, locale=code)
    translated = {message.id: message for message in catalog if message.id}
    assert len(written()) > 200
    assert written() == set(translated)
    for message in translated.values():
        forms = [message.string] if isinstance(message.string, str) else message.string
        ids = [message.id] if isinstance(message.id, str) else message.id
        assert all(forms), message.id
        assert not message.fuzzy
        for said in forms:
            assert set(PLACE.findall(said)) <= set(PLACE.findall(" ".join(ids)))
            # The singular may say "one"; the others hold every place.
        assert set(PLACE.findall(forms[-1])) == set(PLACE.findall(ids[-1]))


@pytest.mark.parametrize(
    ("asked", "accepted", "code"),
    [
        ("", "", "en"),
        ("de", "fr", "de"),
        ("xx", "fr-CA,en;q=0.5", "fr"),
        ("", "it,de-AT;q=0.8,en;q=0.4", "de"),
        ("", "it", "en"),
        ("", "en;q=x, *, de;q=0, ;;, fr;q=0.1", "fr"),
        ("", "," * 10_000, "en"),
    ],
)
def test_the_language_is_the_readers(asked, accepted, code):
    assert LANGUAGES.choose(asked=asked, accepted=accepted).code == code


def record(date: str) -> ImageRecord:
    days = dates.parse(date) if date else None
    return ImageRecord(
        name="archives/a/images/x",
        date=date,
        earliest_date=days.earliest if days else None,
        latest_date=days.latest if days else None,
    )


@pytest.mark.parametrize(
    ("date", "english", "german", "french"),
    [
        ("1914-08-22", "22 August 1914", "22. August 1914", "22 août 1914"),
        ("1914-08", "August 1914", "August 1914", "août 1914"),
        ("1914~", "about 1914", "um 1914", "vers 1914"),
        ("1914-08?", "perhaps August 1914", "vielleicht August 1914", "peut-être août 1914"),
        ("191X", "the 1910s", "die 1910er", "les années 1910"),
        ("19XX", "the 1900s", "die 1900er", "les années 1900"),
        ("1914/1916", "1914 to 1916", "1914 bis 1916", "de 1914 à 1916"),
        ("1914/1914", "1914", "1914", "1914"),
        ("../1914", "../1914", "../1914", "../1914"),
        ("", "undated", "undatiert", "sans date"),
    ],
)
def test_dates_say_no_more_than_is_known(date, english, german, french):
    said = [sentences.describe_date(record(date), each) for each in (ENGLISH, GERMAN, FRENCH)]
    assert said == [english, german, french]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("1914-08-01", "1914-08-01", "the same day"),
        ("1914-08-01", "1914-08-02", "one day later"),
        ("1914-08-01", "1914-08-22", "3 weeks later"),
        ("1914-08-01", "1914-12-01", "4 months later"),
        ("1898-05-01", "1909", "about 11 years later"),
        ("1914", "1914", "about the same time"),
        ("1914-08", "1914-11", "about 3 months later"),
        ("1914", "", ""),
    ],
)
def test_gaps_say_no_more_than_is_known(before, after, said):
    assert sentences.describe_gap(record(before), record(after), ENGLISH) == said


def hit(probability: float, relation: Relation = Relation.REPRINT, **overlap) -> Hit:
    overlaps = (Overlap(inlier_count=9, homography=(1, 0, 0, 0, 1, 0, 0, 0, 1), **overlap),)
    state = VerificationState.OVERLAPPING
    return Hit(
        image=record("1914"),
        similarity=0.5,
        probability=probability,
        relation=relation,
        verification=Verification(state=state, overlaps=overlaps),
    )


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.999, "Almost surely"),
        (0.989, "Very likely"),
        (0.899, "Probably"),
        (0.499, "Possibly"),
        (0.09, "Hardly"),
    ],
)
def test_probabilities_have_words(probability, words):
    assert sentences.say_sureness(hit(probability), ENGLISH).startswith(words)


def test_furniture_is_never_called_the_same_picture():
    said = sentences.describe_hit(hit(0.999, Relation.SHARED_ELEMENTS), ENGLISH)
    assert said.startswith("Another picture that shares printed furniture: a frame, a masthead")


def test_a_hit_says_how_it_differs():
    said = sentences.describe_hit(
        hit(0.995, Relation.CONTAINS, differences=(Difference(), Difference())), GERMAN
    )
    assert said == "Fast sicher dasselbe Bild: beschnitten, weicht an 2 Stellen ab"


def test_numbers_and_moments_are_the_languages():
    assert [each.number(1046) for each in (ENGLISH, GERMAN)] == ["1,046", "1.046"]
    moment = dt.datetime(2026, 11, 30, 15, 9, tzinfo=dt.UTC)
    assert GERMAN.moment(moment) == "30 Nov. 2026, 15:09 UTC"
    assert ENGLISH.moment(None) == ""


def test_the_page_is_in_the_readers_language_and_keeps_a_chosen_one(browser):
    assert "Legen Sie ein Bild" in browser.get("/", headers={"accept-language": "de"}).text
    chosen = browser.get("/?lang=fr")
    assert '<html lang="fr">' in chosen.text
    assert "Déposez une image" in browser.get("/").text


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("de", "de"),
        ("ger", "de"),
        ("deu-Latf", "de"),
        ("fr_CA", "fr"),
        ("EN", "en"),
        ("grc", "grc"),
        ("German", ""),
        ("", ""),
        ("xx", ""),
        ('"><script>', ""),
    ],
)
def test_a_records_language_is_a_tag_that_browsers_know(text, tag):
    assert tag_language(text) == tag
