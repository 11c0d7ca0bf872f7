"""Which images a search by a picture looks at, and how like the query each channel finds them.

Three channels bring candidates: descriptor, perceptual hash and visual words. The first block has
the best of each, in the order of the best rank that any gives them, and the best of these are
compared by local features. What lies beyond follows by descriptor, in blocks four times as deep
each. A block does not depend on the page that is asked for, so pages are pieces of one ranking.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halftone.matching.fusion import DEPTH, fuse_channels
from halftone.matching.pdq import to_vector
from halftone.orientations import UPRIGHT, Orientation
from services.search import ranking
from services.search.plans import MAX_DEPTH
from services.search.store import PDQ_BITS, Channel, Payload, Query, Words

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from services.search.plans import Plan
    from services.search.store import Collection, ScoredPoint, Stored

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


def first(collection: Collection, *, plans: Sequence[Plan]) -> list[list[Candidate]]:
    """The first block of each plan, in the order in which they are worth comparing."""
    # A store in this process lets nobody else in while it answers: the 18 queries of a plan take
    # 10 ms of 4,000 images, those of 64 plans together would stop the event loop for 350.
    together = 1 if collection.holds_interpreter else max(1, len(plans))
    lists: list[dict[Channel, list[uuid.UUID]]] = []
    for start in range(0, len(plans), together):
        part = plans[start : start + together]
        lists += _ranked(collection, part, depths=[_depth(plan) for plan in part], ask=_Ask.ALL)
    return [
        _scored(collection, plan=plan, ids=_fused(found), by=found)
        for plan, found in zip(plans, lists, strict=True)
    ]


def beyond(
    collection: Collection, *, plan: Plan, seen: Sequence[Candidate]
) -> Iterator[list[Candidate]]:
    """Block after block of what follows, until there is nothing more."""
    known = {candidate.id for candidate in seen}
    depth = _depth(plan)
    while depth < MAX_DEPTH:
        depth = min(depth * _GROWTH, MAX_DEPTH)
        (lists,) = _ranked(collection, [plan], depths=[depth], ask=_Ask.DESCRIPTOR)
        found = lists[Channel.DESCRIPTOR]
        block = [each for each in found if each not in known]
        known.update(block)
        yield _scored(collection, plan=plan, ids=block, by={})
        if len(found) < depth:
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


def _ranked(
    collection: Collection, plans: Sequence[Plan], *, depths: Sequence[int], ask: _Ask
) -> list[dict[Channel, list[uuid.UUID]]]:
    """For each plan and channel the best candidates, over the query's orientations."""
    queries: list[Query] = []
    origin: list[tuple[int, Channel]] = []
    for at, (plan, depth) in enumerate(zip(plans, depths, strict=True)):
        for channel in ask.value:
            for vector in _vectors(plan, channel):
                queries.append(
                    Query(
                        vector=vector,
                        using=channel,
                        limit=depth * (_MORE_HASHES if channel is Channel.PDQ else 1),
                        filter=plan.condition,
                        min_score=plan.min_score if channel is Channel.DESCRIPTOR else None,
                        payloads=False,
                    )
                )
                origin.append((at, channel))
    found = ranking.query(collection, queries=queries) if queries else []
    best: list[dict[Channel, dict[uuid.UUID, float]]] = [{} for _ in plans]
    for (at, channel), hits in zip(origin, found, strict=True):
        _merge(best[at].setdefault(channel, {}), hits)
    return [
        {channel: _best(best[at].get(channel, {}), limit=depth) for channel in ask.value}
        for at, depth in enumerate(depths)
    ]


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
