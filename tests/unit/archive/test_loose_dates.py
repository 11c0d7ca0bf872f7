"""Dates as people and programs write them, and what becomes of a picture with such a date."""

from __future__ import annotations

import datetime as dt

import pytest

from halftone.archive import dates
from halftone.archive.date_hints import Order
from halftone.archive.habits import Habits, find_habits
from halftone.archive.loose_dates import WRITTEN, DateReader
from halftone.archive.sources import Options, open_source
from halftone.core import errors


def loosely(text, *others):
    habits = find_habits({"date": each} for each in (text, *others))
    return DateReader(loose=True, habits=habits).read_date(text)


@pytest.mark.parametrize(
    ("text", "earliest", "latest"),
    [
        ("1914-08-22T00:00:00+00:00", "1914-08-22", "1914-08-22"),
        ("1914-08-22T00:00:00.000Z", "1914-08-22", "1914-08-22"),
        ("1914-08-22T00:00:00+0000", "1914-08-22", "1914-08-22"),
        ("1914-08-22T23:59:60-05", "1914-08-22", "1914-08-22"),
        ("1914-08-22T24:00Z", "1914-08-22", "1914-08-22"),
        ("1984-1X", "1984-10-01", "1984-12-31"),
        ("1984-0X", "1984-01-01", "1984-09-30"),
        ("1914-08-2X", "1914-08-20", "1914-08-29"),
        ("1914-02-2X", "1914-02-20", "1914-02-28"),
        ("1914-XX-3X", "1914-01-30", "1914-12-31"),
        ("1XXX-02-29", "1004-02-29", "1996-02-29"),
        ("1984-1X/1985", "1984-10-01", "1985-12-31"),
        ("2004-06-~01", "2004-06-01", "2004-06-01"),
        ("?2004-06-~11", "2004-06-11", "2004-06-11"),
        ("[1667,1668, 1670..1672]", "1667-01-01", "1672-12-31"),
        ("{1960,1961-12}", "1960-01-01", "1961-12-31"),
        ("[..1760-12-03]", None, "1760-12-03"),
        ("[1760-12..]", "1760-12-01", None),
        ("[1914]", "1914-01-01", "1914-12-31"),
        ("1900-02-29", "1900-03-13", "1900-03-13"),
        ("1800-02-29", "1800-03-12", "1800-03-12"),
        ("1700-02-29~", "1700-03-11", "1700-03-11"),
    ],
)
def test_what_is_written_between_programs(text, earliest, latest):
    days = dates.parse(text)
    assert (days.earliest, days.latest) == tuple(
        day and dt.date.fromisoformat(day) for day in (earliest, latest)
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1914-02-29", "there is no such day, February 1914 has 28 days"),
        ("2100-02-29", "there is no such day, February 2100 has 28 days"),
        ("1900-02-30", "there is no such day, February 1900 has 28 days"),
        ("1914-04-31", "there is no such day, April 1914 has 30 days"),
        ("1914-13-01", "there is no month 13"),
        ("1914-3X", "there is no month 3X"),
        ("1914-08-4X", "there is no day 4X in such a month"),
        ("191X-02-30", "there is no day 30 in such a month"),
        ("1914-08-22T25:00:00Z", "there is no time 25:00:00Z"),
        ("1914-08-32T00:00:00Z", "there is no such day, August 1914 has 31 days"),
        ("0000-08-1X", "only the years 1 to 9999 can be kept"),
        ("XXXX-08", "it names no year"),
        ("[1914..1912]", "it ends before it begins"),
        ("[1914,]", "a member of the set is missing"),
        ("[..]", "it says nothing"),
    ],
)
def test_what_cannot_be_has_its_reason(text, reason):
    with pytest.raises(errors.InvalidArgument) as raised:
        dates.parse(text)
    assert reason in raised.value.message


def test_a_day_of_the_julian_calendar_is_kept_with_a_note():
    reading = DateReader().read_date("1900-02-29")
    assert reading.date == "1900-02-29"
    assert "it was 13 March 1900 in the Gregorian" in reading.note
    assert DateReader().read_date("1904-02-29").note == ""


def test_midnight_is_no_time():
    for text in ("1914-08-22T00:00:00.000Z", "1914-08-22T00:00"):
        assert DateReader().read_date(text).date == "1914-08-22"
    for text in ("1914-08-22T00:00:00.500Z", "1914-08-22T06:30:00+02:00"):
        assert DateReader().read_date(text).date == text


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("ca. 1914", "1914~"),
        ("[1914?]", "[1914?]"),
        ("[ca. 1914]", "1914~"),
        ("22.08.1914", "1914-08-22"),
        ("8/22/1914", "1914-08-22"),
        ("22/8/1914", "1914-08-22"),
        ("8.22.1914", "1914-08-22"),
        ("1914-08-22 00:00:00", "1914-08-22"),
        ("29 février 1900", "1900-02-29"),
        ("August 1914", "1914-08"),
        ("1914-1916", "1914/1916"),
        ("n.d.", ""),
        ("3/4/1914", ""),
        ("1900s", ""),
        ("the day after", ""),
        ("1914-02-30", ""),
        ("x" * 500, ""),
    ],
)
def test_what_can_mean_one_thing_is_read_and_the_rest_is_undated(text, date):
    reading = loosely(text)
    assert reading.date == date
    assert reading.written == ("" if date == text else text)
    assert bool(reading.note) is (date != text)


def test_one_day_over_12_decides_for_the_whole_manifest():
    assert loosely("3/4/1914", "22/8/1914").date == "1914-04-03"
    assert loosely("3/4/1914", "8/22/1914").date == "1914-03-04"
    assert loosely("3/4/1914 - 5/6/1914", "8/22/1914").date == "1914-03-04/1914-05-06"
    both = loosely("3/4/1914", "8/22/1914", "22/8/1914")
    assert (both.date, "1914-04-03 or 1914-03-04" in both.note) == ("", True)
    # Between dots the day comes first, unless a row says otherwise.
    assert loosely("3.4.1914").date == "1914-04-03"
    assert loosely("3.4.1914", "8.22.1914").date == "1914-03-04"
    assert find_habits([{"date": "22.8.1914"}]).order is None
    assert find_habits([{"date": "22-8-1914"}]) == Habits(order=Order.DAY_FIRST)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    rows = ["22/8/1914", "3/4/1914", "ca. 1914", "n.d.", "soon", "1914-08"]
    lines = [f"{number},a.jpg,{text}" for number, text in enumerate(rows)]
    (tmp_path / "manifest.csv").write_text("\n".join(["image_id,file,date", *lines]))
    return tmp_path


def test_no_picture_is_lost_for_its_date(folder):
    source = open_source(folder, archive="a", options=Options(loose_dates=True))
    rows = list(source.rows)
    assert [row.image.date for row in rows] == [
        *("1914-08-22", "1914-04-03", "1914~"),
        *("", "", "1914-08"),
    ]
    assert [list(row.image.labels[WRITTEN].values) for row in rows if WRITTEN in row.image.labels]
    assert list(rows[4].image.labels[WRITTEN].values) == ["soon"]
    assert "The picture is undated." in rows[4].notes[0]
    assert (rows[5].notes, WRITTEN in rows[5].image.labels) == ((), False)
    assert source.dates.describe(option="--loose-dates") == [
        "3 dates were read as people write them.",
        "1 picture is undated, since its date is not clear.",
    ]


def test_without_the_option_rows_are_refused_and_counted(folder):
    source = open_source(folder, archive="a")
    assert [row.error is None for row in source.rows] == [False] * 5 + [True]
    (said,) = source.dates.describe(option="--loose-dates")
    assert said == (
        "5 rows were rejected for the date: --loose-dates reads 4 of them and imports 1 without a "
        "date, and keeps what was written."
    )
