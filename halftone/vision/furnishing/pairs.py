"""Make pairs of sheets: different pictures in one piece of furniture, or one picture twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from halftone.vision.furnishing import boards, charts, frames, maps, pages, plates, stages, stands
from halftone.vision.furnishing.sheets import (
    Furniture,
    Order,
    Placing,
    View,
    Window,
    place,
    print_sheet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.vision.furnishing.strokes import Pixels

_ONE: Final = ("different", "again", "other-furniture", "moved", "zoomed", "bare")
_SEVERAL: Final = ("different", "again", "other-furniture", "shared")
_DRAWN: Final = ("different", "again")
_DRAW: Final[dict[str, tuple[Callable[[Order], Furniture], tuple[str, ...]]]] = {
    "frame": (frames.draw_frame, _ONE),
    "stamp": (frames.draw_stamp, _ONE),
    "head": (pages.draw_head, _ONE),
    "credit-line": (pages.draw_credit, _ONE),
    "copy-stand": (stands.draw_stand, _ONE),
    "card": (stands.draw_card, _ONE),
    "screen": (stands.draw_screen, _ONE),
    "emblem": (plates.draw_emblem, _SEVERAL),
    "plate": (plates.draw_plate, _SEVERAL),
    "initial": (plates.draw_initial, _DRAWN),
    "text": (pages.draw_text, ("different",)),
    "map": (maps.draw_map, _DRAWN),
    "board": (boards.draw_board, _DRAWN),
    "chart": (charts.draw_chart, _DRAWN),
    "stage": (stages.draw_stage, _DRAWN),
}
KINDS: Final[dict[str, tuple[str, ...]]] = {kind: cases for kind, (_, cases) in _DRAW.items()}

_LEAST: Final = 0.12  # of the sheet that a picture which is to be recognised takes
_COMMON: Final = 0.35  # of what two sheets show of a picture together
_TRIES: Final = 12
_ALIKE: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sheets before they are printed.

    Attributes:
        first: Mode L, the longer side 640 pixels or, if it is bare, that of the picture.
        second: Likewise.
        kind: One of `KINDS`.
        case: One of the kind's cases.
        same: Whether both show the same picture.
    """

    first: Image.Image
    second: Image.Image
    kind: str
    case: str
    same: bool


def furnish_pair(pictures: Sequence[Image.Image], *, kind: str, case: str, seed: int) -> Pair:
    """Draw two sheets that share furniture, a picture or both.

    Args:
        pictures: Pictures that differ, at least four; plates have up to half as many each.
        kind: What furniture, one of `KINDS`.
        case: How the two belong together, one of the kind's cases: "different" pictures in the
            same furniture (or other men, data, text or figures on the same ground), the same sheet
            "again", the same picture in "other-furniture", "moved" or "zoomed" inside its
            furniture, "bare" and in furniture, sheets of several pictures that have one "shared".
        seed: The same seed and pictures give the same pair.

    Raises:
        ValueError: An unknown kind or case, or too few pictures.
    """
    if case not in KINDS.get(kind, ()):
        raise ValueError(f"there is no furniture {kind!r} with the case {case!r}")
    if len(pictures) < 4:
        raise ValueError("furniture needs at least four pictures")
    generator = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    order = generator.permutation(len(pictures))
    pool = [np.asarray(pictures[i].convert("L"), dtype=np.uint8) for i in order]
    same = case != "different"
    for _ in range(_TRIES):
        sheets, common = _attempt(pool, kind=kind, case=case, generator=generator)
        if common:
            break
    return Pair(
        first=Image.fromarray(sheets[0]),
        second=Image.fromarray(sheets[1]),
        kind=kind,
        case=case,
        same=same,
    )


def _attempt(
    pool: list[Pixels], *, kind: str, case: str, generator: np.random.Generator
) -> tuple[tuple[Pixels, Pixels], bool]:
    """Draw the two sheets; also tell whether what they share can be seen well enough."""
    several = KINDS[kind] == _SEVERAL
    most = min(len(pool) // 2, 4 if case == "shared" else 6)
    count = int(generator.integers(2, most + 1)) if several else 1
    design = int(generator.integers(1 << 30))
    share = float(generator.uniform(0.2, 0.95))
    changes = float(np.clip(generator.beta(1, 1.5), 0.12, 1.0))
    form = _aspect(pool[0])
    aspect = float(np.clip(form, 0.6, 1.7))

    def draw(name: str, seed: int, part: float) -> Furniture:
        order = Order(
            generator=np.random.default_rng(seed),
            aspect=aspect,
            share=part,
            count=count,
            changes=changes,
        )
        return _DRAW[name][0](order)

    first = second = draw(kind, design, share)
    if case == "other-furniture" or (case == "shared" and generator.random() < 0.6):
        alike = [name for name, cases in KINDS.items() if cases == KINDS[kind]]
        other = str(generator.choice(alike)) if generator.random() < 0.5 else kind
        second = draw(other, design + 1, float(generator.uniform(0.2, 0.95)))
    shown = [_place_all(first, pool, _view(generator)), []]
    variants = (0, 1)
    if case == "again":
        shown[1], variants = shown[0], (0, 0)
    elif case == "different":
        others = pool[count:]
        if generator.random() < _ALIKE:  # pictures of one form are the hardest to tell
            others = sorted(others, key=lambda picture: abs(math.log(_aspect(picture) / form)))
        shown[1] = _place_all(second, others, _view(generator))
    elif case == "shared":
        shown[1] = _share_one(second, pool, count=count, generator=generator)
    else:
        views = _change_view(case, generator)
        shown = [_place_all(first, pool, views[0]), _place_all(second, pool, views[1])]
    sheets = [
        print_sheet(furniture, placed, variant=variant)
        for furniture, placed, variant in zip((first, second), shown, variants, strict=True)
    ]
    good = case == "different" or all(
        _visible(furniture, placed, pool[0], whole=case != "shared") >= _LEAST
        for furniture, placed in zip((first, second), shown, strict=True)
    )
    if case == "bare":
        sheets[0] = pool[0]
        if generator.random() < 0.5:
            sheets.reverse()
    elif case != "different" and first.windows:
        good = good and _overlap(pool[0], shown) >= _COMMON
    return (sheets[0], sheets[1]), good or not first.windows


def _aspect(picture: Pixels) -> float:
    return float(picture.shape[1] / picture.shape[0])


def _view(generator: np.random.Generator) -> View:
    """Choose an ordinary view: the whole picture or a little less."""
    x, y = generator.uniform(-1, 1, size=2)
    zoom = float(generator.choice([1.0, generator.uniform(1, 1.1)]))
    return View(zoom=zoom, shift=(float(x), float(y)))


def _change_view(case: str, generator: np.random.Generator) -> tuple[View, View]:
    """Choose two views of one picture that differ as the case says."""
    if case == "moved":
        turn = generator.uniform(0, 2 * math.pi)
        x, y = math.cos(turn), math.sin(turn)
        if generator.random() < 0.5:  # the picture is small, and laid elsewhere
            shrink = float(generator.uniform(0.65, 0.9))
            return View(shrink=shrink, place=(x, y)), View(shrink=shrink, place=(-x, -y))
        zoom = float(generator.uniform(1.12, 1.5))
        return View(zoom=zoom, shift=(x, y)), View(zoom=zoom, shift=(-x, -y))
    if case == "zoomed":
        zoom, shrink = float(generator.uniform(1.1, 1.6)), float(generator.uniform(0.6, 0.9))
        x, y = (float(value) for value in generator.uniform(-0.6, 0.6, size=2))
        near = View(zoom=zoom, shift=(x, y))
        views = [View(), near] if generator.random() < 0.6 else [View(shrink=shrink), View()]
        return (views[0], views[1]) if generator.random() < 0.5 else (views[1], views[0])
    return _view(generator), _view(generator)


def _place_all(
    furniture: Furniture, pictures: Sequence[Pixels], view: View
) -> list[tuple[Pixels, Placing]]:
    return [
        (picture, place(window, picture, view=view))
        for window, picture in zip(furniture.windows, pictures, strict=False)
    ]


def _share_one(
    furniture: Furniture, pool: list[Pixels], *, count: int, generator: np.random.Generator
) -> list[tuple[Pixels, Placing]]:
    """Place the first picture in one of the larger windows, and new ones in the others."""
    sheet = furniture.ground.size
    large = [i for i, window in enumerate(furniture.windows) if _area(window) > _LEAST * sheet]
    chosen = int(generator.choice(large)) if large else 0
    others = iter(pool[count:])
    pictures = [pool[0] if i == chosen else next(others) for i in range(len(furniture.windows))]
    return _place_all(furniture, pictures, _view(generator))


def _area(window: Window) -> float:
    """Return how many pixels of a window a picture can fill."""
    if window.mask is None:
        return window.box[2] * window.box[3]
    return float(window.mask.mean()) / 255 * window.mask.size


def _visible(
    furniture: Furniture, placed: list[tuple[Pixels, Placing]], picture: Pixels, *, whole: bool
) -> float:
    """Return the part of a sheet that a picture takes, or that all its pictures take."""
    seen = 0.0
    for window, (other, placing) in zip(furniture.windows, placed, strict=False):
        if whole or other is picture:
            seen += float(min(placing.box[2] * placing.box[3], _area(window)))
    return seen / furniture.ground.size


def _overlap(picture: Pixels, shown: list[list[tuple[Pixels, Placing]]]) -> float:
    """Return what two sheets both show of a picture, as a part of what either shows."""
    parts = [
        next(placing.part for other, placing in placed if other is picture) for placed in shown
    ]
    low, high = np.maximum(parts[0][:2], parts[1][:2]), np.minimum(parts[0][2:], parts[1][2:])
    both = float(np.prod(np.clip(high - low, 0, None)))
    total = sum((part[2] - part[0]) * (part[3] - part[1]) for part in parts)
    return both / max(total - both, 1e-9)
