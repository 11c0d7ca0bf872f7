"""Finds whether two pictures share a part, and where, by features that fit a homography.

Features are paired as mutual nearest neighbours (Lowe's ratio test) and vote for scale and rotation
(Lowe 2004); MAGSAC++ (Barath et al. 2020, by OpenCV) fits a homography to the pairs that agree. The
features that are left are tried again, because a plate may hold two pictures. Each homography is
then checked tile by tile on small copies (`halftone.matching.agreement`), and what it registers is
looked at (`halftone.matching.looks.judge`): features may agree on a frame or a masthead alone.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from halftone.matching import agreement as dense
from halftone.matching import pairing, polygons
from halftone.matching.features import SIDE
from halftone.matching.overlaps import Difference, Overlap, Part, Verification
from halftone.matching.registered import (
    MAX_OVERLAPS,
    Registered,
    Side,
    is_contradicted,
    keep_distinct,
    look_and_sort,
)
from halftone.matching.registration import (
    MIN_INLIERS,
    TOLERANCE,
    Matches,
    find_homography,
    hull_of,
    is_plausible,
    jacobian_of,
    measure_distances,
    project,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FEWEST_FEATURES: Final = 20
"""If a picture has fewer features than this, finding no overlap is inconclusive."""

_FAR: Final = 3 * TOLERANCE
_REACH: Final = 0.08  # of SIDE: how far an inlier vouches for what lies around it
_LOCAL: Final = 0.33  # share of the features where the frames meet
_WHOLE: Final = 0.75  # of where the frames meet, in each direction and of what can be compared
_HULL: Final = 6  # inliers that a hull rests on
_UNLIKELY: Final = float(np.log(1e-6))


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
    fewest = min(len(query), len(candidate))
    # Sampling and tolerance depend on which picture is laid upon which, so the one with more
    # features is always laid upon the other.
    turned_round = _weight(query) < _weight(candidate)
    first, second = (candidate, query) if turned_round else (query, candidate)
    sides = (False, True) if mirrored is None else (mirrored,)
    found = look_and_sort(_find(first, second, sides=sides))
    overlaps = [_overlap(agreement) for agreement in found]
    if turned_round:
        overlaps = [overlap.from_the_other_side() for overlap in overlaps]
    return Verification(
        overlaps=tuple(overlaps),
        seconds=time.perf_counter() - begun,
        is_conclusive=bool(overlaps) or fewest >= FEWEST_FEATURES,
    )


def compare_tiles(query: LocalFeatures, candidate: LocalFeatures) -> list[dense.Agreement]:
    """Compare two pictures by their local features, and return what tiles say of each overlap.

    What the pictures share is not judged: that is learnt from this.
    """
    first, second = sorted((query, candidate), key=_weight, reverse=True)
    found = _find(first, second, sides=(False, True))
    return [each.tiles for each in found if each.tiles is not None]


def compare_framed(
    query: LocalFeatures, candidate: LocalFeatures
) -> tuple[dense.Agreement, Doubles] | None:
    """Compare two printings; return what tiles say of all they share, and where it is compared.

    Returns:
        The agreement, and [3, 3], which takes pixels of the query to the frame of the comparison;
        None if nothing registers, or one of them is mirrored or a negative.
    """
    turned_round = _weight(query) < _weight(candidate)
    first, second = (candidate, query) if turned_round else (query, candidate)
    found = _find(first, second, sides=(False,))
    if not found or found[0].tiles is None or found[0].query.negative:
        return None
    agreement, tiles = found[0], found[0].tiles
    shrunk = agreement.candidate.shrunk if turned_round else agreement.query.shrunk
    laid = np.linalg.inv(agreement.homography) if turned_round else np.eye(3)
    placed: Doubles = tiles.tiles.to_frame @ laid @ np.diag([shrunk, shrunk, 1.0])
    return tiles, placed


def compare_at(
    query: LocalFeatures, candidate: LocalFeatures, homography: Doubles
) -> dense.Agreement | None:
    """Compare two pictures tile by tile as a homography lays them upon each other.

    Args:
        query: Features of one picture, with its copy.
        candidate: Features of the other picture.
        homography: [3, 3], takes points of the query to points of the candidate, in pixels.

    Returns:
        What tiles say; None if the frames do not meet, or a copy is missing.
    """
    first, second = Side.of(query), Side.of(candidate)
    within = np.diag([second.shrunk, second.shrunk, 1.0]) @ homography
    within = within @ np.diag([1 / first.shrunk, 1 / first.shrunk, 1.0])
    return _compare_tiles(first, second, within)


def _find(
    first: LocalFeatures, second: LocalFeatures, *, sides: Sequence[bool]
) -> list[Registered]:
    """Return what two pictures agree on, the larger areas first; the first has more features."""
    if len(second) < MIN_INLIERS:
        return []
    agreements = _compare(first, second, sides=sides)
    if pairing.may_be_negative(first, second):
        agreements += _compare(first.negative(), second, sides=sides, negative=True)
    return keep_distinct(agreements)


def _compare(
    query: LocalFeatures,
    candidate: LocalFeatures,
    *,
    sides: Sequence[bool],
    negative: bool = False,
) -> list[Registered]:
    """Return what the pictures agree on, with the query mirrored or not as `sides` says.

    `negative` says whether the query was made a negative.
    """
    likeness = pairing.compare(pairing.split(query), pairing.split(candidate))
    target = Side.of(candidate)
    agreements: list[Registered] = []
    for mirrored in sides:
        side = Side.of(query, mirrored=mirrored, negative=negative)
        alike = likeness.mirrored if mirrored else likeness.plain
        agreements += _agreements(side, target, likeness=alike)
    return agreements


def _match(query: Side, candidate: Side, *, likeness: Floats) -> Matches:
    first, second = pairing.pair(likeness)
    source, target = query.points[first], candidate.points[second]
    octaves = np.log2(np.maximum(target[:, 2], 1e-6)) - np.log2(np.maximum(source[:, 2], 1e-6))
    return Matches(
        p=source[:, :2],
        q=target[:, :2],
        turn=np.deg2rad(target[:, 3] - source[:, 3]),
        octaves=octaves,
    )


def _agreements(query: Side, candidate: Side, *, likeness: Floats) -> list[Registered]:
    matches = _match(query, candidate, likeness=likeness)
    left = np.ones(len(matches.p), dtype=bool)
    agreements: list[Registered] = []
    for _ in range(MAX_OVERLAPS):
        agreed = find_homography(matches, left=left)
        if agreed is None:
            break
        homography, inliers = agreed
        # Features near the plane are no evidence for another homography.
        left &= ~inliers & (measure_distances(homography, matches.p, matches.q) > _FAR)
        agreements += _register(query, candidate, matches, homography=homography, inliers=inliers)
    # What moved a little inside its frame lies near the frame's plane.
    for agreement in agreements[:1]:
        agreed = find_homography(matches, left=is_contradicted(agreement, matches.p))
        if agreed is not None:
            agreements += _register(
                query, candidate, matches, homography=agreed[0], inliers=agreed[1]
            )
    return agreements


def _register(
    query: Side,
    candidate: Side,
    matches: Matches,
    *,
    homography: Doubles,
    inliers: NDArray[np.bool_],
) -> list[Registered]:
    """Return the agreement on a homography, or none if no press and scanner can make it."""
    p = matches.p
    shared = polygons.shared_part(homography, query.size, candidate.size)
    hull = hull_of(p[inliers])
    # A few inliers in a corner may say wild things of the rest of the picture.
    if shared is None or not all(is_plausible(homography, part) for part in (hull, shared)):
        return []
    support = polygons.intersection(shared, polygons.grow(hull, by=_REACH * SIDE))
    if len(support) < 3:  # noqa: PLR2004 - a triangle
        return []
    return [
        Registered(
            query=query,
            candidate=candidate,
            homography=homography,
            p=p,
            q=matches.q,
            inliers=inliers,
            shared=shared,
            support=support,
            tiles=_compare_tiles(query, candidate, homography),
        )
    ]


def _compare_tiles(query: Side, candidate: Side, homography: Doubles) -> dense.Agreement | None:
    meeting = polygons.shared_part(homography, query.size, candidate.size)
    ours, theirs = query.grey(), candidate.grey()
    if meeting is None or ours is None or theirs is None:
        return None
    return dense.compare(
        ours,
        theirs,
        homography,
        first_size=query.size,
        second_size=candidate.size,
        meeting=meeting,
    )


def _weight(features: LocalFeatures) -> tuple[int, bytes]:
    """Return a key that puts any two pictures in the same order."""
    return len(features), features.points.tobytes()


def _overlap(agreement: Registered) -> Overlap:
    """Return an overlap in pixels of the pictures as given."""
    query, candidate, p, q = agreement.query, agreement.candidate, agreement.p, agreement.q
    homography, inliers = agreement.homography, agreement.inliers
    part = _overlapping_part(agreement)
    moved = project(homography, part)[0].clip(0, candidate.size)
    jacobian = jacobian_of(homography, p[inliers].mean(axis=0, dtype=np.float64))
    angle = np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    scale = float(np.sqrt(max(np.linalg.det(jacobian), 1e-12)))
    inside = polygons.contains(part, p) & polygons.contains(moved, q)
    full = np.diag([1 / candidate.shrunk, 1 / candidate.shrunk, 1.0]) @ homography
    full = full @ np.diag([query.shrunk, query.shrunk, 1.0])
    if query.mirrored:
        width = query.size[0] / query.shrunk
        full = full @ np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
    tiles, look = agreement.tiles, agreement.look
    corners, there = _in_pictures(agreement, part)
    return Overlap(
        inliers=agreement.count,
        homography=full / full[2, 2],
        query_polygon=corners,
        candidate_polygon=there,
        query_share=min(1.0, polygons.area(part) / (query.size[0] * query.size[1])),
        candidate_share=min(1.0, polygons.area(moved) / (candidate.size[0] * candidate.size[1])),
        mirrored=query.mirrored,
        rotation=float(np.rad2deg(angle)),
        scale=scale * query.shrunk / candidate.shrunk,
        matches=max(int(inside.sum()), agreement.count),
        residual=float(np.median(measure_distances(homography, p[inliers], q[inliers]))),
        rivals=agreement.rivals,
        negative=query.negative,
        parts=() if tiles is None else tuple(_part(agreement, each) for each in tiles.parts),
        differences=()
        if look is None
        else tuple(
            Difference(part=_part(agreement, each.part), share=each.share, certainty=each.certainty)
            for each in look.differences
        ),
        evidence=None
        if tiles is None or look is None
        else replace(tiles.evidence, judgement=look.judgement),
    )


def _part(agreement: Registered, polygon: Doubles) -> Part:
    here, there = _in_pictures(agreement, polygon)
    return Part(query_polygon=here, candidate_polygon=there)


def _in_pictures(agreement: Registered, polygon: Doubles) -> tuple[Floats, Floats]:
    """Return a polygon of the query's frame in pixels of the query and of the candidate."""
    query, candidate = agreement.query, agreement.candidate
    here = polygon / query.shrunk
    there = project(agreement.homography, polygon)[0].clip(0, candidate.size) / candidate.shrunk
    if query.mirrored:
        here[:, 0] = query.size[0] / query.shrunk - here[:, 0]
        # Makes the corners clockwise again.
        here, there = here[::-1], there[::-1]
    return here.astype(np.float32), there.astype(np.float32)


def _overlapping_part(agreement: Registered) -> Doubles:
    """Return the part that is said to be shared: a convex polygon in the query."""
    if agreement.tiles is None:
        return agreement.support if _is_local(agreement) else agreement.shared
    if min(agreement.tiles.evidence.breadth, agreement.tiles.evidence.solid) >= _WHOLE:
        # Tiles are coarse: what is left out at the edge is margin.
        return agreement.shared
    look, largest = agreement.look, agreement.tiles.parts[:1]
    if look is not None and look.part is not None and look.judgement > 0:
        # What differs in a picture is in it; in a frame it is another picture.
        largest = look.part[None]
    for part in largest:
        cut = polygons.intersection(agreement.shared, part)
        if len(cut) >= 3:  # noqa: PLR2004 - a triangle
            return cut
    return agreement.support


def _is_local(agreement: Registered) -> bool:
    """Return whether the pictures agree only in a part of the area where their frames meet.

    Both pictures have features in the rest of this area, too. If they showed the same there,
    inliers would be spread as the features are. This is tested with the number of inliers, less
    about as many as the hull around them rests on. Faint parts of a poor printing look the same, so
    the rest must have a third of the features of both pictures.
    """
    ours, theirs = agreement.query.points[:, :2], agreement.candidate.points[:, :2]
    shared, _ = project(agreement.homography, agreement.shared)
    support, _ = project(agreement.homography, agreement.support)
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
