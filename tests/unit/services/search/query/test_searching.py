"""Searches, listings, facets, updates and deletions through the service."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import struct

import grpc
import numpy as np
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from halftone.core import errors, wire
from halftone.v1 import search_pb2
from tests.support.embedder.fake_embedder import DIMENSION, VERSION, FakeEmbedder
from tests.support.search.search_service import (
    Service,
    embedding,
    error_of,
    metrics_of,
    name,
    picture,
    picture_embedding,
    record,
)

Filter = search_pb2.Filter


@pytest.fixture
async def filled(service):
    """Twelve pictures; number 11 is the mirror image of number 1."""
    journals = ["Die Woche", "L'Illustration", "The Graphic"]
    await service.add(
        *(
            record(
                number,
                journal=journals[number % 3],
                language=["de", "fr", "en"][number % 3],
                date="" if number == 10 else f"19{number:02d}-05",
                caption=f"Picture {number}: a RÖTLICH ship",
                labels={"medium": search_pb2.Labels(values=["photo" if number % 2 else "wood"])},
            )
            for number in range(11)
        ),
        record(11, content=picture(1, mirrored=True), journal="Mirror", date="../1920"),
    )
    return service


async def test_a_picture_finds_itself_and_its_mirror_image(filled):
    response = await filled.search(content=picture(1), limit=12)
    assert response.model_version == VERSION
    found = {hit.image.name: hit for hit in response.hits[:2]}
    assert set(found) == {name(1), name(11)}
    assert (found[name(1)].mirrored, found[name(11)].mirrored) == (False, True)
    for hit in found.values():
        assert hit.similarity == pytest.approx(1.0, abs=1e-4)


async def test_without_the_mirror_its_image_is_not_found_first(filled):
    response = await filled.search(content=picture(1), skip_mirrored=True, skip_rotated=True)
    assert response.hits[0].image.name == name(1)
    assert not any(hit.mirrored or hit.rotation for hit in response.hits)
    mirrored = next(hit for hit in response.hits if hit.image.name == name(11))
    assert mirrored.similarity < 0.95


async def test_a_picture_printed_sideways_is_found(filled):
    picture_ = Image.open(io.BytesIO(picture(2))).transpose(Image.Transpose.ROTATE_90)
    stream = io.BytesIO()
    picture_.save(stream, "PNG")
    (hit,) = (await filled.search(content=stream.getvalue(), limit=1)).hits
    assert (hit.image.name, hit.mirrored, hit.rotation) == (name(2), False, 90)


async def test_a_part_of_a_picture(filled):
    whole = picture(3)
    framed = Image.new("L", (128, 96), 255)
    framed.paste(Image.open(io.BytesIO(whole)), (20, 30))
    stream = io.BytesIO()
    framed.save(stream, "PNG")
    region = {"x": 20, "y": 30, "width": 64, "height": 48}
    response = await filled.search(content=stream.getvalue(), region=region, limit=1)
    assert response.hits[0].image.name == name(3)
    assert response.hits[0].similarity == pytest.approx(1.0, abs=1e-4)
    error = await error_of(
        filled.search(content=whole, region={"x": 60, "y": 0, "width": 30, "height": 20})
    )
    assert isinstance(error, errors.ImageRejected)
    assert error.reason == "REGION_OUTSIDE"


async def test_an_image_of_the_archive_is_left_out_of_its_own_hits(filled):
    for options in ({}, {"skip_mirrored": True, "skip_rotated": True}):
        found = await filled.hits(image=name(1), **options)
        assert len(found) == 11
        assert name(1) not in found
    before = filled.embedder.images
    await filled.hits(image=name(1), skip_mirrored=True, skip_rotated=True)
    assert filled.embedder.images == before
    region = {"x": 0, "y": 0, "width": 32, "height": 24}
    assert name(1) not in await filled.hits(image=name(1), region=region)


async def test_an_embedding(filled):
    for scale in (1.0, 250.0, 1e-6):
        response = await filled.search(embedding=picture_embedding(4, scale=scale), limit=2)
        assert response.hits[0].image.name == name(4)
        assert response.hits[0].similarity == pytest.approx(1.0, abs=1e-4)


BAD_SEARCHES = [
    ({}, "query"),
    ({"content": b""}, "content"),
    ({"content": b"no image"}, "content"),
    ({"image": "press/1"}, "image"),
    ({"image": name(1), "limit": 0}, "limit"),
    ({"image": name(1), "limit": 100_000}, "limit"),
    ({"image": name(1), "limit": -1}, "limit"),
    ({"image": name(1), "min_similarity": 1.5}, "min_similarity"),
    ({"image": name(1), "min_similarity": float("nan")}, "min_similarity"),
    ({"image": name(1), "min_probability": -0.1}, "min_probability"),
    ({"image": name(1), "min_probability": 1.1}, "min_probability"),
    ({"image": name(1), "min_probability": float("nan")}, "min_probability"),
    ({"image": name(1), "verify_count": -1}, "verify_count"),
    ({"image": name(1), "verify_count": 201}, "verify_count"),
    ({"image": name(1), "page_token": "garbage"}, "page_token"),
    ({"image": name(1), "page_token": "ä"}, "page_token"),
    ({"embedding": embedding(np.zeros(DIMENSION))}, "embedding.values"),
    ({"embedding": embedding([np.nan] * DIMENSION)}, "embedding.values"),
    ({"embedding": embedding([np.inf] * DIMENSION)}, "embedding.values"),
    ({"embedding": embedding(np.ones(7))}, "embedding.dimension"),
    ({"embedding": embedding(np.ones(7), dimension=DIMENSION)}, "embedding.values"),
    (
        {"embedding": embedding(np.ones(DIMENSION)), "region": {"width": 9, "height": 9}},
        "region",
    ),
    (
        {"image": name(1), "filter": Filter(date={"start": "1914-13"})},
        "filter.date.start",
    ),
    ({"image": name(1), "filter": Filter(date={"end": "yesterday"})}, "filter.date.end"),
    (
        {"image": name(1), "filter": Filter(date={"start": "1916", "end": "1914"})},
        "filter.date",
    ),
    ({"image": name(1), "filter": Filter(caption_text="!?")}, "filter.caption_text"),
    (
        {"image": name(1), "filter": Filter(labels={"medium": search_pb2.Labels()})},
        "filter.labels.medium",
    ),
    (
        {"image": name(1), "filter": Filter(exclude=Filter(exclude=Filter(journals=["a"])))},
        "filter.exclude.exclude",
    ),
    ({"image": name(1), "filter": Filter(exclude=Filter())}, "filter.exclude"),
    (
        {"image": name(1), "filter": Filter(exclude=Filter(date={"start": "x"}))},
        "filter.exclude.date.start",
    ),
]


async def test_bad_searches_name_the_field(filled):
    for fields, field in BAD_SEARCHES:
        error = await error_of(filled.search(**fields))
        assert isinstance(error, errors.InvalidArgument), fields
        assert error.field == field, fields
        assert error.request_id


async def test_what_is_not_there_and_what_is_of_another_version(filled):
    error = await error_of(filled.search(image=name(99)))
    assert isinstance(error, errors.NotFound)
    assert error.resource_name == name(99)
    other = embedding(np.ones(DIMENSION), version="other/2")
    error = await error_of(filled.search(embedding=other))
    assert isinstance(error, errors.ModelVersionMismatch)
    assert error.metadata["model_version"] == VERSION


FILTERS = [
    (Filter(), set(range(12))),
    (Filter(journals=["Die Woche"]), {0, 3, 6, 9}),
    (Filter(journals=["Die Woche", "Mirror"]), {0, 3, 6, 9, 11}),
    (Filter(journals=["die woche"]), set()),
    (Filter(languages=["fr"]), {1, 4, 7, 10}),
    (Filter(archives=["press"]), set(range(12))),
    (Filter(archives=["elsewhere"]), set()),
    (Filter(date={"start": "1904", "end": "1905"}), {4, 5, 11}),
    (Filter(date={"start": "1904-05-31", "end": "1904-05-31"}), {4, 11}),
    (Filter(date={"start": "1904-06"}), {5, 6, 7, 8, 9, 11}),
    (Filter(date={"end": "1900"}), {0, 11}),
    (Filter(date={"start": "1921"}), set()),
    (Filter(date={}), set(range(12)) - {10}),
    (Filter(journals=["Die Woche"], date={"start": "1903", "end": "1906-05"}), {3, 6}),
    (Filter(caption_text="rötlich SHIP"), set(range(11))),
    (Filter(caption_text="picture 7"), {7}),
    (Filter(caption_text="boat"), set()),
    (Filter(labels={"medium": search_pb2.Labels(values=["wood"])}), {0, 2, 4, 6, 8, 10}),
    (Filter(labels={"medium": search_pb2.Labels(values=["wood", "photo"])}), set(range(11))),
    (Filter(labels={"colour": search_pb2.Labels(values=["wood"])}), set()),
    (Filter(exclude=Filter(journals=["Die Woche"])), set(range(12)) - {0, 3, 6, 9}),
    (
        Filter(languages=["de"], exclude=Filter(date={"start": "1905"})),
        {0, 3},
    ),
    (
        Filter(exclude=Filter(languages=["de"], date={"start": "1905"})),
        set(range(12)) - {6, 9},
    ),
]


async def test_filters(filled):
    for condition, expected in FILTERS:
        found = await filled.hits(content=picture(1), filter=condition)
        assert set(found) == {name(number) for number in expected}, condition
        facets = await filled.stub.CountFacets(search_pb2.CountFacetsRequest(filter=condition))
        assert facets.total_count == len(expected), condition
        listed = await filled.stub.ListImages(search_pb2.ListImagesRequest(filter=condition))
        names = [image.name for image in listed.images]
        assert names == sorted(name(each) for each in expected), condition


async def test_a_threshold(filled):
    everything = (await filled.search(content=picture(1))).hits
    similarities = sorted((hit.similarity for hit in everything), reverse=True)
    cut = (similarities[3] + similarities[4]) / 2
    found = (await filled.search(content=picture(1), min_similarity=cut)).hits
    assert sorted((hit.similarity for hit in found), reverse=True) == similarities[:4]
    by_vector = picture_embedding(1)
    assert len(await filled.hits(embedding=by_vector, min_similarity=0.999)) == 1


async def test_pages_of_hits_are_the_pieces_of_one_ranking(filled):
    request = search_pb2.SearchImagesRequest(content=picture(5), limit=100)
    whole = [hit.image.name for hit in (await filled.stub.SearchImages(request)).hits]
    assert len(whole) == 12
    pages = []
    request.limit = 5
    while True:
        response = await filled.stub.SearchImages(request)
        pages.append([hit.image.name for hit in response.hits])
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [hit for page in pages for hit in page] == whole


async def test_page_tokens_belong_to_their_request(filled):
    token = (await filled.search(content=picture(5), limit=2)).next_page_token
    assert token
    for other in (
        {"content": picture(6)},
        {"content": picture(5), "filter": Filter(journals=["Mirror"])},
        {"content": picture(5), "skip_mirrored": True},
        {"content": picture(5), "min_probability": 0.0},
        {"content": picture(5), "verify_count": 50},
    ):
        error = await error_of(filled.search(**other, page_token=token))
        assert isinstance(error, errors.InvalidArgument)
        assert error.field == "page_token"
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw.endswith(b',[2,"0"]]')
    forged = base64.urlsafe_b64encode(raw[:-7] + b'5,"0"]]').decode().rstrip("=")
    error = await error_of(filled.search(content=picture(5), page_token=forged))
    assert isinstance(error, errors.InvalidArgument)
    changed = token[:-2] + ("aa" if token[-2:] != "aa" else "bb")
    error = await error_of(filled.search(content=picture(5), page_token=changed))
    assert isinstance(error, errors.InvalidArgument)


def forged(token, position):
    """The token with another position and the checksum that belongs to it."""
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    body = json.dumps([*json.loads(raw[8:])[:2], position]).encode()
    made = hashlib.sha256(body).digest()[:8] + body
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


async def test_page_tokens_that_somebody_made_are_refused(filled):
    token = (await filled.search(content=picture(5), limit=2)).next_page_token
    assert await filled.hits(content=picture(5), page_token=forged(token, [2, "0"]))
    offsets = (10**9, 10_000, -1, "2", 2.0, None)
    late = ("", "-1", "g", " 1", "f" * 51, 0, None)
    wrong = [*([each, "0"] for each in offsets), *([2, each] for each in late)]
    for position in (*wrong, 2, True, None, [2], [2, "0", "0"]):
        error = await error_of(
            filled.search(content=picture(5), page_token=forged(token, position))
        )
        assert (type(error), error.field) == (errors.InvalidArgument, "page_token"), position
    request = search_pb2.ListImagesRequest(page_size=2)
    token = (await filled.stub.ListImages(request)).next_page_token
    for position in (7, ["press"], ["press", 7], ["press", "\ud800"], ["press", ""], {"a": "b"}):
        request.page_token = forged(token, position)
        error = await error_of(filled.stub.ListImages(request))
        assert (type(error), error.field) == (errors.InvalidArgument, "page_token"), position


async def test_page_tokens_belong_to_their_model_version(filled, memory_path):
    token = (await filled.search(content=picture(5), limit=2)).next_page_token
    other = FakeEmbedder(version="other/1")
    server, address = await other.serve()
    settings = filled.settings.model_copy(
        update={"data_directory": memory_path / "other", "embedder": address}
    )
    second = Service(settings, embedder=other)
    await second.start()
    error = await error_of(second.search(content=picture(5), page_token=token))
    assert isinstance(error, errors.ModelVersionMismatch)
    await second.stop()
    await server.stop(None)


async def test_equal_pictures_are_ordered_by_name_across_pages(service):
    numbers = list(range(20))
    same = picture(1)
    await service.add(*(record(f"x{number:02d}", content=same) for number in reversed(numbers)))
    found = []
    request = search_pb2.SearchImagesRequest(content=same, limit=3)
    while True:
        response = await service.stub.SearchImages(request)
        found += [hit.image.name for hit in response.hits]
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert found == [name(f"x{number:02d}") for number in numbers]


async def test_a_batch_answers_each_search_on_its_own(filled):
    before = len(filled.embedder.calls)
    request = search_pb2.BatchSearchImagesRequest(
        requests=[
            search_pb2.SearchImagesRequest(content=picture(2), limit=1),
            search_pb2.SearchImagesRequest(content=b"no image"),
            search_pb2.SearchImagesRequest(image=name(99)),
            search_pb2.SearchImagesRequest(embedding=picture_embedding(4), limit=1),
            search_pb2.SearchImagesRequest(image=name(1), limit=0),
            search_pb2.SearchImagesRequest(image=name(1), limit=1),
        ]
    )
    response = await filled.stub.BatchSearchImages(request)
    found = [
        each.response.hits[0].image.name
        if each.HasField("response")
        else type(errors.from_status(each.error)).__name__
        for each in response.results
    ]
    assert found == [
        name(2),
        "ImageRejected",
        "NotFound",
        name(4),
        "InvalidArgument",
        name(11),
    ]
    assert len(filled.embedder.calls) == before + 1
    for count in (0, 65):
        requests = [search_pb2.SearchImagesRequest(image=name(1))] * count
        batch = search_pb2.BatchSearchImagesRequest(requests=requests)
        error = await error_of(filled.stub.BatchSearchImages(batch))
        assert (type(error), error.field) == (errors.InvalidArgument, "requests")


async def test_a_large_batch_leaves_room_in_the_embedder(filled):
    filled.embedder.calls.clear()
    requests = [
        *[search_pb2.SearchImagesRequest(image=name(number % 12)) for number in range(40)],
        *[search_pb2.SearchImagesRequest(content=picture(1), limit=1)] * 24,
    ]
    batch = search_pb2.BatchSearchImagesRequest(requests=requests)
    response = await filled.stub.BatchSearchImages(batch)
    assert all(each.HasField("response") for each in response.results)
    assert response.results[63].response.hits[0].image.name in {name(1), name(11)}
    # Eight orientations each, 128 at a time.
    assert filled.embedder.calls == [16] * 4


@pytest.mark.soak
async def test_of_a_batch_the_first_are_answered_when_the_time_is_over_for_the_last(filled):
    calls = []

    async def only_the_first():
        calls.append(1)
        if len(calls) > 1:
            await asyncio.Event().wait()

    filled.embedder.before_answer = only_the_first
    stored = search_pb2.SearchImagesRequest(image=name(1), skip_mirrored=True, skip_rotated=True)
    requests = [
        # Eight orientations each: the embedder is asked for 16 at a time.
        *[search_pb2.SearchImagesRequest(content=picture(n % 12), limit=1) for n in range(18)],
        # These need no embedder, and no pixels.
        stored,
        search_pb2.SearchImagesRequest(embedding=picture_embedding(4), limit=2),
    ]
    batch = search_pb2.BatchSearchImagesRequest(requests=requests)
    response = await filled.stub.BatchSearchImages(batch, timeout=8)
    assert len(calls) == 2
    late = {at for at, each in enumerate(response.results) if each.HasField("error")}
    assert late == {16, 17}
    assert {response.results[at].error.code for at in late} == {
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    }
    assert all(each.response.hits for at, each in enumerate(response.results) if at not in late)
    assert not any(each.response.out_of_time_count for each in response.results[:16])
    filled.embedder.before_answer = None


@pytest.mark.parametrize("size", [2, 16, 23])
async def test_a_batch_counts_as_what_it_does_at_a_time(settings, embedder, size):
    service = Service(settings.model_copy(update={"max_concurrent_searches": 3}), embedder=embedder)
    await service.start()
    await service.add(record(1))
    stuck = asyncio.Event()
    embedder.before_answer = stuck.wait
    search = search_pb2.SearchImagesRequest(content=picture(1))
    batch = search_pb2.BatchSearchImagesRequest(requests=[search] * size)
    embedder.request_ids.clear()
    waiting = [asyncio.create_task(wait_for(service.stub.BatchSearchImages(batch)))]
    await asked(embedder, 1)
    assert (await service.search(embedding=picture_embedding(1))).hits
    waiting.append(asyncio.create_task(wait_for(service.stub.BatchSearchImages(batch))))
    await asked(embedder, 2)
    assert isinstance(await error_of(service.stub.SearchImages(search)), errors.ResourceExhausted)
    stuck.set()
    await asyncio.gather(*waiting)
    assert await service.hits(content=picture(1)) == [name(1)]
    await service.stop()


async def test_a_large_batch_counts_as_the_pictures_it_holds(settings, embedder):
    service = Service(settings.model_copy(update={"max_concurrent_searches": 3}), embedder=embedder)
    await service.start()
    await service.add(record(1))
    stuck = asyncio.Event()
    embedder.before_answer = stuck.wait
    search = search_pb2.SearchImagesRequest(content=picture(1))
    batch = search_pb2.BatchSearchImagesRequest(requests=[search] * 24)
    embedder.request_ids.clear()
    waiting = asyncio.create_task(wait_for(service.stub.BatchSearchImages(batch)))
    await asked(embedder, 1)
    assert isinstance(await error_of(service.stub.SearchImages(search)), errors.ResourceExhausted)
    stuck.set()
    await waiting
    await service.stop()


async def asked(embedder, count):
    """Waits until the embedder was called so often."""
    async with asyncio.timeout(60):
        while len(embedder.request_ids) < count:
            await asyncio.sleep(0.01)


async def wait_for(call):
    return await call


async def test_another_model_version_takes_over_an_empty_collection_only(settings, embedder):
    service = Service(settings, embedder=embedder)
    await service.start()
    await service.stop()
    other = FakeEmbedder(version="other/1")
    server, address = await other.serve()
    service = Service(settings.model_copy(update={"embedder": address}), embedder=other)
    await service.start()
    await service.add(record(1))
    assert (await service.search(image=name(1))).model_version == "other/1"
    await service.stop()
    service = Service(settings, embedder=embedder)
    with structlog.testing.capture_logs() as logged:
        await service.start()
    (warning,) = (each for each in logged if each["log_level"] == "warning")
    assert (warning["model_version"], warning["embedder"]) == ("other/1", VERSION)
    assert (await service.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))).width
    await service.stop()
    await server.stop(None)


async def test_health_follows_the_store_and_not_the_embedder(settings, embedder):
    service = Service(settings.model_copy(update={"watch_seconds": 0.02}), embedder=embedder)
    await service.start()
    pointer = settings.data_directory / "active.json"

    async def becomes(status):
        async with asyncio.timeout(60), grpc.aio.insecure_channel(service.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            while (await watch.read()).status != status:
                pass

    await becomes(health_pb2.HealthCheckResponse.SERVING)
    pointer.rename(pointer.with_suffix(".away"))
    pointer.mkdir()
    await becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
    pointer.rmdir()
    pointer.with_suffix(".away").rename(pointer)
    await becomes(health_pb2.HealthCheckResponse.SERVING)
    embedder.refusing = errors.Unavailable("down")
    with structlog.testing.capture_logs() as logged:
        async with asyncio.timeout(60):
            while not any(each["event"] == "does_not_answer" for each in logged):
                await asyncio.sleep(0.01)
    await becomes(health_pb2.HealthCheckResponse.SERVING)
    await service.stop()


async def test_too_many_searches_at_a_time_are_refused_at_once(settings, embedder):
    service = Service(settings.model_copy(update={"max_concurrent_searches": 2}), embedder=embedder)
    await service.start()
    await service.add(record(1))
    stuck = asyncio.Event()
    embedder.before_answer = stuck.wait
    embedder.request_ids.clear()
    waiting = [asyncio.create_task(service.hits(content=picture(1))) for _ in range(2)]
    await asked(embedder, 2)
    error = await error_of(service.search(content=picture(1)))
    assert isinstance(error, errors.ResourceExhausted)
    assert 0.1 <= error.retry_after < 1
    stuck.set()
    assert await asyncio.gather(*waiting) == [[name(1)]] * 2
    assert await service.hits(content=picture(1)) == [name(1)]
    await service.stop()


async def test_without_the_embedder_only_what_needs_it_fails(filled):
    filled.embedder.refusing = errors.Unavailable("down")
    error = await error_of(filled.search(content=picture(1)))
    assert isinstance(error, errors.Unavailable)
    found = await filled.hits(image=name(1), skip_mirrored=True, skip_rotated=True, limit=1)
    assert len(found) == 1
    assert (await filled.search(embedding=picture_embedding(4))).hits


async def test_a_deadline_ends_the_search(filled):
    filled.embedder.before_answer = asyncio.Event().wait
    request = search_pb2.SearchImagesRequest(content=picture(1))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await filled.stub.SearchImages(request, timeout=0.3)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    filled.embedder.before_answer = None
    await asyncio.sleep(0.1)
    assert await filled.hits(content=picture(1), limit=1) == [name(1)]


async def test_the_request_id_reaches_the_embedder(filled):
    await filled.stub.SearchImages(
        search_pb2.SearchImagesRequest(content=picture(1)),
        metadata=((wire.REQUEST_ID_KEY, "from-the-test"),),
    )
    assert filled.embedder.request_ids[-1] == "from-the-test"


async def test_listing_pages(filled):
    token, seen = "", []
    while True:
        response = await filled.stub.ListImages(
            search_pb2.ListImagesRequest(page_size=5, page_token=token)
        )
        seen += [image.name for image in response.images]
        token = response.next_page_token
        if not token:
            break
        # What comes in before the page's end does not move the next one.
        await filled.add(record("0000", content=picture(60)))
    assert seen == sorted(name(number) for number in range(12))
    for size in (0, 1001):
        call = filled.stub.ListImages(search_pb2.ListImagesRequest(page_size=size))
        error = await error_of(call)
        assert (type(error), error.field) == (errors.InvalidArgument, "page_size")
    first = await filled.stub.ListImages(search_pb2.ListImagesRequest(page_size=5))
    other = search_pb2.ListImagesRequest(
        page_token=first.next_page_token, filter=Filter(journals=["Mirror"])
    )
    assert (await error_of(filled.stub.ListImages(other))).field == "page_token"


async def test_facets(filled):
    facets = await filled.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 12
    assert [(each.value, each.count) for each in facets.journals] == [
        ("Die Woche", 4),
        ("L'Illustration", 4),
        ("The Graphic", 3),
        ("Mirror", 1),
    ]
    assert [each.value for each in facets.years] == [f"19{number:02d}" for number in range(10)]
    limited = await filled.stub.CountFacets(
        search_pb2.CountFacetsRequest(limit=1, filter=Filter(languages=["en"]))
    )
    assert [(each.value, each.count) for each in limited.journals] == [("The Graphic", 3)]
    assert [(each.value, each.count) for each in facets.archives] == [("press", 12)]
    assert not facets.labels
    labelled = await filled.stub.CountFacets(
        search_pb2.CountFacetsRequest(include_labels=True, filter=Filter(journals=["Die Woche"]))
    )
    assert sorted((each.key, each.value, each.count) for each in labelled.labels) == [
        ("medium", "photo", 2),
        ("medium", "wood", 2),
    ]
    await filled.stub.DeleteImages(
        search_pb2.DeleteImagesRequest(filter=Filter(journals=["Die Woche"]))
    )
    left = await filled.stub.CountFacets(search_pb2.CountFacetsRequest(include_labels=True))
    assert "Die Woche" not in [each.value for each in left.journals]
    assert all(each.count for each in [*left.journals, *left.labels, *left.years])
    error = await error_of(filled.stub.CountFacets(search_pb2.CountFacetsRequest(limit=0)))
    assert error.field == "limit"


async def test_updating(filled):
    async def update(paths, **fields):
        return await filled.stub.UpdateImage(
            search_pb2.UpdateImageRequest(
                image=search_pb2.Image(name=name(1), **fields), update_mask={"paths": paths}
            )
        )

    before = await filled.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))
    after = await update(["caption", "date"], caption="new words", date="1955", journal="ignored")
    assert (after.caption, after.earliest_date, after.latest_date) == (
        "new words",
        "1955-01-01",
        "1955-12-31",
    )
    assert after.journal == before.journal
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert after == await filled.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))
    assert await filled.hits(content=picture(1), filter=Filter(date={"start": "1950"})) == [name(1)]
    assert await filled.hits(content=picture(1), filter=Filter(caption_text="ship words")) == []
    cleared = await update(["labels", "page_region"], page_region={"width": 5, "height": 6})
    assert (dict(cleared.labels), cleared.page_region.height) == ({}, 6)
    everything = await update(["*"], journal="only this")
    assert (everything.journal, everything.caption, everything.date) == ("only this", "", "")
    assert not everything.HasField("page_region")
    assert everything.content_sha256 == before.content_sha256
    for paths, fields, field in (
        ([], {}, "update_mask"),
        (["width"], {"width": 5}, "update_mask"),
        (["caption", "nonsense"], {}, "update_mask"),
        (["date"], {"date": "1914-13"}, "image.date"),
    ):
        assert (await error_of(update(paths, **fields))).field == field
    missing = search_pb2.UpdateImageRequest(
        image={"name": name(99)}, update_mask={"paths": ["caption"]}
    )
    assert isinstance(await error_of(filled.stub.UpdateImage(missing)), errors.NotFound)


async def test_deleting(filled):
    async def delete(**fields):
        request = search_pb2.DeleteImagesRequest(**fields)
        return (await filled.stub.DeleteImages(request)).deleted_count

    woche = Filter(journals=["Die Woche"])
    assert await delete(filter=woche, validate_only=True) == 4
    assert await delete(names=[name(1), name(99), name(1)], validate_only=True) == 1
    assert await delete(everything=True, validate_only=True) == 12
    assert await delete(filter=woche) == 4
    assert await delete(filter=woche) == 0
    assert await delete(names=[name(1), name(99), name(1)]) == 1
    for fields, field in (
        ({}, "names"),
        ({"names": [name(2)], "filter": woche}, "names"),
        ({"filter": Filter()}, "filter"),
        ({"names": [name(2)], "everything": True}, "everything"),
        ({"names": ["2"]}, "names[0]"),
    ):
        assert (await error_of(delete(**fields))).field == field
    assert await delete(filter=Filter(), everything=True) == 7
    facets = await filled.stub.CountFacets(search_pb2.CountFacetsRequest())
    assert facets.total_count == 0
    missing = search_pb2.GetImageRequest(name=name(2))
    assert isinstance(await error_of(filled.stub.GetImage(missing)), errors.NotFound)


async def test_thumbnails(service):
    await service.add(record(1, content=picture(1, size=(1200, 900))), record(2))
    for image_id, size in ((1, (512, 384)), (2, (64, 48)), (1, (512, 384))):
        request = search_pb2.GetThumbnailRequest(name=name(image_id))
        response = await service.stub.GetThumbnail(request)
        assert response.content_type == "image/jpeg"
        thumbnail = Image.open(io.BytesIO(response.content))
        assert (thumbnail.format, thumbnail.size) == ("JPEG", size)
    missing = search_pb2.GetThumbnailRequest(name=name(9))
    assert isinstance(await error_of(service.stub.GetThumbnail(missing)), errors.NotFound)


async def test_the_service_waits_for_its_embedder(settings, embedder):
    embedder.refusing = errors.Unavailable("still loading")
    service = Service(settings, embedder=embedder)
    await service.start(wait=False)
    error = await error_of(service.search(content=picture(1)))
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after
    embedder.refusing = None
    async with asyncio.timeout(60):
        while True:
            try:
                await service.stub.CountFacets(search_pb2.CountFacetsRequest())
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
    assert [answer.state for answer in await service.add(record(1))] == [1]
    await service.stop()


async def test_another_active_version_does_not_change_what_answers(filled, embedder):
    await filled.stop()
    second = FakeEmbedder(version="other/2")
    server, address = await second.serve()
    service = Service(filled.settings.model_copy(update={"embedder": address}), embedder=second)
    await service.start()
    found = await service.search(image=name(1), skip_mirrored=True, skip_rotated=True, limit=1)
    assert found.model_version == VERSION
    # That embedder does not have the version loaded, so it cannot embed a picture for it.
    assert isinstance(await error_of(service.search(content=picture(1))), errors.Unavailable)
    # That is no fault of a record, which is taken once the version is loaded again.
    refused = await error_of(anext(aiter(service.stub.ImportImages(iter([record(50)])))))
    assert (type(refused), refused.reason) == (errors.Unavailable, "MODEL_NOT_LOADED")
    await service.stop()
    await server.stop(None)


async def test_metrics_say_what_happened(filled):
    await filled.hits(content=picture(1))
    text = await metrics_of(filled)
    assert 'halftone_search_import_records_total{state="created"} 12.0' in text
    assert 'halftone_search_store_seconds_count{operation="query"} 1.0' in text
    assert "halftone_search_embed_seconds_count" in text
    assert "halftone_search_searches_in_flight 0.0" in text


def test_embeddings_are_little_endian_float32():
    assert picture_embedding(1).values[:4] == struct.pack(
        "<f", np.frombuffer(picture_embedding(1).values, "<f4")[0]
    )
