"""Hold a sheet of furniture with its windows, and print pictures into them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from halftone.vision.furnishing.strokes import Box, Pixels, make_paper, tint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDE: Final = 640  # pixels of the longer side
_CUT: Final = 1.3  # by how much the form of a window may differ from its picture's


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a sheet shall be like.

    Attributes:
        generator: Where its design comes from.
        aspect: Width over height of the picture that it is for.
        share: About the part of the sheet that shall be picture.
        count: At most as many pictures.
        changes: The part of what changes on a drawn sheet that differs, 0 to 1.
    """

    generator: np.random.Generator
    aspect: float
    share: float
    count: int = 1
    changes: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where a picture is printed.

    Attributes:
        box: Its place on the sheet.
        mask: 255 where the picture shows, as large as the box; None for everywhere.
    """

    box: Box
    mask: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """How a window shows its picture.

    Attributes:
        zoom: How much larger than needed to fill its place, at least 1.
        shift: Which part is seen, -1 to 1 from left to right and from top to bottom.
        shrink: Its side over the largest that fits, at most 1; behind a mask it is zoomed instead.
        place: Where a shrunk picture lies in the window, -1 to 1.
    """

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    shrink: float = 1.0
    place: tuple[float, float] = (0.0, 0.0)


def _leave(sheet: Pixels, variant: int) -> None:
    """Change nothing."""


@dataclass(frozen=True, kw_only=True)
class Furniture:
    """A printed sheet without what changes from one printing to another.

    Attributes:
        ground: Its pixels, height x width.
        windows: Where pictures are printed, the largest first.
        overprint: Prints what belongs to one sheet alone (a date, the men on a board), given a
            number that stands for it. It is printed over the pictures.
    """

    ground: Pixels
    windows: tuple[Window, ...] = ()
    overprint: Callable[[Pixels, int], None] = field(default=_leave)


def size_sheet(aspect: float) -> tuple[int, int]:
    """Return height and width of a sheet, given its width over height."""
    if aspect >= 1:
        return max(64, round(SIDE / aspect)), SIDE
    return SIDE, max(64, round(SIDE * aspect))


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Where on the sheet a picture lies, and which part of it: left, top, right, bottom, 0 to 1."""

    box: Box
    part: tuple[float, float, float, float]


def place(window: Window, picture: Pixels, *, view: View) -> Placing:
    """Fit a picture into a window: cut it a little, and leave room where that would not do."""
    left, top, width, height = window.box
    zoom, shift = view.zoom, view.shift
    if window.mask is not None and view.shrink < 1:
        zoom, shift = zoom / view.shrink, view.place
    if window.mask is None:
        aspect = picture.shape[1] / picture.shape[0]
        wide = min(width, height * aspect * _CUT) * view.shrink
        high = min(height, width / aspect * _CUT) * view.shrink
        left += round((width - wide) * (view.place[0] + 1) / 2)
        top += round((height - high) * (view.place[1] + 1) / 2)
        width, height = max(8, math.floor(wide)), max(8, math.floor(high))
    scale = max(height / picture.shape[0], width / picture.shape[1]) * zoom
    wide, high = width / scale / picture.shape[1], height / scale / picture.shape[0]
    x, y = (1 - wide) * (shift[0] + 1) / 2, (1 - high) * (shift[1] + 1) / 2
    return Placing(box=(left, top, width, height), part=(x, y, x + wide, y + high))


def cut(picture: Pixels, placing: Placing) -> Pixels:
    """Return the part of a picture that is seen, in the size of its place."""
    _, _, width, height = placing.box
    rows, columns = picture.shape
    x0, y0, x1, y1 = placing.part
    left, right = math.floor(x0 * columns), math.ceil(x1 * columns)
    top, bottom = math.floor(y0 * rows), math.ceil(y1 * rows)
    part = picture[max(0, top) : max(bottom, top + 1), max(0, left) : max(right, left + 1)]
    method = cv2.INTER_AREA if part.size > width * height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), dtype=np.uint8)


def print_sheet(
    furniture: Furniture, pictures: Sequence[tuple[Pixels, Placing]], *, variant: int
) -> Pixels:
    """Return the sheet with pictures in its windows, in their order."""
    sheet = furniture.ground.copy()
    for window, (picture, placing) in zip(furniture.windows, pictures, strict=False):
        left, top, width, height = placing.box
        printed = cut(picture, placing)
        place_ = sheet[top : top + height, left : left + width]
        if window.mask is None:
            place_[:] = printed
        else:
            alpha = window.mask.astype(np.float32) / 255
            place_[:] = np.round(place_ + alpha * (printed.astype(np.float32) - place_))
    furniture.overprint(sheet, variant)
    return sheet


def lay_out(order: Order, *, sheet_aspect: float) -> tuple[Pixels, Box]:
    """Return an empty sheet and a box for its picture, which takes about the share ordered.

    The sheet becomes wider or taller than `sheet_aspect` where the picture asks for it.
    """
    wide = math.sqrt(order.share * order.aspect)
    high = wide / order.aspect  # of a sheet of area 1
    sheet_wide = min(max(math.sqrt(sheet_aspect), wide * 1.03), 1 / (high * 1.03))
    height, width = size_sheet(sheet_wide**2)
    side = math.sqrt(height * width)
    box_w = min(round(wide * side), width - 6)
    box_h = min(round(high * side), height - 6)
    x, y = (float(order.generator.choice([0.0, 0.5, 0.5, 1.0])) for _ in range(2))
    left, top = round((width - box_w) * x), round((height - box_h) * y)
    margin_x, margin_y = min(8, (width - box_w) // 2), min(8, (height - box_h) // 2)
    left = min(max(left, margin_x), width - box_w - margin_x)
    top = min(max(top, margin_y), height - box_h - margin_y)
    return make_paper(height, width), (left, top, box_w, box_h)


def split_around(sheet: Pixels, box: Box) -> dict[str, Box]:
    """Return the boxes above, below, left and right of a box, with a little room between."""
    height, width = sheet.shape
    left, top, wide, high = box
    gap, right, bottom = 5, left + wide, top + high
    return {
        "above": (gap, gap, width - 2 * gap, max(0, top - 2 * gap)),
        "below": (gap, bottom + gap, width - 2 * gap, max(0, height - bottom - 2 * gap)),
        "left": (gap, top, max(0, left - 2 * gap), high),
        "right": (right + gap, top, max(0, width - right - 2 * gap), high),
    }


def _vary(
    common: np.random.Generator, own: np.random.Generator, *, size: int, changes: float
) -> list[np.random.Generator]:
    """Return a generator for each of `size` things; a share of them differs from sheet to sheet."""
    seeds, others = common.integers(1 << 30, size=size), own.integers(1 << 30, size=size)
    ranks = common.permutation(size)
    fresh = ranks < max(1, math.ceil(size * changes))
    return [np.random.default_rng(int(s)) for s in np.where(fresh, others, seeds)]


def change_some(
    order: Order, *, size: int, mark: Callable[[Pixels, int, np.random.Generator], None]
) -> Callable[[Pixels, int], None]:
    """Return what draws `size` things on a sheet, a part of which changes with its variant."""
    seed = int(order.generator.integers(1 << 30))

    def draw(pixels: Pixels, variant: int) -> None:
        common, own = np.random.default_rng(seed), np.random.default_rng([seed, variant])
        for number, one in enumerate(_vary(common, own, size=size, changes=order.changes)):
            mark(pixels, number, one)

    return draw


def print_ground(
    order: Order, sheet: Pixels, overprint: Callable[[Pixels, int], None]
) -> Furniture:
    """Return a drawn sheet in some ink on some paper, with what changes on it."""
    generator = order.generator
    paper, ink = int(generator.integers(200, 256)), int(generator.integers(0, 70))
    return Furniture(ground=tint(sheet, paper=paper, ink=ink), overprint=overprint)
