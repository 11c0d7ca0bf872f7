"""Brings the collection of one model version in step with the collection of another.

Records that are missing or show another picture are embedded from the blob store. If only the
payload of a record differs, the payload is rewritten. Both collections are compared to find these
records, so that an interrupted run continues at the cost of reading them again. Each record is read
once more in the thread for writes right before it is written, because another write may have come
between.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry, wire
from halftone.core.batches import batched
from halftone.imaging.orientations import UPRIGHT
from halftone.services.search.archive.patience import EMBEDDER, STORE
from halftone.services.search.promotion.cancellation import StopPromotion
from halftone.services.search.store.port import EVERYTHING, Point
from halftone.v1 import embedder_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from collections.abc import Set as AbstractSet

    import numpy as np

    from halftone.services.search.archive.embedder_client import ImageDescriptors
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.promotion.background import Background
    from halftone.services.search.store.port import Collection, Payload, Stored

PAGE: Final = 32
"""Records that are compared at a time. Edge holds the interpreter lock for about 2 ms for them."""

_log = telemetry.get_logger(__name__)


class _CutOff(Exception):  # noqa: N818 - the store's error is the one that is told
    """The store did not answer in the middle of a scan, which must start over."""

    def __init__(self, error: errors.HalftoneError, *, pages: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.pages = pages


class Sync:
    """Makes the collection `target` hold the records of the collection `source`.

    Attributes:
        target: The collection that is brought in step.
        failed: The bytes (SHA-256) of records that the version could not embed, by id.
    """

    def __init__(
        self,
        *,
        source: Collection,
        target: Collection,
        parts: Parts,
        work: Background,
    ) -> None:
        """Prepare the sync. Nothing is read yet.

        Args:
            source: The collection that is read.
            target: The collection that is brought in step.
            parts: The shared parts of the service.
            work: Runs the calls beside searches, and ends the sync if asked to.
        """
        self.target = target
        self._source = source
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._work = work
        self.failed: dict[uuid.UUID, str] = {}

    async def sync_all(
        self,
        look: Callable[[Sequence[Stored], int], None],
        *,
        begin: Callable[[], None] = lambda: None,
    ) -> int:
        """Bring all records of the source in step.

        Args:
            look: Called with each page of records and the number of them that have to be embedded.
            begin: Called before the first page, and again when the scan starts over because the
                store did not answer.

        Returns:
            The number of records that were not in step.

        Raises:
            errors.HalftoneError: The store or the embedder did not answer in time, or the disk is
                full.
        """

        async def through() -> int:
            begin()
            return await self._run(self._pages(self._source), look)

        return await self._from_the_start(through)

    async def _from_the_start(self, through: Callable[[], Awaitable[int]]) -> int:
        """Repeat a scan from its first page when it is cut off, for a limited time."""
        outage = self._work.outage()
        while True:
            try:
                return await through()
            except _CutOff as cut:
                if cut.pages:
                    outage.end()
                await outage.wait(cut.error)

    async def sync_some(self, ids: Sequence[uuid.UUID]) -> int:
        """Bring the records with these ids in step. Returns how many of them were not in step."""

        async def pages() -> AsyncGenerator[list[Stored], None]:
            for part in batched(ids, PAGE):
                found = await self._work.read("retrieve", self._source.retrieve, part)
                yield list(found.values())

        return await self._run(pages(), lambda _page, _lacking: None)

    async def delete_strays(self, *, spared: AbstractSet[uuid.UUID]) -> int:
        """Delete the records of the target that the source does not have.

        Such records were deleted, and the deletion did not reach the target.

        Args:
            spared: Records that the source lacks because its version could not embed them. They are
                kept, for a return to a version that could.

        Returns:
            The number of deleted records.
        """
        swept = 0

        async def through() -> int:
            nonlocal swept
            async for page in self._pages(self.target):
                ids = {stored.id for stored in page} - spared
                async with self._work.pace.turn():
                    swept += await self._work.write("sweep", self._delete_some_strays, ids)
            return swept

        return await self._from_the_start(through)

    def _delete_some_strays(self, ids: AbstractSet[uuid.UUID]) -> int:
        strays = list(ids - set(self._source.retrieve(list(ids))))
        if strays:
            self.target.delete(strays)
        return len(strays)

    async def _pages(self, collection: Collection) -> AsyncGenerator[list[Stored], None]:
        scan = collection.scan(filter=EVERYTHING, page=PAGE)
        for pages in itertools.count():
            self._work.check()
            try:
                page = await self._holdings.threads.read(
                    "scan", lambda: list(itertools.islice(scan, PAGE))
                )
            except STORE as error:
                raise _CutOff(error, pages=pages) from error
            if not page:
                return
            yield page

    async def _run(
        self,
        pages: AsyncGenerator[list[Stored], None],
        look: Callable[[Sequence[Stored], int], None],
    ) -> int:
        waiting: asyncio.Queue[Stored | None] = asyncio.Queue(maxsize=4 * PAGE)
        count = 0
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._work.workers):
                    group.create_task(self._embed_waiting(waiting))
                async for page in pages:
                    async with self._work.pace.turn():
                        lacking, described = await self._compare(page)
                    for stored in lacking:
                        await waiting.put(stored)
                    count += len(lacking) + described
                    look(page, len(lacking))
                for _ in range(self._work.workers):
                    await waiting.put(None)
        except ExceptionGroup as group_of_errors:
            raise _decisive(group_of_errors.exceptions) from group_of_errors
        return count

    async def _compare(self, page: Sequence[Stored]) -> tuple[list[Stored], int]:
        """Compare a page of records and rewrite the payloads that differ.

        Returns:
            The records that have to be embedded, and the number of rewritten payloads.
        """
        ids = [stored.id for stored in page]
        there = await self._work.read("retrieve", self.target.retrieve, ids)
        lacking, differing = [], []
        for stored in page:
            other = there.get(stored.id)
            if other is not None and _is_newer(other.payload, stored.payload):
                continue
            if other is None or other.payload["sha256"] != stored.payload["sha256"]:
                if self.failed.get(stored.id) != stored.payload["sha256"]:
                    lacking.append(stored)
            elif other.payload != stored.payload:
                differing.append(stored.id)
        if differing:
            await self._work.write("overwrite_payloads", self._describe, differing)
        return lacking, len(differing)

    def _describe(self, ids: Sequence[uuid.UUID]) -> None:
        current, there = self._source.retrieve(ids), self.target.retrieve(ids)
        self.target.overwrite_payloads(
            {
                stored.id: stored.payload
                for stored in current.values()
                if stored.id in there
                and there[stored.id].payload["sha256"] == stored.payload["sha256"]
                and not _is_newer(there[stored.id].payload, stored.payload)
            }
        )

    async def _embed_waiting(self, waiting: asyncio.Queue[Stored | None]) -> None:
        ended = False
        while not ended:
            piece: list[Stored] = []
            size = self._work.pace.size()
            while len(piece) < size and not ended:
                # Wait for the first one, then take those that are there already.
                if piece and waiting.empty():
                    break
                stored = await waiting.get()
                if stored is None:
                    ended = True
                else:
                    piece.append(stored)
            if piece:
                await self._embed(piece)

    async def _embed(self, piece: Sequence[Stored]) -> None:
        images: list[tuple[Stored, bytes]] = []
        size = 0
        for stored in piece:
            content = await self._content(stored)
            if content is None:
                continue
            if images and size + len(content) > wire.MAX_IMAGE_BYTES:
                await self._embed_and_commit(images)
                images, size = [], 0
            images.append((stored, content))
            size += len(content)
        if images:
            await self._embed_and_commit(images)

    async def _content(self, stored: Stored) -> bytes | None:
        blobs, sha256 = self._holdings.blobs, stored.payload["sha256"]
        try:
            return await self._work.repeat(self._holdings.threads.in_thread, blobs.get, sha256)
        except (errors.NotFound, errors.DataLoss) as error:
            await self._work.write("retrieve", self._fail, stored, error)
            return None

    async def _embed_and_commit(self, images: Sequence[tuple[Stored, bytes]]) -> None:
        inputs = [embedder_pb2.ImageInput(content=content) for _, content in images]
        outage = self._work.outage()
        while True:
            self._work.check()
            try:
                async with self._work.pace.turn():
                    started = time.monotonic()
                    found = await self._embedder.embed(
                        inputs, model_version=self.target.model_version, patience=0.0
                    )
                    self._work.pace.record_time(len(inputs), seconds=time.monotonic() - started)
                    await self._holdings.threads.write(
                        "upsert", self._commit, [stored for stored, _ in images], found
                    )
            except EMBEDDER as error:
                await outage.wait(error)
            else:
                return

    def _commit(
        self, embedded: Sequence[Stored], results: Sequence[ImageDescriptors | errors.HalftoneError]
    ) -> None:
        ids = [stored.id for stored in embedded]
        # Hash and words are of the picture alone: they are copied.
        current, there = self._source.retrieve(ids, vectors=True), self.target.retrieve(ids)
        points = []
        for stored, result in zip(embedded, results, strict=True):
            if isinstance(result, errors.HalftoneError):
                self._fail(stored, result)
                continue
            now = current.get(stored.id)
            if now is None or now.payload["sha256"] != stored.payload["sha256"]:
                # It was deleted, or replaced by the importer, which wrote to both collections.
                continue
            other = there.get(stored.id)
            if other is None or not _is_newer(other.payload, now.payload):
                vector: np.ndarray = result.vectors[UPRIGHT]
                points.append(
                    Point(
                        id=stored.id,
                        vector=vector,
                        payload=now.payload,
                        pdq=now.pdq,
                        words=now.words,
                    )
                )
                self.failed.pop(stored.id, None)
        if points:
            self.target.upsert(points)

    def _fail(self, stored: Stored, error: errors.HalftoneError) -> None:
        sha256 = stored.payload["sha256"]
        current = self._source.retrieve([stored.id]).get(stored.id)
        if current is None or current.payload["sha256"] != sha256:
            return
        self.failed[stored.id] = sha256
        _log.warning(
            "image_not_embedded",
            model_version=self.target.model_version,
            image=str(stored.payload.get("image_id")),
            reason=error.reason,
            error=error.message,
        )


def _decisive(problems: Sequence[Exception]) -> Exception:
    """Return the error that decides how to continue. The order of `problems` is arbitrary.

    A request to stop comes first, then bugs, then errors that end the promotion. A scan that was
    cut off, which is tried again, comes last.
    """

    def rank(problem: Exception) -> int:
        if isinstance(problem, StopPromotion):
            return 0
        if isinstance(problem, _CutOff):
            return 3
        return 2 if isinstance(problem, errors.HalftoneError) else 1

    return min(problems, key=rank)


def _is_newer(payload: Payload, other: Payload) -> bool:
    return bool(payload["update_time"] > other["update_time"])
