"""Reads a stream of records ahead and groups them into batches.

A few records are prepared ahead, so that the next batch is ready when the slowest stage is free.
The stream is not read further than that, so its flow control stops the sender.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from halftone.core import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from typing import Any

    from halftone.service.decoding import Undecodable
    from halftone.services.search.archive.imports.entry import Entry
    from halftone.v1 import search_pb2

    Request = search_pb2.ImportImagesRequest | Undecodable
    Requests = AsyncIterator[Request]
    Prepare = Callable[[Request], Coroutine[Any, Any, Entry]]
    Queue = asyncio.Queue[asyncio.Task[Entry] | None]

_PREPARED_AHEAD: Final = 8
_LINGER_SECONDS: Final = 0.05
"""Seconds that a batch waits for its next record. Without an end, a sender that waits for answers
would get none."""


async def read_batches(
    requests: Requests,
    *,
    prepare: Prepare,
    admit: Callable[[Entry], None],
    most: int,
    draining: asyncio.Event,
) -> AsyncGenerator[list[Entry], None]:
    """Yield the records of a stream in batches, in order.

    A batch ends when it has `most` records, when the next one would exceed the limit of an embedder
    call (32 MiB), or when no record came for a moment.

    Args:
        requests: The stream.
        prepare: Makes an entry from a request; several calls run at a time.
        admit: Called with each entry in the order of the stream, before it joins a batch.
        most: The most records in one batch.
        draining: When it is set the stream is not read any further; records that were read are
            yielded.
    """
    prepared: Queue = asyncio.Queue(_PREPARED_AHEAD)
    reader = asyncio.create_task(_read_ahead(requests, prepared, prepare, draining))
    batch: list[Entry] = []
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
            entry = await task
            admit(entry)
            if batch and size + len(entry.content) > wire.MAX_IMAGE_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += len(entry.content)
            if len(batch) == most:
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


async def _read_ahead(
    requests: Requests, prepared: Queue, prepare: Prepare, draining: asyncio.Event
) -> None:
    """Read the stream as far ahead as there is room, until it ends or the service drains."""
    drain = asyncio.ensure_future(draining.wait())
    reading: asyncio.Future[Request | None] | None = None
    try:
        while True:
            reading = asyncio.ensure_future(anext(requests, None))
            await asyncio.wait({reading, drain}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                break
            request = reading.result()
            if request is None:
                break
            await prepared.put(asyncio.create_task(prepare(request)))
    finally:
        # asyncio warns of pending tasks that nobody awaits.
        drain.cancel()
        if reading is not None:
            reading.cancel()
        # Also after a failure: `read_batches` raises it when it reaches this end mark.
        await prepared.put(None)
