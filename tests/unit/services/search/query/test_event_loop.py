"""While a search waits for the store, the event loop answers others."""

from __future__ import annotations

import asyncio
import threading
import types

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from halftone.core import telemetry
from halftone.matching.probability import Calibration
from halftone.services.search.api.search_servicer import SearchServicer
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.query.searching import Searching
from halftone.v1 import embedder_pb2, search_pb2, search_pb2_grpc
from tests.support.search.exact_collection import DIMENSION, Exact, unit


class Blocking(Exact):
    """Blocks the thread that asks it, until it is released; not forever, so that tests end."""

    def __init__(self):
        super().__init__()
        self.asked_once, self.release = threading.Event(), threading.Event()
        self.was_released = None

    def query(self, queries):
        self.asked_once.set()
        self.was_released = self.release.wait(5)
        return super().query(queries)


def by_embedding(seed, **fields):
    return search_pb2.SearchImagesRequest(
        embedding=embedder_pb2.Embedding(
            values=unit(seed).tobytes(), dimension=DIMENSION, model_version=Exact.model_version
        ),
        **fields,
    )


@pytest.fixture
async def served():
    """A collection that blocks, and a channel to a server that searches in it."""
    collection = Blocking()
    for number in range(30):
        collection.add(number)
    holdings = Holdings.of(None, metrics=telemetry.Metrics(service="test"))
    holdings.collections.open(collection)
    searching = Searching(
        types.SimpleNamespace(
            holdings=holdings,
            embedder=None,
            fingerprints=None,
            settings=types.SimpleNamespace(verify_seconds=2.0, max_pixels=1, max_image_bytes=1),
        ),
        verifier=None,
        calibrations=types.SimpleNamespace(of=lambda _version: Calibration.default()),
        verdicts=None,
    )

    async def search(request, *, deadline):
        (answer,) = await searching.search([request], collection=collection, deadline=deadline)
        return answer

    server = grpc.aio.server()
    search_pb2_grpc.add_SearchServiceServicer_to_server(
        SearchServicer(types.SimpleNamespace(search=search)), server
    )
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield collection, channel
    collection.release.set()
    await server.stop(None)
    holdings.threads.close()


@pytest.mark.parametrize("limit", [1, 20, 1_000])
async def test_a_search_by_embedding_does_not_hold_the_event_loop(served, limit):
    collection, channel = served
    search = search_pb2_grpc.SearchServiceStub(channel).SearchImages(by_embedding(7, limit=limit))
    while not collection.asked_once.is_set():
        await asyncio.sleep(0.005)
    # Answered while the store blocks: it is released only after this.
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    collection.release.set()
    assert len((await search).hits) == min(limit, 30)
    assert collection.was_released
