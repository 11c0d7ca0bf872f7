"""Verdicts on the image that is searched by and its hits."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid

import pytest

from halftone.core import errors, telemetry
from halftone.services.search.clusters.store import FILE, DatabaseElsewhere
from halftone.services.search.clusters.views import HitVerdicts
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.cluster_client import Clusters
from tests.support.search.cluster_pictures import printing
from tests.support.search.search_service import metrics_of, name, record

pb = clusters_pb2
Decision = pb.Verdict.Decision


@pytest.fixture
async def clusters(service):
    await service.add(
        *(record(f"a{edition}", content=printing(1, edition=edition)) for edition in range(3)),
        record("x", content=printing(9)),
    )
    return Clusters(service)


async def told(service, **fields):
    """Decisions by image id, of those hits that have one."""
    response = await service.search(**fields)
    assert not response.verdicts_unavailable
    return {
        hit.image.name.rpartition("/")[2]: hit.verdict.decision
        for hit in response.hits
        if hit.HasField("verdict")
    }


async def test_hits_of_an_image_tell_the_verdict_on_that_very_pair(service, clusters):
    before = await service.search(image=name("a0"))
    different = await clusters.judge("a0", "a1", Decision.DIFFERENT, note="retouched", author="Eva")
    await clusters.judge("x", "a0", Decision.SAME)
    await clusters.judge("a1", "a2", Decision.UNSURE)
    after = await service.search(image=name("a0"))
    (hit,) = (hit for hit in after.hits if hit.image.name == name("a1"))
    assert hit.verdict == different
    assert (hit.verdict.note, hit.verdict.author) == ("retouched", "Eva")
    expected = {"a1": Decision.DIFFERENT, "x": Decision.SAME}
    assert await told(service, image=name("a0")) == expected
    # Whatever was said, what was found stays as it was.
    for hit in after.hits:
        hit.ClearField("verdict")
    assert after == before
    assert await told(service, image=name("a1")) == {
        "a0": Decision.DIFFERENT,
        "a2": Decision.UNSURE,
    }
    part = {"x": 0, "y": 0, "width": 100, "height": 100}
    assert await told(service, image=name("a0"), region=part) == expected
    # The bytes of an image are nobody's name.
    assert not await told(service, content=printing(1))
    batch = await service.stub.BatchSearchImages(
        search_pb2.BatchSearchImagesRequest(
            requests=[
                search_pb2.SearchImagesRequest(image=name("x")),
                search_pb2.SearchImagesRequest(content=printing(9)),
            ]
        )
    )
    said = [
        [hit.verdict.decision for hit in result.response.hits if hit.HasField("verdict")]
        for result in batch.results
    ]
    assert said == [[Decision.SAME], []]


async def test_a_comparison_tells_the_verdict_that_holds(service, clusters):
    async def compared(a, b):
        request = search_pb2.CompareImagesRequest(query=name(a), image=name(b))
        return (await service.stub.CompareImages(request)).hit

    await clusters.judge("a0", "x", Decision.SAME)
    await clusters.judge("a1", "x", Decision.SAME)
    assert (await compared("x", "a0")).verdict.decision == Decision.SAME
    assert not (await compared("a0", "a1")).HasField("verdict")
    await clusters.judge("a0", "a1", Decision.DIFFERENT)
    overruled = (await compared("a0", "x")).verdict
    assert (overruled.decision, overruled.overruled) == (Decision.SAME, True)
    await clusters.judge("x", "a0", Decision.UNSURE)
    verdict = (await compared("a0", "x")).verdict
    assert (verdict.decision, verdict.overruled) == (Decision.UNSURE, False)
    await clusters.stub.DeleteVerdict(pb.DeleteVerdictRequest(name=verdict.name))
    assert not (await compared("a0", "x")).HasField("verdict")


async def test_searches_that_cannot_read_the_verdicts_are_answered_and_say_so(service, clusters):
    await clusters.judge("a0", "a1", Decision.SAME)

    def renamed(before, after):
        path = service.settings.data_directory / FILE
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    whole = await service.search(image=name("a0"))
    renamed("verdicts", "gone")
    response = await service.search(image=name("a0"))
    assert response.verdicts_unavailable
    assert [hit.image for hit in response.hits] == [hit.image for hit in whole.hits]
    assert not any(hit.HasField("verdict") for hit in response.hits)
    request = search_pb2.CompareImagesRequest(query=name("a0"), image=name("a1"))
    assert (await service.stub.CompareImages(request)).verdicts_unavailable
    # Nothing is missing where nothing could be known.
    assert not (await service.search(content=printing(1))).verdicts_unavailable
    assert "halftone_search_verdicts_unavailable_total 2.0" in await metrics_of(service)
    renamed("gone", "verdicts")
    assert await service.search(image=name("a0")) == whole


def test_beside_another_process_that_keeps_the_clusters_verdicts_are_unavailable():
    database = DatabaseElsewhere(errors.DataDirectoryError("Kept elsewhere.", subject="data"))
    verdicts = HitVerdicts(database, metrics=telemetry.Metrics(service="test"))
    assert verdicts.of(uuid.uuid4(), [uuid.uuid4()]) is None
