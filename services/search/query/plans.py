"""Checks a request and plans its search: the query, the filter, and the page's position."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, TypeAdapter

from halftone.archive import records
from halftone.core import errors, wire
from halftone.imaging import images
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.fusion import VERIFY_COUNT
from halftone.service.paging import Page, Pager
from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.embedder_client import to_vector
from halftone.services.search.store.port import AnyOf, Ids
from halftone.v1 import embedder_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from halftone.core.settings import SearchSettings
    from halftone.imaging.orientations import Orientation
    from halftone.matching.fingerprint import Fingerprint
    from halftone.services.search.store.port import Collection, Filter, Stored
    from halftone.v1 import search_pb2

MAX_DEPTH: Final = 10_000
"""The most hits that can be paged through."""
MAX_VERIFIED: Final = 200
"""The most candidates that a search compares in full."""

# Anyone can make a token, and a page that begins far down would keep the store busy.
_Position = tuple[
    Annotated[int, Field(ge=0, lt=MAX_DEPTH)],
    Annotated[str, Field(pattern=rf"\A[0-9a-f]{{1,{MAX_VERIFIED // 4}}}\z")],
]
"""A page position: the number of hits on the pages before, and `SearchPlan.late` as hex bits."""
_HITS: Final = Pager(TypeAdapter[tuple[int, str]](_Position), default_size=20, size_field="limit")


@dataclass(slots=True, kw_only=True)
class SearchPlan:
    """A checked search: its query, as far as it is prepared, and the bounds of its page.

    `halftone.services.search.query.preparation` fills in `vectors` and `picture`.
    """

    collection: Collection
    """The collection that answers this search, even if another one becomes active meanwhile."""
    condition: Filter
    page: Page[tuple[int, str]]
    offset: int
    min_score: float | None
    min_probability: float | None
    verify_count: int
    late: frozenset[int] = frozenset()
    """Positions of the candidates that the first page had no time to compare. Later pages do not
    compare them either: otherwise their rank would change, and they could be on two pages or on
    none."""
    mirrored: bool = False
    rotated: bool = False
    to_embed: embedder_pb2.ImageInput | None = None
    stored: Stored | None = None
    """The image to search by, if it is one of the archive. Has vectors if the whole image is the
    query."""
    sha256: str = ""
    """SHA-256 of the query's bytes if the query is a whole picture. Hits may have the same."""
    vectors: dict[Orientation, np.ndarray] | None = None
    picture: Fingerprint | None = None
    """The hash, words and local features; None if the query is an embedding."""

    @property
    def limit(self) -> int:
        """The most hits on the page."""
        return self.page.size

    @property
    def depth(self) -> int:
        """The number of hits to rank: up to the end of the page, and one more."""
        return self.offset + self.limit + 1

    @property
    def has_pixels(self) -> bool:
        """Whether the query is a picture rather than an embedding."""
        return self.to_embed is not None or self.stored is not None or self.picture is not None

    def next_page_token(self, *, more: bool, late: Iterable[int] = ()) -> str:
        """Return the token of the next page; empty if there is none.

        Args:
            more: Whether there are hits after this page.
            late: Positions of the candidates that this page had no time to compare.
        """
        end = self.offset + self.limit
        if not more or end >= MAX_DEPTH:
            return ""
        return self.page.token_at([end, f"{sum(1 << place for place in late):x}"])

    def passes(self, probability: float) -> bool:
        """Return whether a candidate is probable enough to be a hit."""
        return self.min_probability is None or probability >= self.min_probability


class Planner:
    """Makes the plans of requests."""

    def __init__(self, settings: SearchSettings) -> None:
        self._settings = settings

    def plan(
        self, request: search_pb2.SearchImagesRequest, *, collection: Collection
    ) -> SearchPlan | errors.HalftoneError:
        """Return the plan of a search that `collection` answers, or the error that refuses it.

        Blocks: an image of the archive is read from the store.
        """
        try:
            return self._check(request, collection=collection)
        except errors.HalftoneError as error:
            return error

    def _check(
        self, request: search_pb2.SearchImagesRequest, *, collection: Collection
    ) -> SearchPlan:
        page = _HITS.read(request, model_version=collection.model_version)
        offset, late = page.position or (0, "0")
        plan = SearchPlan(
            collection=collection,
            condition=payloads.to_filter(request.filter),
            page=page,
            offset=offset,
            min_score=_threshold(request, field="min_similarity", lowest=-1.0),
            min_probability=_threshold(request, field="min_probability", lowest=0.0),
            verify_count=_verify_count(request),
            late=_places(late),
            mirrored=not request.skip_mirrored,
            rotated=not request.skip_rotated,
        )
        query = request.WhichOneof("query")
        if query == "embedding":
            _check_embedding(request, collection=collection)
            plan.vectors = {UPRIGHT: to_vector(request.embedding)}
            return plan
        content = b""
        if query == "content":
            content = self._check_content(request.content)
            if not request.HasField("region"):
                plan.sha256 = hashlib.sha256(content).hexdigest()
        elif query == "image":
            self._use_image(request, plan=plan)
        else:
            raise errors.InvalidArgument(
                "query: one of content, image and embedding must be given.", field="query"
            )
        if plan.vectors is None:
            plan.to_embed = embedder_pb2.ImageInput(
                content=content,
                include_mirrored=plan.mirrored,
                include_rotated=plan.rotated,
            )
            if request.HasField("region"):
                plan.to_embed.region.CopyFrom(request.region)
        return plan

    def _check_content(self, content: bytes) -> bytes:
        limit = min(self._settings.max_image_bytes, wire.MAX_IMAGE_BYTES)
        if len(content) > limit:
            raise errors.ImageRejected(
                f"The image {wire.describe_excess(len(content), limit=limit)}.",
                field="content",
                reason=images.TOO_MANY_BYTES,
            )
        if not content:
            raise errors.ImageRejected("The image is empty.", field="content", reason=images.EMPTY)
        return content

    def _use_image(self, request: search_pb2.SearchImagesRequest, *, plan: SearchPlan) -> None:
        """Plan a search by an image of the archive, from its stored vectors if they suffice."""
        name = records.parse_name(request.image, field="image")
        whole = not request.HasField("region")
        stored = lookups.get_record(plan.collection, name, vectors=whole)
        plan.stored = stored
        # Its page and the pictures on it are the same printing.
        own = lookups.find_one_printing(plan.collection, stored)
        plan.condition = plan.condition.without(
            Ids(tuple(sorted(own))), AnyOf("page_image", (str(name),))
        )
        if whole:
            plan.sha256 = stored.payload["sha256"]
        if whole and not plan.mirrored and not plan.rotated:
            assert stored.vector is not None  # noqa: S101 - asked for
            plan.vectors = {UPRIGHT: stored.vector}


def _check_embedding(request: search_pb2.SearchImagesRequest, *, collection: Collection) -> None:
    embedding = request.embedding
    if request.HasField("region"):
        raise errors.InvalidArgument(
            "region: an embedding has no region; embed that part of the picture.",
            field="region",
        )
    if embedding.model_version != collection.model_version:
        raise errors.ModelVersionMismatch(
            f"The embedding is of {embedding.model_version or 'no model version'}; "
            f"{collection.model_version} answers.",
            subject="embedding.model_version",
            metadata={"model_version": collection.model_version},
        )
    if embedding.dimension != collection.dimension:
        raise errors.InvalidArgument(
            f"embedding.dimension: {embedding.dimension}; {collection.model_version} has "
            f"{collection.dimension}.",
            field="embedding.dimension",
        )


def _places(bits: str) -> frozenset[int]:
    number = int(bits, 16)
    return frozenset(at for at in range(MAX_VERIFIED) if number >> at & 1)


def _threshold(
    request: search_pb2.SearchImagesRequest, *, field: str, lowest: float
) -> float | None:
    if not request.HasField(field):
        return None
    value: float = getattr(request, field)
    if not lowest <= value <= 1.0 or math.isnan(value):
        raise errors.InvalidArgument(
            f"{field}: {value}; it must be {lowest:.0f} to 1.", field=field
        )
    return value


def _verify_count(request: search_pb2.SearchImagesRequest) -> int:
    if not request.HasField("verify_count"):
        return VERIFY_COUNT
    if not 0 <= request.verify_count <= MAX_VERIFIED:
        raise errors.InvalidArgument(
            f"verify_count: {request.verify_count}; it must be 0 to {MAX_VERIFIED}.",
            field="verify_count",
        )
    return request.verify_count
