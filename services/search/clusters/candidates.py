"""Finds the pictures worth comparing with a picture: its nearest neighbours in each channel."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from halftone.imaging.orientations import QUARTERS
from halftone.matching.fusion import fuse
from halftone.matching.words import turn
from halftone.services.search.store.port import AnyOf, Channel, Filter, Query

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from halftone.services.search.store.port import Collection, ScoredPoint, Stored, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """The numbers of neighbours that become candidates of a picture.

    A pair is found when either of its pictures finds the other, so fewer are needed than for a
    search.

    Attributes:
        descriptor: The number of nearest neighbours by descriptor.
        pdq: The number of nearest neighbours by PDQ hash.
        words: The number of nearest neighbours by visual words, for the picture and again for its
            mirror image.
        limit: The most neighbours of all channels together, chosen by the best rank in any channel.
        negative: The number of nearest neighbours of its negative, by PDQ hash, by visual words and
            by those of the mirrored negative. Half of all of these are taken beyond `limit`.
    """

    descriptor: int = 20
    pdq: int = 10
    words: int = 20
    limit: int = 32
    negative: int = 4


DEPTHS: Final = Depths()


class _Wanted(NamedTuple):
    """What is asked of a channel: the nearest of any of some vectors, to a depth."""

    channel: Channel
    vectors: list[np.ndarray | Words]
    depth: int


class ChangedWords(NamedTuple):
    """The visual words of a picture that was changed.

    Attributes:
        mirrored: Those of its mirror image.
        negatives: Those of its negative, and of the mirrored negative.
    """

    mirrored: Words
    negatives: tuple[Words, ...]


def find_neighbours(
    collection: Collection,
    stored: Stored,
    *,
    changed: ChangedWords | None,
    depths: Depths = DEPTHS,
) -> list[uuid.UUID]:
    """Return the images that are worth comparing with an image, the most promising ones first.

    Args:
        collection: The collection to search.
        stored: The image, with its vectors.
        changed: The visual words of its mirror image and negatives, to find such printings; None to
            skip that.
        depths: The numbers of neighbours to take.
    """
    sha256 = str(stored.payload["sha256"])
    wanted: list[_Wanted] = []
    if stored.vector is not None:
        wanted.append(_Wanted(Channel.DESCRIPTOR, [stored.vector], depths.descriptor))
    if stored.words is not None:
        wanted.append(_Wanted(Channel.WORDS, _turn(stored.words), depths.words))
    if stored.pdq is not None:
        wanted.append(_Wanted(Channel.PDQ, [stored.pdq], depths.pdq))
    if changed is not None:
        wanted.append(_Wanted(Channel.WORDS, _turn(changed.mirrored), depths.words))
    plain = len(wanted)
    if stored.pdq is not None:
        wanted.append(_Wanted(Channel.PDQ, [-stored.pdq], depths.negative))
    if changed is not None:
        wanted += [
            _Wanted(Channel.WORDS, _turn(each), depths.negative) for each in changed.negatives
        ]
    queries = [
        Query(vector=vector, using=each.channel, limit=each.depth + 1, payloads=False)
        for each in wanted
        for vector in each.vectors
    ]
    answers = collection.query(queries) if queries else []
    own: set[uuid.UUID] = set()
    if stored.payload.get("shared"):
        answers, own = _search_without_copies(
            collection, queries=queries, answers=answers, sha256=sha256
        )
    own.add(stored.id)
    following = iter(answers)
    lists = [
        _merge([next(following) for _ in each.vectors], without=own, limit=each.depth)
        for each in wanted
    ]
    found = fuse(lists[:plain], limit=depths.limit)
    # Negatives are rare, so they are looked for beside the others and not in their place.
    further = [[each for each in some if each not in found] for some in lists[plain:]]
    return found + fuse(further, limit=depths.negative * 3 // 2)


def _turn(words: Words) -> list[np.ndarray | Words]:
    """Return queries for printings of a picture in each quarter turn; none for a plain picture."""
    if not len(words.indices):
        return []
    return [turn(words, rotation=rotation) for rotation in QUARTERS]


def _merge(
    lists: Sequence[Sequence[ScoredPoint]], *, without: set[uuid.UUID], limit: int
) -> list[uuid.UUID]:
    """Return the images of several lists of one channel by their best score in any."""
    scores: dict[uuid.UUID, float] = {}
    for hit in itertools.chain.from_iterable(lists):
        if hit.id not in without:
            scores[hit.id] = max(hit.score, scores.get(hit.id, -np.inf))
    if len(lists) == 1:  # ties stay as the store orders them
        return list(scores)[:limit]
    return sorted(scores, key=lambda each: (-scores[each], each))[:limit]


def _search_without_copies(
    collection: Collection,
    *,
    queries: Sequence[Query],
    answers: Sequence[list[ScoredPoint]],
    sha256: str,
) -> tuple[list[list[ScoredPoint]], set[uuid.UUID]]:
    """Search again without the records that have the same bytes, if they take up too many hits.

    A logo may have 10,000 copies in the archive. They belong together without a comparison.

    Returns:
        The hits of each query, and the records with the same bytes among the hits before.
    """
    ids = {hit.id for hits in answers for hit in hits}
    there = collection.retrieve(list(ids))
    own = {each for each, other in there.items() if other.payload["sha256"] == sha256}
    others = Filter().without(AnyOf("sha256", (sha256,)))
    again = [
        dataclasses.replace(query, filter=others)
        if sum(hit.id in own for hit in hits) > query.limit // 4
        else None
        for query, hits in zip(queries, answers, strict=True)
    ]
    wanted = [query for query in again if query is not None]
    anew = iter(collection.query(wanted) if wanted else ())
    return [
        hits if query is None else next(anew) for query, hits in zip(again, answers, strict=True)
    ], own
