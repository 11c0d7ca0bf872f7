"""Messages of the search service as the client's types."""

import pytest

from halftone.client import Difference, OverlapPart, Relation, VerificationState
from halftone.client.conversions import parse_relation, parse_verification
from halftone.v1 import search_pb2 as pb

CORNERS = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0))


def make_part(*, by):
    points = [[pb.Point(x=x + step, y=y) for x, y in CORNERS] for step in (0, by)]
    return pb.OverlapPart(query_polygon=points[0], image_polygon=points[1])


def test_parts_and_differences_keep_their_order_and_sides():
    message = pb.Verification(state=pb.Verification.OVERLAPPING)
    message.overlaps.add(
        inlier_count=20,
        parts=[make_part(by=1), make_part(by=2)],
        differences=[pb.Difference(part=make_part(by=3), share=0.25, certainty=0.5)],
        agreeing_share=0.75,
        contradicting_share=0.0,
    )
    found = parse_verification(message)
    (overlap,) = found.overlaps
    parts = [
        OverlapPart(query_polygon=CORNERS, image_polygon=tuple((x + step, y) for x, y in CORNERS))
        for step in (1, 2, 3)
    ]
    assert found.state is VerificationState.OVERLAPPING
    assert overlap.parts == tuple(parts[:2])
    assert overlap.differences == (Difference(part=parts[2], share=0.25, certainty=0.5),)
    assert (overlap.agreeing_share, overlap.contradicting_share) == (0.75, 0.0)


def test_a_server_that_measured_nothing_says_nothing():
    message = pb.Verification(overlaps=[pb.Overlap(inlier_count=20)])
    (overlap,) = parse_verification(message).overlaps
    assert (overlap.parts, overlap.differences) == ((), ())
    assert (overlap.agreeing_share, overlap.contradicting_share) == (None, None)


@pytest.mark.parametrize("value", pb.Hit.Relation.values())
def test_every_relation_of_the_contract_is_known(value):
    name = pb.Hit.Relation.Name(value)
    expected = Relation.UNKNOWN if name == "RELATION_UNSPECIFIED" else Relation[name]
    assert parse_relation(value) is expected
