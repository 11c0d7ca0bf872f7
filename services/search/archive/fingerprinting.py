"""Makes fingerprints from the bytes of pictures, in the workers of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.imaging import images, layout
from halftone.matching.features import SIDE, LocalFeatures
from halftone.matching.fingerprint import Fingerprint, fingerprint, local_features
from halftone.matching.pdq import pdq, pdq_orientations, to_vector
from halftone.matching.words import Vocabulary, Words

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from halftone.imaging.images import Region
    from halftone.imaging.needs import Reserve
    from halftone.imaging.orientations import Orientation

MODULES: Final = (f"{__name__}:load",)
"""What the workers of a pool import and load."""

_PAGE: Final = layout.SIDE * 2 // 3
"""Shorter side, in pixels, of the copy in which pictures on a page are looked for."""


def load() -> None:
    """Read the visual words, so that all workers share them."""
    Vocabulary.load()


def make_query(
    content: bytes,
    *,
    region: Region | None,
    mirrored: bool,
    rotated: bool,
    max_pixels: int,
    reserve: Reserve,
) -> Fingerprint:
    """Return the fingerprint of a picture to search by; see `Fingerprints.of_query`."""
    picture = _Picture(content, max_pixels=max_pixels, reserve=reserve, region=region)
    return fingerprint(
        picture.image,
        mirrored=mirrored,
        rotated=rotated,
        full_size=picture.full_size,
        page=picture.make_page(),
    )


def make_hashes(
    content: bytes, *, max_pixels: int, reserve: Reserve
) -> dict[Orientation, np.ndarray]:
    """Return the PDQ hashes of a picture in all orientations."""
    return pdq_orientations(_Picture(content, max_pixels=max_pixels, reserve=reserve).image)


def make_vector(content: bytes, *, max_pixels: int, reserve: Reserve) -> np.ndarray:
    """Return the PDQ hash of a picture of the archive, float32 [256]."""
    return to_vector(pdq(_Picture(content, max_pixels=max_pixels, reserve=reserve).image))


def make_archived(
    content: bytes, *, max_pixels: int, reserve: Reserve
) -> tuple[np.ndarray, Words, LocalFeatures]:
    """Return the PDQ hash, the words and the local features of a picture of the archive."""
    picture = _Picture(content, max_pixels=max_pixels, reserve=reserve)
    features = picture.extract()
    return to_vector(pdq(picture.image)), Vocabulary.load().words(features), features


def make_features(content: bytes, *, max_pixels: int, reserve: Reserve) -> LocalFeatures:
    """Return the local features of a picture of the archive."""
    return _Picture(content, max_pixels=max_pixels, reserve=reserve).extract()


class _Picture:
    """A decoded picture, and a larger copy of it if one is needed."""

    def __init__(
        self,
        content: bytes,
        *,
        max_pixels: int,
        reserve: Reserve,
        region: Region | None = None,
    ) -> None:
        self._content = content
        self._max_pixels = max_pixels
        self._reserve = reserve
        self._region = region
        self.image, whole = self._decode(SIDE)
        # Of the region if there is one.
        self.full_size = whole if region is None else (region.width, region.height)

    def make_page(self) -> Image.Image:
        """Return a copy that is large enough to find the pictures on a page in it."""
        if max(self.image.size) >= min(layout.SIDE, max(self.full_size)):
            return self.image
        return self._decode(_PAGE).image

    def extract(self) -> LocalFeatures:
        """Return the local features."""
        return local_features(self.image, full_size=self.full_size, page=self.make_page())

    def _decode(self, target: int) -> images.Decoded:
        return images.decode_sized(
            self._content,
            max_pixels=self._max_pixels,
            target=target,
            region=self._region,
            luminance=True,
            reserve=self._reserve,
        )
