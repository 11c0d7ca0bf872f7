"""The store on a Qdrant server, over gRPC.

The collection of a model version is called `<prefix>@<model>@<version>`, and an alias called
`<prefix>` points to the active one, so that other tools find it. An update returns when the server
has applied it; whether it survives a crash of the server depends on the server.
"""

from __future__ import annotations

import urllib.parse
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import QdrantClient, models

from halftone.core import errors
from halftone.core.batches import batched
from halftone.matching.words import Vocabulary
from halftone.services.search.store import port
from halftone.services.search.store.port import (
    INDEXES,
    AnyOf,
    Between,
    Channel,
    Filter,
    Ids,
    Index,
    Payload,
    Point,
    Query,
    ScoredPoint,
    Stored,
    Words,
)
from halftone.services.search.store.server_errors import translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_READ_SECONDS: Final = 5
_WORK_SECONDS: Final = 20
_WORDS: Final = "halftone_words"
"""The metadata key under which a collection names the vocabulary of its visual words."""
_UPSERT_CHUNK: Final = 256
"""Points in one message: 256 with 4,096 dimensions and long captions stay below the size limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long calls of a server may take, in whole seconds, since Qdrant is told them as well.

    Attributes:
        read: For what a search waits for: points by their ids, and the most similar ones.
        work: For everything else: updates, long lists, counts, collections.
    """

    read: int = _READ_SECONDS
    work: int = _WORK_SECONDS


class ServerStore:
    """The collections on a Qdrant server. Tests also use `qdrant-client`'s local mode."""

    def __init__(
        self,
        client: QdrantClient,
        *,
        prefix: str,
        server: str = "The Qdrant server",
        patience: Patience | None = None,
    ) -> None:
        """Use a client, whose own deadline is that of `patience.work`.

        Args:
            client: The client.
            prefix: What the names of the archive's collections begin with.
            server: Who is asked, for errors: the subject of a sentence.
            patience: How long calls may take.
        """
        self._client = client
        self._prefix = prefix
        self._server = server
        self._patience = patience or Patience()

    @classmethod
    def connect(
        cls, url: str, *, api_key: str, prefix: str, patience: Patience | None = None
    ) -> ServerStore:
        """Create a store on a Qdrant server. Nothing is sent before the first call.

        Args:
            url: The server's gRPC address, such as `http://127.0.0.1:6334`.
            api_key: The key that the server asks for; empty if it asks for none.
            prefix: What the names of the archive's collections begin with.
            patience: How long calls may take.
        """
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 6334
        patience = patience or Patience()
        client = QdrantClient(
            host=host,
            grpc_port=port,
            https=parts.scheme == "https",
            api_key=api_key or None,
            prefer_grpc=True,
            timeout=patience.work,
            check_compatibility=False,
            # Find a restarted server quickly: gRPC's pauses grow to 2 minutes by default.
            grpc_options={
                "grpc.initial_reconnect_backoff_ms": 100,
                "grpc.max_reconnect_backoff_ms": 2_000,
            },
        )
        server = f"The Qdrant server at {host}:{port}"
        return cls(client, prefix=prefix, server=server, patience=patience)

    def model_versions(self) -> list[str]:
        """Return the model versions that have a collection."""
        with translate_errors(self._server):
            names = [described.name for described in self._client.get_collections().collections]
        return sorted(
            "/".join(parts[1:])
            for parts in (name.split("@") for name in names)
            if parts[0] == self._prefix and len(parts) == 3  # noqa: PLR2004 - prefix, model, version
        )

    def open(self, model_version: str, *, dimension: int | None) -> ServerCollection:
        """Return the collection of a version, creating it if needed; see `port.Store.open`.

        Raises:
            errors.NotFound: The collection does not exist and no dimension is given.
            errors.FailedPrecondition: The collection cannot be used with this release or dimension,
                or was not made by Halftone.
        """
        name = self._name(model_version)
        with translate_errors(self._server):
            if not self._client.collection_exists(name):
                if dimension is None:
                    raise port.no_collection(model_version)
                self._create(name, dimension=dimension)
            config = self._client.get_collection(name).config
        vectors = config.params.vectors
        if isinstance(vectors, models.VectorParams):
            raise port.earlier_layout(model_version)
        descriptor = (vectors or {}).get(Channel.DESCRIPTOR.value)
        if descriptor is None:
            raise errors.FailedPrecondition(
                f"The collection {name} was not made by Halftone.", subject=name
            )
        words = (config.metadata or {}).get(_WORDS, port.FIRST_WORDS)
        port.check_words(str(words), model_version=model_version)
        port.check_dimension(descriptor.size, model_version=model_version, dimension=dimension)
        # Also if it exists: its creation may have been interrupted before the indexes.
        with translate_errors(self._server):
            self._index(name)
        return ServerCollection(
            self._client,
            name=name,
            model_version=model_version,
            dimension=descriptor.size,
            server=self._server,
            patience=self._patience,
        )

    def _create(self, name: str, *, dimension: int) -> None:
        self._client.create_collection(
            name,
            vectors_config={
                Channel.DESCRIPTOR.value: models.VectorParams(
                    size=dimension, distance=models.Distance.COSINE
                ),
                # The same configuration as in Edge; see `edge/part`.
                Channel.PDQ.value: models.VectorParams(
                    size=port.PDQ_BITS,
                    distance=models.Distance.COSINE,
                    datatype=models.Datatype.FLOAT16,
                    quantization_config=models.BinaryQuantization(
                        binary=models.BinaryQuantizationConfig(always_ram=True)
                    ),
                    hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
                ),
            },
            sparse_vectors_config={
                Channel.WORDS.value: models.SparseVectorParams(
                    index=models.SparseIndexParams(full_scan_threshold=0, on_disk=True)
                )
            },
            hnsw_config=models.HnswConfigDiff(
                m=port.HNSW_M,
                ef_construct=port.HNSW_EF_CONSTRUCT,
                full_scan_threshold=port.FULL_SCAN_KIB,
            ),
            metadata={_WORDS: Vocabulary.load().version},
        )

    def _index(self, name: str) -> None:
        for key, index in INDEXES.items():
            self._client.create_payload_index(name, key, field_schema=_schema(index), wait=True)

    def active(self) -> str | None:
        """Return the model version that the alias points to; None if there is no alias."""
        with translate_errors(self._server):
            aliases = self._client.get_aliases().aliases
        for alias in aliases:
            if alias.alias_name == self._prefix:
                return "/".join(alias.collection_name.split("@")[1:])
        return None

    def set_active(self, model_version: str) -> None:
        """Point the alias to the collection of a model version."""
        if model_version not in self.model_versions():
            raise port.no_collection(model_version)
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(
                collection_name=self._name(model_version), alias_name=self._prefix
            )
        )
        delete = models.DeleteAliasOperation(
            delete_alias=models.DeleteAlias(alias_name=self._prefix)
        )
        operations: list[models.CreateAliasOperation | models.DeleteAliasOperation] = (
            [create] if self.active() is None else [delete, create]
        )
        with translate_errors(self._server):
            self._client.update_collection_aliases(operations)

    def drop(self, model_version: str) -> None:
        """Delete a collection that the alias does not point to."""
        port.check_inactive(self.active(), model_version=model_version)
        with translate_errors(self._server):
            self._client.delete_collection(self._name(model_version))

    def close(self) -> None:
        """Close the connection."""
        with translate_errors(self._server):
            self._client.close()

    def _name(self, model_version: str) -> str:
        return f"{self._prefix}@{model_version.replace('/', '@')}"


class ServerCollection:
    """The points of one model version on a server."""

    def __init__(
        self,
        client: QdrantClient,
        *,
        name: str,
        model_version: str,
        dimension: int,
        server: str = "The Qdrant server",
        patience: Patience | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._server = server
        self._patience = patience or Patience()
        self.model_version = model_version
        self.dimension = dimension

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points. Each replaces the point with the same id, if there is one."""
        with translate_errors(self._server):
            for chunk in batched(points, _UPSERT_CHUNK):
                structs = [
                    models.PointStruct(
                        id=str(point.id), vector=_to_vectors(point), payload=point.payload
                    )
                    for point in chunk
                ]
                self._client.upsert(self._name, structs, wait=True)

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of existing points."""
        operations = [
            models.OverwritePayloadOperation(
                overwrite_payload=models.SetPayload(payload=payload, points=[str(point_id)])
            )
            for point_id, payload in payloads.items()
        ]
        with translate_errors(self._server):
            if operations:
                self._client.batch_update_points(self._name, operations, wait=True)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points. Ids that do not exist are ignored."""
        with translate_errors(self._server):
            self._client.delete(self._name, [str(point_id) for point_id in ids], wait=True)

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Stored]:
        """Return the points with these ids, by id. Ids that do not exist are left out."""
        with translate_errors(self._server):
            records = self._client.retrieve(
                self._name,
                [str(point_id) for point_id in ids],
                with_payload=True,
                with_vectors=vectors,
                timeout=self._patience.read,
            )
        return {stored.id: stored for stored in map(_to_stored, records)}

    def query(self, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
        """Run searches together and return the hits of each, most similar first."""
        requests = [
            models.QueryRequest(
                query=_sparse(query.vector)
                if isinstance(query.vector, Words)
                else query.vector.tolist(),
                using=query.using.value,
                filter=_filter(query.filter),
                limit=query.limit,
                score_threshold=query.min_score,
                with_payload=query.payloads,
                params=_params(query),
            )
            for query in queries
        ]
        with translate_errors(self._server):
            answers = self._client.query_batch_points(
                self._name, requests, timeout=self._patience.read
            )
        return [
            [
                ScoredPoint(id=_uuid(hit.id), score=hit.score, payload=hit.payload or {})
                for hit in answer.points
            ]
            for answer in answers
        ]

    def smallest(self, key: str, *, filter: Filter, limit: int) -> list[Stored]:  # noqa: A002 - the field's name
        """Return the points with the smallest numbers in a field; see `port.Collection`."""
        with translate_errors(self._server):
            records, _ = self._client.scroll(
                self._name,
                scroll_filter=_filter(filter),
                limit=limit,
                order_by=models.OrderBy(key=key),
                with_payload=True,
            )
        return [_to_stored(record) for record in records]

    def scan(self, *, filter: Filter, page: int = 1_000) -> Iterator[Stored]:  # noqa: A002 - the field's name
        """Yield the points that match a filter."""
        offset: Any = None
        while True:
            with translate_errors(self._server):
                records, offset = self._client.scroll(
                    self._name,
                    scroll_filter=_filter(filter),
                    limit=page,
                    offset=offset,
                    with_payload=True,
                )
            for record in records:
                yield _to_stored(record)
            if offset is None:
                return

    def count(self, filter: Filter) -> int:  # noqa: A002 - the field's name
        """Return the exact number of points that match a filter."""
        with translate_errors(self._server):
            return self._client.count(self._name, count_filter=_filter(filter), exact=True).count

    def facet(self, key: str, *, filter: Filter, limit: int) -> list[tuple[str, int]]:  # noqa: A002 - the field's name
        """Return the values of a field and how many points have each; see `port.Collection`."""
        with translate_errors(self._server):
            answer = self._client.facet(
                self._name, key, facet_filter=_filter(filter), limit=limit, exact=True
            )
        return [(str(hit.value), hit.count) for hit in answer.hits]


def _schema(index: Index) -> models.KeywordIndexParams | models.IntegerIndexParams:
    if index is Index.NUMBER:
        return models.IntegerIndexParams(
            type=models.IntegerIndexType.INTEGER, lookup=False, range=True, enable_hnsw=False
        )
    return models.KeywordIndexParams(
        type=models.KeywordIndexType.KEYWORD, enable_hnsw=index is Index.LINKED_KEYWORD
    )


def _to_vectors(point: Point) -> dict[str, Any]:
    vectors: dict[str, Any] = {Channel.DESCRIPTOR.value: point.vector.tolist()}
    if point.pdq is not None:
        vectors[Channel.PDQ.value] = point.pdq.tolist()
    if point.words is not None and len(point.words.indices):
        vectors[Channel.WORDS.value] = _sparse(point.words)
    return vectors


def _sparse(words: Words) -> models.SparseVector:
    return models.SparseVector(indices=words.indices.tolist(), values=words.values.tolist())


def _params(query: Query) -> models.SearchParams | None:
    if query.using is not Channel.DESCRIPTOR:
        return None
    return models.SearchParams(
        exact=query.exact,
        hnsw_ef=max(port.HNSW_EF, query.limit),
        acorn=None if port.has_links(query.filter) else models.AcornSearchParams(enable=True),
    )


def _filter(condition: Filter) -> models.Filter | None:
    if not condition.must and not condition.must_not:
        return None
    return models.Filter(
        must=[_condition(part) for part in condition.must] or None,
        must_not=[_condition(part) for part in condition.must_not] or None,
    )


def _condition(condition: AnyOf | Between | Ids | Filter) -> Any:
    match condition:
        case AnyOf(key=key, values=(value,)):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case AnyOf(key=key, values=values):
            return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))  # type: ignore[arg-type]  # all of one kind
        case Between(key=key, low=low, high=high):
            return models.FieldCondition(key=key, range=models.Range(gte=low, lte=high))
        case Ids(ids=ids):
            return models.HasIdCondition(has_id=[str(point_id) for point_id in ids])
        case Filter():
            return _filter(condition) or models.Filter()


def _uuid(point_id: Any) -> uuid.UUID:
    return uuid.UUID(str(point_id))


def _to_stored(record: models.Record) -> Stored:
    vectors = record.vector if isinstance(record.vector, dict) else {}
    vector, hashed, words = (vectors.get(channel.value) for channel in Channel)
    return Stored(
        id=_uuid(record.id),
        payload=record.payload or {},
        vector=None if vector is None else np.asarray(vector, dtype=np.float32),
        pdq=None if hashed is None else port.to_pdq(hashed),  # type: ignore[arg-type]  # dense
        words=port.to_words(words.indices, values=words.values)
        if isinstance(words, models.SparseVector)
        else None,
    )
