"""How much slower a search is with many images: medians over gRPC at several sizes.

    python -m tests.bench.growth --archive PATH [--directory DIR] [--sizes 10000 1000000]

A collection of a given size is laid out as the service would have left it, which keeps at most a
handful of parts: their sizes follow from the rule by which it merges them. Each part is built once,
by the service's own builder, instead of the five times that growing by single records takes. A
directory that is given is kept: parts that are whole are not built again, so that a run which was
stopped is finished by another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np

from halftone.core import files, wire
from halftone.services.search.store.edge import build as edge_build
from halftone.services.search.store.edge.collection import (
    MERGE_RATIO,
    SEAL_POINTS,
    EdgeCollection,
)
from halftone.services.search.store.edge.store import EdgeStore
from halftone.services.search.store.port import Stored
from halftone.stack import local
from halftone.v1 import embedder_pb2, search_pb2, search_pb2_grpc
from tests.bench import importing
from tests.bench.vectors import Archive, between, journal_and_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERSION: Final = "bench/1"
LIMIT: Final = 10
SIZES: Final = (10_000, 1_000_000)
_SEED: Final = 7
_STEP: Final = 1_000
_WARM_UP: Final = 100
_SEARCHES: Final = 300


def layout(count: int) -> tuple[list[int], int]:
    """The sizes of the sealed parts after `count` single records, smallest first, and the rest."""
    sealed: list[int] = []
    for _ in range(count // SEAL_POINTS):
        total, kept = SEAL_POINTS, []
        for size in sealed:
            if not kept and size <= total * MERGE_RATIO:
                total += size
            else:
                kept.append(size)
        sealed = [total, *kept]
    return sealed, count % SEAL_POINTS


def records(base: np.ndarray, *, count: int) -> Archive:
    """The records that `build` stores, in memory."""
    return Archive.joined(
        [_part(base, count=count, number=number) for number in range(-1, len(layout(count)[0]))]
    )


def _part(base: np.ndarray, *, count: int, number: int) -> Archive:
    """Those of a sealed part; -1 is the open one, whose records come first."""
    sealed, rest = layout(count)
    if number < 0:
        return Archive.make(base, count=rest, seed=_SEED - 1)
    first = rest + sum(sealed[:number])
    return Archive.make(base, count=sealed[number], seed=_SEED + number, first=first)


def build(directory: Path, *, base: np.ndarray, count: int) -> dict[str, Any]:
    """A store of `count` records around the rows of `base`; what is there is gone on with.

    Args:
        directory: Of the store.
        base: Embeddings of real pictures, float32 [M, D].
        count: Records.

    Returns:
        The sizes of its parts, the open one first, and how long this took.
    """
    started = time.perf_counter()
    dimension = base.shape[1]
    with _opened(directory, dimension=dimension):
        path = directory / VERSION.replace("/", "@")
    described = json.loads((path / "parts.json").read_text())
    sealed, rest = layout(count)
    present = [part["built"] for part in described["sealed"]]
    if present != sealed[: len(present)]:
        raise RuntimeError(f"{directory} has parts of {present}, not of {sealed}")
    for number, size in enumerate(sealed):
        if number < len(present):
            continue
        name = f"part-{number:012d}"
        shutil.rmtree(path / name, ignore_errors=True)
        made = _part(base, count=count, number=number)
        if not edge_build.build(path / name, dimension=dimension, points=_stored(made)):
            raise RuntimeError(f"a part of {size} was not built")
        del made
        described["sealed"].append({"name": name, "built": size})
        files.write_json(path / "parts.json", described)
        _say(f"{count}: a part of {size} after {time.perf_counter() - started:.0f} s")
    with _opened(directory, dimension=dimension) as collection:
        made = _part(base, count=count, number=-1)
        for start in range(collection.part_sizes()[0], rest, _STEP):
            collection.upsert(list(made.points(start=start, stop=min(start + _STEP, rest))))
        sizes = collection.part_sizes()
    return {"parts": sizes, "build_seconds": time.perf_counter() - started}


@contextlib.contextmanager
def _opened(directory: Path, *, dimension: int) -> Iterator[EdgeCollection]:
    store = EdgeStore(directory, min_free_bytes=0)
    try:
        collection = store.open(VERSION, dimension=dimension)
        store.set_active(VERSION)
        yield collection
    finally:
        store.close()


def _stored(archive: Archive) -> Iterator[Stored]:
    for point in archive.points(start=0, stop=len(archive.vectors)):
        yield Stored(
            id=point.id,
            payload=point.payload,
            vector=point.vector,
            pdq=point.pdq,
            words=point.words,
        )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def measure(data: Path, *, base: np.ndarray) -> dict[str, float]:
    """Medians over gRPC of a stack over a data directory, plain and by journal and date, in ms."""
    queries = between(base, count=_SEARCHES, seed=3_000)
    with local.LocalStack(data, ports=local.Ports.any_free(), report=_say) as stack:
        return asyncio.run(_medians(stack.addresses.search, queries=queries))


async def _medians(address: str, *, queries: np.ndarray) -> dict[str, float]:
    medians = {}
    async with grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for label, condition in (
            ("all", search_pb2.Filter()),
            ("journal_and_date", journal_and_date()),
        ):
            seconds = []
            for at in range(_WARM_UP + _SEARCHES):
                request = search(queries[at % len(queries)], condition=condition)
                started = time.perf_counter()
                await stub.SearchImages(request)
                seconds.append(time.perf_counter() - started)
            medians[f"{label}_p50_ms"] = statistics.median(seconds[_WARM_UP:]) * 1e3
    return medians


def search(query: np.ndarray, *, condition: search_pb2.Filter) -> search_pb2.SearchImagesRequest:
    """A request for the nearest to an embedding."""
    embedding = embedder_pb2.Embedding(
        values=query.astype("<f4").tobytes(), dimension=len(query), model_version=VERSION
    )
    return search_pb2.SearchImagesRequest(embedding=embedding, filter=condition, limit=LIMIT)


def run(directory: Path, *, base: np.ndarray, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """Builds and measures each size; see the module."""
    rows = []
    for count in sizes:
        data = directory / f"{count}-images"
        built = build(data / "search", base=base, count=count)
        rows.append({"images": count, **built, **measure(data, base=base)})
        _say(str(rows[-1]))
    return rows


def ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the medians of the largest size over those of the smallest."""
    small, large = rows[0], rows[-1]
    return {key: large[key] / small[key] for key in small if key.endswith("_p50_ms")}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="a folder with a manifest")
    parser.add_argument("--directory", type=Path, help="kept, and gone on with by another run")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--build-only", action="store_true", help="measure later, when it is quiet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halftone-growth-") as name:
        directory = arguments.directory or Path(name)
        directory.mkdir(parents=True, exist_ok=True)
        embedded = directory / "base.npy"
        if not embedded.exists():
            np.save(embedded, importing.embedded(arguments.archive))
        base = np.load(embedded)
        if arguments.build_only:
            for count in arguments.sizes:
                build(directory / f"{count}-images" / "search", base=base, count=count)
            return
        rows = run(directory, base=base, sizes=arguments.sizes)
        sys.stdout.write(json.dumps({"sizes": rows, "ratios": ratios(rows)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
