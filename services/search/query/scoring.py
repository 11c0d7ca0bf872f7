"""Ranks candidates by the probability that they show the query's picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.imaging.orientations import Orientation
from halftone.matching.overlaps import Verification
from halftone.matching.probability import LIKELY, Calibration, Evidence
from halftone.matching.relation import Relation, relation
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query import candidates
from halftone.services.search.query.pages import leave_out_pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from halftone.services.search.comparison.verifier import Outcome
    from halftone.services.search.query.candidates import Block, SearchCandidate
    from halftone.services.search.query.plans import SearchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidate:
    """A candidate with its evidence, probability and relation to the query.

    `outcome` is None if the candidate was not selected for comparison.
    """

    candidate: SearchCandidate
    outcome: Outcome | None
    evidence: Evidence
    same_bytes: bool
    probability: float
    relation: Relation

    @property
    def verification(self) -> Verification | None:
        """The result of the comparison; None if there was none."""
        return self.outcome if isinstance(self.outcome, Verification) else None

    @property
    def is_founded(self) -> bool:
        """Whether there is more evidence than similarity: the same bytes, or shared features."""
        return self.same_bytes or self.evidence.is_verified_match(self.probability)

    @property
    def orientation(self) -> Orientation:
        """The orientation of the query in the image, in quarter turns."""
        found = self.verification
        if found is None or not found.overlaps:
            return self.candidate.orientation
        largest = found.overlaps[0]
        return Orientation(largest.mirrored, round(largest.rotation / 90) % 4 * 90)


def rank(
    block: Block, outcomes: Sequence[Outcome], *, plan: SearchPlan, calibration: Calibration
) -> list[RankedCandidate]:
    """Return the hits of a search up to the end of its page or further. Reads the store.

    Pages of the archive that a hit on a picture of them explains are left out; see `pages`.

    Later blocks are read until the page is full or no image in them can be probable enough.

    Args:
        block: The first block.
        outcomes: The outcomes of its first candidates; the others were not selected for comparison.
        plan: The plan of the search.
        calibration: Turns evidence into probability for this model version.
    """
    hits = leave_out_pages(score(block.candidates, outcomes, plan=plan, calibration=calibration))
    further = candidates.find_later_blocks(plan.collection, plan=plan, seen=block)
    while len(hits) < plan.depth:
        # An image without a hash may be more probable than one whose hash differs.
        possible = [block.rest, dataclasses.replace(block.rest, pdq=None)]
        most = float(calibration.probabilities(possible).max())
        if not plan.passes(most) or (following := next(further, None)) is None:
            break
        block = following
        more = score(block.candidates, [], plan=plan, calibration=calibration)
        hits += leave_out_pages(more, before=hits)
        if not more and plan.min_probability is not None and most < LIKELY:
            # Upper bound: assume the image ranks just below the end of every channel's list.
            break
    return hits


def score(
    block: Sequence[SearchCandidate],
    outcomes: Sequence[Outcome],
    *,
    plan: SearchPlan,
    calibration: Calibration,
) -> list[RankedCandidate]:
    """Rank candidates and leave out those below the search's `min_probability`.

    Args:
        block: The candidates.
        outcomes: The outcomes of the first candidates; the others were not selected for comparison.
        plan: The plan of the search.
        calibration: Turns evidence into probability for this model version.

    Returns:
        The hits, most probable first, ties by name. Candidates that were compared and are likely
        rank above all others: a candidate without a comparison may seem more probable, but has less
        evidence.
    """
    known: list[Outcome | None] = [*outcomes, *[None] * (len(block) - len(outcomes))]
    evidence = [
        _evidence(candidate, outcome) for candidate, outcome in zip(block, known, strict=True)
    ]
    probabilities = calibration.probabilities(evidence).tolist() if evidence else []
    hits = []
    for candidate, outcome, each, probability in zip(
        block, known, evidence, probabilities, strict=True
    ):
        same_bytes = bool(plan.sha256) and candidate.payload["sha256"] == plan.sha256
        # Equal bytes are the same picture, whatever the evidence says.
        certain = 1.0 if same_bytes else probability
        if plan.passes(certain):
            hits.append(
                RankedCandidate(
                    candidate=candidate,
                    outcome=outcome,
                    evidence=each,
                    same_bytes=same_bytes,
                    probability=certain,
                    relation=relation(each, probability=certain, same_bytes=same_bytes),
                )
            )
    return sort_candidates(hits)


def _evidence(candidate: SearchCandidate, outcome: Outcome | None) -> Evidence:
    """Return all evidence for a candidate. Of a negative, hash and words of the negative count."""
    verification = None if isinstance(outcome, Missed) else outcome
    pdq, words = candidate.pdq, candidate.words
    if verification is not None and verification.is_negative:
        pdq, words = candidate.negative_pdq, candidate.negative_words
    return Evidence(
        similarity=candidate.similarity.score,
        pdq=pdq and pdq.score,
        words=words and words.score,
        verification=verification,
    )


def sort_candidates(found: Iterable[RankedCandidate]) -> list[RankedCandidate]:
    """Sort candidates in the order that `score` describes."""
    return sorted(
        found,
        key=lambda each: (
            not each.is_founded,
            -each.probability,
            -each.candidate.similarity.score,
            each.candidate.name,
        ),
    )
