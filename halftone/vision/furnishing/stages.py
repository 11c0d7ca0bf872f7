"""Draw scenes that are used again with other figures: stages, rooms, open ground, panels."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from halftone.vision.furnishing.ornaments import make_motif, make_repeat, surround
from halftone.vision.furnishing.sheets import (
    Furniture,
    Order,
    change_some,
    print_ground,
    size_sheet,
)
from halftone.vision.furnishing.strokes import (
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
    outline,
    press,
    resize,
    shade,
    swell,
    trace,
    write,
)

_LEGS, _COAT, _SLEEVES, _SKIN, _HAIR = range(1, 6)
_LAYOUTS: Final = ((1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (3, 1), (2, 2))  # columns and rows


def draw_stage(order: Order) -> Furniture:
    """Draw a scene, or panels that repeat it; how many figures there are and where changes."""
    generator = order.generator
    columns, rows = _LAYOUTS[generator.integers(len(_LAYOUTS))]
    height, width = size_sheet(float(generator.uniform(0.8, 1.5)) * columns / rows)
    sheet, gap = make_paper(height, width), 4 if columns * rows == 1 else 8
    foot = 22 if generator.random() < 0.4 else 0
    wide, high = width // columns - 2 * gap, (height - foot) // rows - 2 * gap
    photo = generator.random() < 0.35
    scene = _draw_scene(generator, height=high, width=wide, photo=photo)
    places = [
        (c * (width // columns) + gap, r * ((height - foot) // rows) + gap)
        for r in range(rows)
        for c in range(columns)
    ]
    for left, top in places:
        sheet[top : top + high, left : left + wide] = scene
        trace(sheet, outline((left, top, wide, high)), weight=2, closed=True)
    if foot:
        line = (gap, height - foot, width - 2 * gap, foot - 2)
        words = make_words(generator, int(generator.integers(3, 9))).capitalize()
        write(sheet, words, box=line, face=choose_face(generator))
    count = int(generator.integers(1, 5 if len(places) > 1 else 7))
    tall = min(math.sqrt(order.share * 1.7 * wide * high / count), high * 0.85, wide * 1.2)
    solid = float(generator.uniform(0, 1))

    def mark(pixels: Pixels, number: int, one: np.random.Generator) -> None:
        left, top = places[number // count]
        panel = pixels[top : top + high, left : left + wide]
        x = wide * (number % count + 0.5 + one.uniform(-0.3, 0.3)) / count
        stand = np.array([x, high * one.uniform(0.86, 0.97)])
        size = tall * float(one.uniform(0.85, 1.1))
        _draw_figure(panel, foot=stand, tall=size, solid=solid, photo=photo, generator=one)

    return print_ground(order, sheet, change_some(order, size=count * len(places), mark=mark))


def _draw_scene(generator: np.random.Generator, *, height: int, width: int, photo: bool) -> Pixels:
    """Draw a backdrop and a floor, with what stands and hangs there, as on a stage."""
    cells = float(generator.uniform(3, 8))
    tone = make_noise(generator, (height, width), cells=cells, octaves=4) * 0.5 + 0.5
    floor, v = int(height * generator.uniform(0.55, 0.85)), np.arange(height)[:, None]
    tone = np.where(v > floor, tone * 0.6 + generator.uniform(0, 0.4), tone).astype(np.float32)
    period, angle = float(generator.uniform(3, 6)), float(generator.choice([0, 0, 0.6, 1.57]))
    if photo:
        scene = shade(tone, generator=generator)
    else:
        scene = engrave(tone, period=period, angle=angle, generator=generator)
    for _ in range(generator.integers(1, 8)):
        _place_prop(scene, floor=floor, generator=generator)
    if generator.random() < 0.5:  # boards or flags of the floor
        vanish = np.array([generator.uniform(0.3, 0.7) * width, floor - 0.3 * height])
        for x in np.linspace(-width, 2 * width, int(generator.integers(8, 30))):
            near = np.array([x, height])
            far = near + (vanish - near) * (height - floor) / (height - vanish[1])
            trace(scene, [near, far])
    if generator.random() < 0.4:  # a curtain
        reach = width * generator.uniform(0.1, 0.3)
        for fold in np.linspace(0, 1, 9) * reach:
            hem = [[fold, 0], [fold * 0.8, height * 0.4], [fold * 0.4, height * 0.85]]
            for curve in (bend(hem), bend(hem) * [-1, 1] + [width, 0]):
                swell(scene, curve, weight=float(generator.uniform(3, 14)))
    return scene


def _place_prop(scene: Pixels, *, floor: int, generator: np.random.Generator) -> None:
    """Put up a door, a window, a picture, a screen or a piece of furniture."""
    height, width = scene.shape
    x, y = generator.uniform(0, 0.85) * width, generator.uniform(0, 0.6) * height
    wide = round(generator.uniform(0.08, 0.3) * width)
    high = round(min(generator.uniform(0.1, 0.6) * height, floor - y))
    if high < 10:
        return
    box = (round(x), round(y), wide, high)
    fill(scene, outline(box), tone=int(generator.choice([20, 120, 220, 255])))
    trace(scene, outline(box), weight=2, closed=True)
    kind = generator.choice(["bars", "motif", "border", "plain"])
    if kind == "bars":
        for bar in np.linspace(0.1, 0.9, int(generator.integers(2, 9))) * wide:
            trace(scene, [[x + bar, y], [x + bar, y + high]], weight=1.5)
    elif kind == "motif":
        side = min(wide, high)
        press(scene, resize(make_motif(generator), side, side), left=box[0], top=box[1])
    elif kind == "border":
        thick = max(4, min(wide, high) // 8)
        surround(scene, make_repeat(generator), box=box, thickness=thick, corner=None)


def _draw_figure(
    pixels: Pixels,
    *,
    foot: Floats,
    tall: float,
    solid: float,
    photo: bool,
    generator: np.random.Generator,
) -> None:
    """Draw a person in some pose and dress over what is there."""
    x0, y0 = max(0, round(foot[0] - 0.7 * tall)), max(0, round(foot[1] - 1.12 * tall))
    room = pixels[y0 : round(foot[1] + 6), x0 : round(foot[0] + 0.7 * tall)]
    if min(room.shape) < 12:
        return
    parts = _pose((room.shape[0], room.shape[1]), foot - [x0, y0], tall, generator)
    tones = np.array([0, *generator.uniform(0.1, 1.1, size=3), 1.1, generator.uniform(0, 0.5)])
    folds = make_noise(generator, parts.shape, cells=float(generator.uniform(5, 12))) - 0.5
    tone = (folds * (1.2 * (1 - solid)) + tones[parts]).astype(np.float32)
    edges = cv2.dilate(parts, np.ones((3, 3))) != cv2.erode(parts, np.ones((2, 2)))
    if photo:
        tone = cv2.GaussianBlur(tone, (0, 0), 1.2)
        tone -= 0.3 * cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 2)
        room[parts > 0] = shade(tone * 0.8 + 0.1, generator=generator)[parts > 0]
        return
    period, angle = float(generator.uniform(2.5, 5)), float(generator.uniform(0, 3))
    lines = engrave(tone, period=period, angle=angle, generator=generator)
    room[parts > 0] = lines[parts > 0]
    room[edges] = 0


def _pose(
    shape: tuple[int, int], foot: Floats, tall: float, generator: np.random.Generator
) -> Pixels:
    """Return which part of a person each pixel shows, 0 where there is none."""
    parts = np.zeros(shape, dtype=np.uint8)

    def put(points: Floats, part: int) -> None:
        cv2.fillPoly(parts, [np.round(points).astype(np.int32)], part)

    def put_limb(start: Floats, turn: float, size: tuple[float, float, float], part: int) -> Floats:
        """Draw a limb of a length and two half-widths, all in heights; return its end."""
        along = np.array([math.sin(turn), math.cos(turn)]) * tall
        across = np.array([along[1], -along[0]])
        end: Floats = start + along * size[0]
        a, b = across * size[1], across * size[2]
        put(bend([start - a, end - b, end + b, start + a, start - a], steps=4), part)
        return end

    def put_oval(centre: Floats, radii: tuple[float, float], part: int, turn: float = 0) -> None:
        size = (radii[0] * tall + 0.5, radii[1] * tall + 0.5)
        put(make_ellipse((centre[0], centre[1]), size, turn), part)

    lean = float(generator.normal(0, 0.2))
    up = np.array([-math.sin(lean), -math.cos(lean)]) * tall
    right, down = np.array([tall, 0]), np.array([0, tall])
    hip, side = foot - 0.46 * down, right * 0.075
    neck, stride = hip + up * 0.35, abs(float(generator.normal(0, 0.3)))
    for sign in (-1, 1):
        knee = put_limb(hip + side * 0.5 * sign, sign * stride, (0.24, 0.06, 0.045), _LEGS)
        turn = sign * stride * float(generator.uniform(-0.8, 1))
        ankle = put_limb(knee, turn, (0.22, 0.045, 0.028), _LEGS)
        put_oval(ankle + sign * 0.02 * right, (0.05, 0.02), _HAIR)
    if generator.random() < 0.45:  # a skirt
        low = foot - down * generator.choice([0.0, 0.1])
        out, back = (right * share for share in generator.uniform(0.1, 0.28, size=2))
        put(bend([hip + side, low + out, low - back, hip - side, hip + side], steps=5), _LEGS)
    tails = hip + down * generator.choice([0.0, 0.1, 0.2])
    flare = side * generator.uniform(0.8, 1.6)
    coat = [neck - side, tails - flare, tails + flare, neck + side, neck + up * 0.03]
    put(np.array(coat), _COAT)
    for sign in (-1, 1):
        lift = sign * float(generator.choice([0.2, 0.5, generator.uniform(0.2, 2.7)]))
        shoulder = neck + side * 0.85 * sign - up * 0.03
        elbow = put_limb(shoulder, lift, (0.17, 0.04, 0.034), _SLEEVES)
        fold = lift + sign * float(generator.uniform(-1.8, 1.2))
        wrist = put_limb(elbow, fold, (0.15, 0.034, 0.022), _SLEEVES)
        put_oval(wrist, (0.022, 0.03), _SKIN, -fold)
    head, look = neck + up * 0.1, right * generator.uniform(-0.02, 0.02)
    put_oval(head, (0.048, 0.062), _SKIN, lean)
    put_oval(head - look - 0.03 * down, (0.052, 0.038), _HAIR, lean)
    if generator.random() < 0.5:  # a hat
        brim, crown = right * generator.uniform(0.06, 0.13), down * generator.uniform(0.03, 0.12)
        top, thick = head - 0.04 * down, 0.012 * down
        hat = [top - brim, top + brim, top + brim - thick, top + right * 0.045 - thick]
        hat += [top + right * 0.04 - crown, top - right * 0.04 - crown]
        put(np.array([*hat, top - right * 0.045 - thick, top - brim - thick]), _HAIR)
    for eye in (-0.018, 0.018):
        put_oval(head + look + eye * right, (0.005, 0.005), _HAIR)
    return parts
