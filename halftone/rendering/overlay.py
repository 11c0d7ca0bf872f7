"""Two pictures beside each other: what they share, where they differ, and one upon the other.

Overlaps are in pixels of the full pictures; what is drawn here are smaller copies, such as
thumbnails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from halftone.client.types import Relation
from halftone.rendering import fonts, overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Hit, Overlap
    from halftone.rendering.overlaps import Polygon

PANEL: Final = 480
"""Pixels of the longer side of each picture in a sheet."""

_COLOURS: Final = ("#c8321e", "#1f6fb2", "#2c8a4b", "#b07a1e")
_DIFFERING: Final = "#8a1fb0"
_LINE: Final = 4
_DASH: Final = (9, 6)
_FADED: Final = 0.72
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
    hit: Hit,
    query_size: tuple[int, int],
    image_size: tuple[int, int],
    titles: tuple[str, str],
    lines: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Image.Image:
    """Draw both pictures with outlines of what they share, and a third panel with the comparison.

    The third panel, which is missing without overlaps, is the image laid upon the query by the
    largest overlap. Of pictures that only share elements it shows these alone. What differs is
    framed by dashes and numbered in all panels.

    Args:
        query: An upright copy of any size; only of the region, if a region was compared.
        image: An upright copy of any size.
        hit: The image as a hit of the query.
        query_size: Width and height of the full query.
        image_size: Width and height of the full image.
        titles: Titles of the two pictures.
        lines: A line of text for each overlap.
        notes: Lines of text below these.
    """
    shared = hit.relation is Relation.SHARED_ELEMENTS
    first, second = _scale_to_panel(query), _scale_to_panel(image)
    panels = [
        _outline(first, _list_outlines(hit, of_query=True), full=query_size),
        _outline(second, _list_outlines(hit, of_query=False), full=image_size),
    ]
    captions = list(titles)
    if hit.overlaps:
        laid = [
            warp(image, overlap=each, query_size=query_size, image_size=image_size, size=first.size)
            for each in (hit.overlaps if shared else hit.overlaps[:1])
        ]
        if shared:
            parts = [_scale_parts(each, to=first.size, full=query_size) for each in hit.overlaps]
            panels.append(_uncover(first, laid, parts=parts))
            captions.append("what both have; the rest is faded")
        else:
            panels.append(blend(first, laid[0]))
            inverted = ", inverted," if hit.overlaps[0].negative else ""
            captions.append(f"the second{inverted} laid upon the first")
    differences = overlaps.list_differences(hit)
    for panel, full in zip(panels, (query_size, image_size, query_size), strict=False):
        places = [
            each.part.image_polygon if panel is panels[1] else each.part.query_polygon
            for each in differences
        ]
        _mark(panel, places, full=full)
    coloured = len(lines) > 1
    texts = [
        (text, _COLOURS[number % len(_COLOURS)] if coloured else _INK)
        for number, text in enumerate(lines)
    ]
    if differences:
        said = "; ".join(
            f"{number}: {overlaps.describe_difference(each)}"
            for number, each in enumerate(differences, start=1)
        )
        texts.append((f"Dashed: what differs. {said}", _DIFFERING))
    return _compose(panels, captions, texts=[*texts, *((note, _INK) for note in notes)])


def _scale_to_panel(picture: Image.Image) -> Image.Image:
    scale = PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _list_outlines(hit: Hit, *, of_query: bool) -> list[list[Polygon]]:
    """Return for each overlap the polygons of what is shared in one of the pictures."""
    return [
        [
            part.query_polygon if of_query else part.image_polygon
            for part in overlaps.list_outlined(overlap, relation=hit.relation)
        ]
        for overlap in hit.overlaps
    ]


def _scale_parts(
    overlap: Overlap, *, to: tuple[int, int], full: tuple[int, int]
) -> list[list[tuple[float, float]]]:
    """Return the query's parts of an overlap in pixels of a smaller copy."""
    return [
        [(x * to[0] / full[0], y * to[1] / full[1]) for x, y in part.query_polygon]
        for part in overlaps.list_parts(overlap)
    ]


def _uncover(
    query: Image.Image,
    laid: Sequence[Image.Image],
    *,
    parts: Sequence[Sequence[Sequence[tuple[float, float]]]],
) -> Image.Image:
    """Fade the query except for parts of it, which are blended with the image.

    Args:
        query: A panel.
        laid: For each overlap the image as it lies upon the panel, from `warp`.
        parts: For each overlap its parts, in pixels of the panel.
    """
    faded = Image.blend(query, Image.new("RGB", query.size, _PAPER), _FADED)
    for warped, polygons in zip(laid, parts, strict=True):
        mask = Image.new("L", query.size)
        pen = ImageDraw.Draw(mask)
        for polygon in polygons:
            pen.polygon(polygon, fill=255)
        faded.paste(blend(query, warped), mask=mask)
    return faded


def _outline(
    picture: Image.Image, outlines: Sequence[Sequence[Polygon]], *, full: tuple[int, int]
) -> Image.Image:
    """Return the picture with a line of a colour of its own around each group of polygons.

    Polygons of a group that touch, such as the sides of a frame, get one line around all.
    """
    drawn = picture.copy()
    width, height = picture.size
    for number, polygons in enumerate(outlines):
        # A line at the edge of the picture needs something beyond it.
        mask = Image.new("L", (width + 2 * _LINE, height + 2 * _LINE))
        pen = ImageDraw.Draw(mask)
        for polygon in polygons:
            corners = _place(polygon, picture=picture, full=full)
            if len(corners) > 1:
                pen.polygon([(x + _LINE, y + _LINE) for x, y in corners], fill=255, outline=255)
        # Rounding may leave a gap between two polygons.
        mask = mask.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MinFilter(3))
        line = ImageChops.difference(mask, mask.filter(ImageFilter.MinFilter(2 * _LINE + 1)))
        colour = _COLOURS[number % len(_COLOURS)]
        drawn.paste(colour, mask=line.crop((_LINE, _LINE, _LINE + width, _LINE + height)))
    return drawn


def _place(
    polygon: Polygon, *, picture: Image.Image, full: tuple[int, int]
) -> list[tuple[float, float]]:
    """Return the corners of a polygon in pixels of a panel, none of them beyond its edge."""
    across, down = picture.width / full[0], picture.height / full[1]
    return [
        (
            float(np.clip(x * across, 1, picture.width - 2)),
            float(np.clip(y * down, 1, picture.height - 2)),
        )
        for x, y in polygon
    ]


def _mark(picture: Image.Image, polygons: Sequence[Polygon], *, full: tuple[int, int]) -> None:
    """Frame polygons by dashes and number them."""
    pen = ImageDraw.Draw(picture)
    font = fonts.load(15)
    for number, polygon in enumerate(polygons, start=1):
        corners = _place(polygon, picture=picture, full=full)
        if not corners:
            continue
        pen.line([*corners, corners[0], corners[1]], fill="white", width=5, joint="curve")
        for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            _draw_dashes(pen, start, end)
        left, top = min(x for x, _ in corners), min(y for _, y in corners)
        width = round(font.getlength(str(number))) + 8
        # The number stands on the upper left corner, inside the panel.
        left, top = (
            min(max(left - 3, 0), picture.width - width),
            min(max(top - 9, 0), picture.height - 18),
        )
        box = (left, top, left + width, top + 18)
        pen.rectangle(box, fill=_DIFFERING, outline="white")
        pen.text((left + 4, top + 1), str(number), fill="white", font=font)


def _draw_dashes(
    pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]
) -> None:
    first, last = np.array(start), np.array(end)
    length = float(np.hypot(*(last - first)))
    dash, gap = _DASH
    for at in np.arange(0, length, dash + gap):
        until = min(at + dash, length)
        stroke = [tuple(first + (last - first) * (each / length)) for each in (at, until)]
        pen.line(stroke, fill=_DIFFERING, width=3)


def _compose(
    panels: Sequence[Image.Image], captions: Sequence[str], *, texts: Sequence[tuple[str, str]]
) -> Image.Image:
    """Lay panels side by side below their captions, with lines of text in colours below them."""
    height = max(panel.height for panel in panels)
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1) + 2 * _MARGIN
    small = fonts.load(15)
    wrapped = [
        (line, colour)
        for text, colour in texts
        for line in fonts.wrap(text, font=small, width=width - 2 * _MARGIN)
    ]
    below = len(wrapped) * _CAPTION + 10 if wrapped else 0
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
    for line, colour in wrapped:
        pen.text((_MARGIN, top), line, fill=colour, font=small)
        top += _CAPTION
    return canvas
