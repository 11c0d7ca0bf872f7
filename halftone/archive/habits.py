"""Finds out how a manifest writes numbers and dates, from all of its rows.

One row does not say whether `3/4/1914` is in March or in April, nor whether `3.0` is a number that
pandas made of 3. All rows together usually do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.archive.date_hints import Order
from halftone.archive.fields import read_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TELLING: Final = ("image_id", "page", "date")
"""The fields that tell habits: in each a whole number is meant where all of them look like one."""
_NUMBERS: Final = re.compile(
    r"(?<![0-9])([0-9]{1,2}) ?([-./ ]) ?([0-9]{1,2}) ?\2 ?[0-9]{4}(?![0-9])"
)
_MONTHS: Final = 12


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a manifest writes.

    Attributes:
        whole: The fields in which each value is a number like `3.0`, so that 3 is meant.
        order: Which of two numbers before a year is the day. None if no row tells, or if rows
            contradict each other.
        dotted: The same between dots, where the day comes first unless a row says otherwise.
    """

    whole: frozenset[str] = frozenset()
    order: Order | None = None
    dotted: Order | None = Order.DAY_FIRST


def find_habits(rows: Iterable[Mapping[str, Any]]) -> Habits:
    """Return the habits of a manifest.

    Args:
        rows: The fields of each of its rows, by name; see `fields.tidy_fields`.
    """
    whole: dict[str, bool] = {}
    seen: dict[bool, set[Order]] = {True: set(), False: set()}
    for row in rows:
        for key in TELLING:
            value = row.get(key)
            if isinstance(value, str) and whole.get(key, True):
                whole[key] = read_whole(value) is not None
        date = row.get("date")
        if isinstance(date, str):
            for first, separator, second in _NUMBERS.findall(date):
                if int(first) > _MONTHS >= int(second):
                    seen[separator == "."].add(Order.DAY_FIRST)
                elif int(second) > _MONTHS >= int(first):
                    seen[separator == "."].add(Order.MONTH_FIRST)
    dotted = seen[True] or {Order.DAY_FIRST}
    return Habits(
        whole=frozenset(key for key, holds in whole.items() if holds),
        order=next(iter(seen[False])) if len(seen[False]) == 1 else None,
        dotted=next(iter(dotted)) if len(dotted) == 1 else None,
    )
