"""Counts records by archive, journal, year, language and label."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from halftone.core import errors
from halftone.service import paging
from halftone.services.search.archive import payload as payloads
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.store.port import Collection

    Counts = Sequence[tuple[str, int]]

MAX_BUCKETS: Final = 500
"""The most bars of a histogram."""

_DEFAULT_LIMIT: Final = 100
_MAX_VALUES: Final = 20_000
"""The most values of a field that are counted. The most frequent ones are chosen from these."""
_KEPT: Final = 64
_KEPT_SECONDS: Final = 5.0
_LABELS: Final = "label_values"
_OWN: Final = {
    "archive": "archives",
    "journal": "journals",
    "language": "languages",
    "year": "date",
}
"""The fields that are counted, each with the field of a filter that names its values."""
_WIDTHS: Final = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000)


class Facets:
    """Counts the records of the archive under a filter.

    Counts are kept for some seconds, because everybody who opens a page asks for the same ones. A
    change by this process ends that; a change by another process is seen when the time is over.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._lock = threading.Lock()
        self._changes = 0
        self._kept: TTLCache[tuple[str, bytes], search_pb2.CountFacetsResponse] = TTLCache(
            _KEPT, ttl=_KEPT_SECONDS
        )
        holdings.writer.listen(self._forget)

    async def count(self, request: search_pb2.CountFacetsRequest) -> search_pb2.CountFacetsResponse:
        """Count records by archive, journal, year, language and, if asked for, label.

        Raises:
            errors.InvalidArgument: The filter, the limit or the number of bars is not allowed.
        """
        collection = self._holdings.collection
        key = (collection.model_version, request.SerializeToString(deterministic=True))
        with self._lock:
            kept, changes = self._kept.get(key), self._changes
        if kept is not None:
            return kept
        threads = self._holdings.threads
        response = await threads.read_list("facets", count_facets, collection, request)
        with self._lock:
            # What changed meanwhile may not have been counted.
            if changes == self._changes:
                self._kept[key] = response
        return response

    def _forget(self, _changed: Iterable[uuid.UUID]) -> None:
        with self._lock:
            self._changes += 1
            self._kept.clear()


def count_facets(
    collection: Collection, request: search_pb2.CountFacetsRequest
) -> search_pb2.CountFacetsResponse:
    """Count the records of a collection. Blocks; run it in a thread.

    Raises:
        errors.InvalidArgument: The filter, the limit or the number of bars is not allowed.
    """
    limit = paging.check_size(
        request.limit if request.HasField("limit") else _DEFAULT_LIMIT, field="limit"
    )
    if request.HasField("year_buckets") and not 1 <= request.year_buckets <= MAX_BUCKETS:
        raise errors.InvalidArgument(
            f"year_buckets: {request.year_buckets}; it must be 1 to {MAX_BUCKETS}.",
            field="year_buckets",
        )
    counting = _Counting(collection, request.filter, own=not request.ignore_own_values)
    years = counting.count_values("year")
    response = search_pb2.CountFacetsResponse(
        total_count=counting.count(request.filter),
        archives=_to_facets(_most(counting.count_values("archive"), limit=limit)),
        journals=_to_facets(_most(counting.count_values("journal"), limit=limit)),
        languages=_to_facets(_most(counting.count_values("language"), limit=limit)),
        years=_to_facets(sorted(_most(years, limit=limit))),
    )
    if request.include_labels:
        response.labels.extend(
            search_pb2.LabelFacet(key=key, value=value, count=count)
            for text, count in _most(counting.count_labels(), limit=limit)
            for key, _, value in (text.partition("="),)
        )
    if request.HasField("year_buckets"):
        response.year_histogram.extend(make_histogram(years, most=request.year_buckets))
        known = sum(count for _, count in years)
        response.undated_count = counting.count(counting.leave_out("date")) - known
    return response


class _Counting:
    """Counts by one field after the other under a filter, or under what is left of it."""

    def __init__(self, collection: Collection, where: search_pb2.Filter, *, own: bool) -> None:
        """Count in a collection.

        Args:
            collection: The collection.
            where: The filter.
            own: Whether a field's own values in the filter count, too.
        """
        self._collection = collection
        self._where = where
        self._own = own
        # A wrong filter is refused as a whole, also where only a part of it would be used.
        payloads.to_filter(where)

    def leave_out(self, field: str) -> search_pb2.Filter:
        """Return the filter without one of its fields, unless own values count."""
        if self._own:
            return self._where
        left = search_pb2.Filter()
        left.CopyFrom(self._where)
        left.ClearField(field)
        return left

    def count(self, where: search_pb2.Filter) -> int:
        """Return the number of records under a filter."""
        return self._collection.count(payloads.to_filter(where))

    def count_values(self, key: str) -> Counts:
        """Return the values of a field, each with its number of records."""
        return self._facet(key, self.leave_out(_OWN[key]))

    def count_labels(self) -> Counts:
        """Return the labels in their indexed form, each with its number of records."""
        chosen = () if self._own else sorted(self._where.labels)
        found = self._facet(_LABELS, self._where)
        counts = [each for each in found if each[0].partition("=")[0] not in chosen]
        for key in chosen:
            left = search_pb2.Filter()
            left.CopyFrom(self._where)
            del left.labels[key]
            found = self._facet(_LABELS, left)
            counts += [each for each in found if each[0].partition("=")[0] == key]
        return counts

    def _facet(self, key: str, where: search_pb2.Filter) -> Counts:
        found = self._collection.facet(key, filter=payloads.to_filter(where), limit=_MAX_VALUES)
        # Values stay known to the store when their last record is deleted.
        return [(value, count) for value, count in found if count]


def make_histogram(years: Counts, *, most: int) -> list[search_pb2.YearBucket]:
    """Return counts by year as bars of equal length, from the first to the last one with images.

    Args:
        years: The years, each with a count.
        most: The most bars. They are as short as this allows: of 1, 2, 5, 10 … years.
    """
    if not years:
        return []
    counts = {int(year): count for year, count in years}
    first, last = min(counts), max(counts)
    width = next(each for each in _WIDTHS if last // each - first // each < most)
    bars = dict.fromkeys(range(first // width, last // width + 1), 0)
    for year, count in counts.items():
        bars[year // width] += count
    return [
        search_pb2.YearBucket(first_year=at * width, last_year=(at + 1) * width - 1, count=count)
        for at, count in bars.items()
    ]


def _most(counts: Counts, *, limit: int) -> Counts:
    """Return the most frequent values, ties in the order of the alphabet."""
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:limit]


def _to_facets(counts: Iterable[tuple[str, int]]) -> list[search_pb2.Facet]:
    return [search_pb2.Facet(value=value, count=count) for value, count in counts]
