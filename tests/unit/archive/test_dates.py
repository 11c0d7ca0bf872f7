"""EDTF dates: what they are taken for, and the fast path against the `edtf` package."""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import time

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


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("22.08.1914", "write 1914-08-22"),
        ("22. 8. 1914", "write 1914-08-22"),
        ("8.9.1914", "write 1914-09-08"),
        ("22/08/1914", "write 1914-08-22"),
        ("08/22/1914", "write 1914-08-22"),
        ("8/9/1914", "write 1914-09-08 or 1914-08-09"),
        ("8/8/1914", "write 1914-08-08"),
        ("1914/08/22", "write 1914-08-22"),
        ("1914.8.2", "write 1914-08-02"),
        ("19140822", "write 1914-08-22"),
        ("1914-08-22 00:00:00", "write 1914-08-22"),
        ("1914-8", "write 1914-08"),
        ("8/1914", "write 1914-08"),
        ("1914.0", "write 1914"),
        ("22 August 1914", "write 1914-08-22"),
        ("22. März 1914", "write 1914-03-22"),
        ("Aug. 22nd, 1914", "write 1914-08-22"),
        ("1er août 1914", "write 1914-08-01"),
        ("22 de agosto de 1914", "write 1914-08-22"),
        ("22 мая 1914 года", "write 1914-05-22"),
        ("22.VIII.1914", "write 1914-08-22"),
        ("ca. 1908", "write 1908~"),
        ("c1908", "write 1908~"),
        ("circa August 1914", "write 1914-08~"),
        ("1908 ca.", "write 1908~"),
        ("um 1910-1912", "write 1910~/1912~"),
        ("1908 (?)", "write 1908?"),
        ("1910s", "write 191X"),
        ("191?", "write 191X"),
        ("1900s", "write 190X or 19XX"),
        ("19??", "write 19XX"),
        ("1910-1912", "write 1910/1912"),
        ("1910 \N{EN DASH} 1912", "write 1910/1912"),
        ("1910 bis 1912", "write 1910/1912"),
        ("1910-14", "write 1910/1914"),
        ("1910/12", "write 1910-12 or 1910/1912"),
        ("22.08.1914 - 25.08.1914", "write 1914-08-22/1914-08-25"),
        ("o. J.", "leave it empty where no date is known"),
        ("?", "leave it empty where no date is known"),
    ],
)
def test_a_date_in_another_form_is_refused_with_the_right_one(text, advice):
    with pytest.raises(errors.InvalidArgument) as caught:
        dates.parse(text)
    assert caught.value.message.endswith(f"; {advice}.")
    for word in advice.split():
        if word[0].isdecimal():
            dates.parse(word)


@pytest.mark.parametrize(
    "text", ["22.08.14", "32.08.1914", "jui 1914", "ma 1914", "1912-1910", "hello 1914", "14-08"]
)
def test_where_it_is_not_clear_what_was_meant_nothing_is_advised(text):
    with pytest.raises(errors.InvalidArgument) as caught:
        dates.parse(text)
    assert ";" not in caught.value.message


def test_advice_takes_no_time_however_odd_the_text():
    started = time.process_time()
    for text in (" " * 128, "1 " * 64, "a" * 128, "[" * 128, "1914 - " * 18, "-" * 127 + "x"):
        with contextlib.suppress(errors.InvalidArgument):
            dates.parse(text)
    assert time.process_time() - started < 20


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
