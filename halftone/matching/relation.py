"""How a candidate is related to a query: rules over their overlaps, see docs/matching.md."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from halftone.matching.probability import Evidence
    from halftone.matching.verification import Overlap

_WHOLE: Final = 0.8  # share of a picture from which on it is whole: reprints lose their edges
_SAME_PDQ: Final = 0.8
_SAME_AGREEMENT: Final = 0.8
_SAME_SHARE: Final = 0.95
_SAME_INLIERS: Final = 40


class Relation(enum.Enum):
    """Values are the names of `halftone.v1.Hit.Relation`, where they are explained."""

    SAME_SCAN = "SAME_SCAN"
    REPRINT = "REPRINT"
    CROP_OF = "CROP_OF"
    CONTAINS = "CONTAINS"
    MIRRORED = "MIRRORED"
    COMPOSITE = "COMPOSITE"
    SAME_SCENE = "SAME_SCENE"
    UNRELATED = "UNRELATED"
    NOT_COMPARED = "NOT_COMPARED"


def relation(evidence: Evidence, *, same_bytes: bool) -> Relation:
    """Names the relation of a candidate to the query.

    Args:
        evidence: What is known of them.
        same_bytes: Their files are the same.
    """
    if same_bytes:
        return Relation.SAME_SCAN
    if evidence.verification is None:
        return Relation.NOT_COMPARED
    overlaps = evidence.verification.overlaps
    if not overlaps:
        return Relation.UNRELATED
    if len(overlaps) > 1:
        return Relation.COMPOSITE
    return _of_one(overlaps[0], evidence)


def _of_one(overlap: Overlap, evidence: Evidence) -> Relation:
    if overlap.mirrored:
        return Relation.MIRRORED
    query, candidate = overlap.query_share >= _WHOLE, overlap.candidate_share >= _WHOLE
    if not (query or candidate):
        return Relation.COMPOSITE
    if not candidate:
        return Relation.CROP_OF
    if not query:
        return Relation.CONTAINS
    same = (
        evidence.pdq is not None
        and evidence.pdq >= _SAME_PDQ
        and overlap.inliers >= _SAME_INLIERS
        and overlap.inliers >= _SAME_AGREEMENT * overlap.matches
        and min(overlap.query_share, overlap.candidate_share) >= _SAME_SHARE
    )
    return Relation.SAME_SCAN if same else Relation.REPRINT
