"""Data that is deleted under a running service: health says so, and nothing is acknowledged."""

from __future__ import annotations

import asyncio
import shutil

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core import errors
from halftone.services.search.archive.landmarks import Landmarks
from tests.support.search.search_service import Service, name, picture, record


def test_a_landmark_that_is_gone_or_another_is_told(tmp_path):
    kept, late = tmp_path / "kept", tmp_path / "late"
    kept.mkdir()
    landmarks = Landmarks([kept, late])
    landmarks.check()
    late.touch()
    landmarks.check()
    late.unlink()
    with pytest.raises(errors.Unavailable, match="late is gone") as raised:
        landmarks.check()
    assert raised.value.reason == "DATA_GONE"
    late.touch()
    landmarks = Landmarks([kept])
    landmarks.check()
    kept.rename(tmp_path / "aside")
    kept.mkdir()
    with pytest.raises(errors.Unavailable, match="replaced"):
        landmarks.check()


async def read_health(service):
    async with grpc.aio.insecure_channel(service.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def reaches(service, status):
    async with asyncio.timeout(60):
        while await read_health(service) != status:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("what", ["all", "clusters", "collection", "pictures"])
async def test_deleted_data_is_noticed(settings, embedder, what):
    service = Service(settings.model_copy(update={"watch_seconds": 0.05}), embedder=embedder)
    await service.start()
    await service.add(record(1))
    await reaches(service, "SERVING")
    # Until it was seen once, it may as well never have been there.
    await asyncio.sleep(0.3)
    folder = settings.data_directory
    with structlog.testing.capture_logs() as logged:
        match what:
            case "all":
                shutil.rmtree(folder)
            case "clusters":
                (folder / "clusters.sqlite3").unlink()
            case "collection":
                shutil.rmtree(folder / "fake@1")
            case _:
                shutil.rmtree(settings.blobs)
        await reaches(service, "NOT_SERVING")
    (said,) = [event for event in logged if event["event"] == "does_not_answer"]
    assert said["what"] == "store"
    # What is in memory is still found.
    assert await service.hits(content=picture(1), limit=1) == [name(1)]
    if what in {"all", "collection"}:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [_ async for _ in service.stub.ImportImages(iter([record(2)]))]
        assert errors.from_rpc_error(raised.value).reason == "DATA_GONE"
    await service.stop()
