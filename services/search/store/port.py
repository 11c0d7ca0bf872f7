"""The store's port: the interface for storing and searching vectors and payloads.

Two adapters implement it: Qdrant Edge inside this process (`edge/`) and a Qdrant server (`server`).
One contract suite runs over both. Calls block; callers run them in threads. Adapters raise only
`halftone.core.errors`.

A collection holds the points of one model version. A point has up to three vectors, each in a
channel of its own: the model's descriptor, and the PDQ hash and the visual words of the picture.
The payload fields and their indexes are fixed here. Every index must exist before the first point,
because links for filtered search are built only from existing indexes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from halftone.core import errors
from halftone.matching.words import Vocabulary
from halftone.matching.words import Words as Words

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

Payload = dict[str, Any]
"""The fields of a point, JSON-like. `INDEXES` names the fields that are indexed."""


class Channel(enum.Enum):
    """The vectors of a point; the value is the vector's name in the store."""

    DESCRIPTOR = "descriptor"
    """The model's descriptor, compared by cosine."""
    PDQ = "pdq"
    """The 256 bits of a PDQ hash as +1 and -1: the cosine is 1 - 2 / 256 for each bit that
    differs."""
    WORDS = "words"
    """Visual words of length one, compared by their dot product. They are weighted already: the
    store adds no weights, so that scores mean the same in all its parts."""


LAYOUT: Final = 2
"""The layout of collections that this release reads. Layout 1 had only the descriptor."""
FIRST_WORDS: Final = "press-pool-16384-1"
"""The vocabulary version of collections that do not record one."""
PDQ_BITS: Final = 256


class Index(enum.Enum):
    """The way in which a payload field is indexed."""

    LINKED_KEYWORD = enum.auto()
    """Exact text, or any of several. The graph has extra links for searches filtered by it."""
    KEYWORD = enum.auto()
    """Exact text without extra links: for enumeration only."""
    NUMBER = enum.auto()
    """Whole numbers, compared by size and sortable, without extra links."""


ORDER_KEYS: Final = 4
"""Number fields that hold the order of names; see `listing`."""

INDEXES: Final[dict[str, Index]] = {
    "archive": Index.LINKED_KEYWORD,
    "journal": Index.LINKED_KEYWORD,
    "language": Index.LINKED_KEYWORD,
    "label_values": Index.LINKED_KEYWORD,
    "years": Index.KEYWORD,
    "journal_years": Index.KEYWORD,
    "earliest": Index.NUMBER,
    "latest": Index.NUMBER,
    "words": Index.KEYWORD,
    "sha256": Index.KEYWORD,
    "year": Index.KEYWORD,
    "page_image": Index.KEYWORD,
    "kind": Index.KEYWORD,
    **{f"order_{depth}": Index.NUMBER for depth in range(ORDER_KEYS)},
}

FULL_SCAN_KIB: Final = 20_000
"""A filter that matches fewer vectors than fit into this size (10,000 of 512 dimensions) is
answered by an exact comparison with all of them. Links are built for values with more records."""
HNSW_M: Final = 16
HNSW_EF_CONSTRUCT: Final = 100
HNSW_EF: Final = 192
"""Candidates that a graph search keeps: recall@10 of 0.99 or more with 100,000 vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A record as it is stored.

    Attributes:
        id: The record's point id.
        vector: The descriptor, float32 of the collection's dimension.
        payload: The record's fields.
        pdq: The PDQ hash, float32 [256] of +1 and -1; None if it could not be made.
        words: The visual words; None if the picture is too plain to have any.
    """

    id: uuid.UUID
    vector: np.ndarray
    payload: Payload
    pdq: np.ndarray | None = None
    words: Words | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record as it was read: a `Point`, with its vectors only if they were requested."""

    id: uuid.UUID
    payload: Payload
    vector: np.ndarray | None = None
    pdq: np.ndarray | None = None
    words: Words | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPoint:
    """A hit of a query. `score` is the cosine or, for words, the dot product.

    `payload` is empty if the query did not ask for payloads.
    """

    id: uuid.UUID
    score: float
    payload: Payload


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A condition: the field is one of the values, or a list that contains one of them."""

    key: str
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A condition: the number lies between the bounds, inclusive. None means no bound."""

    key: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Ids:
    """A condition: the point's id is one of these."""

    ids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter: all conditions of `must` and none of `must_not` hold. Empty matches every point."""

    must: tuple[AnyOf | Between | Ids | Filter, ...] = ()
    must_not: tuple[AnyOf | Between | Ids | Filter, ...] = ()

    def also(self, *conditions: AnyOf | Between | Ids | Filter) -> Filter:
        """Return a filter that has these conditions as well."""
        return Filter(must=(*self.must, *conditions), must_not=self.must_not)

    def without(self, *conditions: AnyOf | Between | Ids | Filter) -> Filter:
        """Return a filter that also excludes points which match any of the conditions."""
        return Filter(must=self.must, must_not=(*self.must_not, *conditions))


EVERYTHING: Final = Filter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search for the nearest vectors of one channel. Points without such a vector are ignored.

    Attributes:
        vector: The vector to compare with. Its form depends on `using`: float32 of the
            collection's dimension for `DESCRIPTOR`, float32 [256] for `PDQ`, `Words` for `WORDS`.
        using: The channel to search.
        limit: The most hits to return.
        filter: The filter that hits must match.
        min_score: The lowest score of a hit; None for no limit.
        exact: Whether to compare with every matching vector instead of using the graph.
        payloads: Whether hits have their payloads. Reading the payload of a hit costs more
            than ranking the hit.
    """

    vector: np.ndarray | Words
    limit: int
    using: Channel = Channel.DESCRIPTOR
    filter: Filter = field(default=EVERYTHING)
    min_score: float | None = None
    exact: bool = False
    payloads: bool = True


def has_links(condition: Filter) -> bool:
    """Return whether the graph has extra links for the points that match a filter.

    Such links exist for single values of linked fields. With any other filter the graph falls apart
    (recall@10 of 0.7 for a fifth of the images by date). It must then be searched with ACORN, which
    also looks behind excluded neighbours and costs several times as much.
    """
    if condition.must_not or len(condition.must) != 1:
        return condition == EVERYTHING
    (only,) = condition.must
    return (
        isinstance(only, AnyOf)
        and len(only.values) == 1
        and INDEXES.get(only.key) is Index.LINKED_KEYWORD
    )


def to_pdq(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Convert a hash that was read to the form in a `Point`. Stores scale it to length one."""
    bits: np.ndarray = np.where(np.asarray(values, dtype=np.float32) > 0, 1, -1).astype(np.float32)
    return bits


def to_words(indices: Sequence[int], *, values: Sequence[float]) -> Words | None:
    """Convert words that were read to the form in a `Point`, ordered by index.

    Returns None if there are no words.
    """
    if not indices:
        return None
    numbers = np.asarray(indices, dtype=np.uint32)
    order = np.argsort(numbers, kind="stable")
    return Words(numbers[order], np.asarray(values, dtype=np.float32)[order])


def earlier_layout(model_version: str) -> errors.FailedPrecondition:
    """Return the error for a collection of an earlier release."""
    return errors.FailedPrecondition(
        f"The collection of {model_version} was made by an earlier release, which stored neither "
        "hashes nor visual words; take an empty data directory or collection prefix and import the "
        "archive again.",
        subject=model_version,
        reason="COLLECTION_LAYOUT",
    )


def no_collection(model_version: str) -> errors.NotFound:
    """Return the error for a model version that has no collection."""
    return errors.NotFound(
        f"There is no collection of {model_version}.",
        resource_type="collection",
        resource_name=model_version,
    )


def check_dimension(found: int, *, model_version: str, dimension: int | None) -> None:
    """Check that a collection has the dimension of its model.

    Args:
        found: The dimension of the collection.
        model_version: The model version of the collection, for the message.
        dimension: The dimension of the model; None skips the check.

    Raises:
        errors.FailedPrecondition: The two differ.
    """
    if dimension is not None and found != dimension:
        raise errors.FailedPrecondition(
            f"The collection of {model_version} has {found} dimensions, the model {dimension}.",
            subject=model_version,
        )


def check_inactive(active: str | None, *, model_version: str) -> None:
    """Check that the collection of a version is not active before it is dropped.

    Args:
        active: The version of the active collection; None before the first one.
        model_version: The version whose collection should be dropped.

    Raises:
        errors.FailedPrecondition: It is active (`COLLECTION_ACTIVE`).
    """
    if active == model_version:
        raise errors.FailedPrecondition(
            f"{model_version} is active.", subject=model_version, reason="COLLECTION_ACTIVE"
        )


def check_words(vocabulary: str, *, model_version: str) -> None:
    """Check that the visual words of a collection were made with this release's vocabulary.

    Args:
        vocabulary: The version of the collection's vocabulary.
        model_version: The model version of the collection, for the message.

    Raises:
        errors.FailedPrecondition: The vocabulary is another one (`COLLECTION_WORDS`).
    """
    version = Vocabulary.load().version
    if vocabulary != version:
        raise errors.FailedPrecondition(
            f"The collection of {model_version} holds the visual words of {vocabulary}, and this "
            f"release makes those of {version}; take an empty data directory or collection prefix "
            "and import the archive again.",
            subject=model_version,
            reason="COLLECTION_WORDS",
            metadata={"words": vocabulary},
        )


class Collection(Protocol):
    """The points of one model version."""

    @property
    def model_version(self) -> str:
        """The model version of the vectors, as `name/version`."""

    @property
    def dimension(self) -> int:
        """The dimension of the descriptors."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points durably. Each replaces the point with the same id, if there is one.

        Raises:
            errors.StorageFull: The disk is full. Nothing was stored.
        """

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of existing points, durably. Their vectors stay."""

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points, durably. Ids that do not exist are ignored."""

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Stored]:
        """Return the points with these ids, by id. Ids that do not exist are left out.

        Args:
            ids: The ids.
            vectors: Whether to read the vectors, too.
        """

    def query(self, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
        """Run searches together and return the hits of each, most similar first."""

    def smallest(self, key: str, *, filter: Filter, limit: int) -> list[Stored]:  # noqa: A002 - the field's name
        """Return the points with the smallest numbers in a field, smallest first.

        Args:
            key: The field. It must be indexed as `Index.NUMBER`.
            filter: The filter that the points must match.
            limit: The most points to return.
        """

    def scan(self, *, filter: Filter, page: int = 1_000) -> Iterator[Stored]:  # noqa: A002 - the field's name
        """Yield the points that match a filter, in any order.

        A point that is stored again meanwhile may come twice.

        Args:
            filter: The filter.
            page: The number of points to read at a time.
        """

    def count(self, filter: Filter) -> int:  # noqa: A002 - the field's name
        """Return the exact number of points that match a filter."""

    def facet(self, key: str, *, filter: Filter, limit: int) -> list[tuple[str, int]]:  # noqa: A002 - the field's name
        """Return the values of a field and how many points have each, the most frequent first.

        Args:
            key: The field. It must be indexed as text.
            filter: The filter; other points are not counted.
            limit: The most values to return.
        """


class Store(Protocol):
    """The collections, and which of them is active."""

    def model_versions(self) -> list[str]:
        """Return the model versions that have a collection."""

    def open(self, model_version: str, *, dimension: int | None) -> Collection:
        """Return the collection of a model version, creating it if needed.

        Args:
            model_version: The model version, as `name/version`.
            dimension: The dimension of the model's vectors; None opens only an existing collection,
                whatever its dimension.

        Raises:
            errors.NotFound: The collection does not exist and no dimension is given.
            errors.FailedPrecondition: It exists with another dimension, in the layout of an
                earlier release (`COLLECTION_LAYOUT`) or with the visual words of another
                vocabulary (`COLLECTION_WORDS`).
        """

    def active(self) -> str | None:
        """Return the model version of the active collection; None before the first one."""

    def set_active(self, model_version: str) -> None:
        """Make the collection of a model version the active one, atomically and durably.

        Raises:
            errors.NotFound: The version has no collection.
        """

    def drop(self, model_version: str) -> None:
        """Delete a collection that is not active.

        Calls of its `Collection` then raise `errors.NotFound`, in every process.

        Raises:
            errors.FailedPrecondition: It is active (`COLLECTION_ACTIVE`).
        """

    def close(self) -> None:
        """Write out pending changes, and release files and connections."""
