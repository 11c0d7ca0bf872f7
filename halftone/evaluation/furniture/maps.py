"""Draw base maps, coasts, rivers, relief, names and a graticule, and the data laid over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import Box, Canvas, Sheet, Window, bezier, ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH: Final = 820
HEIGHT: Final = 620
_TOWNS: Final = (14, 26, 42, 60, 84)
"""Names of places on a base map, by strength."""
_DATA: Final = ("signs", "areas", "isolines", "campaign")
_RIM: Final = 2.0
_AMOUNT: Final = (1.0, 0.75, 0.55, 0.4, 0.28)
"""How much is drawn over the base map, by strength."""


def draw(*, aspect: float, strength: int, design: int, generator: np.random.Generator) -> Sheet:
    """Draw a base map.

    Args:
        aspect: Does not matter.
        strength: From 1 to 5; the map grows denser with it.
        design: The number of the design.
        generator: Source of randomness: the country.
    """
    del aspect
    canvas = Canvas(WIDTH, HEIGHT)
    frame = canvas.box.shrink(22)
    land = _relief(generator, shape=(HEIGHT, WIDTH))
    # More land at the side where the design has it, so that coasts cross the map.
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    turn = 2.4 * design
    height = land + 0.9 * (np.cos(turn) * x + np.sin(turn) * y) + 0.25
    _sea(canvas, height, strength=strength, style=design)
    for contour in _contours(height, level=0.0):
        canvas.line(contour, width=1.9)
    for _ in range(4 + 3 * strength):
        _river(canvas, height, generator=generator)
    if strength >= 3:  # noqa: PLR2004
        _hachures(canvas, height, count=220 * (strength - 2), generator=generator)
    if strength >= 2:  # noqa: PLR2004
        for contour in _contours(_relief(generator, shape=(HEIGHT, WIDTH)), level=0.15)[:6]:
            inside = contour[_heights(height, contour) > 0]
            for start in range(0, len(inside) - 10, 16):
                canvas.line(inside[start : start + 10], width=1.3, tone=70)
    for _ in range(_TOWNS[strength - 1]):
        spot = generator.uniform((40, 40), (WIDTH - 90, HEIGHT - 50))
        if height[int(spot[1]), int(spot[0])] > 0.08:  # noqa: PLR2004 - on land
            canvas.circle((spot[0], spot[1]), 2.6, tone=246)
            canvas.circle((spot[0], spot[1]), 2.6, width=1.2)
            size = float(generator.choice([11, 12, 13, 16]))
            face = "italic" if generator.random() < 0.4 else "roman"  # noqa: PLR2004
            canvas.write(words.place(generator), x=spot[0] + 5, y=spot[1] + 4, size=size, face=face)
    _graticule(canvas, frame, lines=2 + strength, generator=generator)
    _cartouche(canvas, frame, design=design, generator=generator)
    return Sheet(pixels=canvas.finish(), windows=(Window(box=frame.shrink(8)),))


def overlay(sheet: Sheet, *, design: int, strength: int, variant: int, seed: int) -> Canvas:
    """Draw data over a base map: signs, hatched areas, isolines or the lines of a campaign.

    Args:
        sheet: The base map.
        design: The number of its design, as in `draw`; it decides the kind of the data.
        strength: From 1 to 5; there are fewer data as it grows.
        variant: 0 or 1: two data sets that have nothing to do with each other.
        seed: Determines both.
    """
    generator = np.random.default_rng([seed, variant])
    canvas = Canvas.over(sheet.pixels)
    box = sheet.windows[0].box
    part = canvas.part(box)
    amount = _AMOUNT[strength - 1]
    kind = _DATA[design % len(_DATA)]
    if kind == "signs":
        for _ in range(round(150 * amount)):
            spot = tuple(generator.uniform((8, 8), (box.width - 8, box.height - 8)))
            size = float(generator.gamma(3, 2.6)) + 3
            if generator.random() < 0.6:  # noqa: PLR2004
                part.circle(spot, size)
            else:
                part.rectangle(
                    Box(spot[0] - size, spot[1] - size, spot[0] + size, spot[1] + size), tone=250
                )
                part.rectangle(
                    Box(spot[0] - size, spot[1] - size, spot[0] + size, spot[1] + size), width=1.6
                )
    elif kind == "areas":
        _areas(part, amount=amount, generator=generator)
    elif kind == "isolines":
        field = _relief(generator, shape=(round(box.height), round(box.width)), rough=0.5)
        for level in np.linspace(-0.8, 0.8, max(3, round(11 * amount))):
            for contour in _contours(field, level=float(level)):
                part.line(contour, width=2.0)
                if len(contour) > 60:  # noqa: PLR2004
                    x, y = contour[len(contour) // 2]
                    part.circle((x, y), 11, tone=246)
                    part.write(
                        f"{round(40 + 30 * level)}", x=x, y=y, size=15, face="bold", anchor="mm"
                    )
    else:
        _campaign(part, amount=amount, generator=generator)
    return canvas


def _relief(
    generator: np.random.Generator, *, shape: tuple[int, int], rough: float = 0.62
) -> NDArray[np.float64]:
    """Draw a fractal surface of six octaves of noise, float64 [H, W]; its deviation is 0.5."""
    total = np.zeros(shape)
    weight = 1.0
    for octave in range(6):
        cells = 2 ** (octave + 1)
        noise = generator.standard_normal((cells + 3, cells + 4))
        total += weight * cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
        weight *= rough
    return np.asarray(0.5 * (total - total.mean()) / total.std())


def _contours(surface: NDArray[np.float64], *, level: float) -> list[NDArray[np.float64]]:
    mask = (surface > level).astype(np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    kept = sorted((each for each in found if len(each) > 24), key=len, reverse=True)  # noqa: PLR2004
    lines = []
    for each in kept[:40]:
        points = each.reshape(-1, 2).astype(np.float64) + 0.5
        # Contours run around the mask along the sheet's edge, too; a coast does not.
        high, wide = surface.shape
        edge = (
            (points[:, 0] < _RIM)
            | (points[:, 0] > wide - _RIM)
            | (points[:, 1] < _RIM)
            | (points[:, 1] > high - _RIM)
        )
        breaks = np.flatnonzero(edge)
        lines += [part for part in np.split(points, breaks) if len(part) > 12]  # noqa: PLR2004
    return lines


def _heights(surface: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = points[:, 1].astype(int).clip(0, surface.shape[0] - 1)
    columns = points[:, 0].astype(int).clip(0, surface.shape[1] - 1)
    return np.asarray(surface[rows, columns])


def _sea(canvas: Canvas, height: NDArray[np.float64], *, strength: int, style: int) -> None:
    """Line the coast from the sea's side, as engravers do, or rule the sea."""
    sea = (height <= 0).astype(np.uint8)
    away = cv2.distanceTransform(sea, cv2.DIST_L2, 3)
    if style % 2:
        lines = np.zeros_like(away)
        reach = 8.0 * (1 + strength)
        step = 3.5
        for number in range(int(reach / step)):
            near = np.abs(away - (number + 1) * step * (1 + 0.1 * number))
            lines = np.maximum(lines, np.clip(1.1 - near, 0, 1) * (1 - number * step / reach / 1.2))
        canvas.blend((lines * 255).clip(0, 255).astype(np.float32), tone=40)
    else:
        rows = np.arange(height.shape[0])[:, None] % max(4, 9 - strength) < 1
        canvas.blend(np.where(rows & (sea > 0), 170, 0).astype(np.float32), tone=60)


def _river(canvas: Canvas, height: NDArray[np.float64], *, generator: np.random.Generator) -> None:
    """Let a river run downhill with turns, from a spring to the sea."""
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(height, (0, 0), 12))
    point = generator.uniform((30, 30), (WIDTH - 30, HEIGHT - 30))
    ahead = generator.normal(0, 1, 2)
    course = []
    for _ in range(160):
        column, row = int(point[0]), int(point[1])
        if not (0 <= column < WIDTH and 0 <= row < HEIGHT) or height[row, column] < 0:
            break
        course.append(point.copy())
        down = -np.array([slope_x[row, column], slope_y[row, column]])
        down /= max(float(np.linalg.norm(down)), 1e-9)
        ahead = 0.72 * ahead + 0.28 * down + generator.normal(0, 0.3, 2)
        ahead /= max(float(np.linalg.norm(ahead)), 1e-9)
        point = point + 4 * ahead
    if len(course) > 12:  # noqa: PLR2004 - a river, not a puddle
        line = np.array(course)
        canvas.swell(line, widths=np.linspace(0.7, 2.6, len(line)), tone=50)


def _hachures(
    canvas: Canvas, height: NDArray[np.float64], *, count: int, generator: np.random.Generator
) -> None:
    """Draw strokes downhill where it is steep."""
    smooth = cv2.GaussianBlur(height, (0, 0), 6)
    slope_y, slope_x = np.gradient(smooth)
    steep = np.hypot(slope_x, slope_y)
    limit = np.quantile(steep, 0.75)
    spots = generator.uniform((30, 30), (WIDTH - 30, HEIGHT - 30), (12 * count, 2))
    rows, columns = spots[:, 1].astype(int), spots[:, 0].astype(int)
    kept = (height[rows, columns] > 0.1) & (steep[rows, columns] > limit)  # noqa: PLR2004
    rows, columns, feet = rows[kept], columns[kept], spots[kept]
    down = -np.column_stack([slope_x[rows, columns], slope_y[rows, columns]])
    down *= generator.uniform(4, 8, (len(down), 1)) / steep[rows, columns][:, None]
    canvas.wedges(feet, feet + down, width=1.7, tone=70)


def _graticule(canvas: Canvas, frame: Box, *, lines: int, generator: np.random.Generator) -> None:
    outer = frame.shrink(-14)
    for side in (
        Box(0, 0, canvas.width, frame.top), Box(0, frame.bottom, canvas.width, canvas.height),
        Box(0, 0, frame.left, canvas.height), Box(frame.right, 0, canvas.width, canvas.height),
    ):  # fmt: skip
        canvas.rectangle(side, tone=246)
    first = int(generator.integers(2, 60))
    for number in range(1, lines + 1):
        x = frame.left + number * frame.width / (lines + 1)
        curve = bezier((x - 12, frame.top), (x, frame.middle[1]), (x + 12, frame.bottom))
        canvas.line(curve, width=0.8, tone=90)
        canvas.write(f"{first + number}°", x=x, y=frame.top - 3, size=12, anchor="ms")
        y = frame.top + number * frame.height / (lines + 1)
        sag = bezier((frame.left, y - 8), (frame.middle[0], y + 10), (frame.right, y - 8))
        canvas.line(sag, width=0.8, tone=90)
        canvas.write(f"{70 - number}°", x=frame.left - 3, y=y, size=12, anchor="ms", turn=True)
    canvas.rectangle(frame, width=1.2)
    canvas.rectangle(outer, width=2.4)
    for number in range(0, 40, 2):
        left = frame.left + number * frame.width / 40
        for top in (frame.bottom, outer.top - 0.5):
            canvas.rectangle(Box(left, top, left + frame.width / 40, top + 4))


def _cartouche(canvas: Canvas, frame: Box, *, design: int, generator: np.random.Generator) -> None:
    """Add the title, the scale and the compass in two corners."""
    left = frame.left + 8 if design % 2 else frame.right - 218
    top = frame.top + 8 if design % 4 < 2 else frame.bottom - 118  # noqa: PLR2004
    box = Box(left, top, left + 210, top + 110)
    canvas.rectangle(box, tone=248)
    canvas.rectangle(box, width=1.6)
    canvas.rectangle(box.shrink(4), width=0.8)
    canvas.write("SKETCH MAP OF", x=box.middle[0], y=box.top + 22, size=13, anchor="ms")
    canvas.write_in(
        words.place(generator).upper(),
        box=Box(box.left + 12, box.top + 28, box.right - 12, box.top + 58),
        face="bold",
    )
    canvas.write(
        "Scale of Miles", x=box.middle[0], y=box.top + 76, size=13, face="italic", anchor="ms"
    )
    for number in range(6):
        part = Box(
            box.left + 27 + 26 * number, box.top + 84, box.left + 53 + 26 * number, box.top + 90
        )
        canvas.rectangle(part, tone=26 if number % 2 == 0 else 248)
        canvas.rectangle(part, width=1.0)
        canvas.write(str(10 * number), x=part.left, y=box.top + 102, size=11, anchor="ms")
    spot = (
        (frame.right - 50, frame.bottom - 56)
        if design % 2
        else (frame.left + 50, frame.bottom - 56)
    )
    canvas.circle(spot, 34, width=1.2)
    for number in range(8):
        turn = np.pi * number / 4
        reach = 46 if number % 2 == 0 else 24
        ahead, across = (
            np.array([np.cos(turn), np.sin(turn)]),
            np.array([-np.sin(turn), np.cos(turn)]),
        )
        canvas.fill([tuple(spot + reach * ahead), tuple(spot + 7 * across), tuple(np.array(spot))])
        canvas.line(
            [tuple(spot + reach * ahead), tuple(spot - 7 * across), tuple(np.array(spot))],
            width=1.0,
        )


def _areas(canvas: Canvas, *, amount: float, generator: np.random.Generator) -> None:
    """Hatch areas of three classes, as statistical maps do."""
    shape = (canvas.height, canvas.width)
    surface = _relief(generator, shape=shape, rough=0.45)
    y, x = np.indices(shape)
    limits = np.quantile(surface, [1 - 0.55 * amount, 1 - 0.33 * amount, 1 - 0.15 * amount])
    patterns = ((x + y) % 9 < 1.6, (x - y) % 6 < 1.8, ((x + y) % 5 < 2) | ((x - y) % 5 < 2))  # noqa: PLR2004
    for limit, pattern in zip(limits, patterns, strict=True):
        canvas.blend(np.where((surface > limit) & pattern, 235, 0).astype(np.float32), tone=26)
    for contour in _contours(surface, level=float(limits[0])):
        canvas.line(contour, width=1.6)


def _campaign(canvas: Canvas, *, amount: float, generator: np.random.Generator) -> None:
    """Draw front lines with teeth, arrows of marches, and blocks of troops."""
    size = np.array([canvas.width, canvas.height])
    for _ in range(max(2, round(5 * amount))):
        points = generator.uniform(0.1, 0.9, (4, 2)) * size
        front = bezier(*[tuple(point) for point in points], count=60)
        canvas.line(front, width=3.2)
        ahead = np.gradient(front, axis=0)
        for place in range(2, 58, 3):
            across = np.array([-ahead[place, 1], ahead[place, 0]])
            across *= 11 / max(float(np.linalg.norm(across)), 1e-9)
            canvas.line(np.stack([front[place], front[place] + across]), width=2.2)
    for _ in range(max(3, round(10 * amount))):
        points = generator.uniform(0.05, 0.95, (3, 2)) * size
        march = bezier(*[tuple(point) for point in points], count=40)
        canvas.swell(march[:-3], widths=np.linspace(3, 9, 37))
        tip = march[-1] - march[-4]
        tip /= max(float(np.linalg.norm(tip)), 1e-9)
        across = np.array([-tip[1], tip[0]])
        canvas.fill(
            np.stack([march[-1] + 9 * tip, march[-4] + 13 * across, march[-4] - 13 * across])
        )
    for _ in range(round(26 * amount)):
        spot, turn = generator.uniform(0.05, 0.95, 2) * size, float(generator.uniform(0, np.pi))
        ahead, across = (
            np.array([np.cos(turn), np.sin(turn)]) * 17,
            np.array([-np.sin(turn), np.cos(turn)]) * 6,
        )
        block = np.stack(
            [
                spot + ahead + across,
                spot + ahead - across,
                spot - ahead - across,
                spot - ahead + across,
            ]
        )
        if generator.random() < 0.5:  # noqa: PLR2004
            canvas.fill(block)
        else:
            canvas.fill(block, tone=248)
            canvas.line(np.concatenate([block, block[:1]]), width=1.6)
    canvas.circle(tuple(ring((size[0] / 2, size[1] / 2), 1.0)[0]), 2.0)
