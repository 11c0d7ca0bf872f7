"""Draw on sheets: lines that swell, patterns along borders, and type, all with smooth edges.

Positions are in pixels of the finished sheet, from its upper left corner. Everything is drawn at
twice the size and reduced at the end.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]

PAPER: Final = 246
INK: Final = 26
_FINE: Final = 2
_SHIFT: Final = 4  # bits behind the point in OpenCV's coordinates
FACES: Final = {
    "roman": "STIXGeneral",
    "bold": "STIXGeneralBol",
    "italic": "STIXGeneralItalic",
    "slab": "DejaVuSerif-Bold",
    "slab-italic": "DejaVuSerif-BoldItalic",
    "sans": "DejaVuSans",
    "sans-bold": "DejaVuSans-Bold",
    "typewriter": "cmtt10",
    "fraktur": "STIXGeneralBol",
}
"""Typefaces by what they are for; the files come with Matplotlib."""
_FRAKTUR: Final = 0x1D56C  # bold Fraktur A, among the mathematical letters


class Box(NamedTuple):
    """A rectangle on a sheet, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Return the width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return the height."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Return the area."""
        return self.width * self.height

    @property
    def middle(self) -> tuple[float, float]:
        """Return x and y of the centre."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def shrink(self, by: float, down: float | None = None) -> Box:
        """Return the rectangle with its sides moved inwards by `by`, upper and lower by `down`."""
        high = by if down is None else down
        return Box(self.left + by, self.top + high, self.right - by, self.bottom - high)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A place for a picture on a sheet.

    Attributes:
        box: Where the picture goes.
        oval: Whether only the oval inside the box shows it.
    """

    box: Box
    oval: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """A place for words that change from sheet to sheet.

    Attributes:
        box: Where the words go.
        face: One of `FACES`, or "hand" for handwriting.
        lines: The number of lines.
        tone: The tone of the letters.
    """

    box: Box
    face: str
    lines: int = 1
    tone: int = INK


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A sheet of furniture without what changes from sheet to sheet.

    Attributes:
        pixels: uint8 [H, W].
        windows: Where its pictures go.
        fields: Where words go that change.
    """

    pixels: Grey
    windows: tuple[Window, ...] = ()
    fields: tuple[Field, ...] = ()


class Canvas:
    """A sheet that is being drawn."""

    def __init__(self, width: int, height: int, *, tone: int = PAPER) -> None:
        """Create an empty sheet of one tone."""
        self.width, self.height = width, height
        self._pixels = np.full((height * _FINE, width * _FINE), tone, dtype=np.uint8)

    @classmethod
    def over(cls, pixels: Grey) -> Canvas:
        """Create a sheet that shows `pixels`, uint8 [H, W]."""
        canvas = cls(pixels.shape[1], pixels.shape[0])
        size = (canvas.width * _FINE, canvas.height * _FINE)
        canvas._pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        return canvas

    @property
    def box(self) -> Box:
        """Return the rectangle of the whole sheet."""
        return Box(0, 0, self.width, self.height)

    def finish(self) -> Grey:
        """Return the sheet, uint8 [H, W]."""
        size = (self.width, self.height)
        return cv2.resize(self._pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)

    def line(
        self, points: Points | Sequence[tuple[float, float]], *, width: float = 1, tone: int = INK
    ) -> None:
        """Draw a line through points [K, 2]."""
        thickness = max(1, round(width * _FINE))
        cv2.polylines(
            self._pixels,
            [_fixed(points)],
            isClosed=False,
            color=tone,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )

    def swell(self, points: Points, *, widths: Sequence[float] | Points, tone: int = INK) -> None:
        """Draw a line whose width changes from point to point, as a graver cuts it."""
        ahead = np.gradient(points, axis=0)
        ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
        across = np.column_stack([-ahead[:, 1], ahead[:, 0]]) * np.asarray(widths)[:, None] / 2
        self.fill(np.concatenate([points + across, (points - across)[::-1]]), tone=tone)

    def fill(self, points: Points | Sequence[tuple[float, float]], *, tone: int = INK) -> None:
        """Fill a polygon [K, 2]."""
        cv2.fillPoly(self._pixels, [_fixed(points)], tone, cv2.LINE_AA, _SHIFT)

    def wedges(self, feet: Points, tips: Points, *, width: float, tone: int = INK) -> None:
        """Draw many short strokes that taper from feet [K, 2] to tips [K, 2]."""
        ahead = tips - feet
        across = np.column_stack([-ahead[:, 1], ahead[:, 0]])
        across *= width / 2 / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
        triangles = np.stack([feet + across, feet - across, tips], axis=1)
        cv2.fillPoly(self._pixels, [_fixed(one) for one in triangles], tone, cv2.LINE_AA, _SHIFT)

    def rectangle(self, box: Box, *, tone: int = INK, width: float | None = None) -> None:
        """Draw a rectangle, filled unless a width of its line is given."""
        corners = [
            (box.left, box.top),
            (box.right, box.top),
            (box.right, box.bottom),
            (box.left, box.bottom),
        ]
        if width is None:
            self.fill(corners, tone=tone)
        else:
            self.line([*corners, corners[0]], width=width, tone=tone)

    def circle(
        self,
        centre: tuple[float, float],
        radius: float,
        *,
        tone: int = INK,
        width: float | None = None,
    ) -> None:
        """Draw a circle, filled unless a width of its line is given."""
        points = ring(centre, radius)
        if width is None:
            self.fill(points, tone=tone)
        else:
            self.line(points, width=width, tone=tone)

    def hatch(
        self, box: Box, *, step: float, angle: float, width: float = 0.8, tone: int = INK
    ) -> None:
        """Fill a rectangle with parallel lines, `step` apart, at `angle` degrees."""
        turn = np.deg2rad(angle)
        ahead, across = (
            np.array([np.cos(turn), np.sin(turn)]),
            np.array([-np.sin(turn), np.cos(turn)]),
        )
        reach = (box.width + box.height) / 2
        part = self.part(box)
        for offset in np.arange(-reach, reach, step):
            ends = np.array(box.middle) + offset * across + reach * np.array([[-1], [1]]) * ahead
            part.line(ends - (box.left, box.top), width=width, tone=tone)

    def part(self, box: Box) -> Canvas:
        """Return a canvas that draws into a rectangle of this one and not beyond."""
        left, top, right, bottom = (round(side) for side in box)
        canvas = Canvas(0, 0)
        canvas.width, canvas.height = right - left, bottom - top
        canvas._pixels = self._pixels[
            max(top, 0) * _FINE : bottom * _FINE, max(left, 0) * _FINE : right * _FINE
        ]
        return canvas

    def multiply(self, shade: NDArray[np.float64] | NDArray[np.float32]) -> None:
        """Darken the sheet by float [H, W] of 0 to 1."""
        size = (self._pixels.shape[1], self._pixels.shape[0])
        large = cv2.resize(shade.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        self._pixels[:] = (self._pixels * large).clip(0, 255).astype(np.uint8)

    def blend(self, mask: NDArray[np.float32] | Grey, *, tone: int) -> None:
        """Ink the sheet where a mask [H, W] is set: 0 not at all, 255 wholly."""
        size = (self._pixels.shape[1], self._pixels.shape[0])
        large = cv2.resize(np.asarray(mask, np.float32), size, interpolation=cv2.INTER_LINEAR) / 255
        self._pixels[:] = (self._pixels * (1 - large) + tone * large).astype(np.uint8)

    def write(
        self,
        text: str,
        *,
        x: float,
        y: float,
        size: float,
        face: str = "roman",
        tone: int = INK,
        anchor: str = "ls",
        turn: bool = False,
    ) -> None:
        """Set a line of type.

        Args:
            text: The line.
            x: Where its anchor is.
            y: Where its anchor is.
            size: Size of the type, in pixels.
            face: One of `FACES`.
            tone: The tone of the letters.
            anchor: Which point of the line x and y are, as Pillow names it: `ls` is the left end
                of the baseline, `ms` its middle, `mm` the centre.
            turn: Whether the line runs upwards.
        """
        font = _font(face, round(size * _FINE))
        shown = _spell(text, face=face)
        box = font.getbbox(shown, anchor=anchor)
        left, top = int(np.floor(box[0])) - 2, int(np.floor(box[1])) - 2
        wide, high = int(np.ceil(box[2])) + 2 - left, int(np.ceil(box[3])) + 2 - top
        letters = Image.new("L", (max(1, wide), max(1, high)))
        ImageDraw.Draw(letters).text((-left, -top), shown, fill=255, font=font, anchor=anchor)
        mask = np.asarray(letters)
        if turn:
            mask, (left, top) = np.rot90(mask), (top, -left - wide)
        self._ink(mask, left=round(x * _FINE) + left, top=round(y * _FINE) + top, tone=tone)

    def write_in(
        self,
        text: str,
        *,
        box: Box,
        face: str = "roman",
        tone: int = INK,
        align: str = "m",
    ) -> None:
        """Set a line of type as large as a rectangle allows; `align` is l, m or r."""
        size = box.height
        wide = measure(text, size=size, face=face)
        size = min(size, size * box.width / max(wide, 1))
        x = {"l": box.left, "m": box.middle[0], "r": box.right}[align]
        self.write(text, x=x, y=box.middle[1], size=size, face=face, tone=tone, anchor=f"{align}m")

    def _ink(self, mask: Grey, *, left: int, top: int, tone: int) -> None:
        high, wide = self._pixels.shape
        right, bottom = left + mask.shape[1], top + mask.shape[0]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, wide), min(bottom, high)
        if x0 >= x1 or y0 >= y1:
            return
        share = mask[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32) / 255
        under = self._pixels[y0:y1, x0:x1]
        under[:] = (under * (1 - share) + tone * share).round().astype(np.uint8)


def measure(text: str, *, size: float, face: str) -> float:
    """Return the width of a line of type, in pixels."""
    return float(_font(face, round(size * _FINE)).getlength(_spell(text, face=face))) / _FINE


def ring(centre: tuple[float, float], radius: float, *, count: int = 64) -> Points:
    """Return the points of a circle, [count + 1, 2], the first one again at the end."""
    turn = np.linspace(0, 2 * np.pi, count + 1)
    return np.column_stack([centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)])


def spiral(
    centre: tuple[float, float], radius: float, *, turns: float, start: float, way: int = 1
) -> Points:
    """Return the points of a spiral, [K, 2], from the outside to the centre.

    Args:
        centre: x and y of its end.
        radius: Distance of its beginning from the centre.
        turns: The number of turns.
        start: Angle of its beginning, in radians.
        way: 1 turns clockwise, -1 the other way.
    """
    share = np.linspace(0, 1, max(12, round(24 * turns)))
    angle = start + way * share * turns * 2 * np.pi
    reach = radius * (1 - share) ** 0.8
    return np.column_stack([centre[0] + reach * np.cos(angle), centre[1] + reach * np.sin(angle)])


def bezier(*points: tuple[float, float], count: int = 32) -> Points:
    """Return points [count, 2] of the Bézier curve with these control points (de Casteljau)."""
    share = np.linspace(0, 1, count)[:, None]
    row = [np.array([point]) for point in points]
    while len(row) > 1:
        row = [a * (1 - share) + b * share for a, b in itertools.pairwise(row)]
    return row[0]


def border(
    box: Box, *, thickness: float, period: float
) -> list[tuple[Callable[[Points], Points], int]]:
    """Return the four sides of a border, corners left out, for patterns that repeat along them.

    Args:
        box: The outer edge of the border.
        thickness: Its thickness.
        period: About how long one repetition is.

    Returns:
        For each side a function that maps points [K, 2] to the sheet, and the number of periods. A
        point's first coordinate counts periods along the side, its second one goes from 0 at the
        outer edge to 1 at the inner one.
    """
    sides: list[tuple[Callable[[Points], Points], int]] = []
    inner = box.shrink(thickness)
    for number in range(4):
        length = inner.width if number % 2 == 0 else inner.height
        count = max(1, round(length / period))

        def place(points: Points, *, number: int = number, unit: float = length / count) -> Points:
            along, deep = points[:, 0] * unit, points[:, 1] * thickness
            if number == 0:
                return np.column_stack([inner.left + along, box.top + deep])
            if number == 1:
                return np.column_stack([box.right - deep, inner.top + along])
            if number == 2:  # noqa: PLR2004 - the lower side
                return np.column_stack([inner.right - along, box.bottom - deep])
            return np.column_stack([box.left + deep, inner.bottom - along])

        sides.append((place, count))
    return sides


def corners(box: Box, *, side: float) -> list[Box]:
    """Return the four squares in the corners of a rectangle."""
    return [
        Box(x, y, x + side, y + side)
        for x in (box.left, box.right - side)
        for y in (box.top, box.bottom - side)
    ]


@functools.lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    path = Path(mpl.get_data_path(), "fonts", "ttf", f"{FACES[face]}.ttf")
    # The basic layout is the same whether or not Pillow was built with Raqm.
    return ImageFont.truetype(path, max(4, size), layout_engine=ImageFont.Layout.BASIC)


def _spell(text: str, *, face: str) -> str:
    if face != "fraktur":
        return text
    return "".join(
        chr(_FRAKTUR + ord(letter) - ord("A"))
        if "A" <= letter <= "Z"
        else chr(_FRAKTUR + 26 + ord(letter) - ord("a"))
        if "a" <= letter <= "z"
        else letter
        for letter in text
    )


def _fixed(points: Points | Sequence[tuple[float, float]]) -> NDArray[np.int32]:
    # OpenCV's pixel (0, 0) has its centre there; ours has its corner.
    scaled = (np.asarray(points, dtype=np.float64) * _FINE - 0.5) * (1 << _SHIFT)
    return scaled.round().astype(np.int32).reshape(-1, 1, 2)
