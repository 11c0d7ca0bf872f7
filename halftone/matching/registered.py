"""Keeps, of what registers two pictures, what explains parts of its own, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halftone.matching import agreement as dense
from halftone.matching import polygons
from halftone.matching.features import SIDE, decode_copy
from halftone.matching.registration import project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MAX_OVERLAPS: Final = 4
"""The most overlaps that are returned for two pictures."""
_WITHIN: Final = 0.5
_OUTNUMBERED: Final = 3  # times the inliers
_SURE: Final = 3.0  # logarithm of odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A picture's features in a frame whose longer side measures SIDE."""

    points: Floats
    size: tuple[float, float]
    shrunk: float
    mirrored: bool
    negative: bool
    copy: bytes

    def grey(self) -> NDArray[np.uint8] | None:
        """Return the picture's copy as the side lies and is; None if there is none."""
        return decode_copy(self.copy, mirrored=self.mirrored, negative=self.negative)

    @classmethod
    def of(cls, features: LocalFeatures, *, mirrored: bool = False, negative: bool = False) -> Side:
        """Bring a picture's features to that frame, mirrored or in negative if so asked."""
        shrunk = SIDE / max(features.width, features.height, 1)
        turned = features.mirrored() if mirrored else features
        return cls(
            points=turned.points * np.array([*[shrunk] * 3, 1], dtype=np.float32),
            size=(features.width * shrunk, features.height * shrunk),
            shrunk=shrunk,
            mirrored=mirrored,
            negative=negative,
            copy=features.copy,
        )


@dataclass(slots=True, kw_only=True)
class Registered:
    """Matches (p to q), some of which agree on a plausible homography, in the frames."""

    query: Side
    candidate: Side
    homography: Doubles
    p: Floats
    q: Floats
    inliers: NDArray[np.bool_]
    shared: Doubles  # where the frames meet, in the query
    support: Doubles  # what inliers vouch for, in the query
    tiles: dense.Agreement | None
    rivals: int = 0
    look: dense.Look | None = None

    @property
    def count(self) -> int:
        """Return the number of matches that agree."""
        return int(self.inliers.sum())


def keep_distinct(agreements: list[Registered]) -> list[Registered]:
    """Leave out agreements that explain parts which a better agreement explains already.

    A face matches its own mirror image; a scene in relief follows several planes.
    """
    kept: list[Registered] = []
    left = []
    for each in agreements:
        rival = _find_outnumbering(each, among=agreements)
        if rival is None:
            left.append(each)
        elif _lie_alike(rival.query, each.query):
            rival.rivals += each.count
    for weaker in sorted(left, key=_worth, reverse=True):
        rival = next((stronger for stronger in kept if _explains(stronger, weaker)), None)
        if rival is not None:
            if _lie_alike(rival.query, weaker.query):
                rival.rivals += weaker.count
        elif not kept or weaker.tiles is None or len(weaker.tiles.parts):
            kept.append(weaker)
    return kept[:MAX_OVERLAPS]


def _find_outnumbering(agreement: Registered, *, among: Sequence[Registered]) -> Registered | None:
    """Return one that agrees in its place with several times its inliers, and is worth less.

    A masthead of boxes and rules fits itself upside down as well.
    """
    return next(
        (
            other
            for other in among
            if other.count >= _OUTNUMBERED * agreement.count
            and _worth(other) < _worth(agreement)
            and _lies_within(agreement, other, shown=_is_shown)
        ),
        None,
    )


def look_and_sort(agreements: list[Registered]) -> list[Registered]:
    """Judge each agreement; return the one first that is most a picture over the largest area."""
    for each in agreements:
        if each.tiles is not None:
            each.look = each.tiles.look()
    return sorted(agreements, key=_rank, reverse=True)


def _rank(agreement: Registered) -> tuple[float, int]:
    # Furniture may be much larger than the picture. Two that surely are pictures go by area.
    if agreement.tiles is None or agreement.look is None:
        return 0.0, agreement.count
    odds = float(np.exp(min(agreement.look.judgement, _SURE)))
    return agreement.tiles.area * odds, agreement.count


def _lie_alike(one: Side, other: Side) -> bool:
    return one.mirrored == other.mirrored and one.negative == other.negative


def _worth(agreement: Registered) -> tuple[float, int]:
    """Return what an agreement shows: the area that agrees tile by tile, then its inliers.

    The area counts as far as it may be a picture: a frame may be larger than what it frames.
    """
    tiles = agreement.tiles
    return 0.0 if tiles is None else tiles.area * tiles.evidence.likeness, agreement.count


def _explains(stronger: Registered, weaker: Registered) -> bool:
    """Return whether most inliers of the weaker lie where the stronger shows a shared part.

    What lies within the stronger's hull though its tiles contradict is a picture of its own, such
    as one that moved in its frame, if it is in one piece; scattered, it is another plane of one
    scene.
    """
    shown = _is_shown if _is_in_one_piece(weaker) else _is_supported
    return _lies_within(weaker, stronger, shown=shown)


def _lies_within(
    weaker: Registered,
    stronger: Registered,
    *,
    shown: Callable[[Registered, NDArray[np.floating[Any]]], NDArray[np.bool_]],
) -> bool:
    """Return whether most inliers of the weaker lie in what the stronger shows, in one picture."""
    p, q = weaker.p[weaker.inliers], weaker.q[weaker.inliers]
    if stronger.query.mirrored != weaker.query.mirrored:
        p = np.column_stack([np.float32(stronger.query.size[0]) - p[:, 0], p[:, 1]])
    back, _ = project(np.asarray(np.linalg.inv(stronger.homography), dtype=np.float64), q)
    return any(shown(stronger, each).mean() > _WITHIN for each in (p, back))


def _is_in_one_piece(agreement: Registered) -> bool:
    """Return whether most inliers lie in the largest part that agrees tile by tile."""
    if agreement.tiles is None or not len(agreement.tiles.parts):
        return False
    inside = polygons.contains(agreement.tiles.parts[0], agreement.p[agreement.inliers])
    return bool(inside.mean() > _WITHIN)


def _is_supported(agreement: Registered, points: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which points of the query an agreement's inliers vouch for."""
    return polygons.contains(agreement.support, points)


def _is_shown(agreement: Registered, points: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which points of the query lie in a part that an agreement shows to be shared."""
    supported = _is_supported(agreement, points)
    if agreement.tiles is None:
        return supported
    odds = agreement.tiles.odds_at(points)
    shown: NDArray[np.bool_] = (odds > 0) | (supported & (odds == 0))
    return shown


def is_contradicted(agreement: Registered, points: Floats) -> NDArray[np.bool_]:
    """Return which points of the query lie where tiles contradict an agreement."""
    if agreement.tiles is None:
        return np.zeros(len(points), dtype=bool)
    contradicted: NDArray[np.bool_] = agreement.tiles.odds_at(points) < 0
    return contradicted
