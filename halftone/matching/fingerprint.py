"""Everything but the descriptor by which a picture is found and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.matching import layout
from halftone.matching.features import COUNT, LocalFeatures, extract
from halftone.matching.pdq import pdq, pdq_orientations
from halftone.matching.words import Vocabulary
from halftone.orientations import UPRIGHT, orientations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from halftone.matching.words import Words
    from halftone.orientations import Orientation

_FEWEST: Final = 225
"""Features of each picture on a page that are compared, however many pictures there are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """Of one picture.

    Attributes:
        pdq: Perceptual hashes, uint8 [256] of 0 and 1, of the picture laid in each orientation.
        features: Local features of the picture as it is; of a page of text also those of the
            pictures on it, each as it would have them by itself.
        words: Visual words by whether the picture is mirrored. They do not change as it turns.
        parts: Likewise those of each of the pictures on a page.
    """

    pdq: dict[Orientation, NDArray[np.uint8]]
    features: LocalFeatures
    words: dict[bool, Words]
    parts: tuple[dict[bool, Words], ...] = ()

    def all_words(self) -> list[tuple[bool, Words]]:
        """All lists of words by which it may be found, each with whether it is mirrored."""
        return [each for words in (self.words, *self.parts) for each in words.items()]


def fingerprint(
    image: Image.Image,
    *,
    mirrored: bool = True,
    rotated: bool = True,
    full_size: tuple[int, int] | None = None,
    page: Image.Image | None = None,
) -> Fingerprint:
    """The fingerprint of a query, in the orientations in which it may lie in the archive.

    Args:
        image: Upright, any mode.
        mirrored: Also mirrored left to right.
        rotated: Also turned by quarters.
        full_size: Of the picture that `image` is a reduced copy of, see `features.extract`.
        page: `image`, or a copy with more pixels, in which the pictures on a page of text are to
            be looked for. None: it is searched by as a whole alone.
    """
    features = extract(image, full_size=full_size)
    vocabulary = Vocabulary.load()

    def words_of(features: LocalFeatures) -> dict[bool, Words]:
        words = {False: vocabulary.words(features)}
        if mirrored:
            words[True] = vocabulary.words(features.mirrored())
        return words

    asked = orientations(mirrored=mirrored, rotated=rotated)
    if asked == (UPRIGHT,):
        hashes = {UPRIGHT: pdq(image)}
    else:
        every = pdq_orientations(image)
        hashes = {each: every[each] for each in asked}
    parts = [] if page is None else _pictures_of(page, full_size=(features.width, features.height))
    return Fingerprint(
        pdq=hashes,
        features=_together(features, parts),
        words=words_of(features),
        parts=tuple(words_of(part) for part in parts),
    )


def archive_fingerprint(
    image: Image.Image, *, full_size: tuple[int, int] | None = None
) -> Fingerprint:
    """The fingerprint of a picture that is to be found: as it lies, and no other way."""
    return fingerprint(image, mirrored=False, rotated=False, full_size=full_size)


def _pictures_of(page: Image.Image, *, full_size: tuple[int, int]) -> list[LocalFeatures]:
    """The features of the pictures on a page, each as by itself; places are those on the page."""
    wide, high = full_size[0] / page.width, full_size[1] / page.height
    found = []
    for at in layout.pictures(page):
        image = page.crop((at.x, at.y, at.x + at.width, at.y + at.height))
        part = extract(image, full_size=(round(at.width * wide), round(at.height * high)))
        if len(part):
            found.append(part.on_page((at.x * wide, at.y * high), size=full_size))
    return found


def _together(page: LocalFeatures, parts: Sequence[LocalFeatures]) -> LocalFeatures:
    """Features of a page and the strongest of the pictures on it.

    A comparison takes as long as there are features, so several pictures share what one may have.
    """
    most = max(_FEWEST, COUNT // max(1, len(parts)))
    every = [page, *(part.strongest(most) for part in parts)]
    return LocalFeatures(
        points=np.concatenate([each.points for each in every]),
        descriptors=np.concatenate([each.descriptors for each in every]),
        width=page.width,
        height=page.height,
    )
