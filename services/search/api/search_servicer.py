"""SearchService over gRPC: imports, reads, changes and searches the archive."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from halftone.core import errors, telemetry
from halftone.core.bugs import conceal_bug
from halftone.service.decoding import takes_undecodable
from halftone.v1 import search_pb2, search_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from halftone.service.decoding import Undecodable

    Context = grpc.aio.ServicerContext[Any, Any]

    from halftone.services.search.api.engine import Engine


class SearchServicer(search_pb2_grpc.SearchServiceServicer):
    """Hands each call to the engine. `halftone.service.server` translates errors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @takes_undecodable
    async def ImportImages(
        self,
        request_iterator: AsyncIterator[search_pb2.ImportImagesRequest | Undecodable],
        context: Context,
    ) -> AsyncIterator[search_pb2.ImportImagesResponse]:
        """Import a stream of records and acknowledge each of them in order."""
        async with contextlib.aclosing(self._engine.importer.run(request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def GetImage(
        self, request: search_pb2.GetImageRequest, context: Context
    ) -> search_pb2.Image:
        """Return a record."""
        return await self._engine.catalogue.get(request.name)

    async def ListImages(
        self, request: search_pb2.ListImagesRequest, context: Context
    ) -> search_pb2.ListImagesResponse:
        """Return a page of records, ordered by name."""
        return await self._engine.catalogue.list_images(request)

    async def UpdateImage(
        self, request: search_pb2.UpdateImageRequest, context: Context
    ) -> search_pb2.Image:
        """Change the fields of a record that the mask names."""
        return await self._engine.catalogue.update(request)

    async def DeleteImages(
        self, request: search_pb2.DeleteImagesRequest, context: Context
    ) -> search_pb2.DeleteImagesResponse:
        """Delete records by name or by filter."""
        return search_pb2.DeleteImagesResponse(
            deleted_count=await self._engine.catalogue.delete(request)
        )

    async def SearchImages(
        self, request: search_pb2.SearchImagesRequest, context: Context
    ) -> search_pb2.SearchImagesResponse:
        """Search by a picture, by an image of the archive, or by an embedding."""
        return await self._engine.search(request, deadline=_deadline(context))

    async def BatchSearchImages(
        self, request: search_pb2.BatchSearchImagesRequest, context: Context
    ) -> search_pb2.BatchSearchImagesResponse:
        """Answer several searches. Each gets a response or an error."""
        outcomes = await self._engine.batch_search(request.requests, deadline=_deadline(context))
        response = search_pb2.BatchSearchImagesResponse()
        for outcome in outcomes:
            if isinstance(outcome, errors.HalftoneError):
                status = errors.to_status(
                    conceal_bug(outcome, method="BatchSearchImages"),
                    request_id=telemetry.request_id(),
                )
                response.results.add().error.CopyFrom(status)
            else:
                response.results.add().response.CopyFrom(outcome)
        return response

    async def CompareImages(
        self, request: search_pb2.CompareImagesRequest, context: Context
    ) -> search_pb2.CompareImagesResponse:
        """Compare two images of the archive, as a search by the first one would."""
        return await self._engine.compare(request, deadline=_deadline(context))

    async def CountFacets(
        self, request: search_pb2.CountFacetsRequest, context: Context
    ) -> search_pb2.CountFacetsResponse:
        """Count records by archive, journal, year, language and label."""
        return await self._engine.facets.count(request)

    async def GetThumbnail(
        self, request: search_pb2.GetThumbnailRequest, context: Context
    ) -> search_pb2.GetThumbnailResponse:
        """Return a JPEG thumbnail of at most 512 pixels a side."""
        return await self._engine.catalogue.thumbnail(request.name)

    async def GetImageRegion(
        self, request: search_pb2.GetImageRegionRequest, context: Context
    ) -> search_pb2.GetImageRegionResponse:
        """Return a part of a picture, cut from the bytes as they were imported."""
        return await self._engine.regions.get(request)


def _deadline(context: Context) -> float:
    left = context.time_remaining()
    return math.inf if left is None else time.monotonic() + left
