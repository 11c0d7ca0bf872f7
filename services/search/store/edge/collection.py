"""A collection in Qdrant Edge: an open part that is written to, and sealed ones with graphs.

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

import contextlib
import itertools
import json
import shutil
import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Final

from halftone.core import errors, files, telemetry
from halftone.matching.words import Vocabulary
from halftone.services.search.store.edge import build
from halftone.services.search.store.edge import query as edge_query
from halftone.services.search.store.edge.part import Part, copy_closed
from halftone.services.search.store.port import FIRST_WORDS, LAYOUT, check_words, earlier_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
"""Points that the open part takes before a graph is built over them."""

MERGE_RATIO: Final = 3
"""A sealed part is rebuilt together with newer ones that are a third of its size or more."""
IDLE_SECONDS: Final = 30.0
"""After so long without a read of any collection, what was written is flushed, which shortens the
log that a start has to repeat."""
FLUSH_CHANGES: Final = 20_000
"""After so many changes it is flushed in any case. A start repeats 10,000 points in 1.1 s, while a
flush holds the interpreter lock for 0.2 to 0.6 s, and for seconds on a disk that others keep busy:
it syncs some 100 files, those too that did not change."""
_RETRY_SECONDS: Final = 60.0
_CHUNK: Final = 512

_log = telemetry.get_logger(__name__)


class LastRead:
    """When a collection of a store was last read."""

    def __init__(self) -> None:
        """Now."""
        self.at = time.monotonic()

    def note(self) -> None:
        """One is read."""
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
        """Opens the collection, or makes it where there is none.

        `template` is an empty part to copy: making one holds the interpreter lock for seconds on a
        slow disk. `last_read` is shared by the collections of a process: what holds the lock waits
        until none of them is read.
        """
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._seal_points = seal_points
        self.model_version = model_version
        marker = directory / "collection.json"
        if not marker.exists():
            # A directory without its marker was left behind by an end in the middle of this.
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            self._check_space()
            if template is None:
                Part.create(directory / "empty", dimension=dimension).close()
            else:
                copy_closed(template, directory / "empty")
            name = _new_name()
            copy_closed(directory / "empty", directory / name)
            files.write_json(directory / "parts.json", {"open": name, "sealed": []})
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
        self._open, self._sealed, self._built = self._load()
        # Guards what is written, and which parts there are.
        self._writing = threading.RLock()
        # Guards the counts of readers alone, so that readers never wait for a write. Reentrant: a
        # scan that was left alone may be collected, and so ended, while its thread counts.
        self._counting = threading.RLock()
        self._readers: Counter[Part] = Counter()
        self._retired: set[Part] = set()
        self._rebuilding: tuple[Part, ...] = ()
        self._changed: set[uuid.UUID] = set()
        self.unflushed = 0
        """Changes that a start would repeat from the log."""
        self._last_read = last_read or LastRead()
        self._idle_seconds = idle_seconds
        self._flush_changes = flush_changes
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._settled = threading.Condition()
        self._busy = True
        self._maintenance = threading.Thread(target=self._maintain, name="edge-parts", daemon=True)
        self._maintenance.start()

    def _load(self) -> tuple[Part, tuple[Part, ...], dict[str, int]]:
        described = json.loads((self._directory / "parts.json").read_text())
        counted = {described["open"], *(sealed["name"] for sealed in described["sealed"])}
        for stray in self._directory.glob("part-*"):
            if stray.name not in counted:
                shutil.rmtree(stray, ignore_errors=True)
        opened = Part.load(self._directory / described["open"])
        sealed = tuple(Part.load(self._directory / each["name"]) for each in described["sealed"])
        # Those without a number were sealed, but their graph was not built yet.
        built = {
            each["name"]: int(each["built"])
            for each in described["sealed"]
            if each["built"] is not None
        }
        # An end between storing a point anew and deleting what it replaced.
        for chunk in _chunks(opened.scan_ids()):
            for part in sealed:
                if doubled := part.present(chunk):
                    part.delete(doubled)
        return opened, sealed, built

    # Writing.

    def upsert(self, points: Sequence[Point]) -> None:
        """Stores points in place of those with the same ids."""
        ids = [point.id for point in points]
        with self._writing:
            self._check_space()
            self._open.upsert(points)
            self._open.sync()
            self.unflushed += len(points)
            for part in self._sealed:
                if replaced := part.present(ids):
                    self._note(part, replaced)
                    part.delete(replaced)
                    part.sync()
            if self._open.size() >= self._seal_points:
                self._wake_up()

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replaces the payloads of points that exist."""
        with self._writing:
            self._check_space()
            for part in (self._open, *self._sealed):
                if present := part.present(list(payloads)):
                    self._note(part, present)
                    part.overwrite_payloads({each: payloads[each] for each in present})
                    part.sync()
            self.unflushed += len(payloads)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Deletes points."""
        with self._writing:
            for part in (self._open, *self._sealed):
                if present := part.present(ids):
                    self._note(part, present)
                    part.delete(present)
                    part.sync()
            self.unflushed += len(ids)
            self._wake_up()

    def _note(self, part: Part, ids: Sequence[uuid.UUID]) -> None:
        if part in self._rebuilding:
            self._changed.update(ids)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._directory).free
        if free < self._min_free_bytes:
            raise errors.StorageFull(
                f"The disk of the data directory has {free // 1024**2} MiB left, less than the "
                f"{self._min_free_bytes // 1024**2} MiB that are kept free; "
                "what was acknowledged is safe, the rest was not stored."
            )

    # Reading. Points move from sealed parts to the open one, where they are before they leave: so
    # the sealed parts are read first, and the open one, which has the newer of two, last. When that
    # was sealed meanwhile, another one has taken its place and is to be read as well.

    @contextlib.contextmanager
    def _parts(self) -> Iterator[tuple[Part, ...]]:
        """The parts, none of which is closed while the context is entered."""
        self._last_read.note()
        with self._counting:
            parts = (self._open, *self._sealed)
            self._readers.update(parts)
        try:
            yield parts
        finally:
            with self._counting:
                self._readers.subtract(parts)
            self._close_retired()

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Stored]:
        """The points with these ids, as far as they exist."""
        found: dict[uuid.UUID, Stored] = {}
        opened: Part | None = None
        while opened is not self._open:
            with self._parts() as parts:
                opened = parts[0]
                for part in reversed(parts):
                    found |= part.retrieve(ids, vectors=vectors)
        return found

    def query(self, queries: Sequence[Query]) -> list[list[ScoredPoint]]:
        """Runs searches together."""
        opened: Part | None = None
        while opened is not self._open:
            with self._parts() as parts:
                opened = parts[0]
                found = edge_query.answer(parts[::-1], queries=queries, moved=self.retrieve)
        return found

    def smallest(self, key: str, *, filter: Filter, limit: int) -> list[Stored]:  # noqa: A002 - the field's name
        """The points with the smallest numbers in a field, smallest first."""
        found: dict[uuid.UUID, Stored] = {}
        opened: Part | None = None
        while opened is not self._open:
            with self._parts() as parts:
                opened = parts[0]
                for part in reversed(parts):
                    for stored in part.smallest(key, condition=filter, limit=limit):
                        found[stored.id] = stored
        return sorted(found.values(), key=lambda stored: int(stored.payload[key]))[:limit]

    def scan(self, *, filter: Filter, page: int = 1_000) -> Iterator[Stored]:  # noqa: A002 - the field's name
        """All points under a filter; one that is stored anew meanwhile may come twice."""
        opened: Part | None = None
        while opened is not self._open:
            with self._parts() as parts:
                # The second time, all but the new open part were read.
                unread = parts if opened is None else parts[:1]
                opened = parts[0]
                for part in reversed(unread):
                    yield from part.scan(condition=filter, page=page)

    def count(self, filter: Filter) -> int:  # noqa: A002 - the field's name
        """How many points a filter matches; one that is just being stored anew may count twice."""
        with self._parts() as parts:
            return sum(part.count(filter) for part in parts)

    def facet(self, key: str, *, filter: Filter, limit: int) -> list[tuple[str, int]]:  # noqa: A002 - the field's name
        """The values of a field with their counts."""
        counts: Counter[str] = Counter()
        with self._parts() as parts:
            # All values of each part: the most frequent of the whole may be rare in a part.
            wanted = limit if len(parts) == 1 else max(limit, 100_000)
            for part in parts:
                counts.update(dict(part.facet(key, condition=filter, limit=wanted)))
        return counts.most_common(limit)

    # The parts.

    def settle(self, *, seconds: float) -> bool:
        """Waits until no graph is left to build; for benchmarks and tests."""
        self._wake_up()
        with self._settled:
            return self._settled.wait_for(lambda: not self._busy, timeout=seconds)

    def part_sizes(self) -> list[int]:
        """Points of each part, the open one first."""
        with self._parts() as parts:
            return [part.size() for part in parts]

    def close(self) -> None:
        """Writes out what is pending; a graph that is being built is given up."""
        self._closing.set()
        self._wake.set()
        self._maintenance.join()
        with self._writing:
            for part in (self._open, *self._sealed):
                part.close()

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
                for part in (self._open, *self._sealed):
                    part.flush()
                self.unflushed = 0

    def _improve(self) -> bool:
        """Does one thing that makes searches faster; False when nothing is left to do."""
        if self._open.size() >= self._seal_points:
            self._seal()
            return True
        chosen = self._to_rebuild()
        if chosen:
            return self._rebuild(chosen)
        return False

    def _seal(self) -> None:
        """Puts an empty part in the place of the open one."""
        name = _new_name()
        copy_closed(self._directory / "empty", self._directory / name)
        empty = Part.load(self._directory / name)
        with self._writing:
            self._replace(opened=empty, sealed=(self._open, *self._sealed))

    def _to_rebuild(self) -> tuple[Part, ...]:
        """Sealed parts without graph, and those that are not much larger; or one full of holes."""
        flat = [part for part in self._sealed if part.path.name not in self._built]
        if not flat:
            return tuple(
                part for part in self._sealed if part.size() < self._built[part.path.name] // 2
            )[:1]
        chosen = list(flat)
        total = sum(part.size() for part in flat)
        others = [part for part in self._sealed if part.path.name in self._built]
        for part in sorted(others, key=Part.size):
            if part.size() > total * MERGE_RATIO:
                break
            chosen.append(part)
            total += part.size()
        return tuple(chosen)

    def _rebuild(self, chosen: tuple[Part, ...]) -> bool:
        name = _new_name()
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
                self._given_up(name)
                return False
            built = Part.load(self._directory / name)
            with self._writing:
                self._repeat_changes(built, chosen=chosen)
                self._built[name] = built.size()
                kept = tuple(part for part in self._sealed if part not in chosen)
                self._replace(opened=self._open, sealed=(*kept, built))
        finally:
            with self._writing:
                self._rebuilding, self._changed = (), set()
        _log.info("graph_built", collection=self.model_version, points=self._built[name])
        return True

    def _given_up(self, name: str) -> None:
        shutil.rmtree(self._directory / name, ignore_errors=True)
        if not self._closing.is_set():
            raise errors.Internal("The process that builds a part failed.")

    def _repeat_changes(self, built: Part, *, chosen: tuple[Part, ...]) -> None:
        for ids in _chunks(iter(self._changed)):
            current: dict[uuid.UUID, Payload] = {}
            for part in chosen:
                for point_id, stored in part.retrieve(ids, vectors=False).items():
                    current[point_id] = stored.payload
            gone = [point_id for point_id in ids if point_id not in current]
            if gone:
                built.delete(built.present(gone))
            built.overwrite_payloads({each: current[each] for each in built.present(list(current))})
        built.flush()

    def _replace(self, *, opened: Part, sealed: tuple[Part, ...]) -> None:
        """Makes these the parts that count; the others go when nobody reads them."""
        described = [
            {"name": part.path.name, "built": self._built.get(part.path.name)} for part in sealed
        ]
        files.write_json(
            self._directory / "parts.json", {"open": opened.path.name, "sealed": described}
        )
        with self._counting:
            before = {self._open, *self._sealed}
            self._open, self._sealed = opened, sealed
            self._retired |= before - {opened, *sealed}
        self._close_retired()

    def _close_retired(self) -> None:
        if not self._retired:
            return
        with self._counting:
            unused = {part for part in self._retired if not self._readers[part]}
            self._retired -= unused
        for part in unused:
            self._readers.pop(part, None)
            part.close()
            part.remove()


def _new_name() -> str:
    return f"part-{uuid.uuid4().hex[:12]}"


def _chunks(ids: Iterator[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    while chunk := list(itertools.islice(ids, _CHUNK)):
        yield chunk


def _size_on_disk(directory: Path) -> int:
    # Blocks and not lengths: Edge's files are sparse.
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
