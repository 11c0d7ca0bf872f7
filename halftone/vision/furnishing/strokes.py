"""Draw strokes, type and engraved tones: dark on white, in arrays of bytes.

Points are pairs (x, y) in pixels, boxes are (left, top, width, height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]
Box = tuple[int, int, int, int]

_SUBPIXELS: Final = 4  # bits behind the point of OpenCV's coordinates
_PILLOW: Final = -1
_FACES: Final = (
    _PILLOW,
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX | cv2.FONT_ITALIC,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_STYLES: Final = ("plain", "plain", "plain", "outline", "shadow", "reverse")
_SYLLABLES: Final = tuple(
    onset + rhyme
    for onset in [
        "b",
        "c",
        "d",
        "f",
        "g",
        "h",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "t",
        "v",
        "w",
        "st",
        "tr",
        "ch",
        "gr",
        "pl",
        "sh",
    ]
    for rhyme in [
        "a",
        "e",
        "i",
        "o",
        "u",
        "an",
        "en",
        "on",
        "er",
        "al",
        "is",
        "et",
        "ou",
        "ing",
        "ard",
    ]
)
_LINES: Final = 24  # different lines that a block of text is made of


def make_paper(height: int, width: int) -> Pixels:
    """Return a white sheet."""
    return np.full((height, width), 255, dtype=np.uint8)


def trace(
    sheet: Pixels,
    points: ArrayLike,
    *,
    weight: float = 1.0,
    tone: int = 0,
    closed: bool = False,
) -> None:
    """Draw a polyline; weights below one pixel are drawn paler."""
    pale = round(255 - (255 - tone) * min(1.0, weight))
    thickness = max(1, round(weight))
    cv2.polylines(sheet, [_fix(points)], closed, pale, thickness, cv2.LINE_AA, _SUBPIXELS)


def fill(sheet: Pixels, points: ArrayLike, *, tone: int = 0) -> None:
    """Fill a polygon."""
    cv2.fillPoly(sheet, [_fix(points)], tone, cv2.LINE_AA, _SUBPIXELS)


def _fix(points: ArrayLike) -> NDArray[np.int32]:
    scaled = np.round(np.asarray(points, dtype=np.float64) * (1 << _SUBPIXELS))
    return scaled.astype(np.int32).reshape(-1, 1, 2)


def outline(box: Box, *, inset: float = 0.0) -> Floats:
    """Return the four corners of a box, moved inwards by `inset`."""
    left, top, width, height = box
    right, bottom = left + width - inset, top + height - inset
    left_in, top_in = left + inset, top + inset
    return np.array([[left_in, top_in], [right, top_in], [right, bottom], [left_in, bottom]])


def make_ellipse(
    centre: tuple[float, float], radii: tuple[float, float], turn: float = 0
) -> Floats:
    """Return the points of an ellipse that is turned by `turn` radians."""
    angle = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1)


def bend(points: ArrayLike, *, steps: int = 10) -> Floats:
    """Return a smooth curve through the points (Catmull and Rom)."""
    p = np.asarray(points, dtype=np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def swell(sheet: Pixels, points: Floats, *, weight: float, tone: int = 0) -> None:
    """Draw a stroke that is `weight` wide in its middle and thin at its ends, as a pen does."""
    run = np.gradient(points, axis=0)
    normal = np.stack([-run[:, 1], run[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    half = 0.35 + weight / 2 * np.sin(np.linspace(0, math.pi, len(points)))[:, None]
    fill(sheet, np.concatenate([points + normal * half, (points - normal * half)[::-1]]), tone=tone)


def press(sheet: Pixels, stamp: Pixels, *, left: int, top: int) -> None:
    """Print a dark drawing onto the sheet; what reaches over the edges is cut off."""
    low_x, low_y = max(0, left), max(0, top)
    high_x = min(sheet.shape[1], left + stamp.shape[1])
    high_y = min(sheet.shape[0], top + stamp.shape[0])
    if low_x < high_x and low_y < high_y:
        part = sheet[low_y:high_y, low_x:high_x]
        np.minimum(part, stamp[low_y - top : high_y - top, low_x - left : high_x - left], out=part)


def resize(pixels: Pixels, width: float, height: float) -> Pixels:
    """Return the drawing in another size, at least one pixel."""
    size = (max(1, round(width)), max(1, round(height)))
    shrinks = size[0] * size[1] < pixels.size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8)


def tint(sheet: Pixels, *, paper: int, ink: int) -> Pixels:
    """Return the sheet with white as `paper` and black as `ink`."""
    ramp = np.round(np.linspace(ink, paper, 256)).astype(np.uint8)
    return np.asarray(ramp[sheet], dtype=np.uint8)


def make_noise(
    generator: np.random.Generator, shape: tuple[int, int], *, cells: float, octaves: int = 3
) -> Floats:
    """Return a smooth random field, 0 to 1, with `cells` hills along its longer side."""
    total: Floats = np.zeros((1, 1), dtype=np.float32)
    for octave in range(octaves):
        step = max(shape) / (cells * 2**octave)
        grid = (math.ceil(shape[0] / step) + 2, math.ceil(shape[1] / step) + 2)
        values = generator.normal(0, 0.5**octave, size=grid).astype(np.float32)
        total = values + cv2.resize(total, grid[::-1], interpolation=cv2.INTER_CUBIC)
    total = (total - total.min()) / max(float(np.ptp(total)), 1e-6)
    full = cv2.resize(total, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(full, 0, 1), dtype=np.float32)


def engrave(
    tone: Floats, *, period: float, angle: float, generator: np.random.Generator, wave: float = 2.0
) -> Pixels:
    """Turn tones, 0 for black and 1 for white, into parallel lines that swell in the dark."""
    height, width = tone.shape
    turns = 2 * math.pi / period
    v = np.arange(height, dtype=np.float32)[:, None] * np.float32(math.cos(angle) * turns)
    u = np.arange(width, dtype=np.float32)[None, :] * np.float32(math.sin(angle) * turns)
    phase = u + v
    if wave:
        phase += make_noise(generator, (height, width), cells=4, octaves=1) * np.float32(wave)
    inked = np.cos(phase) * np.float32(0.5 * period)
    inked -= tone * np.float32(period)
    inked += np.float32(0.5 * period + 0.5)
    return np.asarray(255 - 255 * np.clip(inked, 0, 1), dtype=np.uint8)


def shade(tone: Floats, *, generator: np.random.Generator) -> Pixels:
    """Turn tones, 0 for black and 1 for white, into those of a photograph, with some texture."""
    grain = make_noise(generator, (tone.shape[0], tone.shape[1]), cells=70, octaves=2) - 0.5
    return np.asarray(np.clip(tone + 0.35 * grain, 0, 1) * 255, dtype=np.uint8)


def engrave_by_hand(sheet: Pixels, *, generator: np.random.Generator) -> Pixels:
    """Return a drawing whose lines waver and swell a little, so that no two of its parts repeat."""
    height, width = sheet.shape
    cells, reach = float(generator.uniform(12, 40)), float(generator.uniform(1, 5))
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    u += (make_noise(generator, (height, width), cells=cells) - 0.5) * np.float32(2 * reach)
    v += (make_noise(generator, (height, width), cells=cells) - 0.5) * np.float32(2 * reach)
    moved = cv2.remap(sheet, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    worn = make_noise(generator, (height, width), cells=90, octaves=2) - np.float32(0.5)
    soft = cv2.blur(moved, (3, 3)).astype(np.float32) + worn * np.float32(generator.uniform(0, 260))
    return np.asarray(np.clip((soft - 90) * 3, 0, 255), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Face:
    """How a line of type looks.

    Attributes:
        font: One of OpenCV's fonts, or that of Pillow.
        weight: Thickness of its strokes as a share of the height.
        stretch: Width over the usual one.
        style: "plain", "outline", "shadow" or "reverse" (white on black).
    """

    font: int
    weight: float
    stretch: float = 1.0
    style: str = "plain"


def choose_face(generator: np.random.Generator, *, display: bool = False) -> Face:
    """Choose a typeface; for display, that of a head or an advert."""
    if not display:  # Pillow's takes milliseconds a line
        font = int(generator.choice(_FACES[1:]))
        return Face(font=font, weight=float(generator.uniform(0.03, 0.1)))
    return Face(
        font=int(generator.choice(_FACES)),
        weight=float(generator.uniform(0.05, 0.22)),
        stretch=float(generator.uniform(0.6, 1.5)),
        style=str(generator.choice(_STYLES)),
    )


def make_words(generator: np.random.Generator, count: int) -> str:
    """Return words that can be pronounced and mean nothing."""
    words = []
    for first, second, third, size in generator.integers(1 << 16, size=(count, 4)).tolist():
        syllables = (_SYLLABLES[number % len(_SYLLABLES)] for number in (first, second, third))
        words.append("".join(syllables)[: 2 + size % 8])
    return " ".join(words)


def set_line(text: str, *, height: float, face: Face) -> Pixels:
    """Return a line of type, dark on white, whose capitals are `height` pixels high."""
    if face.font == _PILLOW:
        font = ImageFont.load_default(size=max(6.0, height * 1.35))
        box = font.getbbox(text or " ")
        page = Image.new("L", (round(box[2]) + 4, round(height * 1.9) + 4), 255)
        bold = round(face.weight * height / 3)
        ImageDraw.Draw(page).text((2, 0), text, fill=0, font=font, stroke_width=bold)
        line = np.array(page)
    else:
        (_, tall), _ = cv2.getTextSize("H", face.font, 1.0, 1)
        scale, thick = height / tall, max(1, round(face.weight * height))
        (width, _), _ = cv2.getTextSize(text, face.font, scale, thick)
        line = make_paper(round(height * 1.9) + 4, width + 4)
        place = (2, round(height * 1.35) + 2)
        cv2.putText(line, text, place, face.font, scale, 0, thick, cv2.LINE_AA)
    if face.stretch != 1:
        line = resize(line, line.shape[1] * face.stretch, line.shape[0])
    if face.style == "outline":
        fat = cv2.erode(line, np.ones((3, 3), np.uint8))
        line = np.asarray(255 - cv2.absdiff(np.asarray(fat, dtype=np.uint8), line), dtype=np.uint8)
    elif face.style == "shadow":
        line = np.minimum(line, 110 + np.roll(line, (2, 2), (0, 1)) // 255 * 145).astype(np.uint8)
    elif face.style == "reverse":
        line = np.asarray(255 - line, dtype=np.uint8)
    return line


def write(
    sheet: Pixels,
    text: str,
    *,
    box: Box,
    face: Face,
    align: float = 0.5,
    height: float | None = None,
    halo: int = 0,
) -> None:
    """Print a line of type into a box, as high as the box or `height`, narrowed if it is too long.

    `align` says where it stands, from 0, on the left, to 1; `halo` is how many pixels around the
    letters are left white on a printed ground.
    """
    left, top, width, high = box
    if width < 8 or high < 4 or not text:
        return
    line = set_line(text, height=(height or high) / 1.9, face=face)
    line = resize(line, min(width, line.shape[1]), min(high, line.shape[0]))
    slack_x, slack_y = width - line.shape[1], high - line.shape[0]
    left, top = left + round(slack_x * align), top + slack_y // 2
    place = sheet[top : top + line.shape[0], left : left + line.shape[1]]
    if halo and place.shape == line.shape:
        around = cv2.erode(line, np.ones((2 * halo + 1, 2 * halo + 1), np.uint8))
        place[around < 128] = 255
    press(sheet, line, left=left, top=top)


def set_text(
    sheet: Pixels, *, box: Box, size: float, generator: np.random.Generator, face: Face
) -> None:
    """Fill a box with lines of text, each `size` pixels high, in paragraphs."""
    left, top, width, height = box
    rows = int(height / size)
    lines: list[Pixels] = []
    for row in range(rows):
        indent = round(size * 1.5) if generator.random() < 0.12 else 0
        room = round((width - indent) * (generator.uniform(0.3, 0.9) if indent else 1))
        if len(lines) < min(rows, _LINES):
            words = make_words(generator, 3 + round(2 * width / size / 3))
            lines.append(set_line(words, height=size / 1.9, face=face))
        line = lines[generator.integers(len(lines))]
        start = int(generator.integers(0, max(1, line.shape[1] - room)))
        part = line[: round(size), start : start + room]
        press(sheet, part, left=left + indent, top=round(top + row * size))
