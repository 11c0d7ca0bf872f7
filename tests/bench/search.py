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
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from halftone.archive import sample
from halftone.core import wire
from halftone.services.search.archive import payload as payloads
from halftone.services.search.store.edge.part import copy_closed
from halftone.services.search.store.edge.store import EdgeStore
from halftone.services.search.store.port import Query
from halftone.stack import local
from halftone.v1 import search_pb2, search_pb2_grpc
from tests.bench import growth, importing
from tests.bench.vectors import Archive, between, journal_and_date

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from halftone.services.search.store.edge.collection import EdgeCollection

_TOGETHER = 16
"""Searches in one call of `BatchSearchImages`."""


def run(
    *,
    archive: Path | None = None,
    count: int = 100_000,
    sizes: Sequence[int] = growth.SIZES,
    directory: Path | None = None,
    images: int = 512,
) -> dict[str, Any]:
    """Measures everything; see the module.

    Args:
        archive: A folder with a manifest; None takes the sample archive.
        count: Vectors for recall and overhead.
        sizes: Numbers of vectors whose medians are compared.
        directory: Where those are built, and kept.
        images: Pictures to import, the archive's over and over.
    """
    with tempfile.TemporaryDirectory(prefix="halftone-bench-") as name:
        folder = Path(name)
        if archive is None:
            from halftone.vision import reprinting  # noqa: PLC0415 - needs torch

            archive = folder / "sample"
            sample.make(archive, reprint=reprinting.reprint)
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
        growth.build(folder / "built", base=base, count=count)
        results["recall"] = _recall(
            folder / "built", archive=growth.records(base, count=count), base=base
        )
        results["overhead"] = _overhead(folder, base=base)
        shutil.rmtree(folder / "built")
        shutil.rmtree(folder / "served")
        results["growth"] = growth.run(directory or folder, base=base, sizes=sizes)
    return results


def _stack(data: Path) -> local.LocalStack:
    return local.LocalStack(data, ports=local.Ports.any_free(), report=lambda _line: None)


# The bare store.


def _opened(directory: Path) -> tuple[EdgeStore, EdgeCollection]:
    store = EdgeStore(directory, min_free_bytes=0)
    return store, store.open(growth.VERSION, dimension=None)


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
            best = ids[np.argsort(-similarities)[: growth.LIMIT]]
            started = time.perf_counter()
            (hits,) = collection.query([Query(vector=query, limit=growth.LIMIT, filter=condition)])
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


def _overhead(folder: Path, *, base: np.ndarray) -> dict[str, float]:
    queries = between(base, count=200, seed=2_000)
    message = journal_and_date()
    condition = payloads.to_filter(message)
    served = folder / "served"
    copy_closed(folder / "built", served / "search")
    store, collection = _opened(folder / "built")

    def bare(at: int) -> None:
        query = queries[at % len(queries)]
        collection.query([Query(vector=query, limit=growth.LIMIT, filter=condition)])

    requests = [growth.search(query, condition=message) for query in queries]
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
        "images     built in s  all p50 ms  journal+date p50 ms  parts",
        *(
            f"{row['images']:<10d} {row['build_seconds']:10.0f} {row['all_p50_ms']:11.2f} "
            f"{row['journal_and_date_p50_ms']:20.2f}  {row['parts']}"
            for row in results["growth"]
        ),
        "ratios (<= 3): "
        + ", ".join(
            f"{key} {ratio:.2f}" for key, ratio in growth.ratios(results["growth"]).items()
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--growth", type=int, nargs="+", default=list(growth.SIZES))
    parser.add_argument("--directory", type=Path, help="where those are built and kept")
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    results = run(
        archive=arguments.archive,
        count=arguments.count,
        sizes=arguments.growth,
        directory=arguments.directory,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
