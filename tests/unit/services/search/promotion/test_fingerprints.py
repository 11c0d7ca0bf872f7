"""Promotions bring hashes and visual words along: they do not depend on the model's version."""

from __future__ import annotations

import asyncio

import numpy as np

from halftone.services.search.store.edge.store import EdgeStore
from halftone.v1 import models_pb2, search_pb2
from tests.support.search.drawings import drawing, plain, points
from tests.support.search.promotions import (
    NEW,
    OLD,
    promote,
    promoted,
    until,
)
from tests.support.search.search_service import name, picture, record


def held(settings):
    """What the collections of a service that is stopped hold, by version and name."""
    store = EdgeStore(settings.data_directory, min_free_bytes=0)
    try:
        return {
            version: points(store.open(version, dimension=None))
            for version in store.model_versions()
        }
    finally:
        store.close()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for each, point in found.items():
        other = expected[each]
        np.testing.assert_array_equal(point.pdq, other.pdq)
        assert (point.words is None) == (other.words is None)
        if point.words is not None:
            np.testing.assert_array_equal(point.words.indices, other.words.indices)
            np.testing.assert_array_equal(point.words.values, other.words.values)


async def test_a_promotion_copies_them_and_needs_no_features(service, memory_path):
    contents = [*map(drawing, range(6)), plain()]
    await service.add(*(record(at, content=content) for at, content in enumerate(contents)))
    for path in (memory_path / "blobs" / "features").rglob("*.bin"):
        path.write_bytes(b"damaged")
    assert (await promoted(service)).state == models_pb2.Promotion.State.SUCCEEDED
    await service.stop()
    found = held(service.settings)
    assert_same(found[NEW], found[OLD])
    assert len(found[NEW][name(0)].words.indices) > 50
    assert found[NEW][name(6)].pdq is not None
    assert found[NEW][name(6)].words is None
    different = found[NEW][name(0)].vector - found[OLD][name(0)].vector
    assert np.abs(different).max() > 0.01
    await service.start()


async def test_what_is_imported_meanwhile_has_them_in_both(service, embedder):
    await service.add(*(record(at, content=drawing(at)) for at in range(6)))
    gate = embedder.gates[NEW] = asyncio.Event()
    await promote(service)
    await until(lambda: NEW in embedder.stopped)
    adding = asyncio.create_task(
        service.add(record(50, content=drawing(50)), record(2, content=drawing(77)))
    )
    await until(lambda: embedder.images >= 8)
    gate.set()
    await adding
    await service.add(record(3, content=drawing(3), caption="later"))
    watched = service.models.WatchPromotion(models_pb2.WatchPromotionRequest())
    async with asyncio.timeout(20):
        assert [each async for each in watched][-1].state == models_pb2.Promotion.State.SUCCEEDED
    await service.stop()
    found = held(service.settings)
    assert {name(50), name(2)} <= found[NEW].keys()
    # What is stored after the switch is in the new one alone, until somebody goes back.
    common = {
        each
        for each in found[NEW].keys() & found[OLD].keys()
        if found[NEW][each].payload["sha256"] == found[OLD][each].payload["sha256"]
    }
    assert len(common) >= 5
    assert_same(*({each: found[version][each] for each in common} for version in (NEW, OLD)))
    assert all(len(each.words.indices) > 50 for each in found[NEW].values())
    assert found[NEW][name(3)].payload["caption"] == "later"
    await service.start()


async def test_rolling_back_keeps_them_and_brings_new_ones(service):
    await service.add(record(0, content=drawing(0)), record(1, content=picture(1)))
    await promoted(service)
    await service.add(record(9, content=drawing(9)), record(0, content=drawing(10)))
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    await service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest())
    watched = service.models.WatchPromotion(models_pb2.WatchPromotionRequest())
    async with asyncio.timeout(20):
        assert [each async for each in watched][-1].model_version == OLD
    await service.stop()
    found = held(service.settings)
    assert_same(found[OLD], found[NEW])
    assert found[OLD].keys() == {name(0), name(9)}
    await service.start()
