"""Counts what an archive holds under a filter, and the values by which one can choose further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.client import AsyncClient, YearBucket
    from halftone.services.web.answers.questions import Choice

_MOST_COUNTED: Final = 1000
# A page stays below 150 kB; who wants a rarer value types it.
_MOST_SHOWN: Final = 60
# Of fewer pictures it cannot be known whether each has a value of its own.
_MOST_SINGLE: Final = 20
_MOST_BARS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a search looks through.

    Attributes:
        total: The number of pictures under the filter.
        journals: The number of journals.
        has_more_journals: Whether there are more journals than that, because counting ended there.
        first_year: The earliest year; empty without dates.
        last_year: The latest year.
    """

    total: int
    journals: int
    has_more_journals: bool
    first_year: str
    last_year: str


@dataclass(frozen=True, kw_only=True)
class Facet:
    """The values of one field, with counts that follow the filter's other fields.

    Attributes:
        kind: `journal`, `archive`, `language` or `label`.
        values: Counts by value, the most frequent first. Values of labels are written `key=value`.
        chosen: The values that the filter asks for.
        is_complete: Whether these are all values; otherwise the rarer ones are missing.
    """

    kind: str
    values: tuple[tuple[str, int], ...]
    chosen: tuple[str, ...] = ()
    is_complete: bool = True


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen further.

    Attributes:
        facets: The fields with their values.
        years: The years in spans of equal length, counted under all of the filter but its date.
        label_keys: The keys of all labels, those without a facet, too.
    """

    facets: tuple[Facet, ...]
    years: tuple[YearBucket, ...]
    label_keys: tuple[str, ...] = ()


async def count_holdings(client: AsyncClient, choice: Choice) -> Holdings:
    """Return what there is under a filter."""
    facets = await client.facets(filter=choice.make_filter(), limit=_MOST_COUNTED)
    years = list(facets.years)
    return Holdings(
        total=facets.total,
        journals=len(facets.journals),
        has_more_journals=len(facets.journals) >= _MOST_COUNTED,
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
    labels = {
        f"{key}={value}": count
        for key, values in found.labels.items()
        for value, count in values.items()
        if (key, value) in choice.labels
        or not (_is_identity(values) or (count == 1 and "://" in value))
    }
    chosen_labels = tuple(f"{key}={value}" for key, value in choice.labels)
    facets = (
        _make_facet("journal", found.journals, chosen=choice.journals),
        _make_facet("archive", found.archives, chosen=choice.archives),
        _make_facet("language", found.languages, chosen=choice.languages),
        _make_facet("label", labels, chosen=chosen_labels),
    )
    return Choices(
        facets=facets, years=found.year_histogram, label_keys=tuple(sorted(found.labels))
    )


def _is_identity(values: Mapping[str, int]) -> bool:
    """Return whether each picture has a value of its own, such as an address.

    Nobody chooses by these.
    """
    return len(values) > _MOST_SINGLE and max(values.values()) == 1


def _make_facet(kind: str, counts: Mapping[str, int], *, chosen: tuple[str, ...]) -> Facet:
    values = sorted(counts.items(), key=lambda item: (item[0] not in chosen, -item[1], item[0]))
    return Facet(
        kind=kind,
        values=tuple(values[:_MOST_SHOWN]),
        chosen=chosen,
        is_complete=len(values) <= _MOST_SHOWN,
    )
