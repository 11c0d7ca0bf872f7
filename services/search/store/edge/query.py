"""Searches over the parts of a collection in Qdrant Edge.

Each part ranks its points without reading payloads; the payloads of the best hits are read when the
answers of the parts are merged. A search of 30,000 vectors for ten hits takes 0.4 ms without
payloads and 0.8 to 1.1 ms with them; reading ten payloads takes 0.1 ms.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from halftone.services.search.store.edge.part import to_requests
from halftone.services.search.store.port import ScoredPoint

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from halftone.services.search.store.edge.part import Part
    from halftone.services.search.store.port import Payload, Query, Stored


class _Hit(NamedTuple):
    part: Part
    score: float


def answer(
    parts: Sequence[Part],
    *,
    queries: Sequence[Query],
    moved: Callable[[list[uuid.UUID]], Mapping[uuid.UUID, Stored]],
) -> list[list[ScoredPoint]]:
    """Run searches together and return the hits of each, most similar first.

    Args:
        parts: The parts, the open one last. If two points have the same id, the open part has the
            newer one.
        queries: The searches.
        moved: Reads points that left their part after they were found.
    """
    requests = to_requests(queries)
    searched = [part for part in parts if not part.empty]
    found = [part.query(requests) for part in searched]
    best = [
        _best(
            [(part, lists[at]) for part, lists in zip(searched, found, strict=True)],
            limit=query.limit,
        )
        for at, query in enumerate(queries)
    ]
    wanted = [hits for query, hits in zip(queries, best, strict=True) if query.payloads]
    payloads = _payloads(wanted, moved=moved) if wanted else {}
    return [
        _to_scored_points(hits, payloads=payloads if query.payloads else None)
        for query, hits in zip(queries, best, strict=True)
    ]


def _best(
    answers: Sequence[tuple[Part, Sequence[tuple[uuid.UUID, float]]]], *, limit: int
) -> dict[uuid.UUID, _Hit]:
    hits = {each: _Hit(part, score) for part, scored in answers for each, score in scored}
    if len(answers) <= 1:
        return hits
    ranked = sorted(hits.items(), key=lambda item: -item[1].score)
    return dict(itertools.islice(ranked, limit))


def _payloads(
    lists: Iterable[Mapping[uuid.UUID, _Hit]],
    *,
    moved: Callable[[list[uuid.UUID]], Mapping[uuid.UUID, Stored]],
) -> dict[uuid.UUID, Payload]:
    by_part: dict[Part, set[uuid.UUID]] = {}
    for hits in lists:
        for each, hit in hits.items():
            by_part.setdefault(hit.part, set()).add(each)
    payloads = {
        each: stored.payload
        for part, ids in by_part.items()
        for each, stored in part.retrieve(list(ids), vectors=False).items()
    }
    if missing := set().union(*by_part.values()).difference(payloads):
        payloads |= {each: stored.payload for each, stored in moved(list(missing)).items()}
    return payloads


def _to_scored_points(
    hits: Mapping[uuid.UUID, _Hit], *, payloads: Mapping[uuid.UUID, Payload] | None
) -> list[ScoredPoint]:
    if payloads is None:
        return [ScoredPoint(id=each, score=hit.score, payload={}) for each, hit in hits.items()]
    # A point without a payload was deleted since.
    return [
        ScoredPoint(id=each, score=hit.score, payload=payloads[each])
        for each, hit in hits.items()
        if each in payloads
    ]
