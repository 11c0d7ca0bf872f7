"""Drawings in SVG: the years of an archive as bars, a picture's printings on a time line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.rendering.wording import choose_ticks

if TYPE_CHECKING:
    from halftone.client import YearBucket
    from halftone.services.web.answers.questions import Question


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a histogram of years.

    Attributes:
        label: The years, for example `1890` or five years.
        date: The years as EDTF.
        count: The number of pictures.
        x: Left edge, 0 to 100.
        width: Width in the same unit.
        height: Height, 0 to 40.
        chosen: Whether the filter asks for just these years.
    """

    label: str
    date: str
    count: int
    x: float
    width: float
    height: float
    chosen: bool


_HEIGHT: Final = 40.0


def draw_years(years: tuple[YearBucket, ...], question: Question) -> list[Bar]:
    """Return the bars of a histogram of years; none if there is one span only."""
    if len(years) < 2:  # noqa: PLR2004 - one bar is no histogram
        return []
    most = max(*(span.count for span in years), 1)
    width = 100 / len(years)
    drawn = []
    for place, span in enumerate(years):
        first, last = span.first_year, span.last_year
        date = f"{first:04}" if first == last else f"{first:04}/{last:04}"
        drawn.append(
            Bar(
                label=f"{first}" if first == last else f"{first}\N{EN DASH}{last}",
                date=date,
                count=span.count,
                x=place * width,
                width=width * 0.84,
                # Even a single picture is seen.
                height=max(_HEIGHT * span.count / most, 1.5) if span.count else 0.0,
                chosen=question.choice.date == date,
            )
        )
    return drawn


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A printing on a time line.

    Attributes:
        number: Its place in time, from 1.
        x: Where its date begins, 0 to 1000.
        width: How long its date is, in the same unit.
        row: The row in which its number fits beside the others, from 0.
    """

    number: int
    x: float
    width: float
    row: int


@dataclass(frozen=True, kw_only=True)
class TimeLine:
    """A time line with its marks and years.

    Attributes:
        marks: The printings.
        ticks: Years and where they stand, 0 to 1000.
        rows: The number of rows of marks.
    """

    marks: list[Mark]
    ticks: list[tuple[int, float]]
    rows: int


_LINE: Final = 1000.0
_MARGIN: Final = 24.0
_MARK: Final = 30.0
_MOST_TICKS: Final = 8
_MOST_ROWS: Final = 6


def draw_timeline(spans: list[tuple[int, tuple[float, float]]]) -> TimeLine | None:
    """Return printings on a time line; None if fewer than two have a date.

    Args:
        spans: The printings' numbers, and the first and last moment of their dates in years.
    """
    if len(spans) < 2:  # noqa: PLR2004 - one printing is no line
        return None
    start, end = min(first for _, (first, _) in spans), max(last for _, (_, last) in spans)
    room = max(end - start, 1.0)
    scale = (_LINE - 2 * _MARGIN) / room

    def place(year: float) -> float:
        return _MARGIN + (year - start) * scale

    ends: list[float] = []
    marks = []
    for number, (first, last) in spans:
        x, width = place(first), max((last - first) * scale, 2.0)
        middle = x + width / 2
        row = next(
            (row for row, taken in enumerate(ends) if taken <= middle - _MARK / 2), len(ends)
        )
        row = min(row, _MOST_ROWS - 1)
        while len(ends) <= row:
            ends.append(0.0)
        ends[row] = middle + _MARK / 2
        marks.append(Mark(number=number, x=x, width=width, row=row))
    ticks = choose_ticks(start, end, most=_MOST_TICKS)
    return TimeLine(
        marks=marks,
        ticks=[(year, min(max(place(year), 0.0), _LINE)) for year in ticks],
        rows=len(ends),
    )
