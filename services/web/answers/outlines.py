"""The shared and the differing parts of two pictures, as polygons to draw on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.client import Region
from halftone.rendering import overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from halftone.client import Hit, Link, OverlapPart

Points = tuple[tuple[float, float], ...]

_WHOLE: Final = 0.97
# Smaller parts say nothing; a frame drawn by hand is no smaller either.
_LEAST_PIXELS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """What is drawn on one of two pictures, in pixels of the upright picture.

    Attributes:
        shared: The parts that the other picture has, too.
        differing: The parts where the other picture shows something else.
        covers_all: Whether the shared part is nearly the whole picture.
    """

    shared: tuple[Points, ...]
    differing: tuple[Points, ...]
    covers_all: bool


def outline_query(compared: Hit | Link, *, corner: tuple[int, int] = (0, 0)) -> Outlines:
    """Return what is drawn on the first of two compared pictures.

    Args:
        compared: The comparison.
        corner: Where the compared part begins in the picture.
    """
    shared, differing = _list_parts(compared)
    overlap = compared.verification.overlaps[:1]
    return Outlines(
        shared=_move((part.query_polygon for part in shared), corner),
        differing=_move((part.query_polygon for part in differing), corner),
        covers_all=bool(overlap) and overlap[0].query_share >= _WHOLE,
    )


def outline_image(compared: Hit | Link) -> Outlines:
    """Return what is drawn on the second of two compared pictures."""
    shared, differing = _list_parts(compared)
    overlap = compared.verification.overlaps[:1]
    return Outlines(
        shared=_move((part.image_polygon for part in shared), (0, 0)),
        differing=_move((part.image_polygon for part in differing), (0, 0)),
        covers_all=bool(overlap) and overlap[0].image_share >= _WHOLE,
    )


def frame_detail(outlines: Outlines, *, size: tuple[int, int]) -> Region | None:
    """Return the box around the largest shared part of a picture, to search by.

    None if nothing is shared, or nearly the whole picture, or too little to search by.

    Args:
        outlines: What is drawn on the picture.
        size: Width and height of the upright picture in pixels.
    """
    if outlines.covers_all:
        return None
    boxes = [_frame(polygon, size=size) for polygon in outlines.shared]
    large = [box for box in boxes if min(box.width, box.height) >= _LEAST_PIXELS]
    return max(large, key=lambda box: box.width * box.height, default=None)


def _frame(polygon: Points, *, size: tuple[int, int]) -> Region:
    box = overlaps.format_box(polygon, size=size)
    return Region(*map(int, box.split(",")))


def format_points(points: Points) -> str:
    """Return a polygon as the `points` of SVG."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _list_parts(
    compared: Hit | Link,
) -> tuple[list[OverlapPart], list[OverlapPart]]:
    shared = [
        part
        for overlap in compared.verification.overlaps
        for part in overlaps.list_outlined(overlap, relation=compared.relation)
    ]
    return shared, [each.part for each in overlaps.list_differences(compared)]


def _move(polygons: Iterable[Points], corner: tuple[int, int]) -> tuple[Points, ...]:
    left, top = corner
    return tuple(tuple((x + left, y + top) for x, y in polygon) for polygon in polygons if polygon)
