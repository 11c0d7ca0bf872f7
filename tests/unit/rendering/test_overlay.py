"""Pictures of what two pictures share: the image is laid where the overlap says."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from halftone.client import Overlap
from halftone.rendering import overlay


def scene(size=(240, 160)):
    picture = Image.effect_noise((60, 40), 90).resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).rectangle((30, 20, 90, 70), fill=255)
    return picture


def overlap_of(matrix, **fields):
    flat = tuple(np.asarray(matrix, dtype=float).ravel().tolist())
    return Overlap(inlier_count=30, homography=flat, **fields)


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
    corners = ((0, 0), (240, 0), (240, 160), (0, 160))
    overlap = overlap_of(np.eye(3), query_polygon=corners, image_polygon=corners)
    drawn = overlay.draw_sheet(
        scene(),
        scene(),
        overlaps=[overlap] if shared else [],
        query_size=(240, 160),
        image_size=(240, 160),
        titles=("The Sphere, 1914", "L'Illustration, 1915"),
        lines=["30 inliers"] if shared else [],
    )
    panels = 3 if shared else 2
    assert drawn.width == panels * overlay.PANEL + (panels - 1) * 20 + 48
    outlined = any(pixel == (200, 50, 30) for _, pixel in drawn.getcolors(1 << 24))
    assert outlined is shared


def test_a_long_line_is_wrapped_and_not_cut():
    def draw(*lines):
        return overlay.draw_sheet(
            scene(),
            scene(),
            overlaps=(),
            query_size=(240, 160),
            image_size=(240, 160),
            titles=("a", "b"),
            lines=lines,
        )

    short, long = draw("a note"), draw("a note by an archivist " * 20)
    assert long.width == short.width
    assert long.height > short.height + 40
