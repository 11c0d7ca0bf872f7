"""Compares pairs of pictures of the archive for the clusters: features, evidence, probability."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np

from halftone.core import errors, telemetry
from halftone.matching import features as local_features
from halftone.matching.probability import Evidence
from halftone.matching.relation import relation
from halftone.matching.verification import Overlap, Verification, verify
from halftone.matching.words import Vocabulary
from halftone.services.search.clusters.pairs import PairComparison
from halftone.services.search.comparison import messages
from halftone.services.search.store.port import PDQ_BITS, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.features import LocalFeatures
    from halftone.services.search.comparison.calibrations import Calibrations
    from halftone.services.search.comparison.verifier import FeatureSource
    from halftone.services.search.store.port import Stored

_VERSION: Final = 1
"""Raised when pairs are to be compared anew that were compared before."""
_NICE: Final = 10
_GRID: Final = 64
_EVIDENCE: Final = struct.Struct("<8f")
"""Similarity, PDQ and words, NaN where unknown; of the largest overlap what tells the probability:
inliers, matches, shares, coverage."""

_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One picture of a pair: its hash, and an image that shows it, with its vectors."""

    sha: bytes
    stored: Stored


class Comparer(Protocol):
    """Says of pairs of pictures how probable it is that they are the same."""

    @property
    def matching(self) -> str:
        """Names what was compared and how; pairs of another name are compared anew."""

    def mirrored_words(self, sha: bytes) -> Words | None:
        """The visual words of a picture's mirror image; None where there are none. Blocks."""

    def compare(
        self, pairs: Sequence[tuple[Side, Side]], *, model_version: str, alone: bool
    ) -> list[PairComparison]:
        """Compares pairs, the lesser hash first; leaves out what cannot be read. Blocks.

        `alone`: in one thread, because there are searches.
        """

    def rescored(
        self, pairs: Sequence[tuple[bytes, float | None]], *, model_version: str
    ) -> list[tuple[float, bytes]]:
        """Probability and evidence of pairs as another model version sees them.

        Args:
            pairs: Evidence as it was kept, and the similarity of the version's descriptors.
            model_version: The version.
        """

    def close(self) -> None:
        """Ends its threads."""


class FeatureComparer:
    """Compares by local features."""

    def __init__(self, source: FeatureSource, *, calibrations: Calibrations) -> None:
        """Starts no thread yet."""
        self._source = source
        self._calibrations = calibrations
        self._vocabulary = Vocabulary.load()
        self._threads = ThreadPoolExecutor(
            os.cpu_count() or 1, thread_name_prefix="cluster", initializer=_give_way
        )
        self._matching = f"{_VERSION}.{local_features.FORMAT}.{self._vocabulary.version}"

    @property
    def matching(self) -> str:
        """Of features, words and evidence."""
        return self._matching

    def mirrored_words(self, sha: bytes) -> Words | None:
        """From the features: those of the mirror image are a permutation of them."""
        try:
            features = self._source.features(sha.hex())
        except errors.HalftoneError as error:
            _log.warning("features_unreadable", sha256=sha.hex(), error=error.message)
            return None
        if not len(features):
            return None
        # Some 20 ms, in a thread that gives way.
        found = self._threads.submit(self._vocabulary.words, features.mirrored()).result()
        return Words(*found)

    def compare(
        self, pairs: Sequence[tuple[Side, Side]], *, model_version: str, alone: bool
    ) -> list[PairComparison]:
        """Compares pairs in threads of low priority; OpenCV lets the interpreter go meanwhile."""
        if alone:
            found = [self._threads.submit(self._evidence, *pair).result() for pair in pairs]
        else:
            found = list(self._threads.map(lambda pair: self._evidence(*pair), pairs))
        there = [
            (a, b, evidence, share)
            for (a, b), each in zip(pairs, found, strict=True)
            if each is not None
            for evidence, share in (each,)
        ]
        if not there:
            return []
        calibration = self._calibrations.of(model_version)
        probabilities = calibration.probabilities([evidence for _, _, evidence, _ in there])
        return [
            PairComparison(
                a=a.sha,
                b=b.sha,
                probability=float(probability),
                share=share,
                relation=int(messages.relation_of(relation(evidence, same_bytes=False))),
                evidence=packed(evidence),
                verification=messages.to_verification(evidence.verification).SerializeToString(
                    deterministic=True
                )
                if evidence.verification is not None and evidence.verification.overlaps
                else b"",
            )
            for (a, b, evidence, share), probability in zip(there, probabilities, strict=True)
        ]

    def rescored(
        self, pairs: Sequence[tuple[bytes, float | None]], *, model_version: str
    ) -> list[tuple[float, bytes]]:
        """Only the similarity is another one: features, hashes and words know no model."""
        evidence = [
            dataclasses.replace(unpacked(each), similarity=similarity) for each, similarity in pairs
        ]
        probabilities = self._calibrations.of(model_version).probabilities(evidence)
        return [
            (float(probability), packed(each))
            for probability, each in zip(probabilities, evidence, strict=True)
        ]

    def close(self) -> None:
        """Waits for the pairs under way."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _evidence(self, a: Side, b: Side) -> tuple[Evidence, float] | None:
        try:
            query, candidate = (self._source.features(each.sha.hex()) for each in (a, b))
        except errors.HalftoneError as error:
            # Deleted meanwhile, or damaged: the others are still compared.
            _log.warning(
                "features_unreadable", pair=[a.sha.hex(), b.sha.hex()], error=error.message
            )
            return None
        # What holds a group together has to be verified: of pictures with almost no features
        # nothing is, however alike they are.
        found = dataclasses.replace(verify(query, candidate), is_conclusive=True)
        words = _words(a.stored.words, b.stored.words)
        if found.overlaps and found.overlaps[0].mirrored and b.stored.words is not None:
            turned = Words(*self._vocabulary.words(query.mirrored()))
            words = max(words or 0.0, _words(turned, b.stored.words) or 0.0)
        evidence = Evidence(
            similarity=similarity(a.stored, b.stored),
            pdq=_pdq(a.stored, b.stored),
            words=words,
            verification=found,
        )
        return evidence, _shared(found, query=query, candidate=candidate)


def packed(evidence: Evidence) -> bytes:
    """What is kept of evidence, to see it with another model version's similarity."""
    channels = (evidence.similarity, evidence.pdq, evidence.words)
    overlaps = evidence.verification.overlaps if evidence.verification else ()
    geometry: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    if overlaps:
        first = overlaps[0]
        geometry = (
            first.inliers,
            first.matches,
            first.query_share,
            first.candidate_share,
            first.coverage,
        )
    return _EVIDENCE.pack(*(math.nan if each is None else each for each in channels), *geometry)


def unpacked(kept: bytes) -> Evidence:
    """The evidence that `packed` kept, of pictures that were compared."""
    *channels, inliers, matches, query_share, candidate_share, coverage = _EVIDENCE.unpack(kept)
    overlap = Overlap(
        inliers=int(inliers),
        homography=np.eye(3),
        query_polygon=np.empty((0, 2), np.float32),
        candidate_polygon=np.empty((0, 2), np.float32),
        query_share=query_share,
        candidate_share=candidate_share,
        mirrored=False,
        rotation=0.0,
        scale=1.0,
        matches=int(matches),
        residual=0.0,
        coverage=coverage,
    )
    similarity, pdq, words = (None if math.isnan(each) else each for each in channels)
    return Evidence(
        similarity=similarity,
        pdq=pdq,
        words=words,
        verification=Verification(overlaps=(overlap,) if inliers else (), seconds=0.0),
    )


def similarity(a: Stored, b: Stored) -> float | None:
    """Cosine of two descriptors, which are of unit length."""
    if a.vector is None or b.vector is None:
        return None
    # Summed in double, so that the order of the pair makes no difference.
    return float(np.dot(a.vector.astype(np.float64), b.vector.astype(np.float64)))


def _pdq(a: Stored, b: Stored) -> float | None:
    if a.pdq is None or b.pdq is None:
        return None
    return float(np.sign(a.pdq) @ np.sign(b.pdq)) / PDQ_BITS


def _words(a: Words | None, b: Words | None) -> float | None:
    if a is None or b is None or not len(a.indices) or not len(b.indices):
        return None
    _, first, second = np.intersect1d(a.indices, b.indices, assume_unique=True, return_indices=True)
    return min(1.0, float(a.values[first].astype(np.float64) @ b.values[second]))


def _shared(found: Verification, *, query: LocalFeatures, candidate: LocalFeatures) -> float:
    """The share, of the picture of which less is shared, that the overlaps cover together."""
    if not found.overlaps:
        # It is the same picture for other reasons, or not at all.
        return 1.0
    shares = []
    for polygons, picture in (
        ([each.query_polygon for each in found.overlaps], query),
        ([each.candidate_polygon for each in found.overlaps], candidate),
    ):
        # Overlaps overlap: two homographies may explain one part.
        canvas = np.zeros((_GRID, _GRID), dtype=np.uint8)
        size = np.array([picture.width, picture.height], dtype=np.float64)
        for polygon in polygons:
            corners = np.rint(polygon / size * _GRID - 0.5).astype(np.int32)
            cv2.fillConvexPoly(canvas, corners, (1,))
        shares.append(float(canvas.mean()))
    return min(shares)


def _give_way() -> None:
    """Lowers a thread's priority, where threads have one of their own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
