"""Dates, times, counts and probabilities in words for people.

Words never say more than the dates do: from `1903` to `1915` it is about 12 years, not 4,383 days.
"""

from __future__ import annotations

import calendar
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import datetime as dt

    from halftone.client import Cluster, ImageRecord

_DATE: Final = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-([0-9]{2}))?)?([~?%]?)")
_DECADE: Final = re.compile(r"([0-9]{3})X")
_CENTURY: Final = re.compile(r"([0-9]{2})XX")
_DOUBT: Final = {"": "", "~": "about ", "?": "perhaps ", "%": "perhaps about "}
# A number, perhaps of a part of the newspaper (A5), or a Roman one; but neither `p5` nor `S5`.
_PAGE_NUMBER: Final = re.compile(
    r"[^\w]*(?:(?![ps])[^\W\d_])?[0-9]|[^\w]*[ivxlcdm]+(?!\.? ?\w)", re.IGNORECASE
)
_MONTH_DAYS: Final = 30.44
YEAR_DAYS: Final = 365.25
# The highest count of one unit before the next larger unit is used.
_MOST_DAYS, _MOST_WEEKS, _MOST_MONTHS, _YEARS_WITH_MONTHS = 13, 9, 23, 5
# The gap between dates that are known to within this many days is told in weeks and months.
_VAGUE_DAYS: Final = 100


def describe_date(image: ImageRecord) -> str:
    """Return a record's date in words, for example `22 August 1914`, `about 1914`, `the 1910s`.

    A date of another form is returned unchanged.
    """
    text = image.date.strip()
    start, slash, end = text.partition("/")
    if slash and start == end:
        text = start
    elif slash and start and end and ".." not in {start, end}:
        return f"{_describe_one_date(start)} to {_describe_one_date(end)}"
    return _describe_one_date(text) if text else "undated"


def _describe_one_date(text: str) -> str:
    if match := _DECADE.fullmatch(text):
        return f"the {match[1]}0s"
    if match := _CENTURY.fullmatch(text):
        return f"the {match[1]}00s"
    match = _DATE.fullmatch(text)
    if match is None:
        return text
    year, month, day, doubt = match.groups()
    words = [str(int(day))] if day else []
    if month:
        words.append(calendar.month_name[int(month)])
    return _DOUBT[doubt] + " ".join([*words, year])


def describe_page(page: str, *, word: str) -> str:
    """Return a page with a word before it, for example `p. 5`; as it is if it has one of its own.

    Args:
        page: The page as the record has it: `5`, `A5`, `xii`, `S. 5`, `стр. 5`, `cover`; or "".
        word: The word before a number.
    """
    return f"{word} {page}" if _PAGE_NUMBER.match(page) else page


def describe_gap(before: ImageRecord, after: ImageRecord) -> str:
    """Return the time between two printings in words, or "" if one has no date.

    The words are no more exact than the dates.
    """
    days = count_days(before, after)
    if days is None:
        return ""
    first, second = _interval(before), _interval(after)
    vague = _length(first) + _length(second)
    if vague == 0:
        return _describe_exact_gap(round(days))
    if second[0] <= first[1]:
        if _length(first) == _length(second) and first == second:
            whole = first[0].year == first[1].year
            month = whole and first[0].month == first[1].month
            return f"the same {'month' if month else 'year'}" if whole else "the same years"
        return "about the same time"
    if vague < _VAGUE_DAYS and days <= _MOST_MONTHS * _MONTH_DAYS:
        return f"about {format_count(max(round(days / _MONTH_DAYS), 1), 'month')} later"
    return f"about {format_count(max(round(days / YEAR_DAYS), 1), 'year')} later"


def _describe_exact_gap(days: int) -> str:
    if days <= 0:
        return "the same day"
    if days <= _MOST_DAYS:
        return f"{format_count(days, 'day')} later"
    if days <= _MOST_WEEKS * 7:
        return f"{format_count(round(days / 7), 'week')} later"
    months = round(days / _MONTH_DAYS)
    if months <= _MOST_MONTHS:
        return f"{format_count(months, 'month')} later"
    years, rest = divmod(months, 12)
    if rest and years < _YEARS_WITH_MONTHS:
        return f"{format_count(years, 'year')} and {format_count(rest, 'month')} later"
    return f"{format_count(round(days / YEAR_DAYS), 'year')} later"


def count_days(before: ImageRecord, after: ImageRecord) -> float | None:
    """Return the days between the middles of two dates, or None if one is missing."""
    if before.earliest_date is None or after.earliest_date is None:
        return None
    first, second = _interval(before), _interval(after)
    return ((second[0] - first[0]).days + (second[1] - first[1]).days) / 2


def _interval(image: ImageRecord) -> tuple[dt.date, dt.date]:
    start = image.earliest_date or image.latest_date
    if start is None:
        raise ValueError(f"{image.name} has no date.")
    return start, image.latest_date or start


def _length(days: tuple[dt.date, dt.date]) -> int:
    return (days[1] - days[0]).days


def may_precede(image: ImageRecord, first: ImageRecord) -> bool:
    """Return whether the dates leave open that an image is older than the first one."""
    if image.earliest_date is None or first.earliest_date is None:
        return False
    return _interval(image)[0] <= _interval(first)[1] and (
        _length(_interval(image)) > 0 or _length(_interval(first)) > 0
    )


def find_span(image: ImageRecord) -> tuple[float, float] | None:
    """Return the first and the last moment of an image's date in years, for example 1914.64.

    None if it has no date.
    """
    if image.earliest_date is None and image.latest_date is None:
        return None
    start, end = _interval(image)
    # The last day is over at midnight.
    return _year(start), max(_year(end) + 1 / YEAR_DAYS, _year(start))


def _year(day: dt.date) -> float:
    return day.year + (day.timetuple().tm_yday - 1) / (365 + calendar.isleap(day.year))


def choose_ticks(start: float, end: float, *, most: int) -> tuple[int, ...]:
    """Return round years for the ticks of a time line: at least one, at most `most`.

    Args:
        start: The begin of the time line, in years.
        end: Its end, in years.
        most: The most ticks.
    """
    for step in (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000):
        first = int(-(-start // step) * step)
        years = tuple(range(first, int(end) + 1, step))
        if len(years) <= most:
            return years or (int(start),)
    return (int(start),)


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun, for example `1 image` or `1,204 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_years(cluster: Cluster) -> str:
    """Return a cluster's years, for example `1898 to 1923 (25 years)`; "" without dates.

    From `1905` to the 1910s it is `1905 to 1919 (about 9 years)`.
    """
    if cluster.earliest_date is None or cluster.latest_date is None:
        return ""
    start, end = cluster.earliest_date.year, cluster.latest_date.year
    if start == end:
        return str(start)
    vague = "about " if end - start - cluster.span_years > 1 else ""
    years = format_count(cluster.span_years, "year")
    return f"{start} to {end}" + f" ({vague}{years})" * bool(cluster.span_years)


def format_probability(probability: float | None) -> str:
    """Return a probability with three digits, or "" for None.

    A probability that would be rounded up to 1 reads `>0.999`, because it is not certain.
    """
    if probability is None:
        return ""
    nearly = 0.9995 <= probability < 1  # noqa: PLR2004 - what would be rounded up to 1
    return ">0.999" if nearly else f"{probability:.3f}"
