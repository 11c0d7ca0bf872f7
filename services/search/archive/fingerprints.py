"""Fingerprints of pictures: computed at import, kept, and computed again if they are lost.

A fingerprint is a PDQ hash, visual words and local features. Hash and words are stored in the
collections, local features next to the picture's bytes; recently compared ones stay in memory.
Everything here blocks; call it in threads.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache

from halftone.core import errors, telemetry
from halftone.matching.features import LocalFeatures
from halftone.matching.words import Vocabulary
from halftone.services.search.archive import fingerprinting

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from halftone.imaging.images import Region
    from halftone.imaging.orientations import Orientation
    from halftone.imaging.pool.inline import Runner
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.words import Words
    from halftone.services.search.archive.blobs import Blobs

_OVERHEAD: Final = 1_000
"""Bytes that a picture's features take in memory besides their arrays."""

_log = telemetry.get_logger(__name__)


class Print(NamedTuple):
    """The fingerprint of a picture that is being imported.

    Attributes:
        pdq: The PDQ hash, float32 [256] of +1 and -1.
        words: The visual words, as in a `Point`.
        unkept: The local features if they are not in the blob store yet, otherwise None.
    """

    pdq: np.ndarray
    words: Words
    unkept: LocalFeatures | None


class Fingerprints:
    """Computes fingerprints and reads the local features of the archive's pictures."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        runner: Runner,
        max_pixels: int,
        memory_bytes: int,
        metrics: telemetry.Metrics,
    ) -> None:
        """Create an empty cache. Nothing is read yet.

        Args:
            blobs: The store of pictures and their local features.
            runner: Decodes pictures and computes fingerprints.
            max_pixels: Larger pictures are refused by their header.
            memory_bytes: The size of the cache of local features in bytes. A picture's take about
                120 kB with its copy, a page's up to 450 kB.
            metrics: Counts whether features came from memory, from the blob store or were computed.
        """
        self._blobs = blobs
        self._max_pixels = max_pixels
        self._runner = runner
        self._lock = threading.Lock()
        self._recent: LRUCache[str, LocalFeatures] = LRUCache(memory_bytes, getsizeof=_size)
        self._sources = metrics.counter(
            "features_total",
            "Local features of images that were asked for, by source: memory, blob, picture",
            labels=("source",),
        )

    def of_query(
        self,
        content: bytes,
        *,
        region: Region | None = None,
        mirrored: bool = True,
        rotated: bool = True,
        is_over: Callable[[], bool] | None = None,
    ) -> Fingerprint:
        """Return the fingerprint of a picture to search by, or of a region of it.

        Args:
            content: The picture's bytes.
            region: The part of the picture to search by, in pixels; None means all of it.
            mirrored: Whether to find mirrored copies, too.
            rotated: Whether to find copies turned by a multiple of 90 degrees, too.
            is_over: Tells that nobody waits for the fingerprint any more.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
            errors.HalftoneError: It cannot be decoded now; see `Pool.run`.
        """
        return self._runner.run(
            fingerprinting.make_query,
            content,
            is_over=is_over,
            region=region,
            mirrored=mirrored,
            rotated=rotated,
            max_pixels=self._max_pixels,
        )

    def hashes(
        self, content: bytes, *, is_over: Callable[[], bool] | None = None
    ) -> dict[Orientation, np.ndarray]:
        """Return the PDQ hashes of a picture in all orientations.

        They are computed from a copy of the same size as at import. The hash of a smaller copy
        would differ in about ten of 256 bits and find other pictures.

        Args:
            content: The picture's bytes.
            is_over: Tells that nobody waits for the hashes any more.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
            errors.HalftoneError: It cannot be decoded now; see `Pool.run`.
        """
        return self._runner.run(
            fingerprinting.make_hashes, content, is_over=is_over, max_pixels=self._max_pixels
        )

    def of_archive(self, content: bytes, *, sha256: str) -> Print:
        """Return the fingerprint of a picture that is being imported.

        Local features that are in the blob store already are not computed again.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
            errors.HalftoneError: It cannot be decoded now; see `Pool.run`.
        """
        kept = self._read_kept(sha256)
        if kept:
            vector = self._runner.run(
                fingerprinting.make_vector, content, max_pixels=self._max_pixels
            )
            return Print(vector, Vocabulary.load().words(kept), None)
        vector, words, features = self._runner.run(
            fingerprinting.make_archived, content, max_pixels=self._max_pixels
        )
        return Print(vector, words, features)

    def keep(self, features: LocalFeatures, *, sha256: str) -> None:
        """Write local features next to the picture, durably."""
        self._blobs.put_features(features.to_bytes(), sha256=sha256)

    def features(self, sha256: str) -> LocalFeatures:
        """Return the local features of a picture of the archive.

        Features that are missing, damaged or in another release's format are computed again and
        kept.

        Raises:
            errors.NotFound: The picture is not in the blob store.
            errors.DataLoss: The picture's bytes are damaged.
        """
        with self._lock:
            recent = self._recent.get(sha256)
        if recent is not None:
            self._sources.labels("memory").inc()
            return recent
        features = self._read_kept(sha256)
        self._sources.labels("picture" if features is None else "blob").inc()
        if features is None:
            features = self._make_again(sha256)
        # Features that are larger than the whole cache are not cached.
        with self._lock, contextlib.suppress(ValueError):
            self._recent.setdefault(sha256, features)
        return features

    def _read_kept(self, sha256: str) -> LocalFeatures | None:
        """Return the features in the blob store; None if they are missing or unreadable."""
        try:
            return LocalFeatures.from_bytes(self._blobs.get_features(sha256))
        except errors.NotFound:
            return None
        except errors.HalftoneError as error:
            _log.warning("features_unreadable", sha256=sha256, error=error.message)
            return None

    def _make_again(self, sha256: str) -> LocalFeatures:
        content = self._blobs.get(sha256)
        made = self._runner.run(fingerprinting.make_features, content, max_pixels=self._max_pixels)
        # Packing rounds values. Return the features as the next call will read them, so that a
        # comparison has the same result both times.
        packed = made.to_bytes()
        try:
            self._blobs.put_features(packed, sha256=sha256)
            if not self._blobs.has(sha256):
                # The picture was deleted meanwhile. If it is imported again, the features stay.
                self._blobs.delete_made(sha256)
        except errors.HalftoneError as error:
            _log.warning("features_not_kept", sha256=sha256, error=error.message)
        return LocalFeatures.from_bytes(packed)


def _size(features: LocalFeatures) -> int:
    # Both arrays may be views of one buffer, of which the descriptors are nearly all.
    return features.points.nbytes + features.descriptors.nbytes + len(features.copy) + _OVERHEAD
