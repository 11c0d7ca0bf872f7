"""Whether two pictures share a part, and where: local features that agree on a homography.

Mutual nearest neighbours (Lowe's ratio test), a vote for scale and rotation (Lowe 2004), MAGSAC++
(Barath et al. 2020, by OpenCV) on what agrees, again on what is left: a plate may show two pictures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching import polygons
from halftone.matching.features import SIDE
from halftone.matching.words import unit

if TYPE_CHECKING:
    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MIN_INLIERS: Final = 6
"""Fewer agree by chance between any two pictures."""
MAX_OVERLAPS: Final = 4
"""Found between two pictures."""

_RATIO: Final = 0.85
_TOLERANCE: Final = 4.0  # pixels of the frame whose longer side is SIDE
_OCTAVES: Final = 0.6  # by which scales may differ within a vote
_ANGLE: Final = np.deg2rad(20)
_ITERATIONS: Final = 1000
_CONFIDENCE: Final = 0.999
_STRETCH: Final = 1.6  # length over breadth of what a square becomes
_LEAN: Final = 1.8  # scale at one end of the overlap over that at the other
_SCALES: Final = (0.08, 12.0)
_CERTAIN: Final = 20  # inliers; the mirrored picture need not be tried after as many
_REACH: Final = 0.08  # of SIDE: how far an inlier vouches for what lies around it
_CELLS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """A part that two pictures share. Pixels are those of the pictures as given.

    Attributes:
        inliers: Features that agree on it.
        homography: float64 [3, 3], takes points of the query to points of the candidate.
        query_polygon: float32 [K, 2], convex, clockwise as it is seen, within the query.
        candidate_polygon: Likewise within the candidate; corner k is that of the query's.
        query_share: Of the query's area, 0 to 1.
        candidate_share: Of the candidate's area, 0 to 1.
        mirrored: The homography turns the query over.
        rotation: By which the query, after it was mirrored, is turned clockwise, -180 to 180.
        scale: Length in the candidate over length in the query.
        matches: Pairs of features that looked alike and lie within the overlap in both pictures,
            whether they agree or not.
        residual: Median distance of inliers from where they should be, in pixels of the
            candidate scaled to a longer side of `features.SIDE`.
        coverage: Share of the overlap that lies near an inlier, 0 to 1.
    """

    inliers: int
    homography: Doubles
    query_polygon: Floats
    candidate_polygon: Floats
    query_share: float
    candidate_share: float
    mirrored: bool
    rotation: float
    scale: float
    matches: int
    residual: float
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a comparison found.

    Attributes:
        overlaps: The one with the most inliers first; none if the pictures share nothing.
        seconds: It took.
    """

    overlaps: tuple[Overlap, ...]
    seconds: float


def verify(
    query: LocalFeatures, candidate: LocalFeatures, *, mirrored: bool | None = None
) -> Verification:
    """Compares two pictures. The same features give the same overlaps, in any thread.

    Args:
        query: Features of one picture.
        candidate: Of the other.
        mirrored: Compare the query mirrored (True), as it is (False), or both ways (None).
    """
    begun = time.perf_counter()
    found: list[Overlap] = []
    for turned in (False, True) if mirrored is None else (mirrored,):
        if found and found[0].inliers >= _CERTAIN:
            break
        found += _overlaps(query.mirrored() if turned else query, candidate, mirrored=turned)
        found.sort(key=lambda each: -each.inliers)
    return Verification(overlaps=tuple(found), seconds=time.perf_counter() - begun)


def _overlaps(query: LocalFeatures, candidate: LocalFeatures, *, mirrored: bool) -> list[Overlap]:
    if min(len(query), len(candidate)) < MIN_INLIERS:
        return []
    first, second = _matches(query, candidate)
    source, target = query.points[first], candidate.points[second]
    from_frame, to_frame = _frame(query), _frame(candidate)
    p = source[:, :2] * from_frame
    q = target[:, :2] * to_frame
    turn = np.deg2rad(target[:, 3] - source[:, 3])
    octaves = np.log2(np.maximum(target[:, 2] * to_frame, 1e-6)) - np.log2(
        np.maximum(source[:, 2] * from_frame, 1e-6)
    )
    left = np.ones(len(p), dtype=bool)
    found: list[Overlap] = []
    while len(found) < MAX_OVERLAPS:
        agreed = _best(p, q, turn=turn, octaves=octaves, left=left)
        if agreed is None:
            break
        homography, inliers = agreed
        if not (left & inliers).any():
            break
        overlap = _overlap(
            homography, inliers, p=p, q=q, query=query, candidate=candidate, mirrored=mirrored
        )
        if overlap is None:
            break
        found.append(overlap)
        # What lies near the plane is no evidence for another.
        left &= _distances(homography, p, q) > 3 * _TOLERANCE
    return found


def _frame(features: LocalFeatures) -> np.float32:
    return np.float32(SIDE / max(features.width, features.height, 1))


def _matches(
    query: LocalFeatures, candidate: LocalFeatures
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Features that are each other's nearest, and clearly nearer than the second."""
    cosines = unit(query.descriptors) @ unit(candidate.descriptors).T
    rows = np.arange(len(cosines))
    nearest = cosines.argmax(axis=1)
    mutual = cosines.argmax(axis=0)[nearest] == rows
    best = cosines[rows, nearest]
    cosines[rows, nearest] = -1
    second = cosines.max(axis=1)
    # Squared distances of unit vectors are 2 - 2 cos.
    clear = (1 - best) < _RATIO**2 * (1 - second)
    kept = np.flatnonzero(mutual & clear)
    return kept, nearest[kept]


def _best(
    p: Floats,
    q: Floats,
    *,
    turn: Floats,
    octaves: Floats,
    left: NDArray[np.bool_],
) -> tuple[Doubles, NDArray[np.bool_]] | None:
    """The homography that most of the matches left agree on, and which they are."""
    rows = np.flatnonzero(left)
    if len(rows) < MIN_INLIERS:
        return None
    angles = np.angle(np.exp(1j * (turn[rows, None] - turn[None, rows])))
    near = np.abs(octaves[rows, None] - octaves[None, rows]) < _OCTAVES
    near &= np.abs(angles) < _ANGLE
    vote = rows[near[near.sum(axis=1).argmax()]]
    if len(vote) < MIN_INLIERS:
        return None
    homography, mask = cv2.findHomography(
        p[vote],
        q[vote],
        cv2.USAC_MAGSAC,
        _TOLERANCE,
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


def _distances(homography: Doubles, p: Floats, q: Floats) -> Doubles:
    moved, w = _project(homography, p)
    away: Doubles = np.where(w > 0, np.linalg.norm(moved - q, axis=1), np.inf)
    return away


def _project(homography: Doubles, points: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    x = np.column_stack([points, np.ones(len(points))]) @ homography.T
    w = x[:, 2]
    return x[:, :2] / np.where(np.abs(w) < 1e-9, 1e-9, w)[:, None], w  # noqa: PLR2004 - no division by 0


def _overlap(
    homography: Doubles,
    inliers: NDArray[np.bool_],
    *,
    p: Floats,
    q: Floats,
    query: LocalFeatures,
    candidate: LocalFeatures,
    mirrored: bool,
) -> Overlap | None:
    """Describes an overlap; None where the homography is none that a press and a scanner make."""
    hull = cv2.convexHull(p[inliers]).reshape(-1, 2)
    if not _is_plausible(homography, hull):
        return None
    from_frame, to_frame = float(_frame(query)), float(_frame(candidate))
    query_size = (query.width * from_frame, query.height * from_frame)
    candidate_size = (candidate.width * to_frame, candidate.height * to_frame)
    shared = polygons.shared(homography, query_size, candidate_size)
    if shared is None:
        return None
    moved, _ = _project(homography, shared)
    moved = moved.clip(0, candidate_size)
    centre = p[inliers].mean(axis=0, dtype=np.float64)
    jacobian = _jacobian(homography, centre)
    scale = float(np.sqrt(max(np.linalg.det(jacobian), 1e-12)))
    angle = np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    inside = polygons.contains(shared, p) & polygons.contains(moved, q)
    distances = _distances(homography, p[inliers], q[inliers])
    full = np.diag([1 / to_frame, 1 / to_frame, 1.0]) @ homography
    full = full @ np.diag([from_frame, from_frame, 1.0])
    query_polygon = shared / from_frame
    if mirrored:
        turn_over = np.array([[-1.0, 0, query.width], [0, 1, 0], [0, 0, 1]])
        full = full @ turn_over
        query_polygon[:, 0] = query.width - query_polygon[:, 0]
    return Overlap(
        inliers=int(inliers.sum()),
        homography=full / full[2, 2],
        query_polygon=query_polygon.astype(np.float32),
        candidate_polygon=(moved / to_frame).astype(np.float32),
        query_share=min(1.0, polygons.area(shared) / (query_size[0] * query_size[1])),
        candidate_share=min(1.0, polygons.area(moved) / (candidate_size[0] * candidate_size[1])),
        mirrored=mirrored,
        rotation=float(np.rad2deg(angle)),
        scale=scale * from_frame / to_frame,
        matches=max(int(inside.sum()), int(inliers.sum())),
        residual=float(np.median(distances)),
        coverage=polygons.coverage(shared, p[inliers], reach=_REACH * SIDE),
    )


def _jacobian(homography: Doubles, point: Doubles) -> Doubles:
    x, y = point
    w = homography[2] @ (x, y, 1)
    u, v = (homography[:2] @ (x, y, 1)) / w
    jacobian: Doubles = (homography[:2, :2] - np.outer((u, v), homography[2, :2])) / w
    return jacobian


def _is_plausible(homography: Doubles, hull: Floats) -> bool:
    corners = np.vstack([hull, hull.mean(axis=0, keepdims=True)]).astype(np.float64)
    _, w = _project(homography, corners)
    if (w <= 1e-6).any():  # noqa: PLR2004 - behind the horizon
        return False
    areas = []
    for corner in corners:
        jacobian = _jacobian(homography, corner)
        long, short = np.linalg.svd(jacobian, compute_uv=False)
        if np.linalg.det(jacobian) <= 0 or long > _STRETCH * short:
            return False
        areas.append(long * short)
    scales = np.sqrt(areas)
    if scales.max() > _LEAN * scales.min():
        return False
    return bool(_SCALES[0] < scales[-1] < _SCALES[1])
