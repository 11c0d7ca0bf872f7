"""Draw ornaments: motifs, what repeats along borders, rings, emblems; dark on white."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from halftone.vision.furnishing.strokes import (
    Box,
    Face,
    Floats,
    Pixels,
    bend,
    choose_face,
    engrave,
    fill,
    make_ellipse,
    make_noise,
    make_paper,
    make_words,
    press,
    resize,
    set_line,
    swell,
    trace,
    write,
)

_TILE: Final = 72  # pixels that a motif is drawn at before it is fitted to its border


def make_motif(generator: np.random.Generator) -> Pixels:
    """Return a square ornament: a rosette, a fleuron of mirrored strokes or a geometric figure."""
    tile, middle = make_paper(_TILE, _TILE), (_TILE / 2, _TILE / 2)
    kind = generator.integers(3)
    if kind == 0:
        angle = np.linspace(0, 2 * math.pi, 120, endpoint=False)
        petals, radius, tone = int(generator.integers(3, 9)), 0.47 * _TILE, 0
        for _ in range(generator.integers(2, 5)):
            depth, sharp = generator.uniform(0.1, 0.45), generator.uniform(-0.2, 0.2)
            ripple = 1 - depth + depth * np.cos(petals * angle) + sharp * np.cos(2 * petals * angle)
            r = radius * ripple / ripple.max()
            fill(tile, np.stack([np.cos(angle) * r, np.sin(angle) * r], axis=1) + middle, tone=tone)
            radius, tone = radius * generator.uniform(0.45, 0.85), 255 - tone
    elif kind == 1:
        for _ in range(generator.integers(2, 5)):
            points = generator.uniform(0.03, 0.97, size=(int(generator.integers(3, 6)), 2)) * _TILE
            swell(tile, bend(points), weight=float(generator.uniform(3, 12)))
        for x, y in generator.uniform(0.1, 0.9, size=(int(generator.integers(0, 4)), 2)) * _TILE:
            radius = float(generator.uniform(2, 7))
            fill(tile, make_ellipse((x, y), (radius, radius)))
        tile = np.minimum(tile, tile[:, ::-1])
        if generator.random() < 0.5:
            tile = np.minimum(tile, tile[::-1])
        if generator.random() < 0.4:
            tile = np.minimum(tile, tile.T)
    else:
        radius, tone = 0.48 * _TILE, 0
        for _ in range(generator.integers(2, 6)):
            sides = int(generator.choice([3, 4, 4, 6, 8, 40]))
            angle = np.arange(sides) * 2 * math.pi / sides + generator.choice([0, math.pi / sides])
            figure = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + middle
            if generator.random() < 0.6:
                fill(tile, figure, tone=tone)
                tone = 255 - tone
            else:
                trace(tile, figure, weight=3, tone=tone, closed=True)
            radius *= generator.uniform(0.5, 0.85)
    return tile


def make_repeat(generator: np.random.Generator) -> Pixels:
    """Return a tile that continues itself to the left and right: what a border repeats."""
    kind = generator.integers(6)
    if kind < 2:
        tile = make_motif(generator)
        return np.concatenate([tile, tile[::-1]], axis=1) if generator.random() < 0.3 else tile
    width = round(_TILE * generator.uniform(0.8, 2.5))
    tile, x = make_paper(_TILE, width), np.linspace(0, width, 60)
    swing = 2 * math.pi * x / width
    if kind == 2:  # a vine with leaves
        depth = generator.uniform(0.15, 0.3) * _TILE
        stem = np.stack([x, _TILE / 2 + depth * np.sin(swing)], axis=1)
        trace(tile, stem, weight=float(generator.uniform(2, 5)))
        for _ in range(generator.integers(2, 7)):
            foot = stem[generator.integers(60)]
            reach = generator.uniform(0.2, 0.45) * _TILE
            radii = (reach / 2, reach * generator.uniform(0.12, 0.3))
            turn = float(generator.uniform(0, 2 * math.pi))
            centre = (foot[0] + math.cos(turn) * reach / 2, foot[1] + math.sin(turn) * reach / 2)
            for shift in (-width, 0, width):
                leaf = make_ellipse((centre[0] + shift, centre[1]), radii, turn)
                (fill if turn < 4 else trace)(tile, leaf)
    elif kind == 3:  # a key, as the Greeks had it
        key = [
            [0, 0.85],
            [0, 0.15],
            [0.75, 0.15],
            [0.75, 0.62],
            [0.3, 0.62],
            [0.3, 0.4],
            [0.5, 0.4],
        ]
        weight = float(generator.uniform(4, 9))
        trace(tile, np.array(key) * [width, _TILE], weight=weight)
        trace(tile, [[0, 0.85 * _TILE], [width, 0.85 * _TILE]], weight=weight)
    elif kind == 4:  # a rope or waves
        for shift in range(-3, 4):
            slant = (generator.uniform(0.3, 0.31) + shift / 3) * width
            strand = np.stack([slant + np.linspace(0, 0.5, 30) * width, np.linspace(0, 72, 30)], 1)
            strand[:, 0] += 0.1 * width * np.sin(np.linspace(0, 2 * math.pi, 30))
            swell(tile, strand, weight=0.2 * width)
    else:  # scrolls
        turns, reach = generator.uniform(1.2, 2.5), 0.45 * min(width, _TILE)
        angle = np.linspace(0, turns * 2 * math.pi, 80)
        r = reach * (1 - angle / angle[-1] * 0.9)
        scroll = np.stack([width / 2 + np.cos(angle) * r, _TILE / 2 + np.sin(angle) * r], axis=1)
        trace(tile, scroll, weight=float(generator.uniform(2, 6)))
        trace(tile, [[0, _TILE / 2], [width, _TILE / 2]], weight=float(generator.uniform(1, 4)))
    return tile


def repeat(tile: Pixels, *, length: int, thickness: int) -> Pixels:
    """Return a strip of `length` by `thickness` pixels that repeats the tile without a cut."""
    count = max(1, round(length / (tile.shape[1] * thickness / tile.shape[0])))
    small = resize(tile, length / count, thickness)
    strip = np.concatenate([small] * count, axis=1)
    return strip if strip.shape[1] == length else resize(strip, length, thickness)


def surround(
    sheet: Pixels, tile: Pixels, *, box: Box, thickness: int, corner: Pixels | None
) -> None:
    """Repeat a tile along the four sides of a box, inside of it, with a motif in the corners."""
    left, top, width, height = box
    inner_x, inner_y = width - 2 * thickness, height - 2 * thickness
    if thickness < 3 or min(inner_x, inner_y) < thickness:
        return
    across = repeat(tile, length=inner_x, thickness=thickness)
    down = repeat(tile, length=inner_y, thickness=thickness)
    right, bottom = left + width - thickness, top + height - thickness
    press(sheet, across, left=left + thickness, top=top)
    press(sheet, across[::-1], left=left + thickness, top=bottom)
    press(sheet, np.rot90(down, 1), left=left, top=top + thickness)
    press(sheet, np.rot90(down, -1), left=right, top=top + thickness)
    piece = resize(tile if corner is None else corner, thickness, thickness)
    place_corners(sheet, piece, box=box)


def place_corners(sheet: Pixels, piece: Pixels, *, box: Box) -> None:
    """Print a square piece, turned, into the four corners of a box."""
    side, (left, top, width, height) = piece.shape[0], box
    right, bottom = left + width - side, top + height - side
    for turn, (x, y) in enumerate([(left, top), (left, bottom), (right, bottom), (right, top)]):
        press(sheet, np.ascontiguousarray(np.rot90(piece, turn)), left=x, top=y)


def wrap(strip: Pixels, *, height: int, width: int, thickness: float) -> Pixels:
    """Return an elliptical ring that fills `height` by `width` pixels, the strip bent around it.

    `thickness` is a share of the radius. The strip's upper edge is on the outside.
    """
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    depth = (1 - np.hypot(u, v)) / np.float32(thickness)
    along = (np.arctan2(u, -v) / np.float32(2 * math.pi) + np.float32(0.5)) % 1
    x = along * np.float32(strip.shape[1] - 1)
    y = depth * np.float32(strip.shape[0] - 1)
    ring = cv2.remap(strip, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
    return np.asarray(ring, dtype=np.uint8)


def make_lettering(generator: np.random.Generator, *, length: int, thickness: int) -> Pixels:
    """Return a strip of capitals to be bent around a ring; its seam lies at the bottom."""
    strip, words = make_paper(thickness, length), int(generator.integers(3, 9))
    text = f"* {make_words(generator, words)} {generator.integers(1700, 1960)} *".upper()
    face = choose_face(generator)
    write(strip, text, box=(0, 0, length, thickness), face=face, height=thickness * 1.3)
    return strip


def make_guilloche(generator: np.random.Generator, *, height: int, width: int) -> Pixels:
    """Return the web of fine lines of bank notes and bonds."""
    web, x = make_paper(height, width), np.linspace(0, width, 160)
    for _ in range(generator.integers(1, 4)):
        first, second = generator.integers(2, 12, size=2)
        sweep, slope = generator.uniform(0.1, 0.4), generator.uniform(0.3, 1.5)
        for phase in np.linspace(0, 2 * math.pi, int(generator.integers(6, 20)), endpoint=False):
            wave = np.sin(2 * math.pi * first * x / width + phase)
            wave = wave * (1 - sweep) + sweep * np.cos(2 * math.pi * second * x / width - phase)
            y = height / 2 * (1 + wave * slope / (1 + slope))
            trace(web, np.stack([x, y], axis=1), weight=float(generator.uniform(0.5, 0.9)))
    return web


def draw_whiplash(sheet: Pixels, *, box: Box, generator: np.random.Generator, reach: float) -> None:
    """Draw long curves from the corners of a box along its sides, as about 1900, mirrored.

    `reach` is how far they swing into the box, in pixels.
    """
    left, top, width, height = box
    half = make_paper(height, width)
    for _ in range(generator.integers(4, 11)):
        down = generator.random() < 0.5
        long = (height if down else width) * generator.uniform(0.3, 0.95)
        steps = np.linspace(0, long, int(generator.integers(4, 8)))
        swings = np.abs(generator.normal(0.4, 0.3, size=len(steps))) * reach
        points = np.stack([swings, steps] if down else [steps, swings], axis=1)
        if generator.random() < 0.5:
            points[:, 1] = height - points[:, 1]
        curve = bend(points)
        swell(half, curve, weight=float(generator.uniform(1.5, 0.25 * reach + 2)))
        if generator.random() < 0.7:
            bloom = resize(make_motif(generator), reach * 0.6, reach * 0.6)
            x, y = curve[-1] - reach * 0.3
            press(half, bloom, left=round(x), top=round(y))
    press(sheet, np.minimum(half, half[:, ::-1]), left=left, top=top)


def make_emblem(generator: np.random.Generator, *, size: int) -> Pixels:
    """Return a crest or a medallion with a wreath, a ring or rays around, perhaps a ribbon."""
    emblem, middle = make_paper(size, size), (size / 2, size / 2)
    kind = generator.choice(["rays", "wreath", "letters", "ornament"])
    angles = np.linspace(0, 2 * math.pi, int(generator.integers(20, 60)), endpoint=False)
    if kind == "rays":
        for angle in angles:
            ray = np.array([[math.cos(angle), math.sin(angle)]])
            ray = ray * [[0.5], [generator.uniform(0.85, 1)]] * size / 2 + middle
            trace(emblem, ray, weight=size / 150)
    elif kind == "wreath":
        turn, radii = float(generator.uniform(0.2, 1.2)), (size / 14, size / 36)
        for angle in angles:
            reach = size * generator.uniform(0.38, 0.42)
            leaf = (middle[0] + math.cos(angle) * reach, middle[1] + math.sin(angle) * reach)
            fill(emblem, make_ellipse(leaf, radii, float(angle) + turn))
    else:
        long, thick = round(size * 2.6), max(8, size // 9)
        if kind == "letters":
            strip = make_lettering(generator, length=long, thickness=thick)
        else:
            strip = repeat(make_repeat(generator), length=long, thickness=thick)
        press(emblem, wrap(strip, height=size, width=size, thickness=0.24), left=0, top=0)
        trace(emblem, make_ellipse(middle, (size * 0.49, size * 0.49)), closed=True, weight=2)
    _draw_shield(emblem, generator=generator)
    if generator.random() < 0.5:
        box = (round(size * 0.1), round(size * 0.78), round(size * 0.8), round(size * 0.15))
        fill(emblem, _make_ribbon(box), tone=255)
        trace(emblem, _make_ribbon(box), weight=1.5, closed=True)
        words, face = make_words(generator, 3).upper(), choose_face(generator)
        write(emblem, words, box=box, face=face, height=box[3] * 0.9)
    return emblem


def _draw_shield(emblem: Pixels, *, generator: np.random.Generator) -> None:
    """Draw a shield, a disc or a crowd of motifs into the middle of an emblem."""
    size = emblem.shape[0]
    middle, radii = np.array([size, size]) / 2, size * generator.uniform(0.2, 0.3, size=2)
    form = generator.choice(["shield", "disc", "motif", "motifs"])
    charges = 1 if form in {"shield", "disc", "motif"} else int(generator.integers(3, 8))
    side = [(1.0, -1.0), (1.0, 0.1), (0.6, 0.7), (0.0, 1.0)]
    rim = bend([(-x, y) for x, y in side] + side[-2::-1]) * radii + middle
    if form == "disc":
        rim = make_ellipse((size / 2, size / 2), (float(radii[0]), float(radii[1])))
    if form in {"shield", "disc"}:
        field = make_noise(generator, (size, size), cells=5)
        angle, period = float(generator.uniform(0, 3)), max(3.0, size / 60)
        lines = engrave(field, period=period, angle=angle, generator=generator)
        mask = make_paper(size, size)
        fill(mask, rim)
        emblem[mask < 128] = np.maximum(lines, 100)[mask < 128]
        trace(emblem, rim, weight=max(2, size / 80), closed=True)
    for charge in range(charges):
        turn = 2 * math.pi * charge / charges
        across = (
            float(min(radii)) * (1.4 if charges == 1 else 0.8) * (1.4 if form == "motif" else 1)
        )
        far = 0.0 if charges == 1 else float(min(radii)) * 0.8
        drawing = resize(make_motif(generator), across, across)
        x, y = middle + far * np.array([math.cos(turn), math.sin(turn)]) - across / 2
        press(emblem, drawing, left=round(float(x)), top=round(float(y)))


def _make_ribbon(box: Box) -> Floats:
    left, top, width, height = box
    x = np.linspace(left, left + width, 30)
    y = top + 0.25 * height * np.sin(np.linspace(0, math.pi, 30))
    upper = np.stack([x, y], axis=1)
    lower = np.stack([x, y + height * 0.9], axis=1)
    return np.concatenate([upper, lower[::-1]])


def draw_postmark(sheet: Pixels, *, centre: tuple[int, int], radius: int, text: str) -> None:
    """Print a round cancellation or library stamp with its text around."""
    strip = make_paper(max(8, radius // 2), radius * 6)
    line = set_line(text.upper(), height=strip.shape[0] / 2.2, face=Face(font=0, weight=0.1))
    press(strip, resize(line, strip.shape[1] * 0.9, strip.shape[0]), left=radius // 3, top=0)
    ring = wrap(strip, height=2 * radius, width=2 * radius, thickness=0.4)
    for share in (0.99, 0.6):
        trace(ring, make_ellipse((radius, radius), (radius * share, radius * share)), closed=True)
    press(sheet, ring, left=centre[0] - radius, top=centre[1] - radius)
