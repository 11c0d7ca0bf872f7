"""A search service with two published versions; the second one embeds differently."""

from __future__ import annotations

import pytest

from halftone.registry.versions import Registry
from tests.support.search.promotions import NEW, publish


@pytest.fixture
def settings(settings, memory_path):
    for version in (1, 2):
        publish(memory_path / "models", memory_path / "scratch", version=version)
    return settings.model_copy(
        update={"promotion_patience_seconds": 2.0, "promotion_poll_seconds": 0.05}
    )


@pytest.fixture
def embedder(embedder):
    embedder.others = {NEW}
    # The descriptor turned around: other vectors, the same neighbours.
    embedder.variants[NEW] = lambda vector: -vector[::-1]
    return embedder


@pytest.fixture
def registry(settings, memory_path):
    return Registry(memory_path / "models")
