"""Draw what goes round one picture: frames, mounts, stamps, bank notes and medals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.vision.furnishing.ornaments import (
    draw_whiplash,
    make_guilloche,
    make_lettering,
    make_motif,
    make_repeat,
    place_corners,
    repeat,
    surround,
    wrap,
)
from halftone.vision.furnishing.pages import fill_block
from halftone.vision.furnishing.sheets import Furniture, Order, Window, size_sheet
from halftone.vision.furnishing.strokes import (
    Box,
    Pixels,
    bend,
    choose_face,
    engrave,
    engrave_by_hand,
    fill,
    make_ellipse,
    make_noise,
    make_paper,
    make_words,
    outline,
    press,
    resize,
    swell,
    tint,
    trace,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable


_FRAMES: Final = ("bands", "bands", "bands", "curves", "wood", "pattern", "wreath", "panels")


def draw_frame(order: Order) -> Furniture:
    """Draw a frame all round: lines, repeated ornament, curves, wood, a mount with any opening."""
    generator = order.generator
    height, width = size_sheet(float(np.clip(order.aspect, 0.6, 1.7)))
    share = max(order.share, 0.22)
    half = (height + width) / 2
    margin = (half - math.sqrt(half**2 - height * width * (1 - share))) / 2
    sheet = make_paper(height, width)
    kind = str(generator.choice(_FRAMES))
    _DRAW_FRAME[kind](sheet, margin, generator)
    if kind != "wood" and generator.random() < 0.6:
        sheet = engrave_by_hand(sheet, generator=generator)
    edge = round(margin)
    window = (edge, edge, width - 2 * edge, height - 2 * edge)
    mask = cut_opening(sheet, window, generator=generator) if share > 0.3 else None
    if mask is None:
        fill(sheet, outline(window, inset=-2), tone=255)
        if generator.random() < 0.5:
            weight = float(generator.choice([1, 2, 3]))
            trace(sheet, outline(window, inset=-3), weight=weight, closed=True)
    ink, paper = int(generator.integers(0, 150)), int(generator.integers(175, 256))
    if generator.random() < 0.25:
        ink, paper = paper, ink // 2
    ground = tint(sheet, paper=paper, ink=ink)
    return Furniture(ground=ground, windows=(Window(box=window, mask=mask),))


def draw_band(
    sheet: Pixels, *, box: Box, thickness: int, generator: np.random.Generator, plain: bool = False
) -> None:
    """Fill a band along the inside of a box with lines, ornament or hatching, or not if `plain`."""
    kinds = ["lines", "ornament", "ornament", "ornament", "hatch", "solid", "blank", "blank"]
    kind = generator.choice(kinds if plain else kinds[:-2])
    if kind == "lines":
        inset = 1.0
        while inset < thickness - 1:
            weight = float(generator.choice([0.6, 1, 1, 2, 4]))
            trace(sheet, outline(box, inset=inset), weight=weight, closed=True)
            inset += weight + float(generator.uniform(2, 8))
    elif kind == "ornament" and thickness >= 8:
        corner = make_motif(generator) if generator.random() < 0.7 else None
        surround(sheet, make_repeat(generator), box=box, thickness=thickness, corner=corner)
        if generator.random() < 0.3:
            left, top, width, height = box
            band = sheet[top : top + height, left : left + width]
            band[:] = 255 - band
            fill(sheet, outline(box, inset=thickness), tone=255)
    elif kind in {"hatch", "solid"}:
        left, top, width, height = box
        if kind == "hatch":
            tone = make_noise(generator, (height, width), cells=6) * 0.5 + generator.uniform(0, 0.5)
            period, angle = float(generator.uniform(3, 8)), float(generator.uniform(0, 3))
            lines = engrave(tone, period=period, angle=angle, generator=generator)
            press(sheet, lines, left=left, top=top)
        else:
            fill(sheet, outline(box), tone=int(generator.integers(0, 160)))
        fill(sheet, outline(box, inset=thickness), tone=255)


def _draw_bands(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    """Fill the margin with bands of every sort, one inside the other."""
    height, width = sheet.shape
    used = 0.0
    while used < margin - 3:
        thick = min(margin - used, max(3.0, margin * generator.uniform(0.15, 1.0)))
        box = (round(used), round(used), round(width - 2 * used), round(height - 2 * used))
        draw_band(sheet, box=box, thickness=round(thick), generator=generator, plain=used > 0)
        used += thick


def _draw_curves(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    height, width = sheet.shape
    box = (0, 0, width, height)
    draw_whiplash(sheet, box=box, generator=generator, reach=margin)
    trace(sheet, outline(box, inset=margin * 0.9), closed=True, weight=2)


def _draw_pattern(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    """Cover the whole ground with one ornament, as wallpaper."""
    height, width = sheet.shape
    side = float(np.clip(margin * generator.uniform(0.2, 1), 14, 60))
    tile = resize(make_repeat(generator), side, side)
    counts = (height // tile.shape[0] + 1, width // tile.shape[1] + 1)
    sheet[:] = np.tile(tile, counts)[:height, :width]


def _draw_wreath(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    """Strew leaves, flowers and stems over the margin, mirrored or not."""
    height, width = sheet.shape
    flowers = [make_motif(generator) for _ in range(int(generator.integers(3, 9)))]
    for _ in range(int(np.clip(generator.uniform(1, 4) * (height + width) / margin, 10, 80))):
        x, y = generator.uniform(0, margin), generator.uniform(0, 1) * height
        if generator.random() < width / (width + height):
            x, y = generator.uniform(0, 1) * width, generator.uniform(0, margin)
        if generator.random() < 0.5:
            x, y = width - x, height - y
        stem = np.cumsum(generator.normal(0, margin / 3, size=(4, 2)), axis=0) + np.array([x, y])
        swell(sheet, bend(stem), weight=float(generator.uniform(1.5, 5)))
        side = margin * generator.uniform(0.25, 0.9)
        flower = resize(flowers[generator.integers(len(flowers))], side, side)
        press(sheet, flower, left=round(x - side / 2), top=round(y - side / 2))
    if generator.random() < 0.5:
        sheet[:] = np.minimum(sheet, sheet[:, ::-1])


def _draw_panels(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    """Divide the margin into panels with vignettes, ornaments and lettering, as covers have."""
    height, width = sheet.shape
    edge, right, bottom = round(margin), round(width - margin), round(height - margin)
    for x, y in ((0, 0), (right, 0), (0, bottom), (right, bottom)):
        fill_block(sheet, (x + 2, y + 2, edge - 4, edge - 4), generator=generator, depth=3)
    sides = [(edge, 0, right - edge, edge), (edge, bottom, right - edge, edge)]
    sides += [(0, edge, edge, bottom - edge), (right, edge, edge, bottom - edge)]
    for left, top, wide, high in sides:
        box = (left + 2, top + 2, wide - 4, high - 4)
        fill_block(sheet, box, generator=generator, depth=1)
        trace(sheet, outline(box, inset=-1), closed=True)


def _carve(sheet: Pixels, margin: float, generator: np.random.Generator) -> None:
    """Paint a profiled frame of wood or gilt, lit from one side, with mitred corners."""
    height, width = sheet.shape
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    edges = np.stack([v, u, height - 1 - v, width - 1 - u])
    nearest, depth = edges.argmin(axis=0), edges.min(axis=0) / np.float32(margin)
    knots = generator.uniform(0.1, 0.95, size=int(generator.integers(4, 12)))
    profile = np.interp(depth.clip(0, 1), np.linspace(0, 1, len(knots)), knots)
    light = generator.permutation([0.75, 0.9, 1.1, 1.25])[nearest]
    grain = make_noise(generator, (height, width), cells=60, octaves=2) - 0.5
    tone = profile * light + grain * generator.uniform(0.05, 0.4)
    sheet[:] = np.clip(tone * 255, 0, 255).astype(np.uint8)


def cut_opening(sheet: Pixels, box: Box, *, generator: np.random.Generator) -> Pixels | None:
    """Choose an opening for a picture; draw its rim and what fills the corners. None: square."""
    left, top, width, height = box
    middle, radii = (width / 2, height / 2), (width / 2 - 1, height / 2 - 1)
    shape = generator.choice(["square", "square", "square", "oval", "rounded", "arch", "eight"])
    if shape == "square":
        return None
    if shape == "oval":
        rim = make_ellipse(middle, radii)
    else:
        angle = np.linspace(-math.pi, math.pi, 120, endpoint=False)
        power = float(generator.uniform(0.2, 0.6)) if shape != "eight" else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power
        if shape == "arch":
            x, y = np.where(sin > 0, np.sign(cos), x), np.where(sin > 0, 1.0, sin)
        if shape == "eight":
            x, y = np.clip(cos * 1.2, -1, 1), np.clip(sin * 1.2, -1, 1)
        rim = np.stack([middle[0] + x * radii[0], middle[1] + y * radii[1]], axis=1)
    outside = make_paper(height, width)
    filling = generator.integers(4)
    if filling == 1:
        tone = np.full((height, width), generator.uniform(0.2, 0.8), dtype=np.float32)
        period = float(generator.uniform(3, 7))
        outside = engrave(tone, period=period, angle=0.8, generator=generator)
    elif filling == 2:
        outside[:] = int(generator.integers(0, 200))
    elif filling == 3:
        side = round(min(width, height) * 0.22)
        place_corners(outside, resize(make_motif(generator), side, side), box=(0, 0, width, height))
    for weight, grown in ((2.0, 1.02), (float(generator.uniform(0.6, 5)), 1.0)):
        trace(outside, (rim - middle) * grown + middle, weight=weight, closed=True)
    sheet[top : top + height, left : left + width] = outside
    mask = make_paper(height, width)
    fill(mask, rim)
    return 255 - mask


def draw_stamp(order: Order) -> Furniture:
    """Draw a postage stamp, a bank note or a medal around a portrait."""
    generator = order.generator
    kind = generator.choice(["stamp", "note", "medal"])
    if kind == "medal":
        return _draw_medal(order)
    share = float(np.clip(order.share, 0.2, 0.62))
    aspect = float(np.clip(order.aspect, 0.7, 1.3)) * (1.0 if kind == "stamp" else 1.7)
    height, width = size_sheet(aspect)
    sheet = make_paper(height, width)
    edge = round(min(height, width) * 0.05)
    frame = (edge, edge, width - 2 * edge, height - 2 * edge)
    web = make_guilloche(generator, height=frame[3], width=frame[2])
    if generator.random() < 0.5:
        web = 255 - web
    press(sheet, web, left=edge, top=edge)
    thick = round(min(height, width) * generator.uniform(0.04, 0.08))
    surround(
        sheet, make_repeat(generator), box=frame, thickness=thick, corner=make_motif(generator)
    )
    wide = math.sqrt(share * height * width * min(1.4, order.aspect))
    side = round(min(height, width) * 0.14)
    box_w = min(wide, width * 0.8)
    box_h = min(share * height * width / wide, height - 2 * (edge + side + 6))
    x = (width - box_w) * (0.5 if kind == "stamp" else float(generator.choice([0.15, 0.5, 0.85])))
    window = (round(x), round((height - box_h) / 2), round(box_w), round(box_h))
    mask = cut_opening(sheet, window, generator=generator)
    if mask is None:
        trace(sheet, outline(window, inset=-3), weight=3, closed=True)
    value = str(generator.choice([1, 2, 3, 5, 10, 20, 25, 50, 75, 100]))
    face = choose_face(generator, display=True)
    for y in (edge, height - edge - side):
        for left in (edge, width - edge - side):
            disc = make_ellipse((left + side / 2, y + side / 2), (side / 2, side / 2))
            fill(sheet, disc, tone=255)
            trace(sheet, disc, closed=True)
            write(sheet, value, box=(left + 5, y + 5, side - 10, side - 10), face=face)
        label = (edge + side + 6, y + 2, width - 2 * (edge + side + 6), side - 4)
        fill(sheet, outline(label), tone=255)
        words = make_words(generator, int(generator.integers(1, 4))).upper()
        write(sheet, words, box=label, face=face)
    if kind == "stamp":
        _perforate(sheet, hole=edge * 0.38)
    ink = int(generator.integers(0, 130))
    ground = tint(sheet, paper=int(generator.integers(190, 256)), ink=ink)
    return Furniture(ground=ground, windows=(Window(box=window, mask=mask),))


def _perforate(sheet: Pixels, *, hole: float) -> None:
    height, width = sheet.shape
    for x in np.arange(0, width + hole, hole * 2.9).tolist():
        for y in (0, height - 1):
            fill(sheet, make_ellipse((x, y), (hole, hole)), tone=30)
    for y in np.arange(0, height + hole, hole * 2.9).tolist():
        for x in (0, width - 1):
            fill(sheet, make_ellipse((x, y), (hole, hole)), tone=30)


def _draw_medal(order: Order) -> Furniture:
    """Draw a medal, a coin or a seal: rings of letters and ornament around a portrait."""
    generator, share = order.generator, float(np.clip(order.share, 0.2, 0.6))
    height, width = size_sheet(float(generator.uniform(0.85, 1.15)))
    size = min(height, width) - 20
    inner = math.sqrt(share * height * width / (math.pi / 4)) / size
    inner = min(inner, 0.84)
    thick = round(size / 2 * (1 - inner))
    strip = make_paper(thick, size * 3)
    letters = round(thick * generator.uniform(0.35, 0.7))
    face_strip = make_lettering(generator, length=size * 3, thickness=letters)
    border = repeat(make_repeat(generator), length=size * 3, thickness=max(4, thick - letters - 6))
    outer_first = generator.random() < 0.6
    press(strip, border, left=0, top=0 if outer_first else letters + 4)
    press(strip, face_strip, left=0, top=border.shape[0] + 4 if outer_first else 0)
    ring = wrap(strip, height=size, width=size, thickness=1 - inner)
    for radius in (0.995, inner + 0.01):
        rim = make_ellipse((size / 2, size / 2), (size / 2 * radius, size / 2 * radius))
        trace(ring, rim, weight=2, closed=True)
    sheet = make_paper(height, width)
    left, top = (width - size) // 2, (height - size) // 2
    disc = make_paper(height, width)
    fill(disc, make_ellipse((width / 2, height / 2), (size / 2, size / 2)))
    press(sheet, ring, left=left, top=top)
    metal = int(generator.integers(130, 256))
    ground = tint(sheet, paper=metal, ink=int(generator.integers(0, 100)))
    ground[disc > 128] = int(generator.choice([20, 90, 200, 255]))
    across = round(size * inner)
    box = ((width - across) // 2, (height - across) // 2, across, across)
    mask = make_paper(across, across)
    fill(mask, make_ellipse((across / 2, across / 2), (across / 2 - 1, across / 2 - 1)))
    return Furniture(ground=ground, windows=(Window(box=box, mask=255 - mask),))


_DRAW_FRAME: Final[dict[str, Callable[[Pixels, float, np.random.Generator], None]]] = {
    "bands": _draw_bands,
    "curves": _draw_curves,
    "wood": _carve,
    "pattern": _draw_pattern,
    "wreath": _draw_wreath,
    "panels": _draw_panels,
}
