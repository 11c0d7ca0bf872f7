"""Define the systems that are compared: perceptual hashes, a descriptor, the whole search.

Each system answers a query with a ranking of the gallery. Every one of them sees the query in the
same eight orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.pdq import to_vector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from halftone.imaging.orientations import Orientation
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.offline import Gallery
    from halftone.matching.overlaps import Overlap

Floats = NDArray[np.float32]

WAYS: Final = orientations(mirrored=True, rotated=True)
DEPTH: Final = 100
"""The number of candidates that count in a ranking, the same for every system."""
_HASH_SIDE: Final = 32
_HASH: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class PressQuery:
    """A transformed picture, in every form that a system searches by.

    Attributes:
        image: The picture in mode L.
        fingerprint: Its fingerprint in all orientations.
        views: Its descriptors by version and orientation, float32 [D].
        truth: The row of its picture in the gallery; None if it is not there.
        without: Rows that are neither right nor wrong, because they are other printings of its
            picture.
    """

    image: Image.Image
    fingerprint: Fingerprint
    views: Mapping[str, Mapping[Orientation, Floats]]
    truth: int | None
    without: Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The answer of a system: at most `DEPTH` candidates, the best first.

    Attributes:
        rows: int64 [K], the candidates' rows in the gallery.
        scores: float64 [K], the candidates' scores.
        overlap: The overlap of the query with its own picture, if that was verified.
        inliers: Inliers of each candidate's largest overlap, [K], if the system knows them; -1 if
            it was not compared.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    overlap: Overlap | None = None
    inliers: NDArray[np.int64] | None = None


class System(Protocol):
    """A way to search a gallery."""

    name: str
    threshold: float | None
    """The score from which it calls two pictures the same; None for a system that names none."""

    def search(self, query: PressQuery) -> Ranking:
        """Rank the gallery for a query."""


class PerceptualHash:
    """Search by pHash: 64 bits of a discrete cosine transform.

    The method is by Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*
    (2010). Of 32 x 32 pixels, the 8 x 8 lowest frequencies are taken that are not constant in any
    direction. Each gives a bit: whether it is above their median.
    """

    name = "pHash"
    threshold: float | None = None

    def __init__(self, pictures: Sequence[NDArray[np.float32]]) -> None:
        """Hash the pictures of the gallery, which `hash_input` has prepared."""
        self._bits = np.stack([perceptual_hash(pixels) for pixels in pictures])

    def search(self, query: PressQuery) -> Ranking:
        """Rank the gallery by the distance of hashes; see `System.search`."""
        pixels = hash_input(query.image)
        turned = np.stack([perceptual_hash(way.apply(pixels)) for way in WAYS])
        return rank_by((turned @ self._bits.T).max(axis=0) / self._bits.shape[1], query=query)


class Pdq:
    """PDQ, 256 bits: Facebook, *The TMK+PDQF video-hashing algorithm and the PDQ image-hashing
    algorithm* (2019).
    """  # noqa: D205 - the title does not fit one line

    name = "PDQ"
    threshold: float | None = None

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        self._bits = np.stack([to_vector(one.pdq[UPRIGHT]) for one in fingerprints])

    def search(self, query: PressQuery) -> Ranking:
        """Rank the gallery by the distance of hashes; see `System.search`."""
        turned = np.stack([to_vector(bits) for bits in query.fingerprint.pdq.values()])
        return rank_by((turned @ self._bits.T).max(axis=0) / self._bits.shape[1], query=query)


class Descriptor:
    """Search by the cosine of a version's descriptors."""

    threshold: float | None = None

    def __init__(self, version: str, *, gallery: Floats) -> None:
        self.name = f"{version}, descriptor alone"
        self._version, self._gallery = version, gallery

    def search(self, query: PressQuery) -> Ranking:
        """Rank the gallery by the cosine of descriptors; see `System.search`."""
        turned = np.stack(list(query.views[self._version].values()))
        return rank_by((turned @ self._gallery.T).max(axis=0), query=query)


class Verified:
    """Search as the service does: three channels, verified, one probability."""

    def __init__(self, version: str, *, gallery: Gallery, threshold: float = 0.9) -> None:
        self.name = f"{version}, verified"
        self.threshold: float | None = threshold
        self._version, self._gallery = version, gallery

    def search(self, query: PressQuery) -> Ranking:
        """Rank the gallery by probability; see `System.search`."""
        matches = self._gallery.search(
            query.views[self._version], query.fingerprint, without=query.without
        )
        rows = np.array([one.index for one in matches], dtype=np.int64)
        scores = np.array([one.probability for one in matches])
        order = _order(rows, scores, truth=query.truth)[:DEPTH]
        overlap = None
        inliers = []
        for place in order:
            verification = matches[place].evidence.verification
            largest = verification.overlaps[0] if verification and verification.overlaps else None
            inliers.append(-1 if verification is None else largest.inliers if largest else 0)
            if matches[place].index == query.truth:
                overlap = largest
        return Ranking(
            rows=rows[order],
            scores=scores[order],
            overlap=overlap,
            inliers=np.array(inliers, dtype=np.int64),
        )


def rank_by(scores: NDArray[Any], *, query: PressQuery) -> Ranking:
    """Return the ranking of the gallery by scores.

    Args:
        scores: The score of each picture, [N]; the highest comes first.
        query: The query. Its rows `without` are left out; among equal scores its own picture comes
            last.
    """
    values = scores.astype(np.float64)
    values[list(query.without)] = -np.inf
    count = min(DEPTH, int(np.isfinite(values).sum()))
    # All pictures that tie with the last one are taken, so that `_order` alone breaks ties.
    lowest = np.partition(values, -count)[-count] if count else np.inf
    rows = np.flatnonzero(values >= lowest)
    order = _order(rows, values[rows], truth=query.truth)[:count]
    return Ranking(rows=rows[order], scores=values[rows[order]])


def hash_input(image: Image.Image) -> NDArray[np.float32]:
    """Prepare a picture for `perceptual_hash`: float32 [32, 32]."""
    small = image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.float32)


def perceptual_hash(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the perceptual hash: float32 [64] of 1 and -1."""
    low = cv2.dct(np.ascontiguousarray(pixels))[1 : _HASH + 1, 1 : _HASH + 1].ravel()
    return np.where(low > np.median(low), np.float32(1), np.float32(-1))


def _order(
    rows: NDArray[np.int64], scores: NDArray[np.float64], *, truth: int | None
) -> NDArray[np.int64]:
    """Return the rows by falling score; among equal scores the right picture comes last."""
    right = rows == (-1 if truth is None else truth)
    return np.lexsort((rows, right, -scores))
