"""Finds whether two pictures share a part, and where, by features that fit a homography.

Features are paired as mutual nearest neighbours (Lowe's ratio test) and vote for scale and rotation
(Lowe 2004); MAGSAC++ (Barath et al. 2020, by OpenCV) fits a homography to the pairs that agree. The
features that are left are tried again, because a plate may hold two pictures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from halftone.matching import pairing, polygons
from halftone.matching.features import SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MIN_INLIERS: Final = 6
"""The fewest inliers of an overlap; fewer agree by chance between any two pictures."""
MAX_OVERLAPS: Final = 4
"""The most overlaps that are returned for two pictures."""
FEWEST_FEATURES: Final = 20
"""If a picture has fewer features than this, finding no overlap is inconclusive."""

_TOLERANCE: Final = 4.0  # pixels of the frame whose longer side is SIDE
_ITERATIONS: Final = 1000
_CONFIDENCE: Final = 0.999
_STRETCH: Final = 1.6  # length over breadth of what a square becomes
_LEAN: Final = 1.8  # scale at one end of the overlap over that at the other
_SCALES: Final = (0.08, 12.0)
_FAR: Final = 3 * _TOLERANCE
_REACH: Final = 0.08  # of SIDE: how far an inlier vouches for what lies around it
_WITHIN: Final = 0.5
_LOCAL: Final = 0.33  # share of the features where the frames meet
_HULL: Final = 6  # inliers that a hull rests on
_UNLIKELY: Final = float(np.log(1e-6))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """A part that two pictures share. All coordinates are pixels of the pictures as given.

    Attributes:
        inliers: Number of features that agree on the overlap.
        homography: float64 [3, 3], takes points of the query to points of the candidate.
        query_polygon: float32 [K, 2], convex, clockwise on screen, within the query.
        candidate_polygon: float32 [K, 2], convex, within the candidate; its corner k is corner k of
            the query's polygon.
        query_share: The share of the query's area that it covers, 0 to 1.
        candidate_share: The share of the candidate's area that it covers, 0 to 1.
        mirrored: Whether the homography turns the query over.
        rotation: Degrees by which the query, after mirroring, is turned clockwise, -180 to 180.
        scale: Length in the candidate over length in the query.
        matches: Pairs of features that looked alike and lie within the overlap in both pictures,
            whether they agree or not.
        residual: Median distance of inliers from where they should be, in pixels of the picture
            with fewer features, scaled to a longer side of `features.SIDE`.
        coverage: The share of the overlap that lies near an inlier, 0 to 1.
        rivals: Number of features in it that agree on other homographies, for example in a relief
            or because something moved.
        negative: Whether one picture is a negative of the other: light where that is dark.
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
    rivals: int = 0
    negative: bool = False

    def from_the_other_side(self) -> Overlap:
        """Return the overlap with query and candidate exchanged."""
        back = np.linalg.inv(self.homography)
        # Corners run clockwise in the query; a mirrored part has them the other way round.
        order = slice(None, None, -1 if self.mirrored else 1)
        return replace(
            self,
            homography=back / back[2, 2],
            query_polygon=self.candidate_polygon[order],
            candidate_polygon=self.query_polygon[order],
            query_share=self.candidate_share,
            candidate_share=self.query_share,
            # Turning back and then mirroring back equals mirroring and then turning as before.
            rotation=self.rotation if self.mirrored else -self.rotation,
            scale=1 / self.scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of a comparison of two pictures.

    Attributes:
        overlaps: The shared parts, the one with the most inliers first; empty if there is none.
        seconds: Duration of the comparison.
        is_conclusive: False if there is no overlap and one of the pictures, because it is faint,
            blurred or tiny, has fewer than `FEWEST_FEATURES` features.
    """

    overlaps: tuple[Overlap, ...]
    seconds: float
    is_conclusive: bool = True

    @property
    def is_negative(self) -> bool:
        """Return whether one picture is a negative of the other, by their largest overlap."""
        return bool(self.overlaps) and self.overlaps[0].negative


def verify(
    query: LocalFeatures, candidate: LocalFeatures, *, mirrored: bool | None = None
) -> Verification:
    """Compare two pictures by their local features, as they are and one in negative.

    The result depends on the features alone. With query and candidate exchanged it holds the same
    evidence, seen from the other side.

    Args:
        query: Features of one picture.
        candidate: Features of the other picture.
        mirrored: Compare the query mirrored (True), as it is (False), or both ways (None).
    """
    begun = time.perf_counter()
    agreements: list[_Agreement] = []
    fewest = min(len(query), len(candidate))
    # Sampling and tolerance depend on which picture is laid upon which, so the one with more
    # features is always laid upon the other.
    turned_round = _weight(query) < _weight(candidate)
    first, second = (candidate, query) if turned_round else (query, candidate)
    if fewest >= MIN_INLIERS:
        sides = (False, True) if mirrored is None else (mirrored,)
        agreements = _compare(first, second, sides=sides)
        if pairing.may_be_negative(first, second):
            agreements += _compare(first.negative(), second, sides=sides, negative=True)
    overlaps = [_overlap(overlap) for overlap in _distinct(agreements)]
    if turned_round:
        overlaps = [overlap.from_the_other_side() for overlap in overlaps]
    return Verification(
        overlaps=tuple(overlaps),
        seconds=time.perf_counter() - begun,
        is_conclusive=bool(overlaps) or fewest >= FEWEST_FEATURES,
    )


def _compare(
    query: LocalFeatures,
    candidate: LocalFeatures,
    *,
    sides: Sequence[bool],
    negative: bool = False,
) -> list[_Agreement]:
    """Return what the pictures agree on, with the query mirrored or not as `sides` says.

    `negative` says whether the query was made a negative.
    """
    likeness = pairing.compare(pairing.split(query), pairing.split(candidate))
    target = _Side.of(candidate)
    agreements: list[_Agreement] = []
    for mirrored in sides:
        side = _Side.of(query, mirrored=mirrored, negative=negative)
        alike = likeness.mirrored if mirrored else likeness.plain
        agreements += _agreements(side, target, likeness=alike)
    return agreements


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """A picture's features in a frame whose longer side measures SIDE."""

    points: Floats
    size: tuple[float, float]
    shrunk: float
    mirrored: bool
    negative: bool

    @classmethod
    def of(
        cls, features: LocalFeatures, *, mirrored: bool = False, negative: bool = False
    ) -> _Side:
        shrunk = SIDE / max(features.width, features.height, 1)
        turned = features.mirrored() if mirrored else features
        return cls(
            points=turned.points * np.array([*[shrunk] * 3, 1], dtype=np.float32),
            size=(features.width * shrunk, features.height * shrunk),
            shrunk=shrunk,
            mirrored=mirrored,
            negative=negative,
        )


@dataclass(slots=True, kw_only=True)
class _Agreement:
    """Matches (p to q), some of which agree on a plausible homography, in the frames."""

    query: _Side
    candidate: _Side
    homography: Doubles
    p: Floats
    q: Floats
    inliers: NDArray[np.bool_]
    shared: Doubles  # where the frames meet, in the query
    support: Doubles  # what inliers vouch for, in the query
    rivals: int = 0

    @property
    def count(self) -> int:
        return int(self.inliers.sum())


def _agreements(query: _Side, candidate: _Side, *, likeness: Floats) -> list[_Agreement]:
    first, second = pairing.pair(likeness)
    source, target = query.points[first], candidate.points[second]
    p, q = source[:, :2], target[:, :2]
    turn = np.deg2rad(target[:, 3] - source[:, 3])
    octaves = np.log2(np.maximum(target[:, 2], 1e-6)) - np.log2(np.maximum(source[:, 2], 1e-6))
    left = np.ones(len(p), dtype=bool)
    agreements: list[_Agreement] = []
    for _ in range(MAX_OVERLAPS):
        agreed = _best(p, q, turn=turn, octaves=octaves, left=left)
        if agreed is None:
            break
        homography, inliers = agreed
        # Features near the plane are no evidence for another homography.
        left &= ~inliers & (_distances(homography, p, q) > _FAR)
        shared = polygons.shared_part(homography, query.size, candidate.size)
        hull = _hull(p[inliers])
        if shared is None or not _is_plausible(homography, hull):
            continue
        support = polygons.intersection(shared, polygons.grow(hull, by=_REACH * SIDE))
        if len(support) < 3:  # noqa: PLR2004 - a triangle
            continue
        agreements.append(
            _Agreement(
                query=query,
                candidate=candidate,
                homography=homography,
                p=p,
                q=q,
                inliers=inliers,
                shared=shared,
                support=support,
            )
        )
    return agreements


def _distinct(agreements: list[_Agreement]) -> list[_Agreement]:
    """Leave out agreements that explain parts which a better agreement explains already.

    A face matches its own mirror image; a scene in relief follows several planes.
    """
    kept: list[_Agreement] = []
    for weaker in sorted(agreements, key=lambda weaker: -weaker.count):
        rival = next((stronger for stronger in kept if _explains(stronger, weaker)), None)
        if rival is None:
            kept.append(weaker)
        elif _lie_alike(rival.query, weaker.query):
            rival.rivals += weaker.count
    return kept[:MAX_OVERLAPS]


def _lie_alike(one: _Side, other: _Side) -> bool:
    return one.mirrored == other.mirrored and one.negative == other.negative


def _explains(stronger: _Agreement, weaker: _Agreement) -> bool:
    p, q = weaker.p[weaker.inliers], weaker.q[weaker.inliers]
    if stronger.query.mirrored != weaker.query.mirrored:
        p = np.column_stack([np.float32(stronger.query.size[0]) - p[:, 0], p[:, 1]])
    support, _ = _project(stronger.homography, stronger.support)
    return bool(
        polygons.contains(stronger.support, p).mean() > _WITHIN
        or polygons.contains(support, q).mean() > _WITHIN
    )


def _weight(features: LocalFeatures) -> tuple[int, bytes]:
    """Return a key that puts any two pictures in the same order."""
    return len(features), features.points.tobytes()


def _best(
    p: Floats,
    q: Floats,
    *,
    turn: Floats,
    octaves: Floats,
    left: NDArray[np.bool_],
) -> tuple[Doubles, NDArray[np.bool_]] | None:
    """Return the homography that most of the matches agree on, and the matches that do, or None.

    When a dozen matches agree, sampling may end with a homography that is stretched beyond what a
    press makes. So both directions are sampled, and the plausible homography is taken.
    """
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
        key=lambda each: (_is_plausible(each[0], _hull(p[each[1]])), int(each[1].sum())),
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


def _hull(points: Floats) -> Doubles:
    return cv2.convexHull(points).reshape(-1, 2).astype(np.float64)


def _distances(homography: Doubles, p: Floats, q: Floats) -> Doubles:
    moved, w = _project(homography, p)
    away: Doubles = np.where(w > 0, np.linalg.norm(moved - q, axis=1), np.inf)
    return away


def _project(homography: Doubles, points: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    x = np.column_stack([points, np.ones(len(points))]) @ homography.T
    w = x[:, 2]
    return x[:, :2] / np.where(np.abs(w) < 1e-9, 1e-9, w)[:, None], w  # noqa: PLR2004 - no division by 0


def _overlap(agreement: _Agreement) -> Overlap:
    """Return an overlap in pixels of the pictures as given."""
    query, candidate, p, q = agreement.query, agreement.candidate, agreement.p, agreement.q
    homography, inliers = agreement.homography, agreement.inliers
    part = agreement.support if _is_local(agreement) else agreement.shared
    moved, _ = _project(homography, part)
    moved = moved.clip(0, candidate.size)
    jacobian = _jacobian(homography, p[inliers].mean(axis=0, dtype=np.float64))
    angle = np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    scale = float(np.sqrt(max(np.linalg.det(jacobian), 1e-12)))
    inside = polygons.contains(part, p) & polygons.contains(moved, q)
    full = np.diag([1 / candidate.shrunk, 1 / candidate.shrunk, 1.0]) @ homography
    full = full @ np.diag([query.shrunk, query.shrunk, 1.0])
    corners = part / query.shrunk
    if query.mirrored:
        width = query.size[0] / query.shrunk
        full = full @ np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
        corners[:, 0] = width - corners[:, 0]
        # Makes the corners clockwise again.
        corners, moved = corners[::-1], moved[::-1]
    return Overlap(
        inliers=agreement.count,
        homography=full / full[2, 2],
        query_polygon=corners.astype(np.float32),
        candidate_polygon=(moved / candidate.shrunk).astype(np.float32),
        query_share=min(1.0, polygons.area(part) / (query.size[0] * query.size[1])),
        candidate_share=min(1.0, polygons.area(moved) / (candidate.size[0] * candidate.size[1])),
        mirrored=query.mirrored,
        rotation=float(np.rad2deg(angle)),
        scale=scale * query.shrunk / candidate.shrunk,
        matches=max(int(inside.sum()), agreement.count),
        residual=float(np.median(_distances(homography, p[inliers], q[inliers]))),
        coverage=polygons.coverage(part, p[inliers], reach=_REACH * SIDE),
        rivals=agreement.rivals,
        negative=query.negative,
    )


def _is_local(agreement: _Agreement) -> bool:
    """Return whether the pictures agree only in a part of the area where their frames meet.

    Both pictures have features in the rest of this area, too. If they showed the same there,
    inliers would be spread as the features are. This is tested with the number of inliers, less
    about as many as the hull around them rests on. Faint parts of a poor printing look the same, so
    the rest must have a third of the features of both pictures.
    """
    ours, theirs = agreement.query.points[:, :2], agreement.candidate.points[:, :2]
    shared, _ = _project(agreement.homography, agreement.shared)
    support, _ = _project(agreement.homography, agreement.support)
    meets, inside = (
        polygons.contains(agreement.shared, ours),
        polygons.contains(agreement.support, ours),
    )
    there, inner = polygons.contains(shared, theirs), polygons.contains(support, theirs)
    rest = min(
        float((meets & ~inside).sum() / max(meets.sum(), 1)),
        float((there & ~inner).sum() / max(there.sum(), 1)),
    )
    if rest < _LOCAL:
        return False
    return bool((agreement.count - _HULL) * np.log1p(-min(rest, 0.99)) < _UNLIKELY)


def _jacobian(homography: Doubles, point: Doubles) -> Doubles:
    x, y = point
    w = homography[2] @ (x, y, 1)
    u, v = (homography[:2] @ (x, y, 1)) / w
    jacobian: Doubles = (homography[:2, :2] - np.outer((u, v), homography[2, :2])) / w
    return jacobian


def _is_plausible(homography: Doubles, hull: Doubles) -> bool:
    corners = np.vstack([hull, hull.mean(axis=0, keepdims=True)])
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
