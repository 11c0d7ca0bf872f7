"""Draw printed pages: heads, adverts, credit lines, columns of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.vision.furnishing.ornaments import (
    make_emblem,
    make_motif,
    make_repeat,
    repeat,
    surround,
)
from halftone.vision.furnishing.sheets import (
    Furniture,
    Order,
    Window,
    lay_out,
    size_sheet,
    split_around,
)
from halftone.vision.furnishing.strokes import (
    Box,
    Pixels,
    choose_face,
    engrave,
    make_noise,
    make_paper,
    make_words,
    outline,
    press,
    resize,
    set_text,
    tint,
    trace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MONTHS: Final = [
    "January",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
]


def draw_head(order: Order) -> Furniture:
    """Draw a cover: its head, adverts and text around one picture; date and number change."""
    generator = order.generator
    aspect = float(generator.uniform(0.62, 0.85))
    sheet, box = lay_out(order, sheet_aspect=aspect)
    height, width = sheet.shape
    left, _, wide, high = box
    room = height - high - 14
    head = round(room * generator.uniform(0.55, 1.0)) if room > 60 else room
    box = (left, min(height - high - 4, head + 7), wide, high)
    parts = split_around(sheet, box)
    if parts["above"][3] > 12:
        draw_title(sheet, parts["above"], generator=generator)
    for name in ("below", "left", "right"):
        fill_block(sheet, parts[name], generator=generator)
    if generator.random() < 0.4:
        trace(sheet, outline(box, inset=-2), weight=2, closed=True)
    ground = tint(
        sheet, paper=int(generator.integers(205, 256)), ink=int(generator.integers(0, 90))
    )
    line = (width // 2, parts["above"][1] + parts["above"][3] - 14, width // 2 - 8, 14)
    return Furniture(
        ground=ground, windows=(Window(box=box),), overprint=_choose_date(generator, line)
    )


def _choose_date(generator: np.random.Generator, box: Box) -> Callable[[Pixels, int], None]:
    """Return what prints a number and a date into a box, which differ from sheet to sheet."""
    seed, face = int(generator.integers(1 << 30)), choose_face(generator)
    dated = generator.random() < 0.7 and box[1] > 0

    def overprint(pixels: Pixels, variant: int) -> None:
        own = np.random.default_rng([seed, variant])
        if dated:
            left, top, width, height = box
            pixels[top : top + height, left : left + width] = pixels[top + height // 2, left]
            day, month = own.integers(1, 29), own.choice(_MONTHS)
            text = f"No. {own.integers(1, 2000)}. {month} {day}, {own.integers(1840, 1950)}"
            write(pixels, text, box=box, face=face, align=1.0)

    return overprint


def draw_title(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    """Draw a masthead: a big title, perhaps over a vignette, ears, a sub-title between rules."""
    left, top, width, height = box
    if height > 70 and generator.random() < 0.5:
        _draw_vista(sheet, box, generator=generator)
    low = max(9, round(height * generator.uniform(0.12, 0.3)))
    ears = min(height, round(width * 0.2)) if generator.random() < 0.4 and height > 40 else 0
    for x in (left, left + width - ears) if ears else ():
        fill_block(sheet, (x, top, ears, height - low - 4), generator=generator, depth=2)
    inner = (left + ears + 4, top, width - 2 * ears - 8, height)
    name = make_words(generator, int(generator.integers(1, 4)))
    name = name.upper() if generator.random() < 0.6 else name.title()
    title = (inner[0], top, inner[2], height - low - 4)
    face = choose_face(generator, display=True)
    write(sheet, name, box=title, face=face, height=title[3] * 1.5, halo=5)
    rule = top + height - low
    for y in (rule - 2, top + height):
        trace(sheet, [[left, y], [left + width, y]], weight=float(generator.choice([1, 1, 2, 4])))
    text = make_words(generator, int(generator.integers(3, 8))).capitalize()
    line = (left, rule, width // 2, low)
    write(sheet, text, box=line, face=choose_face(generator), align=0.1, halo=3)


def _draw_vista(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    """Engrave a landscape as mastheads have it: hills, sky, a few towers."""
    left, top, width, height = box
    tone = make_noise(generator, (height, width), cells=5) * 0.3 + 0.65
    x = np.arange(width)
    for layer in range(int(generator.integers(2, 5))):
        ridge = make_noise(generator, (1, width), cells=float(generator.uniform(3, 14)))[0]
        crest = height * (0.35 + 0.15 * layer + 0.3 * (ridge - 0.5))
        if generator.random() < 0.5:
            for at in generator.integers(0, width, size=int(generator.integers(1, 12))):
                wide, tall = generator.uniform(0.005, 0.04) * width, generator.uniform(0.1, 0.5)
                crest = np.where(np.abs(x - at) < wide, crest - tall * height * 0.5, crest)
        dark = generator.uniform(0.1, 0.8)
        below = np.arange(height)[:, None] > crest[None, :]
        shade = make_noise(generator, (height, width), cells=14) * 0.3
        tone = np.where(below, dark + shade - 0.1, tone)
    period = float(generator.uniform(2.5, 5))
    lines = engrave(
        tone, period=period, angle=float(generator.choice([0, 0.3, 1.2])), generator=generator
    )
    press(sheet, lines, left=left, top=top)


def fill_block(sheet: Pixels, box: Box, *, generator: np.random.Generator, depth: int = 0) -> None:
    """Fill a box with what pages have beside their pictures: text, adverts, vignettes, nothing."""
    left, top, width, height = box
    if min(width, height) < 9:
        return
    if max(width, height) > 110 and depth < 4 and generator.random() < 0.85 - 0.15 * depth:
        part = generator.uniform(0.3, 0.7)
        if width > height * generator.uniform(0.6, 1.2):
            cut = round(width * part)
            boxes = [(left, top, cut - 4, height), (left + cut + 2, top, width - cut - 2, height)]
            rule = [[left + cut - 1, top], [left + cut - 1, top + height]]
        else:
            cut = round(height * part)
            boxes = [(left, top, width, cut - 4), (left, top + cut + 2, width, height - cut - 2)]
            rule = [[left, top + cut - 1], [left + width, top + cut - 1]]
        if generator.random() < 0.6:
            trace(sheet, rule, weight=float(generator.choice([0.7, 1, 2])))
        for piece in boxes:
            fill_block(sheet, piece, generator=generator, depth=depth + 1)
        return
    kind = generator.choice(["text", "text", "advert", "advert", "vista", "motif", "blank"])
    if kind == "text":
        size = float(generator.uniform(8, 14))
        set_text(sheet, box=box, size=size, generator=generator, face=choose_face(generator))
    elif kind == "vista" and min(width, height) > 24:
        _draw_vista(sheet, box, generator=generator)
        trace(sheet, outline(box), closed=True)
    elif kind == "motif":
        side = min(width, height)
        large = side > 90
        drawing = make_emblem(generator, size=side) if large else make_motif(generator)
        drawing = resize(drawing, side, side)
        press(sheet, drawing, left=left + (width - side) // 2, top=top + (height - side) // 2)
    elif kind == "advert":
        _draw_advert(sheet, box, generator=generator)


def _draw_advert(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    """Draw a border and lines of type in several faces."""
    left, top, width, height = box
    if min(width, height) > 50 and generator.random() < 0.6:
        thick = round(min(width, height) * generator.uniform(0.06, 0.12))
        surround(sheet, make_repeat(generator), box=box, thickness=thick, corner=None)
        left, top, width, height = left + thick, top + thick, width - 2 * thick, height - 2 * thick
    else:
        weight = float(generator.choice([1, 2, 3]))
        trace(sheet, outline(box, inset=1), weight=weight, closed=True)
    rows = int(np.clip(height / generator.uniform(14, 40), 1, 7))
    for row in range(rows):
        line = (left + 4, top + row * height // rows + 1, width - 8, height // rows - 2)
        text = make_words(generator, int(generator.integers(1, 5)))
        text = text.upper() if generator.random() < 0.5 else text.capitalize()
        write(sheet, text, box=line, face=choose_face(generator, display=True))


def draw_credit(order: Order) -> Furniture:
    """Draw a picture's credit line, its caption or a running head above it; few other things."""
    generator = order.generator
    high_share = 0.62 + 0.34 * (order.share - 0.2) / 0.75
    generous = Order(
        generator=generator, aspect=order.aspect, share=float(np.clip(high_share, 0.5, 0.96))
    )
    sheet, box = lay_out(generous, sheet_aspect=order.aspect * float(generator.uniform(0.82, 1.05)))
    height, width = sheet.shape
    left, _top, wide, high = box
    room = height - high
    above = round(room * float(generator.choice([0.15, 0.25, 0.5, 0.85])))
    box = (left, above, wide, high)
    size = float(generator.uniform(11, 24))
    for low, deep in ((2, above - 4), (above + high + 2, room - above - 4)):
        rows = int(np.clip(deep // size, 0, 4))
        for row in range(rows):
            text = make_words(generator, int(generator.integers(3, 10))).capitalize()
            text = text.upper() if generator.random() < 0.2 else text
            line = (6, round(low + deep / 2 + (row - rows / 2) * size), width - 12, round(size))
            align = float(generator.choice([0.0, 0.5, 1.0]))
            write(
                sheet, text, box=line, face=choose_face(generator), align=align, height=size * 0.95
            )
        if rows and generator.random() < 0.4:
            y = above - 3 if low < above else above + high + 3
            trace(sheet, [[left, y], [left + wide, y]], weight=float(generator.choice([1, 2, 3])))
    ground = tint(
        sheet, paper=int(generator.integers(215, 256)), ink=int(generator.integers(0, 100))
    )
    return Furniture(ground=ground, windows=(Window(box=box),))


def draw_text(order: Order) -> Furniture:
    """Draw a page whose head and rules stay, while its columns have other text."""
    generator = order.generator
    height, width = size_sheet(float(generator.uniform(0.6, 0.85)))
    sheet = make_paper(height, width)
    head = round(height * (1 - order.share) * generator.uniform(0.3, 0.8)) + 24
    draw_title(sheet, (10, 8, width - 20, head - 12), generator=generator)
    foot = round(height * (1 - order.share) * 0.3)
    fill_block(sheet, (10, height - foot + 4, width - 20, foot - 8), generator=generator)
    columns, size = int(generator.integers(1, 4)), float(generator.uniform(9, 14))
    wide, face = (width - 20) // columns, choose_face(generator)
    ruled, seed = generator.random() < 0.6, int(generator.integers(1 << 30))
    if generator.random() < 0.3:
        side = round(wide * generator.uniform(0.3, 0.9))
        strip = repeat(make_repeat(generator), length=side, thickness=14)
        press(sheet, strip, left=(width - side) // 2, top=head)
        head += 16
    for column in range(1, columns):
        if ruled:
            x = 8 + column * wide
            trace(sheet, [[x, head], [x, height - foot]])
    ground = tint(
        sheet, paper=int(generator.integers(215, 256)), ink=int(generator.integers(0, 90))
    )

    def overprint(pixels: Pixels, variant: int) -> None:
        own = np.random.default_rng([seed, variant])
        for column in range(columns):
            box = (12 + column * wide, head + 2, wide - 10, height - head - foot - 6)
            set_text(pixels, box=box, size=size, generator=own, face=face)

    return Furniture(ground=ground, overprint=overprint)
