"""Parts of pictures: which part and size a request means, and the pixels that come out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from halftone.core import errors
from halftone.imaging import images, regions

FULL = (400, 300)
MOST = 1 << 24


@pytest.fixture(scope="module")
def image():
    rows, columns = np.mgrid[0:300, 0:400]
    pixels = np.stack((columns * 255 // 399, rows * 255 // 299, (rows + columns) % 256), axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize(
    ("asked", "region", "size"),
    [
        ({}, (0, 0, 400, 300), (400, 300)),
        ({"region": (10, 20, 30, 40)}, (10, 20, 30, 40), (30, 40)),
        ({"region": (390, 290, 50, 50)}, (390, 290, 10, 10), (10, 10)),  # clipped at the edges
        ({"region": (399, 299, 1, 1)}, (399, 299, 1, 1), (1, 1)),
        ({"region": (0.2, 0.2, 0.1, 0.1)}, (0, 0, 1, 1), (1, 1)),  # less than a pixel
        ({"width": 200}, (0, 0, 400, 300), (200, 150)),
        ({"height": 100}, (0, 0, 400, 300), (133, 100)),
        ({"width": 100, "height": 10}, (0, 0, 400, 300), (100, 10)),  # other proportions
        ({"width": 200, "height": 200, "fit": True}, (0, 0, 400, 300), (200, 150)),
        ({"width": 999, "height": 999, "fit": True}, (0, 0, 400, 300), (400, 300)),
        ({"width": 800, "height": 800, "fit": True, "upscale": True}, None, (800, 600)),
        ({"width": 800, "upscale": True}, None, (800, 600)),
        ({"max_pixels": 1200}, None, (40, 30)),  # the largest that is allowed
    ],
)
def test_what_a_request_means(asked, region, size):
    cut = regions.plan(FULL, **{"max_pixels": MOST, **asked})
    assert tuple(cut.region) == (region or (0, 0, *FULL))
    assert cut.size == size


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        ({"region": (400, 0, 5, 5)}, "region", images.REGION_OUTSIDE),
        ({"region": (0, 300, 5, 5)}, "region", images.REGION_OUTSIDE),
        ({"region": (0, 0, 0, 5)}, "region", "INVALID_ARGUMENT"),
        ({"region": (-1, 0, 5, 5)}, "region", "INVALID_ARGUMENT"),
        ({"region": (0, 0, float("nan"), 5)}, "region", "INVALID_ARGUMENT"),
        ({"region": (0, float("inf"), 5, 5)}, "region", images.REGION_OUTSIDE),
        ({"width": 0}, "width", "INVALID_ARGUMENT"),
        ({"height": -3}, "height", "INVALID_ARGUMENT"),
        ({"fit": True}, "fit", "INVALID_ARGUMENT"),
        ({"width": 401}, "width", regions.UPSCALED),
        ({"width": 4, "height": 301}, "height", regions.UPSCALED),
        ({"width": 200, "max_pixels": 1000}, "width", images.TOO_MANY_PIXELS),
        ({"width": 16_384, "height": 1, "upscale": True}, "width", images.TOO_MANY_PIXELS),
        ({"width": 2**31 - 1, "upscale": True}, "width", images.TOO_MANY_PIXELS),
    ],
)
def test_what_is_refused(asked, field, reason):
    with pytest.raises(errors.InvalidArgument) as raised:
        regions.plan(FULL, **{"max_pixels": MOST, **asked})
    assert (raised.value.field, raised.value.reason) == (field, reason)


def render(image, *, format="PNG", plan=None, **options):  # noqa: A002  # IIIF's name
    cut = regions.plan(FULL, max_pixels=MOST, **(plan or {}))
    content, size = regions.render(image, cut, full=FULL, format=format, **options)
    opened = Image.open(io.BytesIO(content))
    assert opened.size == size
    return opened


def test_a_part_in_its_own_size_has_the_very_pixels(image):
    part = render(image, plan={"region": (30, 40, 50, 60)})
    assert np.array_equal(part, np.asarray(image)[40:100, 30:80])


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_it_is_mirrored_and_then_turned_clockwise(image, mirrored, rotation):
    part = render(image, plan={"region": (30, 40, 50, 60)}, mirrored=mirrored, rotation=rotation)
    wanted = np.asarray(image)[40:100, 30:80]
    wanted = wanted[:, ::-1] if mirrored else wanted
    assert np.array_equal(part, np.rot90(wanted, -rotation // 90))


@pytest.mark.parametrize(
    ("quality", "format", "mode"),  # three names
    [
        ("gray", "PNG", "L"),
        ("color", "JPEG", "RGB"),
        ("bitonal", "PNG", "1"),
        ("gray", "WebP", "RGB"),
    ],
)
def test_qualities_and_formats(image, quality, format, mode):  # noqa: A002  # IIIF's name
    part = render(image, quality=quality, format=format)
    assert (part.mode, part.format) == (mode, format.upper())


def test_black_and_white_in_jpeg_has_two_tones(image):
    pixels = np.asarray(render(image, quality="bitonal", format="JPEG", compression_quality=95))
    assert ((pixels < 60) | (pixels > 195)).mean() > 0.97


def test_a_grey_picture_may_be_asked_for_in_colour(image):
    assert render(image.convert("L"), quality="color").mode == "RGB"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP"])
def test_the_rights_travel_in_the_file(image, format):  # noqa: A002  # IIIF's name
    found = render(image, format=format, rights="© Städtisches Archiv").getexif()
    assert found[ExifTags.Base.Copyright].encode("latin-1").decode() == "© Städtisches Archiv"
    assert not render(image, format=format).getexif()


@pytest.mark.parametrize("step", [2, 4, 8])
@pytest.mark.parametrize("full", [(400, 300), (403, 301)])
def test_from_a_reduced_picture_comes_what_comes_from_the_whole(image, step, full):
    """Where a reduced picture's last pixels stand for less, nothing shifts."""
    whole = image.resize(full)
    padded = Image.new("RGB", tuple(-(-side // step) * step for side in full))
    padded.paste(whole.resize(padded.size, box=(0, 0, *full)), (0, 0))
    padded.paste(whole, (0, 0))
    reduced = padded.reduce(step)
    cut = regions.plan(full, max_pixels=MOST, region=(80, 64, 240, 160), width=240 // step)
    assert cut.step == step
    made = [
        np.asarray(Image.open(io.BytesIO(regions.render(each, cut, full=full, format="PNG")[0])))
        for each in (whole, reduced)
    ]
    assert np.abs(made[0].astype(int) - made[1])[2:-2, 2:-2, :2].max() <= 6


@pytest.mark.parametrize(
    "options",
    [{"rotation": 45}, {"quality": "sepia"}, {"format": "GIF"}, {"compression_quality": 96}],
)
def test_other_ways_to_render_are_refused(image, options):
    with pytest.raises(errors.InvalidArgument):
        render(image, **options)
