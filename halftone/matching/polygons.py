"""Computes with convex polygons in the plane, float64 [K, 2]."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_FLAT: Final = 1.0  # square pixels


def rectangle(width: float, height: float) -> Doubles:
    """Return a rectangle's corners, clockwise on screen (y points down), from the top left."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def area(polygon: NDArray[np.floating[Any]]) -> float:
    """Return the area of a polygon, clockwise or not."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def clip(polygon: Doubles, *, normal: Doubles) -> Doubles:
    """Return the part of a polygon where normal . (x, y, 1) >= 0.

    The method is from Sutherland and Hodgman (1974). The result has no corners if there is no such
    part.
    """
    heights = polygon @ normal[:2] + normal[2]
    kept = []
    for here, there, a, b in zip(
        polygon, np.roll(polygon, -1, axis=0), heights, np.roll(heights, -1), strict=True
    ):
        if a >= 0:
            kept.append(here)
        if (a >= 0) != (b >= 0):
            kept.append(here + (there - here) * (a / (a - b)))
    return np.array(kept, dtype=np.float64).reshape(-1, 2)


def shared_part(
    homography: Doubles, query: tuple[float, float], candidate: tuple[float, float]
) -> Doubles | None:
    """Return the part of a query's frame that a homography maps into a candidate's frame.

    The query's rectangle is cut by five lines. Four are the sides of the candidate, mapped back
    into the query (a homography maps lines to lines). The fifth is the horizon of the homography.

    Args:
        homography: [3, 3], takes points of the query to points of the candidate.
        query: Width and height.
        candidate: Width and height.

    Returns:
        Corners in the query, float64 [K, 2]; None if the part is empty or has at most one square
        pixel.
    """
    x, y, w = homography
    polygon = rectangle(*query)
    for normal in (w - [0, 0, 1e-6], x, y, candidate[0] * w - x, candidate[1] * w - y):
        polygon = clip(polygon, normal=normal)
        if len(polygon) < 3:  # noqa: PLR2004 - a triangle
            return None
    return polygon if area(polygon) > _FLAT else None


def intersection(first: Doubles, second: Doubles) -> Doubles:
    """Return the intersection of two convex polygons; it has fewer than three corners if empty."""
    centre = second.mean(axis=0)
    for here, there in zip(second, np.roll(second, -1, axis=0), strict=True):
        across = np.array([here[1] - there[1], there[0] - here[0]])
        normal = np.array([*across, -across @ here])
        inward = 1.0 if normal[:2] @ centre + normal[2] >= 0 else -1.0
        first = clip(first, normal=inward * normal)
        if len(first) < 3:  # noqa: PLR2004 - a triangle
            break
    return first


def grow(hull: Doubles, *, by: float) -> Doubles:
    """Return a convex polygon around everything within `by` of a polygon.

    Each corner becomes an octagon.
    """
    angles = np.arange(8) * (np.pi / 4) + np.pi / 8
    around = by / np.cos(np.pi / 8) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (hull[:, None] + around[None]).reshape(-1, 2).astype(np.float32)
    return np.asarray(cv2.convexHull(points), dtype=np.float64).reshape(-1, 2)


def contains(polygon: Doubles, points: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return whether each point, [N, 2], lies in a convex polygon, clockwise or not."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = points[:, None, :] - polygon[None]
    sides = edges[None, :, 0] * offsets[:, :, 1] - edges[None, :, 1] * offsets[:, :, 0]
    slack = 1e-3 * np.abs(edges).sum(axis=1)
    within: NDArray[np.bool_] = (sides >= -slack).all(axis=1) | (sides <= slack).all(axis=1)
    return within
