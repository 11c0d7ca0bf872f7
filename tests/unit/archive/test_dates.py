"""EDTF dates: what they are taken for, and the fast path against the `edtf` package."""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt

import pytest
from edtf import parse_edtf
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.archive import dates
from halftone.core import errors


def days(text):
    found = dates.parse(text)
    return tuple("" if day is None else day.isoformat() for day in (found.earliest, found.latest))


@pytest.mark.parametrize(
    ("text", "earliest", "latest"),
    [
        ("1914", "1914-01-01", "1914-12-31"),
        ("1914-08", "1914-08-01", "1914-08-31"),
        ("1914-08-22", "1914-08-22", "1914-08-22"),
        (" 1914 ", "1914-01-01", "1914-12-31"),
        ("191X", "1910-01-01", "1919-12-31"),
        ("19XX", "1900-01-01", "1999-12-31"),
        ("1914-XX", "1914-01-01", "1914-12-31"),
        ("1914-08-XX", "1914-08-01", "1914-08-31"),
        ("1914-08~", "1914-08-01", "1914-08-31"),
        ("1914?", "1914-01-01", "1914-12-31"),
        ("1914%", "1914-01-01", "1914-12-31"),
        ("1914/1916", "1914-01-01", "1916-12-31"),
        ("1914-08~/1916?", "1914-08-01", "1916-12-31"),
        ("191X/1920", "1910-01-01", "1920-12-31"),
        ("../1916", "", "1916-12-31"),
        ("/1916", "", "1916-12-31"),
        ("1914/..", "1914-01-01", ""),
        ("1914/", "1914-01-01", ""),
        ("1914-XX/1915-XX", "1914-01-01", "1915-12-31"),
        ("1914-21/1914-09-XX", "1914-03-01", "1914-09-30"),
        ("../1914-XX", "", "1914-12-31"),
        ("1914-21", "1914-03-01", "1914-05-31"),
        ("1914-24", "1914-12-01", "1914-12-31"),
        ("[1914,1916]", "1914-01-01", "1916-12-31"),
        ("1914-08-22T10:00:00", "1914-08-22", "1914-08-22"),
        ("1912-02", "1912-02-01", "1912-02-29"),
        ("0001", "0001-01-01", "0001-12-31"),
        ("9999", "9999-01-01", "9999-12-31"),
    ],
)
def test_a_date_lies_between_its_days(text, earliest, latest):
    assert days(text) == (earliest, latest)


@pytest.mark.parametrize(
    "text",
    [
        "1914-13",
        "1914-00",
        "1914-02-30",
        "1913-02-29",
        "19140822",
        "22.08.1914",
        "1914-8-2",
        "August 1914",
        "",
        "unknown",
        "-0044",
        "0000",
        "Y17E7",
        "1916/1914",
        "../..",
        "../",
        "1914-1X",
        "1914-XX/1914-1X",
        "[1914,1915]/1916",
        "Y1E400",
        "Y1E999999999",
        "/",
        "1914/1915/1916",
        "{" + "1914," * 100 + "1915}",
        "\N{ARABIC-INDIC DIGIT ONE}914",
    ],
)
def test_what_is_no_date_is_refused_by_its_field(text):
    with pytest.raises(errors.InvalidArgument) as raised:
        dates.parse(text, field="filter.date.start")
    assert raised.value.field == "filter.date.start"
    assert raised.value.message.startswith("filter.date.start: ")
    assert len(raised.value.message) < 400


YEARS = st.integers(1, 9999).map("{:04d}".format)
MONTHS = st.builds("{}-{:02d}".format, YEARS, st.integers(1, 12))
DAYS = st.dates().map(dt.date.isoformat)
PLAIN = st.builds(
    "{}{}".format, st.one_of(YEARS, MONTHS, DAYS), st.sampled_from(["", "~", "?", "%"])
)
# The package knows no decade inside an interval; here there may be.
DECADES = st.one_of(
    st.integers(1, 999).map("{:03d}X".format), st.integers(1, 99).map("{:02d}XX".format)
)


@settings(max_examples=40, deadline=None)
@given(st.one_of(PLAIN, DECADES, st.builds("{}/{}".format, PLAIN, PLAIN)))
def test_the_fast_path_agrees_with_the_package(text):
    parsed = parse_edtf(text)
    low, high = parsed.lower_strict(), parsed.upper_strict()
    expected = tuple(
        dt.date(moment.tm_year, moment.tm_mon, moment.tm_mday) for moment in (low, high)
    )
    if expected[0] > expected[1]:
        with pytest.raises(errors.InvalidArgument):
            dates.parse(text)
    else:
        assert (dates.parse(text).earliest, dates.parse(text).latest) == expected


@given(st.one_of(st.text(max_size=12), st.text("0119XYES-~?%./,[]{}T:Z", max_size=20)))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_date_or_is_refused(text):
    try:
        found = dates.parse(text)
    except errors.InvalidArgument:
        return
    assert found.earliest or found.latest


# Dates in which a digit or two were changed come further into the package than any text.
BROKEN = st.builds(
    lambda text, place, sign: text[: place % len(text)] + sign + text[place % len(text) + 1 :],
    st.sampled_from(["1914-08-22", "1914-XX/1915-XX", "[1914,..1916]", "1914-21/..", "1914-08~"]),
    st.integers(0, 20),
    st.sampled_from([*"0139XYES-~?%./,[]{}T:Z", "", "..", "E4"]),
)


@given(BROKEN)
@settings(max_examples=100, deadline=None)
def test_a_broken_date_is_a_date_or_is_refused(text):
    with contextlib.suppress(errors.InvalidArgument):
        dates.parse(text)


def test_nothing_is_printed(capsys):
    for text in ("1914-1X", "1914-XX/1915-XX", "1914-XX/1914-1X", "1914-13-XX"):
        with contextlib.suppress(errors.InvalidArgument):
            dates.parse(text)
    assert capsys.readouterr() == ("", "")


def test_plain_dates_do_not_load_the_grammar():
    for year in range(1800, 1900):
        last = calendar.monthrange(year, 2)[1]
        assert dates._parse_common(f"{year}-02").latest == dt.date(year, 2, last)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1914-02-30", "there is no such day, February 1914 has 28 days."),
        ("1912-02-30~", "there is no such day, February 1912 has 29 days."),
        ("1914-06-31/1914-07", "there is no such day, June 1914 has 30 days."),
        ("../1914-06-31", "there is no such day, June 1914 has 30 days."),
        ("1914-08-00", "there is no such day, August 1914 has 31 days."),
        ("1914-13", "there is no month 13."),
        ("1914-00-12", "there is no month 00."),
        ("1914-21-01", "there is no month 21."),
    ],
)
def test_a_day_that_does_not_exist_is_called_that(text, said):
    with pytest.raises(errors.InvalidArgument) as caught:
        dates.parse(text)
    assert caught.value.message == f"date: {text!r} is not a date that can be used: {said}"
