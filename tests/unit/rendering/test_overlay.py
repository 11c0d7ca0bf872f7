"""Pictures of what two pictures share: the image is laid where the overlap says."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from halftone.client import (
    Difference,
    Hit,
    ImageRecord,
    Overlap,
    OverlapPart,
    Relation,
    Verification,
)
from halftone.rendering import overlay

RED = (200, 50, 30)
VIOLET = (138, 31, 176)


def scene(size=(240, 160)):
    picture = Image.effect_noise((60, 40), 90).resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).rectangle((30, 20, 90, 70), fill=255)
    return picture


# Its noise is another one each time it is drawn.
PICTURE = scene()


def overlap_of(matrix, **fields):
    flat = tuple(np.asarray(matrix, dtype=float).ravel().tolist())
    return Overlap(inlier_count=30, homography=flat, **fields)


def hit_of(*overlaps, relation=Relation.REPRINT):
    record = ImageRecord(name="archives/a/images/b", width=240, height=160)
    return Hit(
        image=record,
        similarity=0.5,
        relation=relation,
        verification=Verification(overlaps=overlaps),
    )


def box(left, top, right, bottom):
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return OverlapPart(query_polygon=corners, image_polygon=corners)


def draw(hit, **fields):
    return overlay.draw_sheet(
        PICTURE,
        PICTURE,
        hit=hit,
        query_size=(240, 160),
        image_size=(240, 160),
        titles=("The Sphere, 1914", "L'Illustration, 1915"),
        **fields,
    )


def cut(sheet):
    """The panels of a sheet, 480 by 320 pixels each."""
    tops = [(24 + number * (overlay.PANEL + 20), 50) for number in range(3)]
    return [sheet.crop((x, y, x + 480, y + 320)) for x, y in tops]


def has(picture, colour):
    return bool((np.asarray(picture) == colour).all(axis=-1).any())


def difference(first, second):
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())


def test_a_crop_lies_on_the_picture_it_was_cut_from():
    whole = scene()
    # The image is the right part of the query, at half its size.
    image = whole.crop((100, 0, 240, 160)).resize((70, 80), Image.Resampling.BOX)
    found = overlap_of([[0.5, 0, -50], [0, 0.5, 0], [0, 0, 1]])
    laid = overlay.warp(
        image, overlap=found, query_size=(240, 160), image_size=(70, 80), size=(240, 160)
    )
    alpha = np.asarray(laid.getchannel("A"))
    assert alpha[:, :98].max() == 0
    assert alpha[4:-4, 104:-4].min() == 255
    inner = (110, 10, 230, 150)
    there = difference(laid.convert("L").crop(inner), whole.crop(inner))
    elsewhere = difference(laid.convert("L").crop(inner), whole.crop((90, 10, 210, 150)))
    assert there < 8
    assert there < elsewhere / 2


def test_a_mirrored_and_turned_picture_is_laid_back():
    whole = scene()
    image = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).transpose(Image.Transpose.ROTATE_270)
    # x of the query, mirrored, runs down; y runs from right to left.
    found = overlap_of([[0, -1, 160], [-1, 0, 240], [0, 0, 1]], mirrored=True)
    laid = overlay.warp(
        image, overlap=found, query_size=(240, 160), image_size=(160, 240), size=(120, 80)
    )
    small = whole.resize((120, 80), Image.Resampling.BOX)
    assert difference(laid.convert("L"), small) < 12


def test_what_agrees_is_grey_and_what_does_not_has_a_colour():
    query = Image.new("L", (40, 40), 120)
    same = Image.new("RGBA", (40, 40), (120, 120, 120, 255))
    darker = Image.new("RGBA", (40, 40), (20, 20, 20, 255))
    assert overlay.blend(query, same).getpixel((5, 5)) == (120, 120, 120)
    red, green, blue = overlay.blend(query, darker).getpixel((5, 5))
    assert red < green == blue


def test_a_negative_is_inverted_before_it_is_laid_upon_the_picture():
    sizes = {"query_size": (240, 160), "image_size": (240, 160), "size": (240, 160)}
    image = scene()
    negative = ImageOps.invert(image.convert("RGB"))
    laid = overlay.warp(negative, overlap=overlap_of(np.eye(3), negative=True), **sizes)
    plain = overlay.warp(image, overlap=overlap_of(np.eye(3)), **sizes)
    np.testing.assert_array_equal(np.asarray(laid), np.asarray(plain))


@pytest.mark.parametrize("shared", [True, False])
def test_a_sheet_has_a_panel_more_where_something_is_shared(shared):
    corners = box(0, 0, 240, 160).query_polygon
    overlap = overlap_of(np.eye(3), query_polygon=corners, image_polygon=corners)
    drawn = draw(hit_of(*[overlap] * shared), lines=["30 inliers"] if shared else [])
    panels = 3 if shared else 2
    assert drawn.width == panels * overlay.PANEL + (panels - 1) * 20 + 48
    assert has(drawn, RED) is shared
    assert not has(drawn, VIOLET)


def test_a_long_line_is_wrapped_and_not_cut():
    short = draw(hit_of(), notes=["a note"])
    long = draw(hit_of(), notes=["a note by an archivist " * 20])
    assert long.width == short.width
    assert long.height > short.height + 40


def test_a_shared_frame_gets_one_line_around_it_and_is_shown_alone():
    """The sides touch; what lies between them is another picture."""
    sides = (box(0, 0, 240, 20), box(0, 140, 240, 160), box(0, 20, 20, 140), box(220, 20, 240, 140))
    frame = overlap_of(
        np.eye(3),
        query_polygon=sides[0].query_polygon,
        image_polygon=sides[0].image_polygon,
        parts=sides,
    )
    first, second, third = cut(draw(hit_of(frame, relation=Relation.SHARED_ELEMENTS)))
    for panel in (first, second):
        # Around the inner edge and the outer one, but not across a corner of the frame.
        for place in ((240, 37), (37, 160), (442, 160), (240, 1), (1, 160)):
            assert panel.getpixel(place) == RED
        for place in ((20, 38), (38, 20), (440, 300), (240, 160)):
            assert panel.getpixel(place) != RED
    middle, side = (60, 60, 420, 260), (4, 60, 36, 260)
    plain = PICTURE.convert("RGB").resize((480, 320), Image.Resampling.LANCZOS)
    assert np.asarray(third.crop(middle).convert("L")).std() < 30
    assert np.asarray(plain.crop(middle).convert("L")).std() > 40
    assert difference(third.crop(side), plain.crop(side)) < 8
    # Of one picture in the same place all of it is laid upon the other.
    laid = cut(draw(hit_of(frame)))[2]
    assert difference(laid.crop(middle), plain.crop(middle)) < 8


def test_what_differs_is_framed_and_numbered_in_every_panel_and_explained_below():
    corners = box(0, 0, 240, 160).query_polygon
    places = [
        Difference(part=box(40, 40, 100, 90), share=0.03, certainty=0.97),
        Difference(part=box(150, 100, 200, 150), share=0.02, certainty=0.6),
    ]

    def sheet(differences):
        overlap = overlap_of(
            np.eye(3),
            query_polygon=corners,
            image_polygon=corners,
            differences=tuple(differences),
        )
        return draw(hit_of(overlap))

    none, both = sheet([]), sheet(places)
    assert both.height > none.height + 20
    for plain, marked in zip(cut(none), cut(both), strict=True):
        assert not has(plain, VIOLET)
        for left, top, right, bottom in ((80, 80, 200, 180), (300, 200, 400, 300)):
            for edge in (
                (left, top - 2, right, top + 3),
                (left - 2, top + 20, left + 3, bottom),
                (left, bottom - 2, right, bottom + 3),
            ):
                assert has(marked.crop(edge), VIOLET)
            inside = (left + 25, top + 25, right - 10, bottom - 10)
            assert difference(plain.crop(inside), marked.crop(inside)) == 0
    assert has(both.crop((0, 380, 600, both.height)), VIOLET)


def test_a_difference_is_framed_in_each_picture_where_it_lies_there():
    part = OverlapPart(
        query_polygon=box(20, 20, 60, 50).query_polygon,
        image_polygon=box(150, 90, 190, 120).query_polygon,
    )
    overlap = overlap_of(np.eye(3), differences=(Difference(part=part, certainty=0.9),))
    first, second, third = cut(draw(hit_of(overlap)))
    here, there = (35, 95, 125, 105), (295, 235, 385, 245)
    assert [has(panel.crop(here), VIOLET) for panel in (first, second, third)] == [
        True,
        False,
        True,
    ]
    assert [has(panel.crop(there), VIOLET) for panel in (first, second)] == [False, True]


def test_nothing_differs_between_unrelated_pictures():
    chance = overlap_of(np.eye(3), differences=(Difference(part=box(40, 40, 100, 90)),))
    assert has(draw(hit_of(chance)), VIOLET)
    assert not has(draw(hit_of(chance, relation=Relation.UNRELATED)), VIOLET)
