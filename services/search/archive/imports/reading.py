"""Reads a stream of records ahead and groups them into batches.

A few records are prepared ahead, so that the next batch is waiting when the slowest stage is free.
Beyond that the stream is not read, and its flow control stops the sender.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from halftone.core import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from typing import Any

    from halftone.services.search.archive.imports.entry import Entry
    from halftone.v1 import search_pb2

    Requests = AsyncIterator[search_pb2.ImportImagesRequest]
    Prepare = Callable[[search_pb2.ImportImagesRequest], Coroutine[Any, Any, Entry]]
    Queue = asyncio.Queue[asyncio.Task[Entry] | None]

_PREPARED_AHEAD: Final = 8
_LINGER_SECONDS: Final = 0.05
"""How long a batch waits for its next record, so that a sender that waits for answers gets them."""


async def read_batches(
    requests: Requests,
    *,
    prepare: Prepare,
    admit: Callable[[Entry], None],
    most: int,
    draining: asyncio.Event,
) -> AsyncGenerator[list[Entry], None]:
    """Yield the records of a stream in batches, in their order.

    A batch ends when it has `most` records, when the next one would exceed what the embedder takes
    in one call (32 MiB), or when no record came for a moment.

    Args:
        requests: The stream.
        prepare: Makes an entry of a request; several run side by side.
        admit: Called with each entry in the order of the stream, before it joins a batch.
        most: Records in one batch.
        draining: When it is set the stream is read no further; what was read is yielded.
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
    reading: asyncio.Future[search_pb2.ImportImagesRequest | None] | None = None
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
        # asyncio complains of tasks that nobody waits for and that are still waiting themselves.
        drain.cancel()
        if reading is not None:
            reading.cancel()
        # Also after a failure, which `read_batches` raises when it has seen this end.
        await prepared.put(None)
