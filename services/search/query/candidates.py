"""Which images a search by a picture looks at, and how like the query each channel finds them.

Three channels bring candidates: descriptor, perceptual hash and visual words. The first block has
the best of each, in the order of the best rank that any gives them, and the best of these are
compared by local features. What lies beyond follows by descriptor, in blocks four times as deep
each. A block does not depend on the page that is asked for, so pages are pieces of one ranking.
"""

from __future__ import annotations

import dataclasses
import enum
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

    from halftone.services.search.query.plans import Plan
    from halftone.services.search.store.port import Collection, ScoredPoint, Stored

Floats = NDArray[np.float32]

_GROWTH: Final = 4
_MORE_HASHES: Final = 2
"""Times as many hashes are asked for: at the end of their list many are equally far away."""


class View(NamedTuple):
    """How like the query a candidate is in one channel, at best, and how the query lies then."""

    score: float
    orientation: Orientation


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image that may show the query's picture.

    Attributes:
        similarity: Of the descriptors, -1 to 1.
        pdq: Cosine of the hashes, -1 to 1; None where there is none.
        words: Likeness of the visual words, 0 to 1.
        best: The channel that ranks it highest; by descriptor beyond the first block.
    """

    id: uuid.UUID
    payload: Payload
    similarity: View
    pdq: View | None
    words: View | None
    best: Channel

    @property
    def name(self) -> str:
        """Of the image."""
        return f"archives/{self.payload['archive']}/images/{self.payload['image_id']}"

    @property
    def orientation(self) -> Orientation:
        """How the query lies in the channel that ranks the candidate highest."""
        view = {Channel.PDQ: self.pdq, Channel.WORDS: self.words}.get(self.best)
        return (view or self.similarity).orientation


class _Ask(enum.Enum):
    """Which channels are asked."""

    ALL = (Channel.DESCRIPTOR, Channel.PDQ, Channel.WORDS)
    DESCRIPTOR = (Channel.DESCRIPTOR,)


class Block(NamedTuple):
    """Candidates, and what speaks at most for an image that is in no block so far."""

    candidates: list[Candidate]
    rest: Evidence


def first(collection: Collection, *, plan: Plan) -> Block:
    """The first block, in the order in which its candidates are worth comparing."""
    found = _ranked(collection, plan, depth=_depth(plan), ask=_Ask.ALL)
    lists = {channel: each.ids for channel, each in found.items()}
    rest = Evidence(
        similarity=found[Channel.DESCRIPTOR].rest,
        pdq=found[Channel.PDQ].rest,
        words=found[Channel.WORDS].rest,
        verification=None,
    )
    return Block(_scored(collection, plan=plan, ids=_fused(lists), by=lists), rest)


def beyond(collection: Collection, *, plan: Plan, seen: Block) -> Iterator[Block]:
    """Block after block of what follows the first, until there is nothing more."""
    known = {candidate.id for candidate in seen.candidates}
    depth = _depth(plan)
    while depth < MAX_DEPTH:
        depth = min(depth * _GROWTH, MAX_DEPTH)
        found = _ranked(collection, plan, depth=depth, ask=_Ask.DESCRIPTOR)[Channel.DESCRIPTOR]
        block = [each for each in found.ids if each not in known]
        known.update(block)
        yield Block(
            _scored(collection, plan=plan, ids=block, by={}),
            dataclasses.replace(seen.rest, similarity=found.rest),
        )
        if len(found.ids) < depth:
            return


def given(collection: Collection, *, plan: Plan, id: uuid.UUID) -> list[Candidate]:  # noqa: A002 - the field's name
    """One image as a candidate, whatever brings it up; empty where there is none."""
    return _scored(collection, plan=plan, ids=[id], by={})


def _fused(found: dict[Channel, list[uuid.UUID]]) -> list[uuid.UUID]:
    return fuse_channels(
        descriptor=found[Channel.DESCRIPTOR],
        pdq=found[Channel.PDQ],
        words=found[Channel.WORDS],
        limit=sum(map(len, found.values())),
    )


def _depth(plan: Plan) -> int:
    return max(DEPTH, plan.verify_count)


class _Ranked(NamedTuple):
    """The best candidates of a channel, and how well all others score at most."""

    ids: list[uuid.UUID]
    rest: float


def _ranked(collection: Collection, plan: Plan, *, depth: int, ask: _Ask) -> dict[Channel, _Ranked]:
    """The best candidates of each channel, over the query's orientations."""
    queries = [
        Query(
            vector=vector,
            using=channel,
            limit=depth * (_MORE_HASHES if channel is Channel.PDQ else 1),
            filter=plan.condition,
            min_score=plan.min_score if channel is Channel.DESCRIPTOR else None,
            payloads=False,
        )
        for channel in ask.value
        for vector in _vectors(plan, channel)
    ]
    found = ranking.query(collection, queries=queries) if queries else []
    best: dict[Channel, dict[uuid.UUID, float]] = {channel: {} for channel in ask.value}
    rest = dict.fromkeys(ask.value, 0.0)
    for query, hits in zip(queries, found, strict=True):
        _merge(best[query.using], hits)
        if len(hits) >= query.limit or query.using is Channel.PDQ:
            # Of hashes that tie at the end of the list none may be in it.
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
    # Ties by id: names would have to be read first, of a logo that is there 10,000 times all.
    return sorted(scores, key=lambda each: (-scores[each], each))[:limit]


def _vectors(plan: Plan, channel: Channel) -> list[Floats | Words]:
    if channel is Channel.DESCRIPTOR:
        return list((plan.vectors or {}).values())
    picture = plan.picture
    assert picture is not None  # noqa: S101 - prepared
    if channel is Channel.PDQ:
        return [to_vector(bits) for bits in picture.pdq.values()]
    # Too plain a picture has none.
    return [Words(*each) for each in picture.words.values() if len(each.indices)]


def _scored(
    collection: Collection,
    *,
    plan: Plan,
    ids: Sequence[uuid.UUID],
    by: dict[Channel, list[uuid.UUID]],
) -> list[Candidate]:
    """Candidates with all their scores, from their stored vectors; none that is not alike enough.

    A channel's own scores would do for what it found itself. But an image may be among the first of
    one orientation and just not of the one in which it is most alike.
    """
    # What was deleted since is not there any more.
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
        Candidate(
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
    """For each of the rows, float32 [N, D], the best of the queries, float32 [D]."""
    lays = list(queries)
    # Not `@`, whose last digits depend on how many rows there are: a candidate has the same scores
    # whatever stands beside it.
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
    """For each image the likeness of its words to those of the query, at best."""
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
