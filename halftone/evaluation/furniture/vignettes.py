"""Draw small engraved pictures that stand in heads, adverts and emblems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import INK, Box, bezier, ring
from halftone.evaluation.furniture.frames import guilloche, rosette

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.evaluation.furniture.canvas import Canvas

    Vignette = Callable[[Canvas, Box, np.random.Generator], None]


def draw(canvas: Canvas, box: Box, *, design: int, generator: np.random.Generator) -> None:
    """Draw a city, a harbour, a globe, a coat of arms or a rising sun.

    Args:
        canvas: The sheet.
        box: Where it goes; nothing is drawn beyond.
        design: The number of the picture; they repeat after the last one.
        generator: Source of randomness for the details.
    """
    part = canvas.part(box)
    _ALL[design % len(_ALL)](part, part.box, generator)


def advert(canvas: Canvas, box: Box, *, generator: np.random.Generator) -> None:
    """Draw an advertisement in its border: a heading, a bottle or a flower, lines of text."""
    canvas.rectangle(box.shrink(2), width=1.6)
    if generator.random() < 0.5:  # noqa: PLR2004 - half of them
        canvas.rectangle(box.shrink(5), width=0.8)
    inside = box.shrink(9)
    line = min(26.0, inside.height / 4, inside.width / 5)
    if line < 6:  # noqa: PLR2004 - no room for type
        return
    title = words.firm(generator) if generator.random() < 0.5 else words.word(generator).upper()  # noqa: PLR2004
    head = Box(inside.left, inside.top, inside.right, inside.top + 1.4 * line)
    canvas.write_in(title, box=head, face="slab")
    rest = Box(inside.left, head.bottom + 4, inside.right, inside.bottom)
    if rest.height > 5 * line and rest.width > 3 * line:
        side = min(rest.width * 0.5, rest.height * 0.45)
        spot = Box(rest.left, rest.top, rest.left + side, rest.top + side)
        if generator.random() < 0.5:  # noqa: PLR2004
            rosette(canvas, spot.middle, 0.46 * side, petals=int(generator.integers(5, 10)))
        else:
            _bottle(canvas, spot)
        beside = Box(spot.right + 5, rest.top, rest.right, spot.bottom)
        words.set_text(canvas, box=beside, line=0.55 * line, generator=generator)
        rest = Box(rest.left, spot.bottom + 3, rest.right, rest.bottom)
    words.set_text(canvas, box=rest.shrink(0, 2), line=0.6 * line, generator=generator, face="bold")


def _bottle(canvas: Canvas, box: Box) -> None:
    x, wide, high = box.middle[0], box.width, box.height
    outline = [
        (x - 0.08 * wide, box.top), (x + 0.08 * wide, box.top),
        (x + 0.08 * wide, box.top + 0.3 * high), (x + 0.24 * wide, box.top + 0.45 * high),
        (x + 0.24 * wide, box.bottom), (x - 0.24 * wide, box.bottom),
        (x - 0.24 * wide, box.top + 0.45 * high), (x - 0.08 * wide, box.top + 0.3 * high),
    ]  # fmt: skip
    canvas.fill(outline, tone=70)
    label = Box(x - 0.24 * wide, box.top + 0.55 * high, x + 0.24 * wide, box.top + 0.85 * high)
    canvas.rectangle(label, tone=240)
    canvas.hatch(label.shrink(3), step=4, angle=0)


def _sky(canvas: Canvas, box: Box, *, horizon: float) -> None:
    """Rule the sky with lines that grow closer towards the top."""
    y = box.top + 2
    while y < horizon:
        share = (y - box.top) / max(horizon - box.top, 1)
        canvas.line([(box.left, y), (box.right, y)], width=1.1 - 0.6 * share)
        y += 2.6 + 5 * share


def _city(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """Towers and roofs before a ruled sky."""
    canvas.rectangle(box, tone=240)
    _sky(canvas, box, horizon=box.top + 0.8 * box.height)
    x = box.left - 5
    while x < box.right:
        wide = float(generator.uniform(0.12, 0.5)) * box.height
        high = float(generator.uniform(0.25, 0.62)) * box.height
        house = Box(x, box.bottom - high, x + wide, box.bottom)
        canvas.rectangle(house, tone=int(generator.integers(120, 236)))
        canvas.hatch(
            house,
            step=float(generator.uniform(2.5, 4)),
            angle=float(generator.choice([90, 60])),
            width=0.7,
        )
        canvas.rectangle(house, width=1.3)
        kind = generator.random()
        peak = (x + wide / 2, house.top - float(generator.uniform(0.1, 0.35)) * box.height)
        if kind < 0.6:  # noqa: PLR2004 - spires and gables
            canvas.fill([(house.left, house.top), peak, (house.right, house.top)], tone=50)
        elif kind < 0.8:  # noqa: PLR2004 - domes
            dome = ring((x + wide / 2, house.top), wide / 2)[32:]
            canvas.fill(dome, tone=70)
            canvas.line([(x + wide / 2, house.top - wide / 2), (x + wide / 2, peak[1])], width=1.5)
        for row in np.arange(house.top + 6, house.bottom - 6, 11):
            for column in np.arange(house.left + 5, house.right - 6, 9):
                canvas.rectangle(Box(column, row, column + 3.5, row + 6), tone=20)
        x += wide * float(generator.uniform(0.75, 1.0))
    canvas.rectangle(box, width=1.4)


def _harbour(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """Ships on waves."""
    canvas.rectangle(box, tone=240)
    sea = box.top + 0.68 * box.height
    _sky(canvas, box, horizon=sea)
    for number in range(max(2, round(box.width / box.height * 1.6))):
        x = box.left + (number + float(generator.uniform(0.2, 0.8))) * 0.62 * box.height
        size = float(generator.uniform(0.3, 0.5)) * box.height
        canvas.fill(
            [(x - 0.6 * size, sea - 0.12 * size), (x + 0.7 * size, sea - 0.2 * size),
             (x + 0.5 * size, sea + 0.1 * size), (x - 0.5 * size, sea + 0.1 * size)],
        )  # fmt: skip
        for mast in (-0.35, 0.0, 0.35):
            foot, head = (x + mast * size, sea), (x + mast * size, sea - 1.25 * size)
            canvas.line([foot, head], width=1.4)
            for yard in (0.35, 0.7, 1.0):
                y = sea - yard * size
                belly = bezier(
                    (foot[0] - 0.17 * size, y),
                    (foot[0], y + 0.2 * size),
                    (foot[0] + 0.17 * size, y),
                )
                canvas.fill(belly, tone=235)
                canvas.line(belly, width=1.0)
    for row in np.arange(sea, box.bottom, 5.0):
        along = np.linspace(box.left, box.right, 160)
        wave = row + 1.7 * np.sin(
            along / float(generator.uniform(5, 9)) + float(generator.uniform(0, 6))
        )
        canvas.line(np.column_stack([along, wave]), width=1.0)
    canvas.rectangle(box, width=1.4)


def _globe(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A globe with meridians, between sprays of leaves."""
    centre, radius = box.middle, 0.44 * min(box.width, box.height)
    canvas.circle(centre, radius, tone=232)
    for share in np.linspace(-0.95, 0.95, 15):
        shape = ring((0, 0), 1.0) * (radius * share, radius) + centre
        canvas.line(shape[16:49], width=0.8)
        half = radius * np.sqrt(1 - share**2)
        y = centre[1] + radius * share
        canvas.line([(centre[0] - half, y), (centre[0] + half, y)], width=0.8)
    for _ in range(3):
        spot = np.array(centre) + generator.uniform(-0.45, 0.45, 2) * radius
        reach = radius * generator.uniform(0.15, 0.4, 24)
        around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        shore = np.column_stack([np.cos(around), np.sin(around)]) * reach[:, None]
        canvas.fill(spot + shore, tone=60)
    canvas.circle(centre, radius, width=2)
    for side in (-1, 1):
        for leaf in range(9):
            turn = np.pi / 2 + side * (0.3 + 0.26 * leaf)
            foot = np.array(centre) + 1.06 * radius * np.array([np.cos(turn), np.sin(turn)])
            tip = foot + 0.26 * radius * np.array(
                [np.cos(turn - side * 0.5), np.sin(turn - side * 0.5)]
            )
            canvas.fill(np.concatenate([
                bezier(tuple(foot), tuple((foot + tip) / 2 + (4, 4)), tuple(tip), count=10),
                bezier(tuple(tip), tuple((foot + tip) / 2 - (4, 4)), tuple(foot), count=10),
            ]), tone=45)  # fmt: skip


def _arms(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A quartered shield under a crown, with hatched tinctures."""
    x, high = box.middle[0], 0.94 * box.height
    wide = min(0.74 * high, 0.9 * box.width)
    top, bottom = box.top + 0.27 * high, box.top + high
    left, right = x - wide / 2, x + wide / 2
    middle = (top + bottom) / 2 - 0.05 * high
    quarters = (
        Box(left, top, x, middle), Box(x, top, right, middle),
        Box(left, middle, x, bottom), Box(x, middle, right, bottom),
    )  # fmt: skip
    for number, quarter in enumerate(quarters):
        angle = (0, 90, 45, 135)[(number + int(generator.integers(4))) % 4]
        canvas.rectangle(quarter, tone=236)
        canvas.hatch(quarter, step=3.4, angle=float(angle), width=0.9)
        petals = int(generator.integers(4, 9))
        rosette(canvas, quarter.middle, 0.3 * min(quarter.width, quarter.height), petals=petals)
    for side in (left, right):
        # The shield's foot is rounded: what lies outside is paper.
        edge = bezier((side, middle), (side, bottom - 0.1 * high), (x, bottom))
        canvas.fill(np.concatenate([edge, [(side, bottom + 1)]]), tone=246)
        canvas.line(edge, width=2.2)
    canvas.line([(left, middle), (left, top), (right, top), (right, middle)], width=2.2)
    canvas.line([(x, top), (x, bottom)], width=1.6)
    canvas.line([(left, middle), (right, middle)], width=1.6)
    for peak in range(5):
        tip = (left + (peak + 0.5) * wide / 5, box.top + 0.06 * high)
        foot = top - 0.05 * high
        canvas.fill([(tip[0] - wide / 10, foot), tip, (tip[0] + wide / 10, foot)], tone=60)
        canvas.circle(tip, 0.022 * high)
    canvas.rectangle(Box(left, top - 0.07 * high, right, top - 0.03 * high))


def _sun(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A sun that rises behind hills, with rays to all sides."""
    canvas.rectangle(box, tone=240)
    horizon = box.top + 0.78 * box.height
    sun = (box.left + float(generator.uniform(0.35, 0.65)) * box.width, horizon)
    reach = 1.5 * max(box.width, box.height)
    for turn in np.linspace(np.pi, 2 * np.pi, int(generator.integers(40, 64))):
        ray = np.array([[0.28 * box.height], [reach]]) * np.array([np.cos(turn), np.sin(turn)])
        canvas.swell(ray + sun, widths=[0.8, 5.5])
    canvas.circle(sun, 0.2 * box.height, tone=244)
    canvas.circle(sun, 0.2 * box.height, width=2)
    for row in range(3):
        along = np.linspace(box.left, box.right, 80)
        hills = horizon + row * 0.07 * box.height - 0.06 * box.height * np.sin(
            along / float(generator.uniform(18, 50)) + float(generator.uniform(0, 6))
        )  # fmt: skip
        ground = np.concatenate(
            [np.column_stack([along, hills]), [(box.right, box.bottom), (box.left, box.bottom)]]
        )
        canvas.fill(ground, tone=(190, 130, 60)[row])
        canvas.line(np.column_stack([along, hills]), width=1.4)
    canvas.rectangle(box, width=1.4)


def _medallion(canvas: Canvas, box: Box, generator: np.random.Generator) -> None:
    """A guilloche with a monogram."""
    centre, radius = box.middle, 0.46 * min(box.width, box.height)
    waves = int(generator.integers(7, 14))
    for depth in (0.1, 0.2, 0.3):
        for number in range(8):
            phase = 2 * np.pi * number / 8
            canvas.line(
                guilloche(centre, radius * (1 - depth), waves=waves, depth=depth, phase=phase),
                width=0.9,
            )
    canvas.circle(centre, 0.42 * radius, tone=244)
    canvas.circle(centre, 0.42 * radius, width=2)
    canvas.circle(centre, 0.37 * radius, width=0.9)
    letters = "".join(chr(ord("A") + int(generator.integers(26))) for _ in range(2))
    canvas.write(
        letters, x=centre[0], y=centre[1], size=0.4 * radius, face="slab", anchor="mm", tone=INK
    )


_ALL: Final[tuple[Vignette, ...]] = (_city, _globe, _harbour, _arms, _sun, _medallion)
