"""Images per second through an import, against the embedder alone."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np

from halftone.archive import manifests as archives
from halftone.core import wire
from halftone.stack import local
from halftone.v1 import embedder_pb2, embedder_pb2_grpc, search_pb2, search_pb2_grpc
from tests.bench.vectors import normalised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BATCH = 32
_IN_FLIGHT = 4


async def measure(
    embedder: str, *, search: str, archive: Path, images: int
) -> tuple[dict[str, float], np.ndarray]:
    """Import against the embedder alone, in turns.

    Args:
        embedder: `host:port`.
        search: `host:port`.
        archive: A folder with a manifest.
        images: How many to import each time; the archive's, over and over.

    Returns:
        Images per second, and the archive's embeddings [M, D].
    """
    rows = [row for row in archives.read_manifest(archive, archive="bench") if row.error is None]
    contents = [row.path.read_bytes() for row in rows if row.path]
    pictures = [contents[at % len(contents)] for at in range(images)]
    async with contextlib.AsyncExitStack() as opened:
        alone_channel, search_channel = [
            await opened.enter_async_context(
                grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS)
            )
            for address in (embedder, search)
        ]
        alone: list[float] = []
        imported: list[float] = []
        base: list[np.ndarray] = []
        for turn in range(3):
            seconds, vectors = await _embed(alone_channel, pictures=pictures)
            alone.append(images / seconds)
            base = vectors[: len(contents)]
            # The bytes differ from turn to turn, or the second one would find the blobs there.
            named = [(f"{turn}-{at}", content) for at, content in enumerate(pictures)]
            imported.append(images / await _import(search_channel, named=named, turn=turn))
    return {
        "images": images,
        "embedder_alone_per_second": statistics.median(alone),
        "import_per_second": statistics.median(imported),
        "ratio": statistics.median(b / a for a, b in zip(alone, imported, strict=True)),
    }, normalised(np.stack(base))


def embedded(archive: Path) -> np.ndarray:
    """The embeddings of an archive's pictures by a stack of its own, float32 [M, D]."""
    rows = [row for row in archives.read_manifest(archive, archive="bench") if row.error is None]
    contents = [row.path.read_bytes() for row in rows if row.path]

    async def all_of(address: str) -> list[np.ndarray]:
        async with grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS) as channel:
            _, vectors = await _embed(channel, pictures=contents)
            return vectors

    with (
        tempfile.TemporaryDirectory(prefix="halftone-bench-") as folder,
        local.LocalStack(
            Path(folder), ports=local.Ports.any_free(), report=lambda _line: None
        ) as stack,
    ):
        return normalised(np.stack(asyncio.run(all_of(stack.addresses.embedder))))


async def _embed(
    channel: grpc.aio.Channel, *, pictures: Sequence[bytes]
) -> tuple[float, list[np.ndarray]]:
    stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(start: int) -> list[np.ndarray]:
        async with slots:
            inputs = [
                embedder_pb2.ImageInput(content=content)
                for content in pictures[start : start + _BATCH]
            ]
            answer = await stub.EmbedImages(embedder_pb2.EmbedImagesRequest(images=inputs))
        return [
            np.frombuffer(result.embeddings.embedding.values, dtype="<f4")
            for result in answer.results
        ]

    started = time.perf_counter()
    found = await asyncio.gather(*(one(start) for start in range(0, len(pictures), _BATCH)))
    return time.perf_counter() - started, [vector for batch in found for vector in batch]


async def _import(
    channel: grpc.aio.Channel, *, named: Sequence[tuple[str, bytes]], turn: int
) -> float:
    stub = search_pb2_grpc.SearchServiceStub(channel)

    def requests() -> Iterator[search_pb2.ImportImagesRequest]:
        for image_id, content in named:
            image = search_pb2.Image(
                name=f"archives/bench/images/{image_id}", journal="Bench", date="1914-08"
            )
            yield search_pb2.ImportImagesRequest(image=image, content=content + bytes([turn]))

    started = time.perf_counter()
    states = [answer.state async for answer in stub.ImportImages(requests())]
    seconds = time.perf_counter() - started
    created = states.count(search_pb2.ImportImagesResponse.CREATED)
    if created != len(named):
        raise RuntimeError(f"{len(named) - created} of {len(named)} records were not taken")
    return seconds
