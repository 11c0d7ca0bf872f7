"""The clusters of a labelled archive, and those of many vectors with planted groups.

    python -m tests.bench.clusters --archive PATH [--server HOST:PORT] [--json FILE]
    python -m tests.bench.clusters --vectors 100000 [--groups 1000] [--json FILE]

The archive goes through the API: imported, a cluster job run twice, clusters compared with
`groups.json`. Two images belong together when they are in one group (copies within a publication
too); in a composite group only the listed links count. B-cubed precision and recall are means over
images: of an image's cluster the share that belongs to it, of what belongs to it the share that is
in its cluster, itself included (Amigó et al. 2009). Most images of an archive are alone, which
flatters: the figures are also given over the images that are in a group or in a cluster.

The vectors go into the real store and through the real worker; there are no pictures, so a pair is
verified by its similarity.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from halftone.archive import manifests as archives
from halftone.archive.records import Name
from halftone.core import telemetry, wire
from halftone.core.settings import SearchSettings
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.archive.pace import Traffic
from halftone.services.search.clusters import jobs
from halftone.services.search.clusters import pairs as cluster_pairs
from halftone.services.search.clusters.store import Database
from halftone.services.search.clusters.worker import ClusterWorker
from halftone.services.search.store.edge.store import EdgeStore
from halftone.v1 import clusters_pb2, clusters_pb2_grpc, search_pb2
from tests.bench.archive import NAME, import_archive, stack
from tests.bench.vectors import Archive, normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from halftone.services.search.clusters.compare import Side

    Pair = frozenset[str]

JOB_SECONDS = 3_600
DIMENSION = 512
ALIKE = 0.9
"""Cosine from which on two vectors are taken for the same; planted ones have 0.94."""


def true_pairs(groups: Sequence[Mapping[str, Any]]) -> set[Pair]:
    """Pairs that belong together."""
    found: set[Pair] = set()
    for group in groups:
        if group["composite"]:
            found |= {frozenset((link["a"], link["b"])) for link in group["links"]}
        else:
            found |= {frozenset(pair) for pair in itertools.combinations(group["members"], 2)}
    return found


def scores(
    clusters: Sequence[Sequence[str]], *, pairs: set[Pair], images: Sequence[str]
) -> dict[str, float]:
    """How clusters agree with the pairs that belong together.

    Args:
        clusters: Of two images or more; every other image is one of its own.
        pairs: That belong together.
        images: All there are.
    """
    cluster_of = {image: set(cluster) for cluster in clusters for image in cluster}
    mates: dict[str, set[str]] = {image: {image} for image in images}
    for a, b in map(tuple, pairs):
        mates[a].add(b)
        mates[b].add(a)
    found = {frozenset(pair) for cluster in clusters for pair in itertools.combinations(cluster, 2)}
    right = len(found & pairs)
    precision, recall = right / max(len(found), 1), right / max(len(pairs), 1)
    result = {
        "pairwise_precision": precision,
        "pairwise_recall": recall,
        "pairwise_f1": 2 * precision * recall / max(precision + recall, 1e-12),
    }
    some = [image for image in images if len(mates[image]) > 1 or image in cluster_of]
    for label, over in (("", images), ("_of_grouped", some)):
        shared = {image: len(cluster_of.get(image, {image}) & mates[image]) for image in over}
        precision = float(
            np.mean([shared[image] / len(cluster_of.get(image, {image})) for image in over])
        )
        recall = float(np.mean([shared[image] / len(mates[image]) for image in over]))
        result[f"bcubed_precision{label}"] = precision
        result[f"bcubed_recall{label}"] = recall
        result[f"bcubed_f1{label}"] = 2 * precision * recall / (precision + recall)
    return result


def run_archive(*, folder: Path, server: str | None) -> dict[str, Any]:
    """The figures of an archive."""
    rows = [row for row in archives.read_manifest(folder, archive=NAME) if row.image is not None]
    groups = json.loads((folder / "groups.json").read_text(encoding="utf-8"))
    prefix = f"archives/{NAME}/images/"
    images = [row.image.name.removeprefix(prefix) for row in rows]
    with stack(server) as client:
        importing = import_archive(client, rows)
        channel = grpc.insecure_channel(client._addresses["search"], options=wire.CHANNEL_OPTIONS)
        stub = clusters_pb2_grpc.ClusterServiceStub(channel)
        first, seconds = job(stub)
        clusters = made(stub)
        again, _ = job(stub)
        second = made(stub)
        scratch, _ = job(stub, from_scratch=True)
        third = made(stub)
        members = [
            [member.image.name.removeprefix(prefix) for member in cluster.members]
            for cluster in clusters
        ]
    pairs = true_pairs(groups)
    journal = {row.image.name.removeprefix(prefix): row.image.journal for row in rows}
    found = {frozenset(pair) for each in members for pair in itertools.combinations(each, 2)}
    return {
        "images": len(images),
        "groups": len(groups),
        "import_images_per_second": importing["new_images_per_second"],
        "seconds": seconds,
        "pairs_compared": first.compared_count,
        "pairs_per_image": first.compared_count / len(images),
        "clusters": first.cluster_count,
        "largest": first.largest_cluster_size,
        **scores(members, pairs=pairs, images=images),
        "second_run_identical": second == clusters,
        "from_scratch_identical": third == clusters,
        "second_run_compared": again.compared_count,
        "from_scratch_compared": scratch.compared_count,
        "missed": sorted(_told(pair, journal) for pair in pairs - found),
        "false": sorted(_told(pair, journal) for pair in found - pairs),
    }


def _told(pair: Pair, journal: Mapping[str, str]) -> str:
    a, b = sorted(pair)
    return f"{a} {b}{' (one publication)' if journal[a] == journal[b] else ''}"


def job(
    stub: clusters_pb2_grpc.ClusterServiceStub, *, from_scratch: bool = False
) -> tuple[clusters_pb2.ClusterJob, float]:
    """Runs a job to its end: the job and the seconds it took."""
    started = time.perf_counter()
    found = stub.CreateClusterJob(
        clusters_pb2.CreateClusterJobRequest(from_scratch=from_scratch), timeout=30
    )
    while found.state == clusters_pb2.ClusterJob.RUNNING:
        if time.perf_counter() - started > JOB_SECONDS:
            raise SystemExit("The job takes too long.")
        time.sleep(0.5)
        found = stub.GetClusterJob(clusters_pb2.GetClusterJobRequest(name=found.name), timeout=30)
    if found.state != clusters_pb2.ClusterJob.SUCCEEDED:
        raise SystemExit(f"The job failed: {found.error}")
    return found, time.perf_counter() - started


def made(stub: clusters_pb2_grpc.ClusterServiceStub) -> list[clusters_pb2.Cluster]:
    """All clusters with their members, without the times of their changes."""
    names, token = [], ""
    while True:
        request = clusters_pb2.ListClustersRequest(page_size=1000, page_token=token)
        page = stub.ListClusters(request, timeout=60)
        names += [cluster.name for cluster in page.clusters]
        token = page.next_page_token
        if not token:
            break
    return [
        stub.GetCluster(clusters_pb2.GetClusterRequest(name=name), timeout=60) for name in names
    ]


# Vectors.


class BySimilarity:
    """Compares vectors where there are no pictures: the probability is a step of the similarity."""

    matching = "similarity"

    def changed_words(self, sha: bytes) -> None:
        """None."""

    def compare(
        self, pairs: Sequence[tuple[Side, Side]], *, model_version: str, alone: bool
    ) -> list[cluster_pairs.PairComparison]:
        """All of them."""
        return [
            cluster_pairs.PairComparison(
                a=a.sha,
                b=b.sha,
                probability=0.99 if a.stored.vector @ b.stored.vector >= ALIKE else 0.01,
                share=1.0,
                relation=search_pb2.Hit.REPRINT,
                evidence=b"",
                verification=b"",
            )
            for a, b in pairs
        ]

    def rescore(self, pairs: Any, *, model_version: str) -> Any:
        """There is one version."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def planted(*, count: int, groups: int, seed: int = 0) -> tuple[Archive, list[list[int]]]:
    """Vectors that lie as an archive's do, and groups of 2 to 6 among them that are near."""
    chance = np.random.default_rng(seed)
    # As whitened descriptors lie: many directions, of which few have most of the weight.
    spread = (1 / np.sqrt(1 + np.arange(DIMENSION))).astype(np.float32)
    base = normalised(chance.standard_normal((20_000, DIMENSION), dtype=np.float32) * spread)
    archive = Archive.make(base, count=count, seed=seed)
    rows = chance.permutation(count)
    found, at = [], 0
    for _ in range(groups):
        size = int(chance.integers(2, 7))
        members = rows[at : at + size]
        at += size
        noise = chance.standard_normal((size, DIMENSION), dtype=np.float32)
        noise *= 0.25 / np.sqrt(DIMENSION)
        archive.vectors[members] = normalised(archive.vectors[members[0]] + noise)
        found.append(sorted(map(int, members)))
    return archive, found


async def run_vectors(*, count: int, groups: int) -> dict[str, Any]:
    """The figures of planted groups."""
    archive, truth = planted(count=count, groups=groups)
    with tempfile.TemporaryDirectory() as folder:
        settings = SearchSettings(data_directory=Path(folder) / "data", min_free_bytes=0)
        store = EdgeStore(settings.data_directory, min_free_bytes=0)
        collection = store.open("bench/1", dimension=DIMENSION)
        started = time.perf_counter()
        for start in range(0, count, 500):
            collection.upsert(list(archive.points(start=start, stop=min(start + 500, count))))
        # An archive that was there yesterday has its graphs; while they are made, every query
        # compares with all vectors.
        collection.settle(seconds=JOB_SECONDS)
        importing = time.perf_counter() - started
        metrics = telemetry.Metrics(service="bench")
        holdings = Holdings.of(Blobs(str(Path(folder) / "blobs")), metrics=metrics)
        holdings.collections.open(collection)
        database = Database(settings.data_directory)
        parts = types.SimpleNamespace(
            holdings=holdings, traffic=Traffic(), settings=settings, metrics=metrics
        )
        worker = ClusterWorker(parts, database=database, comparer=BySimilarity())
        result: dict[str, Any] = {
            "vectors": count,
            "groups": groups,
            "import_seconds": importing,
        }
        runs, ended = [], None
        for number in range(2):
            busy = time.process_time()
            seconds, job_row, clusters = await _job(worker, database)
            busy = time.process_time() - busy
            runs.append(clusters)
            prefix = "" if number == 0 else "second_run_"
            result |= {f"{prefix}seconds": seconds, f"{prefix}cpu_seconds": busy}
            ended = job_row if number == 0 else ended
            print(f"Run {number + 1}: {seconds:.0f} s, {job_row.compared:,} pairs.", flush=True)
        name_of = {Name("bench", f"{at:08d}").point_id.bytes: at for at in range(count)}
        found = {
            pair
            for members in runs[0].values()
            for pair in itertools.combinations(sorted(name_of[point] for point in members), 2)
        }
        wanted = {pair for members in truth for pair in itertools.combinations(members, 2)}
        assert ended is not None
        result |= {
            "pairs_compared": ended.compared,
            "clusters": ended.clusters,
            "largest": ended.largest,
            "pair_recall": len(found & wanted) / len(wanted),
            "pair_precision": len(found & wanted) / max(len(found), 1),
            "second_run_identical": runs[0] == runs[1],
        }
        worker.close()
        database.close()
        holdings.threads.close()
        store.close()
    return result


async def _job(
    worker: ClusterWorker, database: Database
) -> tuple[float, jobs.Job, dict[str, list[bytes]]]:
    started = time.perf_counter()
    with database.write() as connection:
        created, _ = jobs.create(
            connection, request_id="", from_scratch=False, model_version="bench/1"
        )
    watching = asyncio.create_task(worker.watch())
    while True:
        await asyncio.sleep(1)
        with database.read() as connection:
            found = jobs.get(connection, created.name)
            if found.end_time is not None:
                break
    watching.cancel()
    if found.error:
        raise SystemExit(found.error)
    clusters: dict[str, list[bytes]] = {}
    with database.read() as connection:
        for point, cluster in connection.execute("SELECT point, cluster FROM members"):
            clusters.setdefault(cluster, []).append(point)
    return time.perf_counter() - started, found, clusters


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="a labelled archive")
    parser.add_argument("--server", help="a search service; without it a stack is started")
    parser.add_argument("--vectors", type=int, help="how many vectors, instead of an archive")
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if arguments.archive is not None:
        results["archive"] = run_archive(folder=arguments.archive, server=arguments.server)
    if arguments.vectors:
        telemetry.configure_logging(service="bench", level="warning", style="console")
        results["vectors"] = asyncio.run(
            run_vectors(count=arguments.vectors, groups=arguments.groups)
        )
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
