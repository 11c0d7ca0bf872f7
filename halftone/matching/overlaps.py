"""What a comparison of two pictures finds: the parts that they share, and what differs in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from halftone.matching.agreement import TileEvidence

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A quadrilateral in both pictures, in pixels of the pictures as given.

    Attributes:
        query_polygon: float32 [4, 2], clockwise on screen.
        candidate_polygon: float32 [4, 2]; its corner k is corner k of the query's polygon.
    """

    query_polygon: Floats
    candidate_polygon: Floats

    def from_the_other_side(self, *, mirrored: bool) -> Part:
        """Return the part with query and candidate exchanged."""
        # Corners run clockwise in the query; a mirrored part has them the other way round.
        order = slice(None, None, -1 if mirrored else 1)
        return Part(
            query_polygon=self.candidate_polygon[order],
            candidate_polygon=self.query_polygon[order],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """A part in which two pictures that agree around it show something else.

    Attributes:
        part: Where it is.
        share: Its share of the area of the part that agrees around it, 0 to 1.
        certainty: How sure it is that this is no effect of press, paper and scanner, 0 to 1.
    """

    part: Part
    share: float
    certainty: float


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
        rivals: Number of features in it that agree on other homographies, for example in a relief
            or because something moved.
        negative: Whether one picture is a negative of the other: light where that is dark.
        parts: The parts that agree tile by tile, the largest first.
        differences: What differs within the largest part that agrees, the most certain first.
        evidence: How far the pictures agree tile by tile where their frames meet; None if one has
            no copy or the frames meet in less than a tile.
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
    rivals: int = 0
    negative: bool = False
    parts: tuple[Part, ...] = ()
    differences: tuple[Difference, ...] = ()
    evidence: TileEvidence | None = None

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
            parts=tuple(each.from_the_other_side(mirrored=self.mirrored) for each in self.parts),
            differences=tuple(
                replace(each, part=each.part.from_the_other_side(mirrored=self.mirrored))
                for each in self.differences
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of a comparison of two pictures.

    Attributes:
        overlaps: The shared parts, first the one that is most surely a picture over the largest
            area, or without copies the one with the most inliers; empty if there is none.
        seconds: Duration of the comparison.
        is_conclusive: False if there is no overlap and one of the pictures, because it is faint,
            blurred or tiny, has fewer than `FEWEST_FEATURES` features.
    """

    overlaps: tuple[Overlap, ...]
    seconds: float
    is_conclusive: bool = True

    @property
    def is_negative(self) -> bool:
        """Return whether one picture is a negative of the other, by their first overlap."""
        return bool(self.overlaps) and self.overlaps[0].negative
