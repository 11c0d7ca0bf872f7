"""Promotions under a constant query load: errors, latency before and meanwhile, memory.

    python -m tests.bench.promotion --archive PATH [--seconds 60] [--cycles 20] [--json FILE]

A stack of its own imports the archive with the starter version. A second version, the starter with
a whitening that was shifted a little, is promoted while pictures are searched by at a fixed rate,
and embeddings with a journal at another; a query that is late does not delay the next. Then the two
versions are promoted and rolled back in turns, under the same load, and the memory of the search
process is read after each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from halftone.archive import manifests as archives
from halftone.client import AsyncClient, Client, PromotionState
from halftone.core import wire
from halftone.registry.versions import Registry
from halftone.services.search.store.edge.collection import SEAL_POINTS
from halftone.stack.local import LocalStack, Ports
from halftone.v1 import search_pb2, search_pb2_grpc
from halftone.vision.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from halftone.archive.manifests import Row

NAME = "bench"
PICTURES_PER_SECOND = 2.0
EMBEDDINGS_PER_SECOND = 20.0
_DEADLINE = 30.0


class Load:
    """Searches at fixed rates; `seconds` holds what each took, by kind and phase."""

    def __init__(
        self, address: str, *, contents: Sequence[bytes], names: Sequence[str], journal: str
    ) -> None:
        self._address = address
        self._contents = contents
        self._names = names
        self._journal = journal
        self.phase = "warming"
        self.seconds: dict[str, dict[str, list[float]]] = {"picture": {}, "embedding": {}}
        self.errors: list[str] = []
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Searches until it is cancelled."""
        async with grpc.aio.insecure_channel(
            self._address, options=wire.CHANNEL_OPTIONS
        ) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            try:
                await asyncio.gather(
                    self._repeat("picture", PICTURES_PER_SECOND, self._by_picture, stub),
                    self._repeat("embedding", EMBEDDINGS_PER_SECOND, self._by_image, stub),
                )
            finally:
                await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _repeat(
        self,
        kind: str,
        rate: float,
        request: Callable[[int], search_pb2.SearchImagesRequest],
        stub: search_pb2_grpc.SearchServiceStub,
    ) -> None:
        began = time.perf_counter()
        number = 0
        while True:
            task = asyncio.create_task(self._one(kind, request(number), stub))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))

    async def _one(
        self,
        kind: str,
        request: search_pb2.SearchImagesRequest,
        stub: search_pb2_grpc.SearchServiceStub,
    ) -> None:
        phase, started = self.phase, time.perf_counter()
        try:
            answer = await stub.SearchImages(request, timeout=_DEADLINE)
        except grpc.aio.AioRpcError as error:
            self.errors.append(f"{kind}: {error.code().name} {error.details()}")
            return
        if not answer.hits:
            self.errors.append(f"{kind}: no hits")
        self.seconds[kind].setdefault(phase, []).append(time.perf_counter() - started)

    def _by_picture(self, number: int) -> search_pb2.SearchImagesRequest:
        content = self._contents[number * 37 % len(self._contents)]
        return search_pb2.SearchImagesRequest(content=content, limit=20)

    def _by_image(self, number: int) -> search_pb2.SearchImagesRequest:
        # By the stored embedding, whatever version answers: the embedder has no part in it.
        return search_pb2.SearchImagesRequest(
            image=self._names[number * 53 % len(self._names)],
            skip_mirrored=True,
            skip_rotated=True,
            limit=20,
            filter=search_pb2.Filter(exclude=search_pb2.Filter(journals=[self._journal])),
        )

    def figures(self, phase: str) -> dict[str, float]:
        """Milliseconds of a phase by kind, and how many there were."""
        result: dict[str, float] = {}
        for kind, phases in self.seconds.items():
            values = 1000 * np.asarray(phases.get(phase, [np.nan]))
            result |= {
                f"{kind}_count": len(phases.get(phase, ())),
                f"{kind}_p50_ms": float(np.percentile(values, 50)),
                f"{kind}_p99_ms": float(np.percentile(values, 99)),
                f"{kind}_max_ms": float(values.max()),
            }
        return result


def shifted(models: Path, *, amount: float = 0.02, seed: int = 1) -> str:
    """Publishes the active version with a whitening that was shifted; gives its name."""
    registry = Registry(models)
    active = registry.resolve("")
    model = Model.load(active.directory)
    matrix = model.network.whitening_matrix
    noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed))
    matrix.add_(noise * matrix.std() * amount)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return registry.publish(Path(folder), name="shifted").id


async def promoted(client: AsyncClient, version: str, *, groups: Sequence[Sequence[str]]) -> Any:
    """Promotes a version and gives the promotion's end."""
    await client.promote(version, groups=groups)
    return [promotion async for promotion in client.watch_promotion()][-1]


async def measure(
    stack: LocalStack,
    *,
    models: Path,
    rows: Sequence[Row],
    groups: Sequence[Sequence[str]],
    seconds: float,
    cycles: int,
) -> dict[str, Any]:
    """Runs the load and the promotions; see the module."""
    images = [row.image for row in rows if row.image is not None]
    load = Load(
        stack.addresses.search,
        contents=[row.path.read_bytes() for row in rows if row.path is not None],
        names=[image.name for image in images],
        journal=images[0].journal,
    )
    version = await asyncio.to_thread(shifted, models)
    before_it = Registry(models).pointer().active
    search = psutil.Process(stack.processes["search"])
    results: dict[str, Any] = {"images": len(images)}
    running = asyncio.create_task(load.run())
    async with AsyncClient(stack.addresses.search) as client:
        # The version is loaded and warm before anything is measured.
        await asyncio.sleep(15)
        load.phase = "before"
        await asyncio.sleep(seconds)
        load.phase = "during"
        started = time.perf_counter()
        done = await promoted(client, version, groups=groups)
        results["promotion_seconds"] = time.perf_counter() - started
        results["state"] = done.state.value
        results["images_done"] = done.images_done
        results["images_failed"] = done.images_failed
        if done.comparison is not None:
            results["top10_agreement"] = done.comparison.top10_agreement
            for side in ("before", "after"):
                figures = getattr(done.comparison, side)
                if figures is not None:
                    results[f"{side}_promotion"] = vars(figures)
        for phase in ("before", "during"):
            print(phase, load.figures(phase), flush=True)
        print(results, flush=True)
        load.phase = "turns"
        memory, states = [search.memory_info().rss], [done.state]
        started = time.perf_counter()
        for turn in range(cycles):
            goal = before_it if turn % 2 == 0 else version
            end = await promoted(client, str(goal), groups=groups)
            states.append(end.state)
            memory.append(search.memory_info().rss)
            print(f"turn {turn + 1}: {end.state}, {memory[-1] / 2**20:.1f} MiB", flush=True)
        results["turns_seconds"] = time.perf_counter() - started
        results["cycles"] = cycles
        results["memory_mib"] = [round(size / 2**20, 1) for size in memory]
        results["all_succeeded"] = all(state is PromotionState.SUCCEEDED for state in states)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    results["errors"] = load.errors[:10]
    results["error_count"] = len(load.errors)
    for phase in ("before", "during", "turns"):
        results[phase] = load.figures(phase)
    for kind in ("picture", "embedding"):
        key = f"{kind}_p99_ms"
        results[f"{kind}_p99_ratio"] = results["during"][key] / results["before"][key]
    return results


def run(*, archive: Path, seconds: float = 60.0, cycles: int = 20) -> dict[str, Any]:
    """Everything; see the module."""
    rows = [row for row in archives.read_manifest(archive, archive=NAME) if row.error is None]
    # One open part, or a graph would be built beside what is measured.
    rows = rows[: SEAL_POINTS // 2]
    names = {row.image_id: row.image.name for row in rows if row.image is not None}
    truth = archive / "groups.json"
    found = json.loads(truth.read_text()) if truth.is_file() else []
    groups = [[names[each] for each in group["members"] if each in names] for group in found]
    with tempfile.TemporaryDirectory(prefix="halftone-bench-") as folder:
        data = Path(folder) / "data"
        with (
            LocalStack(data, ports=Ports.any_free(), report=print) as stack,
            Client(stack.addresses.search) as client,
        ):
            summary = client.import_images(rows)
            if summary.rejected:
                raise SystemExit(f"{len(summary.rejected)} rows were rejected.")
            return asyncio.run(
                measure(
                    stack,
                    models=data / "models",
                    rows=rows,
                    groups=groups,
                    seconds=seconds,
                    cycles=cycles,
                )
            )


def show(results: dict[str, Any]) -> None:
    """The figures as a table."""
    table = Table("", "before", "during", "in turns", "during / before")
    for kind in ("picture", "embedding"):
        for key in ("count", "p50_ms", "p99_ms", "max_ms"):
            cells = [
                f"{results[phase][f'{kind}_{key}']:.1f}" for phase in ("before", "during", "turns")
            ]
            ratio = f"{results[f'{kind}_p99_ratio']:.2f}" if key == "p99_ms" else ""
            table.add_row(f"by {kind}, {key}", *cells, ratio)
    console = Console(width=120)
    console.print(table)
    console.print(
        "{images} images promoted in {promotion_seconds:.0f} s ({state}), {images_failed} failed; "
        "{error_count} errors; {cycles} turns in {turns_seconds:.0f} s".format(**results)
    )
    console.print(f"memory of the search process, MiB: {results['memory_mib']}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="of load before")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = run(archive=arguments.archive, seconds=arguments.seconds, cycles=arguments.cycles)
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
