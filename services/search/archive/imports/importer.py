"""Runs imports of records: bounds how many run at a time, and drains them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING

from halftone.archive import records
from halftone.core import errors, wire
from halftone.core.bugs import conceal_bug
from halftone.imaging.formats import tiff_pages
from halftone.service.access import current_caller
from halftone.service.decoding import Undecodable
from halftone.service.turns import Shares
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.imports.attendance import Attendance
from halftone.services.search.archive.imports.batches import BatchImporter, Outages
from halftone.services.search.archive.imports.claims import NameClaims
from halftone.services.search.archive.imports.entry import Entry, State
from halftone.services.search.archive.imports.intake import read_content
from halftone.services.search.archive.imports.reading import read_batches
from halftone.services.search.archive.imports.window import run_in_order
from halftone.services.search.archive.patience import Outage, blames_engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from halftone.services.search.archive.parts import Parts
    from halftone.v1 import search_pb2


class Importer:
    """Imports streams of records into the archive."""

    def __init__(self, parts: Parts) -> None:
        """Create an importer. No import runs yet."""
        settings, metrics = parts.settings, parts.metrics
        self._holdings = parts.holdings
        self._batches = BatchImporter(parts)
        self._settings = settings
        self._roots = tuple(root.resolve() for root in settings.import_roots)
        self._limit = min(settings.max_image_bytes, wire.MAX_IMAGE_BYTES)
        self._draining = asyncio.Event()
        self._records = metrics.counter(
            "import_records_total", "Imported records", labels=("state",)
        )
        self._under_way = metrics.gauge("imports_in_flight", "Imports under way")
        self._shares = Shares(settings.max_concurrent_imports)
        self._tasks: set[asyncio.Task[list[Entry]]] = set()

    def drain(self) -> None:
        """Stop reading records. Records that were read are still stored and acknowledged."""
        self._draining.set()

    async def run(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest | Undecodable]
    ) -> AsyncGenerator[search_pb2.ImportImagesResponse, None]:
        """Import a stream of records and yield one acknowledgement for each, in order.

        A message that cannot be decoded is rejected without row and name, and the others go on.

        Raises:
            errors.ResourceExhausted: Too many imports are working.
            errors.DeadlineExceeded: The stream has sent nothing for long (`IDLE_STREAM`).
            errors.Unavailable: The service is starting or draining, or the store or the embedder
                did not answer for too long. Records without an acknowledgement must be sent again.
            errors.StorageFull: A disk is full; the same holds for records without one.
        """
        _ = self._holdings.collection  # raises while the service is starting
        stream = Attendance(
            self._shares,
            caller=current_caller().id,
            idle_seconds=self._settings.import_idle_seconds,
        )
        self._under_way.inc()
        try:
            async with contextlib.aclosing(self._run(stream.attend(requests))) as batches:
                async for batch in batches:
                    for entry in batch:
                        outcome = entry.outcome
                        if isinstance(outcome, errors.HalftoneError) and blames_engine(outcome):
                            # A record is not rejected for that: whoever sent it would think that
                            # something is wrong with it.
                            raise outcome
                        response = entry.to_response()
                        self._records.labels(State.Name(response.state).lower()).inc()
                        with stream.answering():
                            yield response
        finally:
            stream.leave()
            self._under_way.dec()
        if self._draining.is_set():
            raise _draining()

    async def settle(self) -> None:
        """Wait until the batches of cancelled imports have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _run(
        self, requests: AsyncIterator[search_pb2.ImportImagesRequest | Undecodable]
    ) -> AsyncGenerator[list[Entry], None]:
        claims = NameClaims()

        def stop_for_drain() -> None:
            if self._draining.is_set():
                raise _draining()

        outages = Outages(
            *(
                Outage(seconds=self._settings.import_patience_seconds, check=stop_for_drain)
                for _ in fields(Outages)
            )
        )

        async def prepare(request: search_pb2.ImportImagesRequest | Undecodable) -> Entry:
            return await self._holdings.threads.in_thread(self._prepare, request)

        async def store(batch: list[Entry]) -> list[Entry]:
            await self._batches.store(batch, outages=outages)
            for entry in batch:
                claims.release_refused(entry)
            return batch

        return run_in_order(
            read_batches(
                requests,
                prepare=prepare,
                admit=claims.claim,
                most=self._settings.import_batch,
                draining=self._draining,
            ),
            store,
            window=self._settings.import_window,
            started=self._note_task,
        )

    def _note_task(self, task: asyncio.Task[list[Entry]]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prepare(self, request: search_pb2.ImportImagesRequest | Undecodable) -> Entry:
        """Read, hash and check a record. If it is not valid, the error becomes its outcome."""
        if isinstance(request, Undecodable):
            return Entry(row=0, name="", outcome=request.to_error())
        entry = Entry(row=request.row, name=request.image.name)
        try:
            name = records.validate(request.image)
            entry.point_id = name.point_id
            entry.payload = payloads.to_payload(request.image, name=name)
            entry.content = read_content(request, roots=self._roots, limit=self._limit)
        except Exception as error:  # noqa: BLE001 - every record is answered, also when there is a bug
            entry.outcome = conceal_bug(error, image=entry.name)
        else:
            entry.sha256 = hashlib.sha256(entry.content).hexdigest()
            pages = tiff_pages.count_pages(entry.content)
            if pages > 1:
                many = f"The file has {pages} pages; only the first is imported."
                entry.notes = (f"{many} `halftone import` imports all of them.",)
        return entry


def _draining() -> errors.Unavailable:
    return errors.Unavailable(
        "The service is shutting down; import again what was not acknowledged.", retry_after=1.0
    )
