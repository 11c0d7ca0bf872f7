"""Draw boards, cards, crosswords and staves, on which other men or notes stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.vision.furnishing.ornaments import make_motif, make_repeat, surround
from halftone.vision.furnishing.sheets import (
    Furniture,
    Order,
    change_some,
    print_ground,
    size_sheet,
)
from halftone.vision.furnishing.strokes import (
    Box,
    Floats,
    Pixels,
    bend,
    choose_face,
    engrave,
    fill,
    make_ellipse,
    make_paper,
    outline,
    press,
    resize,
    trace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_GAMES: Final = ("chess", "chess", "draughts", "go", "cards", "crossword", "staves")
_MEN: Final = {  # half the outlines of men in chess, as heights and half-widths from the foot up
    "pawn": ((0, 0.12, 0.2, 0.42, 0.45, 0.5, 0.62, 0.7), (30, 30, 16, 10, 18, 18, 16, 0)),
    "rook": ((0, 0.12, 0.2, 0.6, 0.62, 0.8, 0.8, 0.74), (32, 32, 22, 18, 28, 28, 10, 10)),
    "bishop": ((0, 0.1, 0.18, 0.45, 0.48, 0.65, 0.84, 0.92), (32, 32, 16, 10, 20, 20, 3, 6)),
    "queen": ((0, 0.1, 0.2, 0.5, 0.85, 0.7, 0.95, 0.72), (34, 34, 20, 16, 36, 16, 12, 4)),
    "king": ((0, 0.1, 0.2, 0.5, 0.7, 0.8, 0.8, 0.96), (34, 34, 20, 14, 30, 20, 4, 8)),
    "knight": ((0, 0.1, 0.2, 0.4, 0.55, 0.65, 0.8, 0.95), (32, 32, 20, 18, 32, 32, 14, 10)),
}
_SHARES: Final = (0.5, 0.12, 0.1, 0.06, 0.1, 0.12)  # of the men, in their order


def draw_board(order: Order) -> Furniture:
    """Draw a board of chess, draughts or go, cards, a crossword or staves: men or notes change."""
    generator = order.generator
    game = str(generator.choice(_GAMES))
    square = game in {"chess", "draughts", "go"}
    height, width = size_sheet(1.0 if square else float(generator.uniform(0.75, 1.35)))
    sheet = make_paper(height, width)
    margin = int(generator.integers(8, 60))
    box = (margin, margin, width - 2 * margin, height - 2 * margin)
    trace(sheet, outline(box, inset=-3), weight=float(generator.choice([1, 2, 4])), closed=True)
    if margin > 24 and generator.random() < 0.5:
        tile, corner = make_repeat(generator), make_motif(generator)
        surround(sheet, tile, box=(0, 0, width, height), thickness=margin - 6, corner=corner)
    draw = {"staves": _draw_staves, "cards": _draw_cards, "go": _draw_go, "crossword": _draw_words}
    overprint = draw.get(game, _draw_chequers)(order, sheet, box)
    return print_ground(order, sheet, overprint)


def _draw_chequers(order: Order, sheet: Pixels, box: Box) -> Callable[[Pixels, int], None]:
    """Draw the squares of chess or draughts; return what places the men."""
    generator = order.generator
    chess = generator.random() < 0.66
    count = 8 if chess else 10
    left, top, width, height = box
    tone = np.full(sheet.shape, generator.uniform(0.1, 0.65), dtype=np.float32)
    period, angle = float(generator.uniform(3, 6)), float(generator.choice([0, 0.785, -0.785]))
    hatch = engrave(tone, period=period, angle=angle, generator=generator, wave=0)
    if generator.random() < 0.4:
        hatch[:] = int(generator.integers(0, 170))
    rows = (np.arange(sheet.shape[0]) - top) * count // height
    columns = (np.arange(sheet.shape[1]) - left) * count // width
    dark = (rows[:, None] + columns[None, :]) % 2 == 1
    dark &= (rows >= 0)[:, None] & (rows < count)[:, None]
    dark &= (columns >= 0)[None, :] & (columns < count)[None, :]
    sheet[dark] = hatch[dark]
    cell, names = width / count, list(_MEN)
    plump, tall = float(generator.uniform(0.8, 1.25)), float(generator.uniform(0.75, 0.95))

    def mark(pixels: Pixels, _: int, one: np.random.Generator) -> None:
        column, row = one.integers(0, count, size=2)
        white, name = bool(one.random() < 0.5), str(one.choice(names, p=_SHARES))
        row = row if chess else row // 2 * 2 + (column + 1) % 2
        centre = np.array([left, top]) + (np.array([column, row]) + 0.5) * cell
        if chess:
            profile = np.stack([np.array(values) for values in _MEN[name]], axis=1)
            shape = profile * [tall, plump * tall / 100]
            _draw_man(pixels, shape, centre=centre, side=cell, white=white)
            return
        for share, tone in ((0.46, 0), (0.42, 255 if white else 20), (0.3, 0), (0.27, 255)):
            _draw_disc(pixels, centre, cell * share, tone=tone if white or share > 0.4 else 90)

    size = int(generator.integers(8, 30 if chess else 34))
    return change_some(order, size=size, mark=mark)


def _draw_disc(pixels: Pixels, centre: Floats, radius: float, *, tone: int) -> None:
    fill(pixels, make_ellipse((centre[0], centre[1]), (radius, radius)), tone=tone)


def _draw_man(pixels: Pixels, profile: Floats, *, centre: Floats, side: float, white: bool) -> None:
    half = np.stack([profile[:, 1], 0.45 - profile[:, 0]], axis=1)
    shape = np.concatenate([half, (half * [-1, 1])[::-1]]) * side * 0.95 + centre
    trace(pixels, shape, weight=side * 0.09, tone=255, closed=True)
    fill(pixels, shape, tone=255 if white else 10)
    trace(pixels, shape, weight=max(1.0, side * 0.035), closed=True)
    for y in (0.3, 0.0):
        bar = np.array([[-0.12, y], [0.12, y]]) * side + centre
        trace(pixels, bar, tone=0 if white else 255, weight=max(1.0, side * 0.03))


def _draw_go(order: Order, sheet: Pixels, box: Box) -> Callable[[Pixels, int], None]:
    """Draw the lines of go; return what places the stones, which like company."""
    generator = order.generator
    left, top, width, height = box
    cell = np.array([width, height]) / 19
    for line in range(19):
        at = np.array([left, top]) + (line + 0.5) * cell
        trace(sheet, [[at[0], top], [at[0], top + height]])
        trace(sheet, [[left, at[1]], [left + width, at[1]]])
    for x, y in np.stack(np.meshgrid([3, 9, 15], [3, 9, 15]), axis=-1).reshape(-1, 2):
        _draw_disc(sheet, np.array([left, top]) + (np.array([x, y]) + 0.5) * cell, 4, tone=0)
    homes = generator.integers(2, 17, size=(int(generator.integers(2, 7)), 2))

    def mark(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        near = homes[number % len(homes)] + one.normal(0, 3.5, size=2)
        place = np.array([left, top]) + (np.clip(near.round(), 0, 18) + 0.5) * cell
        white, radius = one.random() < 0.5, float(cell.min()) * 0.46
        _draw_disc(pixels, place, radius, tone=0)
        if white:
            _draw_disc(pixels, place, radius - 1.5, tone=255)

    return change_some(order, size=int(generator.integers(30, 150)), mark=mark)


def _draw_words(order: Order, sheet: Pixels, box: Box) -> Callable[[Pixels, int], None]:
    """Draw the fields of a crossword; return what writes the letters."""
    generator = order.generator
    count, (left, top, width, height) = int(generator.integers(9, 16)), box
    blocked = generator.random((count, count)) < 0.2
    cells = [
        (left + width * c // count, top + height * r // count, width // count, height // count)
        for r in range(count)
        for c in range(count)
    ]
    for cell, black in zip(cells, blocked.ravel(), strict=True):
        if black:
            fill(sheet, outline(cell), tone=20)
        trace(sheet, outline(cell), closed=True)
    face, white = choose_face(generator), np.flatnonzero(~blocked.ravel())

    def mark(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        letter = "ABCDEFGHILMNOPRSTU"[one.integers(18)]
        write(pixels, letter, box=cells[white[number]], face=face)

    return change_some(order, size=len(white), mark=mark)


def _draw_staves(order: Order, sheet: Pixels, box: Box) -> Callable[[Pixels, int], None]:
    """Draw staves with clefs and bars; return what writes the notes."""
    generator = order.generator
    left, top, width, height = box
    staves, bars = int(generator.integers(3, 9)), int(generator.integers(2, 6))
    gap = height / staves / generator.uniform(7.5, 10)
    weight, braced = float(generator.choice([0.8, 1, 1.5])), generator.random() < 0.5
    for staff in range(staves):
        y = top + (staff + 0.25) * height / staves
        for line in range(5):
            trace(sheet, [[left, y + line * gap], [left + width, y + line * gap]], weight=weight)
        for bar in range(bars + 1):
            x = left + width * bar / bars
            reach = y + (height / staves if braced and staff % 2 == 0 else 4 * gap)
            trace(sheet, [[x, y], [x, reach]], weight=weight)
        clef = np.array([[1.6, 4.6], [0.8, 3], [2.2, 0.5], [1.6, -0.8], [1.1, 1], [1.9, 5.2]])
        trace(sheet, bend(clef * gap + [left, y]), weight=max(1.0, gap / 4))
    notes = int(generator.integers(8, 26))

    def mark(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        staff, place = number // notes, number % notes
        y = top + (staff + 0.25) * height / staves + one.integers(-2, 11) * gap / 2
        x = left + gap * 4 + (width - gap * 5) * (place + 0.3) / notes
        fill(pixels, make_ellipse((x, y), (gap * 0.62, gap * 0.45), -0.4), tone=0)
        if one.random() < 0.8:
            up = -1 if one.random() < 0.5 else 1
            stem, end = x - up * gap * 0.55, y + up * 3.3 * gap
            trace(pixels, [[stem, y], [stem, end]], weight=1.2)
            if one.random() < 0.4:
                trace(pixels, [[stem, end], [stem + gap, end - up * gap]], weight=gap * 0.4)

    return change_some(order, size=staves * notes, mark=mark)


def _draw_cards(order: Order, sheet: Pixels, box: Box) -> Callable[[Pixels, int], None]:
    """Lay out cards on a patterned cloth; return what prints their pips."""
    generator = order.generator
    left, top, width, height = box
    columns, rows = int(generator.integers(2, 6)), int(generator.integers(1, 4))
    cloth = resize(make_repeat(generator), 24, 24)
    cloth = np.tile(cloth, (height // 24 + 1, width // 24 + 1))[:height, :width]
    press(sheet, cloth, left=left, top=top)
    suits, face = [make_motif(generator) for _ in range(4)], choose_face(generator)
    wide, high, scale = width / columns, height / rows, float(generator.uniform(0.15, 0.24))
    places = [(left + wide * c, top + high * r) for r in range(rows) for c in range(columns)]
    for x, y in places:
        corner = (round(x + 0.06 * wide), round(y + 0.05 * high))
        card = (*corner, round(0.88 * wide), round(0.9 * high))
        fill(sheet, outline(card), tone=255)
        trace(sheet, outline(card), weight=2, closed=True)
        trace(sheet, outline(card, inset=5), weight=0.7, closed=True)

    def mark(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        x, y = places[number]
        pips, side = int(one.integers(1, 11)), scale * min(wide, high)
        across = 1 if pips < 4 else 2 if pips < 9 else 3
        small = resize(suits[one.integers(4)], side, side)
        for pip in range(pips):
            column, row = pip % across, pip // across
            px = x + wide * (column + 1) / (across + 1) - side / 2
            py = y + high * (0.14 + 0.76 * (row + 0.5) / math.ceil(pips / across)) - side / 2
            press(pixels, small, left=round(px), top=round(py))
        corner = (round(x + wide * 0.1), round(y + high * 0.07))
        label = (*corner, max(9, round(wide * 0.16)), max(6, round(high * 0.1)))
        write(pixels, "A23456789X"[pips - 1], box=label, face=face)

    return change_some(order, size=len(places), mark=mark)
