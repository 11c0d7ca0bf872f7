"""What the service holds: the collections and the image bytes, and the threads that use them.

Reads run in a few threads. All writes run in one, so that what reads before it writes (equal bytes
under two names, bytes that nothing refers to any more) needs no further lock, and so that a change
of the collection that answers falls between two writes.

Records are written to the collection that answers, and while another version is being promoted to
its collection too, as far as that has vectors of them; what it lacks is noted for the promotion to
catch up with. Deletions go to every collection there is.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from halftone.core import errors, telemetry
from halftone.services.search.store.port import AnyOf, Filter, Payload, Point, Stored

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np

    from halftone.archive.records import Name
    from halftone.core.telemetry import Metrics
    from halftone.services.search.archive.blobs import Blobs
    from halftone.services.search.store.port import Collection, Words

P = ParamSpec("P")
T = TypeVar("T")

_MAX_SHARED: Final = 100
_MAX_LOOKED_AT: Final = 500
"""Records with equal bytes that one look-up reads: a logo may be there 10,000 times, and a thousand
records take 10 to 60 ms."""
_LOOKED_AT_EACH: Final = 3
"""And for each of many pictures, which most often are there twice."""
_PAGE: Final = 100
"""Of them, so that the embedded store lets the interpreter lock go in between."""

_log = telemetry.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A record that is to be stored.

    Attributes:
        id: Of the record.
        payload: Of the record.
        vectors: Its descriptors by model version.
        pdq: As in a `Point`.
        words: As in a `Point`.
    """

    id: uuid.UUID
    payload: Payload
    vectors: dict[str, np.ndarray]
    pdq: np.ndarray | None = None
    words: Words | None = None


class Holdings:
    """The collections, the blobs their records refer to, and the threads that use them."""

    def __init__(self, *, blobs: Blobs, metrics: Metrics) -> None:
        """Starts no thread yet; `open` sets the collection."""
        self.blobs = blobs
        self._collection: Collection | None = None
        # Replaced as a whole, and only in the thread for writes; `target` is one of the others.
        self._others: tuple[Collection, ...] = ()
        self._target: Collection | None = None
        self._changed: set[uuid.UUID] = set()
        self._listeners: list[Callable[[Iterable[uuid.UUID]], None]] = []
        cores = os.cpu_count() or 1
        self._reads = ThreadPoolExecutor(max_workers=cores + 2, thread_name_prefix="store-read")
        self._writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-write")
        self._cores = ThreadPoolExecutor(max_workers=cores, thread_name_prefix="fingerprint")
        self._files = ThreadPoolExecutor(max_workers=cores + 6, thread_name_prefix="files")
        self._pins: Counter[str] = Counter()
        self._pins_lock = threading.Lock()
        self._seconds = metrics.histogram(
            "store_seconds", "Time of store operations", labels=("operation",)
        )
        self._missed = metrics.counter(
            "dual_write_failures_total",
            "Records that a collection being promoted did not get with their import or change",
        )

    def open(self, collection: Collection, *, others: Iterable[Collection] = ()) -> None:
        """Sets the collection that answers, and those from which deletions are to go as well."""
        version = collection.model_version
        self._others = tuple(each for each in others if each.model_version != version)
        if self._target is not None and self._target.model_version == version:
            self.follow(None)
        self._collection = collection

    def follow(self, target: Collection | None) -> None:
        """Sets the collection that is being promoted, which then gets what is written."""
        before, self._target = self._target, target
        if target is None or before is None or target.model_version != before.model_version:
            self._changed = set()
        if target is not None:
            others = (each for each in self._others if each.model_version != target.model_version)
            self._others = (*others, target)

    def listen(self, tell: Callable[[Iterable[uuid.UUID]], None]) -> None:
        """Has someone told of records that were stored, changed or deleted, in some thread."""
        self._listeners.append(tell)

    def _tell(self, ids: Iterable[uuid.UUID]) -> None:
        for tell in self._listeners:
            tell(ids)

    def forget(self, model_version: str) -> None:
        """Lets go of a collection that is to be dropped."""
        self._others = tuple(each for each in self._others if each.model_version != model_version)

    @property
    def target(self) -> Collection | None:
        """The collection that is being promoted."""
        return self._target

    @property
    def others(self) -> tuple[Collection, ...]:
        """The collections that do not answer."""
        return self._others

    @property
    def changed(self) -> int:
        """How many records the collection being promoted has not got as they are."""
        return len(self._changed)

    def take_changed(self) -> list[uuid.UUID]:
        """Those records, which whoever takes them brings up to date. In the thread for writes."""
        taken, self._changed = self._changed, set()
        return list(taken)

    def put_back(self, ids: Iterable[uuid.UUID]) -> None:
        """Takes note again of records that were not brought up to date."""
        self._changed.update(ids)

    @property
    def collection(self) -> Collection:
        """The collection that answers.

        Raises:
            errors.Unavailable: The service is starting.
        """
        if self._collection is None:
            raise errors.Unavailable(
                "The search service is starting: it waits for the embedder.", retry_after=1.0
            )
        return self._collection

    async def read(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a call that reads from the store in a thread, and measures it."""
        return await self._run(self._reads, operation, lambda: call(*args, **kwargs))

    async def write(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a call that changes the store in the one thread for that.

        It runs to its end even when the caller is cancelled, who learns of that only then.
        """
        return await _to_its_end(self._run(self._writes, operation, lambda: call(*args, **kwargs)))

    def _run(
        self, executor: ThreadPoolExecutor, operation: str, call: Callable[[], T]
    ) -> asyncio.Future[T]:
        def measured() -> T:
            started = time.perf_counter()
            try:
                return call()
            finally:
                self._seconds.labels(operation).observe(time.perf_counter() - started)

        return _in_context(executor, measured)

    async def in_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs file access or decoding in a thread."""
        return await _in_context(self._files, lambda: call(*args, **kwargs))

    async def compute(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs what keeps a core busy in one of as many threads as there are cores.

        They are others than those for files and reads, so that these wait for no computing.
        """
        return await _in_context(self._cores, lambda: call(*args, **kwargs))

    async def complete(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs file access in a thread, to its end even when the caller is cancelled."""
        return await _to_its_end(_in_context(self._files, lambda: call(*args, **kwargs)))

    def pin(self, shas: Iterable[str]) -> None:
        """Keeps bytes from being dropped until `unpin`, although no record refers to them yet."""
        with self._pins_lock:
            self._pins.update(shas)

    def unpin(self, shas: Iterable[str]) -> None:
        """Takes pins back."""
        with self._pins_lock:
            self._pins.subtract(shas)
            self._pins += Counter()

    # What follows blocks and runs in the thread for writes.

    def upsert(self, drafts: Sequence[Draft]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
        """Stores records, marks those with equal bytes, and drops the bytes they replaced.

        Returns:
            The ids that had a record before, whose new one keeps the time when that was created;
            and the ids that were not stored, because another version answers since they were
            embedded.
        """
        collection = self.collection
        version = collection.model_version
        outdated = {draft.id for draft in drafts if version not in draft.vectors}
        drafts = [draft for draft in drafts if draft.id not in outdated]
        if not drafts:
            return set(), outdated
        replaced = collection.retrieve([draft.id for draft in drafts])
        for draft in drafts:
            if draft.id in replaced:
                draft.payload["create_time"] = replaced[draft.id].payload["create_time"]
        # First: a mark without an equal record does no harm, an equal record without one would.
        marked = self._mark_shared({draft.id: draft.payload for draft in drafts})
        if marked:
            self.overwrite_payloads(marked)
        collection.upsert(_points(drafts, version=version))
        self._tell([draft.id for draft in drafts])
        self._upsert_target(drafts)
        kept = {str(draft.payload["sha256"]) for draft in drafts}
        self.drop_unused({str(stored.payload["sha256"]) for stored in replaced.values()} - kept)
        return set(replaced), outdated

    def _upsert_target(self, drafts: Sequence[Draft]) -> None:
        target = self._target
        if target is None:
            return
        points = _points(drafts, version=target.model_version)
        missed = {draft.id for draft in drafts} - {point.id for point in points}
        try:
            if points:
                target.upsert(points)
        except errors.HalftoneError as error:
            # The record is stored, and found; only the promotion has something left to do.
            _log.warning("dual_write_failed", model_version=target.model_version, error=str(error))
            missed |= {point.id for point in points}
        self._missed.inc(len(missed))
        self._changed |= missed

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replaces payloads of records that exist."""
        self.collection.overwrite_payloads(payloads)
        self._tell(payloads)
        if self._target is None:
            return
        try:
            # What it does not have yet, it will get with its payload.
            there = self._target.retrieve(list(payloads))
            self._target.overwrite_payloads({each: payloads[each] for each in there})
        except errors.HalftoneError as error:
            _log.warning("dual_write_failed", error=str(error))
            self._missed.inc(len(payloads))
            self._changed |= set(payloads)

    def _mark_shared(self, payloads: Mapping[uuid.UUID, Payload]) -> dict[uuid.UUID, Payload]:
        """Marks payloads whose bytes other records have too; returns the others to be marked.

        The mark only says that looking for the others is worth it; nobody takes it back. Records
        of which there are two or more with the same bytes have it all.
        """
        by_sha: dict[str, list[Payload]] = {}
        for payload in payloads.values():
            by_sha.setdefault(payload["sha256"], []).append(payload)
        condition = Filter(must=(AnyOf("sha256", tuple(sorted(by_sha))),))
        counts = dict(self.collection.facet("sha256", filter=condition, limit=len(by_sha)))
        single = tuple(sorted(sha for sha, count in counts.items() if count == 1))
        others: dict[uuid.UUID, Payload] = {}
        if single:
            for stored in self.collection.scan(filter=Filter(must=(AnyOf("sha256", single),))):
                if stored.id in payloads:
                    counts[stored.payload["sha256"]] = 0
                elif not stored.payload.get("shared"):
                    others[stored.id] = {**stored.payload, "shared": True}
        for sha256, equal in by_sha.items():
            if len(equal) > 1 or counts.get(sha256, 0) > 0:
                for payload in equal:
                    payload["shared"] = True
        return others

    def delete(self, stored: Sequence[Stored]) -> None:
        """Deletes records everywhere, then the bytes that no record refers to any more."""
        ids = [record.id for record in stored]
        # From the one that answers last: until then the records can be found to be deleted again.
        for other in self._others:
            try:
                other.delete(ids)
            except errors.NotFound:
                # Another process has dropped the collection.
                self.forget(other.model_version)
        self.collection.delete(ids)
        self._tell(ids)
        self.drop_unused({str(record.payload["sha256"]) for record in stored})

    def drop_unused(self, shas: Iterable[str]) -> None:
        """Drops the bytes that no record refers to and no import is about to refer to.

        What cannot be dropped stays: the records were stored or deleted before, and whoever asked
        for that is not to be told that it failed.
        """
        for sha256 in shas:
            # The lock is held while the file goes, so that an import that pins the bytes after
            # this looked stores them again after they are gone.
            with self._pins_lock:
                if self._pins[sha256]:
                    continue
                try:
                    if self.collection.count(Filter(must=(AnyOf("sha256", (sha256,)),))) == 0:
                        self.blobs.delete(sha256)
                except errors.HalftoneError as error:
                    _log.warning("bytes_not_dropped", sha256=sha256, error=error.message)

    # What follows reads.

    def stored(
        self, name: Name, *, vectors: bool = False, collection: Collection | None = None
    ) -> Stored:
        """A record by its name, from the collection that answers unless another is given.

        Raises:
            errors.NotFound: There is none.
        """
        found = (collection or self.collection).retrieve([name.point_id], vectors=vectors)
        if name.point_id not in found:
            raise errors.NotFound(
                f"There is no image {name}.", resource_type="image", resource_name=str(name)
            )
        return found[name.point_id]

    def same_content(self, stored: Sequence[Stored]) -> dict[uuid.UUID, list[str]]:
        """For each record the names of others with the same bytes, the first hundred.

        Of bytes that more records have than are looked at, any hundred.
        """
        shas = {record.payload["sha256"] for record in stored if record.payload.get("shared")}
        if not shas:
            return {}
        names: dict[str, set[tuple[str, uuid.UUID]]] = {}

        def look(looked_for: Iterable[str], *, limit: int) -> int:
            condition = Filter(must=(AnyOf("sha256", tuple(sorted(looked_for))),))
            scan = self.collection.scan(filter=condition, page=_PAGE)
            seen = 0
            for other in itertools.islice(scan, limit):
                name = f"archives/{other.payload['archive']}/images/{other.payload['image_id']}"
                names.setdefault(other.payload["sha256"], set()).add((name, other.id))
                seen += 1
            return seen

        limit = max(_MAX_LOOKED_AT, _LOOKED_AT_EACH * len(shas))
        if look(shas, limit=limit) == limit and len(shas) > 1:
            # What is there very often may have left no room for the rest.
            share = max(_MAX_SHARED + 1, _MAX_LOOKED_AT // len(shas))
            for sha256 in shas:
                look((sha256,), limit=share)
        return {
            record.id: [
                name
                for name, point_id in sorted(names.get(record.payload["sha256"], ()))
                if point_id != record.id
            ][:_MAX_SHARED]
            for record in stored
        }

    def close(self) -> None:
        """Waits for what runs in the threads."""
        for executor in (self._reads, self._writes, self._cores, self._files):
            executor.shutdown(wait=True)


def _points(drafts: Sequence[Draft], *, version: str) -> list[Point]:
    return [
        Point(
            id=draft.id,
            vector=draft.vectors[version],
            payload=dict(draft.payload),
            pdq=draft.pdq,
            words=draft.words,
        )
        for draft in drafts
        if version in draft.vectors
    ]


async def _to_its_end(running: asyncio.Future[T]) -> T:
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # Unlike awaiting it, this does not pass a cancellation on.
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Whoever asked is gone; a failure is looked at so that asyncio does not complain of it.
        running.exception()
        raise cancelled
    return running.result()


def _in_context(executor: ThreadPoolExecutor, call: Callable[[], T]) -> asyncio.Future[T]:
    """Runs a call in a thread that logs under the request's id."""
    run = functools.partial(contextvars.copy_context().run, call)
    return asyncio.get_running_loop().run_in_executor(executor, run)
