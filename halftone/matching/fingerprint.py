"""Everything but the descriptor by which a picture is found and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.matching.features import extract
from halftone.matching.pdq import pdq, pdq_orientations
from halftone.matching.words import Vocabulary
from halftone.orientations import UPRIGHT, orientations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from halftone.matching.features import LocalFeatures
    from halftone.matching.words import Words
    from halftone.orientations import Orientation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """Of one picture.

    Attributes:
        pdq: Perceptual hashes, uint8 [256] of 0 and 1, of the picture laid in each orientation.
        features: Local features of the picture as it is.
        words: Visual words by whether the picture is mirrored. They do not change as it turns.
    """

    pdq: dict[Orientation, NDArray[np.uint8]]
    features: LocalFeatures
    words: dict[bool, Words]


def fingerprint(
    image: Image.Image,
    *,
    mirrored: bool = True,
    rotated: bool = True,
    full_size: tuple[int, int] | None = None,
) -> Fingerprint:
    """The fingerprint of a query, in the orientations in which it may lie in the archive.

    Args:
        image: Upright, any mode.
        mirrored: Also mirrored left to right.
        rotated: Also turned by quarters.
        full_size: Of the picture that `image` is a reduced copy of, see `features.extract`.
    """
    features = extract(image, full_size=full_size)
    vocabulary = Vocabulary.load()
    words = {False: vocabulary.words(features)}
    if mirrored:
        words[True] = vocabulary.words(features.mirrored())
    asked = orientations(mirrored=mirrored, rotated=rotated)
    if asked == (UPRIGHT,):
        hashes = {UPRIGHT: pdq(image)}
    else:
        every = pdq_orientations(image)
        hashes = {each: every[each] for each in asked}
    return Fingerprint(pdq=hashes, features=features, words=words)


def archive_fingerprint(
    image: Image.Image, *, full_size: tuple[int, int] | None = None
) -> Fingerprint:
    """The fingerprint of a picture that is to be found: as it lies, and no other way."""
    return fingerprint(image, mirrored=False, rotated=False, full_size=full_size)
