"""Searches among pictures in memory as the search service does, for evaluation and fitting.

It has the same candidates (descriptor, perceptual hash and visual words, by best rank), the same
verification and the same evidence. Arrays stand in for the service's store.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from halftone.imaging.orientations import UPRIGHT
from halftone.matching.fusion import DEPTH, NEGATIVE_DEPTH, VERIFY_COUNT, fuse_channels
from halftone.matching.pdq import DIMENSION, to_vector
from halftone.matching.probability import Calibration, Evidence
from halftone.matching.verification import verify
from halftone.matching.words import Vocabulary, likeness, turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from halftone.imaging.orientations import Orientation
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.overlaps import Verification
    from halftone.matching.words import Words

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryMatch:
    """A candidate: its row in the gallery, the evidence for it, and its probability."""

    index: int
    evidence: Evidence
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The candidates of a query, as rows of the gallery, most promising first.

    Attributes:
        rows: Those of all channels together.
        channels: Those by descriptor, by hash and by words.
        similarity: The cosine of the descriptors of each picture with the query's, float32 [N].
        pdq: The same of the hashes.
        negative_pdq: The same of the hash of the query in negative.
    """

    rows: list[int]
    channels: tuple[list[int], list[int], list[int]]
    similarity: Floats
    pdq: Floats
    negative_pdq: Floats


class Gallery:
    """The N pictures that are searched."""

    def __init__(
        self,
        descriptors: Floats,
        fingerprints: Sequence[Fingerprint],
        *,
        calibration: Calibration | None = None,
        threads: int = 2,
    ) -> None:
        """Prepare the gallery.

        Args:
            descriptors: The descriptors of the pictures, float32 [N, D] of unit length.
            fingerprints: The archive fingerprints of the N pictures.
            calibration: Turns evidence into probabilities; None takes the default one, which
                ignores descriptors.
            threads: The number of threads that compare local features.

        Raises:
            ValueError: There are not as many descriptors as fingerprints.
        """
        if len(descriptors) != len(fingerprints):
            raise ValueError(f"{len(descriptors)} descriptors, {len(fingerprints)} fingerprints")
        self.descriptors = descriptors
        self.fingerprints = fingerprints
        self.calibration = calibration or Calibration.default()
        self._pdq = np.stack([to_vector(each.pdq[UPRIGHT]) for each in fingerprints])
        self._words = _Inverted([each.words[False] for each in fingerprints])
        self._threads = threads

    def __len__(self) -> int:
        """Return N."""
        return len(self.descriptors)

    def search(
        self,
        views: Mapping[Orientation, Floats],
        fingerprint: Fingerprint,
        *,
        verify_count: int = VERIFY_COUNT,
        depth: int = DEPTH,
        without: Sequence[int] = (),
    ) -> list[GalleryMatch]:
        """Find the printings of a picture.

        Args:
            views: The query's descriptor in each orientation, float32 [D].
            fingerprint: The query's fingerprint, in the same orientations.
            verify_count: The number of candidates that are compared by local features.
            depth: The number of candidates of each channel.
            without: Rows to leave out, such as the query itself.

        Returns:
            The matches in the order of the search service: most probable first. Candidates that
            were not compared come after all candidates that were compared and are more likely than
            not. Ties are ordered by similarity, then by row.
        """
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self._threads) as pool:
            return self._search(
                views,
                fingerprint,
                verify_count=verify_count,
                depth=depth,
                without=without,
                pool=pool,
            )

    def search_all(
        self,
        queries: Iterator[tuple[Mapping[Orientation, Floats], Fingerprint, Sequence[int]]],
        *,
        verify_count: int = VERIFY_COUNT,
        depth: int = DEPTH,
    ) -> Iterator[list[GalleryMatch]]:
        """Run a search for each query and yield its matches, as `search` returns them.

        Args:
            queries: The arguments `views`, `fingerprint` and `without` of each `search`.
            verify_count: As in `search`.
            depth: As in `search`.
        """
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self._threads) as pool:
            for views, fingerprint, without in queries:
                yield self._search(
                    views,
                    fingerprint,
                    verify_count=verify_count,
                    depth=depth,
                    without=without,
                    pool=pool,
                )

    def find_candidates(
        self,
        views: Mapping[Orientation, Floats],
        fingerprint: Fingerprint,
        *,
        depth: int = DEPTH,
        without: Sequence[int] = (),
    ) -> Candidates:
        """Find the pictures that are worth comparing with a query.

        Args:
            views: As in `search`, like the others.
            fingerprint: The query's fingerprint.
            depth: The number of candidates of each channel.
            without: Rows to leave out.
        """
        similarity = np.max([self.descriptors @ view for view in views.values()], axis=0)
        hashes = {way: self._pdq @ to_vector(bits) for way, bits in fingerprint.pdq.items()}
        pdq = np.max(list(hashes.values()), axis=0) / DIMENSION
        # The hash of a negative has all bits turned over.
        negative_pdq = -np.min(list(hashes.values()), axis=0) / DIMENSION
        rotations = sorted({way.rotation for way in fingerprint.pdq})
        words = self._score_words(fingerprint.words, rotations=rotations)
        negative_words = self._score_words(fingerprint.negative_words, rotations=rotations)

        def first(scores: Floats, limit: int = depth) -> list[int]:
            return _first(scores, limit=limit, without=without)

        negatives = []
        if fingerprint.negative_words:
            upright = [-scores for way, scores in hashes.items() if not way.rotation]
            negatives = [
                first(np.max(upright, axis=0), NEGATIVE_DEPTH),
                first(_sharing(negative_words), NEGATIVE_DEPTH),
            ]
        channels = (first(similarity), first(pdq), first(_sharing(words)))
        rows = fuse_channels(
            descriptor=channels[0],
            pdq=channels[1],
            words=channels[2],
            negatives=negatives,
            limit=3 * depth + sum(map(len, negatives)),
        )
        return Candidates(
            rows=rows,
            channels=channels,
            similarity=similarity,
            pdq=pdq,
            negative_pdq=negative_pdq,
        )

    def _search(
        self,
        views: Mapping[Orientation, Floats],
        fingerprint: Fingerprint,
        *,
        verify_count: int,
        depth: int,
        without: Sequence[int],
        pool: ThreadPoolExecutor,
    ) -> list[GalleryMatch]:
        found = self.find_candidates(views, fingerprint, depth=depth, without=without)
        rows = found.rows

        def compare(row: int) -> Verification:
            return verify(fingerprint.features, self.fingerprints[row].features)

        # All plain pictures have one hash, which says nothing of a pair.
        hashed = any(bits.any() for bits in fingerprint.pdq.values())
        alike = self._compare_words(fingerprint.words, rows=rows)
        negative_alike = self._compare_words(fingerprint.negative_words, rows=rows)
        verifications: list[Verification | None] = list(pool.map(compare, rows[:verify_count]))
        verifications += [None] * (len(rows) - len(verifications))
        evidence = [
            Evidence(
                similarity=float(found.similarity[row]),
                pdq=float((found.negative_pdq if is_negative else found.pdq)[row])
                if hashed
                else None,
                words=(negative_alike if is_negative else alike)[at],
                verification=verification,
            )
            for at, (row, verification) in enumerate(zip(rows, verifications, strict=True))
            for is_negative in (verification is not None and verification.is_negative,)
        ]
        probabilities = self.calibration.probabilities(evidence)
        matches = [
            GalleryMatch(index=row, evidence=known, probability=float(probability))
            for row, known, probability in zip(rows, evidence, probabilities, strict=True)
        ]
        return sorted(
            matches,
            key=lambda match: (
                not match.evidence.is_verified_match(match.probability),
                -match.probability,
                -(match.evidence.similarity or 0.0),
                match.index,
            ),
        )

    def _score_words(self, words: Mapping[bool, Words], *, rotations: Sequence[int]) -> Floats:
        """Return how well each picture's words fit a query's, in its best orientation."""
        scores = [
            self._words.scores(turn(each, rotation=rotation))
            for each in words.values()
            for rotation in rotations
        ]
        return np.max(scores, axis=0) if scores else np.zeros(len(self), dtype=np.float32)

    def _compare_words(self, words: Mapping[bool, Words], *, rows: Sequence[int]) -> list[float]:
        """Return the likeness of a query's words, mirrored or not, to those of some pictures."""
        plain = Vocabulary.load().drop_directions
        queries = [plain(each) for each in words.values()]
        held = [plain(self.fingerprints[row].words[False]) for row in rows]
        return [max((likeness(each, kept) for each in queries), default=0.0) for kept in held]


class _Inverted:
    """An inverted index of visual words: a query looks only at pictures that share a word."""

    def __init__(self, pictures: Sequence[Words]) -> None:
        self._count = len(pictures)
        words = np.concatenate([each.indices for each in pictures] or [np.empty(0, np.uint32)])
        rows = np.repeat(np.arange(len(pictures)), [len(each.indices) for each in pictures])
        order = np.argsort(words, kind="stable")
        self._words = words[order]
        self._rows = rows[order]
        self._values = np.concatenate([each.values for each in pictures])[order]

    def scores(self, query: Words) -> Floats:
        """Return the score of each picture, 0 to about 1: float32 [N]."""
        start = np.searchsorted(self._words, query.indices, side="left")
        count = np.searchsorted(self._words, query.indices, side="right") - start
        # The places of all the lists, one after the other.
        before = np.cumsum(count) - count
        places = np.arange(count.sum()) + np.repeat(start - before, count)
        weights = np.repeat(query.values, count) * self._values[places]
        total = np.bincount(self._rows[places], weights=weights, minlength=self._count)
        return total.astype(np.float32)


def _sharing(words: Floats) -> Floats:
    """Mark pictures that share no word with the query, which are no candidates by their words."""
    return np.where(words > 0, words, np.float32(-np.inf))


def _first(scores: Floats, *, limit: int, without: Sequence[int]) -> list[int]:
    """Return the rows with the highest scores, ties by row; minus infinity marks no candidate."""
    ranked = np.asarray(scores, dtype=np.float64).copy()
    ranked[list(without)] = -np.inf
    limit = min(limit, len(ranked))
    # Among equal scores at the end of the list, the first rows are taken.
    lowest = np.partition(ranked, len(ranked) - limit)[len(ranked) - limit] if limit else np.inf
    rows = np.flatnonzero(ranked >= max(lowest, np.finfo(np.float64).min))
    return [int(row) for row in rows[np.lexsort((rows, -ranked[rows]))][:limit]]
