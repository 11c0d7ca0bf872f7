"""The two sides of the embedder's benchmark: the service with its client, and the bare operations.

Each runs in a process of its own; what is defined at the top level here is called there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import json
import os
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

from halftone.core.settings import EmbedderSettings
from halftone.core.wire import CHANNEL_OPTIONS
from halftone.registry.versions import Registry
from halftone.service.probe import is_serving
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.encoder import InputImage
from halftone.v1 import embedder_pb2 as pb
from halftone.v1 import embedder_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from halftone.registry.version import ModelVersion
    from halftone.vision.portable import PortableModel

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
            [sys.executable, "-m", "halftone.services.embedder"],
            env={
                **os.environ,
                "HALFTONE_MODELS_DIRECTORY": str(models.resolve()),
                "HALFTONE_EMBEDDER_PORT": "0",
                "HALFTONE_EMBEDDER_METRICS_PORT": "0",
                "HALFTONE_EMBEDDER_THREADS": str(threads),
                "HALFTONE_EMBEDDER_DECODE_PROCESSES": str(threads),
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


def random_version(directory: Path) -> Path:
    """A registry with a ResNet-152 that finds nothing: its speed does not depend on its weights."""
    import torch  # noqa: PLC0415

    from halftone.vision.model import Model  # noqa: PLC0415
    from halftone.vision.network import DescriptorNetwork  # noqa: PLC0415
    from halftone.vision.network_spec import NetworkSpec  # noqa: PLC0415
    from halftone.vision.preprocessing import Preprocessing  # noqa: PLC0415
    from halftone.vision.spec import ModelSpec  # noqa: PLC0415

    torch.manual_seed(0)
    spec = ModelSpec(
        network=NetworkSpec(backbone="resnet152", grid=3, dimension=512),
        preprocessing=Preprocessing(size=224),
        training={"purpose": "Random weights, for measuring speed. Never to be served."},
    )
    staging = directory / "staging"
    staging.mkdir()
    Model(spec, network=DescriptorNetwork(spec.network)).save(staging)
    Registry(directory / "models").publish(staging, name="random")
    return directory / "models"


# ---- the client's process


def warm_client(address: str) -> None:
    """Makes the client's process import what it needs before anything is timed."""
    asyncio.run(_saturate(address, contents=pictures(2), seconds=0.1, callers=1))


def saturate(address: str, contents: list[bytes], seconds: float) -> dict[str, float]:
    """Keeps more requests waiting than the service can batch. Runs in the client's process."""
    before = time.process_time()
    # Three full batches for each core: one that it computes, one that is ready, one being decoded.
    callers = 3 * (os.cpu_count() or 1) * MAX_BATCH // REQUEST_IMAGES
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
    lags: list[float] = []
    cpu = time.process_time()
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
            due = begun + index / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            lags.append(time.perf_counter() - due)
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
        # How late this process itself was: where it is late, so are its measurements.
        "client_lag_p99_ms": 1e3 * float(np.percentile(lags, 99)),
        "client_cpu_share": (time.process_time() - cpu) / sent,
        "other_errors": others,
    }


def _request(contents: list[bytes]) -> pb.EmbedImagesRequest:
    return pb.EmbedImagesRequest(images=[pb.ImageInput(content=content) for content in contents])


# ---- the bare operations, in a process of their own


class Bare:
    """The service's encoder and decoding without a service around them."""

    def __init__(self, models: Path, *, threads: int) -> None:
        # By need: only one of the two sides loads it.
        from halftone.services.embedder.encoders.choice import choose_backend  # noqa: PLC0415

        self.contents = pictures()
        version = Registry(models).resolve("")
        decoder = Decoder(max_pixels=100_000_000, max_bytes=1 << 25)
        settings = EmbedderSettings(device="cpu", threads=threads, max_batch=MAX_BATCH)
        backend = choose_backend(settings, decoder=decoder)
        self._workers = backend.workers
        self._encoder = backend.load(version)
        for step in self._encoder.warm_ups():
            step()
        # One batch at a time on all cores.
        self._whole = self._load_whole(version, threads=threads)
        self._batch = self._encoder.stage(
            [self.prepare(each) for each in self.contents[:MAX_BATCH]]
        )

    def _load_whole(self, version: ModelVersion, *, threads: int) -> PortableModel:
        from halftone.vision import quantizing  # noqa: PLC0415
        from halftone.vision.portable import PortableModel  # noqa: PLC0415

        if self._encoder.golden is not None:
            return quantizing.load(version, threads=threads)
        return PortableModel.load(version.directory, threads=threads)

    def prepare(self, content: bytes) -> np.ndarray:
        """Decodes and preprocesses."""
        return self._encoder.prepare(InputImage(content=content)).pixels[0]

    def encode_batch(self) -> int:
        """Encodes decoded tensors, each batch on all cores; returns how many."""
        return len(self._whole.embed(self._batch))

    def encode_some(self) -> int:
        """Encodes decoded tensors, a batch on each core; returns how many."""
        return self._on_each_core(lambda: len(self._encoder.encode(self._batch, alone=False)))

    def decode_and_encode_some(self) -> int:
        """Decodes and encodes, a batch on each core; returns how many."""

        def work() -> int:
            inputs = [self.prepare(content) for content in self.contents[:MAX_BATCH]]
            return len(self._encoder.encode(self._encoder.stage(inputs), alone=False))

        return self._on_each_core(work)

    def decode_some(self) -> int:
        """Decodes all pictures; returns how many."""
        return len([self.prepare(content) for content in self.contents])

    def embed(self, content: bytes) -> None:
        """One image, from bytes to its vector."""
        self._encoder.encode(self._encoder.stage([self.prepare(content)]))

    def _on_each_core(self, work: Callable[[], int]) -> int:
        """Five times, so that waiting for the last one weighs little."""
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            loops = [
                pool.submit(lambda: sum(work() for _ in range(5))) for _ in range(self._workers)
            ]
            return sum(loop.result() for loop in loops)


@functools.cache  # one in each process, made at its first use
def _bare(models: Path, threads: int) -> Bare:
    return Bare(models, threads=threads)


def bare_rates(models: Path, threads: int, seconds: float) -> dict[str, float]:
    """Runs in the bare side's process."""
    bare = _bare(models, threads)
    one, _ = _rate(bare.encode_batch, seconds=seconds)
    encode, encode_cpu = _rate(bare.encode_some, seconds=seconds)
    both, _ = _rate(bare.decode_and_encode_some, seconds=seconds)
    _, decode_cpu = _rate(bare.decode_some, seconds=seconds / 4)
    return {
        "one_loop_images_per_second": one,
        "bare_images_per_second": encode,
        "decode_and_encode_images_per_second": both,
        "encode_cpu_ms": 1e3 * encode_cpu,
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
