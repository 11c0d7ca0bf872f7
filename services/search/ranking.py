"""From the store's hits to a ranking: the best orientation of the query, ties by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from halftone.orientations import Orientation
    from services.search.store import Collection, Query, ScoredPoint

_MAX_TIES: Final = 4_000


class Ranked(NamedTuple):
    """A hit, and how the query lay that found it."""

    point: ScoredPoint
    orientation: Orientation


def query(collection: Collection, *, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
    """Asks the store; ties that the end of a list cuts through are fetched in full.

    Otherwise which of several equal pictures is on a page would be left to chance.
    """
    found = collection.query(queries)
    return [
        _with_ties(collection, asked=asked, hits=hits)
        for asked, hits in zip(queries, found, strict=True)
    ]


def _with_ties(
    collection: Collection, *, asked: Query, hits: list[ScoredPoint]
) -> list[ScoredPoint]:
    limit = asked.limit
    while len(hits) == limit > 1 and hits[-1].score == hits[-2].score and limit < _MAX_TIES:
        limit *= 2
        (hits,) = collection.query([dataclasses.replace(asked, limit=limit)])
    return hits


def merge(lists: Iterable[tuple[Orientation, Sequence[ScoredPoint]]]) -> list[Ranked]:
    """Hits of the query's orientations as one ranking, most similar first, ties in any order."""
    lists = list(lists)
    if len(lists) == 1:
        ((orientation, hits),) = lists
        return [Ranked(point=hit, orientation=orientation) for hit in hits]
    best: dict[uuid.UUID, Ranked] = {}
    for orientation, hits in lists:
        for hit in hits:
            known = best.get(hit.id)
            if known is None or hit.score > known.point.score:
                best[hit.id] = Ranked(point=hit, orientation=orientation)
    return sorted(best.values(), key=lambda hit: -hit.point.score)


def page(
    collection: Collection, *, ranked: Sequence[Ranked], offset: int, limit: int
) -> list[Ranked]:
    """The hits of a page with their payloads, ties by name.

    Payloads are read of these hits alone, and of those that tie with the first and the last.
    """
    start, end = offset, min(offset + limit, len(ranked))
    if start >= end:
        return []
    while start > 0 and ranked[start - 1].point.score == ranked[offset].point.score:
        start -= 1
    while end < len(ranked) and ranked[end].point.score == ranked[end - 1].point.score:
        end += 1
    chosen = ranked[start:end]
    without = [hit.point.id for hit in chosen if not hit.point.payload]
    if without:
        found = collection.retrieve(without)
        # What is gone was deleted since.
        chosen = [
            hit._replace(point=dataclasses.replace(hit.point, payload=found[hit.point.id].payload))
            if hit.point.id in found
            else hit
            for hit in chosen
            if hit.point.payload or hit.point.id in found
        ]
    chosen = sorted(chosen, key=lambda hit: (-hit.point.score, _name(hit.point)))
    return chosen[offset - start : offset - start + limit]


def _name(point: ScoredPoint) -> str:
    return f"archives/{point.payload['archive']}/images/{point.payload['image_id']}"
