"""Draw what pictures are laid, glued or shown on: copy stands, cards, albums, screens, film."""

from __future__ import annotations

import math

import numpy as np

from halftone.vision.furnishing.ornaments import draw_postmark
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
    Face,
    Pixels,
    bend,
    choose_face,
    fill,
    make_noise,
    make_paper,
    make_words,
    outline,
    resize,
    set_text,
    tint,
    trace,
    write,
)


def draw_stand(order: Order) -> Furniture:
    """Draw a copy stand: a sheet or an open book on its ground, scales, charts, rulers, labels."""
    generator = order.generator
    sheet, box = lay_out(order, sheet_aspect=float(generator.uniform(0.75, 1.45)))
    height, width = sheet.shape
    base = int(generator.choice([8, 30, 70, 128, 200, 245]))
    grain = make_noise(generator, (height, width), cells=90, octaves=1) - 0.5
    sheet[:] = np.clip(base + grain * generator.uniform(2, 60), 0, 255).astype(np.uint8)
    if generator.random() < 0.45:
        _draw_book(sheet, box, generator=generator)
    elif generator.random() < 0.6:
        grow = float(generator.uniform(0.05, 0.3)) * min(box[2:])
        fill(sheet, outline(box, inset=-grow), tone=int(generator.integers(140, 250)))
    parts = sorted(split_around(sheet, box).values(), key=lambda part: -part[2] * part[3])
    for part in parts[: int(generator.integers(1, 4))]:
        for _ in range(generator.integers(1, 4)):
            _lay_target(sheet, part, generator=generator)
    return Furniture(ground=sheet, windows=(Window(box=box),))


def _draw_book(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    """Draw the page that a picture is on, the edges of the leaves below and the gutter's shadow."""
    height, width = sheet.shape
    left, top, wide, high = box
    grow = generator.uniform(0.03, 0.5, size=4) * min(wide, high)
    x0, y0 = max(0, round(left - grow[0])), max(0, round(top - grow[1]))
    x1, y1 = min(width, round(left + wide + grow[2])), min(height, round(top + high + grow[3]))
    paper = int(generator.integers(180, 250))
    leaves, sides = int(generator.integers(4, 22)), generator.random(4) < 0.5
    for leaf in range(leaves, 0, -1):
        reach = leaf * 1.7 + generator.uniform(-0.5, 0.5)
        a, b, c, d = np.where(sides, reach, 0)
        corners = outline((x0, y0, x1 - x0, y1 - y0))
        corners += np.array([[-a, -b], [c, -b], [c, d], [-a, d]])
        fill(sheet, corners, tone=paper - 20 + 15 * (leaf % 2))
        trace(sheet, corners, tone=int(generator.integers(60, 150)), closed=True)
    fill(sheet, outline((x0, y0, x1 - x0, y1 - y0)), tone=paper)
    gutter = round(0.12 * (x1 - x0)) + 2
    shade = np.linspace(0.45, 1, gutter)[None, :]
    page = sheet[y0:y1, x0 : x0 + gutter]
    page[:] = (page * shade[:, : page.shape[1]]).astype(np.uint8)
    size = float(generator.uniform(8, 13))
    for y, high_ in ((y0 + 6, top - y0 - 12), (top + high + 6, y1 - top - high - 12)):
        if high_ > size and generator.random() < 0.6:
            text = (x0 + gutter, y, x1 - x0 - 2 * gutter, high_)
            set_text(sheet, box=text, size=size, generator=generator, face=choose_face(generator))


def _lay_target(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    """Lay a grey scale, a colour chart, a ruler or a label somewhere in a box."""
    left, top, width, height = box
    if min(width, height) < 14:
        return
    turned = height > width
    long, deep = max(width, height), min(width, height)
    span = round(long * generator.uniform(0.35, 1.0))
    thick = round(min(deep, generator.uniform(0.3, 1.0) * deep, 90))
    thick = max(12, min(thick, span // 2))
    strip = make_paper(thick, span)
    face = Face(font=0, weight=0.08)
    kind = generator.choice(["grey", "chart", "ruler", "label"])
    steps = int(generator.integers(7, 24))
    if kind == "grey":
        for step in range(steps):
            x0, x1 = step * span // steps, (step + 1) * span // steps
            strip[: round(thick * 0.7), x0:x1] = round(255 - 245 * step / (steps - 1))
            label = (x0, round(thick * 0.7), x1 - x0, thick - round(thick * 0.7))
            write(strip, str(step), box=label, face=face)
    elif kind == "chart":
        rows = int(generator.integers(1, 5))
        tones = generator.integers(20, 235, size=(rows, max(rows, steps * rows // 4)))
        tile = np.repeat(np.repeat(tones.astype(np.uint8), 24, 0), 24, 1)
        tile[::24] = tile[:, ::24] = int(generator.choice([0, 250]))
        strip = resize(np.ascontiguousarray(tile), span, thick)
    elif kind == "ruler":
        gap, dark = float(generator.uniform(4, 9)), generator.random() < 0.4
        for number, x in enumerate(np.arange(4, span - 4, gap).tolist()):
            reach = thick * (0.6 if number % 10 == 0 else 0.42 if number % 5 == 0 else 0.26)
            trace(strip, [[x, 0], [x, reach]])
            if number % 10 == 0:
                label = (round(x) - 9, round(thick * 0.55), 20, round(thick * 0.45))
                write(strip, str(number // 10), box=label, face=face)
        strip = 255 - strip if dark else strip
    else:
        name = f"{make_words(generator, 3).title()} {generator.integers(10, 9999)}"
        write(strip, name, box=(3, 2, span - 6, thick - 4), face=choose_face(generator))
    trace(strip, outline((0, 0, span, thick), inset=0.5), closed=True, tone=90)
    if turned:
        strip = np.ascontiguousarray(np.rot90(strip, int(generator.choice([1, 3]))))
    high, wide = min(strip.shape[0], height), min(strip.shape[1], width)
    x = left + int(generator.integers(0, width - wide + 1))
    y = top + int(generator.integers(0, height - high + 1))
    sheet[y : y + high, x : x + wide] = strip[:high, :wide]


def draw_card(order: Order) -> Furniture:
    """Draw a form, an index card, a mount or an album's page; what is written by hand changes."""
    generator = order.generator
    smaller = Order(generator=generator, aspect=order.aspect, share=min(order.share, 0.75))
    sheet, box = lay_out(smaller, sheet_aspect=float(generator.choice([0.7, 1.4, 1.0])))
    height, width = sheet.shape
    kind = generator.choice(["form", "form", "mount", "album"])
    lines: list[tuple[int, int, int]] = []
    if kind == "form":
        for part in split_around(sheet, box).values():
            lines += _rule_form(sheet, part, generator=generator)
        edge = outline((0, 0, width, height), inset=3)
        trace(sheet, edge, weight=float(generator.choice([1, 2])), closed=True)
    else:
        noise = make_noise(generator, (height, width), cells=120, octaves=2)
        sheet[:] = (255 - 40 * noise).astype(np.uint8)
        for inset in generator.uniform(-14, -3, size=int(generator.integers(1, 4))):
            trace(sheet, outline(box, inset=float(inset)), weight=1.2, closed=True)
        below = split_around(sheet, box)["below"]
        if below[3] > 20:
            name = make_words(generator, 2).title()
            line = (below[0] + 8, below[1] + 4, below[2] - 16, min(40, below[3]))
            write(sheet, name, box=line, face=choose_face(generator, display=True))
            lines.append((below[0] + 10, below[1] + 30, below[2] - 20))
    if kind == "album":
        for corner in outline(box, inset=-4):
            middle = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
            inward = np.sign(middle - corner) * generator.uniform(20, 45)
            ends = [corner + inward * side for side in ([0, 0], [1, 0], [0, 1])]
            fill(sheet, np.array(ends), tone=60)
    if generator.random() < 0.6:
        radius = int(generator.integers(24, 70))
        x, y = int(generator.integers(0, width)), int(generator.integers(0, height))
        draw_postmark(sheet, centre=(x, y), radius=radius, text=make_words(generator, 3))
    ink = int(generator.integers(0, 110))
    paper = int(generator.integers(185, 256))
    paper = int(generator.choice([60, 100, 230])) if kind == "album" else paper
    ground = tint(sheet, paper=paper, ink=ink if paper > 128 else 230)
    seed, tone = int(generator.integers(1 << 30)), 30 if paper > 128 else 240

    def overprint(pixels: Pixels, variant: int) -> None:
        own = np.random.default_rng([seed, variant])
        for x, y, room in lines:
            _scribble(pixels, place=(x, y), room=room, generator=own, tone=tone)

    return Furniture(ground=ground, windows=(Window(box=box),), overprint=overprint)


def _rule_form(
    sheet: Pixels, box: Box, *, generator: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Print labels, rules and boxes; return where one writes: left, baseline and room."""
    left, top, width, height = box
    if height < 16 or width < 40:
        return []
    size, lines = float(generator.uniform(16, 34)), list[tuple[int, int, int]]()
    columns = int(np.clip(width / generator.uniform(120, 400), 1, 4))
    face, boxed = choose_face(generator), generator.random() < 0.4
    for row in range(int(height // size)):
        for column in range(columns):
            x, wide = left + column * width // columns, width // columns
            y = round(top + (row + 1) * size)
            label = make_words(generator, 1).capitalize() + ":"
            place = (x + 2, round(y - size * 0.7), wide // 3, round(size * 0.6))
            write(sheet, label, box=place, face=face, align=0)
            if boxed:
                trace(sheet, outline((x, round(y - size), wide, round(size))), closed=True)
            else:
                trace(sheet, [(x + wide * 0.33, y), (x + wide - 6, y)], weight=0.7)
            if generator.random() < 0.6:
                lines.append((x + wide // 3 + 4, y - 4, wide * 2 // 3 - 12))
    return lines


def _scribble(
    sheet: Pixels, *, place: tuple[int, int], room: int, generator: np.random.Generator, tone: int
) -> None:
    """Write a line by hand."""
    long = room * generator.uniform(0.4, 1.0)
    count = max(4, round(long / 4))
    x = place[0] + np.linspace(0, long, count) + generator.normal(0, 1.5, size=count)
    y = place[1] - np.abs(generator.normal(3, 4, size=count)) * (np.arange(count) % 2)
    trace(sheet, bend(np.stack([x, y], axis=1), steps=5), weight=1.0, tone=tone)


def draw_screen(order: Order) -> Furniture:
    """Draw a window on a screen, a film's frame or a viewer around a picture."""
    generator = order.generator
    if generator.random() < 0.25:
        return _draw_film(order)
    limited = Order(generator=generator, aspect=order.aspect, share=min(order.share, 0.85))
    sheet, box = lay_out(limited, sheet_aspect=float(generator.choice([1.33, 1.6, 0.75])))
    base = int(generator.choice([20, 60, 190, 225, 250]))
    sheet[:], tone = base, 230 if base < 128 else 30
    face = Face(font=int(generator.choice([-1, 0])), weight=0.03)
    parts = split_around(sheet, box)
    for name in ("above", "below"):
        left, top, wide, high = parts[name]
        y, low = top, top + high
        while y < low - 8:
            bar = min(low - y, int(generator.integers(12, 30)))
            shade = int(np.clip(base + generator.integers(-50, 50), 0, 255))
            fill(sheet, outline((left, y, wide, bar - 1)), tone=shade)
            _fill_bar(sheet, (left, y, wide, bar - 2), face=face, tone=tone, generator=generator)
            y += bar
    for name in ("left", "right"):
        left, top, wide, high = parts[name]
        for y in range(top, top + high - 14, int(generator.integers(14, 26))):
            if wide > 30 and generator.random() < 0.8:
                side = _draw_icon(sheet, (left + 4, y), 10, tone=tone, generator=generator)
                text = make_words(generator, int(generator.integers(1, 4)))
                line = (left + side + 10, y, wide - side - 14, 13)
                _stamp_text(sheet, text, box=line, face=face, dark=base < 128)
    trace(sheet, outline(box, inset=-2), tone=int(generator.integers(60, 200)), closed=True)
    return Furniture(ground=sheet, windows=(Window(box=box),))


def _stamp_text(sheet: Pixels, text: str, *, box: Box, face: Face, dark: bool) -> None:
    """Print text, light on a dark ground."""
    left, top, width, height = box
    if width < 10 or height < 5:
        return
    part = make_paper(height, width)
    write(part, text, box=(0, 0, width, height), face=face, align=0)
    place = sheet[top : top + height, left : left + width]
    part = part[: place.shape[0], : place.shape[1]]
    np.maximum(place, 255 - part, out=place) if dark else np.minimum(place, part, out=place)


def _draw_icon(
    sheet: Pixels, place: tuple[int, int], size: int, *, tone: int, generator: np.random.Generator
) -> int:
    points = generator.uniform(0, size, size=(int(generator.integers(3, 7)), 2)) + place
    (fill if generator.random() < 0.5 else trace)(sheet, points, tone=tone)
    return size


def _fill_bar(
    sheet: Pixels, box: Box, *, face: Face, tone: int, generator: np.random.Generator
) -> None:
    left, top, width, height = box
    kind = generator.choice(["menu", "icons", "address", "blank"])
    x = left + 6
    while x < left + width - 40 and kind != "blank" and height > 8:
        if kind == "icons":
            _draw_icon(sheet, (x, top + 3), max(5, height - 6), tone=tone, generator=generator)
            x += height + int(generator.integers(2, 8))
        elif kind == "menu":
            room = int(generator.integers(30, 90))
            word, line = make_words(generator, 1).title(), (x, top + 1, room, height - 2)
            _stamp_text(sheet, word, box=line, face=face, dark=tone > 128)
            x += room + 8
            if generator.random() < 0.12:
                return
        else:
            field = (x, top + 2, width - 60, height - 4)
            fill(sheet, outline(field), tone=248 if tone < 128 else 90)
            text = f"www.{make_words(generator, 2).replace(' ', '.')}/{make_words(generator, 1)}"
            line = (x + 8, top + 3, width // 2, height - 5)
            _stamp_text(sheet, text, box=line, face=face, dark=tone > 128)
            return


def _draw_film(order: Order) -> Furniture:
    """Draw a frame of film between perforations, or a slide's mount."""
    generator, share = order.generator, float(np.clip(order.share, 0.2, 0.7))
    height, width = size_sheet(float(np.clip(order.aspect, 0.7, 1.5)))
    sheet = make_paper(height, width)
    sheet[:] = int(generator.choice([5, 25, 60, 235]))
    wide, high = round(width * math.sqrt(share)), round(height * math.sqrt(share))
    box = ((width - wide) // 2, (height - high) // 2, wide, high)
    tone = 240 if sheet[0, 0] < 128 else 20
    hole, step = box[1] * 0.45, float(generator.uniform(0.9, 1.6)) * box[1]
    for x in np.arange(step / 3, width, max(step, 12)).tolist():
        for y in (box[1] * 0.3, height - box[1] * 0.75):
            fill(sheet, outline((round(x), round(y), round(hole * 0.7), round(hole))), tone=tone)
    text = (
        f"{make_words(generator, 2)} {generator.integers(1, 40)}A {generator.integers(100, 9999)}"
    )
    line = (box[0], height - round(box[1] * 0.24), width // 2, max(6, round(box[1] * 0.22)))
    face = Face(font=0, weight=0.1)
    _stamp_text(sheet, text.upper(), box=line, face=face, dark=tone > 128)
    return Furniture(ground=sheet, windows=(Window(box=box),))
