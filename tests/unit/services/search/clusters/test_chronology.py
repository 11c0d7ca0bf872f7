"""Printings in the order of time, and how long lies between them."""

from __future__ import annotations

import pytest

from halftone.archive import dates
from halftone.services.search.clusters.chronology import (
    DatedPrinting,
    count_gap_days,
    count_span_years,
    sort_by_date,
    summarise,
)


def printing(name, earliest=None, latest=None, journal="J"):
    return DatedPrinting(
        point=name.encode(), name=name, journal=journal, earliest=earliest, latest=latest
    )


def dated(text):
    """A printing of an EDTF date; "" is none."""
    days = dates.parse(text) if text else None
    first, last = (days.earliest, days.latest) if days else (None, None)
    return printing(text, first and first.toordinal(), last and last.toordinal())


def test_printings_are_in_the_order_of_their_first_possible_day():
    made = [
        printing("undated"),
        printing("open", latest=15),
        printing("late", 20, 20),
        printing("vague", 10, 400),
        printing("early", 10, 10, journal="K"),
    ]
    ordered = sort_by_date(made)
    assert [each.name for each in ordered] == ["early", "vague", "open", "late", "undated"]
    assert count_gap_days(ordered) == [None, 0, None, None, None]
    assert count_gap_days([made[4], made[2]]) == [None, 10]
    found = summarise(made)
    assert (found.first, found.journals, found.earliest, found.latest) == (
        b"early",
        ("K", "J"),
        10,
        400,
    )
    assert (found.span_years, found.undated) == (0, 1)
    assert summarise([printing("only")]).span_years == 0


@pytest.mark.parametrize(
    ("texts", "years"),
    [
        # Exact dates: whole years, as people count birthdays.
        (("1898-05-01", "1909-05-01"), 11),
        (("1898-05-01", "1909-04-30"), 10),
        (("1912-02-29", "1913-02-28"), 0),
        # Years and months are counted from the middle to the middle, leap years or not.
        (("1905", "1914"), 9),
        (("1905", "1912"), 7),
        (("1912", "1913"), 1),
        (("1912-02", "1916-02"), 4),
        (("1905", "1914-08-22"), 9),
        (("1905-09-01", "1914"), 8),
        # Dates that overlap: which was first is not known.
        (("191X", "1914"), 0),
        (("1914", "1914-08-22"), 0),
        (("1903/1915", "1914-08-22", "191X"), 0),
        # What lies between is known, whatever vague dates there are besides.
        (("1890", "191X", "1914"), 24),
        (("1898", "191X"), 16),
        # Undated printings and open dates say what they say and no more.
        (("1905", "1914", ""), 9),
        (("", ""), 0),
        (("1914", ""), 0),
        (("../1905", "1914"), 8),
        (("1905", "1914/.."), 8),
        (("../1914", "1905/.."), 0),
    ],
)
def test_the_years_between_the_first_and_the_last(texts, years):
    assert count_span_years([dated(text) for text in texts]) == years
    assert count_span_years([dated(text) for text in reversed(texts)]) == years
