"""Draw base maps, on which different things are entered."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from halftone.vision.furnishing.ornaments import make_repeat, surround
from halftone.vision.furnishing.sheets import (
    Furniture,
    Order,
    change_some,
    print_ground,
    size_sheet,
)
from halftone.vision.furnishing.strokes import (
    Floats,
    Pixels,
    bend,
    choose_face,
    engrave,
    fill,
    make_ellipse,
    make_noise,
    make_paper,
    make_words,
    outline,
    press,
    trace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_COARSE: Final = 4  # pixels between the points of the field that water runs on
_GAP: Final = 3  # points between the dashes of a border


def draw_map(order: Order) -> Furniture:
    """Draw a base map: coasts, rivers, borders, hills, names; what is entered on it changes."""
    generator, dense = order.generator, 1 - order.share
    height, width = size_sheet(float(generator.uniform(0.65, 1.6)))
    sheet = make_paper(height, width)
    relief = make_noise(generator, (height, width), cells=float(generator.uniform(2, 5)), octaves=5)
    sea = float(np.quantile(relief[::4, ::4], generator.choice([0.0, 0.15, 0.4, 0.6])))
    if generator.random() < 0.3 + dense / 2:
        _shade_hills(sheet, relief, sea=sea, generator=generator)
    for shore in range(int(generator.integers(1, 6)) if sea else 0):
        _contour(sheet, relief, level=sea - shore * 0.02, weight=0.6 if shore else 2.0)
    _draw_rivers(sheet, relief, sea=sea, count=round(4 + 26 * dense), generator=generator)
    counties = make_noise(generator, (height, width), cells=float(generator.uniform(4, 9)))
    counties = np.where(relief > sea, counties, 0)
    for level in np.linspace(0.25, 0.75, int(generator.integers(1, 5))):
        _contour(sheet, counties, level=float(level), weight=1.0, dashes=7)
    step = float(generator.uniform(70, 200))
    for t in np.arange(step / 2, width + height, step) if generator.random() < 0.6 else ():
        trace(sheet, [[t, 0], [t * 0.96, height]], weight=0.6)
        trace(sheet, [[0, t], [width, t * 0.97]], weight=0.6)
    _name_places(sheet, count=round(6 + 50 * dense * generator.random()), generator=generator)
    thickness = int(generator.integers(4, 16))
    box = (0, 0, width, height)
    surround(sheet, make_repeat(generator), box=box, thickness=thickness, corner=None)
    enter = _choose_entry(generator, height=height, width=width)

    def mark(pixels: Pixels, _: int, one: np.random.Generator) -> None:
        x, y = one.uniform(0.06, 0.94, size=2) * [width, height]
        enter(pixels, float(x), float(y), one)

    overprint = change_some(order, size=3 + round(10 * order.share), mark=mark)
    return print_ground(order, sheet, overprint)


def _shade_hills(
    sheet: Pixels, relief: Floats, *, sea: float, generator: np.random.Generator
) -> None:
    small = np.ascontiguousarray(relief[::2, ::2], dtype=np.float32)
    steep = np.gradient(small, axis=0) + np.gradient(small, axis=1)
    steep = steep / (4 * float(steep.std()) + 1e-6) * generator.uniform(0.5, 1.5)
    soft = cv2.GaussianBlur(steep.astype(np.float32), (0, 0), 1.5)
    lit = cv2.resize(soft, sheet.shape[::-1], interpolation=cv2.INTER_LINEAR) + 0.9
    tone = np.where(relief > sea, lit, 1.2).astype(np.float32)
    angle = float(generator.uniform(0, 3))
    lines = engrave(tone, period=4, angle=angle, generator=generator, wave=9)
    press(sheet, lines, left=0, top=0)


def _contour(sheet: Pixels, field: Floats, *, level: float, weight: float, dashes: int = 0) -> None:
    """Trace where a field crosses a level, with or without dashes, but not along the edges."""
    lines, _ = cv2.findContours(
        (field > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    limit = np.array(field.shape[::-1]) - 2
    for line in lines:
        points = line[::2, 0].astype(np.float64)
        inner = ((points > 1) & (points < limit)).all(axis=1)
        cuts = [-1, *np.flatnonzero(~inner).tolist(), len(points)]
        for start, end in pairwise(cuts):
            step = dashes + _GAP if dashes else max(1, end)
            for first in range(start + 1, end, step):
                piece = points[first : min(end, first + (dashes or end))]
                if len(piece) > 4 and len(points) > 12:
                    trace(sheet, piece, weight=weight)


def _draw_rivers(
    sheet: Pixels, relief: Floats, *, sea: float, count: int, generator: np.random.Generator
) -> None:
    """Let water run downhill to the sea."""
    field = cv2.GaussianBlur(np.ascontiguousarray(relief[::_COARSE, ::_COARSE]), (0, 0), 4)
    fall_y, fall_x = np.gradient(-field)
    height, width = field.shape
    for _ in range(count):
        x, y = generator.uniform(0.05, 0.95, size=2) * [width, height]
        ahead_x, ahead_y = generator.normal(0, 1, size=2)
        wander, path = generator.normal(0, 0.25, size=(70, 2)), []
        for turn_x, turn_y in wander.tolist():
            column, row = int(x), int(y)
            if not (1 <= column < width - 1 and 1 <= row < height - 1) or field[row, column] < sea:
                break
            path.append((x * _COARSE, y * _COARSE))
            ahead_x = 0.6 * ahead_x + 60 * fall_x[row, column] + turn_x
            ahead_y = 0.6 * ahead_y + 60 * fall_y[row, column] + turn_y
            pace = 1.5 / max(math.hypot(ahead_x, ahead_y), 1e-6)
            x, y = x + ahead_x * pace, y + ahead_y * pace
        if len(path) > 6:
            trace(sheet, bend(path, steps=2), weight=float(generator.choice([0.8, 1.3, 2])))


def _name_places(sheet: Pixels, *, count: int, generator: np.random.Generator) -> None:
    """Write names, and perhaps a title in a box in one of the corners."""
    height, width = sheet.shape
    face = choose_face(generator)
    for _ in range(count):
        x, y = int(generator.integers(0, width - 70)), int(generator.integers(0, height - 14))
        box = (x, y, 70, int(generator.choice([9, 9, 11, 16])))
        write(sheet, make_words(generator, 1).title(), box=box, face=face, align=0)
        trace(sheet, make_ellipse((x - 4, y + 6), (2, 2)), closed=True)
    if generator.random() < 0.6:
        left = int(generator.choice([12, width - 190]))
        top = int(generator.choice([12, height - 90]))
        box = (left, top, 178, 78)
        fill(sheet, outline(box), tone=255)
        trace(sheet, outline(box), weight=2, closed=True)
        title, face = make_words(generator, 2).upper(), choose_face(generator, display=True)
        write(sheet, title, box=(left + 6, top + 4, 166, 40), face=face)
        trace(sheet, [[left + 20, top + 60], [left + 150, top + 60]], weight=3)


def _choose_entry(
    generator: np.random.Generator, *, height: int, width: int
) -> Callable[[Pixels, float, float, np.random.Generator], None]:
    """Choose what is entered: areas with hatching, dots, arrows, routes, rings or symbols."""
    areas = make_noise(generator, (height, width), cells=7)
    solid, blunt = generator.random() < 0.5, float(generator.uniform(2, 12))

    def enter_area(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        reach = round(float(one.uniform(0.08, 0.25)) * width)
        rows = slice(max(0, round(y) - reach), round(y) + reach)
        columns = slice(max(0, round(x) - reach), round(x) + reach)
        part, near = pixels[rows, columns], areas[rows, columns]
        v, u = np.ogrid[0 : part.shape[0], 0 : part.shape[1]]
        far = ((u - x + columns.start) ** 2 + (v - y + rows.start) ** 2) / reach**2
        blob = np.abs(near - areas[round(y), round(x)]) + 0.12 * far < one.uniform(0.08, 0.2)
        tone = np.full(part.shape, one.uniform(0.2, 0.85), dtype=np.float32)
        angle, period = float(one.uniform(0, 3)), float(one.uniform(4, 9))
        lines = engrave(tone, period=period, angle=angle, generator=one, wave=0)
        part[blob] = np.minimum(part, lines)[blob]
        _contour(part, np.where(blob, 1.0, 0.0), level=0.5, weight=1.5)

    def enter_dots(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        for shift_x, shift_y in one.normal(0, 40, size=(3, 2)):
            dot = make_ellipse((x + shift_x, y + shift_y), (float(one.uniform(3, 22)),) * 2)
            fill(pixels, dot, tone=60) if solid else trace(pixels, dot, closed=True, weight=2)

    def enter_arrow(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        curve = bend(np.cumsum(one.normal(0, 45, size=(4, 2)), axis=0) + np.array([x, y]))
        trace(pixels, curve, weight=float(one.uniform(3, 12)))
        ahead = curve[-1] - curve[-8]
        ahead = ahead * 22 / max(math.hypot(*ahead), 1e-6)
        side = np.array([-ahead[1], ahead[0]]) * 0.7
        fill(pixels, [curve[-1] + ahead, curve[-1] + side, curve[-1] - side])

    def enter_route(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        points = np.cumsum(one.normal(0, 70, size=(6, 2)), axis=0) + np.array([x, y])
        trace(pixels, bend(points), weight=blunt / 2)

    def enter_rings(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        turn = float(one.uniform(0, 3))
        for ring in range(1, int(one.integers(2, 6))):
            rim = make_ellipse((x, y), (ring * 22, ring * 15), turn)
            trace(pixels, rim + 6 * np.sin(rim[::-1] / 17), closed=True, weight=2)

    def enter_symbols(pixels: Pixels, x: float, y: float, one: np.random.Generator) -> None:
        turn = float(one.uniform(0, 3))
        along, across = (
            np.array([math.cos(turn), math.sin(turn)]),
            np.array([-math.sin(turn), math.cos(turn)]),
        )
        for place in range(int(one.integers(1, 6))):
            corner = np.array([x, y]) + across * place * 24
            block = np.array(
                [
                    corner,
                    corner + along * 30,
                    corner + along * 30 + across * 15,
                    corner + across * 15,
                ]
            )
            fill(pixels, block, tone=30 if solid else 255)
            trace(pixels, block, closed=True, weight=1.5)

    lines = (enter_arrow, enter_route, enter_rings)
    entries = (enter_area, enter_area, enter_dots, *lines, enter_symbols)
    return entries[generator.integers(len(entries))]
