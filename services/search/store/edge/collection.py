"""A collection in Qdrant Edge: one open part, which takes new points, and sealed parts with graphs.

    <collection>/
        collection.json     model version, dimension and layout
        parts.json          the parts that count, replaced atomically
        part-<id>/          Edge's own files, one directory a part
        empty/              a part without points, to be copied

New points go to the open part, which is searched exhaustively: 10,000 vectors of 512 dimensions
take 1.5 ms. When it is full it is sealed, an empty one takes its place, and a graph over its points
is built in another process (Edge would stop this one for seconds or minutes). Sealed parts of
similar size are built together, so that there are few of them: five or so for a million points.
Deletions and new payloads are written to the part that has the point; those that come while a part
is being rebuilt are repeated on its successor before that takes over.
"""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from halftone.core import errors, files, telemetry
from halftone.core.batches import batched
from halftone.matching.words import Vocabulary
from halftone.services.search.store.edge import build
from halftone.services.search.store.edge import query as edge_query
from halftone.services.search.store.edge.part import Part, copy_closed
from halftone.services.search.store.edge.part_set import CHUNK, PartSet
from halftone.services.search.store.edge.space import SMALL_SHARE, check_space
from halftone.services.search.store.port import (
    FIRST_WORDS,
    LAYOUT,
    check_words,
    earlier_layout,
    no_collection,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from halftone.services.search.store.port import (
        Filter,
        Payload,
        Point,
        Query,
        ScoredPoint,
        Stored,
    )

SEAL_POINTS: Final = 10_000
"""The number of points at which the open part is sealed and gets a graph."""

MERGE_RATIO: Final = 3
"""A sealed part is rebuilt together with newer ones that have at least this share of its size."""
IDLE_SECONDS: Final = 30.0
"""Pending writes are flushed when no collection was read for this long. A flush shortens the log
that a start has to replay."""
FLUSH_CHANGES: Final = 20_000
"""Pending writes are flushed in any case after this many changes. A start replays 10,000 points in
1.1 s, while a flush holds the interpreter lock for 0.2 to 0.6 s, and for seconds on a busy disk: it
syncs some 100 files, including those that did not change."""
_RETRY_SECONDS: Final = 60.0

_log = telemetry.get_logger(__name__)


class LastRead:
    """The time of the last read of any collection of a store, by `time.monotonic`."""

    def __init__(self) -> None:
        """Start with the present time."""
        self.at = time.monotonic()

    def note(self) -> None:
        """Set the time of the last read to the present."""
        self.at = time.monotonic()


class EdgeCollection:
    """The points of one model version."""

    def __init__(
        self,
        directory: Path,
        *,
        model_version: str,
        dimension: int,
        min_free_bytes: int,
        seal_points: int = SEAL_POINTS,
        template: Path | None = None,
        last_read: LastRead | None = None,
        idle_seconds: float = IDLE_SECONDS,
        flush_changes: int = FLUSH_CHANGES,
    ) -> None:
        """Open the collection, creating it if needed.

        Args:
            directory: The collection's directory.
            model_version: The model version, as `name/version`.
            dimension: The dimension of the descriptors; used only for a new collection.
            min_free_bytes: Writes are refused when the disk has less space left.
            seal_points: The number of points at which the open part is sealed.
            template: An empty part to copy for a new collection. Creating one from scratch holds
                the interpreter lock for seconds on a slow disk.
            last_read: The time of the last read, shared by the collections of a process. A flush
                holds the interpreter lock, so it waits until no collection has been read for
                `idle_seconds`.
            idle_seconds: Seconds without a read after which a flush may run.
            flush_changes: Changes after which the collection is flushed in any case.
        """
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._seal_points = seal_points
        self.model_version = model_version
        marker = directory / "collection.json"
        if not marker.exists():
            # A directory without its marker is left from a creation that was interrupted.
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            self._check_space()
            if template is None:
                Part.create(directory / "empty", dimension=dimension).close()
            else:
                copy_closed(template, directory / "empty")
            name = PartSet.new_name()
            copy_closed(directory / "empty", directory / name)
            PartSet.create(directory, opened=name)
            files.write_json(
                marker,
                {
                    "model_version": model_version,
                    "dimension": dimension,
                    "layout": LAYOUT,
                    "words": Vocabulary.load().version,
                },
            )
        described = json.loads(marker.read_text())
        if described.get("layout") != LAYOUT:
            raise earlier_layout(model_version)
        check_words(described.get("words", FIRST_WORDS), model_version=model_version)
        self.dimension = int(described["dimension"])
        self._parts = PartSet(directory)
        # Guards the writes and the set of parts.
        self._writing = threading.RLock()
        self._rebuilding: tuple[Part, ...] = ()
        self._changed: set[uuid.UUID] = set()
        self.unflushed = 0
        """Changes that a start would repeat from the log."""
        self._last_read = last_read or LastRead()
        self._idle_seconds = idle_seconds
        self._flush_changes = flush_changes
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._is_dropped = False
        self._settled = threading.Condition()
        self._busy = True
        self._maintenance = threading.Thread(target=self._maintain, name="edge-parts", daemon=True)
        self._maintenance.start()

    # Writing.

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points. Each replaces the point with the same id, if there is one."""
        ids = [point.id for point in points]
        with self._writing:
            self._check_exists()
            self._check_space()
            self._parts.opened.upsert(points)
            self._parts.opened.sync()
            self.unflushed += len(points)
            for part in self._parts.sealed:
                if replaced := part.list_existing(ids):
                    self._note(part, replaced)
                    part.delete(replaced)
                    part.sync()
            if self._parts.opened.size() >= self._seal_points:
                self._wake_up()

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of existing points."""
        with self._writing:
            self._check_exists()
            self._check_space()
            for part in self._parts.all():
                if present := part.list_existing(list(payloads)):
                    self._note(part, present)
                    part.overwrite_payloads({each: payloads[each] for each in present})
                    part.sync()
            self.unflushed += len(payloads)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Delete points. Ids that do not exist are ignored."""
        with self._writing:
            self._check_exists()
            self._check_space(share=SMALL_SHARE)
            for part in self._parts.all():
                if present := part.list_existing(ids):
                    self._note(part, present)
                    part.delete(present)
                    part.sync()
            self.unflushed += len(ids)
            self._wake_up()

    def _note(self, part: Part, ids: Sequence[uuid.UUID]) -> None:
        if part in self._rebuilding:
            self._changed.update(ids)

    def _check_space(self, *, share: int = 1) -> None:
        check_space(self._directory, least=self._min_free_bytes // share)

    # Reading.

    def _reading(self) -> AbstractContextManager[tuple[Part, ...]]:
        self._check_exists()
        self._last_read.note()
        return self._parts.reading()

    def _read_parts(self) -> Iterator[tuple[Part, ...]]:
        """Yield the parts in reading order, and again if the open part was sealed meanwhile.

        A point that is stored anew is written to the open part before it is deleted from its sealed
        part. So the sealed parts come first, and the open part, which has the newer copy, last. If
        the open part is sealed meanwhile, the part that took its place must be read as well.
        """
        opened: Part | None = None
        while opened is not self._parts.opened:
            with self._reading() as parts:
                opened = parts[0]
                yield parts[::-1]

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Stored]:
        """Return the points with these ids, by id. Ids that do not exist are left out."""
        found: dict[uuid.UUID, Stored] = {}
        for parts in self._read_parts():
            for part in parts:
                found |= part.retrieve(ids, vectors=vectors)
        return found

    def query(self, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
        """Run searches together and return the hits of each, most similar first."""
        for parts in self._read_parts():
            found = edge_query.answer(parts, queries=queries, moved=self.retrieve)
        return found

    def smallest(self, key: str, *, filter: Filter, limit: int) -> list[Stored]:  # noqa: A002 - the field's name
        """Return the points with the smallest numbers in a field; see `port.Collection`."""
        found: dict[uuid.UUID, Stored] = {}
        for parts in self._read_parts():
            for part in parts:
                for stored in part.smallest(key, condition=filter, limit=limit):
                    found[stored.id] = stored
        return sorted(found.values(), key=lambda stored: int(stored.payload[key]))[:limit]

    def scan(self, *, filter: Filter, page: int = 1_000) -> Iterator[Stored]:  # noqa: A002 - the field's name
        """Yield the points that match a filter. A point stored again meanwhile may come twice."""
        for again, parts in enumerate(self._read_parts()):
            # The second time, all but the new open part were read.
            for part in parts[-1:] if again else parts:
                yield from part.scan(condition=filter, page=page)

    def count(self, filter: Filter) -> int:  # noqa: A002 - the field's name
        """Return how many points match a filter. A point that is being stored may count twice."""
        with self._reading() as parts:
            return sum(part.count(filter) for part in parts)

    def facet(self, key: str, *, filter: Filter, limit: int) -> list[tuple[str, int]]:  # noqa: A002 - the field's name
        """Return the values of a field and how many points have each; see `port.Collection`."""
        counts: Counter[str] = Counter()
        with self._reading() as parts:
            # Read all values of each part: the most frequent ones overall may be rare in one part.
            wanted = limit if len(parts) == 1 else max(limit, 100_000)
            for part in parts:
                counts.update(dict(part.facet(key, condition=filter, limit=wanted)))
        return counts.most_common(limit)

    # The parts.

    def settle(self, *, seconds: float) -> bool:
        """Wait until no graph is left to build, for at most `seconds`. For benchmarks and tests.

        Returns False if the time ran out before.
        """
        self._wake_up()
        with self._settled:
            return self._settled.wait_for(lambda: not self._busy, timeout=seconds)

    def part_sizes(self) -> list[int]:
        """Return the number of points of each part, the open part first."""
        with self._reading() as parts:
            return [part.size() for part in parts]

    def close(self) -> None:
        """Write out pending changes and close the parts. A graph in progress is abandoned."""
        self._closing.set()
        self._wake.set()
        self._maintenance.join()
        with self._writing:
            self._parts.close()

    def drop(self) -> None:
        """Close the collection because its files are going to be deleted.

        Calls that come later raise `errors.NotFound`.
        """
        self._is_dropped = True
        self.close()

    def _check_exists(self) -> None:
        if self._is_dropped:
            raise no_collection(self.model_version)

    def _wake_up(self) -> None:
        with self._settled:
            self._busy = True
        self._wake.set()

    def _maintain(self) -> None:
        pause = self._idle_seconds
        while not self._closing.is_set():
            self._wake.clear()
            try:
                while not self._closing.is_set() and self._improve():
                    pass
                pause = self._idle_seconds
            except Exception:  # noqa: BLE001 - searches go on without the graph
                _log.exception("graph_not_built", collection=self.model_version)
                pause = _RETRY_SECONDS
            if not self._wake.is_set():
                with self._settled:
                    self._busy = False
                    self._settled.notify_all()
            if not self._wake.wait(timeout=pause):
                self._flush()

    def _flush(self) -> None:
        idle = time.monotonic() - self._last_read.at >= self._idle_seconds
        if not idle and self.unflushed < self._flush_changes:
            return
        with self._writing:
            if self.unflushed and not self._closing.is_set():
                try:
                    self._check_space(share=SMALL_SHARE)
                except errors.HalftoneError:
                    return  # what is not flushed is safe in the log
                for part in self._parts.all():
                    part.flush()
                self.unflushed = 0

    def _improve(self) -> bool:
        """Seal or rebuild one part; return False if there is nothing to do."""
        if self._parts.opened.size() >= self._seal_points:
            self._seal()
            return True
        chosen = self._choose_parts()
        if chosen:
            return self._rebuild(chosen)
        return False

    def _seal(self) -> None:
        """Seal the open part and put an empty one in its place."""
        self._check_space()
        name = PartSet.new_name()
        copy_closed(self._directory / "empty", self._directory / name)
        empty = Part.load(self._directory / name)
        with self._writing:
            self._parts.replace(opened=empty, sealed=self._parts.all())

    def _choose_parts(self) -> tuple[Part, ...]:
        """Return the parts to rebuild together.

        These are all sealed parts without a graph, and sealed parts with a graph that are not much
        larger. If all have graphs, it is one part with more than half of its points deleted, if
        there is one.
        """
        flat = [part for part in self._parts.sealed if part.path.name not in self._parts.built]
        if not flat:
            return tuple(
                part
                for part in self._parts.sealed
                if part.size() < self._parts.built[part.path.name] // 2
            )[:1]
        chosen = list(flat)
        total = sum(part.size() for part in flat)
        others = [part for part in self._parts.sealed if part.path.name in self._parts.built]
        for part in sorted(others, key=Part.size):
            if part.size() > total * MERGE_RATIO:
                break
            chosen.append(part)
            total += part.size()
        return tuple(chosen)

    def _rebuild(self, chosen: tuple[Part, ...]) -> bool:
        name = PartSet.new_name()
        needed = 2 * sum(_size_on_disk(part.path) for part in chosen) + self._min_free_bytes
        if shutil.disk_usage(self._directory).free < needed:
            raise errors.StorageFull("Too little space on the disk to build a graph.")
        with self._writing:
            self._rebuilding, self._changed = chosen, set()
        try:
            points = itertools.chain.from_iterable(part.scan_all() for part in chosen)
            if not build.build(
                self._directory / name,
                dimension=self.dimension,
                points=points,
                cancelled=self._closing.is_set,
            ):
                shutil.rmtree(self._directory / name, ignore_errors=True)
                if not self._closing.is_set():
                    raise errors.Internal("The process that builds a part failed.")
                return False
            built = Part.load(self._directory / name)
            with self._writing:
                self._repeat_changes(built, chosen=chosen)
                self._parts.built[name] = built.size()
                kept = tuple(part for part in self._parts.sealed if part not in chosen)
                self._parts.replace(opened=self._parts.opened, sealed=(*kept, built))
        finally:
            with self._writing:
                self._rebuilding, self._changed = (), set()
        _log.info("graph_built", collection=self.model_version, points=self._parts.built[name])
        return True

    def _repeat_changes(self, built: Part, *, chosen: tuple[Part, ...]) -> None:
        for ids in batched(self._changed, CHUNK):
            current: dict[uuid.UUID, Payload] = {}
            for part in chosen:
                for point_id, stored in part.retrieve(ids, vectors=False).items():
                    current[point_id] = stored.payload
            gone = [point_id for point_id in ids if point_id not in current]
            if gone:
                built.delete(built.list_existing(gone))
            built.overwrite_payloads(
                {each: current[each] for each in built.list_existing(list(current))}
            )
        built.flush()


def _size_on_disk(directory: Path) -> int:
    # Count blocks rather than lengths: Edge's files are sparse.
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
