"""Judges the whole search on an archive whose reprints are known, as a user gets its answers.

Every picture searches for the others: candidates by descriptor, perceptual hash and visual words,
the best of them compared by local features, and one calibrated probability. It runs in this
process, so that any published version can be judged, and needs no stack.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from halftone.core.settings import read_max_pixels
from halftone.imaging import images, layout
from halftone.imaging.orientations import orientations
from halftone.matching.features import SIDE
from halftone.matching.fingerprint import fingerprint
from halftone.matching.offline import Gallery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.evaluation.labelled import EmbeddedArchive
    from halftone.evaluation.metrics import Floats
    from halftone.imaging.orientations import Orientation
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.probability import Calibration

_PAGE: Final = layout.SIDE * 2 // 3
_THREADS: Final = 2
# The order of a search puts what was compared and is likely before everything else.
_UNFOUNDED: Final = 0.499


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The H hits of the searches by N images; a `metrics.Scorer`.

    A pair is asked for from both sides; the larger probability counts. A pair that is a hit of
    neither side has the probability 0.

    Attributes:
        count: N.
        queries: int64 [H], the image that was searched by, ascending.
        hits: int64 [H], the image that was found.
        ranking: float32 [H], scores in the order in which a search lists its hits, 0 to 1.
        probabilities: float32 [H].
    """

    count: int
    queries: NDArray[np.int64]
    hits: NDArray[np.int64]
    ranking: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        """Return N."""
        return self.count

    def block(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return blocks of the scores; see `metrics.Scorer.block`."""
        ranking, pairs = np.zeros((2, stop - start, self.count), dtype=np.float32)
        forth = slice(*np.searchsorted(self.queries, (start, stop)))
        rows = self.queries[forth] - start
        ranking[rows, self.hits[forth]] = self.ranking[forth]
        pairs[rows, self.hits[forth]] = self.probabilities[forth]
        back = np.flatnonzero((self.hits >= start) & (self.hits < stop))
        place = self.hits[back] - start, self.queries[back]
        pairs[place] = np.maximum(pairs[place], self.probabilities[back])
        return ranking, pairs


def search_archive(
    embedded: EmbeddedArchive,
    *,
    calibration: Calibration | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Search an archive by each of its pictures.

    Args:
        embedded: The archive and its descriptors in all orientations.
        calibration: Turns evidence into probabilities: that of the version that made the
            descriptors. None takes the packaged one, as searches do for a version without its own.
        progress: Called with a number of pictures that were read or searched by; the numbers add up
            to 2 N.
    """
    ways = orientations(mirrored=True, rotated=True)
    if embedded.views is None or len(embedded.views) != len(ways):
        raise ValueError("a search needs the descriptors in all orientations")
    views = embedded.views
    prints = make_fingerprints(embedded.archive.paths, progress=progress)
    gallery = Gallery(embedded.descriptors, prints, calibration=calibration, threads=_THREADS)

    def queries() -> Iterator[
        tuple[dict[Orientation, NDArray[np.float32]], Fingerprint, Sequence[int]]
    ]:
        for row, each in enumerate(prints):
            yield {way: views[at, row] for at, way in enumerate(ways)}, each, (row,)

    found: list[tuple[int, int, float, float]] = []
    for row, matches in enumerate(gallery.search_all(queries())):
        for match in matches:
            founded = match.evidence.is_verified_match(match.probability)
            rank = match.probability if founded else _UNFOUNDED * match.probability
            found.append((row, match.index, rank, match.probability))
        progress(1)
    rows, hits, ranking, probabilities = zip(*found, strict=True) if found else ((), (), (), ())
    return Answers(
        count=len(prints),
        queries=np.array(rows, dtype=np.int64),
        hits=np.array(hits, dtype=np.int64),
        ranking=np.array(ranking, dtype=np.float32),
        probabilities=np.array(probabilities, dtype=np.float32),
    )


def make_fingerprints(
    paths: Sequence[Path], *, progress: Callable[[int], None] = lambda _: None
) -> list[Fingerprint]:
    """Make the fingerprints of pictures as the search service makes those of its queries.

    Args:
        paths: The pictures' files.
        progress: Called after each picture with 1.
    """
    made = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        for each in pool.map(_make_fingerprint, paths):
            made.append(each)
            progress(1)
    return made


def _make_fingerprint(path: Path) -> Fingerprint:
    content = path.read_bytes()
    full = images.size(content)
    image = images.decode(content, max_pixels=read_max_pixels(), target=SIDE, luminance=True)
    page = image
    if max(image.size) < min(layout.SIDE, max(full)):
        page = images.decode(content, max_pixels=read_max_pixels(), target=_PAGE, luminance=True)
    return fingerprint(image, full_size=full, page=page)
