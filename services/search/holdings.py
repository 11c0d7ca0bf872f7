"""What the service holds: the active collection and the image bytes, and the threads that use them.

Reads run in a few threads. All writes run in one, so that what reads before it writes (equal bytes
under two names, bytes that nothing refers to any more) needs no further lock.
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
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from halftone import errors
from services.search.store import AnyOf, Filter, Payload, Point, Stored

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from halftone.records import Name
    from halftone.telemetry import Metrics
    from services.search.blobs import Blobs
    from services.search.store import Collection

P = ParamSpec("P")
T = TypeVar("T")

_MAX_SHARED: Final = 100
_MAX_LOOKED_AT: Final = 2_000
"""Records with equal bytes that are looked at for one answer: a logo may be there 10,000 times."""


class Holdings:
    """A collection, the blobs its records refer to, and the threads that use them."""

    def __init__(self, *, blobs: Blobs, metrics: Metrics) -> None:
        """Starts no thread yet; `open` sets the collection."""
        self.blobs = blobs
        self._collection: Collection | None = None
        cores = os.cpu_count() or 1
        self._reads = ThreadPoolExecutor(max_workers=cores + 2, thread_name_prefix="store-read")
        self._writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-write")
        self._files = ThreadPoolExecutor(max_workers=cores + 6, thread_name_prefix="files")
        self._pins: Counter[str] = Counter()
        self._pins_lock = threading.Lock()
        self._seconds = metrics.histogram(
            "store_seconds", "Time of store operations", labels=("operation",)
        )

    def open(self, collection: Collection) -> None:
        """Sets the collection that answers."""
        self._collection = collection

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

    async def search(
        self, operation: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a short call that reads from the store, in a thread only where that helps.

        Calls to a store in this process hold the interpreter lock from beginning to end: in a
        thread they would stop the event loop just as long, and the change of threads costs more
        than a tenth of a millisecond on top.
        """
        if not self.collection.holds_interpreter:
            return await self.read(operation, call, *args, **kwargs)
        with self._seconds.labels(operation).time():
            return call(*args, **kwargs)

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

    def upsert(self, points: Sequence[Point]) -> set[uuid.UUID]:
        """Stores records, marks those with equal bytes, and drops the bytes they replaced.

        Returns:
            The ids that had a record before; the new ones keep the time when that was created.
        """
        if not points:
            return set()
        replaced = self.collection.retrieve([point.id for point in points])
        for point in points:
            if point.id in replaced:
                point.payload["create_time"] = replaced[point.id].payload["create_time"]
        # First: a mark without an equal record does no harm, an equal record without one would.
        marked = self._mark_shared({point.id: point.payload for point in points})
        if marked:
            self.collection.overwrite_payloads(marked)
        self.collection.upsert(points)
        kept = {str(point.payload["sha256"]) for point in points}
        self.drop_unused({str(stored.payload["sha256"]) for stored in replaced.values()} - kept)
        return set(replaced)

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
        """Deletes records, then the bytes that no record refers to any more."""
        self.collection.delete([record.id for record in stored])
        self.drop_unused({str(record.payload["sha256"]) for record in stored})

    def drop_unused(self, shas: Iterable[str]) -> None:
        """Drops the bytes that no record refers to and no import is about to refer to."""
        for sha256 in shas:
            # The lock is held while the file goes, so that an import that pins the bytes after
            # this looked stores them again after they are gone.
            with self._pins_lock:
                if self._pins[sha256]:
                    continue
                if self.collection.count(Filter(must=(AnyOf("sha256", (sha256,)),))) == 0:
                    self.blobs.delete(sha256)

    # What follows reads.

    def stored(self, name: Name, *, vectors: bool = False) -> Stored:
        """A record by its name.

        Raises:
            errors.NotFound: There is none.
        """
        found = self.collection.retrieve([name.point_id], vectors=vectors)
        if name.point_id not in found:
            raise errors.NotFound(
                f"There is no image {name}.", resource_type="image", resource_name=str(name)
            )
        return found[name.point_id]

    def same_content(self, stored: Sequence[Stored]) -> dict[uuid.UUID, list[str]]:
        """For each record the names of others with the same bytes, the first hundred."""
        shas = {record.payload["sha256"] for record in stored if record.payload.get("shared")}
        if not shas:
            return {}
        names: dict[str, set[tuple[str, uuid.UUID]]] = {}
        condition = Filter(must=(AnyOf("sha256", tuple(sorted(shas))),))
        for other in itertools.islice(self.collection.scan(filter=condition), _MAX_LOOKED_AT):
            name = f"archives/{other.payload['archive']}/images/{other.payload['image_id']}"
            names.setdefault(other.payload["sha256"], set()).add((name, other.id))
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
        for executor in (self._reads, self._writes, self._files):
            executor.shutdown(wait=True)


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
