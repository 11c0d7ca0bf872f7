"""From the store's hits to a ranking: the best orientation of the query, ties by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, NamedTuple

from services.search import payload as payloads

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
    """Hits of the query's orientations as one ranking, most similar first."""
    best: dict[uuid.UUID, Ranked] = {}
    for orientation, hits in lists:
        for hit in hits:
            known = best.get(hit.id)
            if known is None or hit.score > known.point.score:
                best[hit.id] = Ranked(point=hit, orientation=orientation)
    return sorted(
        best.values(), key=lambda hit: (-hit.point.score, str(payloads.name_of(hit.point.payload)))
    )
