"""Lay pictures into furniture: the two sheets of every case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
from PIL import Image

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import Canvas, Sheet
from halftone.evaluation.furniture.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.evaluation.furniture.canvas import Grey, Window
    from halftone.evaluation.furniture.kinds import Kind

MOST_PICTURES: Final = 6
"""The most pictures on one sheet."""
_ASPECTS: Final = (0.7, 1.45)
_OTHER_ASPECT: Final = 0.15
_EDGE: Final = 0.96  # of a picture's side: scans end a little outside of it
_MOVED: Final = (0.78, 0.09, 0.13)  # side of the part that is shown, and how far it moves
_ZOOMED: Final = (1.2, 1.6)


class View(NamedTuple):
    """The part of a picture that a window shows.

    Attributes:
        share: Its side, of the largest part that has the window's proportions.
        x: How far its centre is from the picture's centre, of the part's own width.
        y: The same downwards.
    """

    share: float = _EDGE
    x: float = 0.0
    y: float = 0.0


WHOLE: Final = View()


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two sheets before they are printed, uint8 [H, W], and the furniture of each.

    `furniture` is None where a picture lies alone.
    """

    first: Grey
    second: Grey
    furniture: tuple[Sheet | None, Sheet | None]


def make_pair(
    kind: str,
    *,
    case: str,
    strength: int,
    number: int,
    seed: int,
    pictures: Sequence[Image.Image],
) -> Pair:
    """Make the two sheets of a case.

    Args:
        kind: The name of the kind of furniture.
        case: The name of the case.
        strength: From 1 to 5.
        number: The number of the pair; designs take turns by it.
        seed: Determines everything else. Strengths and cases with the same seed share what is
            drawn, so that only they differ.
        pictures: At least 2 `MOST_PICTURES` different pictures for sheets of several pictures, 2
            for others. The first half goes to the first sheet.
    """
    entry = KINDS[kind]
    generator = np.random.default_rng([seed, 1])
    half = len(pictures) // 2
    ours, theirs = list(pictures[:half]), list(pictures[half:])
    aspect = float(np.clip(np.sqrt(_aspect(ours[0]) * _aspect(theirs[0])), *_ASPECTS))
    sheet = _draw(entry, aspect=aspect, strength=strength, design=number, seed=seed)
    if entry.mark is not None:
        sides = [
            entry.mark(sheet, design=number, strength=strength, variant=variant, seed=seed).finish()
            for variant in (0, 1 if case == "different" else 0)
        ]
        return Pair(first=sides[0], second=sides[1], furniture=(sheet, sheet))
    views = [View(), View()]
    other: Sheet | None = sheet
    if case in ("again", "other-furniture", "moved", "zoomed", "bare"):
        theirs = list(ours)
    if case == "moved":
        turn = float(generator.uniform(0, 2 * np.pi))
        reach = float(generator.uniform(*_MOVED[1:]))
        x, y = reach * np.cos(turn), reach * np.sin(turn)
        views = [View(_MOVED[0], x, y), View(_MOVED[0], -x, -y)]
    elif case == "zoomed":
        share = _EDGE / float(generator.uniform(*_ZOOMED))
        x, y = generator.uniform(-0.1, 0.1, 2)
        views[1] = View(share, float(x), float(y))
    elif case == "shared":
        count = len(sheet.windows)
        theirs[int(generator.integers(count))] = ours[int(generator.integers(count))]
    elif case == "other-furniture":
        stretch = float(np.exp(generator.uniform(-_OTHER_ASPECT, _OTHER_ASPECT)))
        wide = float(np.clip(aspect * stretch, *_ASPECTS))
        other = _draw(entry, aspect=wide, strength=strength, design=number + 1, seed=seed + 1)
    elif case == "bare":
        other = None
    # One sheet printed twice says the same; other issues have other dates and captions.
    texts = (seed, seed if case == "again" else seed + 1)
    first = lay_out(sheet, pictures=ours, view=views[0], seed=texts[0])
    if other is None:
        return Pair(first=first, second=_grey(ours[0]), furniture=(sheet, None))
    second = lay_out(other, pictures=theirs, view=views[1], seed=texts[1])
    return Pair(first=first, second=second, furniture=(sheet, other))


def lay_out(
    sheet: Sheet, *, pictures: Sequence[Image.Image], view: View = WHOLE, seed: int = 0
) -> Grey:
    """Return a sheet with pictures in its windows and words in its fields, uint8 [H, W].

    Args:
        sheet: The furniture.
        pictures: At least as many pictures as there are windows.
        view: The part of each picture that is shown.
        seed: Determines the words.
    """
    canvas = Canvas.over(sheet.pixels)
    generator = np.random.default_rng(seed)
    for field in sheet.fields:
        words.fill_field(canvas, field, generator=generator)
    pixels = canvas.finish()
    # Where there are several, broad pictures go into broad windows.
    shown = sorted(pictures[: len(sheet.windows)], key=_aspect)
    windows = sorted(sheet.windows, key=lambda window: window.box.width / window.box.height)
    for window, picture in zip(windows, shown, strict=True):
        _paste(pixels, window, picture=_grey(picture), view=view)
    return pixels


def _paste(pixels: Grey, window: Window, *, picture: Grey, view: View) -> None:
    left, top, right, bottom = (round(side) for side in window.box)
    wide, high = right - left, bottom - top
    tall, broad = picture.shape
    scale = min(broad / wide, tall / high) * view.share
    half = scale * wide / 2, scale * high / 2
    x = np.clip(broad / 2 + view.x * 2 * half[0], half[0], broad - half[0])
    y = np.clip(tall / 2 + view.y * 2 * half[1], half[1], tall - half[1])
    # Pillow resamples a part between pixels, and averages where it makes the picture smaller.
    part = Image.fromarray(picture).resize(
        (wide, high),
        Image.Resampling.LANCZOS,
        box=(x - half[0], y - half[1], x + half[0], y + half[1]),
    )
    shown = np.asarray(part)
    if window.oval:
        mask = np.zeros((high, wide), np.uint8)
        cv2.ellipse(
            mask, (wide // 2, high // 2), (wide // 2 - 2, high // 2 - 2), 0, 0, 360, 255, -1
        )
        shown = np.where(mask > 0, shown, pixels[top:bottom, left:right])
    pixels[top:bottom, left:right] = shown


def _draw(kind: Kind, *, aspect: float, strength: int, design: int, seed: int) -> Sheet:
    return kind.draw(
        aspect=aspect, strength=strength, design=design, generator=np.random.default_rng([seed, 0])
    )


def _grey(picture: Image.Image) -> Grey:
    return np.asarray(picture.convert("L"), dtype=np.uint8)


def _aspect(picture: Image.Image) -> float:
    return picture.width / picture.height
