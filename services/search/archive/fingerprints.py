"""Fingerprints of pictures: made at import, kept, and made again where they are gone.

Hash and words lie in the collections, the local features beside the image bytes. Those of the
pictures that are compared most often stay in memory. Everything here blocks; it runs in threads.
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
"""The side that a copy is decoded for in which the pictures on a page are looked for: the shorter
one, of pages as they are."""
_OVERHEAD: Final = 1_000
"""Bytes of a picture's features in memory beside their arrays."""

_log = telemetry.get_logger(__name__)


class Print(NamedTuple):
    """What is kept of an archive's picture.

    Attributes:
        pdq: float32 [256] of +1 and -1.
        words: As in a `Point`.
        unkept: The local features where they are not in the blob store yet.
    """

    pdq: np.ndarray
    words: Words
    unkept: LocalFeatures | None


class Fingerprints:
    """Makes fingerprints, and has the local features of the archive's pictures."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        budget: images.PixelBudget,
        max_pixels: int,
        memory_bytes: int,
        metrics: telemetry.Metrics,
    ) -> None:
        """Reads nothing yet.

        Args:
            blobs: Where pictures and their local features are kept.
            budget: Of what the process decodes at a time.
            max_pixels: Larger pictures are refused by their header.
            memory_bytes: Of local features that are kept in memory; a picture's take up to 90 kB, a
                page's up to 230.
            metrics: Counts where features came from.
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
        """The fingerprint of a picture, or of a part of it, that others are searched by.

        Raises:
            errors.ImageRejected: See `images.decode`.
        """
        image = self._decode(content, region=region)
        full = images.size(content) if region is None else (region.width, region.height)
        page = self._page(content, image=image, full_size=full, region=region)
        return fingerprint(image, mirrored=mirrored, rotated=rotated, full_size=full, page=page)

    def hashes(self, content: bytes) -> dict[Orientation, np.ndarray]:
        """The hashes of a picture in all orientations, from the pixels that imports hash.

        A copy reduced further has hashes that differ in ten bits of 256, and finds other pictures.

        Raises:
            errors.ImageRejected: See `images.decode`.
        """
        return pdq_orientations(self._decode(content))

    def of_archive(self, content: bytes, *, sha256: str) -> Print:
        """The fingerprint of a picture that is imported; features that are kept are taken.

        Raises:
            errors.ImageRejected: See `images.decode`.
        """
        kept = self._read_kept(sha256)
        image = self._decode(content)
        features = kept or self._extract(content, image=image)
        words = Vocabulary.load().words(features)
        return Print(to_vector(pdq(image)), words, None if kept else features)

    def keep(self, features: LocalFeatures, *, sha256: str) -> None:
        """Writes local features beside the picture, durably."""
        self._blobs.put_features(features.to_bytes(), sha256=sha256)

    def features(self, sha256: str) -> LocalFeatures:
        """The local features of a picture of the archive.

        They are made again, and kept, where they are missing, damaged or of another release.

        Raises:
            errors.NotFound: The picture is not here.
            errors.DataLoss: The picture is damaged.
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
        # A picture whose features are larger than the memory is not remembered.
        with self._lock, contextlib.suppress(ValueError):
            self._recent.setdefault(sha256, features)
        return features

    def _read_kept(self, sha256: str) -> LocalFeatures | None:
        """The features that are kept and can be read."""
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
        # As they are read the next time, so that a comparison does not depend on when it is made.
        packed = made.to_bytes()
        try:
            self._blobs.put_features(packed, sha256=sha256)
            if not self._blobs.has(sha256):
                # The picture was deleted meanwhile; one that is just imported again stays.
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
        """A copy with as many pixels as there are and pictures on a page are looked for in."""
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
    return features.points.nbytes + features.descriptors.nbytes + _OVERHEAD
