"""Pictures with enough in them for local features, and printings of them."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFilter

from tests.support.pictures import printed_pages


def scene(seed: int) -> Image.Image:
    """A picture of figures and tones, 320 x 240, unlike that of any other seed."""
    return printed_pages.scene(seed, width=320, height=240)


def png(picture: Image.Image) -> bytes:
    """Its bytes."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def printing(seed: int, *, edition: int = 0) -> bytes:
    """One of a picture's printings: cut, scaled and toned differently in each edition."""
    picture = scene(seed)
    if edition:
        cut = 4 * (edition % 4)
        picture = picture.crop((cut, cut // 2, 320 - cut, 240 - cut))
        picture = picture.resize((300 - 7 * (edition % 5), 228 - 5 * (edition % 5)))
        picture = picture.filter(ImageFilter.GaussianBlur(0.3 * (edition % 3)))
        picture = picture.point(lambda value: int(20 + 10 * (edition % 3) + value * 0.8))
    return png(picture)


def plate(*seeds: int) -> bytes:
    """Pictures side by side on one plate."""
    whole = Image.new("L", (340 * len(seeds), 260), 235)
    for at, seed in enumerate(seeds):
        whole.paste(scene(seed), (10 + 340 * at, 10))
    return png(whole)


PAGE = (900, 1200)
"""The size of a page."""


def page(*seeds: int) -> bytes:
    """A page of text with pictures on it, one above the other; see `place`."""
    whole = Image.new("L", PAGE, 235)
    pen = ImageDraw.Draw(whole)
    for top in range(20, PAGE[1] - 20, 14):
        for left in range(20, PAGE[0] - 40, 30):
            length = 10 + (left * 7 + top * 13 + sum(seeds)) % 16
            pen.rectangle((left, top, left + length, top + 5), fill=60)
    for at, seed in enumerate(seeds):
        x, y, width, height = place(at)
        whole.paste(235, (x - 8, y - 8, x + width + 8, y + height + 8))
        whole.paste(scene(seed), (x, y))
    return png(whole)


def place(at: int) -> tuple[int, int, int, int]:
    """Where a page has its picture `at`: x, y, width and height."""
    return 60 + 240 * (at % 2), 60 + 380 * at, 320, 240


def on_page(whole: bytes, at: int) -> bytes:
    """The picture `at` of a page, cut out."""
    x, y, width, height = place(at)
    picture = Image.open(io.BytesIO(whole)).crop((x, y, x + width, y + height))
    return png(picture)
