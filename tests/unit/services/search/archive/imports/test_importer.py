"""Imports through the service: states, order, bad records, equal bytes, outages, full disks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pathlib
import re
import shutil

import grpc
import pytest

from halftone.client import retry
from halftone.core import errors
from halftone.core.settings import SearchSettings
from halftone.services.search.store.edge.collection import EdgeCollection
from halftone.services.search.store.server_errors import to_error
from halftone.v1 import search_pb2
from tests.support.embedder.fake_embedder import VERSION
from tests.support.pictures.image_corpus import pages
from tests.support.search.search_service import Service, metrics_of, name, picture, record

State = search_pb2.ImportImagesResponse.State
CREATED, UNCHANGED = State.CREATED, State.UNCHANGED
UPDATED, REJECTED = State.UPDATED, State.REJECTED


def states(answers):
    return [answer.state for answer in answers]


def failure(answer):
    assert answer.state == REJECTED
    return errors.from_status(answer.error)


async def add_until_the_end(service, *requests):
    """Imports records and returns the acknowledgements, and the error that ended the stream."""
    answers = []
    try:
        async for answer in service.stub.ImportImages(iter(requests)):
            answers.append(answer)  # noqa: PERF401 - what came before the error counts
    except grpc.aio.AioRpcError as error:
        return answers, errors.from_rpc_error(error)
    raise AssertionError("the stream ended well")


async def stored(service, image_id):
    return await service.stub.GetImage(search_pb2.GetImageRequest(name=name(image_id)))


async def test_records_are_acknowledged_in_their_order(service):
    answers = await service.add(*(record(number, row=100 + number) for number in range(23)))
    assert states(answers) == [CREATED] * 23
    assert [answer.row for answer in answers] == list(range(100, 123))
    assert [answer.name for answer in answers] == [name(number) for number in range(23)]


async def test_a_record_is_kept_as_it_came(service):
    sent = search_pb2.Image(
        name=name("1914/08/22 p.3"),
        journal="L'Illustration",
        date="1914-08~",
        page="3",
        caption="Le départ des mobilisés",
        language="fr",
        page_region={"x": 10, "y": 20, "width": 300, "height": 200},
        source_uri="https://example.org/1",
        page_image="archives/scans/images/1914/p3",
        rights="public domain",
        show=search_pb2.Image.THUMBNAIL,
        labels={"medium": search_pb2.Labels(values=["photo", "halftone"])},
    )
    content = picture(1, size=(120, 80))
    await service.add(search_pb2.ImportImagesRequest(image=sent, content=content))
    got = await service.stub.GetImage(search_pb2.GetImageRequest(name=sent.name))
    expected = search_pb2.Image()
    expected.CopyFrom(sent)
    expected.earliest_date, expected.latest_date = "1914-08-01", "1914-08-31"
    expected.width, expected.height = 120, 80
    expected.content_sha256 = got.content_sha256
    expected.create_time.CopyFrom(got.create_time)
    expected.update_time.CopyFrom(got.create_time)
    assert got == expected
    assert len(got.content_sha256) == 64


async def test_pages_that_are_not_imported_are_told(service):
    """Also when the record is there already, since nobody may have read it the first time."""
    several = search_pb2.ImportImagesRequest(
        image=search_pb2.Image(name=name("pages")), content=pages()
    )
    said = [
        "The file has 3 pages; only the first is imported. `halftone import` imports all of them."
    ]
    for state in (CREATED, UNCHANGED):
        one, other = await service.add(record(1), several)
        assert (other.state, list(other.notes)) == (state, said)
        assert list(one.notes) == []


async def test_importing_again_changes_nothing_and_embeds_nothing(service):
    requests = [record(number, caption=f"caption {number}") for number in range(10)]
    await service.add(*requests)
    before = await stored(service, 3)
    embedded = service.embedder.images
    assert states(await service.add(*requests)) == [UNCHANGED] * 10
    assert service.embedder.images == embedded
    assert await stored(service, 3) == before


async def test_two_imports_at_once_change_each_record_once(service):
    requests = [record(number, caption=f"caption {number}") for number in range(10)]
    answers = await asyncio.gather(*(service.add(*requests) for _ in range(3)))
    for three in zip(*map(states, answers), strict=True):
        assert sorted(three) == sorted([CREATED, UNCHANGED, UNCHANGED])
    for number in range(10):
        found = await stored(service, number)
        assert found.update_time == found.create_time
    changed = [record(number, caption="other") for number in range(10)]
    answers = await asyncio.gather(*(service.add(*changed) for _ in range(3)))
    for three in zip(*map(states, answers), strict=True):
        assert sorted(three) == sorted([UPDATED, UNCHANGED, UNCHANGED])


async def test_other_fields_are_written_without_embedding(service):
    await service.add(record(1, caption="old", date="1914"), record(2))
    before = await stored(service, 1)
    embedded = service.embedder.images
    answers = await service.add(record(1, caption="new"), record(2))
    assert states(answers) == [UPDATED, UNCHANGED]
    assert service.embedder.images == embedded
    after = await stored(service, 1)
    assert (after.caption, after.date, after.earliest_date) == ("new", "", "")
    assert after.create_time == before.create_time
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert await service.hits(image=name(1), limit=1) == [name(2)]


async def test_another_picture_replaces_the_old_one_and_its_bytes(service):
    await service.add(record(1, content=picture(1)))
    before = await stored(service, 1)
    assert states(await service.add(record(1, content=picture(50)))) == [UPDATED]
    after = await stored(service, 1)
    assert after.content_sha256 != before.content_sha256
    assert after.create_time == before.create_time
    response = await service.search(content=picture(50), limit=1)
    assert response.hits[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert blobs(service) == {after.content_sha256}


def blobs(service):
    folder = service.settings.blobs
    return {
        file
        for directory, _, files in os.walk(os.path.join(folder, "originals"))  # noqa: PTH118 - walk's own
        for file in files
        if directory
    }


def blob_file(service, image):
    folder = pathlib.Path(service.settings.blobs) / "originals"
    (path,) = folder.rglob(image.content_sha256)
    return path


async def test_pictures_that_were_lost_come_back_with_their_records(service):
    requests = [record(1), record(2), record(3)]
    await service.add(*requests)
    shutil.rmtree(service.settings.blobs)
    answers = await service.add(record(1), record(2, caption="new"))
    assert states(answers) == [UNCHANGED, UPDATED]
    for image_id in (1, 2):
        image = await stored(service, image_id)
        assert blob_file(service, image).read_bytes() == picture(image_id)
        thumbnail = search_pb2.GetThumbnailRequest(name=image.name)
        assert (await service.stub.GetThumbnail(thumbnail)).content
    # Nothing stayed pinned: the bytes go with their records.
    names = [name(1), name(2), name(3)]
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=names))
    assert not blobs(service)


async def test_a_picture_that_was_read_as_damaged_comes_back_with_its_record(service):
    await service.add(record(1))
    image = await stored(service, 1)
    content = picture(1)
    blob_file(service, image).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    thumbnail = search_pb2.GetThumbnailRequest(name=image.name)
    with pytest.raises(grpc.aio.AioRpcError, match="import the image again"):
        await service.stub.GetThumbnail(thumbnail)
    assert states(await service.add(record(1))) == [UNCHANGED]
    assert blob_file(service, image).read_bytes() == content
    assert (await service.stub.GetThumbnail(thumbnail)).content


async def test_a_picture_that_cannot_be_brought_back_is_refused(service):
    await service.add(record(1), record(2))
    lost = blob_file(service, await stored(service, 1))
    lost.unlink()
    lost.mkdir()
    (lost / "in the way").touch()
    answers = await service.add(record(1, caption="new"), record(2))
    assert [isinstance(failure(answers[0]), errors.DataLoss), answers[1].state] == [
        True,
        UNCHANGED,
    ]
    assert not (await stored(service, 1)).caption


async def test_bytes_that_another_service_drops_during_an_import_are_kept_again(service):
    await service.add(record("a", content=picture(1)))
    image = await stored(service, "a")
    stuck = asyncio.Event()
    service.embedder.before_answer = stuck.wait
    service.embedder.request_ids.clear()
    importing = asyncio.create_task(service.add(record("b", content=picture(1))))
    await asked(service.embedder, 1)
    blob_file(service, image).unlink()
    stuck.set()
    assert states(await importing) == [CREATED]
    assert blob_file(service, image).read_bytes() == picture(1)


async def test_bytes_that_cannot_be_dropped_refuse_no_record(service):
    await service.add(record(1), record(2))
    for image_id in (1, 2):
        used = blob_file(service, await stored(service, image_id))
        used.unlink()
        used.mkdir()
    assert states(await service.add(record(1, content=picture(50)))) == [UPDATED]
    deleted = await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(2)]))
    assert deleted.deleted_count == 1


async def test_bad_records_are_refused_and_the_others_taken(service):
    answers = await service.add(
        record(1),
        record(2, date="1914-13"),
        record(3, content=b"this is no image"),
        record(4, content=b""),
        record(5, name="archives/press/5"),
        record(6, name=""),
        record(7, language="not a language"),
        search_pb2.ImportImagesRequest(image={"name": name(8)}),
        record(1, content=picture(9)),
        record(10, name=name("../10")),
        record(11),
    )
    assert states(answers) == [CREATED] + [REJECTED] * 9 + [CREATED]
    found = [failure(answer) for answer in answers[1:-1]]
    assert all(isinstance(error, errors.InvalidArgument) for error in found)
    assert [error.field for error in found] == [
        "image.date",
        "content",
        "content",
        "image.name",
        "image.name",
        "image.language",
        "source",
        "image.name",
        "image.name",
    ]
    assert isinstance(found[1], errors.ImageRejected)
    assert found[7].reason == "DUPLICATE_ID"
    assert "1914-13" in found[0].message
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 2
    # The bytes of the picture that the embedder refused are not left behind.
    assert len(blobs(service)) == 2


async def asked(embedder, count):
    """Waits until the embedder was called so often."""
    async with asyncio.timeout(60):
        while len(embedder.request_ids) < count:
            await asyncio.sleep(0.01)


async def test_equal_bytes_under_several_names_know_of_each_other(service):
    same = picture(1)
    await service.add(record("a", content=same), record(7))
    assert list((await stored(service, "a")).same_content) == []
    await service.add(record("b", content=same), record("c", content=same))
    for one, others in (("a", "bc"), ("b", "ac"), ("c", "ab")):
        image = await stored(service, one)
        assert list(image.same_content) == [name(other) for other in others]
    assert list((await stored(service, 7)).same_content) == []
    response = await service.search(content=same, limit=3)
    assert [hit.image.name for hit in response.hits] == [name("a"), name("b"), name("c")]
    assert [list(hit.image.same_content) for hit in response.hits[:1]] == [[name("b"), name("c")]]
    # The bytes go with the last record that has them.
    assert len(blobs(service)) == 2
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("a"), name("c")]))
    assert list((await stored(service, "b")).same_content) == []
    assert len(blobs(service)) == 2
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("b")]))
    assert len(blobs(service)) == 1


async def test_bytes_that_an_import_is_about_to_use_are_not_dropped(service):
    await service.add(record("a", content=picture(1)))
    stuck = asyncio.Event()
    service.embedder.before_answer = stuck.wait
    service.embedder.request_ids.clear()
    importing = asyncio.create_task(service.add(record("b", content=picture(1))))
    await asked(service.embedder, 1)
    request = search_pb2.DeleteImagesRequest(names=[name("a")])
    assert (await service.stub.DeleteImages(request)).deleted_count == 1
    stuck.set()
    assert states(await importing) == [CREATED]
    thumbnail = search_pb2.GetThumbnailRequest(name=name("b"))
    assert (await service.stub.GetThumbnail(thumbnail)).content


async def test_paths_below_an_import_root(service):
    root = service.settings.import_roots[0]
    (root / "1914").mkdir(parents=True)
    (root / "1914" / "a.png").write_bytes(picture(1))
    (root.parent / "outside.png").write_bytes(picture(2))
    (root / "link.png").symlink_to(root.parent / "outside.png")
    (root / "linked").symlink_to(root.parent)
    (root / "empty.png").touch()
    os.mkfifo(root / "pipe.png")
    answers = await service.add(
        record("a", path="1914/a.png"),
        record("b", path=str(root / "1914" / "a.png")),
        record("c", path="../outside.png"),
        record("d", path=str(root.parent / "outside.png")),
        record("e", path="link.png"),
        record("f", path="linked/outside.png"),
        record("g", path="missing.png"),
        record("h", path="empty.png"),
        record("i", path="pipe.png"),
        record("j", path="."),
        record("k", path="/etc/hostname"),
    )
    assert states(answers) == [CREATED] * 2 + [REJECTED] * 9
    reasons = [failure(answer).reason for answer in answers[2:]]
    assert reasons[:5] == [
        "OUTSIDE_FOLDER",
        "OUTSIDE_FOLDER",
        "SYMBOLIC_LINK",
        "SYMBOLIC_LINK",
        "MISSING_FILE",
    ]
    assert reasons[8] == "OUTSIDE_FOLDER"


async def test_a_path_is_looked_for_below_each_import_root(settings, embedder, memory_path):
    roots = memory_path / "root", memory_path / "second"
    for number, root in enumerate(roots):
        root.mkdir()
        (root / f"{number}.png").write_bytes(picture(number))
    (roots[1] / "empty.png").touch()
    service = Service(settings.model_copy(update={"import_roots": roots}), embedder=embedder)
    await service.start()
    answers = await service.add(
        record(0, path="0.png"),
        record(1, path="1.png"),
        record(2, path=str(roots[1] / "1.png")),
        record(3, path="missing.png"),
        record(4, path="../0.png"),
        record(5, path="/etc/hostname"),
        record(6, path="empty.png"),
    )
    assert states(answers) == [CREATED] * 3 + [REJECTED] * 4
    reasons = [failure(answer).reason for answer in answers[3:]]
    assert reasons[:3] == ["MISSING_FILE", "OUTSIDE_FOLDER", "OUTSIDE_FOLDER"]
    assert "empty" in failure(answers[6]).message
    await service.stop()


async def test_without_import_roots_there_are_no_paths(settings, embedder):
    closed = Service(settings.model_copy(update={"import_roots": ()}), embedder=embedder)
    await closed.start()
    (answer,) = await closed.add(record(1, path="a.png"))
    assert failure(answer).field == "path"
    await closed.stop()


async def test_a_short_outage_of_the_embedder_is_waited_for(settings, embedder):
    patient = settings.model_copy(update={"import_patience_seconds": 60})
    service = Service(patient, embedder=embedder)
    await service.start()
    service.embedder.refusing = errors.Unavailable("gone")
    running = asyncio.create_task(service.add(*(record(number) for number in range(9))))
    await asked(embedder, 3)
    assert not running.done()
    service.embedder.refusing = None
    assert states(await running) == [CREATED] * 9
    await service.stop()


@pytest.mark.soak
async def test_after_a_long_outage_nothing_is_refused_and_the_rest_can_be_imported_again(service):
    await service.add(record(0))
    service.embedder.refusing = errors.ResourceExhausted("full", retry_after=0.05)
    requests = [record(number) for number in range(120)]
    started = asyncio.get_running_loop().time()
    answers, error = await add_until_the_end(service, *requests)
    # The patience is that of the import, not of each of its thirty batches.
    assert asyncio.get_running_loop().time() - started < 20
    assert states(answers) == [UNCHANGED]
    assert isinstance(error, errors.ResourceExhausted)
    assert len(blobs(service)) == 1
    service.embedder.refusing = None
    assert states(await service.add(*requests)) == [UNCHANGED] + [CREATED] * 119


async def test_an_embedder_that_loads_its_versions_is_waited_for(settings, embedder):
    patient = settings.model_copy(update={"import_patience_seconds": 60})
    service = Service(patient, embedder=embedder)
    await service.start()
    embedder.version = "another/1"
    running = asyncio.create_task(service.add(record(1), record(2)))
    await asked(embedder, 1)
    embedder.version = VERSION
    assert states(await running) == [CREATED] * 2
    await service.stop()


class AwayTwice:
    """Stands in for a method of a collection: it fails twice, or for as long as it is told to."""

    def __init__(self, method, *, times=2):
        self._method = method
        self.left = times

    def __get__(self, collection, _):
        def call(*arguments, **fields):
            if self.left > 0:
                self.left -= 1
                raise to_error(OSError("1 of 3 replicas does not answer"))
            return self._method(collection, *arguments, **fields)

        return call


@pytest.mark.parametrize("method", ["retrieve", "upsert", "overwrite_payloads", "facet"])
async def test_a_store_that_cannot_answer_is_asked_again(settings, embedder, monkeypatch, method):
    patient = settings.model_copy(update={"import_patience_seconds": 60})
    service = Service(patient, embedder=embedder)
    await service.start()
    await service.add(record(1))
    away = AwayTwice(getattr(EdgeCollection, method))
    monkeypatch.setattr(EdgeCollection, method, away)
    answers = await service.add(record(1, caption="new"), record(2))
    assert away.left == 0
    assert states(answers) == [UPDATED, CREATED]
    # The worker that groups pictures may have met one of the two.
    retries = re.search(
        r'import_store_retries_total{reason="UNAVAILABLE"} (\d)', await metrics_of(service)
    )
    assert retries is not None
    assert int(retries[1]) in {1, 2}
    await service.stop()


@pytest.mark.parametrize("method", ["retrieve", "upsert", "overwrite_payloads"])
async def test_a_store_that_stays_away_is_no_fault_of_a_record(service, monkeypatch, method):
    """The import ends, nothing is rejected, and the sender can send the rest again."""
    await service.add(record(1))
    requests = [record(1, caption="new"), record(2)]
    with monkeypatch.context() as broken:
        broken.setattr(
            EdgeCollection, method, AwayTwice(getattr(EdgeCollection, method), times=10**6)
        )
        answers, error = await add_until_the_end(service, *requests)
    assert isinstance(error, errors.Unavailable)
    assert retry.is_retryable(error)
    assert "replicas" in error.message
    assert REJECTED not in states(answers)
    assert set(states(await service.add(*requests))) <= {CREATED, UPDATED, UNCHANGED}


async def test_a_message_that_cannot_be_decoded_is_rejected_and_the_others_go_on(service):
    sent = [record(1, row=1).SerializeToString(), b"\xff\xff\xff", b"\x0a\x02\x0a\xff"]
    sent.append(record(2, row=4).SerializeToString())
    async with grpc.aio.insecure_channel(service.address) as channel:
        importing = channel.stream_stream(
            "/halftone.v1.SearchService/ImportImages",
            response_deserializer=search_pb2.ImportImagesResponse.FromString,
        )
        answers = [answer async for answer in importing(iter(sent))]
    assert states(answers) == [CREATED, REJECTED, REJECTED, CREATED]
    assert [answer.row for answer in answers] == [1, 0, 0, 4]
    assert failure(answers[1]).reason == "UNDECODABLE"


async def test_a_sender_that_waits_for_answers_gets_them(service):
    call = service.stub.ImportImages()
    for number in range(3):
        await call.write(record(number))
        answer = await asyncio.wait_for(call.read(), 60)
        assert (answer.name, answer.state) == (name(number), CREATED)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_refused_record_may_come_again_corrected(service):
    call = service.stub.ImportImages()
    found = []
    for request in (record(1, content=b"this is no image"), record(1), record(1, caption="again")):
        await call.write(request)
        found.append(await asyncio.wait_for(call.read(), 60))
    await call.done_writing()
    assert states(found) == [REJECTED, CREATED, REJECTED]
    assert failure(found[2]).reason == "DUPLICATE_ID"
    assert (await stored(service, 1)).caption == ""


async def test_too_many_imports_at_a_time_are_told_to_come_back(settings, embedder):
    service = Service(settings.model_copy(update={"max_concurrent_imports": 1}), embedder=embedder)
    await service.start()
    call = service.stub.ImportImages()
    await call.write(record(1))
    assert (await call.read()).state == CREATED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.add(record(2))
    error = errors.from_rpc_error(raised.value)
    assert (type(error), error.reason) == (errors.ResourceExhausted, "TOO_MANY_IMPORTS")
    assert error.retry_after
    call.cancel()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await service.add(record(3))
                break
            await asyncio.sleep(0.02)
    await service.stop()


@pytest.mark.soak
async def test_the_stream_is_not_read_ahead_without_bounds(service):
    """With the embedder stuck, a sender is stopped after what the windows hold."""
    stuck = asyncio.Event()
    service.embedder.before_answer = stuck.wait
    sent = 0
    content = picture(1) + bytes(4_000_000)

    async def requests():
        nonlocal sent
        for number in range(300):
            sent = number
            yield record(number, content=content)

    call = service.stub.ImportImages(requests())
    running = asyncio.create_task(call.read())
    previous = -1
    while sent != previous or sent < 4:
        previous = sent
        await asyncio.sleep(1.0)
    assert sent < 100
    stuck.set()
    assert (await asyncio.wait_for(running, 60)).state == CREATED
    call.cancel()


async def test_a_cancelled_import_leaves_whole_records(service):
    async def requests():
        for number in range(1000):
            yield record(number)

    call = service.stub.ImportImages(requests())
    acknowledged = [await call.read() for _ in range(6)]
    call.cancel()
    for answer in acknowledged:
        assert (await service.stub.GetImage(search_pb2.GetImageRequest(name=answer.name))).width
    listed = await service.stub.ListImages(search_pb2.ListImagesRequest(page_size=1000))
    for image in listed.images:
        request = search_pb2.GetThumbnailRequest(name=image.name)
        assert (await service.stub.GetThumbnail(request)).content
    assert states(await service.add(record(0), record(900)))[0] == UNCHANGED


async def test_an_import_that_is_cut_off_leaves_no_bytes_behind(service):
    """Cancelled while its commit waits: what was kept and pinned for it is dropped."""
    stuck = asyncio.Event()
    service.embedder.before_answer = stuck.wait
    call = service.stub.ImportImages()
    for number in range(8):
        await call.write(record(number))
    async with asyncio.timeout(60):
        while len(blobs(service)) < 8:
            await asyncio.sleep(0.01)
    call.cancel()
    async with asyncio.timeout(60):
        while blobs(service):
            await asyncio.sleep(0.01)
    stuck.set()
    # Nothing stayed pinned either: the bytes go with the record that has them next.
    await service.add(record(1))
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    assert not blobs(service)


async def test_an_import_that_is_cut_off_leaves_no_task_waiting(service, caplog):
    call = service.stub.ImportImages()
    await call.write(record(1))
    assert (await call.read()).state == CREATED
    # The service waits for the next record.
    call.cancel()
    await asyncio.sleep(0.2)
    gc.collect()
    assert "Task was destroyed" not in caplog.text


async def test_draining_acknowledges_what_was_taken(settings, embedder):
    service = Service(settings.model_copy(update={"drain_seconds": 60}), embedder=embedder)
    await service.start()
    call = service.stub.ImportImages()
    for number in range(6):
        await call.write(record(number))
    first = await call.read()
    service.running.cancel()
    answers = [first]
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (answer := await call.read()) is not grpc.aio.EOF:
            answers.append(answer)
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert "import again what was not acknowledged" in await call.details()
    assert states(answers) == [CREATED] * 6
    with pytest.raises(asyncio.CancelledError):
        await service.running
    service.running = None
    await service.stop()


async def test_on_a_full_disk_nothing_is_taken_and_searches_go_on(settings, embedder):
    service = Service(settings, embedder=embedder)
    await service.start()
    await service.add(record(1), record(2))
    await service.stop()
    full = Service(settings.model_copy(update={"min_free_bytes": 1 << 60}), embedder=embedder)
    await full.start()
    answers, error = await add_until_the_end(
        full, record(1), record(3), record(2, caption="new"), record(4)
    )
    assert states(answers) == [UNCHANGED]
    assert isinstance(error, errors.StorageFull)
    assert error.retry_after is None
    assert len(blobs(full)) == 2
    assert await full.hits(content=picture(1), limit=1) == [name(1)]
    assert (await full.stub.CountFacets(search_pb2.CountFacetsRequest())).total_count == 2
    await full.stop()


async def test_what_was_imported_is_there_after_a_restart(service):
    await service.add(*(record(number, journal=f"j{number % 2}") for number in range(12)))
    await service.restart()
    assert states(await service.add(record(3, journal="j1"))) == [UNCHANGED]
    facets = await service.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 12
    assert await service.hits(content=picture(5), limit=1) == [name(5)]


async def test_batches_stay_below_what_the_embedder_takes(service, settings, embedder):
    assert max(service.embedder.calls, default=0) <= settings.import_batch
    await service.add(*(record(number) for number in range(30)))
    assert max(embedder.calls) <= settings.import_batch
    large = picture(1) + bytes(17 * 1024 * 1024)
    embedder.calls.clear()
    await service.add(record(100, content=large), record(101, content=large), record(102))
    # 17 MiB each: two do not fit into a call of 32 MiB.
    assert max(embedder.calls) == 2
    assert len(embedder.calls) == 2


async def test_an_image_above_the_limit_is_refused(settings, embedder):
    small = SearchSettings(**{**settings.model_dump(), "max_image_bytes": 1000})
    service = Service(small, embedder=embedder)
    await service.start()
    (answer,) = await service.add(record(1, content=bytes(1001)))
    assert failure(answer).reason == "TOO_MANY_BYTES"
    await service.stop()


async def test_streams_that_send_nothing_keep_nobody_out(settings, embedder):
    service = Service(
        settings.model_copy(update={"max_concurrent_imports": 1, "import_idle_seconds": 5.0}),
        embedder=embedder,
    )
    await service.start()
    idle = [service.stub.ImportImages() for _ in range(8)]
    await idle[0].write(record(1))
    assert (await idle[0].read()).state == CREATED
    # The one that has sent a record has its place for a moment; the others have none.
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert states(await service.add(record(2))) == [CREATED]
                break
            await asyncio.sleep(0.05)
    for call in idle:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        error = errors.from_rpc_error(raised.value)
        assert (type(error), error.reason) == (errors.DeadlineExceeded, "IDLE_STREAM")
    await service.stop()


async def test_a_stream_that_waits_for_the_service_is_not_idle(settings, embedder):
    service = Service(settings.model_copy(update={"import_idle_seconds": 0.3}), embedder=embedder)
    await service.start()
    stuck = asyncio.Event()
    embedder.before_answer = stuck.wait
    call = service.stub.ImportImages()
    await call.write(record(1))
    await asyncio.sleep(1.0)
    stuck.set()
    assert (await call.read()).state == CREATED
    await service.stop()
