"""The embedder over gRPC beside the bare encoder.

    python -m tests.bench.embedder [--models DIR] [--seconds S] [--rounds N] [--threads N]

What is compared, always in turns within one run, so that a machine that is busy with something else
slows both sides:

- saturated: JPEG bytes in, vectors out, over gRPC, against the same encoder called in a loop on
  decoded tensors of the same batch size. The service decodes as well and the client takes part of
  the same cores, so the table also says what decoding costs, and the service's own CPU time for an
  image beside that of decoding and encoding it in a loop: the difference is what serving adds.
- idle: one image at a time; the service's answer beside decoding and encoding at batch 1.
- overload: three times the peak, open loop; goodput, how fast a refusal comes, memory.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import functools
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from halftone.probe import is_serving
from halftone.registry import Registry
from halftone.v1 import embedder_pb2 as pb
from halftone.v1 import embedder_pb2_grpc
from halftone.wire import CHANNEL_OPTIONS
from services.embedder.decoding import Decoder
from services.embedder.encoder import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BATCH = 8
REQUEST_IMAGES = 8
PICTURES = 64
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Server:
    """The service's process."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mib(self) -> float:
        """Memory it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def serving(models: Path, *, threads: int, queue_items: int) -> Iterator[Server]:
    """Runs the service on free ports until the context ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.embedder"],
            env={
                **os.environ,
                "HALFTONE_MODELS_DIRECTORY": str(models.resolve()),
                "HALFTONE_EMBEDDER_PORT": "0",
                "HALFTONE_EMBEDDER_METRICS_PORT": "0",
                "HALFTONE_EMBEDDER_THREADS": str(threads),
                "HALFTONE_EMBEDDER_DECODE_THREADS": str(threads),
                "HALFTONE_EMBEDDER_MAX_BATCH": str(MAX_BATCH),
                "HALFTONE_EMBEDDER_MAX_QUEUE_ITEMS": str(queue_items),
                "HALFTONE_EMBEDDER_DRAIN_SECONDS": "1",
                # Refusals are logged one by one; only their cost should count here.
                "HALFTONE_EMBEDDER_LOG_LEVEL": "info",
            },
            stderr=log,
        )
        try:
            yield Server(address=_address(process, log), pid=process.pid)
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Any) -> str:
    address = ""
    for _ in range(2000):
        time.sleep(0.05)
        if process.poll() is not None:
            break
        for line in os.pread(log.fileno(), 1 << 16, 0).splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == "listening":
                    address = f"127.0.0.1:{event['port']}"
        if address and is_serving(address):
            return address
    raise RuntimeError(os.pread(log.fileno(), 1 << 16, 0).decode())


def pictures(count: int = PICTURES) -> list[bytes]:
    """JPEGs of the size and weight of cut-out press pictures: 800 x 600, grey, about 60 kB."""
    rng = np.random.default_rng(7)
    contents = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((800, 600), Image.Resampling.BICUBIC), dtype=np.float32)
        grain = rng.normal(0, 9, (600, 800))
        buffer = io.BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=80
        )
        contents.append(buffer.getvalue())
    return contents


# ---- the client's process


def warm_client(address: str) -> None:
    """Makes the client's process import what it needs before anything is timed."""
    asyncio.run(_saturate(address, contents=pictures(2), seconds=0.1, callers=1))


def saturate(address: str, contents: list[bytes], seconds: float) -> dict[str, float]:
    """Keeps more requests waiting than the service can batch. Runs in the client's process."""
    before = time.process_time()
    # Three full batches under way: one on the device, one staged, one being decoded.
    callers = 3 * MAX_BATCH // REQUEST_IMAGES
    begun = time.perf_counter()
    images = asyncio.run(_saturate(address, contents=contents, seconds=seconds, callers=callers))
    return {
        "images_per_second": images / (time.perf_counter() - begun),
        "images": images,
        "client_cpu_seconds": time.process_time() - before,
    }


async def _saturate(address: str, *, contents: list[bytes], seconds: float, callers: int) -> int:
    done = 0
    ends = time.perf_counter() + seconds

    async def caller(stub: Any, offset: int) -> None:
        nonlocal done
        request = _request([contents[(offset + i) % len(contents)] for i in range(REQUEST_IMAGES)])
        while time.perf_counter() < ends:
            response = await stub.EmbedImages(request, timeout=120)
            done += len(response.results)

    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        await asyncio.gather(*(caller(stub, 7 * index) for index in range(callers)))
    return done


def overload(address: str, contents: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    """One-image requests at a fixed rate, whether or not they are answered."""
    return asyncio.run(_overload(address, contents=contents, rate=rate, seconds=seconds))


async def _overload(
    address: str, *, contents: list[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    answered: list[float] = []
    refused: list[float] = []
    others: list[str] = []

    async def call(stub: Any, content: bytes) -> None:
        begun = time.perf_counter()
        try:
            await stub.EmbedImages(_request([content]), timeout=60)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                refused.append(time.perf_counter() - begun)
            else:
                others.append(error.code().name)
        else:
            answered.append(time.perf_counter())

    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        begun = time.perf_counter()
        calls = []
        for index in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + index / rate - time.perf_counter()))
            calls.append(asyncio.ensure_future(call(stub, contents[index % len(contents)])))
        sent = time.perf_counter() - begun
        await asyncio.gather(*calls)
    # From a quarter on, when the queue is full, to the end of the load.
    first, last = begun + sent / 4, begun + sent
    within = sum(first <= moment < last for moment in answered)
    return {
        "offered_per_second": len(calls) / sent,
        "goodput_per_second": within / (last - first),
        "refused": len(refused),
        "refusal_p50_ms": 1e3 * float(np.percentile(refused or [0], 50)),
        "refusal_p99_ms": 1e3 * float(np.percentile(refused or [0], 99)),
        "other_errors": others,
    }


def _request(contents: list[bytes]) -> pb.EmbedImagesRequest:
    return pb.EmbedImagesRequest(images=[pb.ImageInput(content=content) for content in contents])


# ---- the bare operations, in a process of their own


class Bare:
    """The encoder and the decoding without a service around them."""

    def __init__(self, models: Path, *, threads: int) -> None:
        # Imported here: the parent has set what OpenMP reads when torch is loaded.
        import torch  # noqa: PLC0415

        from halftone.vision.model import Model  # noqa: PLC0415

        torch.set_num_threads(threads)
        self.contents = pictures()
        self._model = Model.load(Registry(models).resolve("").directory)
        self._decoder = Decoder(max_pixels=100_000_000, max_bytes=1 << 25)
        self._batch = np.stack([self.prepare(content) for content in self.contents[:MAX_BATCH]])
        self._model.embed(self._batch)

    def prepare(self, content: bytes) -> np.ndarray:
        """Decodes and preprocesses."""
        picture = Picture(content=content)
        return self._decoder.prepare(picture, preprocessing=self._model.spec.preprocessing).pixels[
            0
        ]

    def encode_batch(self) -> int:
        """Encodes decoded tensors; returns how many."""
        return len(self._model.embed(self._batch))

    def decode_some(self) -> int:
        """Decodes all pictures; returns how many."""
        return len([self.prepare(content) for content in self.contents])

    def embed(self, content: bytes) -> None:
        """One image, from bytes to its vector."""
        self._model.embed(self.prepare(content)[None])


@functools.cache  # one in each process, made at its first use
def _bare(models: Path, threads: int) -> Bare:
    return Bare(models, threads=threads)


def bare_rates(models: Path, threads: int, seconds: float) -> dict[str, float]:
    """Runs in the bare side's process."""
    bare = _bare(models, threads)
    encode, encode_cpu = _rate(bare.encode_batch, seconds=seconds)
    decode, decode_cpu = _rate(bare.decode_some, seconds=seconds / 4)
    return {
        "bare_images_per_second": encode,
        "encode_cpu_ms": 1e3 * encode_cpu,
        "decode_images_per_second_one_thread": decode,
        "decode_cpu_ms": 1e3 * decode_cpu,
    }


def idle_latencies(models: Path, threads: int, address: str, turns: int) -> dict[str, float]:
    """One image at a time, the service and the bare operation in turns. Runs as `bare_rates`."""
    bare = _bare(models, threads)
    over, alone = [], []
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        for turn in range(turns):
            content = bare.contents[turn % len(bare.contents)]
            begun = time.perf_counter()
            stub.EmbedImages(_request([content]), timeout=60)
            between = time.perf_counter()
            bare.embed(content)
            over.append(between - begun)
            alone.append(time.perf_counter() - between)
    return {
        "service_p50_ms": 1e3 * float(np.percentile(over, 50)),
        "bare_p50_ms": 1e3 * float(np.percentile(alone, 50)),
        "overhead_p50_ms": 1e3 * float(np.percentile(over, 50) - np.percentile(alone, 50)),
        "service_p95_ms": 1e3 * float(np.percentile(over, 95)),
        "bare_p95_ms": 1e3 * float(np.percentile(alone, 95)),
    }


def _rate(work: Callable[[], int], *, seconds: float) -> tuple[float, float]:
    """Images a second, and CPU seconds for an image."""
    done, cpu = 0, time.process_time()
    begun = time.perf_counter()
    while not done or time.perf_counter() - begun < seconds:
        done += work()
    return done / (time.perf_counter() - begun), (time.process_time() - cpu) / done


def run(
    models: Path = Path("models"),
    *,
    seconds: float = 4.0,
    rounds: int = 5,
    threads: int = 0,
    overload_seconds: float = 12.0,
) -> dict[str, Any]:
    """Measures. The active version of `models` is served.

    Args:
        models: A directory of model versions.
        seconds: For one side of one round.
        rounds: Pairs; the medians are reported.
        threads: For inference and for decoding; 0 means one per core.
        overload_seconds: How long the overload lasts.
    """
    threads = threads or os.cpu_count() or 1
    # Both sides alike, as the service sets it for itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    context = multiprocessing.get_context("spawn")
    contents = pictures()
    report: dict[str, Any] = {
        "model_version": Registry(models).resolve("").id,
        "cores": os.cpu_count(),
        "threads": threads,
        "max_batch": MAX_BATCH,
    }
    with (
        serving(models, threads=threads, queue_items=16 * MAX_BATCH) as server,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as client,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as bare,
    ):
        client.submit(warm_client, server.address).result()
        bare.submit(bare_rates, models, threads, 0.1).result()
        rows = []
        for _ in range(rounds):
            alone = bare.submit(bare_rates, models, threads, seconds).result()
            before = server.cpu_seconds()
            driven = client.submit(saturate, server.address, contents, seconds).result()
            rows.append(alone | _over(driven, alone, cpu_seconds=server.cpu_seconds() - before))
        report["saturated"] = {
            name: statistics.median(row[name] for row in rows) for name in rows[0]
        } | {"ratios": [round(row["ratio"], 3) for row in rows]}
        report["idle"] = bare.submit(idle_latencies, models, threads, server.address, 150).result()
        report["overload"] = _overloaded(
            server,
            client,
            contents=contents,
            peak=report["saturated"]["service_images_per_second"],
            seconds=overload_seconds,
        )
    return report


def _over(
    driven: dict[str, float], alone: dict[str, float], *, cpu_seconds: float
) -> dict[str, float]:
    """One round of the service, beside the bare operations of the same round."""
    service, images = driven["images_per_second"], driven["images"]
    # What the cores would do if one process decoded and encoded, and nothing else ran.
    cores = os.cpu_count() or 1
    both = 1 / (
        1 / alone["bare_images_per_second"]
        + 1 / (cores * alone["decode_images_per_second_one_thread"])
    )
    return {
        "service_images_per_second": service,
        "ratio": service / alone["bare_images_per_second"],
        "ratio_to_decode_and_encode": service / both,
        "service_cpu_ms": 1e3 * cpu_seconds / images,
        "client_cpu_ms": 1e3 * driven["client_cpu_seconds"] / images,
    }


def _overloaded(
    server: Server,
    client: concurrent.futures.Executor,
    *,
    contents: list[bytes],
    peak: float,
    seconds: float,
) -> dict[str, Any]:
    # The peak of one-image requests, which cost more each; a quarter above what is answered.
    single = client.submit(overload, server.address, contents, 1.25 * peak, seconds).result()
    samples = []
    running = client.submit(overload, server.address, contents, 3 * peak, seconds)
    begun = time.monotonic()
    while not running.done():
        time.sleep(0.25)
        if time.monotonic() - begun > seconds / 4:
            samples.append(server.rss_mib())
    result = running.result()
    own = single["goodput_per_second"]
    return {
        **result,
        "peak_per_second": own,
        "goodput_ratio": result["goodput_per_second"] / own,
        "rss_mib": samples[-1],
        "rss_growth_mib": samples[-1] - samples[0],
    }


def show(report: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(title=f"Embedder, {report['model_version']}, {report['cores']} cores", box=None)
    for column in ("what", "measured", "bare", "figure", "bar"):
        table.add_column(column)
    full, idle, over = report["saturated"], report["idle"], report["overload"]
    table.add_row(
        "saturated, images/s",
        f"{full['service_images_per_second']:.1f}",
        f"{full['bare_images_per_second']:.1f}",
        f"{full['ratio']:.3f}",
        "≥ 0.95",
    )
    table.add_row(
        "… against decoding and encoding",
        f"{full['service_images_per_second']:.1f}",
        f"{full['service_images_per_second'] / full['ratio_to_decode_and_encode']:.1f}",
        f"{full['ratio_to_decode_and_encode']:.3f}",
        "",
    )
    table.add_row(
        "… CPU ms an image (client's apart)",
        f"{full['service_cpu_ms']:.2f} ({full['client_cpu_ms']:.2f})",
        f"{full['encode_cpu_ms']:.2f} + {full['decode_cpu_ms']:.2f}",
        f"{full['service_cpu_ms'] / (full['encode_cpu_ms'] + full['decode_cpu_ms']):.3f}",
        "",
    )
    table.add_row(
        "idle, p50 ms",
        f"{idle['service_p50_ms']:.2f}",
        f"{idle['bare_p50_ms']:.2f}",
        f"+ {idle['overhead_p50_ms']:.2f}",
        "+ ≤ 3",
    )
    table.add_row(
        "three times overload, goodput/s",
        f"{over['goodput_per_second']:.1f}",
        f"{over['peak_per_second']:.1f}",
        f"{over['goodput_ratio']:.3f}",
        "≥ 0.95",
    )
    table.add_row(
        "… refusal p99, ms", f"{over['refusal_p99_ms']:.1f}", "", str(over["refused"]), "≤ 20"
    )
    growth = f"+ {over['rss_growth_mib']:.1f}"
    table.add_row("… memory, MiB", f"{over['rss_mib']:.0f}", "", growth, "flat")
    Console().print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report = run(
        arguments.models,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        threads=arguments.threads,
    )
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
