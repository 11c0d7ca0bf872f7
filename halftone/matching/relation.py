"""Names how a candidate is related to a query, by rules over overlaps; see docs/matching.md."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from halftone.matching.probability import LIKELY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.overlaps import Overlap
    from halftone.matching.probability import Evidence

# Measured on the press archive, see docs/matching.md.
_WHOLE: Final = 0.8
_SAME_SHARE: Final = 0.9
_SAME_AGREEMENT: Final = 0.95
_SAME_RESIDUAL: Final = 0.25
_SAME_PDQ: Final = 0.85
_RIVALS: Final = 0.3
_FEWEST_RIVALS: Final = 12
_FEWEST_SHARED: Final = 10
_BROAD: Final = 0.3


class Relation(enum.Enum):
    """The kind of match between two pictures. `halftone.v1.Hit.Relation` explains the values."""

    SAME_SCAN = "SAME_SCAN"
    REPRINT = "REPRINT"
    CROP_OF = "CROP_OF"
    CONTAINS = "CONTAINS"
    MIRRORED = "MIRRORED"
    COMPOSITE = "COMPOSITE"
    SAME_SCENE = "SAME_SCENE"
    SHARED_ELEMENTS = "SHARED_ELEMENTS"
    UNRELATED = "UNRELATED"
    NOT_COMPARED = "NOT_COMPARED"


def relation(evidence: Evidence, *, probability: float, same_bytes: bool) -> Relation:
    """Return the relation of a candidate to the query.

    Args:
        evidence: The evidence about the two.
        probability: The probability that they are printings of the same picture.
        same_bytes: Whether their files are the same.
    """
    if same_bytes:
        return Relation.SAME_SCAN
    if evidence.verification is None or not evidence.is_compared:
        return Relation.NOT_COMPARED
    return _of_overlaps(evidence.verification.overlaps, evidence, probability=probability)


def _of_overlaps(
    overlaps: Sequence[Overlap], evidence: Evidence, *, probability: float
) -> Relation:
    if not overlaps:
        return Relation.UNRELATED
    first = overlaps[0]
    if is_picture(first) and first.rivals >= max(_FEWEST_RIVALS, _RIVALS * first.inliers):
        return Relation.SAME_SCENE
    if probability < LIKELY:
        return Relation.SHARED_ELEMENTS if _is_shared(first) else Relation.UNRELATED
    if sum(map(is_picture, overlaps)) > 1:
        return Relation.COMPOSITE
    return _of_one(first, evidence)


def _is_shared(overlap: Overlap) -> bool:
    """Return whether something that could be drawn is shared: no chance match of a few features."""
    # Kept evidence has the count of tiles and no polygons.
    return overlap.inliers >= _FEWEST_SHARED and (
        overlap.evidence is None or overlap.evidence.count > 0
    )


def is_picture(overlap: Overlap) -> bool:
    """Return whether what an overlap shows is broad enough for a picture, and no strip."""
    return overlap.evidence is None or overlap.evidence.breadth >= _BROAD


def _of_one(overlap: Overlap, evidence: Evidence) -> Relation:
    query, candidate = overlap.query_share >= _WHOLE, overlap.candidate_share >= _WHOLE
    if not (query or candidate):
        return Relation.COMPOSITE
    if overlap.mirrored:
        return Relation.MIRRORED
    if not candidate:
        return Relation.CROP_OF
    if not query:
        return Relation.CONTAINS
    return Relation.SAME_SCAN if _is_same(overlap, evidence) else Relation.REPRINT


def _is_same(overlap: Overlap, evidence: Evidence) -> bool:
    """Return whether two whole pictures are one scan: only then screen and dust match, too."""
    if min(overlap.query_share, overlap.candidate_share) < _SAME_SHARE:
        return False
    if overlap.inliers < _SAME_AGREEMENT * overlap.matches:
        return False
    alike = evidence.pdq is not None and evidence.pdq >= _SAME_PDQ
    return alike or overlap.residual <= _SAME_RESIDUAL
