"""Makes a picture's fingerprint: all by which it is found and compared, except the descriptor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import ImageOps

from halftone.imaging import layout
from halftone.imaging.luminance import luminance
from halftone.imaging.orientations import UPRIGHT, orientations
from halftone.matching.features import COUNT, LocalFeatures, encode_copy, extract
from halftone.matching.pdq import pdq, pdq_orientations
from halftone.matching.words import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from halftone.imaging.images import Region
    from halftone.imaging.orientations import Orientation
    from halftone.matching.words import Words

_FEWEST: Final = 225
"""The fewest features that each picture on a page keeps, however many pictures there are."""
_PAGE_SIDE: Final = 960
"""Longer side in pixels of the grey copy of a page: a picture of 5 % of it has 210 then."""

_DARK: Final = 128
"""If the median of its pixels is below this, a page may be a negative."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """The hashes, local features and visual words of one picture.

    Attributes:
        pdq: Perceptual hashes, uint8 [256] of 0 and 1, of the picture laid in each orientation.
        features: Local features of the picture as it is.
        words: Visual words by whether the picture is mirrored. They do not change as it turns.
        negative_words: Visual words of the picture in negative by whether it is mirrored. Empty for
            a picture of the archive. A negative's hash is the hash with all bits turned over.
    """

    pdq: dict[Orientation, NDArray[np.uint8]]
    features: LocalFeatures
    words: dict[bool, Words]
    negative_words: dict[bool, Words] = field(default_factory=dict)


def fingerprint(
    image: Image.Image,
    *,
    mirrored: bool = True,
    rotated: bool = True,
    negative: bool = True,
    full_size: tuple[int, int] | None = None,
    page: Image.Image | None = None,
) -> Fingerprint:
    """Make the fingerprint of a query, in all ways in which it may lie in the archive.

    Args:
        image: An upright picture of any mode.
        mirrored: Also prepare the picture mirrored left to right.
        rotated: Also prepare the picture turned by quarters.
        negative: Also prepare the picture in negative.
        full_size: The same as in `local_features`.
        page: The same as in `local_features`.
    """
    features = local_features(image, full_size=full_size, page=page)
    words, negative_words = make_words(features, mirrored=mirrored, negative=negative)
    asked = orientations(mirrored=mirrored, rotated=rotated)
    if asked == (UPRIGHT,):
        hashes = {UPRIGHT: pdq(image)}
    else:
        every = pdq_orientations(image)
        hashes = {each: every[each] for each in asked}
    return Fingerprint(pdq=hashes, features=features, words=words, negative_words=negative_words)


def archive_fingerprint(
    image: Image.Image, *, full_size: tuple[int, int] | None = None
) -> Fingerprint:
    """Make the fingerprint of an archive's picture, only in the orientation in which it lies.

    Args:
        image: An upright picture of any mode.
        full_size: The same as in `local_features`.
    """
    return fingerprint(image, mirrored=False, rotated=False, negative=False, full_size=full_size)


def make_words(
    features: LocalFeatures, *, mirrored: bool = True, negative: bool = True
) -> tuple[dict[bool, Words], dict[bool, Words]]:
    """Return the words of a query, and those of its negative, by whether it is mirrored.

    Args:
        features: The query's local features.
        mirrored: Also return the words of the mirrored picture.
        negative: Also return the words of the negative; without, they are empty.
    """
    sides = [features, features.mirrored()] if mirrored else [features]
    ways = [*sides, *(each.negative() for each in sides)] if negative else sides
    words = Vocabulary.load().words_of_all(ways)
    both = (False, True)[: len(sides)]
    return dict(zip(both, words, strict=False)), dict(zip(both, words[len(both) :], strict=False))


def local_features(
    image: Image.Image,
    *,
    full_size: tuple[int, int] | None = None,
    page: Image.Image | None = None,
) -> LocalFeatures:
    """Find the features of a picture; on a page of text, each picture on it gets its own.

    Letters have stronger features than pictures: of 600 features, a picture that takes a quarter of
    its page has 70. So each picture on a page gets features of its own, and the area around them
    gets the strongest of all.

    Args:
        image: An upright picture of any mode.
        full_size: Width and height of the picture that `image` is a reduced copy of; see
            `features.extract`.
        page: A copy with more pixels, if `image` has fewer than `layout.SIDE`.
    """
    page = page or image
    whole = extract(image, full_size=full_size)
    regions = _find_pictures(page)
    if not regions:
        return replace(whole, copy=encode_copy(image))
    wide, high = whole.width / page.width, whole.height / page.height
    most = max(_FEWEST, COUNT // len(regions))
    around = np.ones(len(whole), dtype=bool)
    parts: list[LocalFeatures] = []
    boxes: list[tuple[float, float, float, float]] = []
    for at in regions:
        box = (at.x * wide, at.y * high, (at.x + at.width) * wide, (at.y + at.height) * high)
        image_of = page.crop((at.x, at.y, at.x + at.width, at.y + at.height))
        size = (round(at.width * wide), round(at.height * high))
        part = extract(image_of, full_size=size).shift_by(box[:2])
        # Two features of one corner would be each other's rivals.
        own = np.ones(len(part), dtype=bool)
        for other in boxes:
            own &= ~_within(part, other)
        parts.append(part.select(own).select(slice(most)))
        boxes.append(box)
        around &= ~_within(whole, box)
    every = [whole.select(around), *parts]
    return LocalFeatures(
        points=np.concatenate([each.points for each in every]),
        descriptors=np.concatenate([each.descriptors for each in every]),
        width=whole.width,
        height=whole.height,
        copy=encode_copy(page, side=_PAGE_SIDE),
    )


def _find_pictures(page: Image.Image) -> list[Region]:
    """Return the pictures on a page of text, dark on light or, as on microfilm, light on dark."""
    regions = layout.pictures(page)
    if regions or np.median(luminance(page)) >= _DARK:
        return regions
    return layout.pictures(ImageOps.invert(page.convert("L")))


def _within(features: LocalFeatures, box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Return which features lie in a box of left, top, right and bottom."""
    x, y = features.points[:, 0], features.points[:, 1]
    inside: NDArray[np.bool_] = (x >= box[0]) & (y >= box[1]) & (x < box[2]) & (y < box[3])
    return inside
