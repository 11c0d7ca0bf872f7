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


@pytest.mark.parametrize("scale", [0.75, 1.0, 2.5])
def test_pictures_are_found_at_any_size(printed, scale):
    size = (round(printed.width * scale), round(printed.height * scale))
    found = layout.pictures(printed.resize(size, Image.Resampling.LANCZOS))
    assert len(found) == 2
    for region, box in zip(found, expected(scale), strict=True):
        assert overlap(region, box) > 0.85


def test_the_largest_come_first_and_the_smallest_are_left_out(page, picture):
    small = [(picture(seed, width=150, height=130), (30 + 290 * seed, 30)) for seed in range(3)]
    large = [(picture(9, width=500, height=300), (40, 400)), (picture(8), (40, 800))]
    found = layout.pictures(page(small + large))
    assert len(found) == layout.MOST
    areas = [region.width * region.height for region in found]
    assert areas == sorted(areas, reverse=True)
    assert overlap(found[0], (40, 800, 520, 1160)) > 0.85


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
