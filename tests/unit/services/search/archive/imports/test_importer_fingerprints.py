"""What an import keeps of pictures beside their descriptors, and what it does without."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftone.core import errors, telemetry
from halftone.imaging.orientations import UPRIGHT
from halftone.imaging.pool.inline import Inline
from halftone.matching.fingerprint import archive_fingerprint
from halftone.matching.pdq import to_vector
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.embedder_client import Embedder
from halftone.services.search.archive.fingerprints import Fingerprints
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.archive.imports.importer import Importer
from halftone.services.search.store.edge.store import EdgeStore
from halftone.v1 import search_pb2
from tests.support.embedder.fake_embedder import DIMENSION
from tests.support.search.drawings import drawing, plain, points
from tests.support.search.search_service import Service, name, record

CREATED = search_pb2.ImportImagesResponse.State.CREATED


def states(answers):
    return [answer.state for answer in answers]


async def stored(service, image_id):
    return await service.stub.GetImage(search_pb2.GetImageRequest(name=name(image_id)))


def features_of(service):
    folder = Path(service.settings.blobs) / "features"
    return {path.stem: path for path in folder.rglob("*.bin")}


async def test_pictures_are_fingerprinted(service):
    contents = [drawing(1), drawing(2), plain()]
    await service.add(*(record(at, content=content) for at, content in enumerate(contents)))
    images = [await stored(service, at) for at in range(3)]
    assert features_of(service).keys() == {image.content_sha256 for image in images}
    await service.stop()
    with opened(service) as collection:
        found = [points(collection)[name(at)] for at in range(3)]
    for at in range(3):
        expected = archive_fingerprint(Image.open(io.BytesIO(contents[at])))
        np.testing.assert_array_equal(found[at].pdq, to_vector(expected.pdq[UPRIGHT]))
        kept = found[at].words.indices if found[at].words else []
        np.testing.assert_array_equal(kept, expected.words[False].indices)
    assert len(found[0].words.indices) > 50
    assert found[2].words is None
    await service.start()


async def test_features_are_made_once_for_equal_bytes_and_go_with_the_last(service):
    await service.add(record("a", content=drawing(1)))
    (path,) = features_of(service).values()
    before = path.stat()
    await service.add(record("b", content=drawing(1)))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    # Damaged ones are no reason to refuse a record, and are replaced.
    path.write_bytes(b"damaged")
    assert states(await service.add(record("c", content=drawing(1)))) == [CREATED]
    assert path.stat().st_size == before.st_size
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("a"), name("c")]))
    assert path.exists()
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("b")]))
    assert not features_of(service)


async def test_another_picture_takes_the_features_of_the_old_one_along(service):
    await service.add(record("a", content=drawing(1)))
    await service.add(record("a", content=drawing(2)))
    image = await stored(service, "a")
    assert features_of(service).keys() == {image.content_sha256}


async def test_what_a_killed_import_left_behind_is_used(service):
    """Bytes and features that no record refers to yet: the import is repeated."""
    await service.add(record("a", content=drawing(1)))
    (path,) = features_of(service).values()
    written = path.stat().st_mtime_ns
    await service.stop()
    with opened(service) as collection:
        collection.delete([points(collection)[name("a")].id])
    await service.start()
    assert states(await service.add(record("a", content=drawing(1)))) == [CREATED]
    assert path.stat().st_mtime_ns == written
    await service.stop()
    with opened(service) as collection:
        assert len(points(collection)[name("a")].words.indices) > 50
    await service.start()


@pytest.mark.soak
@pytest.mark.parametrize("broken", ["made", "kept"])
async def test_a_record_is_not_refused_for_its_fingerprint(settings, embedder, broken):
    """Neither a failure of a computation nor of keeping its outcome loses a record."""
    metrics = telemetry.Metrics(service="test")
    store = EdgeStore(settings.data_directory, min_free_bytes=0)
    holdings = Holdings.of(Blobs(settings.blobs), metrics=metrics)
    holdings.collections.open(store.open(embedder.version, dimension=DIMENSION))
    connected = Embedder(embedder.address, timeout=10.0, metrics=metrics)
    importer = Importer(
        types.SimpleNamespace(
            holdings=holdings,
            embedder=connected,
            fingerprints=_Broken(holdings.blobs, metrics=metrics, what=broken),
            settings=settings,
            metrics=metrics,
        )
    )

    async def requests():
        for at in range(5):
            yield record(at, content=drawing(at))

    assert states([answer async for answer in importer.run(requests())]) == [CREATED] * 5
    there = points(holdings.collection)
    assert len(there) == 5
    assert all((each.pdq is None) == (broken == "made") for each in there.values())
    failed = metrics.registry.get_sample_value("halftone_test_import_fingerprint_failures_total")
    assert failed == (5 if broken == "made" else 0)
    await connected.close()
    holdings.threads.close()
    store.close()


class _Broken(Fingerprints):
    """Fails as nobody expects."""

    def __init__(self, blobs, *, metrics, what):
        super().__init__(
            blobs=blobs,
            runner=Inline(),
            max_pixels=10**7,
            memory_bytes=0,
            metrics=metrics,
        )
        self._what = what

    def of_archive(self, content, *, sha256):
        if self._what == "made":
            raise RuntimeError("a bug")
        return super().of_archive(content, sha256=sha256)

    def keep(self, features, *, sha256):
        raise RuntimeError("a bug")


@contextlib.contextmanager
def opened(service):
    """The collection of a service that is stopped."""
    store = EdgeStore(service.settings.data_directory, min_free_bytes=0)
    try:
        yield store.open(store.active(), dimension=None)
    finally:
        store.close()


async def test_a_collection_of_an_earlier_release_ends_the_start(service, settings, embedder):
    await service.add(record(1))
    await service.stop()
    (marker,) = settings.data_directory.glob("*/collection.json")
    described = json.loads(marker.read_text())
    del described["layout"]
    marker.write_text(json.dumps(described))
    again = Service(settings, embedder=embedder)
    await again.start(wait=False)
    with pytest.raises(errors.FailedPrecondition, match="import the archive again") as caught:
        async with asyncio.timeout(60):
            await again.running
    assert caught.value.reason == "COLLECTION_LAYOUT"
