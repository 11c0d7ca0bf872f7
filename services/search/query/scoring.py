"""From candidates and what their comparison found to a ranking by probability."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.imaging.orientations import Orientation
from halftone.matching.probability import LIKELY, Calibration, Evidence
from halftone.matching.relation import Relation, relation
from halftone.matching.verification import Verification
from halftone.services.search.comparison.verifier import Missed
from halftone.services.search.query import candidates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from halftone.services.search.comparison.verifier import Outcome
    from halftone.services.search.query.candidates import Block, Candidate
    from halftone.services.search.query.plans import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate with all that is said of it.

    `outcome` is None where it was not among those to be compared.
    """

    candidate: Candidate
    outcome: Outcome | None
    evidence: Evidence
    same_bytes: bool
    probability: float
    relation: Relation

    @property
    def verification(self) -> Verification | None:
        """What its comparison found, where it was compared."""
        return self.outcome if isinstance(self.outcome, Verification) else None

    @property
    def is_founded(self) -> bool:
        """Whether it is likely, and more than alike."""
        return self.same_bytes or self.evidence.founds(self.probability)

    @property
    def orientation(self) -> Orientation:
        """How the query lies in the image, in quarters."""
        found = self.verification
        if found is None or not found.overlaps:
            return self.candidate.orientation
        largest = found.overlaps[0]
        return Orientation(largest.mirrored, round(largest.rotation / 90) % 4 * 90)


def ranked(
    block: Block, outcomes: Sequence[Outcome], *, plan: Plan, calibration: Calibration
) -> list[Scored]:
    """The hits of a search, as many as its page takes and those before it; reads from the store.

    What lies beyond the first block is looked at until nothing there can be probable enough.

    Args:
        block: The first.
        outcomes: Of its first candidates.
        plan: Of the search.
        calibration: Of the model version.
    """
    found = score(block.candidates, outcomes, plan=plan, calibration=calibration)
    further = candidates.beyond(plan.collection, plan=plan, seen=block)
    while len(found) < plan.depth:
        # An image that has no hash may be more probable than one whose hash is unlike.
        possible = [block.rest, dataclasses.replace(block.rest, pdq=None)]
        most = float(calibration.probabilities(possible).max())
        if not plan.passes(most) or (following := next(further, None)) is None:
            break
        block = following
        more = score(block.candidates, [], plan=plan, calibration=calibration)
        found += more
        if not more and plan.min_probability is not None and most < LIKELY:
            # It would have to be all but listed by several channels, and by none.
            break
    return found


def score(
    block: Sequence[Candidate],
    outcomes: Sequence[Outcome],
    *,
    plan: Plan,
    calibration: Calibration,
) -> list[Scored]:
    """Scores candidates, the first of which were to be compared, and leaves out what does not pass.

    Returns:
        Most probable first, ties by name. What was not compared, or in vain, stands below all that
        were and are more likely than not: it may seem likelier, and is not as well founded.
    """
    known: list[Outcome | None] = [*outcomes, *[None] * (len(block) - len(outcomes))]
    evidence = [
        Evidence(
            similarity=candidate.similarity.score,
            pdq=candidate.pdq and candidate.pdq.score,
            words=candidate.words and candidate.words.score,
            verification=None if isinstance(outcome, Missed) else outcome,
        )
        for candidate, outcome in zip(block, known, strict=True)
    ]
    probabilities = calibration.probabilities(evidence).tolist() if evidence else []
    found = []
    for candidate, outcome, each, probability in zip(
        block, known, evidence, probabilities, strict=True
    ):
        same_bytes = bool(plan.sha256) and candidate.payload["sha256"] == plan.sha256
        # Whatever features a picture has, it is the same as itself.
        certain = 1.0 if same_bytes else probability
        if plan.passes(certain):
            found.append(
                Scored(
                    candidate=candidate,
                    outcome=outcome,
                    evidence=each,
                    same_bytes=same_bytes,
                    probability=certain,
                    relation=relation(each, same_bytes=same_bytes),
                )
            )
    return ordered(found)


def ordered(found: Iterable[Scored]) -> list[Scored]:
    """See `score`."""
    return sorted(
        found,
        key=lambda each: (
            not each.is_founded,
            -each.probability,
            -each.candidate.similarity.score,
            each.candidate.name,
        ),
    )


def of_similarity(similarities: Sequence[float], *, calibration: Calibration) -> list[float]:
    """The probabilities of an embedding's hits, by nothing but their similarity."""
    evidence = [
        Evidence(similarity=each, pdq=None, words=None, verification=None) for each in similarities
    ]
    return [float(each) for each in calibration.probabilities(evidence)] if evidence else []
