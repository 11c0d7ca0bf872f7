"""One Qdrant Edge shard as a part of a collection: translation of calls, results and errors.

Two things are peculiar to Edge 0.9. Its calls hold Python's interpreter lock from beginning to end,
so that building a graph (`optimize`, 5 s for 20,000 vectors) stops the whole process; graphs are
therefore built in a process of their own, see `edge_collection`. And `flush` syncs each file of
each index, 0.3 s on a plain disk; an update is made durable by syncing the write-ahead log alone,
from which Edge repeats at the next start what its other files lack.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qdrant_edge

from halftone.core import errors
from halftone.core.files import sync_directory
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
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# Its stubs know neither that arrays are taken as vectors nor that our ids are UUIDs.
edge: Final[Any] = qdrant_edge

_UPSERT_CHUNK: Final = 1_000
_EXPORT_PAGE: Final = 64
_QUANTILE: Final = 0.99
_OVERSAMPLING: Final = 3.0
_FULL_DISK: Final = ("no space left", "not enough disk", "out of disk", "disk full", "storagefull")


class Part:
    """A shard that this process has open. Calls hold the interpreter lock while they run."""

    def __init__(self, path: Path, *, shard: Any) -> None:
        self.path = path
        self._shard = shard
        self.empty = self.size() == 0
        """Whether nothing was ever stored in it: searching it would take as long as anything."""

    @classmethod
    def create(cls, path: Path, *, dimension: int, indexing_threads: int = 0) -> Part:
        """Makes an empty shard with all its payload indexes."""
        config = edge.EdgeConfig(
            vectors=_vectors(dimension),
            # A search adds up the pictures that share each word, whatever the filter: reading the
            # words of those that pass it took 40 to 100 ms of 20,000 instead of 1.5. The lists are
            # as fast in mapped memory, which need not hold them all.
            sparse_vectors={
                Channel.WORDS.value: edge.EdgeSparseVectorParams(
                    full_scan_threshold=0, memory=edge.Memory.Cached
                )
            },
            hnsw_config=edge.HnswIndexConfig(
                m=port.HNSW_M,
                ef_construct=port.HNSW_EF_CONSTRUCT,
                full_scan_threshold=port.FULL_SCAN_KIB,
                max_indexing_threads=indexing_threads,
            ),
            # One graph a part: a collection has few parts, and a search goes through all.
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
            # Searches run in the thread that asks. Threads would be eight a part, on two cores, and
            # share nothing out: parts are searched one after the other, and have one graph each.
            max_search_threads=1,
        )
        with _translated():
            path.mkdir(parents=True)
            shard = edge.EdgeShard.create(str(path), config)
            for key, index in INDEXES.items():
                shard.update(edge.UpdateOperation.create_field_index(key, _index(index)))
            shard.flush()
        return cls(path, shard=shard)

    @classmethod
    def load(cls, path: Path) -> Part:
        """Opens a shard that exists."""
        with _translated():
            return cls(path, shard=edge.EdgeShard.load(str(path)))

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points; `sync` makes them durable."""
        self.empty = False
        with _translated():
            for start in range(0, len(points), _UPSERT_CHUNK):
                chunk = [
                    edge.Point(id=point.id, vector=_named(point), payload=point.payload)
                    for point in points[start : start + _UPSERT_CHUNK]
                ]
                self._shard.update(edge.UpdateOperation.upsert_points(chunk))

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replaces payloads of points that exist."""
        with _translated():
            for point_id, payload in payloads.items():
                self._shard.update(edge.UpdateOperation.overwrite_payload([point_id], payload))

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Deletes points that exist."""
        with _translated():
            self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def sync(self) -> None:
        """Makes the updates so far survive the end of the machine; that of the process they do."""
        for path in self.path.glob("wal/open-*"):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def flush(self) -> None:
        """Writes everything to its place, which shortens the write-ahead log."""
        with _translated():
            self._shard.flush()

    def optimize(self) -> None:
        """Builds the graph; blocks this whole process until it is there."""
        with _translated():
            self._shard.optimize()

    def present(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Which of the ids exist."""
        with _translated():
            records = self._shard.retrieve(list(ids), with_payload=False, with_vector=False)
        return [record.id for record in records]

    def retrieve(self, ids: Sequence[uuid.UUID], *, vectors: bool) -> dict[uuid.UUID, Stored]:
        """The points that exist."""
        with _translated():
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=vectors)
        return {record.id: _stored(record) for record in records}

    def query(self, requests: Sequence[Any]) -> list[list[tuple[uuid.UUID, float]]]:
        """Runs searches together, as `to_requests` has them: ids and scores of their hits."""
        with _translated():
            answers = (
                self._shard.query_batch(edge.QueryBatchRequest(list(requests)))
                if len(requests) > 1
                else [self._shard.query(requests[0])]
            )
        return [[(hit.id, hit.score) for hit in hits] for hits in answers]

    def smallest(self, key: str, *, condition: Filter, limit: int) -> list[Stored]:
        """The points with the smallest numbers in a field, smallest first."""
        with _translated():
            records, _ = self._shard.scroll(
                edge.ScrollRequest(
                    limit=limit,
                    filter=to_edge(condition),
                    with_payload=True,
                    order_by=edge.OrderBy(key),
                )
            )
        return [_stored(record) for record in records]

    def scan(self, *, condition: Filter, page: int, vectors: bool = False) -> Iterator[Stored]:
        """All points under a filter."""
        offset: uuid.UUID | None = None
        while True:
            with _translated():
                records, offset = self._shard.scroll(
                    edge.ScrollRequest(
                        offset=offset,
                        limit=page,
                        filter=to_edge(condition),
                        with_payload=True,
                        with_vector=vectors,
                    )
                )
            for record in records:
                yield _stored(record)
            if offset is None:
                return

    def scan_all(self) -> Iterator[Stored]:
        """All points with their vectors, in pages that do not hold other threads up for long."""
        return self.scan(condition=EVERYTHING, page=_EXPORT_PAGE, vectors=True)

    def scan_ids(self) -> Iterator[uuid.UUID]:
        """The ids of all points."""
        offset: uuid.UUID | None = None
        while True:
            with _translated():
                records, offset = self._shard.scroll(
                    edge.ScrollRequest(offset=offset, limit=_UPSERT_CHUNK, with_payload=False)
                )
            yield from (record.id for record in records)
            if offset is None:
                return

    def count(self, condition: Filter) -> int:
        """How many points a filter matches."""
        with _translated():
            return int(self._shard.count(edge.CountRequest(exact=True, filter=to_edge(condition))))

    def facet(self, key: str, *, condition: Filter, limit: int) -> list[tuple[str, int]]:
        """The values of a field with their counts."""
        with _translated():
            response = self._shard.facet(
                edge.FacetRequest(key, limit=limit, exact=True, filter=to_edge(condition))
            )
        return [(hit.value, hit.count) for hit in response]

    def size(self) -> int:
        """How many points there are."""
        with _translated():
            return int(self._shard.info().points_count)

    def close(self) -> None:
        """Writes out what is pending and closes the files."""
        with _translated():
            self._shard.close()

    def remove(self) -> None:
        """Deletes the files of a closed part."""
        shutil.rmtree(self.path, ignore_errors=True)


def _vectors(dimension: int) -> dict[str, Any]:
    return {
        Channel.DESCRIPTOR.value: edge.EdgeVectorParams(
            size=dimension,
            distance=edge.Distance.Cosine,
            # A byte a dimension beside the four of the vectors: graphs are built in half the time
            # (20,000 vectors of 512 dimensions in 9 s of CPU instead of 18).
            quantization_config=edge.ScalarQuantizationConfig(
                type=edge.ScalarType.Int8, quantile=_QUANTILE, memory=edge.Memory.Cached
            ),
        ),
        # 16 bits hold both values of a hash of length one exactly. Compared are the bits alone, of
        # all pictures, which is exact: 100,000 take 1.3 ms.
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


def _named(point: Point) -> dict[str, Any]:
    vectors: dict[str, Any] = {Channel.DESCRIPTOR.value: point.vector}
    if point.pdq is not None:
        vectors[Channel.PDQ.value] = point.pdq
    if point.words is not None and len(point.words.indices):
        vectors[Channel.WORDS.value] = edge.SparseVector(*point.words)
    return vectors


def _index(index: Index) -> Any:
    if index is Index.NUMBER:
        return edge.IntegerIndexParams(lookup=False, range=True, enable_hnsw=False)
    return edge.KeywordIndexParams(enable_hnsw=index is Index.LINKED_KEYWORD)


def copy_closed(source: Path, target: Path) -> None:
    """Copies the files of a part that is closed, holes as holes, durably.

    An empty part is made ten times faster by copying one than by making its indexes anew.
    """
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        twin = target / path.relative_to(source)
        if path.is_dir():
            twin.mkdir()
        else:
            _copy_sparse(path, twin)
    for directory in (
        target.parent,
        target,
        *(path for path in target.rglob("*") if path.is_dir()),
    ):
        sync_directory(directory)


def _copy_sparse(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        at = 0
        while at < size:
            try:
                start = os.lseek(reader.fileno(), at, os.SEEK_DATA)
            except OSError:
                # Only a hole is left.
                break
            at = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            os.pwrite(writer.fileno(), os.pread(reader.fileno(), at - start, start), start)
        os.fsync(writer.fileno())


def to_requests(queries: Sequence[Query]) -> list[Any]:
    """Searches in Edge's terms, the same for each part; hits come without their payloads."""
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
        # What is compared in bytes is compared again in full, and more than is asked for.
        quantization=edge.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING),
        acorn=None if port.has_links(query.filter) else edge.AcornSearchParams(enable=True),
    )


def to_edge(condition: Filter) -> Any:
    """A filter in Edge's terms; None for one that matches everything."""
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


def _stored(record: Any) -> Stored:
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
def _translated() -> Iterator[None]:
    """Edge raises bare exceptions, and panics as a BaseException; here both become ours."""
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
