"""What two pictures share and where they differ, in words."""

import pytest

from halftone.client import (
    Difference,
    Hit,
    ImageRecord,
    Link,
    Overlap,
    OverlapPart,
    Relation,
    Verification,
)
from halftone.rendering import overlaps

WHOLE = ((0.0, 0.0), (100.0, 0.0), (100.0, 80.0), (0.0, 80.0))
TOP = ((0.0, 0.0), (100.0, 0.0), (100.0, 10.0), (0.0, 10.0))
LEFT = ((0.0, 10.0), (10.0, 10.0), (10.0, 80.0), (0.0, 80.0))


def part(polygon):
    return OverlapPart(query_polygon=polygon, image_polygon=polygon)


def overlap(*parts, **fields):
    values = {"query_polygon": WHOLE, "image_polygon": WHOLE, **fields}
    return Overlap(inlier_count=20, homography=(), parts=parts, **values)


@pytest.mark.parametrize(
    ("relation", "outlined"),
    [(Relation.SHARED_ELEMENTS, [TOP, LEFT]), (Relation.REPRINT, [WHOLE])],
)
def test_of_shared_elements_all_parts_are_outlined(relation, outlined):
    found = overlaps.list_outlined(overlap(part(TOP), part(LEFT)), relation=relation)
    assert [each.query_polygon for each in found] == outlined
    # What was not compared area by area is one part.
    assert overlaps.list_outlined(overlap(), relation=relation) == (part(WHOLE),)
    nowhere = overlap(query_polygon=(), image_polygon=())
    assert overlaps.list_outlined(nowhere, relation=relation) == ()


def test_differences_of_all_overlaps_count_except_between_unrelated_pictures():
    first, second = (Difference(part=part(each), share=0.1, certainty=0.9) for each in (TOP, LEFT))
    verification = Verification(
        overlaps=(overlap(differences=(first,)), overlap(differences=(second,)))
    )
    for relation, expected in (
        (Relation.REPRINT, (first, second)),
        (Relation.SHARED_ELEMENTS, (first, second)),
        (Relation.UNRELATED, ()),
    ):
        link = Link(a="a", b="b", probability=0.9, relation=relation, verification=verification)
        image = ImageRecord(name="archives/a/images/b")
        hit = Hit(image=image, similarity=0, relation=relation, verification=verification)
        assert overlaps.list_differences(link) == overlaps.list_differences(hit) == expected


def test_a_box_lies_within_the_picture_and_is_counted_from_the_whole_of_it():
    tilted = ((-3.0, 2.4), (60.2, -4.0), (63.0, 30.6), (1.0, 40.0))
    assert overlaps.format_box(tilted) == "-3,-4,66,44"
    assert overlaps.format_box(tilted, size=(50, 80)) == "0,0,50,40"
    assert overlaps.format_box(tilted, size=(50, 80), corner=(20, 10)) == "20,10,50,40"
    assert overlaps.format_box(()) == ""


@pytest.mark.parametrize(
    ("certainty", "share", "words"),
    [
        (0.99, 0.07, "nearly certain, 7% of the shared part"),
        (0.95, 0.004, "nearly certain, <1% of the shared part"),
        (0.9, 0.3, "likely, 30% of the shared part"),
        (0.79, 0.01, "possible, 1% of the shared part"),
    ],
)
def test_certainty_is_said_in_words(certainty, share, words):
    found = Difference(part=part(TOP), share=share, certainty=certainty)
    assert overlaps.describe_difference(found) == words


def test_counts_and_shares():
    one = Difference(part=part(TOP))
    assert [overlaps.count_differences([one] * count) for count in (0, 1, 2)] == [
        "",
        "differs in 1 place",
        "differs in 2 places",
    ]
    assert overlaps.measure_share([TOP, LEFT], size=(100, 80)) == pytest.approx(0.2125)
    assert overlaps.measure_share([WHOLE, WHOLE], size=(100, 80)) == 1
    assert overlaps.describe_agreement(overlap()) == ""
    measured = overlap(agreeing_share=0.384, contradicting_share=0.002)
    assert (
        overlaps.describe_agreement(measured)
        == "38% of what has detail in both, <1% of the whole contradicts"
    )
