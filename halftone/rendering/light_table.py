"""The light table of a cluster's page: each printing laid over the earliest known one.

Upon the two lie layers that can be switched on and off: what they share, and where they differ.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from halftone.client.types import Relation
from halftone.rendering import alignments, overlaps, timelines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from halftone.client import Cluster, ImageRecord, OverlapPart
    from halftone.rendering.alignments import Matrix
    from halftone.rendering.timelines import Printing

# In CSS pixels; the page scales it to the width of the window.
_STAGE: Final = 720.0
# A page that contains the picture is shown at up to this many times the picture's size.
_MOST_GROWTH: Final = 3.0
_DIRECT: Final = 1


class SizedPicture(NamedTuple):
    """A small encoded picture and its size in pixels."""

    content: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A printing on the light table.

    Attributes:
        number: The printing's place in time, from 1.
        width: Width of the stage, in CSS pixels.
        height: Height of the stage, in CSS pixels.
        under: The transform of the earliest printing, as the 16 numbers of CSS's matrix3d.
        over: The transform of this printing, in the same form.
        outline: The shared parts: for each its corners as an SVG polygon's points, with a semicolon
            between two of them; may be empty.
        differing: The parts that differ, in the same form.
        start: Position of the slider at first, in percent.
        remark: A sentence below the stage; may be empty.
    """

    number: int
    label: str
    width: float
    height: float
    under: str
    over: str
    outline: str
    differing: str
    start: int
    remark: str


def list_overlays(
    cluster: Cluster, printings: Sequence[Printing], *, pictures: Mapping[str, SizedPicture]
) -> list[Overlay]:
    """Return an overlay for each printing of a cluster that can be laid over the earliest one.

    Args:
        cluster: The cluster.
        printings: Its printings, from `timelines.list_printings`.
        pictures: Thumbnails of its members by name. Without a picture there is no overlay.
    """
    first = cluster.first_image
    if first.name not in pictures:
        return []
    laid = []
    for printing in printings:
        picture = pictures.get(printing.image.name)
        if printing.alignment is None or picture is None:
            continue
        overlay = _make_overlay(printing, first=first, below=pictures[first.name], above=picture)
        if overlay is not None:
            laid.append(overlay)
    return laid


def _make_overlay(
    printing: Printing, *, first: ImageRecord, below: SizedPicture, above: SizedPicture
) -> Overlay | None:
    """Return the geometry of a printing, or None if its picture would be turned inside out."""
    alignment, image = printing.alignment, printing.image
    if alignment is None or not (first.width and first.height and image.width and image.height):
        return None
    corners = alignments.project(alignment.homography, _corners(image.width, image.height))
    if corners is None:
        return None
    frame = _corners(first.width, first.height)
    # Both pictures are seen, the other one up to a few times the size of the earliest.
    room = (_MOST_GROWTH - 1) / 2 * np.array([first.width, first.height])
    low = np.maximum(np.minimum(corners.min(axis=0), 0), -room)
    high = np.minimum(np.maximum(corners.max(axis=0), frame[2]), frame[2] + room)
    width, height = (high - low).tolist()
    scale = _STAGE / max(width, height)
    stage = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale], [0, 0, 1]])
    under = stage @ np.diag([first.width / below.width, first.height / below.height, 1.0])
    over = (
        stage
        @ alignment.homography
        @ np.diag([image.width / above.width, image.height / above.height, 1.0])
    )
    # At first the slider stands in the middle of what is seen of the other printing.
    middle = float(np.clip(corners[:, 0], low[0], high[0]).mean())
    outlined, differing = _list_layers(printing)
    return Overlay(
        number=printing.number,
        label=f"{printing.number} · {printing.date} · "
        + textwrap.shorten(image.journal or "unknown journal", 60, placeholder=" …"),
        width=round(width * scale, 2),
        height=round(height * scale, 2),
        under=_css_matrix(under),
        over=_css_matrix(over),
        outline=_trace(outlined, first=first, printing=printing, stage=stage),
        differing=_trace(differing, first=first, printing=printing, stage=stage),
        start=round(100 - 100 * (middle - low[0]) / width),
        remark=_describe(printing),
    )


def _describe(printing: Printing) -> str:
    alignment = printing.alignment
    if alignment is not None and alignment.steps > _DIRECT:
        return (
            f"No. {printing.number} is aligned through {alignment.steps - 1} other printing"
            f"{'s' if alignment.steps > 2 else ''}: expect it to be less exact."  # noqa: PLR2004 - as above
        )
    link = printing.link
    overlap = alignments.find_main_overlap(link) if link else None
    if link is not None and timelines.is_same_file(link):
        return f"No. {printing.number} is the very same file as the earliest printing."
    if link is None or overlap is None:
        return ""
    of_other, of_first = (
        (overlap.query_share, overlap.image_share)
        if link.a == printing.image.name
        else (overlap.image_share, overlap.query_share)
    )
    turned = " The plate was mirrored." if overlap.mirrored else ""
    turned += " One is a negative of the other." if overlap.negative else ""
    remark = (
        f"{overlap.inlier_count} details agree. The outline holds {of_first:.0%} of the earliest "
        f"printing and {of_other:.0%} of no. {printing.number}.{turned}"
    )
    if link.relation is Relation.SHARED_ELEMENTS:
        remark = (
            f"{overlap.inlier_count} details agree, on elements that pictures share, such "
            f"as a frame, type or a base map: these are outlined.{turned}"
        )
    count = overlaps.count_differences(overlaps.list_differences(link))
    return f"{remark} No. {printing.number} {count}." if count else remark


def _list_layers(
    printing: Printing,
) -> tuple[tuple[OverlapPart, ...], tuple[OverlapPart, ...]]:
    """Return the parts that a printing shares with the earliest one, and those that differ."""
    link = printing.link
    overlap = alignments.find_main_overlap(link) if link else None
    if link is None or overlap is None:
        return (), ()
    outlined = overlaps.list_outlined(overlap, relation=link.relation)
    return outlined, tuple(each.part for each in overlaps.list_differences(link))


def _trace(
    parts: Iterable[OverlapPart], *, first: ImageRecord, printing: Printing, stage: Matrix
) -> str:
    """Return parts of the earliest printing in pixels of the stage, as `Overlay.outline`."""
    is_query = printing.link is not None and printing.link.a == first.name
    traced = []
    for part in parts:
        polygon = part.query_polygon if is_query else part.image_polygon
        points = alignments.project(stage, np.array(polygon)) if polygon else None
        # A part without a place keeps its number.
        traced.append("" if points is None else " ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    return ";".join(traced)


def _corners(width: int, height: int) -> Matrix:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def _css_matrix(matrix: Matrix) -> str:
    """Return a homography as CSS's matrix3d: column by column, the third axis left alone."""
    whole = np.eye(4)
    rows = np.ix_((0, 1, 3), (0, 1, 3))
    whole[rows] = matrix / matrix[2, 2]
    return ",".join(f"{value:.8g}" for value in whole.T.ravel())
