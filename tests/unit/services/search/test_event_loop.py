"""No call of the search service touches a file, a database or pixels on the event loop.

One slow disk would stop every search, and the probes of health with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path

import grpc
import pytest

from halftone.v1 import clusters_pb2, clusters_pb2_grpc, models_pb2, search_pb2
from tests.support.search.cluster_pictures import plate, printing
from tests.support.search.promotions import ended, promote, publish
from tests.support.search.search_service import name, record

_SERVICE = "/services/search/"
_FILE_CALLS = {
    *("open", "stat", "lstat", "listdir", "scandir", "mkdir", "rmdir", "unlink", "remove"),
    *("rename", "replace", "link", "chmod", "utime", "truncate", "ftruncate", "fsync", "lseek"),
    *("read", "pread", "write", "pwrite", "sendfile", "flock", "lockf"),
}
_SLOW_MODULES = ("sqlite3", "_sqlite3", "PIL", "cv2")


def blocks(function) -> bool:
    """Whether a built-in function waits for a disk or a database, or works on pixels."""
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__
    if module.split(".")[0] in _SLOW_MODULES or type(owner).__module__ in _SLOW_MODULES:
        return True
    if isinstance(owner, io.IOBase):
        return isinstance(owner, io.FileIO | io.BufferedReader | io.BufferedWriter)
    return module in {"posix", "fcntl", "_io", "io"} and function.__name__ in _FILE_CALLS


def place_of(frame) -> str:
    """The innermost line of the service on the stack; empty if the call is none of its own."""
    while frame is not None:
        path = frame.f_code.co_filename
        if _SERVICE in path and "/tests/" not in path:
            return f"{path.partition(_SERVICE)[2]}:{frame.f_lineno} ({frame.f_code.co_name})"
        frame = frame.f_back
    return ""


@pytest.fixture
def blocking():
    """The blocking calls that the service made in this thread, by place."""
    seen: dict[str, set[str]] = {}

    def profile(frame, event, argument):
        if event == "c_call" and blocks(argument):
            place = place_of(frame)
            # Log lines go to the standard output.
            if place and Path(frame.f_code.co_filename).parent.name not in {"structlog", "logging"}:
                seen.setdefault(place, set()).add(argument.__name__)

    before = sys.getprofile()
    sys.setprofile(profile)
    yield seen
    sys.setprofile(before)


@pytest.fixture
def settings(settings, memory_path):
    for version in (1, 2):
        publish(memory_path / "models", memory_path / "scratch", version=version)
    return settings.model_copy(update={"promotion_poll_seconds": 0.05})


async def settle(stub):
    """Wait for the job that groups what was imported."""
    job = await stub.CreateClusterJob(clusters_pb2.CreateClusterJobRequest())
    async with asyncio.timeout(60):
        while job.state == clusters_pb2.ClusterJob.State.RUNNING:
            await asyncio.sleep(0.05)
            request = clusters_pb2.GetClusterJobRequest(name=job.name)
            job = await stub.GetClusterJob(request)


async def test_nothing_blocks_the_event_loop(service, embedder, blocking):
    embedder.others = {"fake/2"}
    root = service.settings.import_roots[0]
    root.mkdir(exist_ok=True)
    (root / "one.png").write_bytes(plate(1))
    await service.add(
        *(record(number, content=printing(1, edition=number)) for number in range(3)),
        record(3),
        record("root", path="one.png"),
    )
    stub = service.stub
    await service.search(content=plate(1), limit=3)
    searched = await service.search(image=name(0), limit=1)
    assert searched.next_page_token
    await service.search(image=name(0), limit=1, page_token=searched.next_page_token)
    requests = [search_pb2.SearchImagesRequest(image=name(at)) for at in range(3)]
    await stub.BatchSearchImages(search_pb2.BatchSearchImagesRequest(requests=requests))
    await stub.CompareImages(search_pb2.CompareImagesRequest(query=name(0), image=name(1)))
    await stub.GetImage(search_pb2.GetImageRequest(name=name(0)))
    await stub.ListImages(search_pb2.ListImagesRequest())
    await stub.CountFacets(search_pb2.CountFacetsRequest())
    await stub.GetThumbnail(search_pb2.GetThumbnailRequest(name=name(0)))
    await stub.GetImageRegion(search_pb2.GetImageRegionRequest(name=name(0)))
    update = search_pb2.UpdateImageRequest(image=search_pb2.Image(name=name(0), caption="new"))
    update.update_mask.paths.append("caption")
    await stub.UpdateImage(update)

    async with grpc.aio.insecure_channel(service.address) as channel:
        clusters = clusters_pb2_grpc.ClusterServiceStub(channel)
        await settle(clusters)
        listed = await clusters.ListClusters(clusters_pb2.ListClustersRequest())
        for cluster in listed.clusters:
            await clusters.GetCluster(clusters_pb2.GetClusterRequest(name=cluster.name))
        await clusters.ListPairsToJudge(clusters_pb2.ListPairsToJudgeRequest())
        await clusters.ListClusterJobs(clusters_pb2.ListClusterJobsRequest())
        verdict = await clusters.JudgePair(
            clusters_pb2.JudgePairRequest(a=name(0), b=name(3), decision="DIFFERENT", author="Eva")
        )
        await clusters.ListVerdicts(clusters_pb2.ListVerdictsRequest())
        await service.search(image=name(0), limit=3)
        await clusters.DeleteVerdict(clusters_pb2.DeleteVerdictRequest(name=verdict.name))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await clusters.CancelClusterJob(clusters_pb2.CancelClusterJobRequest(name="jobs/9"))

    await promote(service, labelled_groups=[models_pb2.LabelledGroup(images=[name(0), name(1)])])
    await ended(service)
    await service.models.ListModelVersions(models_pb2.ListModelVersionsRequest())
    await service.models.GetModelVersion(models_pb2.GetModelVersionRequest(name="fake/1"))
    await service.models.DeleteModelVersion(models_pb2.DeleteModelVersionRequest(name="fake/1"))
    await stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name(1)]))
    await service.stop()
    assert blocking == {}
