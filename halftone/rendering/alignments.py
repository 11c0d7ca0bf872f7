"""Finds how the printings of a cluster lie upon each other, by the homographies of its links."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from halftone.client import Cluster, Link, Overlap

Matrix = NDArray[np.float64]

_HORIZON: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The place of a printing upon the earliest one.

    Attributes:
        homography: float64 [3, 3], takes pixels of the printing to pixels of the earliest.
        steps: The number of links on the path; 1 if the two were compared with each other.
    """

    homography: Matrix
    steps: int


def align_members(cluster: Cluster, *, to: str) -> dict[str, Alignment]:
    """Return how the members lie over the image `to`, by name.

    A member that no path of links connects with `to` is left out. If several paths do, the one with
    the fewest links is taken, since each link adds its own error. Among paths of equal length, it
    is the one whose least probable link is the most probable. Images with the same bytes lie alike.

    Args:
        cluster: A cluster with members and links.
        to: The name of an image of the cluster.
    """
    pictures = group_same_bytes(cluster)
    edges: dict[str, list[tuple[str, float, Matrix]]] = defaultdict(list)
    for link in cluster.links:
        overlap = find_main_overlap(link)
        matrix = _read_matrix(overlap) if overlap is not None else None
        if matrix is not None and link.probability is not None:
            a, b = pictures.get(link.a, link.a), pictures.get(link.b, link.b)
            edges[b].append((a, link.probability, matrix))
            back: Matrix = np.linalg.inv(matrix).astype(np.float64)
            edges[a].append((b, link.probability, back))
    to = pictures.get(to, to)
    laid = {to: Alignment(homography=np.eye(3), steps=0)}
    waiting = [(1, -probability, name, to) for name, probability, _ in edges[to]]
    heapq.heapify(waiting)
    while waiting:
        steps, doubt, name, through = heapq.heappop(waiting)
        if name in laid:
            continue
        # An edge under `through` takes pixels of the neighbour to pixels of `through`.
        matrix = next(matrix for other, _, matrix in edges[through] if other == name)
        product = laid[through].homography @ matrix
        laid[name] = Alignment(homography=product / product[2, 2], steps=steps)
        for other, probability, _ in edges[name]:
            if other not in laid:
                # A path is as probable as its least probable link.
                heapq.heappush(waiting, (steps + 1, max(doubt, -probability), other, name))
    copies = {name: laid[picture] for name, picture in pictures.items() if picture in laid}
    return {**laid, **copies}


def find_main_overlap(link: Link) -> Overlap | None:
    """Return the largest overlap of a link, or None if its pictures were not compared."""
    return link.verification.overlaps[0] if link.verification.overlaps else None


def _read_matrix(overlap: Overlap) -> Matrix | None:
    if len(overlap.homography) != 9:  # noqa: PLR2004 - 3 by 3
        return None
    matrix = np.array(overlap.homography, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < _HORIZON:
        return None
    return matrix


def project(matrix: Matrix, points: Matrix) -> Matrix | None:
    """Map points [N, 2] by a homography; returns None if one lies beyond the horizon."""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    if (homogeneous[:, 2] <= _HORIZON).any():
        return None
    projected: Matrix = homogeneous[:, :2] / homogeneous[:, 2:]
    return projected


def group_same_bytes(cluster: Cluster) -> dict[str, str]:
    """Return for each member the first member with the same bytes, which may be itself, by name."""
    firsts: dict[str, str] = {}
    return {
        member.image.name: firsts.setdefault(
            member.image.content_sha256 or member.image.name, member.image.name
        )
        for member in cluster.members
    }
