"""One Qdrant Edge shard as a part of a collection: converts calls, results and errors.

Edge 0.9 is peculiar in two ways. Its calls hold Python's interpreter lock from beginning to end, so
that building a graph (`optimize`, 5 s for 20,000 vectors) stops the whole process; graphs are
therefore built in a separate process, see `build`. And `flush` syncs each file of each index, 0.3 s
on a plain disk; an update is made durable by syncing only the write-ahead log, from which Edge
restores its other files at the next start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qdrant_edge

from halftone.core import errors
from halftone.core.batches import batched
from halftone.core.files import sync_directory
from halftone.core.system import copy_sparse, sync
from halftone.services.search.store import port
from halftone.services.search.store.port import (
    EVERYTHING,
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
    Stored,
    Words,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# Its stubs accept neither arrays as vectors nor UUIDs as ids.
edge: Final[Any] = qdrant_edge

_UPSERT_CHUNK: Final = 1_000
_EXPORT_PAGE: Final = 64
_QUANTILE: Final = 0.99
_OVERSAMPLING: Final = 3.0
_INDEX_BYTES: Final = 256 * 1024**2
"""An index is added to a shard if the disk has so much left. A new one takes 1 MiB or less."""
_FULL_DISK: Final = ("no space left", "not enough disk", "out of disk", "disk full", "storagefull")


class Part:
    """A shard that is open in this process. Its calls hold the interpreter lock."""

    def __init__(self, path: Path, *, shard: Any) -> None:
        self.path = path
        self._shard = shard
        self.empty = self.size() == 0
        """Whether nothing was ever stored in it, so that searches can leave it out."""

    @classmethod
    def create(cls, path: Path, *, dimension: int) -> Part:
        """Create an empty shard with all payload indexes."""
        config = edge.EdgeConfig(
            vectors=_vectors(dimension),
            # A search adds up the pictures that share each word, whatever the filter: reading the
            # words of the matching points took 40 to 100 ms for 20,000 instead of 1.5. The lists
            # are as fast in mapped memory, which does not have to hold them all.
            sparse_vectors={
                Channel.WORDS.value: edge.EdgeSparseVectorParams(
                    full_scan_threshold=0, memory=edge.Memory.Cached
                )
            },
            hnsw_config=edge.HnswIndexConfig(
                m=port.HNSW_M,
                ef_construct=port.HNSW_EF_CONSTRUCT,
                full_scan_threshold=port.FULL_SCAN_KIB,
                max_indexing_threads=0,
            ),
            # One graph per part: a collection has few parts, and a search goes through all of them.
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
            # Searches run in the calling thread. Edge would start eight threads for each part, and
            # they would have nothing to share: parts are searched one by one, with one graph each.
            max_search_threads=1,
        )
        with _translate_errors():
            path.mkdir(parents=True)
            shard = edge.EdgeShard.create(str(path), config)
            _create_indexes(shard, INDEXES)
            shard.flush()
        return cls(path, shard=shard)

    @classmethod
    def load(cls, path: Path) -> Part:
        """Open an existing shard. One of an earlier release gets the indexes that it lacks.

        On a disk that is nearly full it does without: its filters are slower, and as right.
        """
        with _translate_errors():
            part = cls(path, shard=edge.EdgeShard.load(str(path)))
            lacking = INDEXES.keys() - part.list_indexes()
            if lacking and shutil.disk_usage(path).free > _INDEX_BYTES:
                _create_indexes(part._shard, lacking)
        return part

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points. Call `sync` to make them durable."""
        self.empty = False
        with _translate_errors():
            for chunk in batched(points, _UPSERT_CHUNK):
                converted = [
                    edge.Point(id=point.id, vector=_to_vectors(point), payload=point.payload)
                    for point in chunk
                ]
                self._shard.update(edge.UpdateOperation.upsert_points(converted))

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of points, all of which exist."""
        with _translate_errors():
            for point_id, payload in payloads.items():
                self._shard.update(edge.UpdateOperation.overwrite_payload([point_id], payload))

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points, all of which exist."""
        with _translate_errors():
            self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def sync(self) -> None:
        """Write the updates to disk, so that they survive a crash of the machine.

        They survive a crash of the process without this.
        """
        for path in self.path.glob("wal/open-*"):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)

    def flush(self) -> None:
        """Write all updates to the index files, which shortens the write-ahead log."""
        with _translate_errors():
            self._shard.flush()

    def optimize(self) -> None:
        """Build the graph. Blocks the whole process."""
        with _translate_errors():
            self._shard.optimize()

    def list_existing(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return the ids of which there is a point in this part."""
        with _translate_errors():
            records = self._shard.retrieve(list(ids), with_payload=False, with_vector=False)
        return [record.id for record in records]

    def retrieve(self, ids: Sequence[uuid.UUID], *, vectors: bool) -> dict[uuid.UUID, Stored]:
        """Return the points with these ids, by id. Ids that do not exist are left out."""
        with _translate_errors():
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=vectors)
        return {record.id: _to_stored(record) for record in records}

    def query(self, requests: Sequence[Any]) -> list[list[tuple[uuid.UUID, float]]]:
        """Run searches made by `to_requests` together; return ids and scores of their hits."""
        with _translate_errors():
            answers = (
                self._shard.query_batch(edge.QueryBatchRequest(list(requests)))
                if len(requests) > 1
                else [self._shard.query(requests[0])]
            )
        return [[(hit.id, hit.score) for hit in hits] for hits in answers]

    def smallest(self, key: str, *, condition: Filter, limit: int) -> list[Stored]:
        """Return the points with the smallest numbers in a field; see `port.Collection`."""
        with _translate_errors():
            records, _ = self._shard.scroll(
                edge.ScrollRequest(
                    limit=limit,
                    filter=to_edge(condition),
                    with_payload=True,
                    order_by=edge.OrderBy(key),
                )
            )
        return [_to_stored(record) for record in records]

    def scan(self, *, condition: Filter, page: int, vectors: bool = False) -> Iterator[Stored]:
        """Yield the points that match a filter.

        Args:
            condition: The filter.
            page: The number of points to read at a time.
            vectors: Whether to read the vectors, too.
        """
        return map(
            _to_stored,
            self._scroll(
                limit=page, filter=to_edge(condition), with_payload=True, with_vector=vectors
            ),
        )

    def scan_all(self) -> Iterator[Stored]:
        """Yield all points with their vectors. A page of them delays other threads by 2 ms."""
        return self.scan(condition=EVERYTHING, page=_EXPORT_PAGE, vectors=True)

    def scan_ids(self) -> Iterator[uuid.UUID]:
        """Yield the ids of all points."""
        return (record.id for record in self._scroll(limit=_UPSERT_CHUNK, with_payload=False))

    def _scroll(self, **request: Any) -> Iterator[Any]:
        """Yield Edge's records, reading `limit` at a time."""
        offset: uuid.UUID | None = None
        while True:
            with _translate_errors():
                records, offset = self._shard.scroll(edge.ScrollRequest(offset=offset, **request))
            yield from records
            if offset is None:
                return

    def count(self, condition: Filter) -> int:
        """Return the exact number of points that match a filter."""
        with _translate_errors():
            return int(self._shard.count(edge.CountRequest(exact=True, filter=to_edge(condition))))

    def facet(self, key: str, *, condition: Filter, limit: int) -> list[tuple[str, int]]:
        """Return the values of a field and how many points have each; see `port.Collection`."""
        with _translate_errors():
            response = self._shard.facet(
                edge.FacetRequest(key, limit=limit, exact=True, filter=to_edge(condition))
            )
        return [(hit.value, hit.count) for hit in response]

    def size(self) -> int:
        """Return how many points there are."""
        with _translate_errors():
            return int(self._shard.info().points_count)

    def list_indexes(self) -> set[str]:
        """Return the names of the payload fields that are indexed."""
        with _translate_errors():
            return set(self._shard.info().payload_schema)

    def close(self) -> None:
        """Write out pending changes and close the files."""
        with _translate_errors():
            self._shard.close()

    def remove(self) -> None:
        """Delete the files of a closed part."""
        shutil.rmtree(self.path, ignore_errors=True)


def _vectors(dimension: int) -> dict[str, Any]:
    return {
        Channel.DESCRIPTOR.value: edge.EdgeVectorParams(
            size=dimension,
            distance=edge.Distance.Cosine,
            # One byte per dimension besides the four of the vectors. It halves the time to build a
            # graph: 20,000 vectors of 512 dimensions take 9 s of CPU instead of 18.
            quantization_config=edge.ScalarQuantizationConfig(
                type=edge.ScalarType.Int8, quantile=_QUANTILE, memory=edge.Memory.Cached
            ),
        ),
        # 16 bits represent both values of a hash of length one exactly. Searches compare the bits
        # of all pictures, which is exact: 100,000 take 1.3 ms.
        Channel.PDQ.value: edge.EdgeVectorParams(
            size=port.PDQ_BITS,
            distance=edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16,
            quantization_config=edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
            hnsw_config=edge.HnswIndexConfig(
                m=0, payload_m=0, ef_construct=4, full_scan_threshold=port.FULL_SCAN_KIB
            ),
        ),
    }


def _to_vectors(point: Point) -> dict[str, Any]:
    vectors: dict[str, Any] = {Channel.DESCRIPTOR.value: point.vector}
    if point.pdq is not None:
        vectors[Channel.PDQ.value] = point.pdq
    if point.words is not None and len(point.words.indices):
        vectors[Channel.WORDS.value] = edge.SparseVector(*point.words)
    return vectors


def _create_indexes(shard: Any, keys: Iterable[str]) -> None:
    for key in sorted(keys):
        shard.update(edge.UpdateOperation.create_field_index(key, _index(INDEXES[key])))


def _index(index: Index) -> Any:
    if index is Index.NUMBER:
        return edge.IntegerIndexParams(lookup=False, range=True, enable_hnsw=False)
    return edge.KeywordIndexParams(enable_hnsw=index is Index.LINKED_KEYWORD)


def copy_closed(source: Path, target: Path) -> None:
    """Copy the files of a closed part durably. Sparse files stay sparse.

    Copying an empty part takes a tenth of the time of creating one with its indexes.
    """
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        twin = target / path.relative_to(source)
        if path.is_dir():
            twin.mkdir()
        else:
            copy_sparse(path, twin)
    for directory in (
        target.parent,
        target,
        *(path for path in target.rglob("*") if path.is_dir()),
    ):
        sync_directory(directory)


def to_requests(queries: Sequence[Query]) -> list[Any]:
    """Convert searches to Edge requests, which suit every part.

    They ask for no payloads; `query.answer` reads the payloads of the best hits.
    """
    return [
        edge.QueryRequest(
            limit=query.limit,
            query=edge.Query.Nearest(
                edge.SparseVector(*query.vector)
                if isinstance(query.vector, Words)
                else query.vector,
                query.using.value,
            ),
            filter=to_edge(query.filter),
            score_threshold=query.min_score,
            with_payload=False,
            params=_params(query),
        )
        for query in queries
    ]


def _params(query: Query) -> Any:
    if query.using is not Channel.DESCRIPTOR:
        return None
    return edge.SearchParams(
        exact=query.exact,
        hnsw_ef=max(port.HNSW_EF, query.limit),
        # Candidates are ranked by their int8 vectors. Three times as many as requested are then
        # compared in full.
        quantization=edge.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING),
        acorn=None if port.has_links(query.filter) else edge.AcornSearchParams(enable=True),
    )


def to_edge(condition: Filter) -> Any:
    """Convert a filter to a filter of Edge. Returns None if it matches everything."""
    if not condition.must and not condition.must_not:
        return None
    return edge.Filter(
        must=[_condition(part) for part in condition.must],
        must_not=[_condition(part) for part in condition.must_not],
    )


def _condition(condition: AnyOf | Between | Ids | Filter) -> Any:
    match condition:
        case AnyOf(key=key, values=(value,)):
            return edge.FieldCondition(key, match=edge.MatchValue(value))
        case AnyOf(key=key, values=values):
            return edge.FieldCondition(key, match=edge.MatchAny(list(values)))
        case Between(key=key, low=low, high=high):
            return edge.FieldCondition(key, range=edge.RangeFloat(gte=low, lte=high))
        case Ids(ids=ids):
            return edge.HasIdCondition(set(ids))
        case Filter():
            return to_edge(condition) or edge.Filter(must=[])


def _to_stored(record: Any) -> Stored:
    vectors = record.vector or {}
    vector, hashed, words = (vectors.get(channel.value) for channel in Channel)
    return Stored(
        id=record.id,
        payload=record.payload or {},
        vector=None if vector is None else np.asarray(vector, dtype=np.float32),
        pdq=None if hashed is None else port.to_pdq(hashed),
        words=None if words is None else port.to_words(words.indices, values=words.values),
    )


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise Edge's exceptions as Halftone's. Edge raises plain `Exception`s, or panics.

    A panic of Edge is a BaseException.
    """
    try:
        yield
    except (errors.HalftoneError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        text = str(error)
        if any(sign in text.lower() for sign in _FULL_DISK):
            raise errors.StorageFull(
                "The disk is full; what was acknowledged is safe, the rest was not stored."
            ) from error
        if "WouldBlock" in text:
            raise errors.DataDirectoryError(
                "The shard is in use by another process.", reason="DATA_DIRECTORY_IN_USE"
            ) from error
        raise errors.Internal(f"The store failed: {text}") from error
