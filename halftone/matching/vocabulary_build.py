"""Learns visual words from pictures: `python -m halftone.matching.vocabulary_build DIR`.

Spherical k-means on RootSIFT descriptors. NumPy only; the same pictures in the same order of paths
and the same releases of NumPy and OpenCV give the same words.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.core import errors
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.imaging.opening import SUFFIXES
from halftone.matching.features import DIMENSION, SIDE, extract
from halftone.matching.words import FORMAT, Vocabulary, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]

WORDS: Final = 16_384
PICTURES: Final = 10_000
"""The most pictures that are read; the features of as many take 0.7 GB."""

_SAMPLE: Final = 25  # descriptors for each word; more move the centroids hardly at all
_ROUNDS: Final = 8
_SCALE: Final = 512  # no bin of a centroid reaches 0.5
_SLICE: Final = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m halftone.matching.vocabulary_build")
    parser.add_argument("directory", type=Path, help="pictures, in any depth of folders")
    parser.add_argument("--out", type=Path, default=Path("vocabulary.npz"))
    parser.add_argument("--words", type=int, default=WORDS)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="the most that are read")
    parser.add_argument("--version", required=True, help="a name; other words need another one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    try:
        descriptors = read(
            given.directory, pictures=given.pictures, seed=given.seed, threads=given.threads
        )
        centroids, idf = learn(descriptors, words=given.words, seed=given.seed)
    except errors.InvalidArgument as error:
        print(error.message, file=sys.stderr)
        return 2
    np.savez_compressed(
        given.out, format=FORMAT, version=given.version, centroids=centroids, idf=idf
    )
    print(
        f"{given.out}: {len(idf):,} words of {len(descriptors):,} pictures with "
        f"{sum(map(len, descriptors)):,} features"
    )
    return 0


def read(directory: Path, *, pictures: int, seed: int, threads: int) -> list[Bytes]:
    """Return the descriptors of each picture that has any, uint8 [N, 128]. Other files are skipped.

    Args:
        directory: The directory with the pictures, in any depth of folders.
        pictures: The most pictures to read. If there are more, they are chosen at random.
        seed: The same seed chooses the same pictures.
        threads: The number of threads that decode.

    Raises:
        errors.InvalidArgument: There are no pictures.
    """
    paths = sorted(
        (path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES),
        key=lambda path: path.relative_to(directory).as_posix(),
    )
    if len(paths) > pictures:
        chosen = np.random.default_rng(seed).choice(len(paths), pictures, replace=False)
        paths = [paths[row] for row in sorted(chosen)]

    def describe(path: Path) -> Bytes:
        try:
            image = images.decode(
                path.read_bytes(), max_pixels=read_max_pixels(), target=SIDE, luminance=True
            )
        except errors.ImageRejected:
            return np.empty((0, DIMENSION), np.uint8)
        return extract(image).descriptors

    with ThreadPoolExecutor(threads) as pool:
        descriptors = [table for table in pool.map(describe, paths) if len(table)]
    if not descriptors:
        raise errors.InvalidArgument(f"There are no pictures with features in {directory}.")
    return descriptors


def learn(descriptors: Sequence[Bytes], *, words: int, seed: int) -> tuple[Bytes, Floats]:
    """Learn visual words.

    Args:
        descriptors: The descriptors of each picture, uint8 [N, 128].
        words: The number of words, W.
        seed: The same seed gives the same words.

    Returns:
        The centroids, uint8 [W, 128], and their inverse document frequencies, float32 [W].

    Raises:
        errors.InvalidArgument: There are fewer descriptors than words.
    """
    together = np.concatenate(descriptors)
    if len(together) < words:
        raise errors.InvalidArgument(f"{len(together):,} features are too few for {words:,} words.")
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(together), min(len(together), words * _SAMPLE), replace=False)
    centroids = _cluster(together[np.sort(chosen)], words=words, generator=generator)
    table = np.rint(centroids * _SCALE).clip(0, 255).astype(np.uint8)
    # The words are looked up as the vocabulary will look them up.
    vocabulary = Vocabulary(table, np.ones(words, np.float32), version="")
    pictures = np.zeros(words)
    for each in descriptors:
        pictures[np.unique(vocabulary.assign(each))] += 1
    idf = np.log((len(descriptors) + 1) / (pictures + 1))
    return table, idf.astype(np.float32)


def _cluster(sample: Bytes, *, words: int, generator: np.random.Generator) -> Floats:
    centroids = unit(sample[generator.choice(len(sample), words, replace=False)])
    for _ in range(_ROUNDS):
        sums = np.zeros((words, DIMENSION), np.float64)
        counts = np.zeros(words, np.int64)
        for start in range(0, len(sample), _SLICE):
            rows = unit(sample[start : start + _SLICE])
            nearest = (rows @ centroids.T).argmax(axis=1)
            order = np.argsort(nearest, kind="stable")
            present, starts = np.unique(nearest[order], return_index=True)
            sums[present] += np.add.reduceat(rows[order].astype(np.float64), starts, axis=0)
            counts += np.bincount(nearest, minlength=words)
        empty = np.flatnonzero(counts == 0)
        sums[empty] = unit(sample[generator.choice(len(sample), len(empty), replace=False)])
        centroids = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    return centroids


if __name__ == "__main__":
    sys.exit(main())
