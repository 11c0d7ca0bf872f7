"""Payloads: words of captions, years of dates, and the way back to a record."""

from __future__ import annotations

import unicodedata

import pytest

from halftone.archive import records
from halftone.core import errors
from halftone.services.search.archive import payload as payloads
from halftone.services.search.store.port import AnyOf
from halftone.v1 import search_pb2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("The RMS Titanic, in dock.", ["dock", "in", "rms", "the", "titanic"]),
        ("Straße STRASSE", ["strasse"]),
        ("ﬁne Été", ["fine", "été"]),
        ("東京駅 Tokyo", ["tokyo", "京", "東", "駅"]),
        ("No. 12/1914", ["12", "1914", "no"]),
    ],
)
def test_words(text, expected):
    assert payloads.words(text) == sorted(expected)


@pytest.mark.parametrize(
    ("date", "years"),
    [
        ("1914-08-22", ["1914"]),
        ("1914/1916", ["1914", "1915", "1916"]),
        ("191X", [str(year) for year in range(1910, 1920)]),
        ("18XX", ["many"]),
        ("../1916", ["many"]),
        ("1914/", ["many"]),
    ],
)
def test_years(date, years):
    image = search_pb2.Image(name="archives/a/images/1", date=date)
    payload = payloads.to_payload(image, name=records.parse_name(image.name))
    assert payload["years"] == years


def test_journal_and_years_are_looked_up_together():
    image = search_pb2.Image(name="archives/a/images/1", date="1914/1916", journal="A")
    payload = payloads.to_payload(image, name=records.parse_name(image.name))

    def looked_up(**fields):
        condition = payloads.to_filter(search_pb2.Filter(**fields))
        return {each.key: each.values for each in condition.must if isinstance(each, AnyOf)}

    asked = looked_up(journals=["A", "B"], date={"start": "1915", "end": "1915"})
    assert set(asked) == {"journal", "journal_years"}
    assert set(asked["journal_years"]) & set(payload["journal_years"])
    other = looked_up(journals=["B"], date={"start": "1915", "end": "1915"})
    assert not set(other["journal_years"]) & set(payload["journal_years"])
    assert set(looked_up(date={"start": "1915", "end": "1916"})["years"]) == {
        "1915",
        "1916",
        "many",
    }
    assert "years" not in looked_up(date={"start": "1915"})


def test_an_update_of_nothing_is_none():
    image = search_pb2.Image(name="archives/a/images/1", journal="x", date="1914", caption="a b")
    fields = payloads.to_payload(image, name=records.parse_name(image.name))
    stored = {
        **fields,
        "sha256": "0" * 64,
        "width": 1,
        "height": 2,
        "create_time": 1_000_000,
        "update_time": 2_000_000,
        "shared": True,
    }
    assert payloads.describes(stored, fields)
    assert not payloads.describes(stored, {**fields, "page": "1"})
    assert not payloads.describes({**stored, "page": "1"}, fields)
    new = payloads.replace_fields(stored, {**fields, "page": "1"})
    assert (new["page"], new["shared"], new["create_time"]) == ("1", True, 1_000_000)
    assert new["update_time"] > 2_000_000
    back = payloads.to_image(stored)
    assert (back.journal, back.earliest_date, back.height) == ("x", "1914-01-01", 2)


@pytest.mark.parametrize("text", ["a" * 1_001, " ".join(f"w{number}" for number in range(65))])
def test_a_caption_text_of_too_much_is_refused(text):
    with pytest.raises(errors.InvalidArgument, match="at most") as raised:
        payloads.to_filter(search_pb2.Filter(caption_text=text))
    assert raised.value.field == "filter.caption_text"
    excluded = search_pb2.Filter(exclude=search_pb2.Filter(caption_text=text))
    with pytest.raises(errors.InvalidArgument, match="at most") as raised:
        payloads.to_filter(excluded)
    assert raised.value.field == "filter.exclude.caption_text"


def test_words_are_counted_once():
    text = " ".join(f"w{number % 64}" for number in range(200))
    assert len(payloads.to_filter(search_pb2.Filter(caption_text=text)).must) == 64


def test_too_many_labels_are_refused():
    wanted = search_pb2.Filter(
        labels={f"key{number}": search_pb2.Labels(values=["a"]) for number in range(65)}
    )
    with pytest.raises(errors.InvalidArgument, match="more than 64 keys") as raised:
        payloads.to_filter(wanted)
    assert raised.value.field == "filter.labels"


@pytest.mark.parametrize(
    ("other", "nested"),
    [
        ((10, 20, 100, 80), True),
        ((30, 30, 20, 20), True),
        ((0, 0, 1000, 1000), True),
        ((60, 20, 100, 80), True),  # half of it
        ((61, 20, 100, 80), False),
        ((110, 20, 100, 80), False),
        ((10, 100, 100, 80), False),
        ((500, 500, 100, 80), False),
    ],
)
def test_places_on_a_page_within_each_other(other, nested):
    assert payloads.are_nested((10, 20, 100, 80), other) == nested
    assert payloads.are_nested(other, (10, 20, 100, 80)) == nested


def test_texts_that_look_the_same_are_one():
    """A journal of another client may come with its accents apart."""
    apart = unicodedata.normalize("NFD", "Zürich")
    image = search_pb2.Image(name="archives/a/images/1", date="1914", journal=apart)
    image.labels["Übersicht"].values.append(apart)
    payload = payloads.to_payload(image, name=records.parse_name(image.name))
    assert (payload["journal"], payload["labels"]) == ("Zürich", {"Übersicht": ["Zürich"]})
    for text in (apart, "Zürich"):
        wanted = search_pb2.Filter(journals=[text], date={"start": "1914", "end": "1914"})
        wanted.labels[unicodedata.normalize("NFD", "Übersicht")].values.append(text)
        asked = {
            each.key: each.values
            for each in payloads.to_filter(wanted).must
            if isinstance(each, AnyOf)
        }
        assert payload["journal"] in asked["journal"]
        assert set(payload["journal_years"]) & set(asked["journal_years"])
        assert set(payload["label_values"]) & set(asked["label_values"])
