"""Draw charts: axes, grids, scales and legends, and the data that change between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import Box, Canvas, Sheet, Window, ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH: Final = 820
HEIGHT: Final = 600
_FORMS: Final = ("curves", "bars", "curves", "points", "radar")
_LINES: Final = (5, 4, 3, 2, 1)
"""The number of curves, by strength."""
_BARS: Final = (10, 12, 14, 18, 24)
_MINOR: Final = (1, 2, 5, 5, 10)
"""Fine lines for each line of the grid, by strength."""


def draw(*, aspect: float, strength: int, design: int, generator: np.random.Generator) -> Sheet:
    """Draw a chart without its data.

    Args:
        aspect: Does not matter.
        strength: From 1 to 5; the grid and the lettering grow denser with it.
        design: The number of the design.
        generator: Source of randomness for the details.
    """
    del aspect
    canvas = Canvas(WIDTH, HEIGHT)
    right = WIDTH - (30 if strength < 3 else 190)  # noqa: PLR2004 - a legend stands beside it
    plot = Box(78, 60 + 8 * strength, right, HEIGHT - 84)
    years = f"{int(generator.integers(1850, 1900))} to {int(generator.integers(1901, 1939))}"
    title = f"{words.sentence(generator, words=3)} of {words.place(generator)}, {years}"
    canvas.write_in(
        title.upper() if design % 2 else title,
        box=Box(60, 14, WIDTH - 60, 42),
        face=("bold", "slab", "roman", "sans-bold")[design % 4],
    )
    source = f"Source: {words.firm(generator)}, statistical yearbook."
    below = f"{source} {words.sentence(generator, words=6)}."
    canvas.write(below, x=20, y=HEIGHT - 10, size=13, face="italic")
    if _FORMS[design % len(_FORMS)] == "radar":
        _web(canvas, plot, strength=strength, generator=generator)
    else:
        _grid(canvas, plot, strength=strength, generator=generator)
    if strength >= 3:  # noqa: PLR2004
        _legend(
            canvas,
            Box(right + 22, plot.top, WIDTH - 14, plot.bottom),
            strength=strength,
            generator=generator,
        )
    if strength >= 2:  # noqa: PLR2004
        canvas.rectangle(canvas.box.shrink(5), width=1.2)
    return Sheet(pixels=canvas.finish(), windows=(Window(box=plot),))


def plot_data(sheet: Sheet, *, design: int, strength: int, variant: int, seed: int) -> Canvas:
    """Draw data into a chart.

    Args:
        sheet: The chart without data.
        design: The number of its design, as in `draw`.
        strength: From 1 to 5; there are fewer data as it grows.
        variant: 0 or 1: two data sets that have nothing to do with each other.
        seed: Determines both.
    """
    generator = np.random.default_rng([seed, variant])
    canvas = Canvas.over(sheet.pixels)
    plot = sheet.windows[0].box
    form = _FORMS[design % len(_FORMS)]
    if form == "bars":
        _bars(canvas, plot, count=_BARS[strength - 1], design=design, generator=generator)
    elif form == "points":
        centre = generator.uniform(0.25, 0.75, 2)
        slope = generator.uniform(-0.8, 0.8)
        for _ in range(220 - 36 * strength):
            x = float(np.clip(generator.normal(centre[0], 0.2), 0.02, 0.98))
            y = float(
                np.clip(centre[1] + slope * (x - centre[0]) + generator.normal(0, 0.09), 0.02, 0.98)
            )
            spot = plot.left + x * plot.width, plot.bottom - y * plot.height
            if generator.random() < 0.5:  # noqa: PLR2004
                canvas.circle(spot, 4)
            else:
                canvas.circle(spot, 4.5, tone=246)
                canvas.circle(spot, 4.5, width=1.4)
    else:
        for number in range(_LINES[strength - 1]):
            values = _series(generator)
            along = np.linspace(0, 1, len(values))
            if form == "radar":
                turn = 2 * np.pi * along
                reach = (0.15 + 0.8 * values) * 0.48 * min(plot.width, plot.height)
                points = (
                    plot.middle + np.column_stack([np.cos(turn), np.sin(turn)]) * reach[:, None]
                )
                points[-1] = points[0]
            else:
                points = np.column_stack(
                    [
                        plot.left + along * plot.width,
                        plot.bottom - (0.03 + 0.94 * values) * plot.height,
                    ]
                )
            _stroke(canvas, points, style=number)
    return canvas


def _series(generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw a curve of 0 to 1: a walk, smoothed, with a trend."""
    walk = np.cumsum(generator.normal(0, 1, 160)) + np.linspace(
        0, float(generator.normal(0, 12)), 160
    )
    smooth = np.convolve(np.pad(walk, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    low, high = np.sort(generator.uniform(0, 1, 2))
    if high - low < 0.4:  # noqa: PLR2004 - curves that are nearly flat
        low, high = max(0.0, high - 0.6), min(1.0, max(0.0, high - 0.6) + 0.6)
    reach = float(np.ptp(smooth)) or 1.0
    return np.asarray(low + (smooth - smooth.min()) / reach * (high - low))


def _stroke(canvas: Canvas, points: NDArray[np.float64], *, style: int) -> None:
    width = (2.6, 1.4, 3.4, 2.0, 1.4)[style % 5]
    if style % 5 in (1, 3):
        dash = 7 if style % 5 == 1 else 3
        for start in range(0, len(points) - 1, 2 * dash):
            canvas.line(points[start : start + dash + 1], width=width)
    else:
        canvas.line(points, width=width, tone=26 if style % 5 != 2 else 110)  # noqa: PLR2004
    if style % 5 == 4:  # noqa: PLR2004
        for point in points[::12]:
            canvas.circle((float(point[0]), float(point[1])), 4)


def _bars(
    canvas: Canvas, plot: Box, *, count: int, design: int, generator: np.random.Generator
) -> None:
    step = plot.width / count
    for number, value in enumerate(generator.uniform(0.06, 0.96, count)):
        left = plot.left + (number + 0.2) * step
        bar = Box(left, plot.bottom - value * plot.height, left + 0.6 * step, plot.bottom)
        if design % 2:
            canvas.rectangle(bar, tone=240)
            canvas.hatch(bar, step=4, angle=45, width=1.0)
        else:
            canvas.rectangle(bar, tone=70)
        canvas.rectangle(bar, width=1.4)


def _grid(canvas: Canvas, plot: Box, *, strength: int, generator: np.random.Generator) -> None:
    columns, rows = 6 + strength, 5 + strength
    fine = _MINOR[strength - 1]
    for number in range(columns * fine + 1):
        x = plot.left + number * plot.width / (columns * fine)
        main = number % fine == 0
        canvas.line(
            [(x, plot.top), (x, plot.bottom)], width=1.1 if main else 0.6, tone=90 if main else 165
        )
    for number in range(rows * fine + 1):
        y = plot.bottom - number * plot.height / (rows * fine)
        main = number % fine == 0
        canvas.line(
            [(plot.left, y), (plot.right, y)], width=1.1 if main else 0.6, tone=90 if main else 165
        )
    canvas.rectangle(plot, width=2.2)
    first = int(generator.integers(1840, 1900))
    for number in range(columns + 1):
        x = plot.left + number * plot.width / columns
        canvas.line([(x, plot.bottom), (x, plot.bottom + 7)], width=1.6)
        canvas.write(str(first + 5 * number), x=x, y=plot.bottom + 22, size=15, anchor="ms")
    unit = int(generator.choice([5, 10, 25, 200, 500]))
    for number in range(rows + 1):
        y = plot.bottom - number * plot.height / rows
        canvas.line([(plot.left - 7, y), (plot.left, y)], width=1.6)
        canvas.write(f"{unit * number:,}", x=plot.left - 11, y=y + 5, size=15, anchor="rs")
    canvas.write(
        words.sentence(generator, words=3),
        x=20,
        y=plot.middle[1],
        size=16,
        face="italic",
        anchor="ms",
        turn=True,
    )
    canvas.write(
        words.sentence(generator, words=3),
        x=plot.middle[0],
        y=plot.bottom + 46,
        size=16,
        face="italic",
        anchor="ms",
    )


def _web(canvas: Canvas, plot: Box, *, strength: int, generator: np.random.Generator) -> None:
    radius = 0.48 * min(plot.width, plot.height)
    rings = 4 + strength * _MINOR[strength - 1] // 2
    for number in range(1, rings + 1):
        canvas.circle(
            plot.middle,
            radius * number / rings,
            width=1.4 if number == rings else 0.8,
            tone=26 if number == rings else 140,
        )
    spokes = 12 * (1 + strength // 3)
    for number in range(spokes):
        turn = 2 * np.pi * number / spokes
        ahead = np.array([np.cos(turn), np.sin(turn)])
        canvas.line(
            np.stack([plot.middle + 0 * ahead, plot.middle + radius * ahead]), width=0.8, tone=120
        )
        at = plot.middle + (radius + 20) * ahead
        canvas.write(
            words.word(generator)[:4].capitalize(),
            x=float(at[0]),
            y=float(at[1]),
            size=14,
            anchor="mm",
        )


def _legend(canvas: Canvas, box: Box, *, strength: int, generator: np.random.Generator) -> None:
    canvas.rectangle(box, width=1.0)
    y = box.top + 18
    canvas.write("EXPLANATION", x=box.middle[0], y=y, size=14, face="bold", anchor="ms")
    for number in range(4 + strength):
        y += 26
        points = np.column_stack([np.linspace(box.left + 8, box.left + 44, 36), np.full(36, y - 4)])
        _stroke(canvas, points, style=number)
        canvas.write(words.word(generator).capitalize()[:12], x=box.left + 52, y=y, size=14)
    text = Box(box.left + 8, y + 14, box.right - 8, box.bottom - 8)
    if text.height > 30:  # noqa: PLR2004
        words.set_text(canvas, box=text, line=14, generator=generator)
        emblem = ring((box.middle[0], box.bottom - 2), 1.5)
        canvas.fill(emblem)
