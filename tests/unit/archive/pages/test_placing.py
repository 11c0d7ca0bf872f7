"""Boxes in pixels of the scan: every unit, another derivative, and what does not fit."""

from __future__ import annotations

import pytest

from halftone.archive.pages import Block, Box, Kind, Page, placing
from halftone.archive.pages.model import Unit
from halftone.archive.pages.placing import Override, Scan
from halftone.core import errors

SCAN = Scan(size=(1000, 1500))


def make_page(*boxes, **fields):
    blocks = tuple(Block(kind=Kind.PICTURE, box=Box(*box)) for box in boxes)
    return Page(blocks=blocks, **fields)


def find_boxes(page, scan=SCAN, **override):
    placed = placing.place(page, scan, override=Override(**override))
    return [tuple(block.box) for block in placed.blocks]


@pytest.mark.parametrize(
    ("fields", "scan"),
    [
        ({"size": (1000, 1500)}, SCAN),
        ({}, SCAN),
        ({"size": (2000, 3000), "scale": 2}, SCAN),
        ({"image_size": (2000, 3000), "scale": 2}, SCAN),
        ({"size": (500, 750), "unit": Unit.MM10, "scale": 0.5}, SCAN),
        ({"unit": Unit.MM10, "scale": 2.54 / 3}, Scan(size=SCAN.size, dpi=300)),
        ({"unit": Unit.INCH1200, "scale": 4}, Scan(size=SCAN.size, dpi=300)),
        ({"unit": Unit.INCH1200, "dpi": (300, 300), "scale": 4}, SCAN),
        (
            {"unit": Unit.INCH1200, "dpi": (600, 600), "image_size": (2000, 3000), "scale": 4},
            SCAN,
        ),
    ],
    ids=lambda value: "" if isinstance(value, Scan) else str(value),
)
def test_units_and_derivatives(fields, scan):
    scale = fields.pop("scale", 1)
    box = (100 * scale, 200 * scale, 300 * scale, 400 * scale)
    (found,) = find_boxes(make_page(box, **fields), scan)
    assert found == pytest.approx((100, 200, 300, 400), abs=1.01)


def test_boxes_are_clipped_and_what_lies_outside_is_left_out():
    page = make_page((-5, -5, 105, 205), (900, 1400, 200, 200), (1200, 10, 50, 50), (5, 5, 0, 9))
    assert find_boxes(page) == [(0, 0, 100, 200), (900, 1400, 100, 100)]
    placed = placing.place(page, SCAN)
    # A few pixels over the edge are none that lie outside.
    assert placed.outside == 2


def test_parts_of_pixels_are_kept():
    assert find_boxes(make_page((10.6, 10.2, 5.1, 5.9))) == [(10, 10, 6, 7)]


def test_a_length_without_any_size_is_refused():
    with pytest.raises(errors.InvalidArgument, match="--alto-scale") as raised:
        find_boxes(make_page((1, 1, 9, 9), unit=Unit.MM10))
    assert raised.value.reason == "NO_SCALE"
    assert find_boxes(make_page((1, 1, 9, 9), unit=Unit.MM10), scale=2) == [(2, 2, 18, 18)]


def fill(scale, **fields):
    """A page full of boxes, up to its margins."""
    boxes = [
        (x * scale, y * scale, 180 * scale, 90 * scale)
        for x in range(40, 800, 190)
        for y in range(40, 1400, 100)
    ]
    return make_page(*boxes, **fields)


def test_a_share_of_five_percent_is_let_pass():
    good = [(10, 10 * row, 50, 5) for row in range(19)]
    bad = [(1100, 10, 50, 50)]
    placing.check([(make_page(*good, *bad), SCAN)])
    with pytest.raises(errors.InvalidArgument, match="2 of 21 boxes lie outside"):
        placing.check([(make_page(*good, *bad, *bad), SCAN)])


@pytest.mark.parametrize(
    ("page", "advice", "override"),
    [
        (fill(4, dpi=(300, 300)), "--alto-unit inch1200", {"unit": Unit.INCH1200}),
        (fill(4), "inch1200 at 300 dpi they would fit (--alto-scale 0.25)", {"scale": 0.25}),
        (fill(3.3), "--alto-scale 0.", None),
        (fill(4, size=(1000, 1500)), "inch1200 at 300 dpi", {"scale": 0.25}),
        (fill(2.117, dpi=(120, 120)), "--alto-unit mm10", {"unit": Unit.MM10}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_unit_or_scale_that_would_fit_is_named(page, advice, override):
    with pytest.raises(errors.InvalidArgument) as raised:
        placing.check([(page, SCAN)])
    assert advice in raised.value.message
    if override:
        placed = placing.check([(page, SCAN)], override=Override(**override))
        assert placed[0].blocks[0].box == pytest.approx((40, 40, 180, 90), abs=2)


def test_boxes_in_one_corner_are_refused_too():
    """Numbers of a smaller derivative lie all inside, and all in the wrong place."""
    with pytest.raises(errors.InvalidArgument, match="corner") as raised:
        placing.check([(fill(0.25), SCAN)])
    assert "--alto-scale 4" in raised.value.message
    # A page with one small notice has little to tell from.
    placing.check([(make_page((10, 10, 50, 50)), SCAN)])


def test_other_proportions_are_noticed():
    assert placing.find_mismatch(Page(size=(1000, 1200)), SCAN)
    assert not placing.find_mismatch(Page(size=(2000, 3010)), SCAN)
    assert not placing.find_mismatch(Page(), SCAN)
