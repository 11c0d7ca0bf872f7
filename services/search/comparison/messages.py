"""Converts comparisons to the messages of the contract: relation, verification, overlaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.matching.overlaps import Verification
from halftone.matching.relation import Relation
from halftone.services.search.comparison.verifier import Missed
from halftone.v1 import search_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from halftone.matching.overlaps import Overlap, Part
    from halftone.services.search.comparison.verifier import Outcome

_RELATIONS: Final[dict[Relation, search_pb2.Hit.Relation]] = {
    each: getattr(search_pb2.Hit, each.value) for each in Relation
}


def relation_of(relation: Relation) -> search_pb2.Hit.Relation:
    """Convert a relation to the value of `Hit.Relation`."""
    return _RELATIONS[relation]


def to_verification(outcome: Outcome | None) -> search_pb2.Verification:
    """Convert the outcome of a comparison to its message.

    The state is OUT_OF_TIME if the deadline came before the comparison. It is NOT_COMPARED if
    `outcome` is None (the pair was not selected for comparison), if features could not be read, or
    if there are too few of them.
    """
    states = search_pb2.Verification
    if isinstance(outcome, Verification) and outcome.is_conclusive:
        return search_pb2.Verification(
            state=states.OVERLAPPING if outcome.overlaps else states.NO_OVERLAP,
            overlaps=map(_overlap, outcome.overlaps),
        )
    late = outcome is Missed.OUT_OF_TIME
    return search_pb2.Verification(state=states.OUT_OF_TIME if late else states.NOT_COMPARED)


def _overlap(overlap: Overlap) -> search_pb2.Overlap:
    tiles = overlap.evidence
    return search_pb2.Overlap(
        inlier_count=overlap.inliers,
        homography=overlap.homography.ravel().tolist(),
        query_polygon=_points(overlap.query_polygon),
        image_polygon=_points(overlap.candidate_polygon),
        query_share=overlap.query_share,
        image_share=overlap.candidate_share,
        mirrored=overlap.mirrored,
        rotation=overlap.rotation,
        scale=overlap.scale,
        negative=overlap.negative,
        parts=map(_part, overlap.parts),
        differences=[
            search_pb2.Difference(part=_part(each.part), share=each.share, certainty=each.certainty)
            for each in overlap.differences
        ],
        agreeing_share=None if tiles is None else tiles.agreeing,
        contradicting_share=None if tiles is None else tiles.contradicting,
    )


def _part(part: Part) -> search_pb2.OverlapPart:
    return search_pb2.OverlapPart(
        query_polygon=_points(part.query_polygon), image_polygon=_points(part.candidate_polygon)
    )


def _points(polygon: NDArray[np.float32]) -> list[search_pb2.Point]:
    return [search_pb2.Point(x=x, y=y) for x, y in polygon.tolist()]
