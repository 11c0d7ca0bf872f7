"""Compares pairs of pictures for the clusters: local features, evidence, probability."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from halftone.core import errors, telemetry
from halftone.core.system import lower_thread_priority
from halftone.matching import features as local_features
from halftone.matching.agreement import TileEvidence
from halftone.matching.overlaps import Overlap, Verification
from halftone.matching.probability import Evidence
from halftone.matching.relation import is_picture, relation
from halftone.matching.verification import verify
from halftone.matching.words import Vocabulary, likeness
from halftone.services.search.clusters.candidates import ChangedWords
from halftone.services.search.clusters.pairs import PairComparison
from halftone.services.search.comparison import messages
from halftone.services.search.store.port import PDQ_BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.matching.features import LocalFeatures
    from halftone.services.search.archive.fingerprints import Fingerprints
    from halftone.services.search.comparison.calibrations import Calibrations
    from halftone.services.search.store.port import Stored, Words

_VERSION: Final = 4
"""The version of the comparison. Raising it makes all pairs be compared again."""
_NICE: Final = 10
_GRID: Final = 64
_EVIDENCE: Final = struct.Struct(f"<{11 + len(dataclasses.fields(TileEvidence))}f")
"""The kept evidence: similarity, PDQ, words (NaN if unknown), the number of overlaps. Then of the
largest one: inliers, matches, both shares, residual, rivals, whether it is mirrored, and
its tile evidence in the order of its fields (NaN if there is none). Probability and relation depend
on nothing else."""

_log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One picture of a pair: its SHA-256, and an image that shows it, with its vectors."""

    sha: bytes
    stored: Stored


class Comparer:
    """Computes how probable it is that two pictures are the same, in threads of low priority.

    Attributes:
        matching: The formats of features, words and evidence together. Pairs that were compared in
            another format are compared again.
    """

    def __init__(self, source: Fingerprints, *, calibrations: Calibrations) -> None:
        """Create the parts. No thread starts yet."""
        self._source = source
        self._calibrations = calibrations
        self._vocabulary = Vocabulary.load()
        self._threads = ThreadPoolExecutor(
            os.cpu_count() or 1,
            thread_name_prefix="cluster",
            initializer=lower_thread_priority,
            initargs=(_NICE,),
        )
        self.matching = f"{_VERSION}.{local_features.FORMAT}.{self._vocabulary.version}"

    def changed_words(self, sha: bytes) -> ChangedWords | None:
        """Return the visual words of a picture's mirror image and negatives. Blocks.

        Returns None if the picture has no features or they cannot be read.
        """
        try:
            features = self._source.features(sha.hex())
        except errors.HalftoneError as error:
            _log.warning("features_unreadable", sha256=sha.hex(), error=error.message)
            return None
        if not len(features):
            return None
        mirrored = features.mirrored()
        ways = [mirrored, features.negative(), mirrored.negative()]
        # This takes 30 ms, so it runs in a thread of low priority.
        words = self._threads.submit(self._vocabulary.words_of_all, ways).result()
        first, *others = words
        return ChangedWords(mirrored=first, negatives=tuple(others))

    def compare(
        self, pairs: Sequence[tuple[Side, Side]], *, model_version: str, alone: bool
    ) -> list[PairComparison]:
        """Compare pairs of pictures. Blocks.

        OpenCV releases the interpreter lock while it works.

        Args:
            pairs: The pairs, each with the lesser hash first.
            model_version: The model version whose calibration gives the probability.
            alone: Whether to use only one thread, because there are searches.

        Returns:
            The comparisons. Pairs with an unreadable picture are left out.
        """
        if alone:
            outcomes = [self._threads.submit(self._evidence, *pair).result() for pair in pairs]
        else:
            outcomes = list(self._threads.map(lambda pair: self._evidence(*pair), pairs))
        compared = [
            (a, b, evidence, share)
            for (a, b), each in zip(pairs, outcomes, strict=True)
            if each is not None
            for evidence, share in (each,)
        ]
        if not compared:
            return []
        calibration = self._calibrations.of(model_version)
        probabilities = calibration.probabilities([evidence for _, _, evidence, _ in compared])
        return [
            PairComparison(
                a=a.sha,
                b=b.sha,
                probability=float(probability),
                share=share,
                relation=_relation(evidence, float(probability)),
                evidence=pack(evidence),
                verification=messages.to_verification(evidence.verification).SerializeToString(
                    deterministic=True
                )
                if evidence.verification is not None and evidence.verification.overlaps
                else b"",
            )
            for (a, b, evidence, share), probability in zip(compared, probabilities, strict=True)
        ]

    def rescore(
        self, pairs: Sequence[tuple[bytes, float | None]], *, model_version: str
    ) -> list[tuple[float, int, bytes]]:
        """Return the probability, the relation and the evidence of pairs by another model version.

        Only the similarity is replaced. Features, hashes and words do not depend on the model.

        Args:
            pairs: For each pair its kept evidence, and its similarity by `model_version`.
            model_version: The model version whose calibration gives the probability.
        """
        evidence = [
            dataclasses.replace(unpack(each), similarity=similarity) for each, similarity in pairs
        ]
        probabilities = self._calibrations.of(model_version).probabilities(evidence)
        return [
            (float(probability), _relation(each, float(probability)), pack(each))
            for probability, each in zip(probabilities, evidence, strict=True)
        ]

    def close(self) -> None:
        """Wait for the comparisons in progress and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _evidence(self, a: Side, b: Side) -> tuple[Evidence, float] | None:
        try:
            query, candidate = (self._source.features(each.sha.hex()) for each in (a, b))
        except errors.HalftoneError as error:
            # The picture was deleted or is damaged; the other pairs are still compared.
            _log.warning(
                "features_unreadable", pair=[a.sha.hex(), b.sha.hex()], error=error.message
            )
            return None
        # Only a verified overlap may link a group. Pictures with almost no features have
        # none, however alike they are.
        verification = dataclasses.replace(verify(query, candidate), is_conclusive=True)
        pdq, words = _pdq(a.stored, b.stored), self._words(a.stored.words, b.stored.words)
        if verification.is_negative:
            # All bits of the hash are turned over.
            pdq = None if pdq is None else -pdq
            query, words = query.negative(), None
        is_mirrored = bool(verification.overlaps) and verification.overlaps[0].mirrored
        if (is_mirrored or verification.is_negative) and b.stored.words is not None:
            changed = self._vocabulary.words(query.mirrored() if is_mirrored else query)
            words = max(words or 0.0, self._words(changed, b.stored.words) or 0.0)
        evidence = Evidence(
            similarity=compute_similarity(a.stored, b.stored),
            pdq=pdq,
            words=words,
            verification=verification,
        )
        return evidence, _compute_share(verification, query=query, candidate=candidate)

    def _words(self, a: Words | None, b: Words | None) -> float | None:
        """Return the likeness of two pictures by words; None if one has none."""
        if a is None or b is None or not len(a.indices) or not len(b.indices):
            return None
        plain = self._vocabulary.drop_directions
        return likeness(plain(a), plain(b))


def pack(evidence: Evidence) -> bytes:
    """Pack evidence so that it can be scored again with another version's similarity."""
    channels = (evidence.similarity, evidence.pdq, evidence.words)
    overlaps = evidence.verification.overlaps if evidence.verification else ()
    geometry: tuple[float, ...] = (0.0,) * 7
    tiles: tuple[float, ...] = (math.nan,) * len(dataclasses.fields(TileEvidence))
    if overlaps:
        first = overlaps[0]
        # Of further overlaps only those matter that may show a picture of their own.
        alike = sum(is_picture(each) for each in overlaps[1:])
        geometry = (
            1 + alike,
            first.inliers,
            first.matches,
            first.query_share,
            first.candidate_share,
            first.residual,
            first.rivals,
        )
        tiles = tiles if first.evidence is None else dataclasses.astuple(first.evidence)
    known = (math.nan if each is None else each for each in channels)
    mirrored = float(bool(overlaps) and overlaps[0].mirrored)
    return _EVIDENCE.pack(*known, *geometry, mirrored, *tiles)


def unpack(kept: bytes) -> Evidence:
    """Return the evidence that `pack` packed, with only the figures of the largest overlap."""
    values = _EVIDENCE.unpack(kept)
    channels, tiles = values[:3], values[11:]
    count, inliers, matches, query_share, candidate_share, residual, rivals = values[3:10]
    mirrored = values[10]
    overlap = Overlap(
        inliers=int(inliers),
        homography=np.eye(3),
        query_polygon=np.empty((0, 2), np.float32),
        candidate_polygon=np.empty((0, 2), np.float32),
        query_share=query_share,
        candidate_share=candidate_share,
        mirrored=bool(mirrored),
        rotation=0.0,
        scale=1.0,
        matches=int(matches),
        residual=residual,
        rivals=int(rivals),
        evidence=None if math.isnan(tiles[0]) else TileEvidence(*tiles),
    )
    # Further overlaps were kept for showing a picture, even if the first does not.
    other = overlap
    if overlap.evidence is not None:
        other = dataclasses.replace(
            overlap, evidence=dataclasses.replace(overlap.evidence, breadth=1.0)
        )
    similarity, pdq, words = (None if math.isnan(each) else each for each in channels)
    return Evidence(
        similarity=similarity,
        pdq=pdq,
        words=words,
        verification=Verification(
            overlaps=(overlap, *(other,) * (int(count) - 1))[: int(count)], seconds=0.0
        ),
    )


def _relation(evidence: Evidence, probability: float) -> int:
    told = relation(evidence, probability=probability, same_bytes=False)
    return int(messages.relation_of(told))


def compute_similarity(a: Stored, b: Stored) -> float | None:
    """Return the cosine of two descriptors of unit length; None where one is missing."""
    if a.vector is None or b.vector is None:
        return None
    # Sum in double precision, so that the order of the pair makes no difference.
    return float(np.dot(a.vector.astype(np.float64), b.vector.astype(np.float64)))


def _pdq(a: Stored, b: Stored) -> float | None:
    # All plain pictures have one hash, of no bits, which says nothing of a pair.
    if a.pdq is None or b.pdq is None or not ((a.pdq > 0).any() and (b.pdq > 0).any()):
        return None
    return float(np.sign(a.pdq) @ np.sign(b.pdq)) / PDQ_BITS


def _compute_share(
    verification: Verification, *, query: LocalFeatures, candidate: LocalFeatures
) -> float:
    """Return the share of a picture that all overlaps together cover: the smaller of the two."""
    if not verification.overlaps:
        # Without an overlap the shares are unknown.
        return 1.0
    shares = []
    for polygons, picture in (
        ([each.query_polygon for each in verification.overlaps], query),
        ([each.candidate_polygon for each in verification.overlaps], candidate),
    ):
        # Overlaps may cover the same area twice: two homographies can explain one part.
        canvas = np.zeros((_GRID, _GRID), dtype=np.uint8)
        size = np.array([picture.width, picture.height], dtype=np.float64)
        for polygon in polygons:
            corners = np.rint(polygon / size * _GRID - 0.5).astype(np.int32)
            cv2.fillConvexPoly(canvas, corners, (1,))
        shares.append(float(canvas.mean()))
    return min(shares)
