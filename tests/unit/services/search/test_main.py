"""The search service's entry point."""

from __future__ import annotations

import asyncio
import socket

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core.settings import SearchSettings
from halftone.services.search.__main__ import LISTS
from halftone.v1 import clusters_pb2, models_pb2, search_pb2
from tests.support.search.search_service import Service


def test_methods_with_a_limit_exist_and_every_list_has_one():
    methods = {
        method.name
        for contract in (clusters_pb2, models_pb2, search_pb2)
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods >= LISTS | {"GetThumbnail", "GetImageRegion"}
    assert {method for method in methods if method.startswith("List")} <= LISTS


def test_two_pages_of_cold_thumbnails_are_not_refused():
    assert SearchSettings().max_concurrent_thumbnails >= 200


async def test_it_waits_for_a_qdrant_server_that_does_not_answer(settings, embedder):
    """Containers that start again after their host did come in any order."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        update = {"store": "server", "qdrant_url": url}
        service = Service(settings.model_copy(update=update), embedder=embedder)
        with structlog.testing.capture_logs() as logged:
            await service.start(wait=False)
            async with asyncio.timeout(60):
                while not any(each["event"] == "waiting_for_store" for each in logged):
                    await asyncio.sleep(0.01)
        async with grpc.aio.insecure_channel(service.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            status = (await check(health_pb2.HealthCheckRequest())).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert service.running is not None
        assert not service.running.done()
        await service.stop()
