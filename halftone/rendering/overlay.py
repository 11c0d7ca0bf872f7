"""Two pictures beside each other with what they share, and one laid upon the other.

Overlaps are in pixels of the full pictures; what is drawn here are smaller copies, such as
thumbnails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from halftone.rendering import fonts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Overlap

PANEL: Final = 480
"""Pixels of the longer side of each picture in a sheet."""

_COLOURS: Final = ("#c8321e", "#1f6fb2", "#2c8a4b", "#b07a1e")
_MARGIN: Final = 24
_GAP: Final = 20
_CAPTION: Final = 26
_PAPER: Final = "#faf7f1"
_INK: Final = "#1d1b18"


def warp(
    image: Image.Image,
    *,
    overlap: Overlap,
    query_size: tuple[int, int],
    image_size: tuple[int, int],
    size: tuple[int, int],
) -> Image.Image:
    """Return the image of an overlap, transformed to lie as the query lies.

    If one is a negative of the other, the image is inverted, so that what agrees looks the same.

    Args:
        image: A copy of the overlap's image, of any size.
        overlap: The part that the two share.
        query_size: Width and height of the query in the overlap's pixels.
        image_size: Width and height of the image in the overlap's pixels.
        size: Width and height of the result, which shows the whole query.

    Returns:
        An "RGBA" picture, transparent where the image does not reach.
    """
    homography = np.asarray(overlap.homography, dtype=np.float64).reshape(3, 3)
    from_result = np.diag([query_size[0] / size[0], query_size[1] / size[1], 1.0])
    to_copy = np.diag([image.width / image_size[0], image.height / image_size[1], 1.0])
    # Pillow asks where each pixel of the result comes from: the homography leads from the query to
    # the image.
    matrix = to_copy @ homography @ from_result
    coefficients = (matrix / matrix[2, 2]).ravel()[:8].tolist()
    seen = ImageOps.invert(image.convert("RGB")) if overlap.negative else image
    return seen.convert("RGBA").transform(
        size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )


def blend(query: Image.Image, warped_image: Image.Image) -> Image.Image:
    """Return an "RGB" picture with the query in cyan and the image in red.

    It is grey where the two agree and coloured where they differ.
    """
    size = query.size
    below = query.convert("L")
    laid = Image.new("L", size, 255)
    laid.paste(warped_image.convert("L"), mask=warped_image.getchannel("A"))
    reach = warped_image.getchannel("A")
    # Outside the image the query is shown as it is, lighter.
    pale = Image.blend(below, Image.new("L", size, 255), 0.55)
    red = Image.composite(laid, pale, reach)
    cyan = Image.composite(below, pale, reach)
    return Image.merge("RGB", (red, cyan, cyan))


def draw_sheet(
    query: Image.Image,
    image: Image.Image,
    *,
    overlaps: Sequence[Overlap],
    query_size: tuple[int, int],
    image_size: tuple[int, int],
    titles: tuple[str, str],
    lines: Sequence[str] = (),
) -> Image.Image:
    """Draw both pictures with outlines of the shared parts, and the image laid upon the query.

    Args:
        query: An upright copy of any size; only of the region, if a region was compared.
        image: An upright copy of any size.
        overlaps: The largest first; it aligns the third panel, which is missing without overlaps.
        query_size: Width and height of the full query.
        image_size: Width and height of the full image.
        titles: Titles of the two pictures.
        lines: Text below the panels, for example a line for each overlap.
    """
    first, second = _scale_to_panel(query), _scale_to_panel(image)
    panels = [
        _outline(first, [overlap.query_polygon for overlap in overlaps], full=query_size),
        _outline(second, [overlap.image_polygon for overlap in overlaps], full=image_size),
    ]
    captions = list(titles)
    if overlaps:
        laid = warp(
            image,
            overlap=overlaps[0],
            query_size=query_size,
            image_size=image_size,
            size=first.size,
        )
        panels.append(blend(first, laid))
        inverted = ", inverted," if overlaps[0].negative else ""
        captions.append(f"the second{inverted} laid upon the first")
    return _compose(panels, captions, lines=lines)


def _scale_to_panel(picture: Image.Image) -> Image.Image:
    scale = PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _outline(
    picture: Image.Image,
    polygons: Sequence[Sequence[tuple[float, float]]],
    *,
    full: tuple[int, int],
) -> Image.Image:
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    across, down = picture.width / full[0], picture.height / full[1]
    for number, polygon in enumerate(polygons):
        corners = [
            (min(x * across, picture.width - 2), min(y * down, picture.height - 2))
            for x, y in polygon
        ]
        if len(corners) > 1:
            colour = _COLOURS[number % len(_COLOURS)]
            pen.line([*corners, corners[0], corners[1]], fill=colour, width=4, joint="curve")
    return drawn


def _compose(
    panels: Sequence[Image.Image], captions: Sequence[str], *, lines: Sequence[str]
) -> Image.Image:
    height = max(panel.height for panel in panels)
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1) + 2 * _MARGIN
    small = fonts.load(15)
    text_lines = [
        (line, _COLOURS[number % len(_COLOURS)] if len(lines) > 1 else _INK)
        for number, text in enumerate(lines)
        for line in fonts.wrap(text, font=small, width=width - 2 * _MARGIN)
    ]
    below = len(text_lines) * _CAPTION + 10 if lines else 0
    full = 2 * _MARGIN + _CAPTION + height + below
    canvas = Image.new("RGB", (width, full), _PAPER)
    pen = ImageDraw.Draw(canvas)
    left = _MARGIN
    for panel, caption in zip(panels, captions, strict=True):
        title = fonts.shorten(caption, font=small, width=panel.width)
        pen.text((left, _MARGIN - 4), title, fill=_INK, font=small)
        canvas.paste(panel, (left, _MARGIN + _CAPTION))
        left += panel.width + _GAP
    top = _MARGIN + _CAPTION + height + 10
    for line, colour in text_lines:
        pen.text((_MARGIN, top), line, fill=colour, font=small)
        top += _CAPTION
    return canvas
