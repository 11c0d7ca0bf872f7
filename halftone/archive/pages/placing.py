"""Brings the boxes of a page into pixels of its scan, and notices when they do not fit.

Descriptions count in pixels, tenths of a millimetre or 1200ths of an inch, and often describe
another derivative than the scan at hand. Where a description tells the page's size, all of this
is one ratio: the scan's pixels to that size. Where it does not, the size of the image that METS
names, or the scan's resolution, has to serve.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.archive.pages.model import Block, Box, Page, Unit
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTSIDE: Final = 0.05
"""The largest share of boxes that may lie outside of their pages."""
_TOLERANCE: Final = 0.02
"""How far a box may reach over the edge, as a share of the page's side: margins are cut off."""
_RATIO: Final = 0.05
"""How far the proportions of a page and its scan may differ."""
_RESOLUTIONS: Final = (300.0, 400.0, 600.0, 200.0, 150.0, 240.0, 250.0, 350.0, 100.0, 72.0)
_FILLS: Final = 0.4
"""How much of a page the boxes of all its pages together cover at least, if the scale is right."""

_FULL: Final = 0.7  # likewise, for a resolution that is only a guess
_CORNER: Final = 0.55
"""How far the boxes of a whole issue reach at least: half a derivative's size is never right."""
_MANY: Final = 40
"""From how many boxes that is told."""

UNFITTING: Final = "BOXES_OUTSIDE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What the scan's own file says.

    Attributes:
        size: The width and height of the upright scan in pixels.
        dpi: Its resolution; None if it does not say, or says something that cannot be.
        pages: How many pages its file has.
    """

    size: tuple[int, int]
    dpi: float | None = None
    pages: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A page with its boxes in pixels of the scan.

    Attributes:
        blocks: The blocks, clipped to the scan. Those that lie outside are left out.
        raw: All boxes in pixels before they were clipped.
        outside: How many boxes lie outside, or reach over the edge by more than a margin.
    """

    blocks: tuple[Block, ...]
    raw: tuple[Box, ...]
    outside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a person says of the numbers, because a description says it wrongly or not at all.

    Attributes:
        unit: The unit of all numbers.
        scale: The pixels of the scan in one of the description's units; it decides alone.
    """

    unit: Unit | None = None
    scale: float | None = None


def place(page: Page, scan: Scan, *, override: Override = Override()) -> Placed:
    """Return a page with its boxes in pixels of the scan, clipped to it.

    Raises:
        errors.InvalidArgument: The boxes are in a unit of length, and neither the page's size nor
            a resolution is known.
    """
    across, down = _find_scale(page, scan, override=override)
    raw = [block.box.scale(across, down) for block in page.blocks]
    edge = Box(0, 0, *scan.size)
    blocks = []
    for block, box in zip(page.blocks, raw, strict=True):
        clipped = _round(box.intersect(edge), edge=edge)
        if clipped.area:
            lines = tuple(line.scale(across, down).intersect(edge) for line in block.lines)
            blocks.append(dataclasses.replace(block, box=clipped, lines=lines))
    outside = sum(_is_outside(box, size=scan.size) for box in raw)
    return Placed(blocks=tuple(blocks), raw=tuple(raw), outside=outside)


def check(pages: Sequence[tuple[Page, Scan]], *, override: Override = Override()) -> list[Placed]:
    """Return pages placed, if their boxes fit their scans.

    Args:
        pages: The pages of an issue with their scans.
        override: What a person says of the numbers.

    Raises:
        errors.InvalidArgument: More than `OUTSIDE` of all boxes lie outside of their pages, or all
            lie in a corner; the message names the unit or the scale that would fit. The reason is
            `BOXES_OUTSIDE`.
    """
    placed = [place(page, scan, override=override) for page, scan in pages]
    count = sum(len(each.raw) for each in placed)
    outside = sum(each.outside for each in placed)
    if count and outside > OUTSIDE * count:
        problem = f"{outside:,} of {count:,} boxes lie outside of their pages"
        first = next(page for (page, _), each in zip(pages, placed, strict=True) if each.outside)
    elif count >= _MANY and _find_extent(pages, placed) < _CORNER:
        problem = f"All {count:,} boxes lie in a corner of their pages"
        first = next(page for page, _ in pages if page.blocks)
    else:
        return placed
    advice = _advise(pages) or (
        "None of the usual units and resolutions fits; --alto-scale N sets how many pixels of the "
        "scans one of the description's units has."
    )
    name = first.description or first.image or first.image_name
    example = f", for example in {name}" if name else ""
    raise errors.InvalidArgument(
        f"{problem}{example}. {advice}",
        field="path",
        reason=UNFITTING,
    )


def needs_dpi(page: Page, *, override: Override = Override()) -> bool:
    """Return whether the scan's resolution decides where the boxes of a page are."""
    unit = override.unit or page.unit
    has_size = page.size is not None and override.unit in (None, page.unit)
    return override.scale is None and not has_size and unit is not Unit.PIXEL


def _find_scale(page: Page, scan: Scan, *, override: Override) -> tuple[float, float]:
    """Return the pixels of the scan in a unit of the description, across and down."""
    if override.scale is not None:
        return override.scale, override.scale
    width, height = scan.size
    unit = override.unit or page.unit
    if override.unit in (None, page.unit) and page.size is not None:
        return width / page.size[0], height / page.size[1]
    if unit is Unit.PIXEL:
        # Pixels of the image that was described, or else of this one.
        described = page.image_size or scan.size
        return width / described[0], height / described[1]
    per_inch = unit.per_inch or 1.0
    if page.dpi and page.image_size:
        return (
            page.dpi[0] / per_inch * width / page.image_size[0],
            page.dpi[1] / per_inch * height / page.image_size[1],
        )
    dpi = page.dpi or ((scan.dpi, scan.dpi) if scan.dpi else None)
    if dpi is None:
        raise errors.InvalidArgument(
            f"{page.description or page.image_name} counts in {unit.value} and does not tell the "
            "page's size, and the scan does not tell its resolution. --alto-scale N sets how many "
            f"pixels one of these units has: {300 / per_inch:.4g} at 300 dpi.",
            field="path",
            reason="NO_SCALE",
        )
    return dpi[0] / per_inch, dpi[1] / per_inch


def _round(box: Box, *, edge: Box) -> Box:
    """Return a box in whole pixels that has all of the given one, within the edge."""
    if not box.area:
        return Box(box.x, box.y, 0, 0)
    left, top = int(box.x), int(box.y)
    right = min(int(edge.right), -int(-box.right // 1))
    bottom = min(int(edge.bottom), -int(-box.bottom // 1))
    return Box(left, top, right - left, bottom - top)


def _is_outside(box: Box, *, size: tuple[int, int]) -> bool:
    over = max(
        -box.x / size[0], box.right / size[0] - 1, -box.y / size[1], box.bottom / size[1] - 1
    )
    return over > _TOLERANCE


def _advise(pages: Sequence[tuple[Page, Scan]]) -> str:
    """Return a sentence about the unit or the scale that fits; empty if none of the usual does."""
    for unit in Unit:
        option = f"--alto-unit {unit.value}"
        override = Override(unit=unit)
        try:
            if _fits(pages, override=override) >= _FILLS:
                return f"As {unit.value} they would fit ({option})."
        except errors.InvalidArgument:
            continue
    guesses = [
        (unit, dpi, dpi / (unit.per_inch or 1.0))
        for unit in (Unit.MM10, Unit.INCH1200)
        for dpi in _RESOLUTIONS
    ]
    fitting = [
        (extent, unit, dpi, scale)
        for unit, dpi, scale in guesses
        if (extent := _fits(pages, override=Override(scale=scale))) >= _FULL
    ]
    if fitting:
        _, unit, dpi, scale = max(fitting, key=lambda each: each[0])
        return f"As {unit.value} at {dpi:.0f} dpi they would fit (--alto-scale {scale:.4g})."
    scale = _fit_scale(pages)
    if scale and _fits(pages, override=Override(scale=scale)) >= _FILLS:
        return f"They are of another size than the scans; --alto-scale {scale:.3g} would fit."
    return ""


def _fits(pages: Sequence[tuple[Page, Scan]], *, override: Override) -> float:
    """Return how far the boxes reach on the fullest page, or 0 if too many lie outside."""
    placed = [place(page, scan, override=override) for page, scan in pages]
    count = sum(len(each.raw) for each in placed)
    if sum(each.outside for each in placed) > OUTSIDE * count:
        return 0.0
    # Anything lies inside if it is made small enough.
    return _find_extent(pages, placed)


def _find_extent(pages: Sequence[tuple[Page, Scan]], placed: Sequence[Placed]) -> float:
    """Return how far the boxes of the fullest page reach."""
    return max(
        (_extent(each.raw, size=scan.size) for each, (_, scan) in zip(placed, pages, strict=True)),
        default=0.0,
    )


def _extent(boxes: Sequence[Box], *, size: tuple[int, int]) -> float:
    """Return how far boxes reach to the right and down, as the smaller share of the sides."""
    if not boxes:
        return 0.0
    right = max(box.right for box in boxes) / size[0]
    return min(right, max(box.bottom for box in boxes) / size[1])


def _fit_scale(pages: Sequence[tuple[Page, Scan]]) -> float:
    """Return the scale at which the furthest boxes reach 96 % of a page, or 0."""
    reaches: list[float] = []
    for page, scan in pages:
        boxes = [block.box for block in page.blocks]
        far = max(
            (max(b.right / scan.size[0], b.bottom / scan.size[1]) for b in boxes), default=0.0
        )
        if far > 0:
            reaches.append(0.96 / far)
    return min(reaches, default=0.0)


def find_mismatch(page: Page, scan: Scan) -> bool:
    """Return whether a page's proportions are not those of its scan, so that boxes are shifted."""
    if page.size is None:
        return False
    described, own = page.size[0] / page.size[1], scan.size[0] / scan.size[1]
    return abs(described / own - 1) > _RATIO
