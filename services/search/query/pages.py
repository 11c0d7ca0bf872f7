"""Leaves out hits on pages that a hit on a picture of the page explains.

A page scan and the pictures on it are records of one printing. A query that is a picture finds
both; the picture says more exactly where it was printed, and its page is named with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from halftone.matching.relation import Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from halftone.services.search.query.scoring import RankedCandidate

_GRID: Final = 256
_INSIDE: Final = 0.7
"""The share of what a page has in common with a query that lies within pictures on the page, from
which on these explain it. A picture is often cut out with its caption, which its region lacks."""
_WHOLE: Final = {Relation.SAME_SCAN, Relation.REPRINT, Relation.MIRRORED}


def leave_out_pages(
    hits: Sequence[RankedCandidate], *, before: Iterable[RankedCandidate] = ()
) -> list[RankedCandidate]:
    """Return hits without the pages that likely pictures on them explain, in the same order.

    Args:
        hits: The hits of one block, ranked. A page and its pictures may be among them.
        before: The hits of the blocks before. Their pictures count, and their pages stay: what is
            on the pages before does not depend on what comes later.
    """
    pictures: dict[str, list[RankedCandidate]] = {}
    for hit in (*before, *hits):
        page = hit.candidate.payload.get("page_image")
        if page and hit.is_founded:
            pictures.setdefault(page, []).append(hit)
    if not pictures:
        return list(hits)
    return [hit for hit in hits if not _is_explained(hit, by=pictures)]


def _is_explained(hit: RankedCandidate, *, by: Mapping[str, Sequence[RankedCandidate]]) -> bool:
    pictures = by.get(hit.candidate.name)
    if not pictures or hit.same_bytes:
        return False
    found = hit.verification
    if found is None or not found.overlaps:
        # It was not compared, or nothing was found on it, though the picture is there.
        return True
    payload = hit.candidate.payload
    regions = [each.candidate.payload.get("page_region") for each in pictures]
    if any(region is None for region in regions):
        return hit.relation not in _WHOLE
    size = (payload["width"], payload["height"])
    shared = _fill([each.candidate_polygon for each in found.overlaps], size=size)
    drawn = _fill([_to_polygon(region) for region in regions if region], size=size)
    return int((shared & drawn).sum()) >= _INSIDE * int(shared.sum())


def _to_polygon(region: Sequence[int]) -> NDArray[np.float32]:
    x, y, width, height = region
    return np.array(
        [[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float32
    )


def _fill(polygons: Sequence[NDArray[np.float32]], *, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return which of a grid's cells over a page polygons cover, uint8 [256, 256] of 0 and 1."""
    canvas = np.zeros((_GRID, _GRID), dtype=np.uint8)
    for polygon in polygons:
        corners = np.rint(polygon / np.array(size, dtype=np.float64) * _GRID - 0.5)
        cv2.fillConvexPoly(canvas, corners.clip(-_GRID, 2 * _GRID).astype(np.int32), (1,))
    return canvas
