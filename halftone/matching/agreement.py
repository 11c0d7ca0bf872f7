"""Compares two registered pictures tile by tile: where they agree, and where they contradict.

Local features that agree on a homography may lie on a frame, a masthead or a line of type that
different pictures share.

A tile gets the logarithm of the odds that both pictures show the same there, which
`halftone/evaluation/tile_odds.py` fits. A tile that is empty in both says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from halftone.matching.differences import (
    Difference,
    find_differences,
    spread_cells,
    weigh_pieces,
)
from halftone.matching.looks import difference_map, judge
from halftone.matching.looks.seen import describe
from halftone.matching.tiles import (
    MOST_ODDS,
    STEP,
    TILE,
    bounds_of,
    corners_of,
    measure,
    tile_terms,
)

if TYPE_CHECKING:
    from halftone.matching.tiles import Box, Tiles

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

_EMPTY: Final = 0.4  # of a strong tile: below, a tile of both pictures says less and less
_CLEAR: Final = 1.5
_CERTAIN: Final = 1.5  # logarithm of odds from which a tile counts in full
ODDS: Final = (3.041, 0.504, -2.584, 21.433, -9.057, -2.327)
"""Coefficients of `tile_terms`; `python -m halftone.evaluation.tile_odds` fits them."""

_BROAD: Final = 0.6
_UNCLEAR: Final = 0.8
_DIFFERING: Final = 8.0

_SILENT: Final = 0.01  # a part grows over tiles that say nothing
_OUTSIDE: Final = -0.2  # but not beyond where the frames meet
_TORN: Final = 0.05  # of where the frames meet: less is a difference, not another picture
_IN_HOLE: Final = -10.0
_PARTS: Final = 6
_LEAST: Final = 3.0  # tiles of a part


@dataclass(frozen=True, slots=True)
class TileEvidence:
    """How far two registered pictures agree. Tiles that say nothing count nowhere.

    Attributes:
        agreeing: The share of all tiles where the frames meet that agree, 0 to 1.
        solid: The share of all tiles that agree and lie in the largest part, 0 to 1.
        breadth: The width or height of the largest part, whichever is the smaller share of the
            width or height of where the frames meet, 0 to 1.
        pure: The share of the largest part's tiles that agree, of those with strong contrast, 0
            to 1.
        count: The number of tiles that agree in the largest part. Tiles overlap.
        contradicting: The share of where the frames meet that contradicts, 0 to 1.
        differing: How much contradicts in pieces within the largest part, in odds of tiles: the
            men of another position on the same board.
        judgement: The logarithm of the odds that what both show is one picture, no furniture, by
            `halftone.matching.looks.judge`; 0 until it is judged.
    """

    agreeing: float
    solid: float
    breadth: float
    pure: float
    count: float
    contradicting: float
    differing: float
    judgement: float = 0.0

    @property
    def broad(self) -> float:
        """Return how broad the largest part is, from a line to a picture: 0 to 1."""
        return min(1.0, self.breadth / _BROAD)

    @property
    def faithful(self) -> float:
        """Return how faithfully the largest part agrees, without differing pieces: 0 to 1."""
        clear = min(max((self.pure - _UNCLEAR) / (1 - _UNCLEAR), 0.0), 1.0)
        return clear * float(np.exp(-self.differing / _DIFFERING))

    @property
    def likeness(self) -> float:
        """Return how far the largest part is like the printing of a picture: 0 to 1."""
        return self.broad * self.faithful


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What networks see of two registered pictures.

    Attributes:
        judgement: The logarithm of the odds that what both show is one picture, no furniture.
        part: Corners of the largest part that agrees though something may differ in it, float64
            [4, 2], in the first picture; None if nothing agrees.
        differences: What differs within that part, the most certain first.
    """

    judgement: float
    part: Doubles | None
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """Where two registered pictures agree.

    Attributes:
        evidence: How far they agree.
        parts: float64 [P, 4, 2], corners of the parts that agree, in the first picture, clockwise,
            the largest first.
        area: The area of the largest part that agrees, in square pixels of the first picture.
        odds: float32 [R, C], the logarithm of each tile's odds; 0 where it says nothing.
        tiles: What was measured.
    """

    evidence: TileEvidence
    parts: Doubles
    area: float
    odds: Floats
    tiles: Tiles

    def look(self) -> Look:
        """Look at both pictures: is what they share a picture, and where does it differ?

        It takes longer than the comparison of tiles, so only overlaps that are kept are looked at.
        Where nothing agrees there is nothing that could speak for a picture.
        """
        seen = describe(*self.tiles.pictures, self.tiles.mask)
        judgement = judge.load_packaged()(seen)
        bounds = self._find_bounds()
        if bounds is None:
            return Look(judgement=min(judgement, 0.0), part=None, differences=())
        cells = difference_map.load_packaged()(seen)
        differing = spread_cells(cells, mask=self.tiles.mask)
        return Look(
            judgement=judgement,
            part=self.tiles.to_first(bounds),
            differences=find_differences(differing, within=bounds, to_frame=self.tiles.to_frame),
        )

    def _find_bounds(self) -> tuple[float, float, float, float] | None:
        """Return left, top, right and bottom of the largest part that agrees, in the frame.

        A large difference is a hole as well, so here the part may lie across a hole. What is left
        of the frame beyond the last tiles belongs to them.
        """
        agrees, contradicts = _split(self.odds)
        within = _parts(agrees, contradicts, inside=self.tiles.inside, hole=None)
        if not within:
            return None
        left, top, right, bottom = bounds_of(within[0], shape=self.odds.shape)
        height, width = self.tiles.mask.shape
        return (
            left,
            top,
            width if right > width - STEP else right,
            height if bottom > height - STEP else bottom,
        )

    def odds_at(self, points: Floats) -> Floats:
        """Return the odds of the tiles around points of the first picture, [N]; 0 outside."""
        to_frame = self.tiles.to_frame
        places = points * to_frame[0, 0] + to_frame[:2, 2]
        at = np.rint((places - TILE / 2) / STEP).astype(np.intp)
        rows, columns = self.odds.shape
        # A point at the edge belongs to the last tile.
        reach = TILE // STEP
        outside = ((at < -reach) | (at >= np.array([columns, rows]) + reach)).any(axis=1)
        x, y = at[:, 0].clip(0, columns - 1), at[:, 1].clip(0, rows - 1)
        return np.where(outside, 0, self.odds[y, x]).astype(np.float32)


def compare(
    first: Bytes,
    second: Bytes,
    homography: Doubles,
    *,
    first_size: tuple[float, float],
    second_size: tuple[float, float],
    meeting: Doubles,
) -> Agreement | None:
    """Compare two registered pictures.

    Args:
        first: Grey copy of the first picture, uint8 [H, W].
        second: Grey copy of the second picture.
        homography: [3, 3], takes points of the first picture to points of the second.
        first_size: Width and height of the first picture, in which its points are given.
        second_size: Width and height of the second picture.
        meeting: Where the pictures' frames meet: a convex polygon [K, 2] in the first picture.

    Returns:
        What was found; None if the frames meet in less than a tile.
    """
    measured = measure(
        first,
        second,
        homography,
        first_size=first_size,
        second_size=second_size,
        meeting=meeting,
    )
    return None if measured is None else _weigh(measured)


def _weigh(tiles: Tiles) -> Agreement:
    weaker, stronger = tiles.strengths.min(axis=0), tiles.strengths.max(axis=0)
    odds = np.clip(tile_terms(tiles) @ np.array(ODDS, dtype=np.float32), -MOST_ODDS, MOST_ODDS)
    odds *= tiles.inside * np.clip(stronger / _EMPTY, 0, 1)
    agrees, contradicts = _split(odds)
    clear = np.clip(weaker / _CLEAR, 0, 1) ** 3
    hole = _best_rectangle(np.where(tiles.inside, contradicts - agrees, -1.0).astype(np.float64))
    torn = float((contradicts - agrees)[hole].sum() / max(tiles.inside.sum(), 1))
    boxes = _parts(agrees, contradicts, inside=tiles.inside, hole=hole if torn > _TORN else None)
    largest = boxes[0] if boxes else (slice(0), slice(0))
    rows, columns = odds.shape
    evidence = TileEvidence(
        agreeing=_share(agrees, contradicts),
        solid=float(agrees[largest].sum() / max((agrees + contradicts).sum(), 1e-6)),
        breadth=min(agrees[largest].shape[0] / rows, agrees[largest].shape[1] / columns),
        pure=_share((agrees * clear)[largest], (contradicts * clear)[largest]),
        count=float(agrees[largest].sum()),
        contradicting=float(contradicts.sum() / max(tiles.inside.sum(), 1)),
        differing=weigh_pieces(tiles, odds, within=largest),
    )
    return Agreement(
        evidence=evidence,
        area=evidence.count * (STEP / float(tiles.to_frame[0, 0])) ** 2,
        parts=corners_of(boxes, shape=odds.shape, to_frame=tiles.to_frame),
        odds=odds.astype(np.float32),
        tiles=tiles,
    )


def _split(odds: Floats) -> tuple[Floats, Floats]:
    """Return how far each tile agrees, and how far it contradicts, from 0 to 1."""
    agrees, contradicts = (np.clip(each / _CERTAIN, 0, 1) for each in (odds, -odds))
    return agrees.astype(np.float32), contradicts.astype(np.float32)


def _share(agrees: Floats, contradicts: Floats) -> float:
    return float(agrees.sum() / max(float(agrees.sum() + contradicts.sum()), 1e-6))


def _parts(agrees: Floats, contradicts: Floats, *, inside: Bools, hole: Box | None) -> list[Box]:
    """Find the rectangles of tiles that agree, the largest first; they have no tile in common.

    None lies across a hole, which a wide frame would outweigh.
    """
    worth = np.where(inside, agrees - contradicts + _SILENT, _OUTSIDE).astype(np.float64)
    if hole is not None:
        worth[hole] = _IN_HOLE
    found: list[Box] = []
    for _ in range(_PARTS):
        box = _best_rectangle(worth)
        if agrees[box].sum() < _LEAST:
            break
        found.append(box)
        worth[box] = -1.0
    return found


def _best_rectangle(worth: Doubles) -> Box:
    """Return the rectangle with the largest sum (Kadane's method for each range of rows)."""
    rows, columns = worth.shape
    above = np.zeros((rows + 1, columns))
    above[1:] = np.cumsum(worth, axis=0)
    best, most = (slice(0), slice(0)), 0.0
    for top in range(rows):
        sums = np.zeros((rows - top, columns + 1))
        np.cumsum(above[top + 1 :] - above[top], axis=1, out=sums[:, 1:])
        gains = sums[:, 1:] - np.minimum.accumulate(sums[:, :-1], axis=1)
        row, right = divmod(int(gains.argmax()), columns)
        if gains[row, right] > most:
            most = float(gains[row, right])
            left = int(sums[row, : right + 1].argmin())
            best = slice(top, top + row + 1), slice(left, right + 1)
    return best
