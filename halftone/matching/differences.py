"""Finds where two pictures that agree differ all the same: retouching, other data on one map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching.looks.difference_map import CELL
from halftone.matching.looks.seen import SIDE, place
from halftone.matching.tiles import MOST_ODDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from halftone.matching.tiles import Bools, Box, Tiles

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_AGAINST: Final = 0.75  # logarithm of odds
_CHANCE: Final = 4.0  # logarithm of odds that pieces of a faithful printing reach
_AT_EDGE: Final = 0.35
_DIFFERS: Final = 0.5  # the probability from which a pixel counts
_FROM_EDGE: Final = CELL // 2  # pixels of what is seen
_DOUBT: Final = (1.0, 1.0, 0.7)  # even odds where one cell is certain, see `_certainty`
_LEAST_CERTAIN: Final = 0.5
_DIFFERENCES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """A part in which two pictures that agree around it show something else.

    Attributes:
        part: float64 [4, 2], its corners in the first picture, clockwise.
        share: Its share of the area of the part that agrees around it, 0 to 1.
        certainty: How sure it is that this is no effect of press, paper and scanner, 0 to 1.
    """

    part: Doubles
    share: float
    certainty: float


def spread_cells(cells: Floats, *, mask: Bools) -> Floats:
    """Return how probably each second pixel of a frame differs, float32 [H / 2, W / 2].

    Where the pictures do not meet, and half a cell's width from there, nothing differs.

    Args:
        cells: What `DifferenceMap` returns.
        mask: Where the pictures' frames meet, bool [H, W].
    """
    top, left, height, width = place(mask.shape)
    whole = cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    met = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    reach = 2 * _FROM_EDGE + 1
    met = cv2.erode(met, np.ones((reach, reach), np.uint8), borderValue=1)
    return np.asarray(whole[top : top + height, left : left + width] * met, dtype=np.float32)


def find_differences(
    differing: Floats, *, within: tuple[float, float, float, float], to_frame: Doubles
) -> tuple[Difference, ...]:
    """Find connected places that differ, the most certain first.

    Args:
        differing: What `spread_cells` returns.
        within: Left, top, right and bottom of the part of the frame that agrees.
        to_frame: float64 [3, 3], takes points of the first picture to the frame.
    """
    left, top, right, bottom = (round(each / 2) for each in within)
    part = np.ascontiguousarray(differing[top:bottom, left:right])
    if not part.size:
        return ()
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        (part > _DIFFERS).astype(np.uint8), connectivity=8
    )
    found = []
    for label in range(1, count):
        x, y, width, height, area = (int(each) for each in boxes[label])
        values = part[y : y + height, x : x + width][labels[y : y + height, x : x + width] == label]
        certainty = _certainty(peak=float(values.max()), cells=area / CELL**2)
        if certainty >= _LEAST_CERTAIN:
            x, y = x + left, y + top
            corners = 2.0 * np.array(
                [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
            )
            # `to_frame` scales and shifts.
            placed = (corners - to_frame[:2, 2]) / to_frame[0, 0]
            found.append(
                Difference(part=placed, share=min(1.0, area / part.size), certainty=certainty)
            )
    found.sort(key=lambda each: -each.certainty)
    return tuple(found[:_DIFFERENCES])


def _certainty(*, peak: float, cells: float) -> float:
    """Return how sure a piece is no effect of the press, by its surest cell and its size."""
    odds = np.log(max(peak, 1e-6) / max(1 - peak, 1e-6))
    return float(1 / (1 + np.exp(-(-_DOUBT[0] + _DOUBT[1] * odds + _DOUBT[2] * np.log(cells)))))


def weigh_pieces(tiles: Tiles, odds: Floats, *, within: Box) -> float:
    """Return how much contradicts in connected pieces, in logarithms of odds.

    Args:
        tiles: What was measured.
        odds: float32 [R, C], the logarithm of each tile's odds; 0 where it says nothing.
        within: The rectangle of tiles that is weighed.
    """
    doubts = _discount_edge(np.clip(-odds, 0, MOST_ODDS), inside=tiles.inside)
    return sum(max(0.0, weight - _CHANCE) for weight in _weigh(doubts, within))


def _discount_edge(against: Floats, *, inside: Bools) -> Floats:
    """Count tiles at the edge less: there one picture may end where the other goes on."""
    inner = cv2.erode(np.pad(inside, 1).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)[
        1:-1, 1:-1
    ]
    return np.where(inner > 0, against, _AT_EDGE * against).astype(np.float32)


def _weigh(doubts: Floats, within: Box) -> Iterator[float]:
    """Yield the total doubt of each connected piece that contradicts."""
    against = np.zeros(doubts.shape, dtype=np.uint8)
    against[within] = doubts[within] > _AGAINST
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(against, connectivity=8)
    for label in range(1, count):
        left, top, width, height, _ = (int(each) for each in boxes[label])
        box = slice(top, top + height), slice(left, left + width)
        yield float(doubts[box][labels[box] == label].sum())
