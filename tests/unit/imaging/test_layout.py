"""Pictures on pages: found where they are, at any size, and none on what is no page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from halftone.imaging import layout

if TYPE_CHECKING:
    from halftone.imaging.images import Region

PLACES = [(300, 60), (40, 700)]


@pytest.fixture
def printed(page, picture):
    return page([(picture(1), PLACES[0]), (picture(2, width=320, height=400), PLACES[1])])


def overlap(region: Region, box: tuple[float, float, float, float]) -> float:
    """Intersection over union."""
    left, top = max(region.x, box[0]), max(region.y, box[1])
    right = min(region.x + region.width, box[2])
    bottom = min(region.y + region.height, box[3])
    shared = max(0, right - left) * max(0, bottom - top)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return shared / (region.width * region.height + area - shared)


def expected(scale: float = 1.0) -> list[tuple[float, float, float, float]]:
    sizes = [(480, 360), (320, 400)]
    return [
        (x * scale, y * scale, (x + width) * scale, (y + height) * scale)
        for (x, y), (width, height) in zip(PLACES, sizes, strict=True)
    ]


@pytest.mark.parametrize(("scale", "least"), [(0.5, 0.7), (0.75, 0.75), (1.0, 0.85), (2.5, 0.85)])
def test_pictures_are_found_at_any_size(printed, scale, least):
    """Of small type, single words that stand beside a picture are taken with it."""
    size = (round(printed.width * scale), round(printed.height * scale))
    found = layout.pictures(printed.resize(size, Image.Resampling.LANCZOS))
    assert len(found) == 2
    for region, box in zip(found, expected(scale), strict=True):
        assert overlap(region, box) > least


def test_the_largest_come_first_and_the_smallest_are_left_out(page, picture):
    places = [(20 + 290 * column, 30 + 160 * row) for row in range(4) for column in range(3)]
    small = [(picture(seed, width=120, height=100), place) for seed, place in enumerate(places)]
    large = [(picture(20, width=500, height=300), (40, 800))]
    found = layout.pictures(page(small + large))
    assert len(found) == layout.MOST == len(places)
    areas = [region.width * region.height for region in found]
    assert areas == sorted(areas, reverse=True)
    assert overlap(found[0], (40, 800, 540, 1100)) > 0.85
    for region in found[1:]:
        assert max(overlap(region, (x, y, x + 120, y + 100)) for x, y in places) > 0.7


@pytest.mark.parametrize("shade", [15, 150])
@pytest.mark.parametrize("sides", [(40, 40, 40, 40), (60, 60, 0, 0), (0, 0, 0, 200)])
def test_what_a_scanner_saw_beside_the_page_is_no_picture(printed, sides, shade):
    left, top, right, bottom = sides
    size = (printed.width + left + right, printed.height + top + bottom)
    bed = Image.new("L", size, shade)
    bed.paste(printed, (left, top))
    found = layout.pictures(bed)
    assert len(found) == 2
    for region, (x0, y0, x1, y1) in zip(found, expected(), strict=True):
        assert overlap(region, (x0 + left, y0 + top, x1 + left, y1 + top)) > 0.8


def test_a_page_that_lies_askew(printed):
    turned = printed.rotate(2, expand=True, fillcolor=222, resample=Image.Resampling.BICUBIC)
    assert len(layout.pictures(turned)) == 2


def test_faded_and_of_any_mode(printed):
    faded = printed.point(lambda value: 150 + value // 4)
    assert len(layout.pictures(faded)) == 2
    assert layout.pictures(printed.convert("RGBA")) == layout.pictures(printed)


@pytest.mark.parametrize("scale", [0.6, 1.0])
def test_rules_and_boxed_adverts_are_no_pictures(page, picture, scale):
    """A newspaper's page: rules between columns, an advert in a frame, a picture of 3 %."""
    place = (330, 620)
    sheet = page([(picture(1, width=200, height=150), place)])
    draw = ImageDraw.Draw(sheet)
    for x in (290, 570):
        draw.line((x, 10, x, 1190), fill=40, width=2)
    draw.line((10, 12, 850, 12), fill=40, width=5)
    draw.rectangle((582, 60, 838, 330), fill=222, outline=40, width=4)
    for line, (words, size) in enumerate(
        [("MESSRS. PORTER", 26), ("Boots and Shoes", 22), ("sold at number four", 18)] * 2
    ):
        font = ImageFont.load_default(size=size)
        draw.text((600, 76 + 40 * line), words, fill=40, font=font)
    size = (round(sheet.width * scale), round(sheet.height * scale))
    found = layout.pictures(sheet.resize(size, Image.Resampling.LANCZOS))
    assert len(found) == 1
    box = tuple(scale * each for each in (*place, place[0] + 200, place[1] + 150))
    assert overlap(found[0], box) > 0.6


def test_type_too_small_for_letters_is_still_text(page, picture):
    """Words run together where letters have three pixels; the lines are left."""
    sheet = page([(picture(1, width=400, height=300), (300, 500))], size=(1700, 2400))
    small = sheet.resize((595, 840), Image.Resampling.LANCZOS)
    found = layout.pictures(small)
    assert len(found) == 1
    assert overlap(found[0], (105, 175, 245, 280)) > 0.6


def test_what_is_no_page_has_none(page, picture):
    assert layout.pictures(picture(1, width=900, height=700)) == []
    assert layout.pictures(page()) == []  # text alone
    assert layout.pictures(page([(picture(1), (60, 60))], text=False)) == []


def test_a_caption_leaves_the_picture_whole(picture):
    sheet = Image.new("L", (900, 760), 225)
    sheet.paste(picture(1, width=900, height=690), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for line in range(3):
        text = f"The opening of the exhibition, as line {line} of three tells"
        draw.text((20, 695 + 20 * line), text, fill=30, font=ImageFont.load_default(size=15))
    assert layout.pictures(sheet) == []


@pytest.mark.parametrize("pitch", [6, 9])
def test_the_dots_of_a_screen_are_no_text(picture, pitch):
    large = picture(3, width=960, height=720)
    y, x = np.indices((720, 960))
    screen = (np.cos(2 * np.pi * (x + y) / pitch) + np.cos(2 * np.pi * (x - y) / pitch)) / 4 + 0.5
    dots = np.where(np.asarray(large) / 255 > screen, 235, 25)
    assert layout.pictures(Image.fromarray(dots.astype(np.uint8))) == []


@pytest.mark.parametrize("size", [(1, 1), (16, 3000), (12, 12)])
def test_tiny_and_plain_pictures_have_none(size):
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    assert layout.pictures(Image.fromarray(noise)) == []
    assert layout.pictures(Image.new("L", size[::-1], 128)) == []
