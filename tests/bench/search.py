"""Search and import against the bare operations, filtered recall, and growth.

    python -m tests.bench.search --archive PATH [--count 100000] [--growth 10000 1000000]

Every figure is a ratio of two measurements that alternate in one run:

- search over gRPC, by embedding, with a journal and date filter, against the same query on the
  bare store in this process;
- recall@10 of filtered searches against exact ones, per shape of filter and selectivity;
- the median at the larger number of images over that at the smaller;
- images per second through `ImportImages` against `EmbedImages` alone, the slowest stage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from halftone import sample_archive, wire
from halftone.v1 import embedder_pb2, search_pb2, search_pb2_grpc
from services import local
from services.search import payload as payloads
from services.search.edge_collection import SEAL_POINTS, EdgeCollection
from services.search.edge_part import copy_closed
from services.search.store import Query
from services.search.store_edge import EdgeStore
from tests.bench import importing
from tests.bench.vectors import DAYS, FIRST_DAY, Archive, between, days

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

VERSION = "bench/1"
LIMIT = 10
_A_DAY = 86_400.0
_TOGETHER = 16
"""Searches in one call of `BatchSearchImages`."""


def run(
    *,
    archive: Path | None = None,
    count: int = 100_000,
    growth: tuple[int, ...] = (10_000, 1_000_000),
    budget_seconds: float = 1_800.0,
    images: int = 512,
) -> dict[str, Any]:
    """Measures everything; see the module.

    Args:
        archive: A folder with a manifest; None takes the sample archive.
        count: Vectors for recall and overhead.
        growth: Numbers of vectors whose medians are compared.
        budget_seconds: For building the largest of them; what was reached is said.
        images: Pictures to import, the archive's over and over.
    """
    with tempfile.TemporaryDirectory(prefix="halftone-bench-") as name:
        folder = Path(name)
        if archive is None:
            from halftone.vision import reprinting  # noqa: PLC0415 - needs torch

            archive = folder / "sample"
            sample_archive.make(archive, reprint=reprinting.reprint)
        results: dict[str, Any] = {}
        with _stack(folder / "import") as stack:
            results["import"], base = asyncio.run(
                importing.measure(
                    stack.addresses.embedder,
                    search=stack.addresses.search,
                    archive=archive,
                    images=images,
                )
            )
        generated = Archive.make(base, count=count)
        # To its end, however long: recall and overhead are those of complete graphs.
        _build(folder / "built", archive=generated, budget_seconds=_A_DAY)
        results["recall"] = _recall(folder / "built", archive=generated, base=base)
        results["overhead"] = _overhead(folder, archive=generated, base=base)
        del generated
        shutil.rmtree(folder / "built")
        results["growth"] = [
            _growth(folder, base=base, count=size, budget_seconds=budget_seconds) for size in growth
        ]
    return results


def _stack(data: Path) -> local.LocalStack:
    return local.LocalStack(data, ports=local.Ports.any_free(), report=lambda _line: None)


# The bare store.


def _build(directory: Path, *, archive: Archive, budget_seconds: float) -> dict[str, float]:
    """A store with the archive's records, graphs and all, as far as the time allows."""
    store = EdgeStore(directory, min_free_bytes=0)
    collection = store.open(VERSION, dimension=archive.vectors.shape[1])
    store.set_active(VERSION)
    started = time.perf_counter()
    count = len(archive.vectors)
    stored = 0
    while stored < count and time.perf_counter() - started < budget_seconds:
        step = min(1_000, count - stored)
        collection.upsert(list(archive.points(start=stored, stop=stored + step)))
        stored += step
        # No further ahead of the graphs than a service that embeds would be.
        if collection.part_sizes()[0] > 4 * SEAL_POINTS:
            collection.settle(seconds=max(0.0, started + budget_seconds - time.perf_counter()))
    settled = collection.settle(seconds=max(1.0, started + budget_seconds - time.perf_counter()))
    sizes = collection.part_sizes()
    store.close()
    return {
        "stored": stored,
        "seconds": time.perf_counter() - started,
        "parts": len(sizes),
        "graphs_complete": float(settled),
    }


def _opened(directory: Path) -> tuple[EdgeStore, EdgeCollection]:
    store = EdgeStore(directory, min_free_bytes=0)
    return store, store.open(VERSION, dimension=None)


def _recall(directory: Path, *, archive: Archive, base: np.ndarray) -> list[dict[str, Any]]:
    """Recall@10 of 50 new printings, per filter shape and selectivity, against all distances."""
    queries = between(base, count=50, seed=1_000)
    rows = []
    store, collection = _opened(directory)
    everything = ("none", 1.0, search_pb2.Filter(), np.ones(len(archive.vectors), dtype=bool))
    for shape, selectivity, message, mask in (everything, *archive.filters()):
        condition = payloads.to_filter(message)
        ids = np.flatnonzero(mask)
        vectors = archive.vectors[ids]
        recalls, seconds = [], []
        for query in queries:
            similarities = vectors @ query
            best = ids[np.argsort(-similarities)[:LIMIT]]
            started = time.perf_counter()
            (hits,) = collection.query([Query(vector=query, limit=LIMIT, filter=condition)])
            seconds.append(time.perf_counter() - started)
            found = {int(hit.payload["image_id"]) for hit in hits}
            recalls.append(len(found.intersection(best.tolist())) / max(1, len(best)))
        rows.append(
            {
                "shape": shape,
                "selectivity": selectivity,
                "images": len(ids),
                "recall_at_10": float(np.mean(recalls)),
                "p50_ms": statistics.median(seconds) * 1e3,
            }
        )
    store.close()
    return rows


# The service against the bare store.


def _journal_and_date() -> search_pb2.Filter:
    """Four percent of the images."""
    low = FIRST_DAY + DAYS // 3
    return search_pb2.Filter(journals=["j20"], date=days(low, low + DAYS // 5 - 1))


def _overhead(folder: Path, *, archive: Archive, base: np.ndarray) -> dict[str, float]:
    queries = between(base, count=200, seed=2_000)
    message = _journal_and_date()
    condition = payloads.to_filter(message)
    del archive
    served = folder / "served"
    copy_closed(folder / "built", served / "search")
    store, collection = _opened(folder / "built")

    def bare(at: int) -> None:
        query = queries[at % len(queries)]
        collection.query([Query(vector=query, limit=LIMIT, filter=condition)])

    requests = [
        search_pb2.SearchImagesRequest(
            embedding=embedder_pb2.Embedding(
                values=query.astype("<f4").tobytes(), dimension=len(query), model_version=VERSION
            ),
            filter=message,
            limit=LIMIT,
        )
        for query in queries
    ]
    with _stack(served) as stack:
        measured = asyncio.run(
            _compared(stack.addresses.search, requests=requests, bare=bare, rounds=10)
        )
    store.close()
    return measured


async def _compared(
    address: str,
    *,
    requests: Sequence[search_pb2.SearchImagesRequest],
    bare: Callable[[int], None],
    rounds: int,
) -> dict[str, float]:
    """Medians and throughputs, service and bare store in turns."""
    async with grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)

        async def served(at: int) -> None:
            await stub.SearchImages(requests[at % len(requests)])

        async def batched(at: int) -> None:
            chosen = [
                requests[(at * _TOGETHER + each) % len(requests)] for each in range(_TOGETHER)
            ]
            await stub.BatchSearchImages(search_pb2.BatchSearchImagesRequest(requests=chosen))

        for at in range(30):
            bare(at)
            await served(at)
        bare_seconds: list[float] = []
        served_seconds: list[float] = []
        bare_rates: list[float] = []
        served_rates: list[float] = []
        batched_rates: list[float] = []
        for turn in range(rounds):
            for at in range(turn * 30, turn * 30 + 30):
                started = time.perf_counter()
                bare(at)
                bare_seconds.append(time.perf_counter() - started)
                started = time.perf_counter()
                await served(at)
                served_seconds.append(time.perf_counter() - started)
            bare_rates.append(_rate(bare))
            served_rates.append(await _served_rate(served, callers=8))
            batched_rates.append(_TOGETHER * await _served_rate(batched, callers=2))
    return {
        "bare_p50_ms": statistics.median(bare_seconds) * 1e3,
        "grpc_p50_ms": statistics.median(served_seconds) * 1e3,
        "added_p50_ms": (statistics.median(served_seconds) - statistics.median(bare_seconds)) * 1e3,
        "bare_per_second": statistics.median(bare_rates),
        "grpc_per_second": statistics.median(served_rates),
        "throughput_ratio": statistics.median(
            served / alone for served, alone in zip(served_rates, bare_rates, strict=True)
        ),
        "batched_per_second": statistics.median(batched_rates),
        "batched_ratio": statistics.median(
            served / alone for served, alone in zip(batched_rates, bare_rates, strict=True)
        ),
    }


def _rate(call: Callable[[int], None], *, seconds: float = 1.0) -> float:
    """Calls per second. Edge's calls hold the interpreter lock: more threads change nothing."""
    started = time.perf_counter()
    done = 0
    while time.perf_counter() - started < seconds:
        call(done)
        done += 1
    return done / (time.perf_counter() - started)


async def _served_rate(
    call: Callable[[int], Awaitable[None]], *, callers: int, seconds: float = 1.0
) -> float:
    """Calls per second of several callers together."""
    started = time.perf_counter()
    done = 0

    async def caller(first: int) -> None:
        nonlocal done
        at = first
        while time.perf_counter() - started < seconds:
            await call(at)
            at += callers
            done += 1

    await asyncio.gather(*(caller(first) for first in range(callers)))
    return done / (time.perf_counter() - started)


# Growth.


def _growth(folder: Path, *, base: np.ndarray, count: int, budget_seconds: float) -> dict[str, Any]:
    """Medians over gRPC with `count` images, as far as they can be built in the time."""
    directory = folder / f"growth-{count}"
    archive = Archive.make(base, count=count, seed=7)
    built = _build(directory / "search", archive=archive, budget_seconds=budget_seconds)
    del archive
    queries = between(base, count=100, seed=3_000)
    message = _journal_and_date()
    with _stack(directory) as stack:
        medians = asyncio.run(_medians(stack.addresses.search, queries=queries, message=message))
    shutil.rmtree(directory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"images": count, **built, **medians, "peak_memory_mib": peak // 1024}


async def _medians(
    address: str, *, queries: np.ndarray, message: search_pb2.Filter
) -> dict[str, float]:
    medians = {}
    async with grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for label, condition in (("all", search_pb2.Filter()), ("journal_and_date", message)):
            seconds = []
            for at in range(330):
                query = queries[at % len(queries)]
                request = search_pb2.SearchImagesRequest(
                    embedding=embedder_pb2.Embedding(
                        values=query.astype("<f4").tobytes(),
                        dimension=len(query),
                        model_version=VERSION,
                    ),
                    filter=condition,
                    limit=LIMIT,
                )
                started = time.perf_counter()
                await stub.SearchImages(request)
                seconds.append(time.perf_counter() - started)
            medians[f"{label}_p50_ms"] = statistics.median(seconds[30:]) * 1e3
    return medians


def table(results: dict[str, Any]) -> str:
    """The results for a person."""
    imported, overhead = results["import"], results["overhead"]
    lines = [
        (
            f"import        {imported['import_per_second']:8.1f} images/s, embedder alone "
            f"{imported['embedder_alone_per_second']:.1f}: ratio {imported['ratio']:.2f} (>= 0.90)"
        ),
        (
            f"search p50    {overhead['grpc_p50_ms']:8.2f} ms over gRPC, bare "
            f"{overhead['bare_p50_ms']:.2f}: + {overhead['added_p50_ms']:.2f} ms (<= 3)"
        ),
        (
            f"search rate   {overhead['grpc_per_second']:8.0f} /s over gRPC, bare "
            f"{overhead['bare_per_second']:.0f}: ratio {overhead['throughput_ratio']:.2f} (>= 0.85)"
        ),
        (
            f"in batches    {overhead['batched_per_second']:8.0f} /s over gRPC, "
            f"{_TOGETHER} a call: ratio {overhead['batched_ratio']:.2f}"
        ),
        "",
        "filter           selectivity   images  recall@10    p50 ms",
        *(
            f"{row['shape']:15s} {row['selectivity']:12.3%} {row['images']:8d} "
            f"{row['recall_at_10']:10.4f} {row['p50_ms']:9.2f}"
            for row in results["recall"]
        ),
        "",
        "images    stored    built in s  parts  graphs    all p50 ms  journal+date p50 ms",
        *(
            f"{row['images']:<9d} {row['stored']:<9.0f} {row['seconds']:10.0f} {row['parts']:6.0f} "
            f"{'all' if row['graphs_complete'] else 'some':>7s} "
            f"{row['all_p50_ms']:13.2f} {row['journal_and_date_p50_ms']:19.2f}"
            for row in results["growth"]
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--growth", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--budget-seconds", type=float, default=1_800.0)
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    results = run(
        archive=arguments.archive,
        count=arguments.count,
        growth=tuple(arguments.growth),
        budget_seconds=arguments.budget_seconds,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
