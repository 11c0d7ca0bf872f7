"""ModelService over gRPC: lists the registry's versions, and promotes and deletes them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from halftone.core import errors, telemetry
from halftone.service.paging import Pager
from halftone.v1 import models_pb2, models_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import grpc

    from halftone.registry.pointer import Pointer
    from halftone.registry.version import ModelVersion
    from halftone.registry.versions import Registry
    from halftone.services.search.promotion.promotions import Promotions

    Context = grpc.aio.ServicerContext[Any, Any]

FULL_NAME: Final = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

_VERSIONS: Final = Pager(TypeAdapter(tuple[str, int]), default_size=100)
"""Page positions: the name and the number of the last version of the page before."""

_log = telemetry.get_logger(__name__)


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Answers from the registry and the promotions. `halftone.service.server` translates errors."""

    def __init__(self, *, promotions: Promotions, registry: Registry) -> None:
        self._promotions = promotions
        self._registry = registry

    async def ListModelVersions(
        self, request: models_pb2.ListModelVersionsRequest, context: Context
    ) -> models_pb2.ListModelVersionsResponse:
        """Return a page of the published versions, by name and then by number."""
        return await asyncio.to_thread(self._list, request)

    def _list(
        self, request: models_pb2.ListModelVersionsRequest
    ) -> models_pb2.ListModelVersionsResponse:
        page = _VERSIONS.read(request)
        after = page.position or ("", 0)
        versions = [
            version for version in self._registry.list() if (version.name, version.version) > after
        ]
        pointer, counts = self._registry.pointer(), self._promotions.counts()
        return models_pb2.ListModelVersionsResponse(
            versions=[
                self._message(version, pointer=pointer, counts=counts)
                for version in page.cut(versions)
            ],
            next_page_token=page.next_token(
                versions, position=lambda version: (version.name, version.version)
            ),
        )

    async def GetModelVersion(
        self, request: models_pb2.GetModelVersionRequest, context: Context
    ) -> models_pb2.ModelVersion:
        """Return a version with its spec and metrics."""
        return await asyncio.to_thread(self._get, request.name)

    def _get(self, name: str) -> models_pb2.ModelVersion:
        version = self._registry.resolve(_require_name(name))
        message = self._message(
            version, pointer=self._registry.pointer(), counts=self._promotions.counts()
        )
        # A damaged version is returned without them, so that it can be seen and deleted.
        with contextlib.suppress(errors.DataLoss):
            message.spec.update(version.spec())
        with contextlib.suppress(errors.DataLoss):
            message.metrics.update(version.metrics())
        return message

    def _message(
        self, version: ModelVersion, *, pointer: Pointer, counts: Mapping[str, int]
    ) -> models_pb2.ModelVersion:
        summary = version.summary()
        if summary.damage:
            _log.warning("model_version_damaged", model_version=version.id, error=summary.damage)
        answering = self._promotions.answering()
        message = models_pb2.ModelVersion(
            name=version.id,
            # Not by the registry's pointer: it may have been moved while no service was running.
            active=version.id == answering,
            previous=version.id == pointer.previous and version.id != answering,
            dimension=summary.dimension,
            backbone=summary.backbone,
            image_count=counts.get(version.id, 0),
        )
        message.publish_time.FromNanoseconds(int(version.published * 1e9))
        return message

    async def PromoteModelVersion(
        self, request: models_pb2.PromoteModelVersionRequest, context: Context
    ) -> models_pb2.Promotion:
        """Start a promotion."""
        return await self._promotions.promote(
            _require_name(request.name),
            force=request.force,
            groups=[list(group.images) for group in request.labelled_groups],
        )

    async def RollBackModelVersion(
        self, request: models_pb2.RollBackModelVersionRequest, context: Context
    ) -> models_pb2.Promotion:
        """Start the promotion of the version that was active before."""
        return await self._promotions.roll_back()

    async def GetPromotion(
        self, request: models_pb2.GetPromotionRequest, context: Context
    ) -> models_pb2.Promotion:
        """Return the running promotion, or the last one."""
        return await self._promotions.current()

    async def WatchPromotion(
        self, request: models_pb2.WatchPromotionRequest, context: Context
    ) -> AsyncIterator[models_pb2.Promotion]:
        """Send the promotion now and whenever it changes."""
        async for promotion in self._promotions.changes():
            yield promotion

    async def CancelPromotion(
        self, request: models_pb2.CancelPromotionRequest, context: Context
    ) -> models_pb2.Promotion:
        """Cancel the running promotion."""
        return await self._promotions.cancel()

    async def DeleteModelVersion(
        self, request: models_pb2.DeleteModelVersionRequest, context: Context
    ) -> models_pb2.DeleteModelVersionResponse:
        """Delete a version and its collection."""
        await self._promotions.delete(_require_name(request.name))
        return models_pb2.DeleteModelVersionResponse()


def _require_name(name: str) -> str:
    if not name:
        raise errors.InvalidArgument("name: a model version must be named.", field="name")
    return name
