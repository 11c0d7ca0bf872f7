"""Promotions of a running search service: start one, wait for its end, read its refusal."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.v1 import models_pb2
from tests.support.embedder.fake_embedder import DIMENSION
from tests.support.search.search_service import name

OLD, NEW = "fake/1", "fake/2"


def publish(directory, scratch, *, version):
    scratch.mkdir(exist_ok=True)
    (scratch / "spec.json").write_text(json.dumps({"dimension": DIMENSION}))
    (scratch / "model.safetensors").write_bytes(b"weights")
    (scratch / "golden.json").write_text("{}")
    Registry(directory).publish(scratch, name="fake", version=version)


async def promote(service, version=NEW, **fields):
    request = models_pb2.PromoteModelVersionRequest(name=version, **fields)
    return await service.models.PromoteModelVersion(request)


async def ended(service):
    async with asyncio.timeout(60):
        changes = service.models.WatchPromotion(models_pb2.WatchPromotionRequest())
        return [promotion async for promotion in changes][-1]


async def promoted(service, version=NEW, **fields):
    await promote(service, version, **fields)
    return await ended(service)


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return errors.from_rpc_error(raised.value)


async def answering(service):
    return (await service.search(image=name(0), limit=1)).model_version


async def until(condition, *, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
