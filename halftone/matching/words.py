"""Turns local features into visual words: a sparse vector that a text index can search.

Sivic and Zisserman, *Video Google* (2003). Words are the centroids of RootSIFT descriptors of press
pictures; rare words weigh more (inverse document frequency), and a word that a picture has several
times counts once, against bursts in letters, screens and borders (Jégou et al., *On the burstiness
of visual elements*, 2009).

An index holds each word with the direction of its feature, in sixteenths of a full turn. Printings
lie as their originals do, by quarters, so features that agree in word and direction are rarely
chance: a part of what weak geometric consistency finds (Jégou et al., *Hamming embedding and weak
geometric consistency*, 2008), at no cost to the index. `turn` makes the query; by their words
without directions two pictures are alike (`Vocabulary.drop_directions`).
"""

from __future__ import annotations

import functools
import zipfile
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from halftone.matching.features import LocalFeatures

Floats = NDArray[np.float32]

PACKAGED: Final = "vocabulary.npz"
FORMAT: Final = 1
WEIGHTS: Final = 3
"""Version of the weighting. A new weighting gives incompatible vectors."""
DIRECTIONS: Final = 16
"""The parts of a full turn that are told apart; a multiple of four, for quarter turns.

Features match for certain if they differ by up to one part, 22 degrees. Finer parts order crops no
better, and lose pictures that are pasted askew.
"""

_CELLS: Final = 64
_HOMES: Final = 3
_LOOKS: Final = 3
_ROUNDS: Final = 6


class Words(NamedTuple):
    """The visual words of a picture as a sparse vector.

    Attributes:
        indices: uint32 [K], ascending. Each is `DIRECTIONS` times a word, plus the direction; or
            the word alone, if directions were dropped. K is 0 for a plain picture.
        values: float32 [K], above 0. They have unit length, except in a query made by `turn`.
    """

    indices: NDArray[np.uint32]
    values: Floats


def no_words() -> Words:
    """Return an empty `Words`, for a picture that is too plain for features."""
    return Words(np.empty(0, np.uint32), np.empty(0, np.float32))


def turn(words: Words, *, rotation: int = 0) -> Words:
    """Return a query for pictures that show what a picture shows, turned by quarters.

    Each word is looked for in its direction and in the two beside it, so that skew and the
    detector's noise do not lose it. A picture's score with itself is 1.

    Args:
        words: The words of a picture, with directions.
        rotation: How far its printings are turned, clockwise, in degrees; a multiple of 90.
    """
    word, part = np.divmod(words.indices.astype(np.int64), DIRECTIONS)
    part += rotation * DIRECTIONS // 360
    near = [word * DIRECTIONS + (part + step) % DIRECTIONS for step in (-1, 0, 1)]
    # A word weighs the same in each of its directions.
    indices, first = np.unique(np.concatenate(near), return_index=True)
    return Words(indices.astype(np.uint32), np.tile(words.values, len(near))[first])


def likeness(first: Words, second: Words) -> float:
    """Return the cosine of two pictures' words, 0 to 1. Both have directions, or neither has."""
    _, a, b = np.intersect1d(first.indices, second.indices, assume_unique=True, return_indices=True)
    return min(1.0, float(first.values[a].astype(np.float64) @ second.values[b]))


class Vocabulary:
    """The W visual words, by their centroids and weights.

    Args:
        centroids: uint8 [W, 128], proportional to vectors of unit length.
        idf: float32 [W], the weight of each word.
        version: Name of the centroids. The attribute adds `WEIGHTS` to it; words of different
            versions cannot be compared.
    """

    def __init__(self, centroids: NDArray[np.uint8], idf: Floats, *, version: str) -> None:
        self._idf = idf.astype(np.float32)
        self._cells, self._members = _arrange(unit(centroids))
        self._centroids = [unit(centroids[each]) for each in self._members]
        self.version = f"{version}.{WEIGHTS}"

    def __len__(self) -> int:
        """Return W."""
        return len(self._idf)

    @classmethod
    def load(cls) -> Vocabulary:
        """Return the vocabulary that comes with the package; it is read once."""
        return _load_packaged()

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read a vocabulary that `vocabulary_build` wrote.

        Raises:
            errors.DataLoss: The file is something else, damaged or of another format.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                form, version = int(arrays["format"]), str(arrays["version"])
                centroids, idf = arrays["centroids"], arrays["idf"]
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise errors.DataLoss(f"{path} is no vocabulary: {error}") from error
        if form != FORMAT:
            raise errors.DataLoss(f"{path} has format {form}; this release reads {FORMAT}.")
        if centroids.ndim != 2 or idf.shape != centroids.shape[:1]:  # noqa: PLR2004 - a table
            raise errors.DataLoss(f"{path} has {len(idf)} weights for {len(centroids)} words.")
        return cls(centroids, idf, version=version)

    def words(self, features: LocalFeatures) -> Words:
        """Return the words of a picture."""
        (words,) = self.words_of_all([features])
        return words

    def words_of_all(self, pictures: Sequence[LocalFeatures]) -> list[Words]:
        """Return the words of each picture. Four take less than three times as long as one."""
        every = self.assign(np.concatenate([each.descriptors for each in pictures]))
        angles = np.concatenate([each.points[:, 3] for each in pictures])
        # An angle just below zero is a full turn when it is rounded.
        parts = np.floor(angles % 360 * (DIRECTIONS / 360)).astype(np.intp) % DIRECTIONS
        ends = np.cumsum([len(each) for each in pictures])
        indices = np.split(every * DIRECTIONS + parts, ends[:-1])
        return [self._weigh(each) for each in map(np.unique, indices)]

    def drop_directions(self, words: Words) -> Words:
        """Return words without their directions, of unit length: they measure how alike two are."""
        return self._weigh(np.unique(words.indices.astype(np.intp) // DIRECTIONS), directions=1)

    def _weigh(self, indices: NDArray[np.intp], *, directions: int = DIRECTIONS) -> Words:
        """Weigh the entries of a sparse vector. Those of one word weigh together what it weighs."""
        words, count = np.unique(indices // directions, return_counts=True)
        values: Floats = np.repeat(self._idf[words] / np.sqrt(count), count).astype(np.float32)
        length = float(np.linalg.norm(values))
        if not length:  # only words that all pictures have
            return no_words()
        kept = values > 0
        return Words(indices[kept].astype(np.uint32), values[kept] / np.float32(length))

    def assign(self, descriptors: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the word of each descriptor, uint8 [N, 128]: intp [N].

        Each descriptor is compared only with the words of the few cells that are nearest to it;
        docs/matching.md says how much time that saves and what it misses.
        """
        rows = unit(descriptors)
        word = np.zeros(len(rows), dtype=np.intp)
        closest = np.full(len(rows), -np.inf, dtype=np.float32)
        looks = min(_LOOKS, len(self._cells))
        nearest = np.argpartition(-cosines(rows, self._cells), looks - 1, axis=1)[:, :looks]
        order = np.argsort(nearest.ravel(), kind="stable")
        starts = np.searchsorted(nearest.ravel()[order], np.arange(len(self._cells) + 1))
        for cell, members in enumerate(self._members):
            here = order[starts[cell] : starts[cell + 1]] // looks
            if not len(here):
                continue
            likeness = cosines(rows[here], self._centroids[cell])
            best = likeness.argmax(axis=1)
            value = likeness[np.arange(len(here)), best]
            nearer = value > closest[here]
            closest[here[nearer]] = value[nearer]
            word[here[nearer]] = members[best[nearer]]
        return word


def _arrange(centroids: Floats) -> tuple[Floats, list[NDArray[np.intp]]]:
    """Return cells of neighbouring words, float32 [C, 128], and each cell's words, ascending."""
    count = min(_CELLS, len(centroids))
    cells = centroids[np.linspace(0, len(centroids) - 1, count).astype(int)].copy()
    for _ in range(_ROUNDS):
        nearest = cosines(centroids, cells).argmax(axis=1)
        order = np.argsort(nearest, kind="stable")
        present, starts = np.unique(nearest[order], return_index=True)
        sums = np.zeros_like(cells)
        sums[present] = np.add.reduceat(centroids[order], starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        cells = np.where(lengths > 0, sums / np.maximum(lengths, np.float32(1e-6)), cells)
    homes = min(_HOMES, count)
    nearest = np.argpartition(-cosines(centroids, cells), homes - 1, axis=1)[:, :homes]
    return cells, [np.flatnonzero((nearest == cell).any(axis=1)) for cell in range(count)]


def cosines(first: Floats, second: Floats) -> Floats:
    """Return the products of the rows of two tables: [N, D] and [M, D] give [N, M], float32.

    If several threads call it, BLAS must be limited to one thread, as in the search service
    (threadpoolctl). Otherwise OpenBLAS starts threads for each product, and these wait for each
    other: on two cores, 600 x 600 rows then take two threads up to 15 ms instead of 1 ms.
    """
    product: Floats = first @ second.T
    return product


def unit(table: NDArray[np.uint8]) -> Floats:
    """Return the rows of a table scaled to unit length, float32. A row of zeros stays as it is."""
    rows = table.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6))
    return rows


@functools.cache
def _load_packaged() -> Vocabulary:
    with resources.as_file(resources.files("halftone.matching") / PACKAGED) as path:
        return Vocabulary.read(path)
