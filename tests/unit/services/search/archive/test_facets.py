"""Counts that are kept: asked of the store once, and anew after each change."""

from __future__ import annotations

from halftone.services.search.store.edge.collection import EdgeCollection
from halftone.v1 import search_pb2
from tests.support.search.search_service import name, record

ASKED = search_pb2.CountFacetsRequest(year_buckets=10)


async def test_equal_questions_are_counted_once_until_something_changes(service, monkeypatch):
    await service.add(record(1, journal="Courier", date="1914"))
    counted = []
    facet = EdgeCollection.facet

    def count(self, key, **options):
        counted.append(key)
        return facet(self, key, **options)

    monkeypatch.setattr(EdgeCollection, "facet", count)
    first = await service.stub.CountFacets(ASKED)
    once = len(counted)
    assert await service.stub.CountFacets(ASKED) == first
    assert len(counted) == once
    assert (first.total_count, first.year_histogram[0].first_year) == (1, 1914)

    await service.add(record(2, journal="Courier"))
    second = await service.stub.CountFacets(ASKED)
    assert (second.total_count, second.undated_count) == (2, 1)
    update = search_pb2.UpdateImageRequest(image=search_pb2.Image(name=name(2), journal="Globe"))
    update.update_mask.paths.append("journal")
    await service.stub.UpdateImage(update)
    third = await service.stub.CountFacets(ASKED)
    assert [facet.value for facet in third.journals] == ["Courier", "Globe"]
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    assert (await service.stub.CountFacets(ASKED)).total_count == 1
    assert len(counted) > once
