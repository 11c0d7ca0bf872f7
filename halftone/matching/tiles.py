"""Measures two registered pictures tile by tile.

Both are brought to one frame, and gradients are correlated in each tile, weighted like edges in
orientation correlation (Fitch et al., *Orientation correlation*, 2002): the direction of an edge
survives screens, tone curves and fading, its height does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Box = tuple[slice, slice]
"""A rectangle of tiles: rows and columns."""

FRAME: Final = 288
"""The longest side in pixels of the frame in which two pictures are compared."""
TILE: Final = 24
"""Side of a tile in pixels of the frame."""
STEP: Final = 12
"""Distance of the tiles in pixels of the frame: each point lies in four of them."""

_BLUR: Final = 1.5  # pixels of the frame: what is left of a screen goes
_RELATIVE: Final = 0.5  # gradients are divided by themselves and half of what is usual around
_GRAIN: Final = 0.5  # grey values a pixel: below lies the grain of paper
_INSIDE: Final = 0.7  # of a tile where the frames meet
_MINIFIED: Final = 1.2  # a copy that is reduced by more is blurred first
_TO_INDEX: Final = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
_TO_PLACE: Final = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])

MOST_ODDS: Final = 3.0
"""The largest logarithm of a tile's odds, either way."""

# A tile's texture is compared with that of the strong tiles of its picture.
_STRONG: Final = 90  # percentile
_FAINTEST: Final = 0.1  # grey values a pixel
_TEXTURED: Final = 0.8
_ISOTROPIC: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiles:
    """What was measured in each of R x C tiles; float32 [R, C], except where it says otherwise.

    Attributes:
        correlation: Of the two pictures' gradients, -1 to 1.
        isotropy: 0 where all edges of one of the pictures run one way, 1 where they run all ways;
            the lower of the two.
        strengths: [2, R, C], root mean square of the gradients of each picture, over that of its
            strong tiles.
        inside: bool [R, C], whether the frames meet in the tile.
        to_frame: float64 [3, 3], takes points of the first picture to the frame.
        pictures: Both pictures in the frame, blurred, 0 to 255, float32 [H, W].
        mask: Where the pictures' frames meet, bool [H, W].
    """

    correlation: Floats
    isotropy: Floats
    strengths: Floats
    inside: Bools
    to_frame: Doubles
    pictures: tuple[Floats, Floats]
    mask: Bools

    def to_first(self, bounds: tuple[float, float, float, float]) -> Doubles:
        """Return corners in the first picture, [4, 2], of left, top, right, bottom in the frame."""
        left, top, right, bottom = bounds
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        # `to_frame` scales and shifts.
        placed: Doubles = (corners - self.to_frame[:2, 2]) / self.to_frame[0, 0]
        return placed


def measure(
    first: Bytes,
    second: Bytes,
    homography: Doubles,
    *,
    first_size: tuple[float, float],
    second_size: tuple[float, float],
    meeting: Doubles,
) -> Tiles | None:
    """Measure each tile; arguments as in `compare`."""
    low, high = meeting.min(axis=0), meeting.max(axis=0)
    first_scale = first.shape[1] / first_size[0]
    second_scale = second.shape[1] / second_size[0] * _scale(homography, meeting.mean(axis=0))
    # The frame is no finer than either copy.
    scale = min(first_scale, second_scale, FRAME / float((high - low).max()))
    width, height = (int(each) for each in np.ceil((high - low) * scale))
    if min(width, height) < TILE:
        return None
    to_frame = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale], [0, 0, 1.0]])
    shrunk = second.shape[1] / second_size[0], second.shape[0] / second_size[1]
    back = np.linalg.inv(np.diag([*shrunk, 1.0]) @ homography)
    shrunk = first.shape[1] / first_size[0], first.shape[0] / first_size[1]
    pictures = [
        _warp(
            grey,
            _TO_INDEX @ to_frame @ to_first @ _TO_PLACE,
            size=(width, height),
            reduced=finer / scale,
        )
        for grey, to_first, finer in (
            (first, np.diag([1 / shrunk[0], 1 / shrunk[1], 1.0]), first_scale),
            (second, back, second_scale),
        )
    ]
    mask = np.zeros((height, width), dtype=np.uint8)
    corners = np.rint((meeting - low) * scale - 0.5).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, (1,))
    # The blur mixes what lies beyond the edge into the last pixels.
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8)).astype(np.float32)
    return _measure(*pictures, inside=inside, to_frame=to_frame)


def tile_terms(tiles: Tiles) -> Floats:
    """Return the terms of each tile's odds, float32 [R, C, 6]; see `ODDS`."""
    weaker, stronger = tiles.strengths.min(axis=0), tiles.strengths.max(axis=0)
    texture = np.clip(weaker / _TEXTURED, 0, 1)
    spread = np.clip(tiles.isotropy / _ISOTROPIC, 0, 1) * texture
    differing = np.log((stronger + 0.05) / (weaker + 0.05))
    terms = (
        np.ones_like(texture),
        tiles.correlation * texture,
        texture,
        tiles.correlation * spread,
        spread,
        differing,
    )
    return np.stack(terms, axis=-1).astype(np.float32)


def bounds_of(box: Box, *, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a rectangle of tiles in the frame.

    Tiles overlap, so a rectangle ends where its outermost tiles are half over, except at the edge.
    """
    (top, bottom), (left, right) = (
        (
            each.start * STEP + (each.start > 0) * (TILE - STEP) / 2,
            (each.stop - 1) * STEP + TILE - (each.stop < count) * (TILE - STEP) / 2,
        )
        for each, count in zip(box, shape, strict=True)
    )
    return left, top, right, bottom


def corners_of(boxes: list[Box], *, shape: tuple[int, ...], to_frame: Doubles) -> Doubles:
    """Return corners of rectangles of tiles, in the first picture; float64 [P, 4, 2]."""
    corners = np.empty((len(boxes), 4, 2))
    for at, box in enumerate(boxes):
        left, top, right, bottom = bounds_of(box, shape=shape)
        corners[at] = [[left, top], [right, top], [right, bottom], [left, bottom]]
    # `to_frame` scales and shifts.
    placed: Doubles = (corners - to_frame[:2, 2]) / to_frame[0, 0]
    return placed


def _scale(homography: Doubles, point: Doubles) -> float:
    """Return by how much a homography enlarges lengths at a point."""
    x, y = point
    w = homography[2] @ (x, y, 1)
    return float(np.sqrt(abs(np.linalg.det(homography) / w**3)))


def _warp(grey: Bytes, matrix: Doubles, *, size: tuple[int, int], reduced: float) -> Floats:
    if reduced > _MINIFIED:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * float(np.sqrt(reduced**2 - 1)))  # type: ignore[assignment]
    warped = cv2.warpPerspective(
        grey, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.GaussianBlur(warped.astype(np.float32), (0, 0), _BLUR), dtype=np.float32)


def _measure(first: Floats, second: Floats, *, inside: Floats, to_frame: Doubles) -> Tiles:
    weight = np.maximum(_sum_tiles(inside), 1.0)

    def mean(values: Floats) -> Floats:
        return np.asarray(_sum_tiles(values * inside) / weight, dtype=np.float32)

    ax, ay, bx, by = (*find_gradients(first), *find_gradients(second))
    (au, av), (bu, bv) = level_gradients(ax, ay), level_gradients(bx, by)
    products = [(mean(x * x), mean(y * y), mean(x * y)) for x, y in ((au, av), (bu, bv))]
    norms = [np.maximum(xx + yy, 1e-9) for xx, yy, _ in products]
    within = _sum_tiles(inside) >= _INSIDE * TILE**2
    strengths = np.stack([_strengths(mean(x * x + y * y), within) for x, y in ((ax, ay), (bx, by))])
    return Tiles(
        correlation=mean(au * bu + av * bv) / np.sqrt(norms[0] * norms[1]),
        isotropy=np.minimum(
            *(
                np.clip(4 * (xx * yy - xy * xy) / norm**2, 0, 1)
                for (xx, yy, xy), norm in zip(products, norms, strict=True)
            )
        ),
        strengths=strengths,
        inside=within,
        to_frame=to_frame,
        pictures=(first, second),
        mask=inside > 0,
    )


def _strengths(squares: Floats, within: Bools) -> Floats:
    """Return the root of mean squared gradients, over that of the picture's strong tiles."""
    roots = np.sqrt(np.maximum(squares, 0))
    usual = float(np.percentile(roots[within], _STRONG)) if within.any() else 1.0
    return (roots / np.float32(max(usual, _FAINTEST))).astype(np.float32)


def find_gradients(picture: Floats) -> tuple[Floats, Floats]:
    """Return the gradients along x and y, in grey values a pixel."""
    x, y = (cv2.Scharr(picture, cv2.CV_32F, *way) / 32 for way in ((1, 0), (0, 1)))
    return x.astype(np.float32), y.astype(np.float32)


def level_gradients(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Divide gradients by their length and half of what is usual around them."""
    squares = x * x + y * y
    around = np.sqrt(np.maximum(cv2.blur(squares, (TILE + 1, TILE + 1)), 0))
    length = np.sqrt(squares) + _RELATIVE * around + _GRAIN
    return (x / length).astype(np.float32), (y / length).astype(np.float32)


def _sum_tiles(values: Floats) -> Floats:
    """Return the sum of each tile, float32 [R, C]."""
    sums = cv2.integral(values, sdepth=cv2.CV_64F)
    top, left = (np.arange(0, side - TILE + 1, STEP) for side in values.shape)
    bottom, right = top[:, None] + TILE, left[None] + TILE
    top, left = top[:, None], left[None]
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(total, dtype=np.float32)
