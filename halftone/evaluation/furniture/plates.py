"""Draw plates of several pictures, and emblems in the middle with pictures around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import vignettes, words
from halftone.evaluation.furniture.canvas import Box, Canvas, Sheet, Window
from halftone.evaluation.furniture.frames import rosette

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 760
HEIGHT: Final = 960
COUNTS: Final = (2, 3, 4, 5, 6)
"""The number of pictures on a plate, by strength."""
AROUND: Final = (0.72, 0.6, 0.48, 0.38, 0.3)
"""The share of the sheet that pictures around an emblem have, by strength."""
_EMBLEM: Final = 900
# Rows of a plate: how many pictures each has.
_LAYOUTS: Final = {
    2: ((1, 1), (2,)),
    3: ((1, 2), (2, 1), (1, 1, 1)),
    4: ((2, 2), (1, 2, 1), (1, 3)),
    5: ((2, 1, 2), (1, 2, 2), (2, 3)),
    6: ((2, 2, 2), (1, 2, 1, 2), (3, 3)),
}


def draw_plate(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a plate: its title, a border, numbers and captions, and places for several pictures.

    Args:
        aspect: Does not matter.
        strength: From 1 to 5; it has more pictures, and they are smaller.
        design: The number of the layout.
        generator: Source of randomness for the details.
    """
    del aspect
    count = COUNTS[strength - 1]
    layouts = _LAYOUTS[count]
    layout = layouts[design % len(layouts)]
    # One row of pictures lies on a sheet that is broader than high.
    wide, high = (HEIGHT, WIDTH) if len(layout) == 1 else (WIDTH, HEIGHT)
    canvas = Canvas(wide, high)
    canvas.rectangle(canvas.box.shrink(14), width=2.0)
    if design % 2:
        canvas.rectangle(canvas.box.shrink(19), width=0.9)
    roman = ("II", "IV", "VII", "XII", "XIX", "XXIV")[int(generator.integers(6))]
    canvas.write(f"PLATE {roman}", x=wide - 34, y=42, size=18, face="roman", anchor="rs")
    canvas.write(
        f"{words.paper(generator)[1].upper()} — {words.sentence(generator, words=2).upper()}",
        x=34,
        y=42,
        size=17,
    )
    canvas.line([(30, 50), (wide - 30, 50)], width=1.0)
    canvas.write(
        f"Lith. & impr. {words.firm(generator)}, {words.place(generator)}",
        x=wide / 2,
        y=high - 24,
        size=14,
        face="italic",
        anchor="ms",
    )
    room = Box(30, 60, wide - 30, high - 46)
    return _fill(canvas, room, layout, generator=generator)


def _fill(
    canvas: Canvas, room: Box, layout: Sequence[int], *, generator: np.random.Generator
) -> Sheet:
    windows: list[Window] = []
    weights = generator.uniform(0.85, 1.2, len(layout))
    tops = room.top + np.concatenate([[0], np.cumsum(weights / weights.sum())]) * room.height
    for row, count in enumerate(layout):
        parts = generator.uniform(0.8, 1.25, count)
        sides = room.left + np.concatenate([[0], np.cumsum(parts / parts.sum())]) * room.width
        for number in range(count):
            cell = Box(sides[number] + 6, tops[row] + 4, sides[number + 1] - 6, tops[row + 1] - 4)
            window = Box(cell.left, cell.top, cell.right, cell.bottom - 26)
            canvas.rectangle(window.shrink(-2), width=1.0)
            text = f"Fig. {len(windows) + 1}. {words.sentence(generator, words=3)}"
            while len(text) > 8 and len(text) * 7.2 > cell.width:  # noqa: PLR2004 - its number stays
                text = text[:-1]
            canvas.write(
                text, x=cell.middle[0], y=cell.bottom - 6, size=15, face="italic", anchor="ms"
            )
            windows.append(Window(box=window))
    return Sheet(pixels=canvas.finish(), windows=tuple(windows))


def draw_emblem(
    *, aspect: float, strength: int, design: int, generator: np.random.Generator
) -> Sheet:
    """Draw a large emblem with pictures around it: one above and one below, or four in the corners.

    Args:
        aspect: Does not matter.
        strength: From 1 to 5; the emblem grows with it.
        design: The number of the design.
        generator: Source of randomness for the details.
    """
    del aspect
    canvas = Canvas(_EMBLEM, round(0.8 * _EMBLEM))
    wide, high = canvas.width, canvas.height
    share = AROUND[strength - 1]
    four = design % 2 == 0
    if four:
        scale = np.sqrt(share) / 2
        sizes = (scale * wide * 0.97, scale * high * 0.97)
        boxes = [
            Box(x, y, x + sizes[0], y + sizes[1])
            for y in (10, high - 10 - sizes[1])
            for x in (10, wide - 10 - sizes[0])
        ]
    else:
        side = min(np.sqrt(share * wide * high / 2 / 1.25), 0.46 * wide)
        tall = min(share * wide * high / 2 / side, high - 20)
        boxes = [
            Box(10, (high - tall) / 2, 10 + side, (high + tall) / 2),
            Box(wide - 10 - side, (high - tall) / 2, wide - 10, (high + tall) / 2),
        ]
        for box in boxes:
            for top, bottom in ((10.0, box.top - 8), (box.bottom + 8, high - 10.0)):
                if bottom - top > 40:  # noqa: PLR2004 - room for an advert
                    vignettes.advert(
                        canvas, Box(box.left, top, box.right, bottom), generator=generator
                    )
    room = Box(0, 0, wide, high)
    if not four:
        room = Box(boxes[0].right + 8, 10, boxes[1].left - 8, high - 10)
        _panel(canvas, room, design=design, generator=generator)
    else:
        _cross(canvas, boxes, design=design, generator=generator)
    for box in boxes:
        # Pictures lie below the emblem, never over it.
        canvas.rectangle(box.shrink(-3), width=1.2)
    windows = tuple(Window(box=box) for box in boxes)
    return Sheet(pixels=canvas.finish(), windows=windows)


def _panel(canvas: Canvas, room: Box, *, design: int, generator: np.random.Generator) -> None:
    """Fill the strip between two pictures: an emblem in the middle, ornaments above and below."""
    side = min(room.width, 0.6 * room.height)
    x, y = room.middle
    vignettes.draw(
        canvas,
        Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2),
        design=(1, 3, 5)[design // 2 % 3],
        generator=generator,
    )
    article, name = words.paper(generator)
    for number, top in enumerate((room.top, y + side / 2 + 6)):
        bottom = y - side / 2 - 6 if number == 0 else room.bottom
        part = Box(room.left, top, room.right, bottom)
        if part.height < 30:  # noqa: PLR2004
            continue
        title = Box(part.left, part.top, part.right, part.top + min(60.0, 0.4 * part.height))
        canvas.write_in(
            f"{article} {name}".upper() if number == 0 else words.firm(generator),
            box=title.shrink(4),
            face="slab",
        )
        words.set_text(
            canvas,
            box=Box(part.left + 4, title.bottom + 4, part.right - 4, part.bottom),
            line=14,
            generator=generator,
        )
    canvas.rectangle(room, width=1.4)


def _cross(
    canvas: Canvas, boxes: Sequence[Box], *, design: int, generator: np.random.Generator
) -> None:
    """Fill what four pictures leave: an emblem in the middle, ornaments between them."""
    wide, high = canvas.width, canvas.height
    upright = Box(boxes[0].right + 6, 6, boxes[1].left - 6, high - 6)
    level = Box(6, boxes[0].bottom + 6, wide - 6, boxes[2].top - 6)
    step = max(upright.width, level.height, 30.0)
    for arm, count in ((upright, round(high / step)), (level, round(wide / step))):
        for number in range(count):
            along = (number + 0.5) / count
            spot = (
                (arm.middle[0], arm.top + along * arm.height)
                if arm is upright
                else (arm.left + along * arm.width, arm.middle[1])
            )
            reach = 0.42 * min(arm.width, arm.height, step)
            rosette(canvas, spot, max(reach, 5.0), petals=6 + design % 4)
    side = min(max(2.6 * step, 0.3 * high), 0.9 * min(level.height * 3.2, upright.width * 3.2))
    side = max(side, 60.0)
    middle = Box(wide / 2 - side / 2, high / 2 - side / 2, wide / 2 + side / 2, high / 2 + side / 2)
    inner = Box(boxes[0].right, boxes[0].bottom, boxes[3].left, boxes[3].top)
    if inner.width < side or inner.height < side:
        # The emblem lies over the corners of the pictures only as far as paper goes.
        side = max(min(inner.width, inner.height) - 4, 40.0)
        middle = Box(
            wide / 2 - side / 2, high / 2 - side / 2, wide / 2 + side / 2, high / 2 + side / 2
        )
    canvas.rectangle(middle, tone=246)
    vignettes.draw(
        canvas, middle.shrink(3), design=(5, 3, 1, 0, 4, 2)[design // 2 % 6], generator=generator
    )
    canvas.rectangle(middle, width=1.8)
