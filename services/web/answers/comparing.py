"""Two pictures side by side: how they are related, and how one is laid over the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.archive.showing import Show
from halftone.core import errors
from halftone.rendering.alignments import project
from halftone.services.web.answers import searching

if TYPE_CHECKING:
    from halftone.client import AsyncClient, Cluster, Hit, ImageRecord
    from halftone.rendering.alignments import Matrix
    from halftone.services.web.answers.questions import Question
    from halftone.services.web.answers.searching import Subject
    from halftone.services.web.uploads import Uploads

_DEGENERATE: Final = 1e-9
_NINE: Final = 9
# The second picture is shown up to this many times the size of the first.
_MOST_GROWTH: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the second picture lies over the first.

    Attributes:
        matrix: float64 [3, 3], takes pixels of the second picture to pixels of the first.
        affine: The six numbers of SVG's `matrix(…)` that come closest to it.
        frame: Left, top, width and height of what both cover, in pixels of the first picture.
    """

    matrix: Matrix
    affine: tuple[float, ...]
    frame: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two pictures and what is known of the two.

    Attributes:
        subject: The first picture, of the archive or dropped.
        image: The second picture.
        hit: The second picture as a hit of a search by the first.
        alignment: None if they have no part in common.
        clusters: The names of the clusters of the first and of the second picture; empty where
            there is none.
    """

    subject: Subject
    image: ImageRecord
    hit: Hit
    alignment: Alignment | None
    clusters: tuple[str, str]

    @property
    def are_shown(self) -> bool:
        """Return whether the records of both let their pictures be seen."""
        records = [self.image, *([self.subject.record] if self.subject.record else [])]
        return all(record.show is not Show.NONE for record in records)

    @property
    def can_be_laid_over(self) -> bool:
        """Return whether one picture can be shown over the other."""
        return self.alignment is not None and self.are_shown

    @property
    def are_together(self) -> bool:
        """Return whether both are in one cluster."""
        return bool(self.clusters[0]) and self.clusters[0] == self.clusters[1]


async def compare(
    client: AsyncClient, uploads: Uploads, question: Question, *, other: str
) -> Comparison:
    """Return the comparison of the picture of a question with an image of the archive.

    Raises:
        errors.NotFound: One of the two does not exist.
        errors.InvalidArgument: Both are the same image.
    """
    if question.image and question.image == other:
        raise errors.InvalidArgument(
            "This is one picture, not two.", field="b", reason="ONE_PICTURE"
        )
    subject, image = await asyncio.gather(
        searching.find_subject(client, uploads, question), client.get(other)
    )
    hit, first, second = await asyncio.gather(
        searching.compare_with(client, subject, image),
        find_cluster(client, question.image),
        find_cluster(client, other),
    )
    return Comparison(
        subject=subject,
        image=image,
        hit=hit,
        alignment=align(hit, subject=subject),
        clusters=(first.name if first else "", second.name if second else ""),
    )


async def find_cluster(client: AsyncClient, name: str) -> Cluster | None:
    """Return the cluster of an image; None if it is in none or the name is empty."""
    if not name:
        return None
    try:
        return await client.cluster(name)
    except (errors.NotFound, errors.FailedPrecondition):
        return None


def align(hit: Hit, *, subject: Subject) -> Alignment | None:
    """Return how a hit lies over the picture that found it; None without a part in common."""
    if not hit.overlaps or not (hit.image.width and hit.image.height):
        return None
    numbers = hit.overlaps[0].homography
    if len(numbers) != _NINE:
        return None
    forward = np.array(numbers, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(forward).all() or abs(np.linalg.det(forward)) < _DEGENERATE:
        return None
    left, top = subject.corner
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=np.float64)
    matrix = shift @ np.linalg.inv(forward)
    matrix = matrix / matrix[2, 2]
    corners = _list_corners(hit.image.width, hit.image.height)
    # Beyond the horizon a picture would be turned inside out; what both share always lies before.
    seen = project(matrix, corners)
    if seen is None:
        return None
    affine = np.linalg.lstsq(np.column_stack([corners, np.ones(4)]), seen, rcond=None)[0]
    room = _MOST_GROWTH * np.array([subject.width, subject.height])
    low = np.maximum(np.minimum(seen.min(axis=0), 0), -room)
    high = np.minimum(
        np.maximum(seen.max(axis=0), [subject.width, subject.height]),
        np.array([subject.width, subject.height]) + room,
    )
    width, height = (high - low).tolist()
    return Alignment(
        matrix=matrix,
        affine=tuple(round(float(value), 6) for value in affine.ravel()),
        frame=(float(low[0]), float(low[1]), width, height),
    )


def _list_corners(width: int, height: int) -> Matrix:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
