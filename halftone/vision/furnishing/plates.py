"""Draw plates of several pictures, emblems amid pictures, and initials."""

from __future__ import annotations

import math

import cv2
import numpy as np

from halftone.vision.furnishing.frames import cut_opening, draw_band
from halftone.vision.furnishing.ornaments import make_emblem, make_motif
from halftone.vision.furnishing.sheets import Furniture, Order, Window, size_sheet
from halftone.vision.furnishing.strokes import (
    Box,
    Face,
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
    resize,
    set_line,
    swell,
    tint,
    trace,
    write,
)


def draw_plate(order: Order) -> Furniture:
    """Draw a plate of several pictures in one layout, with a title, numbers and captions."""
    generator = order.generator
    height, width = size_sheet(float(generator.uniform(0.65, 1.5)))
    sheet = make_paper(height, width)
    head = round(height * generator.choice([0, 0.05, 0.1]))
    foot = round(height * generator.choice([0, 0.04, 0.08]))
    gap = max(3, round((1 - math.sqrt(max(order.share, 0.4))) * 0.22 * min(height, width)))
    room = (gap, gap + head, width - gap, height - gap - head - foot)
    boxes = _split(room, order.count, generator)
    lettered = generator.random() < 0.6
    captions = generator.random() < 0.5 and gap > 10
    face = choose_face(generator)
    windows = []
    for number, (left, top, wide, high) in enumerate(boxes):
        box = (left, top, wide - gap, high - gap)
        if captions:
            text = make_words(generator, 3).capitalize()
            line = (left, top + high - gap, wide, gap)
            write(sheet, f"{number + 1}. {text}", box=line, face=face, height=min(22, gap))
        if lettered:
            weight = float(generator.choice([1, 2]))
            trace(sheet, outline(box, inset=-2), weight=weight, closed=True)
        mask = cut_opening(sheet, box, generator=generator) if generator.random() < 0.4 else None
        windows.append(Window(box=box, mask=mask))
    if head:
        title = make_words(generator, int(generator.integers(2, 6))).upper()
        face = choose_face(generator, display=True)
        write(sheet, title, box=(gap, gap // 2, width - 2 * gap, head), face=face)
    if foot:
        note = make_words(generator, int(generator.integers(4, 12))).capitalize()
        line = (gap, height - foot - gap // 2, width - 2 * gap, foot)
        write(sheet, note, box=line, face=choose_face(generator))
    if generator.random() < 0.3:
        trace(sheet, outline((0, 0, width, height), inset=2), weight=2, closed=True)
    paper = int(generator.choice([255, 240, 215, 20, 90]))
    ground = tint(sheet, paper=paper, ink=0 if paper > 128 else 240)
    windows.sort(key=lambda window: -window.box[2] * window.box[3])
    return Furniture(ground=ground, windows=tuple(windows))


def _split(box: Box, count: int, generator: np.random.Generator) -> list[Box]:
    """Divide a box into `count` boxes by cuts from edge to edge."""
    if count <= 1:
        return [box]
    left, top, width, height = box
    first = int(generator.integers(1, count))
    part = float(np.clip(first / count + generator.normal(0, 0.06), 0.25, 0.75))
    if width * generator.uniform(0.8, 1.2) > height:
        cut = round(width * part)
        boxes = [(left, top, cut, height), (left + cut, top, width - cut, height)]
    else:
        cut = round(height * part)
        boxes = [(left, top, width, cut), (left, top + cut, width, height - cut)]
    return [*_split(boxes[0], first, generator), *_split(boxes[1], count - first, generator)]


def draw_emblem(order: Order) -> Furniture:
    """Draw an emblem, an ornament or a head in the middle, with pictures around it."""
    plate = draw_plate(order)
    generator, sheet = order.generator, plate.ground.copy()
    height, width = sheet.shape
    area = (1 - float(np.clip(order.share, 0.3, 0.9))) * height * width
    size = round(min(math.sqrt(area * 1.2), 0.8 * min(height, width)))
    x, y = np.array([width, height]) * generator.uniform(0.42, 0.58, size=2) - size / 2
    left, top = round(float(x)), round(float(y))
    square = generator.random() < 0.3
    size = min(size, height - max(0, top), width - max(0, left))
    drawing = make_emblem(generator, size=size)
    shape = make_paper(size, size)
    rim = make_ellipse((size / 2, size / 2), (size / 2 - 1, size / 2 - 1))
    rim = outline((0, 0, size, size), inset=1) if square else rim
    fill(shape, rim)
    trace(drawing, rim, weight=2, closed=True)
    whole = make_paper(height, width)
    press(whole, shape, left=left, top=top)
    windows = []
    for window in plate.windows:
        x0, y0, w, h = window.box
        open_ = whole[y0 : y0 + h, x0 : x0 + w]
        mask = window.mask
        if open_.min() < 255:
            mask = open_ if mask is None else np.minimum(open_, mask)
        windows.append(Window(box=window.box, mask=mask))
    part = sheet[top : top + size, left : left + size]
    part[shape < 128] = drawing[shape < 128]
    return Furniture(ground=sheet, windows=tuple(windows))


def draw_initial(order: Order) -> Furniture:
    """Draw an initial of an ornamental alphabet: the ground stays, the letter changes."""
    generator = order.generator
    height, width = size_sheet(float(generator.uniform(0.8, 1.2)))
    sheet = make_paper(height, width)
    for _ in range(generator.integers(3, 14)):
        points = generator.uniform(0, 1, size=(5, 2)) * [width, height]
        swell(sheet, bend(points), weight=float(generator.uniform(2, 16)))
    for _ in range(generator.integers(4, 30)):
        bloom, side = make_motif(generator), float(generator.uniform(30, 130))
        x, y = generator.uniform(-0.05, 0.95, size=2) * [width, height]
        press(sheet, resize(bloom, side, side), left=round(x), top=round(y))
    if generator.random() < 0.4:
        sheet = np.minimum(sheet, sheet[:, ::-1])
    edge = round(min(height, width) * generator.uniform(0.02, 0.12))
    border = make_paper(height, width)
    draw_band(border, box=(0, 0, width, height), thickness=edge, generator=generator)
    press(sheet, border, left=0, top=0)
    tone = make_noise(generator, (height, width), cells=4) * 0.6 + generator.uniform(0.2, 0.7)
    lines = engrave(tone, period=float(generator.uniform(4, 9)), angle=0, generator=generator)
    press(sheet, lines, left=0, top=0)
    face = Face(font=choose_face(generator).font, weight=float(generator.uniform(0.12, 0.28)))
    letters = generator.permutation(list("ABCDEFGHKLMNOPRSTW"))
    scale, black = float(generator.uniform(0.5, 0.85)), generator.random() < 0.4

    def overprint(pixels: Pixels, variant: int) -> None:
        letter = make_paper(height, width)
        side = round(min(height, width) * scale)
        glyph = set_line(str(letters[variant]), height=150, face=face)
        rows, columns = np.where(glyph < 128)
        glyph = glyph[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        left, top = (width - side) // 2, (height - side) // 2
        press(letter, resize(glyph, side, side), left=left, top=top)
        rim = cv2.erode(letter, np.ones((7, 7), np.uint8)) < 128
        pixels[rim] = 255 if black else 0
        pixels[letter < 128] = 0 if black else 255

    return Furniture(ground=sheet, overprint=overprint)
