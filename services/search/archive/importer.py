"""Imports: records in, one acknowledgement per record out, in the same order.

    stream → prepare (read, hash, check; threads) → batches → look up → bytes to the blob store,
    fingerprints (threads) and pictures to the embedder, side by side → commit (one thread) →
    acknowledgements

A few records are prepared ahead and a few batches are under way at a time, so that the slowest
stage always has the next batch waiting; beyond that the stream is not read, and its flow control
stops the sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from halftone.archive import records
from halftone.core import errors, telemetry, wire
from halftone.imaging.orientations import UPRIGHT
from halftone.service import server
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.intake import content_of
from halftone.services.search.archive.patience import Outage
from halftone.services.search.archive.record_writer import Draft
from halftone.v1 import embedder_pb2, search_pb2

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from halftone.services.search.archive.embedder_client import ImageDescriptors
    from halftone.services.search.archive.fingerprints import Print
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.store.port import Payload, Stored

    _Outcome = search_pb2.ImportImagesResponse.State | errors.HalftoneError
    _Vectors = tuple[str, Sequence[ImageDescriptors | errors.HalftoneError]]
    """A model version, and what it made of each picture."""

State = search_pb2.ImportImagesResponse.State

_PREPARED_AHEAD: Final = 8
_MAX_NAMES: Final = 100_000
"""Records of one import that are remembered, to tell when one is sent again."""
_LINGER_SECONDS: Final = 0.05
"""How long a batch waits for its next record; a sender that waits for answers gets them."""
_TARGET_PATIENCE: Final = 1.0
_TARGET_SECONDS: Final = 10.0
"""What an import waits at most for the version that is being promoted."""

_log = telemetry.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Item:
    """A record on its way. `outcome` is set when nothing is left to do but say so."""

    row: int
    name: str
    point_id: uuid.UUID | None = None
    payload: Payload = field(default_factory=dict)
    content: bytes = b""
    sha256: str = ""
    existing: Stored | None = None
    named: bool = False
    outcome: _Outcome | None = None

    def answer(self) -> search_pb2.ImportImagesResponse:
        if isinstance(self.outcome, errors.HalftoneError):
            return search_pb2.ImportImagesResponse(
                row=self.row,
                name=self.name,
                state=State.REJECTED,
                error=errors.to_status(self.outcome, request_id=telemetry.request_id()),
            )
        return search_pb2.ImportImagesResponse(row=self.row, name=self.name, state=self.outcome)


class Importer:
    """Takes streams of records into the holdings."""

    def __init__(self, parts: Parts) -> None:
        """Begin without an import."""
        settings, metrics = parts.settings, parts.metrics
        self._holdings = parts.holdings
        self._embedder = parts.embedder
        self._fingerprints = parts.fingerprints
        self._settings = settings
        self._roots = tuple(root.resolve() for root in settings.import_roots)
        self._limit = min(settings.max_image_bytes, wire.MAX_IMAGE_BYTES)
        self._draining = asyncio.Event()
        self._records = metrics.counter(
            "import_records_total", "Imported records", labels=("state",)
        )
        self._without = metrics.counter(
            "import_fingerprint_failures_total",
            "Imported records whose picture could not be fingerprinted: found by descriptor alone",
        )
        self._under_way = metrics.gauge("imports_in_flight", "Imports under way")
        self._imports = 0
        self._tasks: set[asyncio.Task[list[_Item]]] = set()

    def drain(self) -> None:
        """Takes no further records; what was taken is finished and acknowledged."""
        self._draining.set()

    async def run(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest]
    ) -> AsyncGenerator[search_pb2.ImportImagesResponse, None]:
        """Imports a stream of records.

        Returns:
            One acknowledgement per record, in the order of the records.

        Raises:
            errors.ResourceExhausted: There are too many imports already.
            errors.Unavailable: The service is starting, or draining: the records that were not
                acknowledged are to be sent again.
        """
        _ = self._holdings.collection
        if self._imports >= self._settings.max_concurrent_imports:
            raise errors.ResourceExhausted(
                "Too many imports at a time.", retry_after=2.0, reason="TOO_MANY_IMPORTS"
            )
        self._imports += 1
        self._under_way.inc()
        try:
            async with contextlib.aclosing(self._run(requests)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._imports -= 1
            self._under_way.dec()
        if self._draining.is_set():
            raise errors.Unavailable(
                "The service is shutting down; import again what was not acknowledged.",
                retry_after=1.0,
            )

    async def settled(self) -> None:
        """Waits for what imports that were cut off still have to bring to an end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest]
    ) -> AsyncGenerator[search_pb2.ImportImagesResponse, None]:
        names: dict[str, None] = {}
        outage = Outage(seconds=self._settings.import_patience_seconds)
        # The batch at the front is being acknowledged while others are under way.
        under_way: asyncio.Queue[asyncio.Task[list[_Item]] | None] = asyncio.Queue(
            maxsize=max(self._settings.import_window - 1, 1)
        )

        async def process(batch: list[_Item]) -> None:
            task = asyncio.create_task(self._process(batch, names=names, outage=outage))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                await under_way.put(task)
            except asyncio.CancelledError:
                task.cancel()
                raise

        async def produce() -> None:
            try:
                async with contextlib.aclosing(self._batches(requests, names=names)) as batches:
                    async for batch in batches:
                        await process(batch)
            finally:
                # Also where this failed, which is raised by who waits for the end.
                await under_way.put(None)

        producer = asyncio.create_task(produce())
        task: asyncio.Task[list[_Item]] | None = None
        try:
            while True:
                task = await under_way.get()
                if task is None:
                    break
                for item in await task:
                    yield self._answer(item)
            await producer
        finally:
            await _abandon(under_way, [producer] if task is None else [producer, task])

    def _answer(self, item: _Item) -> search_pb2.ImportImagesResponse:
        answer = item.answer()
        self._records.labels(State.Name(answer.state).lower()).inc()
        return answer

    async def _batches(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest], *, names: dict[str, None]
    ) -> AsyncGenerator[list[_Item], None]:
        """Groups prepared records: as many as embed together, or what came in a moment."""
        prepared: asyncio.Queue[asyncio.Task[_Item] | None] = asyncio.Queue(_PREPARED_AHEAD)
        reader = asyncio.create_task(self._read(requests, prepared))
        batch: list[_Item] = []
        size = 0
        try:
            while True:
                linger = _LINGER_SECONDS if batch else None
                try:
                    async with asyncio.timeout(linger):
                        task = await prepared.get()
                except TimeoutError:
                    yield batch
                    batch, size = [], 0
                    continue
                if task is None:
                    break
                item = await task
                _claim_name(item, names=names)
                if batch and size + len(item.content) > wire.MAX_IMAGE_BYTES:
                    yield batch
                    batch, size = [], 0
                batch.append(item)
                size += len(item.content)
                if len(batch) == self._settings.import_batch:
                    yield batch
                    batch, size = [], 0
            if batch:
                yield batch
            await reader
        finally:
            reader.cancel()
            while not prepared.empty():
                if (waiting := prepared.get_nowait()) is not None:
                    waiting.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self,
        requests: AsyncIterator[search_pb2.ImportImagesRequest],
        prepared: asyncio.Queue[asyncio.Task[_Item] | None],
    ) -> None:
        """Reads the stream as far ahead as there is room, until it ends or the service drains."""
        draining = asyncio.ensure_future(self._draining.wait())
        reading: asyncio.Future[search_pb2.ImportImagesRequest | None] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    break
                request = reading.result()
                if request is None:
                    break
                await prepared.put(
                    asyncio.create_task(self._holdings.threads.in_thread(self._prepare, request))
                )
        finally:
            # Whatever waits for nobody any more would be destroyed while it waits.
            draining.cancel()
            if reading is not None:
                reading.cancel()
            # The end is also put where reading failed; the failure is raised by who waits for it.
            await prepared.put(None)

    def _prepare(self, request: search_pb2.ImportImagesRequest) -> _Item:
        item = _Item(row=request.row, name=request.image.name)
        try:
            name = records.validate(request.image)
            item.point_id = name.point_id
            item.payload = payloads.to_payload(request.image, name=name)
            item.content = content_of(request, roots=self._roots, limit=self._limit)
        except Exception as error:  # noqa: BLE001 - every record is answered, also when there is a bug
            item.outcome = server.outward(error, image=item.name)
        else:
            item.sha256 = hashlib.sha256(item.content).hexdigest()
        return item

    async def _process(
        self, batch: list[_Item], *, names: dict[str, None], outage: Outage
    ) -> list[_Item]:
        """Brings a batch to its end; every item has an outcome when it returns."""
        try:
            await self._store(batch, outage=outage)
        except Exception as error:  # noqa: BLE001 - every record is answered, also when there is a bug
            _finish(batch, server.outward(error, images=f"{len(batch)} records"))
        for item in batch:
            # A record that was refused may be sent again, corrected.
            if item.named and isinstance(item.outcome, errors.HalftoneError):
                names.pop(item.name, None)
        return batch

    async def _store(self, batch: Sequence[_Item], *, outage: Outage) -> None:
        holdings = self._holdings
        ids = [item.point_id for item in batch if item.outcome is None and item.point_id]
        if not ids:
            return
        existing = await holdings.threads.read("retrieve", holdings.collection.retrieve, ids)
        changed: list[_Item] = []
        known: list[_Item] = []
        for item in batch:
            if item.outcome is not None or item.point_id is None:
                continue
            item.existing = existing.get(item.point_id)
            if item.existing is None or item.existing.payload["sha256"] != item.sha256:
                changed.append(item)
            else:
                known.append(item)
        await self._keep_again(known)
        described: list[_Item] = []
        for item in known:
            if item.outcome is not None or item.existing is None:
                continue
            if payloads.describes(item.existing.payload, item.payload):
                item.outcome = State.UNCHANGED
            else:
                described.append(item)
        if described:
            await self._describe(described)
        if changed:
            await self._embed_and_commit(changed, outage=outage)

    async def _describe(self, items: Sequence[_Item]) -> None:
        """Writes records whose pictures are the same: nothing is embedded."""

        def write() -> None:
            collection = self._holdings.collection
            current = collection.retrieve([item.point_id for item in items if item.point_id])
            new: dict[uuid.UUID, Payload] = {}
            for item in items:
                stored = current.get(item.point_id) if item.point_id else None
                if stored is None or stored.payload["sha256"] != item.sha256:
                    item.outcome = errors.Unavailable(
                        f"{item.name} was changed by somebody else meanwhile; import it again.",
                        reason="CHANGED_MEANWHILE",
                    )
                else:
                    new[stored.id] = payloads.redescribed(stored.payload, item.payload)
            if new:
                self._holdings.writer.overwrite_payloads(new)

        await self._holdings.threads.write("overwrite_payloads", write)
        _finish(items, State.UPDATED)

    async def _embed_and_commit(self, items: Sequence[_Item], *, outage: Outage) -> None:
        holdings = self._holdings
        pinned = [item.sha256 for item in items]
        drafts: list[Draft] = []
        updated: set[uuid.UUID] = set()
        outdated: set[uuid.UUID] = set()

        def commit() -> None:
            unused = set(pinned)
            try:
                if drafts:
                    had, left = holdings.writer.upsert(drafts)
                    updated.update(had)
                    outdated.update(left)
                    unused -= {each.payload["sha256"] for each in drafts if each.id not in left}
            finally:
                holdings.originals.unpin(pinned)
                holdings.originals.drop_unused(unused)

        try:
            # To its end, like the commit that takes it back.
            await holdings.threads.complete(holdings.originals.pin, pinned)
            tasks = (
                asyncio.ensure_future(self._keep(items)),
                asyncio.ensure_future(self._embed(items, outage=outage)),
                asyncio.ensure_future(self._embed_for_target(items)),
                asyncio.ensure_future(self._fingerprint(items)),
            )
            # All to their ends: bytes that are still being written could not be dropped.
            await asyncio.gather(*tasks, return_exceptions=True)
            tasks[0].result()
            drafts += _drafts(
                items,
                embedded=tasks[1].result(),
                also=tasks[2].result(),
                prints=tasks[3].result(),
            )
            self._without.inc(sum(draft.pdq is None for draft in drafts))
        finally:
            await holdings.threads.write("upsert", commit)
        # Another process that looked before this commit may have dropped the bytes after it.
        await self._keep_again(
            [item for item in items if item.outcome is None and item.point_id not in outdated]
        )
        for item in items:
            if item.outcome is None and item.point_id not in outdated:
                item.outcome = State.UPDATED if item.point_id in updated else State.CREATED
        if outdated:
            # Another version answers since these were embedded.
            left = [item for item in items if item.outcome is None]
            await self._embed_and_commit(left, outage=outage)

    async def _keep(self, items: Sequence[_Item]) -> None:
        """Writes the bytes of the pictures to the blob store."""

        async def keep(item: _Item) -> None:
            try:
                await self._holdings.threads.complete(
                    self._holdings.blobs.put, item.content, sha256=item.sha256
                )
            except Exception as error:  # noqa: BLE001 - every record is answered
                item.outcome = server.outward(error, image=item.name)

        # All to their ends, also when this is cancelled.
        for ended in await asyncio.gather(*map(keep, items), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _keep_again(self, items: Sequence[_Item]) -> None:
        """Writes the bytes of records that are stored where they are gone or damaged.

        To look costs a call to the file system for each record; where all is well, nothing else.
        """
        holdings = self._holdings

        async def lost(item: _Item) -> bool:
            try:
                return not await holdings.threads.in_thread(
                    holdings.blobs.whole, item.sha256, size=len(item.content)
                )
            except errors.HalftoneError as error:
                item.outcome = error
                return False

        found = await asyncio.gather(*map(lost, items))
        gone = [item for item, is_lost in zip(items, found, strict=True) if is_lost]
        if not gone:
            return
        _log.warning("bytes_kept_again", images=[item.name for item in gone])
        pinned = [item.sha256 for item in gone]

        def unpin() -> None:
            holdings.originals.unpin(pinned)
            # Of records that were deleted meanwhile.
            holdings.originals.drop_unused(set(pinned))

        try:
            await holdings.threads.complete(holdings.originals.pin, pinned)
            await self._keep(gone)
        finally:
            await holdings.threads.write("unpin", unpin)

    async def _fingerprint(self, items: Sequence[_Item]) -> list[Print | None]:
        """Fingerprints the pictures, and keeps their local features.

        A record is not refused for what goes wrong here: it is found by its descriptor all the
        same, and its features are made when they are needed.
        """

        async def one(item: _Item) -> Print | None:
            made: Print | None = None
            try:
                made = await self._holdings.threads.compute(
                    self._fingerprints.of_archive, item.content, sha256=item.sha256
                )
                if made.unkept is not None:
                    await self._holdings.threads.complete(
                        self._fingerprints.keep, made.unkept, sha256=item.sha256
                    )
            except errors.ImageRejected:
                # The embedder says why; and what it takes nevertheless is imported.
                _log.info("not_fingerprinted", image=item.name)
            except Exception as error:  # noqa: BLE001 - see above
                _log.exception("not_fingerprinted", image=item.name, error=str(error))
            return made

        found: list[Print | None] = []
        # All to their ends, also when this is cancelled.
        for ended in await asyncio.gather(*map(one, items), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
            found.append(ended)
        return found

    async def _embed(self, items: Sequence[_Item], *, outage: Outage) -> _Vectors:
        """Embeds the pictures; an item whose picture is refused gets that as its outcome."""
        model_version = self._holdings.collection.model_version
        started = time.monotonic()
        try:
            found = await self._embedder.embed(
                [embedder_pb2.ImageInput(content=item.content) for item in items],
                model_version=model_version,
                patience=outage.left(),
            )
        except (errors.Unavailable, errors.ResourceExhausted, errors.DeadlineExceeded):
            outage.begin(since=started)
            raise
        except errors.NotFound as error:
            raise errors.FailedPrecondition(
                f"The embedder does not have {model_version} loaded.", subject=model_version
            ) from error
        outage.end()
        for item, result in zip(items, found, strict=True):
            if isinstance(result, errors.HalftoneError):
                item.outcome = result
        return model_version, found

    async def _embed_for_target(self, items: Sequence[_Item]) -> _Vectors | None:
        """Embeds the pictures for the version that is being promoted, as far as that works.

        What does not is the promotion's to catch up with: it never refuses a record.
        """
        target = self._holdings.collections.target
        if target is None:
            return None
        try:
            found = await self._embedder.embed(
                [embedder_pb2.ImageInput(content=item.content) for item in items],
                model_version=target.model_version,
                patience=_TARGET_PATIENCE,
                deadline=time.monotonic() + _TARGET_SECONDS,
            )
        except errors.HalftoneError as error:
            _log.warning(
                "not_embedded_for_promotion",
                model_version=target.model_version,
                images=len(items),
                error=error.message,
            )
            return None
        return target.model_version, found


def _drafts(
    items: Sequence[_Item],
    *,
    embedded: _Vectors,
    also: _Vectors | None,
    prints: Sequence[Print | None],
) -> list[Draft]:
    """What is to be stored of the records whose pictures were embedded."""
    now = time.time_ns() // 1000
    drafts = []
    for at, item in enumerate(items):
        found = embedded[1][at]
        if item.outcome is not None or isinstance(found, errors.HalftoneError):
            continue
        assert item.point_id is not None  # noqa: S101 - only checked records come here
        payload = {
            **item.payload,
            "sha256": item.sha256,
            "width": found.width,
            "height": found.height,
            "create_time": now,
            "update_time": now,
        }
        vectors = {}
        for version, results in (embedded, also) if also else (embedded,):
            result = results[at]
            if not isinstance(result, errors.HalftoneError):
                vectors[version] = result.vectors[UPRIGHT]
        pdq, words, _ = prints[at] or (None, None, None)
        drafts.append(
            Draft(id=item.point_id, payload=payload, vectors=vectors, pdq=pdq, words=words)
        )
    return drafts


async def _abandon(
    under_way: asyncio.Queue[asyncio.Task[list[_Item]] | None], tasks: list[asyncio.Task[Any]]
) -> None:
    """Ends what an import that is over, or was cancelled, has left running."""
    while not under_way.empty():
        if (waiting := under_way.get_nowait()) is not None:
            tasks.append(waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _claim_name(item: _Item, *, names: dict[str, None]) -> None:
    """Refuses a record whose name came before; only the last names are remembered."""
    if item.outcome is not None:
        return
    if item.name in names:
        item.outcome = errors.InvalidArgument(
            f"image.name: {item.name} was already sent in this import; if that record is refused, "
            "this one can be sent again.",
            field="image.name",
            reason="DUPLICATE_ID",
        )
        return
    item.named = True
    names[item.name] = None
    if len(names) > _MAX_NAMES:
        del names[next(iter(names))]


def _finish(items: Sequence[_Item], outcome: _Outcome) -> None:
    for item in items:
        if item.outcome is None:
            item.outcome = outcome
