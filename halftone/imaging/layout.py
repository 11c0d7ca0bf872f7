"""Finds the pictures on a page of text.

Text is found twice. Letters are connected components of ink; letters of similar height in a row are
a line of text. Small or faint type runs together to words and across lines, so lines are also found
as long dark stripes of a copy that is smeared along them. What is neither text nor paper is a
picture.

O'Gorman, *The document spectrum for page layout analysis* (1993), links letters to their neighbours
in the same way; Wong, Casey and Wahl, *Document analysis system* (1982), smear lines to stripes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
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
MOST: Final = 12
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
# Stripes, in pixels of a copy that is halved for each size of type.
_SIZES: Final = 3
_SMEAR: Final = 11  # along a line
_PITCH: Final = 13  # around it, by whose mean it is dark
_DARKER: Final = 0.04  # of the page's contrast
_THICK: Final = (1.6, 8.0)
_LONG: Final = (16.0, 8.0)  # pixels, thicknesses
_BENT: Final = 0.45  # thicknesses, from a straight line; 0.29 is a ruler's
_STROKES: Final = 0.1  # of the page's contrast, from pixel to pixel: text 0.1 to 0.4, pictures half
_ASKEW: Final = 0.06  # from the page's other stripes
_LEADING: Final = 11  # between stripes of one column
# A page.
_LINES: Final = 3
_TEXT: Final = 0.03  # of its area
# A page of type too small for letters.
_MARKS: Final = 400  # as large as letters: most pictures have fewer, and cost no more time
_STRIPES: Final = 60
_STRIPED: Final = 0.12  # of its area
_OF_DARK: Final = 0.55  # of all that is as dark as a stripe
# Pictures.
_TEXTURE: Final = 0.12  # of the page's contrast
_TONE: Final = 0.15
_AMONG: Final = 0.04  # of the page's longer side
_STAYS: Final = 0.58  # of the ink around is text
_JOINS: Final = 0.8
_GUTTER: Final = 0.03  # of the page's longer side, as the next two
_STROKE: Final = 0.03
_NARROW: Final = 0.02
_WORD: Final = (16, 5)  # cells wide and high
_DENSE: Final = 0.35  # of what lies around it is printed
_MARGIN: Final = 0.75  # of a line along the copy's edge
_AREA: Final = 0.006  # of the page
_CLEAR: Final = 0.02  # of a strip of paper between pictures is printed
_WITHIN: Final = 0.3
_BREADTH: Final = 0.04  # of its longer side
_CELLS: Final = 12  # smaller ones have few features
_WHOLE: Final = 0.8  # of the page: its features are those of its pictures anyway


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

    If there are fewer than three lines of text, or if pictures fill the page, it is not a page of
    text, and no boxes are returned. A picture on a page may be found in parts, and two pictures
    that touch may be found as one.

    Args:
        image: An upright picture of any mode, turned by at most 11 degrees.
    """
    full = luminance(image)
    grey = shrink(full, SIDE)
    letters = _letters(grey)
    written, lines = _in_lines(letters)
    text = _text(letters[written], shape=grey.shape)
    is_page = lines >= _LINES and text.mean() >= _TEXT
    if not is_page and (len(letters) < _MARKS or not _is_small_type(grey)):
        return []
    text |= _stripes(grey)
    boxes = _boxes(grey, text=text)
    if sum(box.area for box in boxes) > _WHOLE * text.size:
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


def _stripes(grey: Bytes) -> Bytes:
    """Return where lines of text are that look like stripes, on the raster: 1 and 0."""
    contrast = _contrast(grey)
    size = (-(-grey.shape[1] // _CELL), -(-grey.shape[0] // _CELL))
    text = np.zeros(size[::-1], dtype=np.uint8)
    copy = grey
    for _ in range(_SIZES):
        lines, _, _ = _find_stripes(copy, contrast=contrast)
        columns = cv2.morphologyEx(lines, cv2.MORPH_CLOSE, np.ones((_LEADING, _LEADING), np.uint8))
        covered = cv2.resize(columns.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        text |= (covered > 0.5).astype(np.uint8)  # noqa: PLR2004 - half of a cell
        if min(copy.shape) < 2 * _LONG[0]:
            break
        half = cv2.resize(copy, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        copy = np.asarray(half, dtype=np.uint8)
    return text


def _is_small_type(grey: Bytes) -> bool:
    """Return whether most of what is printed are lines of type too small to have letters."""
    lines, dark, count = _find_stripes(grey, contrast=_contrast(grey))
    area = float(lines.mean())
    return count >= _STRIPES and area >= max(_STRIPED, _OF_DARK * float(dark.mean()))


def _find_stripes(grey: Bytes, *, contrast: float) -> tuple[Bytes, Bytes, int]:
    """Find the lines of text of one size, two to eight pixels high.

    A line is dark among the lines above and below; it is long, straight, as askew as the others,
    and, unlike a rule or the hatching of an engraving, full of upright strokes.

    Returns:
        Where lines are, where it is as dark as in a line, and the number of lines.
    """
    smeared = cv2.blur(grey.astype(np.float32), (_SMEAR, 1))
    darker = smeared - cv2.blur(smeared, (3, _PITCH)) < -_DARKER * contrast
    dark = darker.astype(np.uint8)
    _, labels, components, middles = cv2.connectedComponentsWithStats(dark, connectivity=4)
    width, area = components[:, 2], np.maximum(components[:, 4], 1).astype(np.float64)
    thick = area / np.maximum(width, 1)
    lines = (width >= _LONG[0]) & (width >= _LONG[1] * thick)
    lines &= (thick >= _THICK[0]) & (thick <= _THICK[1])
    lines[0] = False  # the paper
    at = np.flatnonzero(lines[labels].ravel())
    label = labels.ravel()[at]
    y, x = np.divmod(at, grey.shape[1])
    x, y = x - middles[label, 0], y - middles[label, 1]

    def mean(values: Doubles) -> Doubles:
        total = np.bincount(label, weights=values, minlength=len(components))
        return np.asarray(total / area, dtype=np.float64)

    across = mean(x * y)
    slope = across / np.maximum(mean(x * x), 1e-6)
    bent = np.sqrt(np.maximum(mean(y * y) - slope * across, 0))
    strokes = np.zeros_like(grey)
    strokes[:, 1:] = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    lines &= (bent < _BENT * thick) & (np.abs(slope) < _STEEP)
    lines &= mean(strokes.ravel()[at].astype(np.float64)) > _STROKES * contrast
    if lines.any():
        lines &= np.abs(slope - _weighted_median(slope[lines], area[lines])) < _ASKEW
    return lines[labels].astype(np.uint8), dark, int(lines.sum())


def _weighted_median(values: Doubles, weights: Doubles) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def _boxes(grey: Bytes, *, text: Bytes) -> list[_Box]:
    """Return the boxes of what is neither text nor paper, on the raster; the largest first."""
    size = (text.shape[1], text.shape[0])
    values = grey.astype(np.float32)
    mean = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    square = cv2.resize(values * values, size, interpolation=cv2.INTER_AREA)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    contrast = _contrast(grey)
    # Everything around the text is paper; if text fills the page there is nothing else.
    around = cv2.dilate(text, np.ones((5, 5), np.uint8)) > text
    paper = float(np.percentile(mean[around], 75) if around.any() else mean.max())
    printed = (deviation > _TEXTURE * contrast) | (np.abs(mean - paper) > _TONE * contrast)
    free = (_agree(text, printed=printed) == 0).astype(np.uint8)
    mask = printed.astype(np.uint8) & free
    _clear_margins(mask, flat=(mask > 0) & (deviation <= _TEXTURE * contrast))

    # Between columns there is room for rules and leftover letters only.
    free = _morph(free, cv2.MORPH_OPEN, _GUTTER)
    mask = _without_words(mask & free)
    # Join the strokes of one drawing, but not across text; leave out rules.
    width = round(_STROKE * max(size)) | 1
    dense = (cv2.blur(mask.astype(np.float32), (width, width)) > _DENSE).astype(np.uint8) & free
    core = _morph(dense, cv2.MORPH_OPEN, _NARROW)
    whole = _morph(core, cv2.MORPH_DILATE, _NARROW) & dense
    _, labels = cv2.connectedComponents(whole, connectivity=4)
    parts = np.where(mask, labels, 0)
    boxes = [
        box
        for label, place in enumerate(find_objects(parts), start=1)
        if place is not None
        for box in _cut(parts == label, box=_Box(0, 0, *size), page=max(size))
    ]
    return sorted(_join(boxes), key=lambda box: (-box.area, box))


def _cut(printed: NDArray[np.bool_], *, box: _Box, page: int) -> list[_Box]:
    """Return the boxes of the pictures in a box, between which straight strips of paper lie.

    Nagy and Seth, *Hierarchical representation of optically scanned documents* (1984).

    Args:
        printed: Where is ink that belongs together, on the whole raster.
        box: The part to look at.
        page: The longer side of the raster.
    """
    part = printed[box.top : box.bottom, box.left : box.right]
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return []
    top, left = box.top + int(rows[0]), box.left + int(columns[0])
    box = _Box(left, top, box.left + int(columns[-1]) + 1, box.top + int(rows[-1]) + 1)
    if not _is_large(box, printed=printed, page=page):
        return []
    part = printed[box.top : box.bottom, box.left : box.right]
    for y in np.flatnonzero(part.mean(axis=1) < _CLEAR) + box.top:
        halves = box._replace(bottom=int(y)), box._replace(top=int(y) + 1)
        if all(_is_large(half, printed=printed, page=page) for half in halves):
            return [each for half in halves for each in _cut(printed, box=half, page=page)]
    for x in np.flatnonzero(part.mean(axis=0) < _CLEAR) + box.left:
        halves = box._replace(right=int(x)), box._replace(left=int(x) + 1)
        if all(_is_large(half, printed=printed, page=page) for half in halves):
            return [each for half in halves for each in _cut(printed, box=half, page=page)]
    return [box]


def _is_large(box: _Box, *, printed: NDArray[np.bool_], page: int) -> bool:
    breadth = min(box.right - box.left, box.bottom - box.top)
    return box.area >= _AREA * printed.size and breadth >= max(_CELLS, _BREADTH * page)


def _morph(mask: Bytes, operation: int, reach: float) -> Bytes:
    """Return the mask after a morphological operation that reaches a share of the longer side."""
    width = round(reach * max(mask.shape)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    return np.asarray(cv2.morphologyEx(mask, operation, kernel), dtype=np.uint8)


def _without_words(mask: Bytes) -> Bytes:
    """Return the mask without leftover words: small flat parts by themselves."""
    _, labels, parts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    words = (parts[:, 3] <= _WORD[1]) & (parts[:, 2] <= _WORD[0])
    return np.where(words[labels], 0, mask).astype(np.uint8)


def _agree(text: Bytes, *, printed: NDArray[np.bool_]) -> Bytes:
    """Return the text without stripes among other ink, and with what stands among text."""
    width = round(_AMONG * max(text.shape)) | 1
    lines = cv2.blur(text.astype(np.float32), (width, width))
    ink = cv2.blur(((text > 0) | printed).astype(np.float32), (width, width))
    share = lines / np.maximum(ink, 1e-6)
    return np.where(text > 0, share > _STAYS, share > _JOINS).astype(np.uint8)


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
