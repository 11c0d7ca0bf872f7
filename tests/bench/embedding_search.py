"""Searches by embedding over gRPC, in two checkouts or one, measured in turns in one run.

    python -m tests.bench.embedding_search [--count 10000] [--against CHECKOUT] [--rounds 8]

Prints the median of single searches, searches per second with 16 at once and with 16 in a call, and
the CPU time of the service for each search, which a busy machine changes least. The embedder is the
tests' fake one: nothing is embedded. CPU times are read from `/proc`, so it runs on Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from halftone.core import wire
from halftone.v1 import search_pb2, search_pb2_grpc
from tests.bench import growth
from tests.bench.vectors import between, journal_and_date, normalised
from tests.support.embedder.fake_embedder import DIMENSION, FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOGETHER = 16


async def run(*, count: int, checkouts: dict[str, Path], rounds: int) -> dict[str, dict[str, Any]]:
    """Measures each checkout; returns its figures by name."""
    embedder = FakeEmbedder(version=growth.VERSION)
    server, address = await embedder.serve()
    pictures = np.random.default_rng(1).standard_normal((500, DIMENSION), dtype=np.float32)
    base = normalised(pictures)
    requests = [
        growth.search(query, condition=journal_and_date())
        for query in between(base, count=200, seed=2_000)
    ]
    figures: dict[str, collections.defaultdict[str, list[float]]] = {
        name: collections.defaultdict(list) for name in checkouts
    }
    with tempfile.TemporaryDirectory(prefix="halftone-bench-") as folder:
        built = Path(folder) / "built"
        growth.build(built, base=base, count=count)
        async with contextlib.AsyncExitStack() as stack:
            stubs, processes = {}, {}
            for name, checkout in checkouts.items():
                data = Path(folder) / name
                shutil.copytree(built, data / "search")
                port, processes[name] = stack.enter_context(
                    _service(checkout, data=data, embedder=address)
                )
                channel = grpc.aio.insecure_channel(
                    f"127.0.0.1:{port}", options=wire.CHANNEL_OPTIONS
                )
                await stack.enter_async_context(channel)
                stubs[name] = search_pb2_grpc.SearchServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
                await _warm_up(stubs[name], requests[:50])
            for turn in range(rounds):
                # Whoever comes second in a round finds the machine warmer.
                for name, stub in sorted(stubs.items(), reverse=turn % 2 == 1):
                    for key, value in (await _round(stub, requests, pid=processes[name])).items():
                        figures[name][key].append(value)
    await server.stop(None)
    return {
        name: {key: round(statistics.median(values), 3) for key, values in each.items()}
        for name, each in figures.items()
    }


@contextlib.contextmanager
def _service(checkout: Path, *, data: Path, embedder: str) -> Iterator[tuple[int, int]]:
    """A search service; its port and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "HALFTONE_SEARCH_PORT": str(port),
        "HALFTONE_SEARCH_METRICS_PORT": "0",
        "HALFTONE_SEARCH_EMBEDDER": embedder,
        "HALFTONE_SEARCH_DATA_DIRECTORY": str(data / "search"),
        "HALFTONE_SEARCH_BLOBS": str(data / "blobs"),
        "HALFTONE_SEARCH_LOG_LEVEL": "error",
        "HALFTONE_MODELS_DIRECTORY": str(data / "models"),
    }
    command = [sys.executable, "-m", "halftone.services.search"]
    with subprocess.Popen(command, cwd=checkout, env=environment) as process:
        try:
            yield port, process.pid
        finally:
            process.terminate()


async def _warm_up(
    stub: search_pb2_grpc.SearchServiceStub, requests: list[search_pb2.SearchImagesRequest]
) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                for request in requests:
                    await stub.SearchImages(request)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)
            else:
                return


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _round(
    stub: search_pb2_grpc.SearchServiceStub,
    requests: list[search_pb2.SearchImagesRequest],
    *,
    pid: int,
) -> dict[str, float]:
    seconds, busy = [], _cpu_seconds(pid)
    for request in requests[:60]:
        started = time.perf_counter()
        await stub.SearchImages(request)
        seconds.append(time.perf_counter() - started)
    single_cpu = (_cpu_seconds(pid) - busy) / len(seconds)
    queue, busy = iter(requests * 2), _cpu_seconds(pid)
    started = time.perf_counter()

    async def caller() -> None:
        for request in queue:
            await stub.SearchImages(request)

    await asyncio.gather(*(caller() for _ in range(_TOGETHER)))
    rate = 2 * len(requests) / (time.perf_counter() - started)
    together_cpu = (_cpu_seconds(pid) - busy) / (2 * len(requests))
    busy = _cpu_seconds(pid)
    batch = search_pb2.BatchSearchImagesRequest(requests=requests[:_TOGETHER])
    started = time.perf_counter()
    for _ in range(20):
        await stub.BatchSearchImages(batch)
    batched = 20 * _TOGETHER / (time.perf_counter() - started)
    batched_cpu = (_cpu_seconds(pid) - busy) / (20 * _TOGETHER)
    return {
        "cpu_ms": single_cpu * 1e3,
        "together_cpu_ms": together_cpu * 1e3,
        "batched_cpu_ms": batched_cpu * 1e3,
        "p50_ms": statistics.median(seconds) * 1e3,
        "per_second": rate,
        "batched_per_second": batched,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="records in the store")
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    checkouts = {"this": Path(__file__).parents[2]}
    if arguments.against:
        checkouts["other"] = arguments.against.resolve()
    figures = asyncio.run(run(count=arguments.count, checkouts=checkouts, rounds=arguments.rounds))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
