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
from halftone.imaging import images, layout
from halftone.matching.features import SIDE, LocalFeatures
from halftone.matching.fingerprint import fingerprint, local_features
from halftone.matching.pdq import pdq, pdq_orientations, to_vector
from halftone.matching.words import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from halftone.imaging.images import Region
    from halftone.imaging.orientations import Orientation
    from halftone.matching.fingerprint import Fingerprint
    from halftone.matching.words import Words
    from halftone.services.search.archive.blobs import Blobs

_PAGE: Final = layout.SIDE * 2 // 3
"""Shorter side, in pixels, of the copy in which pictures on a page are looked for."""
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
        budget: images.PixelBudget,
        max_pixels: int,
        memory_bytes: int,
        metrics: telemetry.Metrics,
    ) -> None:
        """Create an empty cache. Nothing is read yet.

        Args:
            blobs: The store of pictures and their local features.
            budget: Bounds the memory that the process uses for decoding.
            max_pixels: Larger pictures are refused by their header.
            memory_bytes: The size of the cache of local features in bytes. A picture's take about
                120 kB with its copy, a page's up to 450 kB.
            metrics: Counts whether features came from memory, from the blob store or were computed.
        """
        self._blobs = blobs
        self._max_pixels = max_pixels
        self._budget = budget
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
    ) -> Fingerprint:
        """Return the fingerprint of a picture to search by, or of a region of it.

        Args:
            content: The picture's bytes.
            region: The part of the picture to search by, in pixels; None means all of it.
            mirrored: Whether to find mirrored copies, too.
            rotated: Whether to find copies turned by a multiple of 90 degrees, too.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
        """
        image = self._decode(content, region=region)
        full = images.size(content) if region is None else (region.width, region.height)
        page = self._page(content, image=image, full_size=full, region=region)
        return fingerprint(image, mirrored=mirrored, rotated=rotated, full_size=full, page=page)

    def hashes(self, content: bytes) -> dict[Orientation, np.ndarray]:
        """Return the PDQ hashes of a picture in all orientations.

        They are computed from a copy of the same size as at import. The hash of a smaller copy
        would differ in about ten of 256 bits and find other pictures.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
        """
        return pdq_orientations(self._decode(content))

    def of_archive(self, content: bytes, *, sha256: str) -> Print:
        """Return the fingerprint of a picture that is being imported.

        Local features that are in the blob store already are not computed again.

        Raises:
            errors.ImageRejected: The picture cannot be used; see `images.decode`.
        """
        kept = self._read_kept(sha256)
        image = self._decode(content)
        features = kept or self._extract(content, image=image)
        words = Vocabulary.load().words(features)
        return Print(to_vector(pdq(image)), words, None if kept else features)

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
        made = self._extract(content, image=self._decode(content))
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

    def _extract(self, content: bytes, *, image: Image.Image) -> LocalFeatures:
        full = images.size(content)
        page = self._page(content, image=image, full_size=full)
        return local_features(image, full_size=full, page=page)

    def _page(
        self,
        content: bytes,
        *,
        image: Image.Image,
        full_size: tuple[int, int],
        region: Region | None = None,
    ) -> Image.Image:
        """Return a copy that is large enough to find the pictures on a page in it."""
        if max(image.size) >= min(layout.SIDE, max(full_size)):
            return image
        return self._decode(content, region=region, target=_PAGE)

    def _decode(
        self, content: bytes, *, region: Region | None = None, target: int = SIDE
    ) -> Image.Image:
        with self._budget.reserve(
            content, max_pixels=self._max_pixels, target=target, region=region, luminance=True
        ):
            return images.decode(
                content, max_pixels=self._max_pixels, target=target, region=region, luminance=True
            )


def _size(features: LocalFeatures) -> int:
    # Both arrays may be views of one buffer, of which the descriptors are nearly all.
    return features.points.nbytes + features.descriptors.nbytes + len(features.copy) + _OVERHEAD
