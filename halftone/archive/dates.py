"""Converts EDTF dates to the days between which they lie.

The Library of Congress's Extended Date/Time Format expresses what is known of a date: `1914`,
`1914-08`, `191X`, `1914-08~` (approximate), `1914/1916`, `../1916`. An archive record keeps the
text and the days between which it lies; a date filter matches a record when the two intervals
overlap.

An approximate or uncertain date (`~`, `?`, `%`) lies between the days that it names. The `edtf`
package would widen `1914-08~` by a year and a month on both sides, which puts a picture into years
that nobody wrote down. A caller that wants the tolerance asks for a wider range.

An open or unknown end (`../1916`, `1914/`) has no day. Seasons follow the package: `1914-21` is
March to May, and winter (`1914-24`) the December of that year.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
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


def _advise(text: str) -> str:
    """Return what to write instead of a text that is no date, or "" if that is not clear."""
    readings = date_hints.list_readings(text) if len(text) <= MAX_LENGTH else ()
    if date_hints.UNDATED in readings:
        return "; leave it empty where no date is known"
    dates = [reading for reading in readings if _is_date(reading)]
    return f"; write {' or '.join(dates)}" if dates else ""


def _is_date(text: str) -> bool:
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
        days = _parse_common(text) or _parse_by_grammar(text)
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
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None  # noqa: S101 - the expression has it
    if month is None:
        return _years(year, year)
    if month in _SEASONS and day is None:
        return None
    if not 1 <= month <= 12:  # noqa: PLR2004 - months
        raise ValueError(f"there is no month {month:02}")
    if year < dt.MINYEAR:
        return None
    days = calendar.monthrange(year, month)[1]
    if day is not None and not 1 <= day <= days:
        raise ValueError(
            f"there is no such day, {calendar.month_name[month]} {year} has {days} days"
        )
    first = dt.date(year, month, day or 1)
    return Days(earliest=first, latest=first if day else first.replace(day=days))


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
