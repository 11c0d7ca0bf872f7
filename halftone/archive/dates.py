"""Converts EDTF dates to the days between which they lie.

The Library of Congress's Extended Date/Time Format expresses what is known of a date: `1914`,
`1914-08`, `191X`, `1914-08~` (approximate), `1914/1916`, `../1916`. An archive record keeps the
text and the days between which it lies; a date filter matches a record when the two intervals
overlap.

An approximate or uncertain date (`~`, `?`, `%`) lies between the days that it names. The `edtf`
package would widen `1914-08~` by a year and a month on both sides, which puts a picture into years
that nobody wrote down. A caller that wants the tolerance asks for a wider range.

Of the second level, unknown digits (`1984-1X`, `1914-08-2X`) and sets (`[1667, 1670..1672]`) lie
between the first and the last day that they may mean. A time (`1914-08-22T00:00:00+00:00`) adds
nothing to its day, which is the written one in whatever zone. 29 February 1900 and its like are
days of the Julian calendar, which newspapers of Russia and the Balkans had until 1923.

An open or unknown end (`../1916`, `1914/`) has no day. Seasons follow the package: `1914-21` is
March to May, and winter (`1914-24`) the December of that year.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.archive import date_hints
from halftone.core import errors

if TYPE_CHECKING:
    import time

MAX_LENGTH: Final = 128
"""The most characters of a date. The grammar backtracks, so it must not see longer texts."""

_EXAMPLES: Final = ", as 1914 and 1914-08-22 are"
_OPEN: Final = ("..", "")
# This covers nearly every record. The package's parser needs 2 to 20 ms for a date, a regular
# expression 2 µs; the tests check that the two agree.
_PLAIN: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?[~?%]?")
_DECADE: Final = re.compile(r"[0-9]{2}(?:XX|[0-9]X)")
_UNKNOWN_DIGITS: Final = re.compile(r"([0-9X]{4})(?:-([0-9X]{2})(?:-([0-9X]{2}))?)?[~?%]?")
_DOUBT: Final = re.compile(r"[~?%]")
_PARTS: Final = re.compile(r"[~?%]?[0-9X]{4}[~?%]?(?:-[~?%]?[0-9X]{2}[~?%]?){0,2}")
_SET: Final = re.compile(r"\[(.*)\]|\{(.*)\}")
_TIMED: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_LEAP_DAY: Final = re.compile(r"(?<![0-9])([0-9]{4})-02-29(?![0-9])")
_LAST_JULIAN_YEAR: Final = 1923
# A leap year is among so many years one after the other.
_LEAP_CYCLE: Final = 9
# The numbers that stand for parts of a year in place of a month: seasons, quarters and so on.
_SEASONS: Final = range(21, 42)
_LONG_YEAR: Final = re.compile(r"Y-?[0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days between which a date lies, both included; None where there is no bound."""

    earliest: dt.date | None
    latest: dt.date | None


def parse(text: str, *, field: str = "date") -> Days:
    """Return the days between which an EDTF date lies.

    Args:
        text: An EDTF date of the years 1 to 9999.
        field: The field's name in errors, for example `image.date`.

    Raises:
        errors.InvalidArgument: The text is not an EDTF date, lies before year 1 or after year 9999,
            or is an interval that ends before it begins. The message says what to write if it is
            clear what was meant.
    """
    try:
        return _parse(text.strip())
    except ValueError as error:
        advice = _advise(text)
        reason = str(error).removesuffix(_EXAMPLES if advice else "")
        raise errors.InvalidArgument(
            f"{field}: {text[:MAX_LENGTH]!r} is not a date that can be used: {reason}{advice}.",
            field=field,
            reason="INVALID_DATE",
        ) from error


def drop_midnight(text: str) -> str:
    """Return a date without a time of midnight, which programs add to days."""
    match = _TIMED.fullmatch(text)
    idle = match is not None and all(int(part or 0) == 0 for part in match.groups()[1:])
    return match[1] if match and idle and not re.search(r"[.,]0*[1-9]", text) else text


def list_notes(text: str) -> list[str]:
    """Return sentences on what is odd about a date that is kept."""
    notes = []
    for year in _LEAP_DAY.findall(text):
        if _is_julian(int(year)):
            day = _read_julian(int(year))
            ours = f"{day.day} {calendar.month_name[day.month]} {day.year}"
            notes.append(
                f"29 February {year} was a day of the Julian calendar only; it was {ours} in the "
                "Gregorian, and is found as that."
            )
    return notes


def _is_julian(year: int) -> bool:
    """Return whether only the Julian calendar had a 29 February in a year."""
    return year % 4 == 0 and not calendar.isleap(year) and 0 < year <= _LAST_JULIAN_YEAR


def _read_julian(year: int) -> dt.date:
    """Return the Gregorian day of the Julian 29 February of a year that ends a century."""
    before = year // 100 - 1
    return dt.date(year, 3, 1) + dt.timedelta(days=before - before // 4 - 2)


def _advise(text: str) -> str:
    """Return what to write instead of a text that is no date, or "" if that is not clear."""
    readings = date_hints.list_readings(text) if len(text) <= MAX_LENGTH else ()
    if date_hints.UNDATED in readings:
        return "; leave it empty where no date is known"
    dates = [reading for reading in readings if is_date(reading)]
    return f"; write {' or '.join(dates)}" if dates else ""


def is_date(text: str) -> bool:
    """Return whether a text is a date that `parse` takes."""
    try:
        _parse(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=16_384)
def _parse(text: str) -> Days:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    start, slash, end = text.partition("/")
    if slash:
        days = _parse_interval(start, end) or _parse_interval_by_grammar(start, end)
    else:
        days = _parse_common(text) or _parse_set(text) or _parse_by_grammar(text)
    if days.earliest and days.latest and days.earliest > days.latest:
        raise ValueError("it ends before it begins")
    return days


def _parse_interval(start: str, end: str) -> Days | None:
    nothing = Days(earliest=None, latest=None)
    first = nothing if start in _OPEN else _parse_common(start)
    last = nothing if end in _OPEN else _parse_common(end)
    if first is None or last is None or first == last == nothing:
        return None
    return Days(earliest=first.earliest, latest=last.latest)


def _parse_common(text: str) -> Days | None:
    """Return the days of years, months, days and decades; None for texts that need the grammar.

    Raises:
        ValueError: The month or the day does not exist.
    """
    if _DECADE.fullmatch(text):
        low, high = int(text.replace("X", "0")), int(text.replace("X", "9"))
        return _years(low, high)
    match = _PLAIN.fullmatch(text)
    if match is None:
        return _parse_timed(text) or _parse_unknown_digits(text) or _parse_doubtful_parts(text)
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None  # noqa: S101 - the expression has it
    if month is None:
        return _years(year, year)
    if month in _SEASONS and day is None:
        return None
    if not 1 <= month <= 12:  # noqa: PLR2004 - months
        raise ValueError(f"there is no month {month:02}")
    return _month(year, month, day=day) if year >= dt.MINYEAR else None


def _month(year: int, month: int, *, day: int | None) -> Days:
    days = calendar.monthrange(year, month)[1]
    if (month, day) == (2, 29) and _is_julian(year):
        julian = _read_julian(year)
        return Days(earliest=julian, latest=julian)
    if day is not None and not 1 <= day <= days:
        raise ValueError(
            f"there is no such day, {calendar.month_name[month]} {year} has {days} days"
        )
    first = dt.date(year, month, day or 1)
    return Days(earliest=first, latest=first if day else first.replace(day=days))


def _parse_timed(text: str) -> Days | None:
    match = _TIMED.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[1:])
    midnight = (hour, minute, second) == (24, 0, 0)
    # A minute may have a leap second.
    if not (midnight or (hour < 24 and minute < 60 and second <= 60)):  # noqa: PLR2004 - of a clock
        raise ValueError(f"there is no time {text.partition('T')[2]}")
    return _parse_common(match[1])


def _parse_unknown_digits(text: str) -> Days | None:
    """Return the days of a date like `1984-1X` or `1914-08-2X`."""
    match = _UNKNOWN_DIGITS.fullmatch(text)
    if match is None or "X" not in text:
        return None
    year, month, day = match.groups()
    if year == "XXXX":
        raise ValueError("it names no year")
    years = [number for number in _list_numbers(year, last=dt.MAXYEAR) if number >= dt.MINYEAR]
    months = _list_numbers(month or "XX", last=12)
    wanted = _list_numbers(day or "XX", last=31)
    if not years:
        raise ValueError("only the years 1 to 9999 can be kept")
    if not months:
        raise ValueError(f"there is no month {month}")
    first = _find_day(years, months=months, days=wanted)
    last = _find_day(years[::-1], months=months[::-1], days=wanted[::-1])
    if first is None or last is None:
        raise ValueError(f"there is no day {day} in such a month")
    return Days(earliest=first, latest=last)


def _parse_doubtful_parts(text: str) -> Days | None:
    """Return the days of a date of which single parts are doubtful: `2004-06-~01`."""
    plain = _DOUBT.sub("", text)
    return _parse_common(plain) if plain != text and _PARTS.fullmatch(text) else None


def _list_numbers(pattern: str, *, last: int) -> list[int]:
    """Return the numbers from 1 to `last` that a pattern such as `1X` may stand for."""
    low, high = int(pattern.replace("X", "0")), int(pattern.replace("X", "9"))
    digits = re.compile(pattern.replace("X", "[0-9]"))
    width = len(pattern)
    return [
        number
        for number in range(max(low, 1), min(high, last) + 1)
        if digits.fullmatch(f"{number:0{width}}")
    ]


def _find_day(years: list[int], *, months: list[int], days: list[int]) -> dt.date | None:
    """Return the first day of the calendar in the order of the arguments, or None."""
    for year, month in itertools.product(years[:_LEAP_CYCLE], months):
        count = calendar.monthrange(year, month)[1]
        for day in days:
            if day <= count:
                return dt.date(year, month, day)
    return None


def _parse_set(text: str) -> Days | None:
    """Return the days between which all members of a set lie: `[1667, 1670..1672]`, `{1914}`."""
    match = _SET.fullmatch(text)
    if match is None:
        return None
    members = [member.strip() for member in (match[1] or match[2] or "").split(",")]
    if not all(members):
        raise ValueError("a member of the set is missing")
    found = [_parse_member(member) for member in members]
    starts, ends = [days.earliest for days in found], [days.latest for days in found]
    earliest = None if None in starts else min(filter(None, starts))
    latest = None if None in ends else max(filter(None, ends))
    if earliest is None and latest is None:
        raise ValueError("it says nothing")
    return Days(earliest=earliest, latest=latest)


def _parse_member(text: str) -> Days:
    first, dots, last = text.partition("..")
    if dots and not (first or last):
        raise ValueError("it says nothing")
    start = (_parse_common(first) or _parse_by_grammar(first)) if first else None
    end = start
    if dots:
        end = (_parse_common(last) or _parse_by_grammar(last)) if last else None
    if start and end and start.earliest and end.latest and start.earliest > end.latest:
        raise ValueError("it ends before it begins")
    return Days(earliest=start.earliest if start else None, latest=end.latest if end else None)


def _years(low: int, high: int) -> Days | None:
    if low < dt.MINYEAR:
        return None
    return Days(earliest=dt.date(low, 1, 1), latest=dt.date(high, 12, 31))


def _parse_interval_by_grammar(start: str, end: str) -> Days:
    # Each end is parsed by itself: the package cannot read `1914-XX/1915-XX`, and it moves `/1916`
    # back by ten years although an unknown end does not say so.
    if start in _OPEN and end in _OPEN:
        raise ValueError("it says nothing")
    if any("/" in text or text[:1] in {"[", "{"} for text in (start, end)):
        raise ValueError("an interval lies between two dates")
    return Days(
        earliest=None
        if start in _OPEN
        else (_parse_common(start) or _parse_by_grammar(start)).earliest,
        latest=None if end in _OPEN else (_parse_common(end) or _parse_by_grammar(end)).latest,
    )


def _parse_by_grammar(text: str) -> Days:
    # The grammar accepts `Y1E999999999` too, and would compute it before it is refused as too late.
    if _LONG_YEAR.search(text):
        raise ValueError("only the years 1 to 9999 can be kept")
    # Imported here because building the grammar takes a tenth of a second, which every run of the
    # command line would pay.
    from edtf import parse_edtf  # noqa: PLC0415
    from edtf.parser import parser_classes  # noqa: PLC0415

    # The package prints what it cannot parse, which would mix with the lines of `--json`.
    # Redirecting standard output would redirect that of other threads, too.
    vars(parser_classes)["print"] = _say_nothing
    try:
        parsed = parse_edtf(text)
        bounds = parsed.lower_strict(), parsed.upper_strict()
    except Exception as error:  # the package raises anything on what its grammar lets through
        raise ValueError(f"it is not in the Extended Date/Time Format (EDTF){_EXAMPLES}") from error
    earliest, latest = map(_day, bounds)
    if earliest is None and latest is None:
        raise ValueError("it says nothing")
    return Days(earliest=earliest, latest=latest)


def _say_nothing(*_args: object, **_options: object) -> None:
    """Do nothing. The package `edtf` calls this in place of `print`."""


def _day(moment: time.struct_time | float) -> dt.date | None:
    """Return a day, or None for the infinity with which the package marks an open end."""
    if isinstance(moment, int | float):
        return None
    try:
        return dt.date(moment.tm_year, moment.tm_mon, moment.tm_mday)
    except (ValueError, OverflowError) as error:
        raise ValueError("only the years 1 to 9999 can be kept") from error
