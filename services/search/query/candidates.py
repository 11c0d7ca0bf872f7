"""Finds the candidates of a search by a picture, with their scores in each channel.

Three channels find candidates: descriptor, perceptual hash and visual words. The first block has
the best candidates of each channel, ordered by the best rank that any channel gives them; the best
of these are compared by local features. Later blocks come from the descriptor alone, each four
times as deep as the one before. A block does not depend on the page, so all pages are cut from one
ranking.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halftone.imaging.orientations import UPRIGHT, Orientation
from halftone.matching.fusion import DEPTH, fuse_channels
from halftone.matching.pdq import to_vector
from halftone.matching.probability import Evidence
from halftone.services.search.query import ranking
from halftone.services.search.query.plans import MAX_DEPTH
from halftone.services.search.store.port import PDQ_BITS, Channel, Payload, Query, Words

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from halftone.services.search.query.plans import SearchPlan
    from halftone.services.search.store.port import Collection, ScoredPoint, Stored

Floats = NDArray[np.float32]

_GROWTH: Final = 4
_MORE_HASHES: Final = 2
"""How many times more hashes to ask for than candidates: many tie at the end of the list."""


class View(NamedTuple):
    """A candidate's best score in one channel, and the query orientation that gives it."""

    score: float
    orientation: Orientation


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCandidate:
    """An image that may show the query's picture.

    Attributes:
        id: The id of its point in the store.
        payload: The payload of its record.
        similarity: Cosine of the descriptors, -1 to 1.
        pdq: Cosine of the hashes, -1 to 1; None if the image has no hash.
        words: Cosine of the visual words, 0 to 1; None if it has none.
        best: The channel that ranks it highest; always the descriptor after the first block.
    """

    id: uuid.UUID
    payload: Payload
    similarity: View
    pdq: View | None
    words: View | None
    best: Channel

    @property
    def name(self) -> str:
        """The resource name of the image."""
        return f"archives/{self.payload['archive']}/images/{self.payload['image_id']}"

    @property
    def orientation(self) -> Orientation:
        """The query's orientation in the channel that ranks the candidate highest."""
        view = {Channel.PDQ: self.pdq, Channel.WORDS: self.words}.get(self.best)
        return (view or self.similarity).orientation


class Block(NamedTuple):
    """Candidates, and an upper bound on the evidence of all images that are in no block so far."""

    candidates: list[SearchCandidate]
    rest: Evidence


def find_first_block(collection: Collection, *, plan: SearchPlan) -> Block:
    """Return the first block. Its candidates are ordered: the most worth comparing come first."""
    found = _rank_channels(collection, plan, depth=_depth(plan), channels=tuple(Channel))
    lists = {channel: each.ids for channel, each in found.items()}
    rest = Evidence(
        similarity=found[Channel.DESCRIPTOR].rest,
        pdq=found[Channel.PDQ].rest,
        words=found[Channel.WORDS].rest,
        verification=None,
    )
    ids = fuse_channels(
        descriptor=lists[Channel.DESCRIPTOR],
        pdq=lists[Channel.PDQ],
        words=lists[Channel.WORDS],
        limit=sum(map(len, lists.values())),
    )
    return Block(_score_all(collection, plan=plan, ids=ids, by=lists), rest)


def find_later_blocks(collection: Collection, *, plan: SearchPlan, seen: Block) -> Iterator[Block]:
    """Yield the blocks that follow the first.

    They end when the collection has no more images, or with the 10,000th candidate.

    Args:
        collection: The collection to search.
        plan: The plan of the search.
        seen: The first block. Its candidates are left out.
    """
    known = {candidate.id for candidate in seen.candidates}
    depth = _depth(plan)
    while depth < MAX_DEPTH:
        depth = min(depth * _GROWTH, MAX_DEPTH)
        (ranked,) = _rank_channels(
            collection, plan, depth=depth, channels=(Channel.DESCRIPTOR,)
        ).values()
        block = [each for each in ranked.ids if each not in known]
        known.update(block)
        yield Block(
            _score_all(collection, plan=plan, ids=block, by={}),
            dataclasses.replace(seen.rest, similarity=ranked.rest),
        )
        if len(ranked.ids) < depth:
            return


def get_candidate(
    collection: Collection, *, plan: SearchPlan, point_id: uuid.UUID
) -> list[SearchCandidate]:
    """Return a list with an image as the only candidate; empty if the collection lacks the image.

    Args:
        collection: The collection that has the image.
        plan: The plan of the search. Its `min_score` counts here, too.
        point_id: The image.
    """
    return _score_all(collection, plan=plan, ids=[point_id], by={})


def _depth(plan: SearchPlan) -> int:
    return max(DEPTH, plan.verify_count)


class _Ranked(NamedTuple):
    """The best candidates of a channel, and an upper bound on the scores of all other images."""

    ids: list[uuid.UUID]
    rest: float


def _rank_channels(
    collection: Collection, plan: SearchPlan, *, depth: int, channels: Sequence[Channel]
) -> dict[Channel, _Ranked]:
    """Return the best candidates of each channel, over all orientations of the query."""
    queries = [
        Query(
            vector=vector,
            using=channel,
            limit=depth * (_MORE_HASHES if channel is Channel.PDQ else 1),
            filter=plan.condition,
            min_score=plan.min_score if channel is Channel.DESCRIPTOR else None,
            payloads=False,
        )
        for channel in channels
        for vector in _vectors(plan, channel)
    ]
    found = ranking.query(collection, queries=queries) if queries else []
    best: dict[Channel, dict[uuid.UUID, float]] = {channel: {} for channel in channels}
    rest = dict.fromkeys(channels, 0.0)
    for query, hits in zip(queries, found, strict=True):
        _merge(best[query.using], hits)
        if len(hits) >= query.limit or query.using is Channel.PDQ:
            # Hashes that tie with the end of the list were left out of it.
            rest[query.using] = max([rest[query.using], *(hit.score for hit in hits[-1:])])
    ranked = {}
    for channel, scores in best.items():
        ids = _best(scores, limit=depth)
        cut = [scores[ids[-1]]] if len(scores) > len(ids) else []
        ranked[channel] = _Ranked(ids, max([rest[channel], *cut]))
    return ranked


def _merge(scores: dict[uuid.UUID, float], hits: Sequence[ScoredPoint]) -> None:
    for hit in hits:
        if hit.score > scores.get(hit.id, -np.inf):
            scores[hit.id] = hit.score


def _best(scores: dict[uuid.UUID, float], *, limit: int) -> list[uuid.UUID]:
    # Break ties by id: by name, all records of a logo with 10,000 copies would have to be read.
    return sorted(scores, key=lambda each: (-scores[each], each))[:limit]


def _vectors(plan: SearchPlan, channel: Channel) -> list[Floats | Words]:
    if channel is Channel.DESCRIPTOR:
        return list((plan.vectors or {}).values())
    picture = plan.picture
    assert picture is not None  # noqa: S101 - prepared
    if channel is Channel.PDQ:
        return [to_vector(bits) for bits in picture.pdq.values()]
    # A picture with too little detail has no words.
    return [Words(*each) for each in picture.words.values() if len(each.indices)]


def _score_all(
    collection: Collection,
    *,
    plan: SearchPlan,
    ids: Sequence[uuid.UUID],
    by: dict[Channel, list[uuid.UUID]],
) -> list[SearchCandidate]:
    """Return candidates with the scores of all channels. Candidates below `min_score` are left out.

    The scores are computed from stored vectors. The scores that the channels returned would not do:
    a channel's list for one query orientation may contain an image while the list for its best
    orientation just misses it.
    """
    # Images that were deleted since are missing.
    there = collection.retrieve(list(ids), vectors=True) if ids else {}
    stored = [there[each] for each in ids if each in there]
    if not stored:
        return []
    picture = plan.picture
    assert picture is not None  # noqa: S101 - prepared
    descriptors = _views(
        np.stack([each.vector for each in stored if each.vector is not None]), plan.vectors or {}
    )
    hashes = _hashes(stored, {lay: to_vector(bits) for lay, bits in picture.pdq.items()})
    words = _words(
        stored, {Orientation(flip, 0): Words(*each) for flip, each in picture.words.items()}
    )
    ranks = {
        channel: {each: rank for rank, each in enumerate(found)} for channel, found in by.items()
    }

    def best(point: uuid.UUID) -> Channel:
        return (
            min(
                (ranked.get(point, MAX_DEPTH), at, channel)
                for at, (channel, ranked) in enumerate(ranks.items())
            )[2]
            if ranks
            else Channel.DESCRIPTOR
        )

    return [
        SearchCandidate(
            id=each.id,
            payload=each.payload,
            similarity=similarity,
            pdq=hashed,
            words=likeness,
            best=best(each.id),
        )
        for each, similarity, likeness, hashed in zip(
            stored, descriptors, words, hashes, strict=True
        )
        if plan.min_score is None or similarity.score >= plan.min_score
    ]


def _views(rows: Floats, queries: dict[Orientation, Floats]) -> list[View]:
    """Return for each of the rows, float32 [N, D], its best score and the query orientation."""
    lays = list(queries)
    # Not `@`, whose last digits depend on the number of rows: a candidate's scores must not depend
    # on the others in its block.
    scores = np.einsum("nd,vd->nv", rows, np.stack([queries[lay] for lay in lays]))
    best = scores.argmax(axis=1)
    return [
        View(float(score[at]), lays[at]) for score, at in zip(scores, best.tolist(), strict=True)
    ]


def _hashes(stored: Sequence[Stored], queries: dict[Orientation, Floats]) -> Sequence[View | None]:
    held = [each.pdq for each in stored if each.pdq is not None]
    if not held or not queries:
        return [None] * len(stored)
    rows = np.stack(held, dtype=np.float32) / np.float32(PDQ_BITS)
    views = iter(_views(rows, queries))
    return [None if each.pdq is None else next(views) for each in stored]


def _words(stored: Sequence[Stored], queries: dict[Orientation, Words]) -> list[View]:
    """Return for each image the best cosine of its words with the query's, and the orientation."""
    held = [each.words or _NONE for each in stored]
    rows = np.repeat(np.arange(len(held)), [len(each.indices) for each in held])
    indices = np.concatenate([each.indices for each in held]).astype(np.int64)
    values = np.concatenate([each.values for each in held])
    best = [View(0.0, UPRIGHT)] * len(held)
    for lay, query in queries.items():
        if not len(query.indices):
            continue
        dense = np.zeros(max(int(indices.max(initial=0)), int(query.indices.max())) + 1, np.float32)
        dense[query.indices] = query.values
        scores = np.bincount(rows, weights=dense[indices] * values, minlength=len(held))
        best = [
            View(min(1.0, float(score)), lay) if score > known.score else known
            for score, known in zip(scores, best, strict=True)
        ]
    return best


_NONE: Final = Words(np.empty(0, np.uint32), np.empty(0, np.float32))
