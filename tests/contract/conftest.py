"""A store and a collection of each adapter: Qdrant Edge, `qdrant-client`'s local mode, a server."""

from __future__ import annotations

import os
import uuid

import pytest
from qdrant_client import QdrantClient

from halftone.services.search.store.edge.part import copy_closed
from halftone.services.search.store.edge.store import EdgeStore
from halftone.services.search.store.server import ServerStore

DIMENSION = 16
VERSION = "model/1"


@pytest.fixture(scope="session")
def edge_directory(memory_path_factory):
    """A data directory with an empty collection; making one syncs many files."""
    directory = memory_path_factory() / "data"
    store = EdgeStore(directory, min_free_bytes=0)
    store.open(VERSION, dimension=DIMENSION)
    store.close()
    return directory


@pytest.fixture(params=["edge", "local", "server"])
def store(request, memory_path):
    if request.param == "edge":
        copy_closed(request.getfixturevalue("edge_directory"), memory_path / "data")
        opened = EdgeStore(memory_path / "data", min_free_bytes=0)
    elif request.param == "local":
        opened = ServerStore(QdrantClient(":memory:"), prefix="test")
    elif "QDRANT_URL" in os.environ:
        opened = ServerStore.connect(
            os.environ["QDRANT_URL"],
            api_key=os.environ.get("QDRANT_API_KEY", ""),
            prefix=f"test-{uuid.uuid4().hex}",
        )
    else:
        pytest.skip("QDRANT_URL names no Qdrant server")
    yield opened
    if request.param == "server":
        opened.set_active(opened.open("last/1", dimension=1).model_version)
        for version in opened.model_versions():
            if version != "last/1":
                opened.drop(version)
    opened.close()


@pytest.fixture
def collection(store):
    return store.open(VERSION, dimension=DIMENSION)
