"""Draw ornamental and engraved frames: scrolls, vines, frets, guilloches, mouldings, ovals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture.canvas import (
    INK,
    Box,
    Canvas,
    Sheet,
    Window,
    bezier,
    border,
    corners,
    ring,
    spiral,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.evaluation.furniture.canvas import Points

    Draw = Callable[[Canvas, Box, float, np.random.Generator], None]

LONGER: Final = 840
SHARES: Final = (0.8, 0.66, 0.53, 0.42, 0.32)
"""The picture's share of the sheet, by strength."""
_MARGIN: Final = 14.0
_WIDEST: Final = 84.0  # pixels of a single band


def draw(*, aspect: float, strength: int, design: int, generator: np.random.Generator) -> Sheet:
    """Draw a frame all round a picture.

    Args:
        aspect: About the picture's width over its height.
        strength: From 1 to 5; the frame grows with it.
        design: The number of the design; designs repeat after the last one.
        generator: Source of randomness for the details.
    """
    ratio = aspect**0.8  # a frame of even width is squarer than its picture
    size = (LONGER, round(LONGER / ratio)) if ratio > 1 else (round(LONGER * ratio), LONGER)
    canvas = Canvas(*size)
    outer = canvas.box.shrink(_MARGIN)
    # The thickness that leaves the picture its share of the sheet.
    half = (canvas.width + canvas.height) / 4
    share = SHARES[strength - 1] * canvas.width * canvas.height
    thickness = half - np.sqrt(half**2 - (canvas.width * canvas.height - share) / 4)
    thickness -= _MARGIN
    pattern = _DESIGNS[design % len(_DESIGNS)]
    inside = outer.shrink(float(thickness))
    if pattern in _BANDS and thickness > _WIDEST:
        # Printers set wide borders from several bands of small ornaments.
        others = [each for each in _BANDS if each is not pattern]
        second = others[int(generator.integers(len(others)))]
        first = 0.56 * float(thickness)
        pattern(canvas, outer, first, generator)
        second(canvas, outer.shrink(first + 3), float(thickness) - first - 3, generator)
    else:
        pattern(canvas, outer, float(thickness), generator)
    return Sheet(pixels=canvas.finish(), windows=(Window(box=inside, oval=pattern is _oval),))


def rosette(
    canvas: Canvas, centre: tuple[float, float], radius: float, *, petals: int, tone: int = INK
) -> None:
    """Draw a flower seen from above, with two rows of petals."""
    for row, (reach, offset) in enumerate(((1.0, 0.0), (0.62, 0.5))):
        for number in range(petals):
            turn = 2 * np.pi * (number + offset) / petals
            ahead = np.array([np.cos(turn), np.sin(turn)])
            across = np.array([-ahead[1], ahead[0]]) * np.sin(np.pi / petals)
            base, tip = (
                np.array(centre) + 0.2 * radius * ahead,
                np.array(centre) + reach * radius * ahead,
            )
            wide = 0.72 * reach * radius * across
            middle = (base + 2 * tip) / 3
            left = bezier(tuple(base), tuple(middle + wide), tuple(tip), count=12)
            right = bezier(tuple(tip), tuple(middle - wide), tuple(base), count=12)
            canvas.fill(np.concatenate([left, right]), tone=tone if row == 0 else 235)
            canvas.line(np.concatenate([left, right]), width=0.8, tone=tone)
    canvas.circle(centre, 0.2 * radius, tone=tone)
    canvas.circle(centre, 0.1 * radius, tone=225)


def guilloche(
    centre: tuple[float, float], radius: float, *, waves: int, depth: float, phase: float
) -> Points:
    """Return a closed line that swings around a circle, as on banknotes."""
    turn = np.linspace(0, 2 * np.pi, 40 * waves + 1)
    reach = radius * (1 + depth * np.sin(waves * turn + phase))
    return np.column_stack([centre[0] + reach * np.cos(turn), centre[1] + reach * np.sin(turn)])


def _rules(canvas: Canvas, box: Box, thickness: float, *, edges: tuple[float, ...]) -> None:
    """Draw rules all round, at these shares of the border's thickness, thick and thin in turn."""
    for number, share in enumerate(edges):
        width = max(1.0, thickness / 26) if number % 2 == 0 else 0.9
        canvas.rectangle(box.shrink(share * thickness), width=width)


def _scrolls(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """Scrolls that face each other in turn, with leaves, and a flower in each corner."""
    _rules(canvas, box, thickness, edges=(0.0, 0.07, 0.93, 1.0))
    turns = float(generator.uniform(1.5, 2.3))
    for place, count in border(box, thickness=thickness, period=0.85 * thickness):
        for number in range(count):
            way = 1 if number % 2 else -1
            curve = spiral((number + 0.5, 0.5), 0.36, turns=turns, start=way * np.pi / 2, way=way)
            canvas.swell(place(curve), widths=np.linspace(0.1, 0.03, len(curve)) * thickness)
            stem = bezier((number - 0.1, 0.15), (number + 0.2, 0.1), (number + 0.5, 0.86))
            canvas.line(place(stem), width=max(0.8, 0.02 * thickness))
            for side in (0.12, 0.88):
                leaf = bezier((number, side), (number + 0.1, 0.5), (number, 1 - side), count=14)
                back = bezier((number, 1 - side), (number - 0.1, 0.5), (number, side), count=14)
                if number:
                    canvas.line(place(np.concatenate([leaf, back])), width=0.9)
            canvas.circle(tuple(place(np.array([[number + 0.5, 0.5]]))[0]), 0.07 * thickness)
    petals = int(generator.integers(6, 11))
    for corner in corners(box, side=thickness):
        rosette(canvas, corner.middle, 0.42 * thickness, petals=petals)


def _vine(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """A winding stem with leaves and berries on a hatched ground."""
    ground = int(generator.integers(60, 110))
    for side in range(4):
        strip = (
            Box(box.left, box.top, box.right, box.top + thickness),
            Box(box.left, box.bottom - thickness, box.right, box.bottom),
            Box(box.left, box.top, box.left + thickness, box.bottom),
            Box(box.right - thickness, box.top, box.right, box.bottom),
        )[side]
        canvas.rectangle(strip, tone=ground)
        canvas.hatch(strip, step=3.0, angle=45, width=0.9, tone=25)
    for place, count in border(box, thickness=thickness, period=1.15 * thickness):
        along = np.linspace(0, count, 40 * count)
        stem = np.column_stack([along, 0.5 + 0.26 * np.sin(2 * np.pi * along)])
        canvas.swell(place(stem), widths=np.full(len(stem), 0.075 * thickness), tone=238)
        for number in range(2 * count):
            at = number / 2 + 0.25
            way = 1 if number % 2 == 0 else -1
            base = np.array([at, 0.5 + 0.26 * way])
            tip = base + np.array([0.3, -0.62 * way])
            _leaf(canvas, place, base, tip, thickness=thickness, spread=0.19)
            for berry in range(3):
                spot = base + np.array([0.1 * berry - 0.2, 0.13 * way])
                canvas.circle(tuple(place(spot[None])[0]), 0.055 * thickness, tone=240)
                canvas.circle(tuple(place(spot[None])[0]), 0.055 * thickness, tone=20, width=0.8)
    for corner in corners(box, side=thickness):
        canvas.rectangle(corner.shrink(0.05 * thickness), tone=235)
        rosette(canvas, corner.middle, 0.4 * thickness, petals=8)
    _rules(canvas, box, thickness, edges=(0.0, 1.0))


def _leaf(
    canvas: Canvas,
    place: Callable[[Points], Points],
    base: Points,
    tip: Points,
    *,
    thickness: float,
    spread: float,
) -> None:
    ahead = tip - base
    across = np.array([-ahead[1], ahead[0]]) * spread / np.linalg.norm(ahead)
    middle = base + 0.45 * ahead
    left = bezier(tuple(base), tuple(middle + 1.6 * across), tuple(tip), count=14)
    right = bezier(tuple(tip), tuple(middle - 1.6 * across), tuple(base), count=14)
    outline = place(np.concatenate([left, right]))
    canvas.fill(outline, tone=236)
    canvas.line(outline, width=0.9, tone=20)
    canvas.line(place(np.stack([base, base + 0.9 * ahead])), width=max(0.8, 0.015 * thickness))
    for share in (0.3, 0.5, 0.7):
        foot = base + share * ahead
        for side in (1, -1):
            vein = np.stack([foot, foot + 0.13 * ahead + side * 0.7 * (1 - share) * across])
            canvas.line(place(vein), width=0.8)


def _fret(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """A Greek key with squares in the corners."""
    path = np.array(
        [
            (0.0, 0.85), (0.0, 0.15), (0.82, 0.15), (0.82, 0.68), (0.36, 0.68), (0.36, 0.42),
            (0.56, 0.42), (0.56, 0.54), (0.46, 0.54), (0.68, 0.54), (0.68, 0.29), (0.18, 0.29),
            (0.18, 0.85), (1.0, 0.85),
        ]
    )  # fmt: skip
    wide = float(generator.uniform(0.05, 0.085)) * thickness
    for place, count in border(box, thickness=thickness, period=1.0 * thickness):
        for number in range(count):
            canvas.line(place(path + np.array([number, 0])), width=wide)
    for corner in corners(box, side=thickness):
        for share in (0.12, 0.24, 0.36):
            canvas.rectangle(corner.shrink(share * thickness), width=wide)
        canvas.rectangle(corner.shrink(0.44 * thickness))
    _rules(canvas, box, thickness, edges=(0.0, 0.05, 0.95, 1.0))


def _banknote(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """Interlaced waves along the sides and guilloches in the corners."""
    lines = int(generator.integers(5, 9))
    beats = int(generator.integers(2, 4))
    for place, count in border(box, thickness=thickness, period=0.9 * thickness):
        along = np.linspace(0, count, 48 * count)
        for number in range(lines):
            phase = 2 * np.pi * number / lines
            swing = 0.4 * np.cos(np.pi * along / 2) ** 2 + 0.06
            wave = 0.5 + swing * np.sin(2 * np.pi * beats * along / 2 + phase)
            canvas.line(place(np.column_stack([along, wave])), width=0.9)
    for corner in corners(box, side=thickness):
        canvas.rectangle(corner, tone=246)
        for number in range(7):
            curve = guilloche(
                corner.middle, 0.36 * thickness, waves=9, depth=0.28, phase=2 * np.pi * number / 7
            )
            canvas.line(curve, width=0.8)
        rosette(canvas, corner.middle, 0.2 * thickness, petals=7)
    _rules(canvas, box, thickness, edges=(0.0, 0.04, 0.96, 1.0))


def _moulding(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """A carved picture frame: hatched mitred sides, a row of eggs, a row of beads."""
    light = generator.permutation(4)
    for number, (place, count) in enumerate(
        border(box, thickness=thickness, period=0.34 * thickness)
    ):
        # Mitred: a side reaches into both corners, less at its inner edge.
        reach = thickness / (thickness * 0.34)
        sides = np.array([(-reach, 0.0), (count + reach, 0.0), (count, 1.0), (0.0, 1.0)])
        canvas.fill(place(sides), tone=int(200 - 22 * light[number]))
        steps = max(8, round(thickness / 2.6))
        for share in np.linspace(0.02, 0.98, steps):
            rise = abs(np.sin(3.3 * np.pi * share)) ** 1.5
            ends = np.array([(-reach * (1 - share), share), (count + reach * (1 - share), share)])
            canvas.line(place(ends), width=0.5 + 1.1 * rise * (0.4 + light[number] / 6))
        for egg in range(count):
            centre = np.array([egg + 0.5, 0.36])
            shape = centre + (ring((0, 0), 1.0, count=24) * (0.34, 0.13))
            canvas.fill(place(shape), tone=232)
            canvas.line(place(shape), width=1.0)
            shade = centre + (ring((0, 0), 1.0, count=24)[:13] * (0.24, 0.09))
            canvas.line(place(shade), width=1.6, tone=90)
            canvas.line(place(np.array([(egg + 1.0, 0.22), (egg + 1.0, 0.5)])), width=1.4)
        for bead in range(3 * count):
            spot = place(np.array([[(bead + 0.5) / 3, 0.82]]))[0]
            canvas.circle(tuple(spot), 0.045 * thickness, tone=238)
            canvas.circle(tuple(spot), 0.045 * thickness, width=0.9)
    canvas.rectangle(box, width=1.6)
    canvas.rectangle(box.shrink(thickness), width=1.6)


def _whiplash(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """Art nouveau: stems that grow from below, cross and end in buds."""
    canvas.rectangle(box, width=2.2)
    canvas.rectangle(box.shrink(thickness), width=2.2)
    inner = box.shrink(thickness)
    for side in (-1, 1):
        edge = box.left if side < 0 else box.right
        into = -side  # towards the middle
        for number in range(7):
            sway = generator.uniform(0.15, 0.85, 4) * thickness * into
            top = box.bottom - (0.5 + 0.07 * number) * box.height
            foot = (edge + into * (0.1 + 0.11 * number) * thickness, box.bottom - 3)
            head = (
                edge + into * float(generator.uniform(0.2, 0.8)) * thickness,
                max(box.top + 0.3 * thickness, top - 0.1 * box.height),
            )
            stem = bezier(
                foot,
                (edge + sway[0], foot[1] - 0.3 * box.height),
                (edge + sway[1], foot[1] - 0.45 * box.height),
                head,
                count=60,
            )
            canvas.swell(stem, widths=np.linspace(0.075, 0.02, 60) * thickness)
            curl = spiral(
                (head[0] + into * 0.1 * thickness, head[1]),
                0.16 * thickness,
                turns=1.4,
                start=np.pi if into > 0 else 0.0,
                way=into,
            )
            canvas.swell(curl, widths=np.linspace(0.03, 0.05, len(curl)) * thickness)
            rosette(canvas, (float(curl[-1, 0]), float(curl[-1, 1])), 0.1 * thickness, petals=5)
    middle = box.middle[0]
    for band, (top, bottom) in enumerate(((box.top, inner.top), (inner.bottom, box.bottom))):
        for number in range(6):
            for side in (-1, 1):
                low = top + (0.15 + 0.13 * number) * (bottom - top)
                swing = bezier(
                    (middle, bottom - 0.1 * thickness if band else low),
                    (middle + side * 0.2 * box.width, top + generator.uniform(0, 1) * thickness),
                    (middle + side * 0.3 * box.width, bottom - generator.uniform(0, 1) * thickness),
                    (middle + side * 0.46 * box.width, low),
                    count=50,
                )
                swing[:, 1] = swing[:, 1].clip(top + 3, bottom - 3)
                canvas.swell(swing, widths=np.linspace(0.06, 0.015, 50) * thickness)
        rosette(canvas, (middle, (top + bottom) / 2), 0.3 * thickness, petals=9)


def _oval(canvas: Canvas, box: Box, thickness: float, generator: np.random.Generator) -> None:
    """An oval in a hatched rectangle, with scrolls in the spandrels and leaves around."""
    canvas.rectangle(box, tone=int(generator.integers(195, 232)))
    canvas.hatch(box, step=3.2, angle=0, width=1.0, tone=70)
    inner = box.shrink(thickness)
    centre = np.array(inner.middle)
    radii = np.array([inner.width, inner.height]) / 2
    leaves = int(round(radii.sum() / max(0.4 * thickness, 14)) * 2)
    for number in range(leaves):
        turn = 2 * np.pi * number / leaves
        spot = centre + radii * (np.cos(turn), np.sin(turn))
        ahead = np.array([-radii[0] * np.sin(turn), radii[1] * np.cos(turn)])
        ahead /= np.linalg.norm(ahead)
        out = np.array([ahead[1], -ahead[0]])
        for side in (1, -1):
            tip = spot + 0.34 * thickness * (ahead + 0.75 * side * out)
            _leaf(
                canvas,
                lambda points: points,
                spot,
                tip,
                thickness=thickness,
                spread=0.09 * thickness,
            )
    # Scrolls grow from each corner along both sides, as far as the oval leaves room.
    room = 0.5 * min(
        thickness + 0.14 * min(inner.width, inner.height), 0.3 * min(box.width, box.height)
    )
    for corner in corners(box.shrink(8), side=room):
        towards = np.sign(centre - corner.middle)
        for reach, along, down in ((0.46, 0.0, 0.0), (0.3, 0.95, -0.1), (0.3, -0.1, 0.95)):
            start = np.array(corner.middle) + towards * np.array([along, down]) * room * 0.85
            begin = float(np.arctan2(-towards[1], -towards[0]))
            way = 1 if along >= down else -1
            curve = spiral(tuple(start), reach * room, turns=2.0, start=begin, way=way)
            canvas.swell(curve, widths=np.linspace(0.13, 0.04, len(curve)) * room, tone=20)
            canvas.swell(curve, widths=np.linspace(0.07, 0.02, len(curve)) * room, tone=235)
    canvas.rectangle(box, width=2.5)
    canvas.rectangle(box.shrink(5), width=1.0)
    oval = centre + ring((0, 0), 1.0, count=96) * (radii + 2)
    canvas.line(oval, width=4)


_BANDS: Final[tuple[Draw, ...]] = (_scrolls, _vine, _fret, _banknote)
_DESIGNS: Final[tuple[Draw, ...]] = (
    _scrolls,
    _vine,
    _whiplash,
    _fret,
    _moulding,
    _banknote,
    _oval,
)
