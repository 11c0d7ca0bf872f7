"""The types of archive records and their import: frozen dataclasses, independent of protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from halftone.archive.showing import Show
from halftone.core.spelling import compose

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from halftone.core.errors import HalftoneError
    from halftone.imaging.images import Region


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """An archive record as the service keeps it: one printing of a picture.

    Attributes:
        name: `archives/{archive}/images/{image_id}`.
        date: An EDTF date, for example `1914-08-22`, `191X` or `1914/1916`; may be empty.
        earliest_date: First day of `date`, or None without a date.
        latest_date: Last day of `date`.
        language: A BCP 47 tag.
        page_region: The picture's place on its page, in pixels of the page.
        content_sha256: Hash of the image's bytes, in hexadecimal.
        width: The width of the upright picture in pixels.
        height: The height of the upright picture in pixels.
        same_content: Names of other records with the very same bytes (the first 100).
        show: What of the picture others may see.
        page_image: The name of the record of the page that the picture stands on; empty for pages
            and clippings. There need not be such a record.
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
    show: Show = Show.FULL
    page_image: str = ""

    @property
    def archive(self) -> str:
        """Return the archive's part of the name."""
        return self.name.removeprefix("archives/").partition("/images/")[0]

    @property
    def image_id(self) -> str:
        """Return the image's part of the name; it may contain slashes."""
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
        show: What of the picture others may see; None leaves it as it is, and a new record is
            shown in full.
        row: A number that the acknowledgement repeats, for example the row in a manifest.
        page_image: The name of the record of the page that the picture stands on, which may be
            imported later; empty for pages and clippings.
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
    show: Show | None = None
    row: int = 0
    page_image: str = ""

    @property
    def name(self) -> str:
        """Return the name that the record will have, in Unicode's normal form C."""
        return f"archives/{self.archive}/images/{compose(self.image_id)}"


class ImportState(StrEnum):
    """The result for an imported record."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    UPDATED = "updated"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class ImportAck:
    """The acknowledgement of a record, which is on the server's disk unless it was rejected.

    Attributes:
        row: The row that was sent with the record.
        error: The reason if the state is REJECTED.
        notes: Sentences about what was not imported of the file, for example its further pages.
    """

    row: int
    name: str
    state: ImportState
    error: HalftoneError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """The result of an import.

    Attributes:
        rejected: The acknowledgements of rejected records, including those that could not be sent,
            for example because a file cannot be read.
        reconnects: The number of times that the stream was lost after it had brought an
            acknowledgement, and was opened again.
    """

    created: int = 0
    unchanged: int = 0
    updated: int = 0
    rejected: tuple[ImportAck, ...] = ()
    reconnects: int = 0

    @property
    def total(self) -> int:
        """Return the number of acknowledged records, the rejected ones included."""
        return self.created + self.unchanged + self.updated + len(self.rejected)


@dataclass(frozen=True, slots=True)
class YearBucket:
    """A bar of the histogram of years: from the first to the last year, both included."""

    first_year: int
    last_year: int
    count: int


@dataclass(frozen=True, kw_only=True)
class ImagePage:
    """A page of records in the order of their names; iterating over it gives the records.

    Attributes:
        next_page_token: The token of the next page; empty on the last page.
    """

    images: tuple[ImageRecord, ...]
    next_page_token: str

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class Facets:
    """Counts of the images under a filter.

    Attributes:
        total: The number of images under the filter.
        journals: Counts by journal, the most frequent first.
        years: Counts by the year of the earliest day, in chronological order.
        languages: Counts by language, the most frequent first.
        archives: Counts by archive, the most frequent first.
        labels: For each label's key the counts by value, the most frequent first; only if they
            were asked for. An image with several values of a key counts in each of them.
        year_histogram: The years in spans of equal length, without gaps; only if asked for.
        undated: The number of images without a year; only if the histogram was asked for.
    """

    total: int
    journals: Mapping[str, int]
    years: Mapping[str, int]
    languages: Mapping[str, int]
    archives: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    year_histogram: tuple[YearBucket, ...] = ()
    undated: int = 0


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture, at most 512 pixels a side, and the rights to show beside it."""

    content: bytes
    content_type: str
    rights: str = ""
