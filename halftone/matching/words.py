"""Visual words: local features as a sparse vector that a text index can search.

Sivic and Zisserman, *Video Google* (2003). Words are the centroids of RootSIFT descriptors of press
pictures; rare words weigh more (inverse document frequency), a word that a picture has several
times weighs as the square root of their number, against bursts in screens and borders (Jégou et
al., *On the burstiness of visual elements*, 2009).
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halftone import errors

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]

PACKAGED: Final = "vocabulary.npz"
FORMAT: Final = 1


class Words(NamedTuple):
    """A sparse vector.

    Attributes:
        indices: uint32 [K], ascending, the words of a picture. K is 0 for a plain picture.
        values: float32 [K], above 0, of unit length.
    """

    indices: NDArray[np.uint32]
    values: Floats


def no_words() -> Words:
    """Of a picture too plain for features."""
    return Words(np.empty(0, np.uint32), np.empty(0, np.float32))


class Vocabulary:
    """W words.

    Args:
        centroids: uint8 [W, 128], proportional to vectors of unit length.
        idf: float32 [W], the weight of each word.
        version: Words of different versions cannot be compared.
    """

    def __init__(self, centroids: NDArray[np.uint8], idf: Floats, *, version: str) -> None:
        self._centroids = unit(centroids)
        self._idf = idf.astype(np.float32)
        self.version = version

    def __len__(self) -> int:
        """W."""
        return len(self._idf)

    @classmethod
    def load(cls) -> Vocabulary:
        """The one that comes with the package; read once."""
        return _packaged()

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Reads what `vocabulary_build` wrote.

        Raises:
            errors.DataLoss: It is something else, damaged or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                form, version = int(arrays["format"]), str(arrays["version"])
                centroids, idf = arrays["centroids"], arrays["idf"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise errors.DataLoss(f"{path} is no vocabulary: {error}") from error
        if form != FORMAT:
            raise errors.DataLoss(f"{path} has format {form}; this release reads {FORMAT}.")
        if centroids.ndim != 2 or idf.shape != centroids.shape[:1]:  # noqa: PLR2004 - a table
            raise errors.DataLoss(f"{path} has {len(idf)} weights for {len(centroids)} words.")
        return cls(centroids, idf, version=version)

    def words(self, features: LocalFeatures) -> Words:
        """The words of a picture."""
        if not len(features):
            return no_words()
        found, counts = np.unique(self.assign(features.descriptors), return_counts=True)
        values = np.sqrt(counts).astype(np.float32) * self._idf[found]
        length = float(np.linalg.norm(values))
        if not length:  # only words that all pictures have
            return no_words()
        kept = values > 0
        return Words(found[kept].astype(np.uint32), values[kept] / np.float32(length))

    def assign(self, descriptors: NDArray[np.uint8]) -> NDArray[np.intp]:
        """The word of each descriptor, uint8 [N, 128]: intp [N]."""
        return np.argmax(unit(descriptors) @ self._centroids.T, axis=1)


def unit(table: NDArray[np.uint8]) -> Floats:
    """Rows as vectors of unit length, float32; a row of zeros stays."""
    rows = table.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6))
    return rows


@functools.cache
def _packaged() -> Vocabulary:
    with resources.as_file(resources.files("halftone.matching") / PACKAGED) as path:
        return Vocabulary.read(path)
