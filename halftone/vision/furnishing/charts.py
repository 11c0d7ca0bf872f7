"""Draw charts: axes and grids, in which different data are plotted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

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
    make_words,
    outline,
    trace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def draw_chart(order: Order) -> Furniture:
    """Draw axes, a grid, numbers and titles; curves, bars, areas or points change."""
    generator = order.generator
    height, width = size_sheet(float(generator.uniform(0.8, 1.7)))
    sheet = make_paper(height, width)
    left, top = int(generator.integers(30, 90)), int(generator.integers(20, 90))
    right, low = int(generator.integers(8, 40)), int(generator.integers(30, 80))
    box = (left, top, width - left - right, height - top - low)
    columns, rows = int(generator.integers(4, 26)), int(generator.integers(3, 22))
    _draw_grid(order, sheet, box, columns=columns, rows=rows)
    face, title = choose_face(generator, display=True), make_words(generator, 4).upper()
    write(sheet, title, box=(left, 4, box[2], max(12, top - 8)), face=face)
    note, face = make_words(generator, 6).capitalize(), choose_face(generator)
    write(sheet, note, box=(left, height - 20, box[2], 18), face=face)
    if generator.random() < 0.4:
        _draw_key(sheet, box, generator=generator)
    size, mark = _choose_plot(generator, box=box, columns=columns)
    return print_ground(order, sheet, change_some(order, size=size, mark=mark))


def _draw_grid(order: Order, sheet: Pixels, box: Box, *, columns: int, rows: int) -> None:
    """Draw the axes with their numbers, and a grid that is finer the less is to be data."""
    generator, (left, top, width, height) = order.generator, box
    weight = float(generator.choice([0.0, 0.5, 0.8, 1.0])) if order.share > 0.5 else 0.9
    fine = int(generator.integers(1, 6)) if order.share < 0.5 else 1
    for line in range(columns * fine + 1) if weight else ():
        x = left + width * line / columns / fine
        trace(sheet, [[x, top], [x, top + height]], weight=0.35 if line % fine else weight)
    for line in range(rows * fine + 1) if weight else ():
        y = top + height * line / rows / fine
        trace(sheet, [[left, y], [left + width, y]], weight=0.35 if line % fine else weight)
    face, wide = choose_face(generator), max(10, width // columns - 2)
    first, step = int(generator.integers(0, 1950)), int(generator.choice([1, 2, 5, 10, 100]))
    for column in range(columns + 1):
        x = left + width * column / columns
        trace(sheet, [[x, top + height], [x, top + height + 5]])
        label = (round(x) - wide // 2, top + height + 6, wide, 16)
        write(sheet, str(first + column), box=label, face=face)
    for row in range(rows + 1):
        y = round(top + height * row / rows)
        label = (2, y - 7, left - 6, 15)
        write(sheet, str((rows - row) * step), box=label, face=face, align=1)
    trace(sheet, outline(box), weight=float(generator.choice([1, 2, 3])), closed=True)


def _draw_key(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> None:
    left, top = box[0] + int(box[2] * generator.uniform(0.02, 0.6)), box[1] + 10
    wide, high = round(box[2] * 0.35), round(box[3] * generator.uniform(0.12, 0.3))
    fill(sheet, outline((left, top, wide, high)), tone=255)
    trace(sheet, outline((left, top, wide, high)), closed=True)
    rows, face = max(1, high // 18), choose_face(generator)
    for row in range(rows):
        y = top + high * row // rows
        trace(sheet, [[left + 6, y + 9], [left + 26, y + 9]], weight=1 + row)
        words = make_words(generator, 2)
        write(sheet, words, box=(left + 32, y + 2, wide - 36, 14), face=face, align=0)


def _choose_plot(
    generator: np.random.Generator, *, box: Box, columns: int
) -> tuple[int, Callable[[Pixels, int, np.random.Generator], None]]:
    """Choose how data are plotted; return the number of series or points, and what plots one."""
    left, top, width, height = box
    tone, period = int(generator.integers(10, 180)), float(generator.uniform(4, 8))
    weights, bent = generator.uniform(1.2, 6, size=8), generator.random() < 0.5

    def make_walk(one: np.random.Generator) -> Floats:
        walk = np.cumsum(one.normal(0, 1, size=columns * 2))
        walk = (walk - walk.min()) / max(float(np.ptp(walk)), 1e-6)
        y = top + height * (1 - one.uniform(0, 0.4) - one.uniform(0.25, 0.6) * walk)
        return np.stack([left + np.linspace(0, width, columns * 2), y], axis=1)

    def plot_curve(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        walk = make_walk(one)
        trace(pixels, bend(walk, steps=4) if bent else walk, weight=float(weights[number]))

    def plot_bar(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        tall, wide = round(height * one.uniform(0.05, 0.95)), width / columns
        x = round(left + wide * (number + 0.2))
        bar = (x, top + height - tall, max(2, round(wide * 0.6)), tall)
        fill(pixels, outline(bar), tone=tone)
        trace(pixels, outline(bar), closed=True)

    def plot_pyramid(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        thick, middle = height / 24, left + width / 2
        y = top + thick * (number + 0.1)
        for sign in (-1, 1):
            x = middle + sign * width * 0.48 * one.uniform(0.1, 1)
            bar = [[middle, y], [x, y], [x, y + thick * 0.8], [middle, y + thick * 0.8]]
            fill(pixels, bar, tone=tone if sign > 0 else 255 - tone)
            trace(pixels, bar, closed=True)

    def plot_point(pixels: Pixels, _: int, one: np.random.Generator) -> None:
        x, y = left + one.random() * width, top + one.random() * height
        fill(pixels, make_ellipse((x, y), (float(weights[0]),) * 2))

    def plot_area(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        walk = make_walk(one)
        foot = [[left + width, top + height], [left, top + height]]
        mask = make_paper(*pixels.shape)
        fill(mask, np.concatenate([walk, foot]))
        shade = np.full(pixels.shape, 0.35 + 0.15 * number, dtype=np.float32)
        lines = engrave(shade, period=period, angle=float(number), generator=one, wave=0)
        pixels[mask < 128] = lines[mask < 128]
        trace(pixels, walk, weight=2)

    def plot_slices(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        radius = min(width, height * 3) / 7
        middle = np.array([left + width * (number + 0.5) / 3, top + height / 2])
        trace(pixels, make_ellipse((middle[0], middle[1]), (radius, radius)), closed=True, weight=2)
        for slice_ in np.split(np.sort(one.uniform(0, 2 * math.pi, size=6)), 3):
            angle = np.linspace(slice_[0], slice_[1], 20)
            arc = middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            fill(pixels, [middle, *arc], tone=int(one.integers(0, 220)))

    plots: tuple[tuple[int, Callable[[Pixels, int, np.random.Generator], None]], ...] = (
        (int(generator.integers(1, 6)), plot_curve),
        (int(generator.integers(1, 6)), plot_curve),
        (columns, plot_bar),
        (24, plot_pyramid),
        (int(generator.integers(15, 90)), plot_point),
        (3, plot_area),
        (3, plot_slices),
    )
    return plots[generator.integers(len(plots))]
