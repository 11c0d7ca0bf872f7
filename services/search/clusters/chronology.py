"""Sorts the printings of a picture by date and summarises them."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.services.search.archive import payload as payloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from halftone.services.search.store.port import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrinting:
    """An image of a cluster. Days are ordinals; None where there is no bound or no date."""

    point: bytes
    name: str
    journal: str
    earliest: int | None
    latest: int | None

    @classmethod
    def of(cls, point: bytes, payload: Payload) -> DatedPrinting:
        """Read a printing from the payload of its record."""
        earliest, latest = payloads.days_of(payload)
        return cls(
            point=point,
            name=str(payloads.name_of(payload)),
            journal=payload.get("journal", ""),
            earliest=earliest,
            latest=latest,
        )

    @property
    def day(self) -> int | None:
        """The day to sort by: the earliest possible day, or the latest if only that is known.

        None if neither is known.
        """
        return self.latest if self.earliest is None else self.earliest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSummary:
    """The facts about all printings of a cluster together; see `Cluster` in the contract."""

    first: bytes
    journals: tuple[str, ...]
    earliest: int | None
    latest: int | None
    span_years: int
    undated: int


def sort_by_date(printings: Iterable[DatedPrinting]) -> list[DatedPrinting]:
    """Sort printings by the earliest day on which each may have appeared; without a date, last."""
    return sorted(
        printings, key=lambda each: (each.day is None, each.day or 0, each.latest or 0, each.name)
    )


def count_gap_days(printings: Sequence[DatedPrinting]) -> list[int | None]:
    """Return for each printing the days since the printing before it; None if unknown.

    The days are counted between the earliest possible days of the two. `printings` must be sorted
    by date.
    """
    found: list[int | None] = []
    before: int | None = None
    for each in printings:
        found.append(None if before is None or each.earliest is None else each.earliest - before)
        before = each.earliest
    return found


def summarise(printings: Iterable[DatedPrinting]) -> ClusterSummary:
    """Return the summary of one or more printings."""
    ordered = sort_by_date(printings)
    earliest = min((each.earliest for each in ordered if each.earliest is not None), default=None)
    latest = max((each.latest for each in ordered if each.latest is not None), default=None)
    return ClusterSummary(
        first=ordered[0].point,
        journals=tuple(dict.fromkeys(each.journal for each in ordered if each.journal)),
        earliest=earliest,
        latest=latest,
        span_years=count_span_years(ordered),
        undated=sum(each.day is None for each in ordered),
    )


def count_span_years(printings: Sequence[DatedPrinting]) -> int:
    """Return the whole years between the first and the last of some printings.

    They lie between the middles of two dates: the one that is over first and the one that begins
    last. If these two overlap, as `191X` and `1914` do, nothing is known to lie between them, and
    it is 0.
    """
    begin = max((each.earliest for each in printings if each.earliest is not None), default=None)
    end = min((each.latest for each in printings if each.latest is not None), default=None)
    if begin is None or end is None or begin <= end:
        return 0
    # Of several dates that are over on one day the exact one is taken, and so at the other side.
    first = max((each for each in printings if each.latest == end), key=_middle)
    last = min((each for each in printings if each.earliest == begin), key=_middle)
    return _whole_years(_middle(first), _middle(last))


def _middle(printing: DatedPrinting) -> float:
    """Return the middle of a date, as an ordinal; of an open date, the day that is known."""
    days = [day for day in (printing.earliest, printing.latest) if day is not None]
    return sum(days) / len(days)


def _whole_years(first: float, last: float) -> int:
    """Return the whole years between two days, the anniversary included.

    The middle of a leap year is half a day earlier in the calendar than that of another year, and
    from one to the other it is a whole year all the same.
    """
    start, end = dt.date.fromordinal(int(first)), dt.date.fromordinal(math.ceil(last))
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))
