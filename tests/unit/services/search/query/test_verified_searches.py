"""Searches that compare: relations, probabilities, pages, budgets, and one image beside another."""

from __future__ import annotations

import asyncio
import json
import math

import grpc
import pytest
from PIL import Image, ImageOps

from halftone.core import errors
from halftone.matching.probability import Calibration
from halftone.services.search.query.searching import comparing_seconds
from halftone.v1 import search_pb2
from tests.support.embedder.fake_embedder import VERSION, descriptor
from tests.support.pictures.printed_pages import printed_page
from tests.support.pictures.scenes import png, reprint, scene
from tests.support.search.search_service import (
    Service,
    embedding,
    error_of,
    metrics_of,
    name,
    picture_embedding,
    record,
)

Hit = search_pb2.Hit
State = search_pb2.Verification


SCENES = 9
COUNT = SCENES + 1
"""Pictures in the archive."""


@pytest.fixture
async def press(service):
    """Scenes, all alike in kind; 0 is there twice, the second time as a reprint."""
    await service.add(
        *(record(number, content=png(scene(number))) for number in range(SCENES)),
        record("reprint", content=png(reprint(scene(0)))),
    )
    return service


async def first(service, picture, **fields):
    content = picture if isinstance(picture, bytes) else png(picture)
    return (await service.search(content=content, limit=1, **fields)).hits[0]


async def test_a_reprint_is_told_from_the_scan_itself(press):
    response = await press.search(content=png(scene(0)), limit=3)
    scan, again, other = response.hits
    assert (scan.image.name, scan.relation, scan.probability) == (name(0), Hit.SAME_SCAN, 1.0)
    assert (again.image.name, again.relation) == (name("reprint"), Hit.REPRINT)
    assert again.probability > 0.9
    assert again.verification.state == State.OVERLAPPING
    (overlap,) = again.verification.overlaps
    assert overlap.inlier_count >= 20
    assert overlap.scale == pytest.approx(196 / 224, abs=0.02)
    assert overlap.query_share == pytest.approx((224 * 168) / (240 * 180), abs=0.05)
    assert overlap.image_share > 0.95
    assert len(overlap.homography) == 9
    assert overlap.homography[8] == 1
    assert len(overlap.query_polygon) == len(overlap.image_polygon) >= 3
    assert again.pdq_distance < 60 < other.pdq_distance
    assert again.words_similarity > other.words_similarity
    assert (other.relation, other.verification.state) == (Hit.UNRELATED, State.NO_OVERLAP)
    assert other.probability < 0.1
    assert (response.verified_count, response.out_of_time_count) == (COUNT, 0)


CHANGES = {
    "crop": (lambda p: p.crop((20, 20, 150, 120)), Hit.CROP_OF, (False, 0)),
    "mirrored": (ImageOps.mirror, Hit.MIRRORED, (True, 0)),
    "sideways": (lambda p: p.transpose(Image.Transpose.ROTATE_90), Hit.REPRINT, (False, 90)),
    "upside down": (lambda p: p.transpose(Image.Transpose.ROTATE_180), Hit.REPRINT, (False, 180)),
}


async def test_changed_pictures_are_found_and_named(press):
    for name_of, (change, relation, lies) in CHANGES.items():
        hit = await first(press, change(scene(7)))
        assert hit.image.name == name(7), name_of
        # The pixels are the same but for their order: it may be called the same scan as well.
        allowed = (relation, Hit.SAME_SCAN) if lies[1] else (relation,)
        assert hit.relation in allowed, name_of
        assert (hit.mirrored, hit.rotation) == lies, name_of
        assert hit.probability > 0.9, name_of


async def test_a_negative_is_found_and_said_to_be_one(press):
    film = ImageOps.mirror(ImageOps.invert(reprint(scene(7)).convert("L")))
    response = await press.search(content=png(film), limit=2)
    hit, other = response.hits
    assert (hit.image.name, hit.negative, hit.mirrored) == (name(7), True, True)
    assert hit.verification.overlaps[0].negative
    assert hit.relation is Hit.MIRRORED
    assert hit.probability > 0.9
    assert hit.pdq_distance < 90 < other.pdq_distance
    assert hit.words_similarity > other.words_similarity
    assert not other.negative
    # The same beside each other, from either side, and by name.
    await press.add(record("film", content=png(film)))
    for pair in ((7, "film"), ("film", 7)):
        found = await compare(press, *pair)
        assert (found.hit.negative, found.hit.mirrored) == (True, True)
        assert found.hit.probability == pytest.approx(hit.probability, abs=0.01)
    by_name = await press.search(image=name("film"), limit=1)
    assert (by_name.hits[0].image.name, by_name.hits[0].negative) == (name(7), True)


async def test_a_plate_contains_a_picture(press):
    plate = Image.new("L", (520, 380), 240)
    plate.paste(scene(4), (40, 40))
    plate.paste(scene(77, size=(180, 300)), (310, 40))
    hit = await first(press, plate)
    assert (hit.image.name, hit.relation) == (name(4), Hit.CONTAINS)
    part = {"x": 40, "y": 40, "width": 240, "height": 180}
    hit = await first(press, plate, region=part)
    assert hit.relation in (Hit.REPRINT, Hit.SAME_SCAN)
    corner = hit.verification.overlaps[0].query_polygon
    assert max(point.x for point in corner) <= 240


async def test_a_page_of_text_is_searched_by_the_pictures_on_it(press):
    """Two of them, each small; hits say where on the page they are."""
    shown = {5: (40, 700), 6: (600, 90)}
    pictures = [(scene(seed), place) for seed, place in shown.items()]
    response = await press.search(content=png(printed_page(pictures)), min_probability=0.9)
    assert {hit.image.name for hit in response.hits} == {name(seed) for seed in shown}
    for hit in response.hits:
        assert hit.relation == Hit.CONTAINS
        place = shown[int(hit.image.name.rpartition("/")[2])]
        corners = hit.verification.overlaps[0].query_polygon
        found = min(point.x for point in corners), min(point.y for point in corners)
        assert found == pytest.approx(place, abs=4)


async def test_the_same_hits_and_probabilities_every_time(press):
    request = search_pb2.SearchImagesRequest(content=png(reprint(scene(3))), limit=30)
    answers = [await press.stub.SearchImages(request) for _ in range(3)]
    await press.restart()
    answers.append(await press.stub.SearchImages(request))
    by_name = search_pb2.SearchImagesRequest(image=name("reprint"), limit=30)
    named = [await press.stub.SearchImages(by_name) for _ in range(2)]
    assert all(answer == answers[0] for answer in answers)
    assert named[0] == named[1]
    assert name("reprint") not in {hit.image.name for hit in named[0].hits}
    assert named[0].hits[0].image.name == name(0)


async def test_pages_are_pieces_of_one_ranking(press):
    for fields in ({}, {"verify_count": 5}, {"min_probability": 0.0}):
        request = search_pb2.SearchImagesRequest(content=png(scene(5)), limit=100, **fields)
        whole = (await press.stub.SearchImages(request)).hits
        assert len(whole) == COUNT
        pages = []
        request.limit = 4
        while True:
            response = await press.stub.SearchImages(request)
            pages += response.hits
            if not response.next_page_token:
                break
            request.page_token = response.next_page_token
        assert pages == list(whole)


async def test_only_the_best_candidates_are_compared(press):
    response = await press.search(content=png(reprint(scene(0))), limit=30, verify_count=6)
    states = [hit.verification.state for hit in response.hits]
    assert response.verified_count == 6
    assert states.count(State.NOT_COMPARED) == COUNT - 6
    late = [hit for hit in response.hits if hit.verification.state == State.NOT_COMPARED]
    assert {hit.relation for hit in late} == {Hit.NOT_COMPARED}
    assert all(hit.HasField("pdq_distance") and hit.HasField("words_similarity") for hit in late)
    text = await metrics_of(press)
    assert "halftone_search_verification_seconds_count 1.0" in text
    assert 'halftone_search_verified_pairs_total{outcome="compared"} 6.0' in text
    none = await press.search(content=png(reprint(scene(0))), limit=30, verify_count=0)
    assert none.verified_count == 0
    assert {hit.verification.state for hit in none.hits} == {State.NOT_COMPARED}


async def test_an_embedding_has_no_pixels_to_compare(press):
    query = embedding(descriptor(scene(2)))
    response = await press.search(embedding=query, limit=2)
    assert response.hits[0].image.name == name(2)
    assert response.hits[0].relation == Hit.NOT_COMPARED
    assert response.hits[0].verification.state == State.NOT_COMPARED
    assert not response.hits[0].HasField("pdq_distance")
    assert not response.hits[0].HasField("words_similarity")
    assert not (await press.search(embedding=query, min_probability=1.0)).hits


async def test_a_threshold_of_probability_cuts(press):
    everything = (await press.search(content=png(scene(0)), limit=30)).hits
    likely = await press.search(content=png(scene(0)), limit=30, min_probability=0.9)
    assert [hit.image.name for hit in likely.hits] == [name(0), name("reprint")]
    assert list(likely.hits) == [hit for hit in everything if hit.probability >= 0.9]
    assert not likely.next_page_token
    one = await press.search(content=png(scene(0)), limit=1, min_probability=0.9)
    assert one.next_page_token


async def test_what_the_time_does_not_suffice_for_is_marked(press, settings):
    await press.stop()
    short = settings.model_copy(update={"verify_seconds": 0.001, "verify_threads": 1})
    service = Service(short, embedder=press.embedder)
    await service.start()
    response = await service.search(content=png(scene(0)), limit=30)
    late = [hit for hit in response.hits if hit.verification.state == State.OUT_OF_TIME]
    assert len(response.hits) == COUNT
    assert response.out_of_time_count == len(late) > 5
    assert response.verified_count == COUNT - len(late)
    # Its bytes alone say what it is.
    assert response.hits[0].image.name == name(0)
    await service.stop()


async def test_pages_go_on_without_what_the_first_had_no_time_for(press, settings):
    await press.stop()
    short = settings.model_copy(update={"verify_seconds": 0.001, "verify_threads": 1})
    service = Service(short, embedder=press.embedder)
    await service.start()
    request = search_pb2.SearchImagesRequest(content=png(scene(0)), limit=4)
    pages = [await service.stub.SearchImages(request)]
    await service.stop()
    # The pages that follow have all the time they need.
    service = Service(settings, embedder=press.embedder)
    await service.start()
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(await service.stub.SearchImages(request))
    found = [hit.image.name for page in pages for hit in page.hits]
    assert len(found) == len(set(found)) == COUNT
    assert pages[0].out_of_time_count > 5
    assert len({(page.verified_count, page.out_of_time_count) for page in pages}) == 1
    request.page_token = ""
    assert not (await service.stub.SearchImages(request)).out_of_time_count
    await service.stop()


async def test_the_deadline_of_a_request_leaves_time_to_answer(press, settings):
    await press.stop()
    service = Service(settings.model_copy(update={"verify_threads": 1}), embedder=press.embedder)
    await service.start()
    # On a busy machine the first may be too little to find anything out.
    for number, seconds in enumerate((0.45, 0.45, 0.6, 0.8, 1.1, 1.5, 2.0, 2.7)):
        request = search_pb2.SearchImagesRequest(
            content=png(scene(number)), limit=30, verify_count=200
        )
        try:
            response = await service.stub.SearchImages(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # noqa: PT017
        else:
            break
    else:
        pytest.fail("no time was left to answer")
    assert response.verified_count + response.out_of_time_count == COUNT
    await service.stop()


def test_a_large_batch_keeps_more_time_to_answer():
    assert comparing_seconds(1, each=2.0, left=math.inf) == 2.0
    assert comparing_seconds(3, each=2.0, left=60) == 6.0
    # One answers in 0.1 s. 64 take 0.2 s on two cores that do nothing else.
    assert 0.7 < comparing_seconds(1, each=2.0, left=1.0) < 0.9
    assert 8 < comparing_seconds(64, each=2.0, left=10.0) < 9
    assert comparing_seconds(64, each=2.0, left=0.5) < 0


async def test_a_batch_compares_too(press):
    requests = [
        search_pb2.SearchImagesRequest(content=png(reprint(scene(number))), limit=2)
        for number in range(4)
    ]
    requests.append(search_pb2.SearchImagesRequest(embedding=picture_embedding(4), limit=2))
    batch = search_pb2.BatchSearchImagesRequest(requests=requests)
    response = await press.stub.BatchSearchImages(batch)
    alone = [await press.stub.SearchImages(request) for request in requests]
    assert [each.response for each in response.results] == alone
    assert all(each.verified_count == COUNT for each in alone[:4])


async def test_whoever_goes_away_is_not_worked_for(press, settings):
    await press.stop()
    service = Service(settings.model_copy(update={"verify_threads": 1}), embedder=press.embedder)
    await service.start()
    requests = [
        search_pb2.SearchImagesRequest(content=png(scene(number)), verify_count=200)
        for number in range(20)
    ]
    batch = search_pb2.BatchSearchImagesRequest(requests=requests)
    call = service.stub.BatchSearchImages(batch)

    async def counted():
        lines = (await metrics_of(service)).splitlines()
        wanted = "halftone_search_searches_in_flight "
        return next(float(line.split()[1]) for line in lines if line.startswith(wanted))

    async with asyncio.timeout(60):
        while not await counted():
            await asyncio.sleep(0.01)
        call.cancel()
        while await counted():
            await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(await service.hits(content=png(scene(3)), limit=2)) == 2
    await service.stop()


async def compare(service, query, image, **fields):
    request = search_pb2.CompareImagesRequest(query=name(query), image=name(image), **fields)
    return await service.stub.CompareImages(request)


async def test_two_images_beside_each_other_are_a_query_and_its_hit(press):
    found = await compare(press, 0, "reprint")
    assert found.model_version == VERSION
    assert found.hit == (await press.search(image=name(0), limit=1)).hits[0]
    turned = await compare(press, "reprint", 0)
    assert turned.hit.image.name == name(0)
    assert turned.hit.verification.overlaps[0].scale > 1
    part = await compare(press, 0, "reprint", query_region={"width": 150, "height": 110})
    assert part.hit.relation == Hit.CROP_OF
    other = await compare(press, 0, 5)
    assert other.hit.relation == Hit.UNRELATED
    itself = await compare(press, 0, 0)
    assert (itself.hit.relation, itself.hit.probability) == (Hit.SAME_SCAN, 1.0)


async def test_comparisons_that_cannot_be_made_say_why(press):
    for query, image, missing in ((99, 0, 99), (0, 99, 99)):
        error = await error_of(compare(press, query, image))
        assert isinstance(error, errors.NotFound)
        assert error.resource_name == name(missing)
    for fields in ({"query": "x", "image": name(0)}, {"query": name(0), "image": "x"}):
        call = press.stub.CompareImages(search_pb2.CompareImagesRequest(**fields))
        error = await error_of(call)
        assert error.field == next(key for key, value in fields.items() if value == "x")
    wide = {"width": 4_000, "height": 4_000}
    assert isinstance(await error_of(compare(press, 0, 1, query_region=wide)), errors.ImageRejected)


async def test_the_calibration_is_that_of_the_version(service, settings):
    await service.stop()
    folder = settings.data_directory.parent / "models" / "fake" / "1"
    folder.mkdir(parents=True)
    values = Calibration.default().to_dict()
    low = {**values, "intercept": values["intercept"] - 60}
    (folder / "spec.json").write_text(json.dumps({"calibration": low}))
    await service.restart()
    await service.add(record(0, content=png(scene(0))), record(1, content=png(scene(1))))
    hit = await first(service, reprint(scene(0)))
    assert hit.verification.state == State.OVERLAPPING
    assert hit.probability < 0.01


async def test_a_picture_without_features_is_found_all_the_same(press):
    plain = Image.linear_gradient("L").resize((200, 150))
    await press.add(record("plain", content=png(plain)))
    smaller = plain.resize((160, 120))
    found = (await press.search(content=png(smaller), limit=30)).hits
    assert name("plain") in [hit.image.name for hit in found]
    assert not any(hit.verification.overlaps for hit in found)
    same = await first(press, plain)
    assert (same.image.name, same.probability) == (name("plain"), 1.0)


async def test_too_many_pictures_at_a_time_do_not_hold_up_what_needs_none(press):
    requests = [search_pb2.SearchImagesRequest(content=png(scene(n))) for n in range(6)]
    batch = search_pb2.BatchSearchImagesRequest(requests=requests)
    running = asyncio.ensure_future(_await(press.stub.BatchSearchImages(batch)))
    count = 0
    while not running.done():
        async with asyncio.timeout(60):
            await press.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))
        count += 1
    assert count > 3
    assert all(each.HasField("response") for each in (await running).results)


async def _await(call):
    return await call
