"""Orders hits of the store so that the order is the same for every page: ties by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from halftone.services.search.store.port import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.services.search.store.port import Collection, Query, ScoredPoint

_MAX_TIES: Final = 4_000


def query(collection: Collection, *, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
    """Run searches in the store. Where the last hits of a list have equal scores, read on.

    Otherwise it would be chance which of these hits are in the list. In the channel of PDQ hashes,
    where a large archive has hundreds of them, they are left out instead, unless all hits have the
    same score.
    """
    found = collection.query(queries)
    return [
        _fetch_ties(collection, asked=asked, hits=hits)
        for asked, hits in zip(queries, found, strict=True)
    ]


def _fetch_ties(
    collection: Collection, *, asked: Query, hits: list[ScoredPoint]
) -> list[ScoredPoint]:
    limit = asked.limit
    if asked.using is Channel.PDQ and len(hits) == limit and hits[0].score > hits[-1].score:
        return [hit for hit in hits if hit.score > hits[-1].score]
    while len(hits) == limit > 1 and hits[-1].score == hits[-2].score and limit < _MAX_TIES:
        limit *= 2
        (hits,) = collection.query([dataclasses.replace(asked, limit=limit)])
    return hits


def page(
    collection: Collection, *, ranked: Sequence[ScoredPoint], offset: int, limit: int
) -> list[ScoredPoint]:
    """Return the hits of a page with their payloads. Hits with equal scores are ordered by name.

    Only the payloads of these hits are read, and of hits with the score of the first or last one.

    Args:
        collection: The collection to read.
        ranked: All hits, the best ones first. They may lack payloads.
        offset: The number of hits on the pages before.
        limit: The most hits on the page.
    """
    start, end = offset, min(offset + limit, len(ranked))
    if start >= end:
        return []
    while start > 0 and ranked[start - 1].score == ranked[offset].score:
        start -= 1
    while end < len(ranked) and ranked[end].score == ranked[end - 1].score:
        end += 1
    chosen = ranked[start:end]
    without = [hit.id for hit in chosen if not hit.payload]
    if without:
        found = collection.retrieve(without)
        # Hits without a record were deleted since.
        chosen = [
            dataclasses.replace(hit, payload=found[hit.id].payload) if hit.id in found else hit
            for hit in chosen
            if hit.payload or hit.id in found
        ]
    chosen = sorted(chosen, key=lambda hit: (-hit.score, _name(hit)))
    return chosen[offset - start : offset - start + limit]


def _name(point: ScoredPoint) -> str:
    return f"archives/{point.payload['archive']}/images/{point.payload['image_id']}"
