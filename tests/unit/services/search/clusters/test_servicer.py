"""ClusterService over gRPC: jobs, imports that join, verdicts, lists."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import grpc
import pytest

from halftone.core import errors
from halftone.services.search.clusters.store import FILE
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.cluster_client import Clusters
from tests.support.search.cluster_pictures import on_page, page, place, plate, printing
from tests.support.search.search_service import name, record

pb = clusters_pb2
Job = pb.ClusterJob.State
Decision = pb.Verdict.Decision


@pytest.fixture
def clusters(service):
    return Clusters(service)


async def load(service, pictures, **fields):
    answers = await service.add(
        *[record(image_id, content=content, **fields) for image_id, content in pictures.items()]
    )
    assert all(answer.state != search_pb2.ImportImagesResponse.REJECTED for answer in answers)


async def refused(call, code):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code
    return errors.from_rpc_error(caught.value)


PICTURES = {
    **{f"a{edition}": printing(1, edition=edition) for edition in range(3)},
    **{f"b{edition}": printing(2, edition=edition) for edition in range(2)},
    "lone": printing(3),
    "plate": plate(1, 4),
    "d0": printing(4),
}


async def test_a_job_groups_the_archive(service, clusters):
    await load(service, PICTURES)
    job = await clusters.run(request_id="first")
    assert (job.state, job.image_count, job.searched_count) == (Job.SUCCEEDED, 8, 8)
    # The plate shows two pictures; it is in the cluster of the surer one, and joins no two.
    grouped = await clusters.sets()
    assert grouped in (
        [["a0", "a1", "a2", "plate"], ["b0", "b1"]],
        [["a0", "a1", "a2"], ["b0", "b1"], ["d0", "plate"]],
    )
    sizes = [len(each) for each in grouped]
    assert job.cluster_count == len(sizes)
    assert (job.clustered_image_count, job.largest_cluster_size) == (sum(sizes), max(sizes))
    assert job.compared_count == job.pair_count > 8
    assert job.model_version == "fake/1"
    # The same again, whatever is asked for.
    assert (await clusters.run(request_id="first")).name == job.name
    before = [await clusters.get(each.name) for each in (await clusters.listed()).clusters]
    again = await clusters.run()
    assert (again.state, again.compared_count) == (Job.SUCCEEDED, 0)
    from_scratch = await clusters.run(from_scratch=True)
    assert from_scratch.compared_count == job.compared_count
    assert [await clusters.get(each.name) for each in (await clusters.listed()).clusters] == before
    jobs = await clusters.stub.ListClusterJobs(pb.ListClusterJobsRequest(page_size=2))
    assert [each.name for each in jobs.jobs] == [from_scratch.name, again.name]
    rest = await clusters.stub.ListClusterJobs(
        pb.ListClusterJobsRequest(page_size=2, page_token=jobs.next_page_token)
    )
    assert [each.name for each in rest.jobs] == [job.name]


async def test_what_is_imported_changed_or_deleted_afterwards_is_followed(service, clusters):
    await load(service, {"a0": printing(1), "b0": printing(2)}, journal="First", date="1900")
    # Nothing is grouped before it was asked for.
    assert (await clusters.run()).cluster_count == 0
    await load(service, {"a1": printing(1, edition=1)}, journal="Second", date="1903-05")
    await clusters.until([["a0", "a1"]])
    cluster = await clusters.get(name("a1"))
    # From the middle of 1900 to that of May 1903.
    assert (cluster.size, cluster.journals, cluster.span_years) == (2, ["First", "Second"], 2)
    await load(service, {"a2": printing(1, edition=2), "same": printing(2)})
    await clusters.until([["a0", "a1", "a2"], ["b0", "same"]])
    assert (await clusters.get(name("a2"))).name == cluster.name
    # Another picture under the same name leaves; a record that says something else is retold.
    await load(service, {"a1": printing(2, edition=1)})
    await clusters.until([["a0", "a2"], ["a1", "b0", "same"]])
    await service.stub.UpdateImage(
        search_pb2.UpdateImageRequest(
            image=search_pb2.Image(name=name("a2"), journal="Third", date="1950"),
            update_mask={"paths": ["journal", "date"]},
        )
    )
    async with asyncio.timeout(20):
        while (await clusters.listed(min_span_years=50)).total_count != 1:
            await asyncio.sleep(0.05)
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("a0"), name("b0")]))
    await clusters.until([["a1", "same"]])
    await refused(clusters.get(cluster.name), grpc.StatusCode.NOT_FOUND)
    # What came and went while no service ran.
    await load(service, {"b0": printing(2)})
    await clusters.until([["a1", "b0", "same"]])


async def test_changes_are_found_again_after_a_restart(service, clusters):
    await load(service, {"a0": printing(1)})
    await clusters.run()
    # Noted, and not looked at: as if the process had ended before.
    worker_notes = service.embedder.images
    await load(service, {"a1": printing(1, edition=1)})
    assert service.embedder.images == worker_notes + 1
    await service.restart()
    await clusters.until([["a0", "a1"]])


async def test_another_version_gives_kept_pairs_its_probabilities_without_a_job(service, clusters):
    await load(service, {"a0": printing(1), "a1": printing(1, edition=1), "b0": printing(2)})
    await clusters.run()
    before = await clusters.get(name("a0"))
    await service.stop()
    # As if a version had found them by which the two are not the same.
    with contextlib.closing(sqlite3.connect(service.settings.data_directory / FILE)) as connection:
        connection.execute("UPDATE versions SET name = 'before/1' WHERE name = 'fake/1'")
        connection.execute("UPDATE pairs SET probability = 0")
        connection.execute("DELETE FROM members")
        connection.execute("DELETE FROM clusters")
        connection.commit()
    await service.restart()
    await clusters.until([["a0", "a1"]])
    after = await clusters.get(name("a0"))
    assert (after.name, list(after.links)) == (before.name, list(before.links))
    assert len((await clusters.stub.ListClusterJobs(pb.ListClusterJobsRequest())).jobs) == 1


async def test_a_verdict_regroups_at_once_and_stays(service, clusters):
    await load(service, {f"a{edition}": printing(1, edition=edition) for edition in range(3)})
    await load(service, {"x": printing(9)})
    await clusters.run()
    original = (await clusters.get(name("a0"))).name
    verdict = await clusters.judge("a2", "a0", Decision.DIFFERENT, note="other", author="me")
    assert (verdict.a, verdict.b, verdict.note) == (name("a0"), name("a2"), "other")
    sets = await clusters.sets()
    assert len(sets) == 1
    assert not {"a0", "a2"} <= set(sets[0])
    assert (await clusters.get(name("a1"))).name == original
    await clusters.judge("x", "a1", Decision.SAME)
    assert "x" in (await clusters.sets())[0]
    link = next(
        link for link in (await clusters.get(name("x"))).links if link.verdict == Decision.SAME
    )
    assert {link.a, link.b} == {name("x"), name("a1")}
    assert (await clusters.run(from_scratch=True)).state == Job.SUCCEEDED
    sets = await clusters.sets()
    assert not {"a0", "a2"} <= set(sets[0])
    # A later verdict takes its place; a verdict that is taken back has no effect.
    await clusters.judge("a0", "a2", Decision.UNSURE)
    assert await clusters.sets() == [["a0", "a1", "a2", "x"]]
    held = (await clusters.stub.ListVerdicts(pb.ListVerdictsRequest())).verdicts
    assert [each.decision for each in held] == [Decision.UNSURE, Decision.SAME]
    await clusters.stub.DeleteVerdict(pb.DeleteVerdictRequest(name=held[1].name))
    assert await clusters.sets() == [["a0", "a1", "a2"]]
    request = pb.ListVerdictsRequest(image=name("a0"), history=True, page_size=1)
    first = await clusters.stub.ListVerdicts(request)
    request.page_token = first.next_page_token
    second = await clusters.stub.ListVerdicts(request)
    assert [each.decision for each in (*first.verdicts, *second.verdicts)] == [
        Decision.UNSURE,
        Decision.DIFFERENT,
    ]
    assert second.verdicts[0].HasField("end_time")
    assert not second.next_page_token


async def test_a_verdict_tells_that_a_picture_was_replaced(service, clusters):
    await load(service, PICTURES)
    verdict = await clusters.judge("a0", "lone", Decision.SAME, note="seen")
    other = await clusters.judge("b0", "b1", Decision.SAME)
    assert not verdict.replaced_images
    await load(service, {"lone": printing(5)})

    async def listed(image_id):
        request = pb.ListVerdictsRequest(image=name(image_id))
        (found,) = (await clusters.stub.ListVerdicts(request)).verdicts
        return list(found.replaced_images)

    async with asyncio.timeout(30):
        while await listed("a0") != [name("lone")]:
            await asyncio.sleep(0.05)
    assert await listed("b0") == list(other.replaced_images) == []
    # The old picture comes back, and with it what was judged.
    await load(service, {"lone": PICTURES["lone"]})
    async with asyncio.timeout(30):
        while await listed("a0"):
            await asyncio.sleep(0.05)
    await load(service, {"lone": printing(5)})
    again = await clusters.judge("a0", "lone", Decision.DIFFERENT)
    assert not again.replaced_images


async def test_verdicts_hold_without_a_job_and_say_when_they_contradict(service, clusters):
    await load(service, {f"p{seed}": printing(seed) for seed in range(3)})
    await clusters.judge("p0", "p1", Decision.SAME)
    await clusters.judge("p1", "p2", Decision.SAME)
    links = (await clusters.get(name("p0"))).links
    assert len(links) == 2
    assert not any(link.HasField("probability") for link in links)
    assert await clusters.sets() == [["p0", "p1", "p2"]]
    late = await clusters.judge("p0", "p2", Decision.DIFFERENT)
    assert not late.overruled
    assert await clusters.sets() == [["p1", "p2"]]
    held = (await clusters.stub.ListVerdicts(pb.ListVerdictsRequest())).verdicts
    assert [each.overruled for each in held] == [False, False, True]


async def test_a_verdict_names_those_that_lose_their_effect_by_it(service, clusters):
    await load(service, {f"p{seed}": printing(seed) for seed in range(4)})
    first = await clusters.judge("p0", "p1", Decision.SAME, note="the same plate", author="Ada")
    second = await clusters.judge("p1", "p2", Decision.SAME)
    third = await clusters.judge("p2", "p3", Decision.SAME)
    # The chain breaks where it is oldest: neither of the images is judged here.
    last = await clusters.judge("p2", "p0", Decision.DIFFERENT)
    (lost,) = last.overruled_verdicts
    assert (lost.name, lost.note, lost.author) == (first.name, "the same plate", "Ada")
    assert lost.overruled
    # What had no effect before has none to lose; whoever had no answer and says it again is told.
    assert not (await clusters.judge("p1", "p3", Decision.SAME)).overruled_verdicts
    again = await clusters.judge("p0", "p2", Decision.DIFFERENT)
    assert [each.name for each in again.overruled_verdicts] == [first.name]
    # The newest first; and one that has its effect again may take another's.
    between = await clusters.judge("p0", "p3", Decision.SAME)
    lost = [each.name for each in between.overruled_verdicts]
    assert lost == [third.name, second.name]
    held = (await clusters.stub.ListVerdicts(pb.ListVerdictsRequest())).verdicts
    assert [each.name for each in held if each.overruled] == lost
    back = await clusters.stub.DeleteVerdict(pb.DeleteVerdictRequest(name=between.name))
    assert back.name == between.name
    assert [each.name for each in back.overruled_verdicts] == [first.name]
    assert not any(each.overruled_verdicts for each in held)


async def test_a_cluster_tells_the_life_of_a_picture(service, clusters):
    for image_id, edition, fields in (
        ("late", 1, {"journal": "Later", "date": "1910-03-02"}),
        ("early", 0, {"journal": "Earlier", "date": "1900-01-01"}),
        ("undated", 2, {"journal": "Another"}),
        ("vague", 3, {"journal": "Earlier", "date": "1910"}),
    ):
        await load(service, {image_id: printing(1, edition=edition)}, **fields)
    await load(service, {"twin": printing(1)}, date="1900-01-11")
    await clusters.run()
    cluster = await clusters.get(name("late"))
    ids = [member.image.name.rpartition("/")[2] for member in cluster.members]
    assert ids == ["early", "twin", "vague", "late", "undated"]
    gaps = [member.gap_days if member.HasField("gap_days") else None for member in cluster.members]
    assert gaps == [None, 10, 3642, 60, None]
    assert cluster.members[0].image.same_content == [name("twin")]
    assert cluster.journals == ["Earlier", "Later", "Another"]
    assert (cluster.earliest_date, cluster.latest_date) == ("1900-01-01", "1910-12-31")
    assert (cluster.span_years, cluster.journal_count, cluster.size) == (10, 3, 5)
    assert cluster.undated_count == 1
    assert cluster.first_image.name == name("early")
    assert 0.9 <= cluster.weakest_link <= min(each.weakest_link for each in cluster.members)
    probabilities = [link.probability for link in cluster.links]
    assert probabilities == sorted(probabilities, reverse=True)
    counted = sum(member.link_count for member in cluster.members)
    assert counted == 2 * len(cluster.links)
    twins = cluster.links[0]
    assert (twins.a, twins.b, twins.relation) == (
        name("early"),
        name("twin"),
        search_pb2.Hit.SAME_SCAN,
    ) or (twins.a, twins.b) == (name("twin"), name("early"))
    overlap = next(link for link in cluster.links if link.verification.overlaps).verification
    assert overlap.state == search_pb2.Verification.OVERLAPPING
    assert overlap.overlaps[0].inlier_count > 10


async def test_lists_are_sorted_filtered_and_paged(service, clusters):
    for seed in range(4):
        for edition in range(2 + seed % 2):
            await load(
                service,
                {f"s{seed}-{edition}": printing(seed, edition=edition)},
                journal=f"J{seed % 3}-{edition}",
                date=str(1900 + seed * edition * 10),
            )
    await clusters.run()
    every = await clusters.listed()
    assert [cluster.size for cluster in every.clusters] == [3, 3, 2, 2]
    assert every.total_count == 4
    assert every.clusters[0].first_image.name.endswith("-0")
    names, token = [], ""
    while True:
        page = await clusters.listed(page_size=1, page_token=token)
        names += [cluster.name for cluster in page.clusters]
        token = page.next_page_token
        if not token:
            break
    assert names == [cluster.name for cluster in every.clusters]
    spans = await clusters.listed(order=pb.ListClustersRequest.SPAN_YEARS)
    assert [cluster.span_years for cluster in spans.clusters] == sorted(
        (cluster.span_years for cluster in every.clusters), reverse=True
    )
    assert (await clusters.listed(min_size=3)).total_count == 2
    some = await clusters.listed(filter=search_pb2.Filter(journals=["J1-2"]))
    assert [cluster.journals for cluster in some.clusters] == [["J1-0", "J1-1", "J1-2"]]
    assert some.total_count == 1
    rest = search_pb2.Filter(exclude=search_pb2.Filter(journals=["J1-2"]))
    assert (await clusters.listed(filter=rest, min_size=2)).total_count == 4
    none = await clusters.listed(filter=search_pb2.Filter(journals=["Nowhere"]))
    assert (none.total_count, len(none.clusters)) == (0, 0)
    error = await refused(
        clusters.listed(page_token=page.next_page_token or "x"), grpc.StatusCode.INVALID_ARGUMENT
    )
    assert error.field == "page_token"
    first = await clusters.listed(page_size=1)
    error = await refused(
        clusters.listed(page_token=first.next_page_token, min_size=2),
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert error.field == "page_token"


async def test_what_is_wrong_is_refused(service, clusters):
    await load(service, {"a": printing(1), "b": printing(2)})
    stub, code = clusters.stub, grpc.StatusCode
    for call, expected, detail in (
        (clusters.judge("a", "a", Decision.SAME), code.INVALID_ARGUMENT, "b"),
        (clusters.judge("a", "b", 0), code.INVALID_ARGUMENT, "decision"),
        (clusters.judge("a", "b", Decision.SAME, note="x" * 4097), code.INVALID_ARGUMENT, "note"),
        (
            clusters.judge("a", "b", Decision.SAME, author="x" * 257),
            code.INVALID_ARGUMENT,
            "author",
        ),
        (clusters.listed(page_size=0), code.INVALID_ARGUMENT, "page_size"),
        (clusters.listed(min_size=-1), code.INVALID_ARGUMENT, "min_size"),
        (clusters.get(""), code.INVALID_ARGUMENT, "name"),
        *(
            (stub.DeleteVerdict(pb.DeleteVerdictRequest(name=each)), code.INVALID_ARGUMENT, "name")
            # The last two are no other verdict's number, nor one that a file can hold.
            for each in ("x", "verdicts/x", "verdicts/07", "verdicts/" + "9" * 19)
        ),
    ):
        error = await refused(call, expected)
        assert error.field == detail
    for call, kind in (
        (clusters.judge("a", "gone", Decision.SAME), "image"),
        (clusters.get(name("gone")), "image"),
        (clusters.get(name("a")), "cluster"),
        (clusters.get("clusters/none"), "cluster"),
        (stub.GetClusterJob(pb.GetClusterJobRequest(name="clusterJobs/none")), "clusterJob"),
        (stub.DeleteVerdict(pb.DeleteVerdictRequest(name="verdicts/7")), "verdict"),
    ):
        error = await refused(call, code.NOT_FOUND)
        assert error.resource_type == kind
    assert not (await stub.ListVerdicts(pb.ListVerdictsRequest(history=True))).verdicts
    job = await clusters.run()
    error = await refused(
        stub.CancelClusterJob(pb.CancelClusterJobRequest(name=job.name)), code.FAILED_PRECONDITION
    )
    assert error.reason == "CLUSTER_JOB_ENDED"


async def test_a_job_is_cancelled_and_another_starts(service, clusters):
    await load(
        service, {f"a{number}": printing(number % 3, edition=number // 3) for number in range(9)}
    )
    job = await clusters.stub.CreateClusterJob(pb.CreateClusterJobRequest())
    cancelled = await clusters.stub.CancelClusterJob(pb.CancelClusterJobRequest(name=job.name))
    assert cancelled.state == Job.CANCELLED
    assert cancelled.HasField("end_time")
    await asyncio.sleep(0.5)
    # The groups stay as they were, and what is imported waits for the next job.
    assert (await clusters.listed()).total_count == 0
    await load(service, {"late0": printing(9), "late1": printing(9, edition=1)})
    await asyncio.sleep(0.5)
    again = await clusters.run()
    assert (again.state, again.image_count, again.cluster_count) == (Job.SUCCEEDED, 11, 4)


async def load_page(service, page_id, seeds):
    """A page and the pictures on it, which come first."""
    whole = page(*seeds)
    for at in range(len(seeds)):
        x, y, width, height = place(at)
        await load(
            service,
            {f"{page_id}-{at}": on_page(whole, at)},
            page_image=name(page_id),
            page_region={"x": x, "y": y, "width": width, "height": height},
        )
    await load(service, {page_id: whole}, page="3", journal="Die Woche", date="1914-08-22")


async def test_a_page_is_in_as_many_clusters_as_it_has_pictures(service, clusters):
    """By its pictures: a clipping comes into one cluster with the picture on the page."""
    await load(service, {"clip1": printing(1, edition=1), "clip2": printing(2, edition=2)})
    await load_page(service, "p", (1, 2))
    await clusters.run()
    expected = [["clip1", "p-0"], ["clip2", "p-1"]]
    assert await clusters.sets() == expected
    cluster = await clusters.get(name("clip2"))
    above = {member.image.name: member.page for member in cluster.members}
    assert above[name("clip2")].name == ""
    told = above[name("p-1")]
    assert (told.name, told.page, told.journal, told.date) == (
        name("p"),
        "3",
        "Die Woche",
        "1914-08-22",
    )
    error = await refused(clusters.get(name("p")), grpc.StatusCode.NOT_FOUND)
    assert "2 clusters" in error.message
    error = await refused(
        clusters.judge("p-0", "p", Decision.SAME), grpc.StatusCode.INVALID_ARGUMENT
    )
    assert error.reason == "ONE_PRINTING"
    # What is imported later joins in the same way.
    await load_page(service, "q", (2,))
    await load(service, {"clip3": printing(1, edition=3)})
    joined = [["clip1", "clip3", "p-0"], ["clip2", "p-1", "q-0"]]
    await clusters.until(joined)
    assert (await clusters.get(name("q"))).name == cluster.name
    await clusters.run(from_scratch=True)
    assert await clusters.sets() == joined
    # A page that goes leaves its pictures where they are.
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("p")]))
    await load(service, {"clip4": printing(2, edition=3)})
    await clusters.until([joined[0], ["clip2", "clip4", "p-1", "q-0"]])


async def test_a_page_leaves_its_cluster_to_its_picture_when_that_gets_a_record(service, clusters):
    """And takes its place again when the picture's record goes, or stands on no page any more."""
    await load(service, {"clip": printing(1, edition=1), "p": page(1)})
    await clusters.run()
    assert await clusters.sets() == [["clip", "p"]]
    await load_page(service, "p", (1,))
    await clusters.until([["clip", "p-0"]])
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("p-0")]))
    await clusters.until([["clip", "p"]])
    await load_page(service, "p", (1,))
    await clusters.until([["clip", "p-0"]])
    await service.stub.UpdateImage(
        search_pb2.UpdateImageRequest(
            image=search_pb2.Image(name=name("p-0")), update_mask={"paths": ["page_image"]}
        )
    )
    await clusters.until([["clip", "p", "p-0"]])


async def test_a_picture_within_another_on_its_page_makes_no_printing(service, clusters):
    await load(service, {"clip": printing(1, edition=1)})
    await load_page(service, "p", (1,))
    x, y, width, height = place(0)
    inner = {"x": x + 10, "y": y + 10, "width": width - 20, "height": height - 20}
    fields = {"page_image": name("p"), "page_region": inner}
    await load(service, {"p-in": printing(1, edition=2)}, **fields)
    await clusters.run()
    (together,) = await clusters.sets()
    assert together in (["clip", "p-0"], ["clip", "p-in"])
    # Moved to another place on the page, it is another printing.
    inner = {"x": 500, "y": 900, "width": 300, "height": 220}
    await load(service, {"p-in": printing(1, edition=2)}, page_image=name("p"), page_region=inner)
    await clusters.until([["clip", "p-0", "p-in"]])
