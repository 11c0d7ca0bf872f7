"""A JPEG that lacks its end is read if nothing else is missing, and refused otherwise."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors
from halftone.imaging import images

_CUTS = 120
_MOST = 10**7


def noise() -> Image.Image:
    tones = np.random.default_rng(0).integers(0, 255, (25, 38), dtype=np.uint8)
    return Image.fromarray(tones).resize((300, 200), Image.Resampling.BICUBIC)


def blank(*, box=(0, 0, 0, 0)) -> Image.Image:
    image = Image.new("L", (300, 200), 255)
    image.paste(0, box)
    return image


FILES = {
    "gray": (noise(), {}),
    "colours": (noise().convert("RGB"), {}),
    "progressive": (noise().convert("RGB"), {"progressive": True}),
    # Tables of its own: a code of one bit may stand for a whole block.
    "optimized": (noise(), {"optimize": True}),
    "blank": (blank(), {"optimize": True}),
    "almost blank": (blank(box=(10, 10, 60, 40)), {"optimize": True}),
    "restarts": (noise(), {"restart_marker_blocks": 4}),
    "restarts in colours": (noise().convert("RGB"), {"restart_marker_rows": 1}),
    "progressive with restarts": (
        noise().convert("RGB"),
        {"progressive": True, "restart_marker_rows": 2},
    ),
}


def decode(content: bytes) -> np.ndarray:
    return np.asarray(images.decode(content, max_pixels=_MOST))


def decode_or_none(content: bytes) -> np.ndarray | None:
    try:
        return decode(content)
    except errors.ImageRejected as error:
        if error.reason != images.TRUNCATED:
            raise
        return None


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_has_all_of_its_pixels(name):
    image, options = FILES[name]
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80, **options)
    content = stream.getvalue()
    whole, begins = decode(content), content.find(b"\xff\xda")
    step = max(1, (len(content) - begins) // _CUTS)
    read = []
    for length in sorted(
        {*range(begins, len(content), step), *range(len(content) - 9, len(content))}
    ):
        if (pixels := decode_or_none(content[:length])) is not None:
            assert np.array_equal(pixels, whole), length
            read.append(length)
    # Without the marker, and with half of it. A few bits of filling may be missing, too.
    assert {len(content) - 2, len(content) - 1} <= set(read)
    assert min(read) >= len(content) - 5
