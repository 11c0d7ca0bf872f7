"""Fits homographies to features of two pictures that look alike.

Pairs of features vote for scale and rotation (Lowe 2004); MAGSAC++ (Barath et al. 2020, by OpenCV)
fits a homography to the pairs that agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching import pairing

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MIN_INLIERS: Final = 6
"""The fewest inliers of an overlap; fewer agree by chance between any two pictures."""
TOLERANCE: Final = 4.0
"""How far inliers may lie from their places, in pixels of the frame of verification."""
_ITERATIONS: Final = 1000
_CONFIDENCE: Final = 0.999
_STRETCH: Final = 1.6  # length over breadth of what a square becomes
_LEAN: Final = 1.8  # scale at one end of the overlap over that at the other
_SCALES: Final = (0.08, 12.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of features that look alike, one row for each.

    Attributes:
        p: float32 [M, 2], places in the query's frame.
        q: float32 [M, 2], places in the candidate's frame.
        turn: float32 [M], by how much each pair turns the query, in radians.
        octaves: float32 [M], by how much it enlarges it.
    """

    p: Floats
    q: Floats
    turn: Floats
    octaves: Floats


def find_homography(
    matches: Matches, *, left: NDArray[np.bool_]
) -> tuple[Doubles, NDArray[np.bool_]] | None:
    """Return the homography that most of the matches agree on, and the matches that do, or None.

    When a dozen matches agree, sampling may end with a homography that is stretched beyond what a
    press makes. So both directions are sampled, and the plausible homography is taken.
    """
    p, q, turn, octaves = matches.p, matches.q, matches.turn, matches.octaves
    rows = np.flatnonzero(left)
    if len(rows) < MIN_INLIERS:
        return None
    vote = rows[pairing.vote(turn[rows], octaves[rows])]
    if len(vote) < MIN_INLIERS:
        return None
    there, back = _sample_homography(p, q, vote=vote), _sample_homography(q, p, vote=vote)
    candidates = [] if there is None else [there]
    if back is not None:
        # The corner of a homography is scaled to 1 in its own direction; one that cannot be
        # inverted is not plausible anyway.
        inverse = np.linalg.pinv(back[0])
        candidates.append((inverse / inverse[2, 2], back[1]))
    return max(
        candidates,
        key=lambda each: (is_plausible(each[0], hull_of(p[each[1]])), int(each[1].sum())),
        default=None,
    )


def _sample_homography(
    p: Floats, q: Floats, *, vote: NDArray[np.intp]
) -> tuple[Doubles, NDArray[np.bool_]] | None:
    """Return a homography from p to q, found in the rows `vote`, and the matches that agree.

    None if there is none, or too few matches agree.
    """
    homography, mask = cv2.findHomography(
        p[vote],
        q[vote],
        cv2.USAC_MAGSAC,
        TOLERANCE,
        maxIters=_ITERATIONS,
        confidence=_CONFIDENCE,
    )
    if homography is None or not np.isfinite(homography).all():
        return None
    inliers = np.zeros(len(p), dtype=bool)
    inliers[vote[mask.ravel().astype(bool)]] = True
    if inliers.sum() < MIN_INLIERS:
        return None
    return np.asarray(homography, dtype=np.float64), inliers


def hull_of(points: Floats) -> Doubles:
    """Return the convex hull of points, [K, 2]."""
    return cv2.convexHull(points).reshape(-1, 2).astype(np.float64)


def measure_distances(homography: Doubles, p: Floats, q: Floats) -> Doubles:
    """Return how far points p fall from q, [N]; infinite beyond the horizon."""
    moved, w = project(homography, p)
    away: Doubles = np.where(w > 0, np.linalg.norm(moved - q, axis=1), np.inf)
    return away


def project(homography: Doubles, points: NDArray[np.floating[Any]]) -> tuple[Doubles, Doubles]:
    """Map points [N, 2] by a homography; return them and their third coordinates, [N]."""
    x = np.column_stack([points, np.ones(len(points))]) @ homography.T
    w = x[:, 2]
    return x[:, :2] / np.where(np.abs(w) < 1e-9, 1e-9, w)[:, None], w  # noqa: PLR2004 - no division by 0


def jacobian_of(homography: Doubles, point: Doubles) -> Doubles:
    """Return the derivative of a homography at a point, [2, 2]."""
    x, y = point
    w = homography[2] @ (x, y, 1)
    u, v = (homography[:2] @ (x, y, 1)) / w
    jacobian: Doubles = (homography[:2, :2] - np.outer((u, v), homography[2, :2])) / w
    return jacobian


def is_plausible(homography: Doubles, part: Doubles) -> bool:
    """Return whether a press and a scanner can make a homography, judged within a convex part."""
    corners = np.vstack([part, part.mean(axis=0, keepdims=True)])
    _, w = project(homography, corners)
    if (w <= 1e-6).any():  # noqa: PLR2004 - behind the horizon
        return False
    areas = []
    for corner in corners:
        jacobian = jacobian_of(homography, corner)
        long, short = np.linalg.svd(jacobian, compute_uv=False)
        if np.linalg.det(jacobian) <= 0 or long > _STRETCH * short:
            return False
        areas.append(long * short)
    scales = np.sqrt(areas)
    if scales.max() > _LEAN * scales.min():
        return False
    return bool(_SCALES[0] < scales[-1] < _SCALES[1])
