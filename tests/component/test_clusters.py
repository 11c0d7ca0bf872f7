"""Clusters of real processes: a job that is killed, verdicts through all that may happen."""

from __future__ import annotations

import json
import time

import pytest

from halftone.registry.versions import Registry
from halftone.v1 import (
    clusters_pb2,
    clusters_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    search_pb2,
)
from tests.component.test_search import Stack
from tests.support.embedder.fake_embedder import DIMENSION
from tests.support.search.cluster_pictures import printing
from tests.support.search.search_service import name, record

pb = clusters_pb2
Job = pb.ClusterJob.State
Promotion = models_pb2.Promotion.State
PICTURES, EDITIONS = 20, 2


@pytest.fixture
def registry(memory_path):
    staging = memory_path / "staging"
    staging.mkdir()
    (staging / "spec.json").write_text(json.dumps({"dimension": DIMENSION}))
    (staging / "model.safetensors").write_bytes(bytes(1_000))
    (staging / "golden.json").write_text("{}")
    made = Registry(memory_path / "models")
    for version in (1, 2):
        made.publish(staging, name="fake", version=version)
    return made


@pytest.fixture
def stack(memory_path, registry):
    made = Stack(memory_path, promotion_poll_seconds=0.1)
    made.search.environment["HALFTONE_MODELS_DIRECTORY"] = str(registry.directory)
    made.embedder.command.append("fake/2")
    made.start()
    yield made
    made.stop()


def stub(stack):
    return clusters_pb2_grpc.ClusterServiceStub(stack.channel)


def load(stack, pictures):
    records = [record(image_id, content=content) for image_id, content in pictures.items()]
    assert len(list(stack.stub.ImportImages(iter(records), timeout=60))) == len(records)


def watched(stack, job, *, until):
    deadline = time.monotonic() + 120
    while not until(job):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
        job = stub(stack).GetClusterJob(pb.GetClusterJobRequest(name=job.name), timeout=60)
    return job


def run(stack, **fields):
    job = stub(stack).CreateClusterJob(pb.CreateClusterJobRequest(**fields), timeout=60)
    job = watched(stack, job, until=lambda job: job.state != Job.RUNNING)
    assert job.state == Job.SUCCEEDED, job
    return job


def clusters(stack):
    """Names of clusters to the ids of their images."""
    listed = stub(stack).ListClusters(pb.ListClustersRequest(page_size=1000), timeout=60)
    found = {}
    for each in listed.clusters:
        cluster = stub(stack).GetCluster(pb.GetClusterRequest(name=each.name), timeout=60)
        found[each.name] = {member.image.name.rpartition("/")[2] for member in cluster.members}
    return found


def together(stack, *image_ids):
    return any(set(image_ids) <= members for members in clusters(stack).values())


def told(stack, query, image):
    """The verdict on two images, as a comparison and a search by the one tell it."""
    searched = search_pb2.SearchImagesRequest(image=name(query))
    hits = {hit.image.name: hit for hit in stack.stub.SearchImages(searched, timeout=60).hits}
    compared = stack.stub.CompareImages(
        search_pb2.CompareImagesRequest(query=name(query), image=name(image)), timeout=60
    )
    assert compared.hit.verdict == hits[name(image)].verdict
    return compared.hit.verdict


def waits_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.soak
def test_a_job_that_is_killed_goes_on_where_it_was(stack):
    load(
        stack,
        {
            f"p{seed}-{edition}": printing(seed, edition=edition)
            for seed in range(PICTURES)
            for edition in range(EDITIONS)
        },
    )
    job = stub(stack).CreateClusterJob(pb.CreateClusterJobRequest(), timeout=60)
    kills = 0
    for share in (0.2, 0.6):
        job = watched(
            stack,
            job,
            until=lambda job, least=share * PICTURES * EDITIONS: (
                job.searched_count >= least or job.state != Job.RUNNING
            ),
        )
        if job.state != Job.RUNNING:
            break
        kills += 1
        stack.search.end()
        stack.search.start()
        stack.wait()
        after = stub(stack).GetClusterJob(pb.GetClusterJobRequest(name=job.name), timeout=60)
        assert after.searched_count >= job.searched_count
        assert after.compared_count >= job.compared_count
    assert kills
    job = watched(stack, job, until=lambda job: job.state != Job.RUNNING)
    assert job.state == Job.SUCCEEDED
    made = clusters(stack)
    assert sorted(map(sorted, made.values())) == sorted(
        sorted(f"p{seed}-{edition}" for edition in range(EDITIONS)) for seed in range(PICTURES)
    )
    # As if it had never been cut off.
    run(stack, from_scratch=True)
    assert clusters(stack) == made


@pytest.mark.soak
def test_a_verdict_holds_through_import_regrouping_promotion_and_kill(stack):
    load(stack, {f"a{edition}": printing(1, edition=edition) for edition in range(3)})
    load(stack, {f"b{edition}": printing(2, edition=edition) for edition in range(2)})
    run(stack)
    before = clusters(stack)
    (cluster,) = (each for each, members in before.items() if "a0" in members)
    assert before[cluster] == {"a0", "a1", "a2"}
    verdict = stub(stack).JudgePair(
        pb.JudgePairRequest(
            a=name("a0"), b=name("a1"), decision=pb.Verdict.DIFFERENT, note="retouched", author="me"
        ),
        timeout=20,
    )
    # It is on disk once it is answered.
    stack.search.end()
    stack.search.start()
    stack.wait()
    assert not together(stack, "a0", "a1")
    # An import that matches both brings them together no more.
    load(stack, {"a3": printing(1, edition=3)})
    waits_for(lambda: together(stack, "a2", "a3"))
    assert not together(stack, "a0", "a1")
    run(stack)
    assert not together(stack, "a0", "a1")
    ids = clusters(stack)
    models = models_pb2_grpc.ModelServiceStub(stack.channel)
    models.PromoteModelVersion(
        models_pb2.PromoteModelVersionRequest(name="fake/2", force=True), timeout=60
    )

    def promoted():
        promotion = models.GetPromotion(models_pb2.GetPromotionRequest(), timeout=60)
        assert promotion.state not in {Promotion.FAILED, Promotion.REFUSED}
        return promotion.state == Promotion.SUCCEEDED

    waits_for(promoted)
    # The model version changes no id, and a job under the new one none either.
    assert clusters(stack) == ids
    job = run(stack)
    assert job.model_version == "fake/2"
    assert clusters(stack) == ids
    assert run(stack, from_scratch=True).compared_count > 0
    assert clusters(stack) == ids
    (held,) = stub(stack).ListVerdicts(pb.ListVerdictsRequest(), timeout=60).verdicts
    assert held == verdict
    assert cluster in ids
    # Searches and comparisons tell it, whatever the version, until later ones contradict it.
    assert told(stack, "a0", "a1") == verdict
    same = {"decision": pb.Verdict.SAME}
    for a, b, overruled in (("a0", "a2", []), ("a1", "a2", [verdict.name])):
        request = pb.JudgePairRequest(a=name(a), b=name(b), **same)
        answer = stub(stack).JudgePair(request, timeout=60)
        assert [each.name for each in answer.overruled_verdicts] == overruled
    assert told(stack, "a1", "a0").overruled
    assert together(stack, "a0", "a1")
