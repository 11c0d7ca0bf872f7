"""Which of several registrations of two pictures are kept."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from halftone.matching import polygons, registered
from halftone.matching.registered import Registered, Side

PAGE = polygons.rectangle(300, 400)
HEAD = polygons.rectangle(300, 100)
PICTURE = polygons.rectangle(200, 150) + np.array([50, 200])
TURNED = np.array([[-1.0, 0, 300], [0, -1, 100], [0, 0, 1]])
"""Upside down within the head."""


def side() -> Side:
    return Side(
        points=np.zeros((0, 4), np.float32),
        size=(300.0, 400.0),
        shrunk=1.0,
        mirrored=False,
        negative=False,
        copy=b"",
    )


def registration(
    *, inliers: int, within: np.ndarray, homography: np.ndarray, agrees: np.ndarray, likeness: float
) -> Registered:
    """A registration whose inliers lie in one polygon, and whose tiles agree in another."""
    generator = np.random.default_rng(inliers)
    low, high = within.min(axis=0), within.max(axis=0)
    p = generator.uniform(low, high, (inliers, 2)).astype(np.float32)
    moved = np.column_stack([p, np.ones(inliers)]) @ homography.T
    tiles = SimpleNamespace(
        area=polygons.area(agrees),
        evidence=SimpleNamespace(likeness=likeness),
        parts=np.stack([agrees]),
        odds_at=lambda points: np.where(polygons.contains(agrees, points), 2.0, -2.0),
    )
    return Registered(
        query=side(),
        candidate=side(),
        homography=homography,
        p=p,
        q=moved[:, :2].astype(np.float32),
        inliers=np.ones(inliers, dtype=bool),
        shared=PAGE,
        support=within,
        tiles=tiles,
    )


def page(*, inliers: int) -> Registered:
    """The furniture of two pages: the head agrees, the picture contradicts."""
    return registration(
        inliers=inliers, within=HEAD, homography=np.eye(3), agrees=HEAD, likeness=0.1
    )


@pytest.mark.parametrize(("inliers", "kept"), [(100, [100]), (50, [20])])
def test_a_head_that_fits_upside_down_is_left_out_if_it_is_outnumbered(inliers, kept):
    turned = registration(inliers=20, within=HEAD, homography=TURNED, agrees=HEAD, likeness=0.9)
    found = registered.keep_distinct([page(inliers=inliers), turned])
    assert [each.count for each in found] == kept


def test_a_picture_that_moved_in_its_furniture_is_kept():
    by = np.array([[1.0, 0, 12], [0, 1, 9], [0, 0, 1]])
    moved = registration(inliers=20, within=PICTURE, homography=by, agrees=PICTURE, likeness=0.9)
    found = registered.keep_distinct([page(inliers=200), moved])
    assert [each.count for each in found] == [20, 200]
