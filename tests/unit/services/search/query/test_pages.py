"""Pages and the pictures on them as records: what a search finds of one printing, and how."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.v1 import search_pb2
from tests.support.search.cluster_pictures import on_page, page, place, printing
from tests.support.search.search_service import error_of, name, record

Hit = search_pb2.Hit
Filter = search_pb2.Filter
PAGES = {"p1": (1, 2), "p2": (3,)}


def pictures_of(page_id, seeds, **fields):
    """Requests for the records of a page and of the pictures on it."""
    whole = page(*seeds)
    yield record(page_id, content=whole, page="3", journal="Die Woche", date="1914-08-22")
    for at in range(len(seeds)):
        x, y, width, height = place(at)
        yield record(
            f"{page_id}/{at}",
            content=on_page(whole, at),
            page_image=name(page_id),
            page_region={"x": x, "y": y, "width": width, "height": height},
            **fields,
        )


@pytest.fixture
async def press(service):
    """Two pages, one with two pictures and one with one, and a page without picture records."""
    requests = [each for page_id, seeds in PAGES.items() for each in pictures_of(page_id, seeds)]
    # The pictures come before their pages.
    await service.add(*requests[::-1], record("bare", content=page(5)))
    return service


async def likely(service, **fields):
    response = await service.search(min_probability=0.5, **fields)
    return [hit.image.name for hit in response.hits]


async def test_a_picture_is_found_once_with_its_page_named(press):
    response = await press.search(content=printing(2, edition=1), limit=30)
    assert response.hits[0].image.name == name("p1/1")
    assert response.hits[0].relation in {Hit.SAME_SCAN, Hit.REPRINT}
    assert response.hits[0].page.name == name("p1")
    assert (response.hits[0].page.page, response.hits[0].page.journal) == ("3", "Die Woche")
    found = [hit.image.name for hit in response.hits]
    assert name("p1") not in found
    # What has nothing to do with it is there as always.
    assert {name("p2"), name("p2/0"), name("bare")} < set(found)
    assert len(found) == len(set(found)) == 5
    assert not next(hit for hit in response.hits if hit.image.name == name("bare")).HasField("page")


async def test_pages_of_hits_are_pieces_of_one_ranking_without_explained_pages(press):
    whole = [hit.image.name for hit in (await press.search(content=printing(2), limit=30)).hits]
    pieces, token = [], ""
    while True:
        answer = await press.search(content=printing(2), limit=2, page_token=token)
        pieces += [hit.image.name for hit in answer.hits]
        token = answer.next_page_token
        if not token:
            break
    assert pieces == whole


async def test_a_page_without_picture_records_is_found_itself(press):
    assert await likely(press, content=printing(5, edition=1)) == [name("bare")]


async def test_a_page_that_shares_more_than_a_picture_is_a_hit_of_its_own(press):
    """The same page, scanned again: it is a better answer than the pictures on it."""
    found = await likely(press, content=page(1, 2))
    assert found[0] == name("p1")
    assert set(found) >= {name("p1"), name("p1/0"), name("p1/1")}


async def test_without_regions_a_page_that_contains_the_query_is_explained(press):
    for at in range(2):
        request = search_pb2.UpdateImageRequest(image={"name": name(f"p1/{at}")})
        request.update_mask.paths.append("page_region")
        await press.stub.UpdateImage(request)
    assert await likely(press, content=printing(2, edition=1)) == [name("p1/1")]


async def test_neither_page_nor_picture_finds_the_other(press):
    everything = {name(each) for each in ("p1", "p1/0", "p1/1", "p2", "p2/0", "bare")}
    of_picture = await press.hits(image=name("p1/1"), limit=30)
    assert set(of_picture) == everything - {name("p1"), name("p1/1")}
    of_page = await press.hits(image=name("p1"), limit=30)
    assert set(of_page) == everything - {name("p1"), name("p1/0"), name("p1/1")}
    x, y, width, height = place(0)
    region = {"x": x, "y": y, "width": width, "height": height}
    of_part = await press.hits(image=name("p1"), region=region, limit=30)
    assert not {name("p1"), name("p1/0")} & set(of_part)


async def test_a_comparison_says_that_one_is_the_page_of_the_other(press):
    async def relation(query, image):
        request = search_pb2.CompareImagesRequest(query=name(query), image=name(image))
        return (await press.stub.CompareImages(request)).hit.relation

    assert await relation("p1", "p1/0") == Hit.ON_PAGE
    assert await relation("p1/0", "p1") == Hit.ON_PAGE
    assert await relation("p2", "p1/0") == Hit.UNRELATED
    assert await relation("p1/0", "p1/1") == Hit.UNRELATED


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Filter(kind=Filter.PICTURE), {"p1/0", "p1/1", "p2/0"}),
        (Filter(kind=Filter.PAGE), {"p1", "p2", "bare"}),
        (Filter(page_images=[name("p1")]), {"p1/0", "p1/1"}),
        (Filter(page_images=[name("p1"), name("p2")]), {"p1/0", "p1/1", "p2/0"}),
        (Filter(page_images=[name("p9")]), set()),
        (Filter(kind=Filter.PAGE, page_images=[name("p1")]), set()),
        (Filter(exclude=Filter(kind=Filter.PICTURE)), {"p1", "p2", "bare"}),
        (Filter(exclude=Filter(kind=Filter.PAGE)), {"p1/0", "p1/1", "p2/0"}),
        (Filter(kind=Filter.PICTURE, exclude=Filter(page_images=[name("p1")])), {"p2/0"}),
    ],
)
async def test_pages_and_pictures_are_filtered_by(press, condition, expected):
    found = await press.hits(content=page(9), filter=condition, limit=30)
    assert set(found) == {name(each) for each in expected}
    listed = await press.stub.ListImages(search_pb2.ListImagesRequest(filter=condition))
    assert [image.name for image in listed.images] == sorted(name(each) for each in expected)
    facets = await press.stub.CountFacets(search_pb2.CountFacetsRequest(filter=condition))
    assert facets.total_count == len(expected)


async def test_an_unknown_kind_or_a_name_of_no_image_is_refused(press):
    for condition, field in (
        (Filter(kind=77), "filter.kind"),
        (Filter(page_images=["p1"]), "filter.page_images"),
    ):
        error = await error_of(press.search(content=page(9), filter=condition))
        assert isinstance(error, errors.InvalidArgument)
        assert error.field == field


async def test_the_page_of_a_picture_is_changed_and_taken_away(press):
    for value in (name("p2"), ""):
        request = search_pb2.UpdateImageRequest(
            image={"name": name("p1/1"), "page_image": value}, update_mask={"paths": ["page_image"]}
        )
        assert (await press.stub.UpdateImage(request)).page_image == value
        condition = Filter(page_images=[name("p2")])
        listed = await press.stub.ListImages(search_pb2.ListImagesRequest(filter=condition))
        assert (name("p1/1") in [image.name for image in listed.images]) == bool(value)
    request.image.page_image = name("p1/1")
    assert (await error_of(press.stub.UpdateImage(request))).field == "image.page_image"


async def test_hits_of_an_embedding_name_their_pages(press):
    vector = (await press.search(content=on_page(page(1, 2), 1), limit=1)).hits[0]
    assert vector.page.name == name("p1")


async def test_pictures_within_each_other_on_a_page_do_not_find_each_other(press):
    """A description of the page calls a plate a picture, and each picture on it as well."""
    x, y, width, height = place(1)
    fields = {"page_image": name("p1")}
    region = {"x": x + 10, "y": y + 10, "width": width - 20, "height": height - 30}
    await press.add(
        record("p1/in", content=printing(2, edition=2), page_region=region, **fields),
        record("p1/nowhere", content=printing(2, edition=3), **fields),
    )
    for one, other in (("p1/in", "p1/1"), ("p1/1", "p1/in")):
        found = await press.hits(image=name(one), limit=30)
        assert name(other) not in found
        assert {name("p1/0"), name("p1/nowhere")} < set(found)
