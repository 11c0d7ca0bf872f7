"""How long verdicts and a cancel wait while the whole archive is grouped anew.

    python -m tests.bench.regrouping [--pictures 100000] [--groups 5000] [--json FILE]

The clusters' file is filled directly: pictures, groups of 2 to 6 of them whose pairs are all links,
and pairs that were compared in vain. Then everything is grouped three times: in one transaction (as
it was done before, for the ratio), piece by piece while verdicts arrive all the time (through the
servicer, one after the other), and piece by piece until a cancel ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halftone.archive.records import Name
from halftone.core import telemetry
from halftone.services.search.api.clusters_servicer import ClusterServicer
from halftone.services.search.clusters import groups, jobs, pictures
from halftone.services.search.clusters.store import FILE, Database, version_number
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.fake_cluster_archive import VERSION, Archive, Comparer, steps_of

if TYPE_CHECKING:
    from halftone.services.search.clusters.jobs import JobRow

VAIN = 10
"""Pairs compared in vain for each picture."""
SEEDS = 200
"""Images whose surroundings the one transaction grouped together."""
WAIT = 0.02
"""Seconds between two verdicts."""


class Pictures(Archive):
    """An archive each image of which shows a picture of its own."""

    def put_many(self, count: int) -> list[tuple[bytes, bytes]]:
        """Makes images: point and hash of each."""
        made = []
        for number in range(count):
            point = self.put(number, shows=0)
            sha = number.to_bytes(32, "big")
            self.points[Name("press", str(number)).point_id].payload["sha256"] = sha.hex()
            made.append((point, sha))
        return made


def fill(database: Database, *, images: list[tuple[bytes, bytes]], groups_: int, seed: int) -> None:
    """Fills the file with pictures and compared pairs, and no clusters."""
    chance = np.random.default_rng(seed)
    count = len(images)
    rows: dict[tuple[int, int], float] = {}
    for a, b in chance.integers(1, count + 1, (VAIN * count, 2)).tolist():
        if a != b:
            rows[min(a, b), max(a, b)] = 0.01
    members = (chance.permutation(count) + 1).tolist()
    for size in chance.integers(2, 7, groups_).tolist():
        group, members = sorted(members[:size]), members[size:]
        for at, a in enumerate(group):
            for b in group[at + 1 :]:
                rows[a, b] = 0.99
    with database.write() as connection:
        pictures.put_images(connection, images)
        version = version_number(connection, VERSION)
        connection.executemany(
            "INSERT INTO pairs VALUES (?, ?, ?, 1, ?, ?, NULL, ?, ?, 1)",
            (
                (a, b, probability, search_pb2.Hit.REPRINT, bytes(32), version, version)
                for (a, b), probability in sorted(rows.items())
            ),
        )


def begin(database: Database) -> JobRow:
    """A job that has searched for every picture."""
    with database.write() as connection:
        job, _ = jobs.create(connection, request_id="", from_scratch=False, model_version=VERSION)
        connection.execute("UPDATE pictures SET searched = ?", (job.number,))
    return job


def at_once(database: Database, archive: Pictures) -> float:
    """Groups everything in one transaction; seconds."""
    started = time.perf_counter()
    with database.write() as connection:
        done: set[bytes] = set()
        seeds: list[bytes] = []
        for seed in [*groups.all_seeds(connection), None]:
            if seed is not None and seed not in done:
                seeds.append(seed)
            if len(seeds) == SEEDS or (seed is None and seeds):
                done |= groups.regroup(connection, seeds, describe=archive.describe).points
                seeds = []
                time.sleep(0.001)
        connection.execute("UPDATE pictures SET grouped = 1")
    return time.perf_counter() - started


async def with_verdicts(database: Database, archive: Pictures, *, seed: int) -> dict[str, Any]:
    """Groups everything piece by piece while verdicts arrive."""
    chance = np.random.default_rng(seed)
    steps = steps_of(database, archive, Comparer())
    job = begin(database)
    worker = types.SimpleNamespace(describe=archive.describe, note=lambda _ids: None)
    servicer = ClusterServicer(database=database, worker=worker, holdings=archive)
    decisions = (clusters_pb2.Verdict.SAME, clusters_pb2.Verdict.DIFFERENT)
    waits: list[float] = []

    async def judge() -> float:
        a, b = chance.choice(len(archive.points), 2, replace=False).tolist()
        request = clusters_pb2.JudgePairRequest(
            a=f"archives/press/images/{a}",
            b=f"archives/press/images/{b}",
            decision=decisions[int(chance.integers(2))],
        )
        started = time.perf_counter()
        await servicer.JudgePair(request, None)
        return 1_000 * (time.perf_counter() - started)

    alone = [await judge() for _ in range(100)]
    started = time.perf_counter()
    grouping = asyncio.create_task(asyncio.to_thread(steps.regroup_all, job, 0, 0))
    while not grouping.done():
        waits.append(await judge())
        await asyncio.sleep(WAIT)
    seconds = time.perf_counter() - started
    assert grouping.result() is not None
    servicer.close()
    return {
        "seconds": seconds,
        "verdicts": len(waits),
        "verdict_ms": _spread(waits),
        "verdict_alone_ms": _spread(alone),
    }


def cancelled(database: Database, archive: Pictures, *, after: float) -> dict[str, float]:
    """Cancels in the midst: how long the call takes, and how long until the work has ended."""
    steps = steps_of(database, archive, Comparer())
    job = begin(database)
    thread = threading.Thread(target=steps.regroup_all, args=(job, 0, 0))
    thread.start()
    time.sleep(after)
    started = time.perf_counter()
    with database.write() as connection:
        jobs.end(connection, job.number, state=jobs.State.CANCELLED)
    call = time.perf_counter() - started
    thread.join()
    with database.read() as connection:
        if jobs.get(connection, job.name).state != jobs.State.CANCELLED:
            raise SystemExit("It was over before it could be cancelled.")
        assert groups.count_clusters(connection)[0] == 0, "The clusters have changed."
    return {"call_seconds": call, "until_idle_seconds": time.perf_counter() - started}


def _spread(values: list[float]) -> dict[str, float]:
    quantiles = np.quantile(values, (0.5, 0.99, 1.0)).tolist()
    return dict(zip(("p50", "p99", "max"), quantiles, strict=True))


def run(*, count: int, groups_: int, seed: int = 0) -> dict[str, Any]:
    """All figures."""
    archive = Pictures()
    images = archive.put_many(count)
    result: dict[str, Any] = {"pictures": count, "groups": groups_}
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "filled"
        database = Database(filled)
        fill(database, images=images, groups_=groups_, seed=seed)
        database.close()

        def fresh(name: str) -> Database:
            (Path(folder) / name).mkdir()
            shutil.copy(filled / FILE, Path(folder) / name / FILE)
            return Database(Path(folder) / name)

        database = fresh("at_once")
        result["at_once_seconds"] = at_once(database, archive)
        database.close()
        database = fresh("alone")
        started = time.perf_counter()
        job = steps_of(database, archive, Comparer()).regroup_all(begin(database), 0, 0)
        result["in_pieces_seconds"] = time.perf_counter() - started
        assert job is not None
        result["clusters"] = job.clusters
        result["ratio"] = result["in_pieces_seconds"] / result["at_once_seconds"]
        database.close()
        database = fresh("verdicts")
        result["with_verdicts"] = asyncio.run(with_verdicts(database, archive, seed=seed))
        database.close()
        database = fresh("cancelled")
        result["cancelled"] = cancelled(database, archive, after=result["in_pieces_seconds"] / 2)
        database.close()
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    telemetry.configure_logging(service="bench", level="error", style="console")
    text = json.dumps(run(count=arguments.pictures, groups_=arguments.groups), indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
