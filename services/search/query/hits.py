"""Converts hits to the messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftone.services.search.archive.answers import to_answers
from halftone.services.search.comparison import messages
from halftone.services.search.store.port import PDQ_BITS, Stored
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from halftone.services.search.archive.answers import Answers
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.query.candidates import SearchCandidate
    from halftone.services.search.query.scoring import RankedCandidate
    from halftone.services.search.store.port import ScoredPoint
    from halftone.v1 import verdicts_pb2


def to_hits(
    hits: Sequence[RankedCandidate],
    *,
    holdings: Holdings,
    verdicts: Mapping[uuid.UUID, verdicts_pb2.Verdict],
) -> list[search_pb2.Hit]:
    """Convert hits of a search by a picture to messages.

    The names of other records with the same bytes are read from the store.

    Args:
        hits: The hits.
        holdings: The holdings that are read.
        verdicts: The verdicts that hold between the query image and its hits, by hit.
    """
    answers = _to_answers([each.candidate for each in hits], holdings=holdings)
    return [_hit(each, answers=answers, verdict=verdicts.get(each.candidate.id)) for each in hits]


def to_plain_hits(
    hits: Sequence[ScoredPoint],
    *,
    probabilities: Mapping[uuid.UUID, float],
    holdings: Holdings,
) -> list[search_pb2.Hit]:
    """Convert hits of a search by an embedding, which were not compared, to messages.

    The names of other records with the same bytes are read from the store.

    Args:
        hits: The hits.
        probabilities: The probability of each hit.
        holdings: The holdings that are read.
    """
    answers = _to_answers(hits, holdings=holdings)
    return [
        search_pb2.Hit(
            image=answers.images[each.id],
            page=answers.pages.get(each.id),
            similarity=min(1.0, max(-1.0, each.score)),
            probability=probabilities[each.id],
            relation=search_pb2.Hit.NOT_COMPARED,
            verification=messages.to_verification(None),
        )
        for each in hits
    ]


def _to_answers(
    found: Sequence[SearchCandidate] | Sequence[ScoredPoint], *, holdings: Holdings
) -> Answers:
    records = [Stored(id=each.id, payload=each.payload) for each in found]
    return to_answers(holdings.collection, records)


def _hit(
    scored: RankedCandidate,
    *,
    answers: Answers,
    verdict: verdicts_pb2.Verdict | None,
) -> search_pb2.Hit:
    candidate = scored.candidate
    hit = search_pb2.Hit(
        image=answers.images[candidate.id],
        page=answers.pages.get(candidate.id),
        similarity=min(1.0, max(-1.0, candidate.similarity.score)),
        mirrored=scored.orientation.mirrored,
        rotation=scored.orientation.rotation,
        probability=scored.probability,
        relation=messages.relation_of(scored.relation),
        verification=messages.to_verification(scored.outcome),
        verdict=verdict,
        negative=scored.verification is not None and scored.verification.is_negative,
    )
    evidence = scored.evidence
    if evidence.pdq is not None:
        # The cosine of two hashes of ±1 is 1 - 2 d / 256.
        hit.pdq_distance = round((1 - evidence.pdq) * PDQ_BITS / 2)
    if evidence.words is not None:
        hit.words_similarity = evidence.words
    return hit
