"""A small real embedder: the EmbedderService with a descriptor that needs no model.

The descriptor is the picture at 16 x 16 pixels, grey, centred, L2-normalised: 256 numbers that
tell pictures apart, agree for a picture at two sizes, and change when it is mirrored or cropped.
Run it as a process of its own with
`python -m tests.support.embedder.fake_embedder PORT [VERSION …]`; it takes FAKE_EMBEDDER_SECONDS
for an image.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from PIL import Image

from halftone.core import errors, wire
from halftone.imaging import images
from halftone.imaging.orientations import orientations
from halftone.service.server import abort_with
from halftone.v1 import embedder_pb2, embedder_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "fake/1"
SIDE = 16
DIMENSION = SIDE * SIDE


def descriptor(picture: Any) -> np.ndarray:
    """The descriptor of a Pillow image."""
    small = np.asarray(picture.convert("L").resize((SIDE, SIDE), resample=4), dtype=np.float32)
    centred = (small - small.mean()).ravel() + 1e-3
    return centred / np.linalg.norm(centred)


class FakeEmbedder(embedder_pb2_grpc.EmbedderServiceServicer):
    """Answers as the embedder does.

    Attributes:
        images: How many images it embedded.
        version: The version that is active.
        others: Further versions that are loaded.
        stopped: Versions that were asked for while they had a gate.
        gates: Versions that answer only once their event is set.
        variants: What versions make of the descriptor, where not the same.
        refusing: Raised for every call while it is set.
        seconds: That an image takes.
    """

    def __init__(self, *, version: str = VERSION) -> None:
        self.version = version
        self.others: set[str] = set()
        self.variants: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.stopped: set[str] = set()
        self.images = 0
        self.calls: list[int] = []
        self.request_ids: list[str] = []
        self.metadata: list[tuple[tuple[str, str], ...]] = []
        self.refusing: errors.HalftoneError | None = None
        self.before_answer: Callable[[], Any] | None = None
        self.seconds = 0.0

    async def EmbedImages(self, request, context):
        self.metadata.append(tuple(context.invocation_metadata()))
        self.request_ids.append(dict(context.invocation_metadata()).get(wire.REQUEST_ID_KEY, ""))
        if self.refusing is not None:
            await abort_with(context, self.refusing)
        wanted = request.model_version or self.version
        if wanted not in {self.version, *self.others}:
            await abort_with(
                context, errors.NotFound(f"{wanted} is not loaded.", resource_name=wanted)
            )
        if wanted in self.gates:
            self.stopped.add(wanted)
            await self.gates[wanted].wait()
        if self.before_answer is not None:
            await self.before_answer()
        await asyncio.sleep(self.seconds * len(request.images))
        self.calls.append(len(request.images))
        self.images += len(request.images)
        results = await asyncio.gather(
            *(
                asyncio.to_thread(self._embed, image, wanted, at)
                for at, image in enumerate(request.images)
            )
        )
        return embedder_pb2.EmbedImagesResponse(results=results)

    def _embed(
        self, image: embedder_pb2.ImageInput, version: str, at: int
    ) -> embedder_pb2.EmbedImageResult:
        try:
            region = None
            if image.HasField("region"):
                part = image.region
                region = images.Region(part.x, part.y, part.width, part.height)
            picture = images.decode(image.content, max_pixels=10_000_000, region=region)
            width, height = images.size(image.content)
        except errors.InvalidArgument as error:
            error.field = f"images[{at}].{error.field or 'content'}"
            return embedder_pb2.EmbedImageResult(error=errors.to_status(error))
        result = embedder_pb2.ImageEmbeddings(
            embedding=self.embedding(descriptor(picture), version=version),
            width=width,
            height=height,
        )
        asked = orientations(mirrored=image.include_mirrored, rotated=image.include_rotated)
        for lay in asked[1:]:
            turned = Image.fromarray(lay.apply(np.asarray(picture)))
            result.oriented_embeddings.add(
                mirrored=lay.mirrored,
                rotation=lay.rotation,
                embedding=self.embedding(descriptor(turned), version=version),
            )
        return embedder_pb2.EmbedImageResult(embeddings=result)

    def embedding(self, vector: np.ndarray, *, version: str = "") -> embedder_pb2.Embedding:
        """A vector as a message."""
        version = version or self.version
        if version in self.variants:
            vector = self.variants[version](vector)
        return embedder_pb2.Embedding(
            values=vector.astype("<f4").tobytes(),
            dimension=len(vector),
            model_version=version,
        )

    async def ListModels(self, request, context):
        if self.refusing is not None:
            await abort_with(context, self.refusing)
        return embedder_pb2.ListModelsResponse(
            models=[
                embedder_pb2.LoadedModel(
                    model_version=version,
                    dimension=DIMENSION,
                    device="cpu",
                    active=version == self.version,
                )
                for version in (self.version, *sorted(self.others))
            ]
        )

    async def serve(self, *, port: int = 0) -> tuple[grpc.aio.Server, str]:
        """Starts listening; returns the server and its address."""
        server = grpc.aio.server(options=[*wire.CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)])
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(self, server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server, f"127.0.0.1:{bound}"


async def main() -> None:
    """Serves until the process ends."""
    fake = FakeEmbedder()
    fake.others = set(sys.argv[2:])
    fake.seconds = float(os.environ.get("FAKE_EMBEDDER_SECONDS", "0"))
    server, address = await fake.serve(port=int(sys.argv[1]))
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
