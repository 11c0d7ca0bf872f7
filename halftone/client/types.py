"""What the client takes and returns: frozen dataclasses, none of them tied to protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from PIL import Image

from halftone.imaging.orientations import UPRIGHT, Orientation

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from halftone.client.verdicts import Verdict
    from halftone.core.errors import HalftoneError
    from halftone.imaging.images import Region


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """An L2-normalised descriptor; only embeddings of one model version can be compared.

    Attributes:
        values: `dimension` little-endian float32 values.
        model_version: As `name/version`.
    """

    values: bytes
    dimension: int
    model_version: str

    @property
    def vector(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """The values as a read-only array of shape (dimension,)."""
        return np.frombuffer(self.values, dtype="<f4")


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An archive record as the service keeps it: one printing of a picture.

    Attributes:
        name: `archives/{archive}/images/{image_id}`.
        date: An EDTF date, for example `1914-08-22`, `191X` or `1914/1916`; may be empty.
        earliest_date: First day of `date`, or None without a date.
        latest_date: Last day of `date`.
        language: A BCP 47 tag.
        page_region: Where the picture stands on its page, in pixels of the page.
        content_sha256: Hash of the image's bytes, in hexadecimal.
        width: Of the upright picture, in pixels.
        height: Likewise.
        same_content: Names of other records with the very same bytes (the first 100).
    """

    name: str
    journal: str = ""
    date: str = ""
    page: str = ""
    caption: str = ""
    language: str = ""
    page_region: Region | None = None
    source_uri: str = ""
    rights: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    earliest_date: dt.date | None = None
    latest_date: dt.date | None = None
    content_sha256: str = ""
    width: int = 0
    height: int = 0
    same_content: tuple[str, ...] = ()
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None

    @property
    def archive(self) -> str:
        """The archive's part of the name."""
        return self.name.removeprefix("archives/").partition("/images/")[0]

    @property
    def image_id(self) -> str:
        """The image's part of the name; it may contain slashes."""
        return self.name.partition("/images/")[2]


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """A record to import.

    Attributes:
        image_id: Unique within the archive; it may contain slashes.
        content: The encoded image (at most 32 MiB), a local file to read it from, or a picture
            (sent as PNG).
        server_path: Instead of `content`: a path on the search server, below one of its import
            roots.
        row: Comes back with the acknowledgement, for example the row in a manifest.
    """

    image_id: str
    archive: str = "default"
    content: bytes | Path | Image.Image | None = None
    server_path: str = ""
    journal: str = ""
    date: str = ""
    page: str = ""
    caption: str = ""
    language: str = ""
    page_region: Region | None = None
    source_uri: str = ""
    rights: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    row: int = 0

    @property
    def name(self) -> str:
        """The name that the record will have."""
        return f"archives/{self.archive}/images/{self.image_id}"


class ImportState(StrEnum):
    """What became of an imported record."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    UPDATED = "updated"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class ImportAck:
    """The acknowledgement of one record. A record that is acknowledged is on the server's disk.

    Attributes:
        row: As it was sent.
        error: Why, when the state is REJECTED.
    """

    row: int
    name: str
    state: ImportState
    error: HalftoneError | None = None


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What became of an import.

    Attributes:
        rejected: The acknowledgements of the rejected records, those included that could not even
            be sent, for example because a file cannot be read.
        reconnects: How often the stream was lost and taken up again.
    """

    created: int = 0
    unchanged: int = 0
    updated: int = 0
    rejected: tuple[ImportAck, ...] = ()
    reconnects: int = 0

    @property
    def total(self) -> int:
        """Records that were acknowledged, the rejected ones included."""
        return self.created + self.unchanged + self.updated + len(self.rejected)


class Relation(StrEnum):
    """How a picture is related to the one it is compared with; see docs/matching.md."""

    SAME_SCAN = "same_scan"
    REPRINT = "reprint"
    CROP_OF = "crop_of"
    CONTAINS = "contains"
    MIRRORED = "mirrored"
    COMPOSITE = "composite"
    SAME_SCENE = "same_scene"
    UNRELATED = "unrelated"
    NOT_COMPARED = "not_compared"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


class VerificationState(StrEnum):
    """What became of a comparison by local features."""

    OVERLAPPING = "overlapping"
    NO_OVERLAP = "no_overlap"
    NOT_COMPARED = "not_compared"
    OUT_OF_TIME = "out_of_time"


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A part of one picture, the query, that is a part of another.

    Coordinates are pixels of the upright pictures, or of the region where the query is one, x to
    the right and y down.

    Attributes:
        inlier_count: Local features that agree on it.
        homography: 3 by 3, row by row: takes points of the query to points of the image.
        query_polygon: Corners of the overlap in the query.
        image_polygon: Likewise in the image.
        query_share: Of the query's area, 0 to 1.
        image_share: Of the image's area, 0 to 1.
        rotation: How the query, after it was mirrored, is to be turned clockwise, -180 to 180.
        scale: Length in the image over length in the query.
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


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What local features say of two pictures.

    Attributes:
        overlaps: The largest first.
    """

    state: VerificationState = VerificationState.NOT_COMPARED
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A printing that a search found.

    Attributes:
        similarity: Cosine similarity of the descriptors, -1 to 1.
        orientation: How the query lies in the hit: mirrored or not, and turned by quarters. By the
            overlap where there is one, else how it was most alike.
        probability: That both show the same picture, 0 to 1, whatever the model version.
        relation: What kind of match it is.
        verification: What local features say.
        pdq_distance: Bits in which the perceptual hashes differ, of 256; None for an embedding.
        words_similarity: Likeness of the visual words, 0 to 1; None for an embedding.
        verdict: What an archivist said of the query and this image, where the query is an image of
            the archive or a part of one. Neither the probability nor the order follows it.
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

    @property
    def mirrored(self) -> bool:
        """The query lies mirrored left to right in the hit."""
        return self.orientation.mirrored

    @property
    def rotation(self) -> int:
        """Degrees by which the query, after it was mirrored, is turned clockwise: in quarters."""
        return self.orientation.rotation

    @property
    def lies(self) -> str:
        """How the query lies in the hit, for people; empty for as it is, or without an overlap.

        A picture that is unlike the query is as often a little less so when that is mirrored.
        """
        return self.orientation.label if self.overlaps else ""

    @property
    def overlaps(self) -> tuple[Overlap, ...]:
        """The parts that both share, the largest first; none where they were not compared."""
        return self.verification.overlaps


def probability_label(probability: float) -> str:
    """A probability for people: what reads 1.000 or 0.000 is certain."""
    if 0 < probability < 0.001:  # noqa: PLR2004 - three digits
        return "<0.001"
    return ">0.999" if 0.999 < probability < 1 else f"{probability:.3f}"  # noqa: PLR2004 - likewise


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """Hits, the most probable first. Iterating over a page gives its hits.

    Attributes:
        next_page_token: Empty on the last page.
        model_version: The version that compared the pictures.
        verified_count: Candidates that were compared by local features.
        out_of_time_count: Candidates that were to be compared when the time for it was over.
        verdicts_unavailable: The verdicts on the query and its hits could not be read: hits
            without one may have one.
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
class Facets:
    """Counts of the images under a filter.

    Attributes:
        total: All images under the filter.
        journals: The most frequent first.
        years: By the year of the earliest day, in chronological order.
        languages: The most frequent first.
    """

    total: int
    journals: Mapping[str, int]
    years: Mapping[str, int]
    languages: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture, at most 512 pixels a side."""

    content: bytes
    content_type: str


@dataclass(frozen=True, kw_only=True)
class ImageEmbeddings:
    """What the embedder made of one picture.

    Attributes:
        embedding: Of the picture as it is.
        oriented: Of the other orientations that were asked for.
        width: Of the upright picture, in pixels.
        height: Likewise.
    """

    embedding: Embedding
    oriented: Mapping[Orientation, Embedding]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model version that the embedder has loaded.

    Attributes:
        model_version: As `name/version`.
        device: For example `cpu` or `cuda:0`.
        backend: For example `torch`.
        active: It answers requests that name no version.
    """

    model_version: str
    dimension: int
    device: str
    backend: str
    active: bool


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which images. Fields are ANDed, the values of one field ORed; an empty one matches all.

    Attributes:
        start: An EDTF date; with `end`, matches records whose date overlaps the range.
        end: Likewise. Either may be empty. Records without a date match no range.
        caption: Words that must all occur in the caption, in any case.
        labels: For each key, one of its values.
        exclude: Images that match it are left out. It has no `exclude` of its own.
    """

    archives: Sequence[str] = ()
    journals: Sequence[str] = ()
    languages: Sequence[str] = ()
    start: str = ""
    end: str = ""
    caption: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclude: Filter | None = None


class SearchOptions(TypedDict, total=False):
    """Keywords of `search`.

    Attributes:
        filter: Where to search.
        crop: Search by this part of the picture only: (x, y, width, height) in pixels of the
            upright picture. Not with an embedding.
        limit: Hits on a page, 1 to 1000; 20 by default.
        min_similarity: Cosine similarity below which nothing is a hit.
        min_probability: Of being the same picture, 0 to 1, below which nothing is a hit.
        verify_count: Candidates that are compared by local features, 0 to 200; 50 by default.
        mirrored: Search for the mirrored picture as well; True by default.
        rotated: Search for the picture turned by quarters as well; True by default.
        page_token: Goes on where another page ended.
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
"""What can be searched by: an encoded image, the path of one, a picture, an embedding, or an image
of the archive (its record, or its name, which begins with `archives/`)."""


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
    """Two images of the archive beside each other.

    Attributes:
        hit: The second image as a hit of a search by the first.
        model_version: The version that compared them.
        verdicts_unavailable: The verdict on the two, if there is one, could not be read.
    """

    hit: Hit
    model_version: str
    verdicts_unavailable: bool = False
