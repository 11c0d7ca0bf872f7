"""Answers the EmbedderService's RPCs: from messages to the batcher and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.core import errors, wire
from halftone.imaging.images import Region
from halftone.imaging.orientations import orientations
from halftone.service.access import current_caller
from halftone.service.quotas import note_pixels
from halftone.services.embedder.encoders.encoder import EmbeddedImage, InputImage
from halftone.v1 import embedder_pb2, embedder_pb2_grpc

if TYPE_CHECKING:
    import grpc
    from numpy.typing import NDArray

    from halftone.services.embedder.batching.batcher import Batcher
    from halftone.services.embedder.encoders.encoder import Encoder, ImageOutcome
    from halftone.services.embedder.models import Models

MAX_IMAGES: Final = 64
MAX_BYTES: Final = wire.MAX_IMAGE_BYTES

FULL_NAME: Final = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name


class EmbedderServicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """Answers the RPCs. It raises Halftone's errors, which the server turns into statuses."""

    def __init__(self, *, batcher: Batcher, models: Models) -> None:
        self._batcher = batcher
        self._models = models

    async def EmbedImages(  # the contract's name
        self,
        request: embedder_pb2.EmbedImagesRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> embedder_pb2.EmbedImagesResponse:
        """Embed up to 64 images and return one result for each, in order."""
        pictures = _pictures(request)
        encoder = self._models.get(request.model_version)
        future = self._batcher.submit(
            pictures,
            encoder=encoder,
            time_left=context.time_remaining(),
            caller=current_caller().id,
        )
        # A caller who hangs up cancels this coroutine, and through it the batcher's future.
        outcomes = await asyncio.wrap_future(future)
        await note_pixels(
            sum(each.width * each.height for each in outcomes if isinstance(each, EmbeddedImage))
        )
        return embedder_pb2.EmbedImagesResponse(
            results=[
                _result(outcome, index=index, picture=picture, encoder=encoder)
                for index, (picture, outcome) in enumerate(zip(pictures, outcomes, strict=True))
            ]
        )

    async def ListModels(  # the contract's name
        self,
        request: embedder_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> embedder_pb2.ListModelsResponse:
        """List the loaded model versions, the active one first."""
        return embedder_pb2.ListModelsResponse(
            models=[
                embedder_pb2.LoadedModel(
                    model_version=model.encoder.model_version,
                    dimension=model.encoder.dimension,
                    device=model.encoder.device,
                    backend=model.encoder.backend,
                    active=model.active,
                )
                for model in self._models.list_loaded()
            ]
        )


def _pictures(request: embedder_pb2.EmbedImagesRequest) -> list[InputImage]:
    count = len(request.images)
    if not 1 <= count <= MAX_IMAGES:
        raise errors.InvalidArgument(
            f"A request has 1 to {MAX_IMAGES} images, not {count}.", field="images"
        )
    size = sum(len(image.content) for image in request.images)
    if size > MAX_BYTES:
        raise errors.InvalidArgument(
            f"The images of a request have at most {MAX_BYTES:,} bytes together, not {size:,}.",
            field="images",
            reason="TOO_MANY_BYTES",
        )
    return [
        InputImage(
            content=image.content,
            region=_region(image.region) if image.HasField("region") else None,
            orientations=orientations(
                mirrored=image.include_mirrored, rotated=image.include_rotated
            ),
        )
        for image in request.images
    ]


def _region(region: embedder_pb2.Region) -> Region:
    return Region(region.x, region.y, region.width, region.height)


def _result(
    outcome: ImageOutcome, *, index: int, picture: InputImage, encoder: Encoder
) -> embedder_pb2.EmbedImageResult:
    if isinstance(outcome, EmbeddedImage):
        embeddings = embedder_pb2.ImageEmbeddings(
            embedding=_embedding(outcome.vectors[0], encoder=encoder),
            width=outcome.width,
            height=outcome.height,
        )
        for orientation, vector in zip(picture.orientations[1:], outcome.vectors[1:], strict=True):
            embeddings.oriented_embeddings.add(
                mirrored=orientation.mirrored,
                rotation=orientation.rotation,
                embedding=_embedding(vector, encoder=encoder),
            )
        return embedder_pb2.EmbedImageResult(embeddings=embeddings)
    if isinstance(outcome, errors.InvalidArgument):
        # The path of the image's field in the request.
        outcome.field = f"images[{index}].{outcome.field or 'content'}"
    return embedder_pb2.EmbedImageResult(error=errors.to_status(outcome))


def _embedding(vector: NDArray[np.float32], *, encoder: Encoder) -> embedder_pb2.Embedding:
    return embedder_pb2.Embedding(
        values=np.ascontiguousarray(vector, dtype="<f4").tobytes(),
        dimension=encoder.dimension,
        model_version=encoder.model_version,
    )
