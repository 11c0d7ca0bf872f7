"""Promotions through the service: to both collections, compared, refused, switched, resumed."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from halftone.core import errors
from halftone.registry.pointer import Pointer
from halftone.services.search.promotion.files import PromotionFiles
from halftone.v1 import models_pb2, search_pb2
from tests.support.embedder.fake_embedder import DIMENSION
from tests.support.search.promotions import (
    NEW,
    OLD,
    answering,
    ended,
    promote,
    promoted,
    publish,
    refusal,
    until,
)
from tests.support.search.search_service import name, picture, record

State = models_pb2.Promotion.State
CREATED = search_pb2.ImportImagesResponse.CREATED
UPDATED = search_pb2.ImportImagesResponse.UPDATED


async def test_another_version_answers_and_finds_the_same(service, registry):
    await service.add(*(record(number) for number in range(23)))
    before = await service.hits(image=name(3), limit=5)
    old = await service.search(content=picture(3), limit=1)
    embedding = {
        "values": np.ones(DIMENSION, dtype="<f4").tobytes(),
        "dimension": DIMENSION,
        "model_version": OLD,
    }
    done = await promoted(service)
    assert (done.state, done.images_done, done.images_total) == (State.SUCCEEDED, 23, 23)
    assert (done.from_model_version, done.model_version) == (OLD, NEW)
    assert done.comparison.sampled_queries == 23
    assert done.comparison.top10_agreement == pytest.approx(1.0)
    assert done.end_time.seconds >= done.create_time.seconds > 0
    assert registry.pointer() == Pointer(NEW, (OLD,))
    assert await answering(service) == NEW
    assert await service.hits(image=name(3), limit=5) == before
    refused = await refusal(service.search(embedding=embedding))
    assert isinstance(refused, errors.ModelVersionMismatch)
    refused = await refusal(
        service.search(content=picture(3), limit=1, page_token=old.next_page_token)
    )
    assert isinstance(refused, errors.ModelVersionMismatch)


async def test_rolling_back_embeds_only_what_came_since(service, embedder, registry):
    await service.add(*(record(number) for number in range(10)))
    await promoted(service)
    await service.add(record(100), record(3, content=picture(55)), record(4, caption="new"))
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(5)]))
    embedded = embedder.images
    await service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest())
    done = await ended(service)
    assert (done.state, done.roll_back, done.model_version) == (State.SUCCEEDED, True, OLD)
    assert embedder.images - embedded == 2
    assert registry.pointer() == Pointer(OLD)
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 10
    assert await service.hits(content=picture(55), limit=1) == [name(3)]
    got = await service.stub.GetImage(search_pb2.GetImageRequest(name=name(4)))
    assert got.caption == "new"
    await service.restart()
    assert await answering(service) == OLD
    refused = await refusal(
        service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest())
    )
    assert refused.reason == "NO_PREVIOUS_VERSION"


async def test_what_is_written_meanwhile_goes_to_both(service, embedder):
    await service.add(*(record(number) for number in range(12)))
    gate = embedder.gates[NEW] = asyncio.Event()
    await promote(service)
    # It has seen all records by now.
    await until(lambda: NEW in embedder.stopped)
    adding = asyncio.create_task(service.add(record(50), record(2, content=picture(77))))
    await until(lambda: embedder.images >= 14)
    gate.set()
    states = [answer.state for answer in await adding]
    assert states == [CREATED, UPDATED]
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    await service.add(record(3, caption="later"))
    assert (await ended(service)).state == State.SUCCEEDED
    assert await answering(service) == NEW
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 12
    assert await service.hits(content=picture(77), limit=1) == [name(2)]
    assert await service.hits(content=picture(50), limit=1) == [name(50)]
    got = await service.stub.GetImage(search_pb2.GetImageRequest(name=name(3)))
    assert got.caption == "later"


async def test_an_import_does_not_fail_with_the_new_version(service, embedder):
    await service.add(*(record(number) for number in range(6)))
    embedder.others = set()
    await promote(service)
    answers = await service.add(record(20))
    assert answers[0].state == CREATED
    embedder.others = {NEW}
    assert (await ended(service)).state == State.SUCCEEDED
    assert await service.hits(content=picture(20), limit=1) == [name(20)]


async def test_an_import_embedded_before_the_switch_and_stored_after_it(service, embedder):
    await service.add(*(record(number) for number in range(6)))
    stuck = embedder.gates[OLD] = asyncio.Event()
    adding = asyncio.create_task(service.add(record(30)))
    await until(lambda: OLD in embedder.stopped)
    # It is on its way with the old version only.
    assert (await promoted(service)).state == State.SUCCEEDED
    stuck.set()
    assert [answer.state for answer in await adding] == [CREATED]
    assert await answering(service) == NEW
    response = await service.search(content=picture(30), limit=1)
    assert response.hits[0].image.name == name(30)
    assert response.hits[0].similarity == pytest.approx(1.0, abs=1e-5)


def labelled(number):
    """Two records of the same picture, at two sizes."""
    labels = {"group": search_pb2.Labels(values=[f"g{number}"])}
    yield record(f"{number}-a", content=picture(number), labels=labels)
    yield record(f"{number}-b", content=picture(number, size=(96, 72)), labels=labels)


async def test_a_worse_version_is_refused_unless_forced(service, embedder, registry):
    await service.add(*(each for number in range(15) for each in labelled(number)))
    noise = np.random.default_rng(1)
    embedder.variants[NEW] = lambda vector: noise.standard_normal(len(vector)).astype(np.float32)
    done = await promoted(service)
    assert done.state == State.REFUSED
    assert "recall@1 falls from 1.000" in done.comparison.refusal
    error = errors.from_status(done.error)
    assert (error.reason, error.subject) == ("VERSION_WORSE", NEW)
    assert done.comparison.from_figures.queries == 30
    assert done.comparison.from_figures.recall_at_1 == 1.0
    assert done.comparison.to_figures.recall_at_1 < 0.5
    assert registry.pointer().active == OLD
    assert (await service.search(content=picture(1), limit=1)).model_version == OLD
    embedded = embedder.images
    done = await promoted(service, force=True)
    assert done.state == State.SUCCEEDED
    assert done.comparison.refusal
    assert embedder.images == embedded, "what was embedded for the refused try is used"
    assert (await service.search(content=picture(1), limit=1)).model_version == NEW


async def test_the_callers_groups_are_measured(service):
    await service.add(*(record(number) for number in range(4)))
    await service.add(record("again", content=picture(2, size=(90, 70))))
    groups = [models_pb2.LabelledGroup(images=[name(2), name("again")])]
    done = await promoted(service, labelled_groups=groups)
    assert done.comparison.to_figures.queries == 2
    assert done.comparison.to_figures.recall_at_1 == 1.0


async def test_groups_of_images_that_are_not_here_are_refused_at_once(service, embedder):
    await service.add(record(1))
    embedded = embedder.images
    wrong = [f"archives/mispelt/images/{number}" for number in range(70)]
    groups = [models_pb2.LabelledGroup(images=wrong)]
    error = await refusal(promote(service, labelled_groups=groups))
    assert isinstance(error, errors.NotFound)
    assert (error.resource_type, error.resource_name) == ("image", wrong[0])
    assert embedder.images == embedded
    groups.append(models_pb2.LabelledGroup(images=[name(1)]))
    assert (await promoted(service, labelled_groups=groups)).state == State.SUCCEEDED


async def test_images_that_cannot_be_embedded_are_counted(service, registry):
    await service.add(*(record(number) for number in range(8)))
    (path,) = [
        path
        for path in (service.settings.data_directory.parent / "blobs" / "originals").rglob("*")
        if path.is_file()
    ][:1]
    path.unlink()
    done = await promoted(service)
    assert (done.state, done.images_failed) == (State.REFUSED, 1)
    assert "1 of 8 images could not be embedded" in done.comparison.refusal
    done = await promoted(service, force=True)
    assert (done.state, done.images_failed) == (State.SUCCEEDED, 1)
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 7
    # The version that could embed it has it still.
    await service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest())
    assert (await ended(service)).state == State.SUCCEEDED
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 8


async def test_a_switch_that_failed_and_could_not_say_so_is_no_loss(service, registry):
    """A full disk may leave SWITCHING in the file while records go on to the old collection."""
    await service.add(*(record(number) for number in range(6)))
    await promoted(service)
    done = await promoted(service, OLD, force=True)
    (answer,) = await service.add(record(6))
    assert answer.state == CREATED
    done.model_version, done.from_model_version = NEW, OLD
    done.state = State.SWITCHING
    PromotionFiles(service.settings.data_directory).write(done)
    async with asyncio.timeout(60):
        while await answering(service) != NEW:
            await asyncio.sleep(0.02)
    assert name(6) in await service.hits(image=name(0), limit=20)


async def test_one_promotion_at_a_time(service, embedder, registry, memory_path):
    publish(memory_path / "models", memory_path / "scratch", version=3)
    await service.add(record(1))
    error = await refusal(service.models.GetPromotion(models_pb2.GetPromotionRequest()))
    assert isinstance(error, errors.NotFound)
    assert isinstance(await refusal(promote(service, "fake/9")), errors.NotFound)
    assert (await refusal(promote(service, OLD))).reason == "VERSION_ACTIVE"
    assert (await refusal(promote(service, ""))).field == "name"
    assert (
        await refusal(service.models.RollBackModelVersion(models_pb2.RollBackModelVersionRequest()))
    ).reason == "NO_PREVIOUS_VERSION"
    embedder.gates[NEW] = asyncio.Event()
    first = await promote(service)
    assert (await promote(service)).id == first.id
    assert (await refusal(promote(service, "fake/3"))).reason == "PROMOTION_RUNNING"
    for taking_part in (OLD, NEW):
        request = models_pb2.DeleteModelVersionRequest(name=taking_part)
        assert "PROMOTION" in (await refusal(service.models.DeleteModelVersion(request))).reason
    embedder.gates[NEW].set()
    await ended(service)


async def test_a_promotion_can_be_stopped(service, embedder, registry):
    await service.add(*(record(number) for number in range(5)))
    embedder.others = set()
    await promote(service)
    stopped = await service.models.CancelPromotion(models_pb2.CancelPromotionRequest())
    assert stopped.state == State.CANCELLED
    error = await refusal(service.models.CancelPromotion(models_pb2.CancelPromotionRequest()))
    assert error.reason == "PROMOTION_ENDED"
    assert await answering(service) == OLD
    assert registry.pointer().active == OLD
    embedder.others = {NEW}
    assert (await promoted(service)).state == State.SUCCEEDED


async def test_a_version_that_the_embedder_does_not_load_fails(service, embedder, registry):
    await service.add(record(0))
    embedder.others = set()
    done = await promoted(service)
    assert done.state == State.FAILED
    assert errors.from_status(done.error).reason == "MODEL_NOT_LOADED"
    assert await answering(service) == OLD


async def test_a_damaged_version_fails(service, registry, memory_path):
    await service.add(record(0))
    (memory_path / "models" / "fake" / "2" / "model.safetensors").write_bytes(b"other")
    done = await promoted(service)
    assert done.state == State.FAILED
    assert errors.from_status(done.error).reason == "MODEL_DAMAGED"
    assert await answering(service) == OLD


async def test_an_interrupted_promotion_goes_on_at_the_next_start(service, embedder):
    await service.add(*(record(number) for number in range(12)))
    embedder.gates[NEW] = asyncio.Event()
    started = await promote(service)
    await asyncio.sleep(0.2)
    await service.restart()
    assert await answering(service) == OLD
    embedder.gates[NEW].set()
    done = await ended(service)
    assert (done.state, done.id) == (State.SUCCEEDED, started.id)
    assert await answering(service) == NEW


async def test_a_switch_that_cannot_be_completed_is_undone(service, registry, memory_path):
    await service.add(*(record(number) for number in range(6)))
    await promoted(service)
    await promoted(service, OLD, force=True)
    await service.stop()
    files = PromotionFiles(service.settings.data_directory)
    promotion = files.read()
    promotion.model_version, promotion.from_model_version = NEW, OLD
    promotion.state = State.SWITCHING
    files.write(promotion)
    (memory_path / "models" / "fake" / "2" / "model.safetensors").write_bytes(b"other")
    await service.restart()
    assert await answering(service) == OLD
    assert registry.pointer().active == OLD
    assert (await ended(service)).state == State.FAILED


async def test_versions_are_listed_and_deleted(service, registry, memory_path):
    publish(memory_path / "models", memory_path / "scratch", version=10)
    await service.add(*(record(number) for number in range(3)))
    await promoted(service)
    request = models_pb2.ListModelVersionsRequest(page_size=2)
    page = await service.models.ListModelVersions(request)
    found = [(each.name, each.active, each.previous, each.image_count) for each in page.versions]
    assert found == [(OLD, False, True, 3), (NEW, True, False, 3)]
    request.page_token = page.next_page_token
    page = await service.models.ListModelVersions(request)
    assert [each.name for each in page.versions] == ["fake/10"]
    assert not page.next_page_token
    got = await service.models.GetModelVersion(models_pb2.GetModelVersionRequest(name=NEW))
    assert (got.dimension, got.spec["version"]) == (DIMENSION, 2)

    async def delete(version):
        await service.models.DeleteModelVersion(models_pb2.DeleteModelVersionRequest(name=version))

    assert (await refusal(delete(NEW))).reason == "VERSION_ACTIVE"
    await delete(OLD)
    await delete("fake/10")
    assert [version.id for version in registry.list()] == [NEW]
    assert not (service.settings.data_directory / "fake@1").exists()
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    assert await answering(service) == NEW


@pytest.mark.parametrize("content", [None, "{", '{"network": []}', '{"dimension": -1}'])
async def test_a_broken_version_hides_no_other_and_can_be_deleted(service, registry, content):
    spec = registry.resolve(NEW).directory / "spec.json"
    if content is None:
        spec.unlink()
    else:
        spec.write_text(content)
    page = await service.models.ListModelVersions(models_pb2.ListModelVersionsRequest())
    assert [(each.name, each.dimension) for each in page.versions] == [(OLD, DIMENSION), (NEW, 0)]
    # The command line asks for the version before it deletes it.
    got = await service.models.GetModelVersion(models_pb2.GetModelVersionRequest(name=NEW))
    assert (got.name, got.backbone, got.dimension) == (NEW, "", 0)
    await service.models.DeleteModelVersion(models_pb2.DeleteModelVersionRequest(name=NEW))
    assert [version.id for version in registry.list()] == [OLD]


async def test_collections_that_nobody_goes_back_to_are_dropped(service, embedder, memory_path):
    publish(memory_path / "models", memory_path / "scratch", version=3)
    embedder.others = {NEW, "fake/3"}
    await service.add(*(record(number) for number in range(3)))
    await promoted(service)
    await promoted(service, "fake/3")
    folder = service.settings.data_directory
    await until(lambda: not (folder / "fake@1").exists())
    assert (folder / "fake@2").exists()
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))


async def test_a_pointer_that_was_moved_offline_is_told_and_put_right(service, registry):
    await service.add(*(record(number) for number in range(3)))
    registry.promote(NEW)
    assert await answering(service) == OLD
    done = await promoted(service, OLD)
    assert (done.state, done.images_done) == (State.SUCCEEDED, 0)
    assert registry.pointer().active == OLD
    registry.promote(NEW)
    assert (await promoted(service)).state == State.SUCCEEDED
    assert await answering(service) == NEW


@pytest.mark.soak
async def test_searches_never_fail(service):
    await service.add(*(record(number) for number in range(12)))
    versions = set()
    stopping = asyncio.Event()

    async def searching():
        while not stopping.is_set():
            found = await service.search(content=picture(2), limit=3)
            versions.add(found.model_version)
            assert found.hits[0].image.name == name(2)
            # A promotion waits for searches, and these would never leave it a moment.
            await asyncio.sleep(0.01)

    running = [asyncio.create_task(searching()) for _ in range(2)]
    for version in (NEW, OLD, NEW):
        assert (await promoted(service, version, force=True)).state == State.SUCCEEDED
    stopping.set()
    await asyncio.gather(*running)
    assert versions == {OLD, NEW}
