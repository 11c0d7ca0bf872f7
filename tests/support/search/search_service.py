"""A search service in this process, its records, and pictures that tell themselves apart."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from PIL import Image, ImageDraw

from halftone.core import errors, wire
from halftone.core.settings import ModelSettings, SearchSettings
from halftone.services.search.__main__ import run
from halftone.v1 import embedder_pb2, models_pb2_grpc, search_pb2, search_pb2_grpc
from tests.support.embedder.fake_embedder import VERSION, descriptor

if TYPE_CHECKING:
    from tests.support.embedder.fake_embedder import FakeEmbedder


def picture(seed: int, *, size=(64, 48), mirrored=False) -> bytes:
    """A PNG whose contents depend on the seed alone, unlike its mirror image."""
    drawn = Image.new("L", (64, 48), 30)
    pen = ImageDraw.Draw(drawn)
    for at in range(6):
        value = (seed * 7919 + at * 104729) % 65537
        left, top = value % 50, (value // 50) % 36
        pen.rectangle(
            (left, top, left + 6 + value % 13, top + 5 + value % 11), fill=80 + value % 176
        )
    drawn = drawn.resize(size)
    if mirrored:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    stream = io.BytesIO()
    drawn.save(stream, "PNG")
    return stream.getvalue()


def name(image_id: object, archive: str = "press") -> str:
    return f"archives/{archive}/images/{image_id}"


def record(image_id: object, *, content: bytes | None = None, path: str = "", row=0, **fields):
    """A request to import; the content is by default the picture of that number."""
    fields.setdefault("name", name(image_id))
    image = search_pb2.Image(**fields)
    if path:
        return search_pb2.ImportImagesRequest(image=image, path=path, row=row)
    if content is None:
        content = picture(int(image_id))
    return search_pb2.ImportImagesRequest(image=image, content=content, row=row)


class Service:
    """A running service: its stub, its embedder, and ways to restart it."""

    def __init__(self, settings: SearchSettings, *, embedder: FakeEmbedder) -> None:
        self.settings = settings
        self.embedder = embedder
        self._stack = contextlib.AsyncExitStack()
        self.stub: search_pb2_grpc.SearchServiceStub
        self.models: models_pb2_grpc.ModelServiceStub
        self.address = ""
        self.metrics_port = 0
        self.running: asyncio.Task | None = None

    async def start(self, *, wait=True) -> None:
        listening = asyncio.get_running_loop().create_future()
        self.running = asyncio.create_task(
            run(
                self.settings,
                models_settings=ModelSettings(
                    directory=self.settings.data_directory.parent / "models"
                ),
                inline=True,
                on_listening=lambda *ports: listening.set_result(ports),
            )
        )
        await asyncio.wait({self.running, listening}, return_when=asyncio.FIRST_COMPLETED)
        if self.running.done():
            self.running.result()
        port, self.metrics_port = listening.result()
        self.address = f"127.0.0.1:{port}"
        channel = grpc.aio.insecure_channel(self.address, options=wire.CHANNEL_OPTIONS)
        await self._stack.enter_async_context(channel)
        self.stub = search_pb2_grpc.SearchServiceStub(channel)
        self.models = models_pb2_grpc.ModelServiceStub(channel)
        while wait:
            try:
                await self.stub.CountFacets(search_pb2.CountFacetsRequest())
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
            else:
                break

    async def stop(self) -> None:
        await self._stack.aclose()
        if self.running is not None:
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.running
            self.running = None

    async def restart(self) -> None:
        await self.stop()
        self._stack = contextlib.AsyncExitStack()
        await self.start()

    async def add(self, *requests):
        """Imports records and returns the acknowledgements."""
        return [answer async for answer in self.stub.ImportImages(iter(requests))]

    async def search(self, **fields):
        return await self.stub.SearchImages(search_pb2.SearchImagesRequest(**fields))

    async def hits(self, **fields) -> list[str]:
        return [hit.image.name for hit in (await self.search(**fields)).hits]


async def error_of(call) -> errors.HalftoneError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return errors.from_rpc_error(raised.value)


def embedding(values, *, version=VERSION, dimension=None):
    values = np.asarray(values, dtype="<f4")
    return embedder_pb2.Embedding(
        values=values.tobytes(),
        dimension=len(values) if dimension is None else dimension,
        model_version=version,
    )


def picture_embedding(seed, *, scale=1.0):
    return embedding(descriptor(Image.open(io.BytesIO(picture(seed)))) * scale)


async def metrics_of(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.metrics_port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text
