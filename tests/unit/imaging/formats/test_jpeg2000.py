"""JPEG 2000 is decoded as small as it is needed, and what that takes is counted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from halftone.imaging import images
from halftone.imaging.formats import jpeg2000
from tests.support.pictures.image_corpus import saved

RAMP = np.linspace(0, 255, 1601)[None, :] * np.ones((1203, 1))


@pytest.mark.parametrize("options", [{}, {"tile_size": (256, 256)}, {"num_resolutions": 3}])
@pytest.mark.parametrize("size", [(1601, 1203), (1023, 777), (800, 600)])
def test_a_smaller_picture_has_the_size_that_openjpeg_gives(size, options):
    picture = Image.fromarray(RAMP.astype(np.uint8)).resize(size)
    content = saved(picture, "JPEG2000", **options)
    for target in (300, 150, 100, 50, 20):
        image = images.decode(content, max_pixels=10**7, target=target)
        halvings = min(levels(content), (min(size) // target).bit_length() - 1)
        times = 2 ** max(0, halvings)
        assert image.size == (-(-size[0] // times), -(-size[1] // times))
        assert min(image.size) >= target
        expected = picture.resize(image.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(image, dtype=int) - np.asarray(expected)).max() <= 12


def levels(content: bytes) -> int:
    header = jpeg2000.read(content)
    assert header is not None
    return header.levels


def test_what_a_tile_takes_is_counted_at_the_resolution_that_is_decoded():
    picture = Image.fromarray(RAMP.astype(np.uint8))
    whole = jpeg2000.read(saved(picture, "JPEG2000"))
    tiled = jpeg2000.read(saved(picture, "JPEG2000", tile_size=(256, 256)))
    assert (whole.width, whole.height, whole.components) == (1601, 1203, 1)
    assert whole.measure(0) > 1601 * 1203 * 8
    assert whole.measure(2) < whole.measure(0) / 8
    assert tiled.measure(0) < whole.measure(0) / 20
