"""Finds the pictures on a page of text.

Letters are connected components of ink; letters of similar height in a row are a line of text. What
is neither text nor paper is a picture. O'Gorman, *The document spectrum for page layout analysis*
(1993), links letters to their neighbours in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from halftone.imaging.images import Region
from halftone.imaging.luminance import luminance, shrink

if TYPE_CHECKING:
    from PIL import Image

Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]

SIDE: Final = 1600
"""Longer side in pixels of the copy that is analysed.

Small type on a broadsheet of 60 cm is then four pixels high. Smaller pages are not enlarged.
"""
MOST: Final = 4
"""The most pictures that are returned for a page, the largest."""

_CELL: Final = 4  # pixels of the copy: text, paper and pictures are told apart on this raster
# Letters, in pixels and shares of the copy's longer side.
_LOWEST: Final = 4
_HIGHEST: Final = 0.06
_WIDEST: Final = 8.0  # times the height: faint type runs together to words
_BLOCK: Final = 41  # pixels around one, by whose mean it is ink
_INK: Final = 0.12  # of the page's contrast
# Lines of text.
_REACH: Final = 1.8  # heights to the next letter
_NEIGHBOURS: Final = 6
_CLASSES: Final = (4, 7, 12, 20, 35, 60)
_LETTERS: Final = 7
_LENGTH: Final = 8.0  # heights
_CROOKED: Final = 0.22  # heights, from a straight line
_UNEVEN: Final = 0.4  # of the mean height
_STEEP: Final = 0.2  # 11 degrees
_COVERED: Final = (0.5, 1.15)  # of its length by letters
_VARIED: Final = 0.25  # of the mean width, at least: the dots of a screen stand in rows, too
# A page.
_LINES: Final = 3
_TEXT: Final = 0.03  # of its area
# Pictures.
_TEXTURE: Final = 0.12  # of the page's contrast
_TONE: Final = 0.22
_REACHES: Final = (0.008, 0.025, 0.03)  # of the page's longer side
_MARGIN: Final = 0.75  # of a line along the copy's edge
_AREA: Final = 0.012  # of the page
_WITHIN: Final = 0.3
_BREADTH: Final = 0.06  # of its longer side
_WHOLE: Final = 0.85  # of the page: its features are the picture's anyway


class _Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def shared_area(self, other: _Box) -> int:
        return _Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        ).area

    def union(self, other: _Box) -> _Box:
        return _Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def pictures(image: Image.Image) -> list[Region]:
    """Return the boxes of the pictures on a page of text, the largest first, at most `MOST`.

    If there are fewer than three lines of text, or if one picture fills the page, it is not a page
    of text, and no boxes are returned. A picture on a page may be found in parts, and two pictures
    that touch may be found as one.

    Args:
        image: An upright picture of any mode, turned by at most 11 degrees.
    """
    full = luminance(image)
    grey = shrink(full, SIDE)
    letters = _letters(grey)
    written, lines = _in_lines(letters)
    text = _text(letters[written], shape=grey.shape)
    if lines < _LINES or text.mean() < _TEXT:
        return []
    boxes = _boxes(grey, text=text)
    if any(box.area > _WHOLE * text.size for box in boxes):
        return []
    step = _CELL * full.shape[1] / grey.shape[1], _CELL * full.shape[0] / grey.shape[0]
    return [_region(box, step=step, shape=full.shape) for box in boxes[:MOST]]


def _letters(grey: Bytes) -> NDArray[np.int32]:
    """Find components of ink as large as letters: [N, 5], left, top, width, height and area."""
    soft = cv2.GaussianBlur(grey, (0, 0), 0.8)
    least = max(6.0, _INK * _contrast(grey))
    ink = cv2.adaptiveThreshold(
        soft, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _BLOCK, least
    )
    _, _, components, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    components = components[1:]  # the first is the paper
    width, height, area = components[:, 2], components[:, 3], components[:, 4]
    like = (height >= _LOWEST) & (height <= _HIGHEST * max(grey.shape))
    like &= (width >= 2) & (width <= _WIDEST * height)  # noqa: PLR2004 - a stroke
    like &= (area >= 2 * _LOWEST) & (area <= 0.9 * width * height + _LOWEST)  # no rule, no block
    return np.asarray(components[like], dtype=np.int32)


def _in_lines(letters: NDArray[np.int32]) -> tuple[NDArray[np.bool_], int]:
    """Return which letters stand in a line of text, and how many lines there are."""
    count = len(letters)
    if count < _LETTERS:
        return np.zeros(count, dtype=bool), 0
    first, second = _neighbours(letters)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    chains, chain = connected_components(links, directed=False)
    left, top, width, height = letters[:, :4].T.astype(np.float64)

    def total(values: Doubles) -> Doubles:
        return np.bincount(chain, weights=values, minlength=chains).astype(np.float64)

    number = np.bincount(chain, minlength=chains)
    tall = total(height) / number
    uneven = np.sqrt(np.maximum(total(height**2) / number - tall**2, 0)) / tall
    x, y = left + width / 2, top + height / 2
    x, y = x - (total(x) / number)[chain], y - (total(y) / number)[chain]
    slope = total(x * y) / np.maximum(total(x * x), 1e-6)
    crooked = np.sqrt(np.maximum(total(y * y) - slope * total(x * y), 0) / number)
    begin, end = np.full(chains, np.inf), np.zeros(chains)
    np.minimum.at(begin, chain, left)
    np.maximum.at(end, chain, left + width)
    length = end - begin
    covered = total(width) / length
    lines = (number >= _LETTERS) & (length >= _LENGTH * tall)
    lines &= (crooked < _CROOKED * tall) & (uneven < _UNEVEN) & (np.abs(slope) < _STEEP)
    lines &= (covered > _COVERED[0]) & (covered < _COVERED[1])
    broad = total(width) / number
    lines &= total(width**2) / number > (1 + _VARIED**2) * broad**2
    return lines[chain], int(lines.sum())


def _neighbours(letters: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Return pairs of letters side by side: the rows of the left letters, and of the right."""
    left, top, width, height = letters[:, :4].T.astype(np.float64)
    middle = top + height / 2
    tree = KDTree(np.column_stack([left, middle]))
    ends = np.column_stack([left + width, middle])
    firsts, seconds = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for low, high in zip(_CLASSES, (*_CLASSES[1:], np.inf), strict=True):
        # The tree answers for one distance at a time, and letters reach as far as they are high.
        rows = np.flatnonzero((height >= low) & (height < high))
        reach = _REACH * height[rows].max(initial=0)
        _, near = tree.query(ends[rows], k=_NEIGHBOURS, distance_upper_bound=reach)
        first = np.repeat(rows, _NEIGHBOURS)
        second = near.ravel()
        there = second < len(letters)
        first, second = first[there], second[there]
        tall = np.maximum(height[first], height[second])
        short = np.minimum(height[first], height[second])
        gap = left[second] - left[first] - width[first]
        beside = (short > 0.45 * tall) & (np.abs(middle[first] - middle[second]) < 0.4 * tall)
        beside &= (gap > -0.7 * width[first]) & (gap < _REACH * short) & (first != second)
        firsts.append(first[beside])
        seconds.append(second[beside])
    return np.concatenate(firsts), np.concatenate(seconds)


def _text(letters: NDArray[np.int32], *, shape: tuple[int, ...]) -> Bytes:
    """Return where text is, on the raster: 1 and 0."""
    text = np.zeros((-(-shape[0] // _CELL), -(-shape[1] // _CELL)), dtype=np.uint8)
    left, top, width, height = letters[:, :4].T
    aside, above = 0.6 * height, 0.36 * height  # spaces between words and lines
    corners = np.column_stack(
        [left - aside, top - above, left + width + aside, top + height + above]
    )
    for x0, y0, x1, y1 in (corners // _CELL).astype(int).clip(0).tolist():
        text[y0 : y1 + 1, x0 : x1 + 1] = 1
    return text


def _boxes(grey: Bytes, *, text: Bytes) -> list[_Box]:
    """Return the boxes of what is neither text nor paper, on the raster; the largest first."""
    size = (text.shape[1], text.shape[0])
    values = grey.astype(np.float32)
    mean = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    square = cv2.resize(values * values, size, interpolation=cv2.INTER_AREA)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    free = text == 0
    contrast = _contrast(grey)
    # Everything around the text is paper; if text fills the page there is nothing else.
    around = cv2.dilate(text, np.ones((5, 5), np.uint8)) > text
    paper = float(np.median(mean[around])) if around.any() else float(mean.max())
    printed = (deviation > _TEXTURE * contrast) | (np.abs(mean - paper) > _TONE * contrast)
    mask = (printed & free).astype(np.uint8)
    _clear_margins(mask, flat=(mask > 0) & (deviation <= _TEXTURE * contrast))
    # Remove leftover letters and rules, join the strokes of one drawing, then remove what is
    # narrow.
    operations = (cv2.MORPH_OPEN, cv2.MORPH_CLOSE, cv2.MORPH_OPEN)
    for operation, reach in zip(operations, _REACHES, strict=True):
        width = round(reach * max(size)) | 1
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
        mask = cv2.morphologyEx(mask, operation, kernel).astype(np.uint8)
    _, _, components, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    boxes = [
        _Box(x, y, x + width, y + height)
        for x, y, width, height, area in components[1:].tolist()
        if area >= _AREA * text.size and min(width, height) >= _BREADTH * max(size)
    ]
    return sorted(_join(boxes), key=lambda box: (-box.area, box))


def _clear_margins(mask: Bytes, *, flat: NDArray[np.bool_]) -> None:
    """Clear what a scanner saw beside the page; its box would be the page's."""
    for side, plain in (
        (mask, flat),
        (mask[::-1], flat[::-1]),
        (mask.T, flat.T),
        (mask.T[::-1], flat.T[::-1]),
    ):
        lines = np.flatnonzero(plain.mean(axis=1) < _MARGIN)
        if len(lines) and lines[0]:
            side[: lines[0] + 1] = 0  # with the page's edge


def _join(boxes: list[_Box]) -> list[_Box]:
    """Join boxes if one lies largely within another."""
    joined: list[_Box] = []
    for each in boxes:
        box = each
        while inside := [
            other
            for other in joined
            if box.shared_area(other) > _WITHIN * min(box.area, other.area)
        ]:
            joined = [other for other in joined if other not in inside]
            for other in inside:
                box = box.union(other)
        joined.append(box)
    return joined


def _region(box: _Box, *, step: tuple[float, float], shape: tuple[int, ...]) -> Region:
    left, top = int(box.left * step[0]), int(box.top * step[1])
    right = min(shape[1], round(box.right * step[0]))
    bottom = min(shape[0], round(box.bottom * step[1]))
    return Region(left, top, right - left, bottom - top)


def _contrast(grey: Bytes) -> float:
    """Return the difference of the darkest and lightest parts, at least 1."""
    dark, light = np.percentile(grey[::4, ::4], (2, 95))
    return max(1.0, float(light - dark))
