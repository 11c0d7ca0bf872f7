"""The types of searches, hits and embeddings: frozen dataclasses, independent of protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np
from PIL import Image

from halftone.client.records import ImageRecord
from halftone.client.verdicts import Decision, Verdict
from halftone.imaging.orientations import UPRIGHT, Orientation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from halftone.imaging.images import Region

LIKELY: Final = 0.5
"""The probability from which on two pictures are said to be likely the same."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """An L2-normalised descriptor; only embeddings of one model version can be compared.

    Attributes:
        values: `dimension` little-endian float32 values.
        model_version: The model version, as `name/version`.
    """

    values: bytes
    dimension: int
    model_version: str

    @property
    def vector(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Return the values as a read-only array of shape (dimension,)."""
        return np.frombuffer(self.values, dtype="<f4")


class Relation(StrEnum):
    """The kind of match between two pictures; see docs/matching.md."""

    SAME_SCAN = "same_scan"
    REPRINT = "reprint"
    CROP_OF = "crop_of"
    CONTAINS = "contains"
    MIRRORED = "mirrored"
    COMPOSITE = "composite"
    SAME_SCENE = "same_scene"
    SHARED_ELEMENTS = "shared_elements"
    ON_PAGE = "on_page"
    UNRELATED = "unrelated"
    NOT_COMPARED = "not_compared"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """Return the relation in words for people."""
        return self.value.replace("_", " ")


class VerificationState(StrEnum):
    """The result of a comparison by local features."""

    OVERLAPPING = "overlapping"
    NO_OVERLAP = "no_overlap"
    NOT_COMPARED = "not_compared"
    OUT_OF_TIME = "out_of_time"


@dataclass(frozen=True, kw_only=True)
class OverlapPart:
    """A quadrilateral in both pictures; corner k of one is corner k of the other."""

    query_polygon: tuple[tuple[float, float], ...] = ()
    image_polygon: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A part in which two pictures that agree around it show something else.

    Attributes:
        share: Its share of the area of the part that agrees around it, 0 to 1.
        certainty: How sure it is that this is no effect of printing or scanning, 0 to 1.
    """

    part: OverlapPart = field(default_factory=OverlapPart)
    share: float = 0.0
    certainty: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A part of one picture, the query, that is a part of another.

    Coordinates are pixels of the upright pictures, x to the right and y down. If the query is a
    region of a picture, its coordinates are pixels of the region.

    Attributes:
        inlier_count: The number of local features that agree on the overlap.
        homography: 3 by 3, row by row: takes points of the query to points of the image.
        query_polygon: Corners of the overlap in the query.
        image_polygon: Corners of the overlap in the image.
        query_share: The overlap's share of the query's area, 0 to 1.
        image_share: The overlap's share of the image's area, 0 to 1.
        rotation: Degrees by which the query, after mirroring, is turned clockwise to lie as the
            image does, -180 to 180.
        scale: Length in the image over length in the query.
        negative: Whether one of the two is a negative of the other: light where that is dark.
        parts: The parts that agree when the pictures are compared area by area, the largest first:
            of a shared frame its four sides.
        differences: What differs within the largest part that agrees, the most certain first.
        agreeing_share: Of the area where the pictures' frames meet and both have detail, the share
            that agrees, 0 to 1; None where the overlap is too small to compare.
        contradicting_share: The share of all of that area that contradicts, 0 to 1, or None.
    """

    inlier_count: int
    homography: tuple[float, ...]
    query_polygon: tuple[tuple[float, float], ...] = ()
    image_polygon: tuple[tuple[float, float], ...] = ()
    query_share: float = 0.0
    image_share: float = 0.0
    mirrored: bool = False
    rotation: float = 0.0
    scale: float = 1.0
    negative: bool = False
    parts: tuple[OverlapPart, ...] = ()
    differences: tuple[Difference, ...] = ()
    agreeing_share: float | None = None
    contradicting_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of comparing two pictures by local features.

    Attributes:
        overlaps: The shared parts, first the one that is most surely a picture over the largest
            area.
    """

    state: VerificationState = VerificationState.NOT_COMPARED
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A printing that a search found.

    Attributes:
        similarity: Cosine similarity of the descriptors, -1 to 1.
        orientation: The orientation of the query in the hit: mirrored or not, and turned by
            quarters. The first overlap decides it. Without an overlap, it is the orientation in
            which the query was most similar.
        probability: The probability that both show the same picture, 0 to 1; it means the same
            with every model version.
        relation: The kind of match.
        verification: The result of the comparison by local features.
        negative: Whether one of the two is a negative of the other, by the first overlap. Hash
            and words are then compared with the query in negative.
        pdq_distance: Bits in which the perceptual hashes differ, of 256; None for an embedding.
        words_similarity: Likeness of the visual words, 0 to 1; None for an embedding.
        verdict: An archivist's verdict on the query and this image, if the query is an image of the
            archive or a part of one. It changes neither the probability nor the order.
        page: The record of the page that the image stands on (`image.page_image`), if there is one.
    """

    image: ImageRecord
    similarity: float
    orientation: Orientation = UPRIGHT
    probability: float = 0.0
    relation: Relation = Relation.NOT_COMPARED
    verification: Verification = field(default_factory=Verification)
    pdq_distance: int | None = None
    words_similarity: float | None = None
    verdict: Verdict | None = None
    negative: bool = False
    page: ImageRecord | None = None

    @property
    def mirrored(self) -> bool:
        """Return whether the query lies mirrored left to right in the hit."""
        return self.orientation.mirrored

    @property
    def rotation(self) -> int:
        """Return the degrees by which the query, after mirroring, is turned clockwise."""
        return self.orientation.rotation

    @property
    def is_likely(self) -> bool:
        """Return whether it is more likely than not that both show the same picture.

        An archivist's verdict that it is the same picture makes it likely, too.
        """
        verdict = self.verdict
        said = verdict is not None and verdict.decision is Decision.SAME and not verdict.overruled
        return said or self.probability >= LIKELY

    @property
    def lies(self) -> str:
        """Return how the query lies in the hit, in words for people: "negative, turned 90°".

        Empty if it lies as it is, or without an overlap: the orientation of the greatest similarity
        means little then.
        """
        if not self.overlaps:
            return ""
        return ", ".join(
            filter(None, ("negative" if self.negative else "", self.orientation.label))
        )

    @property
    def overlaps(self) -> tuple[Overlap, ...]:
        """Return the parts that both share, the largest first; empty if they were not compared."""
        return self.verification.overlaps


def probability_label(probability: float) -> str:
    """Return a probability with three digits; only certainty is shown as 1.000 or 0.000."""
    if 0 < probability < 0.001:  # noqa: PLR2004 - three digits
        return "<0.001"
    return ">0.999" if 0.999 < probability < 1 else f"{probability:.3f}"  # noqa: PLR2004 - likewise


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """Hits, the most probable first. Iterating over a page gives its hits.

    Attributes:
        next_page_token: The token of the next page; empty on the last page.
        model_version: The version that compared the pictures.
        verified_count: The number of candidates that were compared by local features.
        out_of_time_count: The number of candidates that were not compared because the time was up.
        verdicts_unavailable: Whether the verdicts on the hits could not be read, so that a hit
            without a verdict may have one.
    """

    hits: tuple[Hit, ...]
    next_page_token: str
    model_version: str
    verified_count: int = 0
    out_of_time_count: int = 0
    verdicts_unavailable: bool = False

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, kw_only=True)
class ImageEmbeddings:
    """The embeddings of one picture.

    Attributes:
        embedding: The embedding of the picture as it is.
        oriented: The embeddings of the other orientations that were asked for.
        width: Width of the upright picture in pixels.
        height: Height of the upright picture in pixels.
    """

    embedding: Embedding
    oriented: Mapping[Orientation, Embedding]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model version that the embedder has loaded.

    Attributes:
        model_version: The model version, as `name/version`.
        device: The device, for example `cpu` or `cuda:0`.
        backend: The engine that runs it, for example `torch`.
        active: Whether it answers requests that name no version.
    """

    model_version: str
    dimension: int
    device: str
    backend: str
    active: bool


class ImageKind(StrEnum):
    """Which records a filter matches, by whether they name the page that they stand on."""

    PICTURE = "picture"
    """Pictures on pages: records with a `page_image`."""
    PAGE = "page"
    """Records without one: pages, and clippings of unknown pages."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A choice of images. An image must match each field by one of its values.

    An empty field matches every image.

    Attributes:
        start: An EDTF date; with `end`, matches records whose date overlaps the range.
        end: An EDTF date. Either date may be empty. Records without a date match no range.
        caption: Words that must all occur in the caption, in any case.
        labels: Values by key; an image must have one of the values of each key.
        exclude: A filter of images to leave out; it must not have an `exclude` itself.
        kind: Pictures on pages, or the rest; None for both.
        page_images: Names of pages; matches the pictures on them.
    """

    archives: Sequence[str] = ()
    journals: Sequence[str] = ()
    languages: Sequence[str] = ()
    start: str = ""
    end: str = ""
    caption: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclude: Filter | None = None
    kind: ImageKind | None = None
    page_images: Sequence[str] = ()


class SearchOptions(TypedDict, total=False):
    """The keyword arguments of `search`.

    Attributes:
        filter: The images to search among.
        crop: Search by this part of the picture only: (x, y, width, height) in pixels of the
            upright picture. Not with an embedding.
        limit: Hits on a page, 1 to 1000; 20 by default.
        min_similarity: The lowest cosine similarity of a hit.
        min_probability: The lowest probability, 0 to 1, that a hit is the same picture.
        verify_count: Candidates that are compared by local features, 0 to 200; 50 by default.
        mirrored: Search for the mirrored picture as well; True by default.
        rotated: Search for the picture turned by quarters as well; True by default.
        page_token: The token of the page to return, from the page before it.
    """

    filter: Filter | None
    crop: Region | tuple[int, int, int, int] | None
    limit: int | None
    min_similarity: float | None
    min_probability: float | None
    verify_count: int | None
    mirrored: bool
    rotated: bool
    page_token: str


Query = bytes | str | Path | Image.Image | Embedding | ImageRecord
"""A query: an encoded image, a path, a picture, an embedding, or an image of the archive.

An image of the archive is given as its record or its name, which begins with `archives/`.
"""


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of `batch_search`; the fields are those of `SearchOptions`."""

    query: Query
    filter: Filter | None = None
    crop: Region | tuple[int, int, int, int] | None = None
    limit: int | None = None
    min_similarity: float | None = None
    min_probability: float | None = None
    verify_count: int | None = None
    mirrored: bool = True
    rotated: bool = True
    page_token: str = ""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The comparison of two images of the archive.

    Attributes:
        hit: The second image as a hit of a search by the first.
        model_version: The version that compared them.
        verdicts_unavailable: Whether the verdict on the two could not be read, so that they may
            have one although `hit` has none.
    """

    hit: Hit
    model_version: str
    verdicts_unavailable: bool = False
