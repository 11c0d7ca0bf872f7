"""Counts what an archive holds under a filter, and the values by which one can choose further."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.client import AsyncClient
    from halftone.services.web.answers.questions import Choice

_MOST_COUNTED: Final = 1000
_MOST_LABELS: Final = 100


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
        kind: `journal`, `archive`, `language`, `year` or `label`.
        values: Counts by value, the most frequent first; of years in chronological order. Of
            labels, values are written `key=value`.
        chosen: The values that the filter asks for.
    """

    kind: str
    values: tuple[tuple[str, int], ...]
    chosen: tuple[str, ...] = ()


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


async def count_facets(client: AsyncClient, choice: Choice) -> tuple[Facet, ...]:
    """Return the values to choose among, each field counted under the other fields of a filter."""
    kinds = ("journals", "archives", "languages", "date", "labels")
    # Fields of which nothing is chosen share one call.
    asked = {kind: choice.without(kind) for kind in kinds}
    calls = {
        other: asyncio.ensure_future(
            client.facets(
                filter=other.make_filter(),
                limit=_MOST_COUNTED,
                labels=asked["labels"] == other,
            )
        )
        for other in dict.fromkeys(asked.values())
    }
    await asyncio.gather(*calls.values())
    found = {kind: calls[other].result() for kind, other in asked.items()}
    labels = sorted(
        (
            (f"{key}={value}", count)
            for key, values in found["labels"].labels.items()
            for value, count in values.items()
            # What one picture has is its own name or address, by which nobody chooses.
            if count > 1 or (key, value) in choice.labels
        ),
        key=lambda item: -item[1],
    )[:_MOST_LABELS]
    return (
        Facet(kind="journal", values=_items(found["journals"].journals), chosen=choice.journals),
        Facet(
            kind="year",
            values=_items(found["date"].years),
            chosen=(choice.date,) if choice.date else (),
        ),
        Facet(kind="archive", values=_items(found["archives"].archives), chosen=choice.archives),
        Facet(
            kind="language", values=_items(found["languages"].languages), chosen=choice.languages
        ),
        Facet(
            kind="label",
            values=tuple(labels),
            chosen=tuple(f"{key}={value}" for key, value in choice.labels),
        ),
    )


def _items(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(counts.items())
