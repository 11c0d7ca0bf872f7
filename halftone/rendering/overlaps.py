"""Says in words what two pictures share and where they differ, and lists the parts to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.client.types import Difference, OverlapPart, Relation
from halftone.rendering import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.client import Hit, Link, Overlap

Polygon = tuple[tuple[float, float], ...]

# Certainties from which on a difference is called so; below the last it is "possible".
_CERTAINTIES: Final = ((0.95, "nearly certain"), (0.8, "likely"))
_PERCENT: Final = 0.01


def list_parts(overlap: Overlap) -> tuple[OverlapPart, ...]:
    """Return the parts of an overlap that agree, the largest first.

    Where the pictures were not compared area by area, it is the overlap as a whole, or nothing if
    its place is not known.
    """
    return overlap.parts or _take_whole(overlap)


def list_outlined(overlap: Overlap, *, relation: Relation) -> tuple[OverlapPart, ...]:
    """Return the parts of an overlap that are outlined in a drawing.

    Of shared elements these are all parts, such as the sides of a frame. Of one picture it is where
    the two printings meet, which a faint part in the middle does not tear apart.
    """
    shared = relation is Relation.SHARED_ELEMENTS
    return list_parts(overlap) if shared else _take_whole(overlap)


def _take_whole(overlap: Overlap) -> tuple[OverlapPart, ...]:
    if not overlap.query_polygon:
        return ()
    return (OverlapPart(query_polygon=overlap.query_polygon, image_polygon=overlap.image_polygon),)


def list_differences(compared: Hit | Link) -> tuple[Difference, ...]:
    """Return what differs between two pictures, overlap by overlap, the most certain first in each.

    Between unrelated pictures it is nothing: what differs within a chance match says nothing.
    """
    if compared.relation is Relation.UNRELATED:
        return ()
    return tuple(
        difference
        for overlap in compared.verification.overlaps
        for difference in overlap.differences
    )


def measure_share(polygons: Sequence[Polygon], *, size: tuple[int, int]) -> float:
    """Return the share of a picture's area that polygons without a common part cover, 0 to 1."""
    area = sum(map(_measure_area, polygons))
    return min(area / max(size[0] * size[1], 1), 1.0)


def _measure_area(polygon: Polygon) -> float:
    sides = zip(polygon, (*polygon[1:], *polygon[:1]), strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in sides)) / 2


def format_box(
    polygon: Polygon, *, size: tuple[int, int] | None = None, corner: tuple[int, int] = (0, 0)
) -> str:
    """Return the box around a polygon as `x,y,w,h`, the form that `--crop` takes; "" if empty.

    Args:
        polygon: The polygon.
        size: Width and height of the picture, beyond which the box does not reach.
        corner: Where the pixels of the polygon begin: the corner of the crop that was compared.
    """
    if not polygon:
        return ""
    across, down = zip(*polygon, strict=True)
    ends = []
    for values, most in zip((across, down), size or (None, None), strict=True):
        low, high = round(min(values)), round(max(values))
        if most is not None:
            low, high = min(max(low, 0), most), min(max(high, 0), most)
        ends.append((low, high - low))
    (left, width), (top, height) = ends
    return f"{left + corner[0]},{top + corner[1]},{width},{height}"


def describe_certainty(certainty: float) -> str:
    """Return in words how sure it is that a difference is no effect of printing and scanning."""
    return next((words for least, words in _CERTAINTIES if certainty >= least), "possible")


def describe_difference(difference: Difference) -> str:
    """Return in words how sure and how large a difference is: `likely, 7% of the shared part`."""
    certainty = describe_certainty(difference.certainty)
    return f"{certainty}, {_format_share(difference.share)} of the shared part"


def count_differences(differences: Sequence[Difference]) -> str:
    """Return in how many places two pictures differ: `differs in 2 places`; "" without any."""
    if not differences:
        return ""
    return f"differs in {wording.format_count(len(differences), 'place')}"


def describe_agreement(overlap: Overlap) -> str:
    """Return in words how much agrees area by area; "" where that was not compared."""
    if overlap.agreeing_share is None:
        return ""
    agreeing = f"{_format_share(overlap.agreeing_share)} of what has detail in both"
    if overlap.contradicting_share is None:
        return agreeing
    return f"{agreeing}, {_format_share(overlap.contradicting_share)} of the whole contradicts"


def _format_share(share: float) -> str:
    return "<1%" if 0 < share < _PERCENT else f"{share:.0%}"
