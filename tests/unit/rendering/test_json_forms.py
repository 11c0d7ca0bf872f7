"""JSON of overlaps: the names are those of the protos."""

import json

import pytest

from halftone.client import Difference, Overlap, OverlapPart
from halftone.rendering import json_forms

PART = OverlapPart(query_polygon=((0.0, 1.0), (2.0, 3.0)), image_polygon=((4.0, 5.0), (6.0, 7.0)))
POLYGONS = [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]


@pytest.mark.parametrize("sides", [("query", "image"), ("a", "b")])
def test_parts_and_differences_name_their_sides(sides):
    overlap = Overlap(
        inlier_count=20,
        homography=(),
        parts=(PART,),
        differences=(Difference(part=PART, share=0.1234567, certainty=0.9),),
        agreeing_share=1 / 3,
        contradicting_share=0.0,
    )
    found = json.loads(json.dumps(json_forms.overlap_to_json(overlap, sides=sides)))
    part = {f"{side}_polygon": polygon for side, polygon in zip(sides, POLYGONS, strict=True)}
    assert found["parts"] == [part]
    assert found["differences"] == [{"part": part, "share": 0.123457, "certainty": 0.9}]
    assert (found["agreeing_share"], found["contradicting_share"]) == (0.333333, 0.0)


def test_what_was_not_measured_is_null():
    found = json_forms.overlap_to_json(Overlap(inlier_count=20, homography=()))
    assert (found["parts"], found["differences"]) == ([], [])
    assert (found["agreeing_share"], found["contradicting_share"]) == (None, None)
