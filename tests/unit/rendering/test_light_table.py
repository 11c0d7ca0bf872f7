"""The layers of the light table: what two printings share, and where they differ."""

import numpy as np
import pytest

from halftone.client import (
    Cluster,
    ClusterMember,
    Difference,
    ImageRecord,
    Link,
    Overlap,
    OverlapPart,
    Relation,
    Verification,
)
from halftone.rendering import light_table, timelines
from halftone.rendering.light_table import SizedPicture

FIRST, SECOND = "archives/a/images/1", "archives/a/images/2"
SIZE = (800, 600)


def box(left, top, width, height, *, by=(0, 0)):
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    moved = tuple((x + by[0], y + by[1]) for x, y in corners)
    return corners, moved


def make_part(polygons, *, turned):
    first, second = polygons[::-1] if turned else polygons
    return OverlapPart(query_polygon=first, image_polygon=second)


def lay(*, turned=False, relation=Relation.REPRINT, parts=(), differences=()):
    """The second printing on the table, which shows 80 pixels more on the left.

    Args:
        turned: Whether the later printing is the query of their link.
        relation: The relation of their link.
        parts: Polygons in the first and the second printing.
        differences: Likewise.
    """
    step = -80 if turned else 80
    whole = make_part(box(0, 0, 720, 600, by=(80, 0)), turned=turned)
    overlap = Overlap(
        inlier_count=30,
        homography=tuple(np.array([[1, 0, step], [0, 1, 0], [0, 0, 1.0]]).ravel()),
        query_polygon=whole.query_polygon,
        image_polygon=whole.image_polygon,
        query_share=0.5,
        image_share=0.25,
        parts=tuple(make_part(each, turned=turned) for each in parts),
        differences=tuple(
            Difference(part=make_part(each, turned=turned), share=0.1, certainty=0.9)
            for each in differences
        ),
    )
    a, b = (SECOND, FIRST) if turned else (FIRST, SECOND)
    link = Link(
        a=a,
        b=b,
        probability=0.9,
        relation=relation,
        verification=Verification(overlaps=(overlap,)),
    )
    records = [ImageRecord(name=name, width=SIZE[0], height=SIZE[1]) for name in (FIRST, SECOND)]
    cluster = Cluster(
        name="clusters/1",
        size=2,
        first_image=records[0],
        members=tuple(ClusterMember(image=record) for record in records),
        links=(link,),
    )
    picture = SizedPicture(b"", 400, 300)
    pictures = dict.fromkeys((FIRST, SECOND), picture)
    printings = timelines.list_printings(cluster)
    (overlay,) = light_table.list_overlays(cluster, printings, pictures=pictures)
    return overlay


def corners(text):
    return [
        [tuple(map(float, corner.split(","))) for corner in polygon.split()]
        for polygon in text.split(";")
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_differences_are_placed_on_the_earliest_printing_whichever_was_the_query(turned):
    """The stage is 720 pixels broad and shows 880 of the picture, 80 of them left of the first."""
    places = [box(0, 0, 88, 44, by=(80, 0)), box(400, 220, 220, 110, by=(80, 0))]
    overlay = lay(turned=turned, differences=places)
    scale = 720 / 880
    first, second = corners(overlay.differing)
    assert first[0] == pytest.approx((80 * scale, 0), abs=0.06)
    assert first[2] == pytest.approx((168 * scale, 44 * scale), abs=0.06)
    assert second[0] == pytest.approx((480 * scale, 220 * scale), abs=0.06)
    assert overlay.remark.endswith("No. 2 differs in 2 places.")


def test_without_differences_there_is_nothing_to_mark():
    overlay = lay()
    assert overlay.differing == ""
    assert "differs" not in overlay.remark
    assert len(corners(overlay.outline)) == 1


def test_of_shared_elements_every_part_is_outlined_and_said_to_be_one():
    sides = [box(0, 0, 720, 60, by=(80, 0)), box(0, 540, 720, 60, by=(80, 0))]
    shared = lay(relation=Relation.SHARED_ELEMENTS, parts=sides)
    assert len(corners(shared.outline)) == 2
    assert "on elements that pictures share" in shared.remark
    assert "The outline holds" not in shared.remark
    same = lay(parts=sides)
    assert len(corners(same.outline)) == 1
    assert "The outline holds 50% of the earliest printing and 25% of no. 2." in same.remark
