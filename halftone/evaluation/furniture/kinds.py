"""List the kinds of furniture, and the cases of pairs that each is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from halftone.evaluation.furniture import (
    boards,
    charts,
    documents,
    frames,
    maps,
    pages,
    plates,
    stands,
)

if TYPE_CHECKING:
    import numpy as np

    from halftone.evaluation.furniture.canvas import Canvas, Sheet

STRENGTHS: Final = (1, 2, 3, 4, 5)


class Draw(Protocol):
    """Draws furniture without what changes from sheet to sheet; see `frames.draw`."""

    def __call__(
        self, *, aspect: float, strength: int, design: int, generator: np.random.Generator
    ) -> Sheet:
        """Draw the sheet."""


class Mark(Protocol):
    """Draws what changes, where that is no picture of the folder; see `boards.place_men`."""

    def __call__(
        self, sheet: Sheet, *, design: int, strength: int, variant: int, seed: int
    ) -> Canvas:
        """Draw one of two variants onto the sheet."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way in which two sheets belong together.

    Attributes:
        name: The name as it is typed.
        title: What the two sheets show, for people.
        same: Whether they show the same picture.
    """

    name: str
    title: str
    same: bool


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of furniture.

    Attributes:
        name: The name as it is typed.
        title: What it is, for people.
        draw: Draws it.
        mark: Draws what changes between two sheets; None if that is a picture of the folder.
        cases: Names of the cases that make sense for it.
        screened: Whether it is printed through halftone screens.
        strengths: What each strength means, for people.
    """

    name: str
    title: str
    draw: Draw
    cases: tuple[str, ...]
    strengths: tuple[str, ...]
    mark: Mark | None = None
    screened: bool = True


def _shares(shares: tuple[float, ...], what: str = "picture") -> tuple[str, ...]:
    return tuple(f"{what} {share:.0%} of the sheet" for share in shares)


CASES: Final = {
    case.name: case
    for case in (
        Case(name="different", title="different pictures in the same furniture", same=False),
        Case(name="again", title="the same sheet, printed twice", same=True),
        Case(name="other-furniture", title="the same picture in different furniture", same=True),
        Case(name="moved", title="the same picture moved inside the furniture", same=True),
        Case(name="zoomed", title="the same picture zoomed inside the furniture", same=True),
        Case(name="bare", title="a picture alone, and in furniture", same=True),
        Case(name="shared", title="sheets of several pictures that share one", same=True),
    )
}
_ONE: Final = ("different", "again", "other-furniture", "moved", "zoomed", "bare")
_SEVERAL: Final = ("different", "again", "other-furniture", "shared")
_DRAWN: Final = ("different", "again")
_ENTRIES: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "frame",
        "title": "Ornamental and engraved frames all round",
        "draw": frames.draw,
        "cases": _ONE,
        "strengths": _shares(frames.SHARES),
    },
    {
        "name": "masthead",
        "title": "Heads of covers above the picture, adverts beside and below it",
        "draw": pages.draw_cover,
        "cases": _ONE,
        "strengths": _shares(pages.HEADED),
    },
    {
        "name": "credit-line",
        "title": "Credit lines, running heads and standing notices",
        "draw": pages.draw_credited,
        "cases": _ONE,
        "strengths": _shares(pages.CREDITED),
    },
    {
        "name": "copy-stand",
        "title": "Grey scales, colour charts and rulers on a copy stand; edges of a book",
        "draw": stands.draw,
        "cases": _ONE,
        "strengths": _shares(stands.SHARES),
    },
    {
        "name": "form",
        "title": "Printed forms, filled in by hand, with a photograph",
        "draw": documents.draw_form,
        "cases": _ONE,
        "strengths": _shares(documents.FORMED),
    },
    {
        "name": "browser",
        "title": "Browser windows on a screen",
        "draw": documents.draw_browser,
        "cases": _ONE,
        "strengths": _shares(documents.BROWSED),
        "screened": False,
    },
    {
        "name": "emblem",
        "title": "A large emblem in the middle, pictures around it",
        "draw": plates.draw_emblem,
        "cases": _SEVERAL,
        "strengths": _shares(plates.AROUND, "pictures"),
    },
    {
        "name": "plate",
        "title": "Plates of several pictures in one layout",
        "draw": plates.draw_plate,
        "cases": _SEVERAL,
        "strengths": tuple(f"{count} pictures" for count in plates.COUNTS),
    },
    {
        "name": "map",
        "title": "Base maps under different data",
        "draw": maps.draw,
        "mark": maps.overlay,
        "cases": _DRAWN,
        "strengths": ("sparse map, many data", "…", "…", "…", "dense map, few data"),
    },
    {
        "name": "board",
        "title": "Boards of chess, draughts and go with different positions",
        "draw": boards.draw,
        "mark": boards.place_men,
        "cases": _DRAWN,
        "strengths": tuple(f"{share:.0%} of the men elsewhere" for share in boards.CHANGED),
    },
    {
        "name": "chart",
        "title": "Charts with the same axes and different data",
        "draw": charts.draw,
        "mark": charts.plot_data,
        "cases": _DRAWN,
        "strengths": ("open grid, many data", "…", "…", "…", "fine grid, few data"),
    },
    {
        "name": "text-page",
        "title": "Pages of different text under the same head",
        "draw": pages.draw_text_page,
        "mark": pages.set_columns,
        # Whether the same text printed twice is the same picture is no question for this benchmark.
        "cases": ("different",),
        "strengths": _shares(pages.SET, "text"),
    },
)
KINDS: Final = {entry["name"]: Kind(**entry) for entry in _ENTRIES}
