"""Finds the candidates of a search by a picture, with their scores in each channel.

Three channels find candidates: descriptor, perceptual hash and visual words. Hash and words are
also asked for negatives of the query. The first block has the best candidates of each list, ordered
by the best rank that any list gives them; the best of these are compared by local features. Later
blocks come from the descriptor alone, each four times as deep as the one before. A block does not
depend on the page, so all pages are cut from one ranking.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halftone.imaging.orientations import QUARTERS, UPRIGHT, Orientation
from halftone.matching.fusion import DEPTH, NEGATIVE_DEPTH, fuse_channels
from halftone.matching.pdq import to_vector
from halftone.matching.probability import Evidence
from halftone.matching.words import Vocabulary, no_words, turn
from halftone.services.search.query import ranking
from halftone.services.search.query.plans import MAX_DEPTH
from halftone.services.search.store.port import PDQ_BITS, Channel, Payload, Query

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from halftone.matching.fingerprint import Fingerprint
    from halftone.services.search.query.plans import SearchPlan
    from halftone.services.search.store.port import Collection, ScoredPoint, Stored, Words

Floats = NDArray[np.float32]

_GROWTH: Final = 4
_MORE_HASHES: Final = 2
"""How many times more hashes to ask for than candidates: many tie at the end of the list."""


class Source(NamedTuple):
    """What finds candidates: a channel, asked for the query as it is or for negatives of it."""

    channel: Channel
    negative: bool = False


_SOURCES: Final = (
    *map(Source, Channel),
    Source(Channel.PDQ, negative=True),
    Source(Channel.WORDS, negative=True),
)


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
        best: The source that ranks it highest; always the descriptor after the first block.
        negative_pdq: The same as `pdq` with the query in negative; None if that is not asked for.
        negative_words: The same as `words` with the query in negative.
    """

    id: uuid.UUID
    payload: Payload
    similarity: View
    pdq: View | None
    words: View | None
    best: Source
    negative_pdq: View | None = None
    negative_words: View | None = None

    @property
    def name(self) -> str:
        """The resource name of the image."""
        return f"archives/{self.payload['archive']}/images/{self.payload['image_id']}"

    @property
    def orientation(self) -> Orientation:
        """The query's orientation in the source that ranks the candidate highest."""
        channel, negative = self.best
        view = {Channel.PDQ: self.pdq, Channel.WORDS: self.words}.get(channel)
        if negative:
            view = self.negative_pdq if channel is Channel.PDQ else self.negative_words
        return (view or self.similarity).orientation


class Block(NamedTuple):
    """Candidates, and what the evidence of all images that are in no block so far is at most.

    Of their words it is an estimate.
    """

    candidates: list[SearchCandidate]
    rest: Evidence


def find_first_block(collection: Collection, *, plan: SearchPlan) -> Block:
    """Return the first block. Its candidates are ordered: the most worth comparing come first."""
    found = _rank_sources(collection, plan, depth=_depth(plan), sources=_SOURCES)
    lists = {source: each.ids for source, each in found.items()}
    descriptor, pdq, words, *_ = _SOURCES
    ids = fuse_channels(
        descriptor=lists[descriptor],
        pdq=lists[pdq],
        words=lists[words],
        negatives=[each for source, each in lists.items() if source.negative],
        limit=sum(map(len, lists.values())),
    )
    block = _score_all(collection, plan=plan, ids=ids, by=lists)
    rest = Evidence(
        similarity=found[descriptor].rest,
        pdq=found[pdq].rest,
        words=_bound_words(block, listed=found[words]),
        verification=None,
    )
    return Block(block, rest)


def _bound_words(block: Sequence[SearchCandidate], *, listed: _Ranked) -> float:
    """Estimate the highest likeness by words of the images that are not in a block.

    The list is ordered by words with directions, and the likeness has none. What is alike by words
    and in no direction is turned by neither nothing nor quarters, which printings are not; so the
    last quarter of the list stands for what follows it. 0 if nothing follows.
    """
    if not listed.rest:
        return 0.0
    tail = set(listed.ids[-(len(listed.ids) // 4 + 1) :])
    alike = [each.words.score for each in block if each.words is not None and each.id in tail]
    return max(alike, default=listed.rest)


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
        (ranked,) = _rank_sources(
            collection, plan, depth=depth, sources=(Source(Channel.DESCRIPTOR),)
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
    """The best candidates of a source, and an upper bound on the scores of all other images."""

    ids: list[uuid.UUID]
    rest: float


def _rank_sources(
    collection: Collection, plan: SearchPlan, *, depth: int, sources: Sequence[Source]
) -> dict[Source, _Ranked]:
    """Return the best candidates of each source, over all orientations of the query."""
    depths = {source: NEGATIVE_DEPTH if source.negative else depth for source in sources}
    asked = [
        (
            source,
            Query(
                vector=vector,
                using=source.channel,
                limit=depths[source] * (_MORE_HASHES if source.channel is Channel.PDQ else 1),
                filter=plan.condition,
                min_score=plan.min_score if source.channel is Channel.DESCRIPTOR else None,
                payloads=False,
            ),
        )
        for source in sources
        for vector in _vectors(plan, source)
    ]
    found = ranking.query(collection, queries=[query for _, query in asked]) if asked else []
    best: dict[Source, dict[uuid.UUID, float]] = {source: {} for source in sources}
    rest = dict.fromkeys(sources, 0.0)
    for (source, query), hits in zip(asked, found, strict=True):
        _merge(best[source], hits)
        if len(hits) >= query.limit or query.using is Channel.PDQ:
            # Hashes that tie with the end of the list were left out of it.
            rest[source] = max([rest[source], *(hit.score for hit in hits[-1:])])
    ranked = {}
    for source, scores in best.items():
        ids = _best(scores, limit=depths[source])
        cut = [scores[ids[-1]]] if len(scores) > len(ids) else []
        ranked[source] = _Ranked(ids, max([rest[source], *cut]))
    return ranked


def _merge(scores: dict[uuid.UUID, float], hits: Sequence[ScoredPoint]) -> None:
    for hit in hits:
        if hit.score > scores.get(hit.id, -np.inf):
            scores[hit.id] = hit.score


def _best(scores: dict[uuid.UUID, float], *, limit: int) -> list[uuid.UUID]:
    # Break ties by id: by name, all records of a logo with 10,000 copies would have to be read.
    return sorted(scores, key=lambda each: (-scores[each], each))[:limit]


def _vectors(plan: SearchPlan, source: Source) -> list[Floats | Words]:
    if source.channel is Channel.DESCRIPTOR:
        return list((plan.vectors or {}).values())
    picture = plan.picture
    assert picture is not None  # noqa: S101 - prepared
    if source.channel is Channel.PDQ:
        if source.negative:
            # Words find a negative that is turned by quarters, too.
            hashes = _negative_hashes(picture)
            return [vector for lay, vector in hashes.items() if not lay.rotation]
        return [to_vector(bits) for bits in picture.pdq.values()]
    words = picture.negative_words if source.negative else picture.words
    # A picture with too little detail has no words.
    return [
        turn(each, rotation=rotation)
        for each in words.values()
        if len(each.indices)
        for rotation in (QUARTERS if plan.rotated else (0,))
    ]


def _negative_hashes(picture: Fingerprint) -> dict[Orientation, Floats]:
    """Return the hashes of a query in negative; empty if negatives are not asked for."""
    if not picture.negative_words:
        return {}
    return {lay: -to_vector(bits) for lay, bits in picture.pdq.items()}


def _score_all(
    collection: Collection,
    *,
    plan: SearchPlan,
    ids: Sequence[uuid.UUID],
    by: dict[Source, list[uuid.UUID]],
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
    # All plain pictures have one hash, which says nothing of a pair.
    hashes = _hashes(
        stored, {lay: to_vector(bits) for lay, bits in picture.pdq.items() if bits.any()}
    )
    negative_hashes = _hashes(stored, _negative_hashes(picture))
    words = _words(stored, picture.words)
    negative_words: Sequence[View | None] = [None] * len(stored)
    if picture.negative_words:
        negative_words = _words(stored, picture.negative_words)
    ranks = {
        source: {each: rank for rank, each in enumerate(found)} for source, found in by.items()
    }

    def best(point: uuid.UUID) -> Source:
        return (
            min(
                (ranked.get(point, MAX_DEPTH), at, source)
                for at, (source, ranked) in enumerate(ranks.items())
            )[2]
            if ranks
            else Source(Channel.DESCRIPTOR)
        )

    return [
        SearchCandidate(
            id=each.id,
            payload=each.payload,
            similarity=similarity,
            pdq=hashed,
            words=likeness,
            best=best(each.id),
            negative_pdq=negative_hash,
            negative_words=negative_likeness,
        )
        for each, similarity, likeness, hashed, negative_hash, negative_likeness in zip(
            stored, descriptors, words, hashes, negative_hashes, negative_words, strict=True
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


def _words(stored: Sequence[Stored], queries: dict[bool, Words]) -> list[View]:
    """Return for each image the best cosine of its words with the query's, and the orientation.

    Directions do not count: they bring candidates, and mean the same whichever way it is turned.

    Args:
        stored: The images.
        queries: The query's words by whether it is mirrored.
    """
    vocabulary = Vocabulary.load()
    queries = {way: vocabulary.drop_directions(words) for way, words in queries.items()}
    held = [vocabulary.drop_directions(each.words or no_words()) for each in stored]
    rows = np.repeat(np.arange(len(held)), [len(each.indices) for each in held])
    indices = np.concatenate([each.indices for each in held]).astype(np.int64)
    values = np.concatenate([each.values for each in held])
    best = [View(0.0, UPRIGHT)] * len(held)
    for mirrored, query in queries.items():
        if not len(query.indices):
            continue
        lay = Orientation(mirrored=mirrored)
        dense = np.zeros(max(int(indices.max(initial=0)), int(query.indices.max())) + 1, np.float32)
        dense[query.indices] = query.values
        scores = np.bincount(rows, weights=dense[indices] * values, minlength=len(held))
        best = [
            View(min(1.0, float(score)), lay) if score > known.score else known
            for score, known in zip(scores, best, strict=True)
        ]
    return best
