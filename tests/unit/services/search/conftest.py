"""A search service in this process, with the fake embedder, both over real gRPC."""

from __future__ import annotations

import pytest

from halftone.core.settings import SearchSettings
from halftone.services.search.store.edge.part import copy_closed
from halftone.services.search.store.edge.store import EdgeStore
from tests.support.embedder.fake_embedder import DIMENSION, VERSION, FakeEmbedder
from tests.support.search.search_service import Service


@pytest.fixture
async def embedder():
    fake = FakeEmbedder()
    server, fake.address = await fake.serve()
    yield fake
    await server.stop(None)


@pytest.fixture(scope="session")
def empty_store(memory_path_factory):
    """A store with an empty collection for the fake embedder's descriptors; to be copied."""
    directory = memory_path_factory() / "data"
    store = EdgeStore(directory, min_free_bytes=0)
    store.open(VERSION, dimension=DIMENSION)
    store.close()
    return directory


@pytest.fixture
def settings(memory_path, embedder, empty_store):
    # The service would take three times as long to make a collection.
    copy_closed(empty_store, memory_path / "data")
    return SearchSettings(
        verify_seconds=30,
        port=0,
        metrics_port=0,
        embedder=embedder.address,
        data_directory=memory_path / "data",
        blobs=str(memory_path / "blobs"),
        import_roots=(memory_path / "root",),
        import_patience_seconds=1.0,
        min_free_bytes=0,
        drain_seconds=1.0,
        import_batch=4,
    )


@pytest.fixture
async def service(settings, embedder):
    running = Service(settings, embedder=embedder)
    await running.start()
    yield running
    await running.stop()
