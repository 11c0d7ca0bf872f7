"""Finds where two pictures that agree differ all the same: retouching, other data on one map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching.tiles import MOST_ODDS, corners_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from halftone.matching.tiles import Bools, Box, Tiles

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_AGAINST: Final = 0.75  # logarithm of odds
_CHANCE: Final = 4.0  # logarithm of odds that pieces of a faithful printing reach
_AT_EDGE: Final = 0.35
_FEWEST_TILES: Final = 20  # for a fit
# What is usual in a pair. Textures are over those of the strong tiles of each picture.
_TEXTURED: Final = 0.35
_FAINT: Final = 0.15
_FLAT: Final = 0.05
_CORRELATION_NOISE: Final = 0.06
_RATIO_NOISE: Final = 0.12
_OUTLIER: Final = 2.5
_LESS_ALIKE: Final = 4.0
_LESS_TEXTURED: Final = 5.0
_TONE_WEIGHT: Final = 0.25
_TONE_NOISE: Final = 0.01  # of white
_TONE_OUTLIER: Final = 4.0  # times the median
_TONE_DOUBT: Final = 4.0
_DOUBT: Final = (5.5, 2.5)  # even odds at 9, which 2 % of faithful printings reach
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


def find_differences(
    tiles: Tiles, odds: Floats, *, within: Sequence[Box]
) -> tuple[Difference, ...]:
    """Find connected tiles that contradict, the most certain first.

    Args:
        tiles: What was measured.
        odds: float32 [R, C], the logarithm of each tile's odds; 0 where it says nothing.
        within: The rectangle of tiles in which differences are looked for, if there is one.
    """
    if not within:
        return ()
    return _connect(_doubts(tiles, odds), within[0], to_frame=tiles.to_frame)


def weigh_pieces(tiles: Tiles, odds: Floats, *, within: Box) -> float:
    """Return how much contradicts in connected pieces, in logarithms of odds.

    Arguments as in `find_differences`. Tones do not count: press and paper change them.
    """
    doubts = _discount_edge(np.clip(-odds, 0, MOST_ODDS), inside=tiles.inside)
    return sum(max(0.0, weight - _CHANCE) for _, _, weight in _pieces(doubts, within))


def _doubts(tiles: Tiles, odds: Floats) -> Floats:
    """Return how much speaks against each tile, float32 [R, C].

    A tile that agrees well enough by itself stands out between tiles that agree much better. A part
    that was painted out may have had little texture, but has another tone.
    """
    against = np.maximum(np.clip(-odds, 0, MOST_ODDS), _outlying(tiles))
    return _discount_edge(against + _TONE_WEIGHT * _tone_doubts(tiles, odds), inside=tiles.inside)


def _outlying(tiles: Tiles) -> Floats:
    """Return how far each tile agrees less than is usual in this pair, float32 [R, C]."""
    weaker, stronger = tiles.strengths.min(axis=0), tiles.strengths.max(axis=0)
    textured = tiles.inside & (weaker >= _TEXTURED)
    if textured.sum() < _FEWEST_TILES:
        return np.zeros_like(weaker)
    terms = np.stack(
        [np.ones_like(weaker), np.clip(weaker, 0, 1), np.clip(tiles.isotropy, 0, 1)], axis=-1
    )
    usual = textured
    for _ in range(2):
        fitted, *_rest = np.linalg.lstsq(terms[usual], tiles.correlation[usual], rcond=None)
        lacking = terms @ fitted - tiles.correlation
        spread = _spread(lacking[usual], least=_CORRELATION_NOISE)
        usual = textured & (lacking < _OUTLIER * spread)
    less_alike = np.clip(lacking / spread / _LESS_ALIKE - 1, 0, MOST_ODDS)
    less_alike *= np.clip((weaker - _FAINT) / _TEXTURED, 0, 1)
    ratio = np.log((tiles.strengths[0] + _FLAT) / (tiles.strengths[1] + _FLAT))
    ratio -= np.median(ratio[textured])
    spread = _spread(ratio[textured], least=_RATIO_NOISE)
    less_textured = np.clip(np.abs(ratio) / spread / _LESS_TEXTURED - 1, 0, MOST_ODDS)
    less_textured *= np.clip((stronger - _FAINT) / _TEXTURED, 0, 1)
    outlying = np.maximum(less_alike, less_textured)
    return np.where(tiles.inside, outlying, 0).astype(np.float32)


def _spread(values: Floats, *, least: float) -> float:
    """Return the standard deviation of values, by their median deviation; at least `least`."""
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), least)


def _discount_edge(against: Floats, *, inside: Bools) -> Floats:
    """Count tiles at the edge less: there one picture may end where the other goes on."""
    inner = cv2.erode(np.pad(inside, 1).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)[
        1:-1, 1:-1
    ]
    return np.where(inner > 0, against, _AT_EDGE * against).astype(np.float32)


def _pieces(doubts: Floats, within: Box) -> Iterator[tuple[Box, int, float]]:
    """Yield the connected pieces that contradict: the box around, tiles and total doubt."""
    against = np.zeros(doubts.shape, dtype=np.uint8)
    against[within] = doubts[within] > _AGAINST
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(against, connectivity=8)
    for label in range(1, count):
        left, top, width, height, tiles = (int(each) for each in boxes[label])
        box = slice(top, top + height), slice(left, left + width)
        yield box, tiles, float(doubts[box][labels[box] == label].sum())


def _tone_doubts(tiles: Tiles, odds: Floats) -> Floats:
    """Return how much the tones of each tile speak against it, float32 [R, C]."""
    sound = tiles.inside & (odds >= 0)
    if sound.sum() < _FEWEST_TILES:
        return np.zeros_like(odds)
    rows, columns = odds.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    first, second = tiles.tones / 255
    terms = np.stack([np.ones_like(first), first, first**2, x, y], axis=-1)
    for _ in range(2):
        fitted, *_rest = np.linalg.lstsq(terms[sound], second[sound], rcond=None)
        residual = np.abs(second - terms @ fitted)
        usual = max(float(np.median(residual[sound])), _TONE_NOISE)
        sound &= residual < _TONE_OUTLIER * usual
    return np.where(
        tiles.inside, np.clip(residual / usual / _TONE_DOUBT - 1, 0, MOST_ODDS), 0
    ).astype(np.float32)


def _connect(doubts: Floats, within: Box, *, to_frame: Doubles) -> tuple[Difference, ...]:
    """Find connected tiles that contradict, within a rectangle of tiles."""
    found = []
    for box, tiles, weight in _pieces(doubts, within):
        certainty = 1 / (1 + float(np.exp(_DOUBT[0] - _DOUBT[1] * np.log(weight))))
        if certainty >= _LEAST_CERTAIN:
            found.append(
                Difference(
                    part=corners_of([box], shape=doubts.shape, to_frame=to_frame)[0],
                    share=tiles / doubts[within].size,
                    certainty=certainty,
                )
            )
    found.sort(key=lambda each: -each.certainty)
    return tuple(found[:_DIFFERENCES])
