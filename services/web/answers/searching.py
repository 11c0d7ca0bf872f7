"""Answers a search by a picture: what it was searched by, and the hits, the surest first."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.client import Filter, Relation
from halftone.core import errors
from halftone.services.web.answers.questions import fit_region

if TYPE_CHECKING:
    from halftone.client import AsyncClient, Hit, ImageRecord, Region, SearchPage
    from halftone.services.web.answers.questions import Question
    from halftone.services.web.uploads import Uploads

HITS: Final = 30
"""Hits on a page, the unlikely ones included."""
_SEARCH_SECONDS: Final = 20.0
# A hit of a search is no lower among its neighbours than among all pictures.
_NEIGHBOURS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The picture that is searched by.

    Attributes:
        picture: The token of a dropped picture; empty for an image of the archive.
        record: The record of an image of the archive; None for a dropped picture.
        content: The bytes of a dropped picture; empty for an image of the archive.
        width: Width of the upright picture in pixels.
        height: Height of the upright picture in pixels.
        region: The part that is searched by; None for the whole picture.
    """

    picture: str = ""
    record: ImageRecord | None = None
    content: bytes = b""
    width: int
    height: int
    region: Region | None = None

    @property
    def query(self) -> bytes | str:
        """Return what the client searches by."""
        return self.record.name if self.record is not None else self.content

    @property
    def corner(self) -> tuple[int, int]:
        """Return where the pixels of the searched part begin in the picture."""
        return (self.region.x, self.region.y) if self.region else (0, 0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The hits of a search, each group the most probable first.

    Attributes:
        likely: Hits that are more likely than not the same picture.
        sharing: Different pictures that share furniture: a frame, a masthead and the like.
        unlikely: The other hits.
        next_page: The token of the next page; empty on the last one.
        model_version: The version that searched.
        compared: The number of candidates that were compared in detail.
        out_of_time: The number of candidates that were not compared for lack of time.
        verdicts_unavailable: Whether a hit may have a verdict although none is shown.
    """

    likely: tuple[Hit, ...]
    sharing: tuple[Hit, ...]
    unlikely: tuple[Hit, ...]
    next_page: str
    model_version: str
    compared: int
    out_of_time: int
    verdicts_unavailable: bool

    @property
    def is_empty(self) -> bool:
        """Return whether nothing likely was found."""
        return not self.likely


async def find_subject(client: AsyncClient, uploads: Uploads, question: Question) -> Subject:
    """Return the picture that a question asks about.

    Raises:
        errors.NotFound: There is no such picture.
    """
    if question.picture:
        upload = await asyncio.to_thread(uploads.get, question.picture)
        size = (upload.width, upload.height)
        subject = Subject(
            picture=upload.token, content=upload.content, width=size[0], height=size[1]
        )
    else:
        record = await client.get(question.image)
        size = (record.width, record.height)
        subject = Subject(record=record, width=size[0], height=size[1])
    return dataclasses.replace(subject, region=fit_region(question.region, size=size))


async def search(client: AsyncClient, subject: Subject, question: Question) -> Answer:
    """Return the hits of a search.

    Raises:
        errors.HalftoneError: The search was refused or could not be answered.
    """
    page = await client.search(
        subject.query,
        filter=question.choice.make_filter(),
        crop=subject.region,
        limit=HITS,
        page_token=question.page,
        timeout=_SEARCH_SECONDS,
    )
    return _sort_hits(page)


def _sort_hits(page: SearchPage) -> Answer:
    likely = tuple(hit for hit in page if hit.is_likely)
    rest = [hit for hit in page if not hit.is_likely]
    return Answer(
        likely=likely,
        sharing=tuple(hit for hit in rest if hit.relation is Relation.SHARED_ELEMENTS),
        unlikely=tuple(hit for hit in rest if hit.relation is not Relation.SHARED_ELEMENTS),
        next_page=page.next_page_token,
        model_version=page.model_version,
        compared=page.verified_count,
        out_of_time=page.out_of_time_count,
        verdicts_unavailable=page.verdicts_unavailable,
    )


async def compare_with(client: AsyncClient, subject: Subject, image: ImageRecord) -> Hit:
    """Return how a picture and an image of the archive are related, as a search finds it.

    Raises:
        errors.NotFound: A dropped picture is not like the image at all: a search by it among the
            image's neighbours does not find it.
    """
    if subject.record is not None:
        compared = await client.compare(
            subject.record, image, crop=subject.region, timeout=_SEARCH_SECONDS
        )
        return compared.hit
    near = Filter(
        archives=[image.archive],
        journals=[image.journal] if image.journal else [],
        start=image.date,
        end=image.date,
    )
    page = await client.search(
        subject.content,
        filter=near,
        crop=subject.region,
        limit=_NEIGHBOURS,
        timeout=_SEARCH_SECONDS,
    )
    for hit in page:
        if hit.image.name == image.name:
            return hit
    raise errors.NotFound(
        "The two pictures have so little in common that a search does not find one by the other.",
        resource_type="comparison",
        reason="NOTHING_IN_COMMON",
        resource_name=image.name,
    )
