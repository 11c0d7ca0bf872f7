"""What `halftone search --explain` says of a hit."""

import pytest

from halftone.cli import hits
from halftone.client import (
    Difference,
    Hit,
    ImageRecord,
    Overlap,
    OverlapPart,
    Relation,
    Verification,
    VerificationState,
)


def part(left, top, width, height):
    right, bottom = left + width, top + height
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return OverlapPart(query_polygon=((0, 0), (1, 0), (1, 1)), image_polygon=corners)


def hit(relation, **fields):
    overlap = Overlap(
        **{
            "inlier_count": 42,
            "homography": (),
            "query_share": 1.0,
            "image_share": 0.25,
            "scale": 0.5,
            "agreeing_share": 0.876,
            **fields,
        }
    )
    return Hit(
        image=ImageRecord(name="archives/a/images/1", width=100, height=80),
        similarity=0.9,
        relation=relation,
        verification=Verification(state=VerificationState.OVERLAPPING, overlaps=(overlap,)),
    )


PLACES = (
    Difference(part=part(10, 20, 30, 40), share=0.12, certainty=0.97),
    Difference(part=part(90, 20, 30, 40), share=0.02, certainty=0.6),
)


def explain(found, capsys):
    hits.print_explanation(found)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_reprint_says_how_much_is_shared_and_where_it_differs(capsys):
    assert explain(hit(Relation.REPRINT, differences=PLACES), capsys) == [
        "similarity 0.900",
        "42 inliers; 100% of the query, 25% of the image; 88% agrees; scale 0.50; turned +0.0°",
        (
            "differs in 2 places of the image (x,y,w,h): 10,20,30,40 (nearly certain, 12% of the "
            "shared part); 90,20,10,40 (possible, 2% of the shared part)"
        ),
    ]


def test_shared_elements_say_where_they_are(capsys):
    parts = (part(0, 0, 100, 10), part(0, 70, 100, 10))
    found = hit(Relation.SHARED_ELEMENTS, parts=parts, agreeing_share=0.2)
    assert explain(found, capsys)[1] == (
        "42 inliers; 2 parts of the image: 0,0,100,10 and 0,70,100,10 (x,y,w,h); 20% agrees; "
        "scale 0.50; turned +0.0°"
    )


@pytest.mark.parametrize("relation", [Relation.REPRINT, Relation.SHARED_ELEMENTS])
def test_a_server_that_measured_no_areas_is_quoted_as_before(relation, capsys):
    said = explain(hit(relation, agreeing_share=None), capsys)
    assert said[1:] == ["42 inliers; 100% of the query, 25% of the image; scale 0.50; turned +0.0°"]
