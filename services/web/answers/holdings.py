"""Counts what an archive holds under a filter, and the values by which one can choose further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.client import AsyncClient, YearBucket
    from halftone.services.web.answers.questions import Choice

_MOST_COUNTED: Final = 1000
_MOST_LABELS: Final = 100
_MOST_BARS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a search looks through.

    Attributes:
        total: The number of pictures under the filter.
        journals: The number of journals, at most 1,000.
        first_year: The earliest year; empty without dates.
        last_year: The latest year.
    """

    total: int
    journals: int
    first_year: str
    last_year: str


@dataclass(frozen=True, kw_only=True)
class Facet:
    """The values of one field, with counts that follow the filter's other fields.

    Attributes:
        kind: `journal`, `archive`, `language` or `label`.
        values: Counts by value, the most frequent first. Values of labels are written `key=value`.
        chosen: The values that the filter asks for.
    """

    kind: str
    values: tuple[tuple[str, int], ...]
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen further.

    Attributes:
        facets: The fields with their values.
        years: The years in spans of equal length, counted under all of the filter but its date.
    """

    facets: tuple[Facet, ...]
    years: tuple[YearBucket, ...]


async def count_holdings(client: AsyncClient, choice: Choice) -> Holdings:
    """Return what there is under a filter."""
    facets = await client.facets(filter=choice.make_filter(), limit=_MOST_COUNTED)
    years = list(facets.years)
    return Holdings(
        total=facets.total,
        journals=len(facets.journals),
        first_year=years[0] if years else "",
        last_year=years[-1] if years else "",
    )


async def count_choices(client: AsyncClient, choice: Choice) -> Choices:
    """Return the values to choose among, each field counted under the other fields of a filter."""
    found = await client.facets(
        filter=choice.make_filter(),
        limit=_MOST_COUNTED,
        labels=True,
        ignore_own_values=True,
        year_buckets=_MOST_BARS,
    )
    labels = sorted(
        (
            (f"{key}={value}", count)
            for key, values in found.labels.items()
            for value, count in values.items()
            # What one picture has is its own name or address, by which nobody chooses.
            if count > 1 or (key, value) in choice.labels
        ),
        key=lambda item: -item[1],
    )[:_MOST_LABELS]
    facets = (
        Facet(kind="journal", values=_items(found.journals), chosen=choice.journals),
        Facet(kind="archive", values=_items(found.archives), chosen=choice.archives),
        Facet(kind="language", values=_items(found.languages), chosen=choice.languages),
        Facet(
            kind="label",
            values=tuple(labels),
            chosen=tuple(f"{key}={value}" for key, value in choice.labels),
        ),
    )
    return Choices(facets=facets, years=found.year_histogram)


def _items(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(counts.items())
