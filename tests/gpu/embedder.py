"""The embedder: from host tensors, from JPEG bytes, and over gRPC, with random weights.

The model version is made for this and published in a folder that is removed: its weights are random
and it finds nothing, so it is fit for measuring speed only.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np
import torch
from PIL import Image

from halftone.core.wire import CHANNEL_OPTIONS
from halftone.registry.versions import Registry
from halftone.service.probe import is_serving
from halftone.services.embedder.encoders.decoding import Decoder
from halftone.services.embedder.encoders.encoder import InputImage
from halftone.services.embedder.encoders.torch_encoder import TorchBackend
from halftone.v1 import embedder_pb2 as pb
from halftone.v1 import embedder_pb2_grpc
from halftone.vision.model import Model
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import ModelSpec
from tests.gpu import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from halftone.registry.version import ModelVersion
    from tests.gpu.report import Report
    from tests.gpu.stages import Settings

NAME: Final = "speed-only"
_BAR: Final = 0.95
_REQUEST_IMAGES: Final = 64
# To start it, warm it up and drive it once more.
_SERVICE_SECONDS: Final = 30.0
_MAX_PIXELS: Final = 100_000_000
_MAX_BYTES: Final = 1 << 25


def run(report: Report, *, settings: Settings) -> int:
    """Measure all of it."""
    tiny, device = settings.tiny, torch.device(settings.device)
    seconds = 0.4 if tiny else 4.0
    batch = 8 if tiny else 256
    with tempfile.TemporaryDirectory(prefix="speed-only-", dir=settings.work) as folder:
        report.doing("making a model version of random weights")
        version = publish(Path(folder), tiny=tiny)
        contents = jpegs(8 if tiny else 64, tiny=tiny)
        ways = ("eager", "graphs") if device.type == "cuda" else ("eager",)
        tensors: dict[str, float] = {}
        encoders: dict[str, Any] = {}
        for execution in ways:
            with network.told(report, f"from host tensors, {execution}"):
                report.doing(f"warming up, {execution}")
                encoder = load(version, settings=settings, execution=execution, batch=batch)
                report.doing(f"measuring from host tensors, {execution}")
                rate = from_host(encoder, batch=batch, tiny=tiny, seconds=seconds)
                tensors[execution], encoders[execution] = rate, encoder
                report.add(
                    f"from host tensors, {execution}, batch {batch}",
                    rate,
                    unit="images/s",
                    note="stacked, copied and computed in turns, as the service does",
                )
        if not tensors:
            report.fail("no way of running the network worked")
            return 1
        fastest = max(tensors, key=tensors.__getitem__)
        encoder = encoders.pop(fastest)
        encoders.clear()
        threads = os.cpu_count() or 1
        report.doing("measuring decoding")
        decoded = decoding(encoder, contents=contents, threads=threads, seconds=seconds)
        report.add(
            f"decoding alone, {threads} threads", decoded, unit="images/s", note=_kind(contents)
        )
        report.doing("measuring from JPEG bytes")
        bytes_rate = from_bytes(
            encoder, contents=contents, batch=batch, threads=threads, seconds=seconds
        )
        report.add(
            "from JPEG bytes, in one process",
            bytes_rate,
            unit="images/s",
            note=f"{bytes_rate / min(tensors[fastest], decoded):.2f} of the slower half",
        )
        del encoder
        if device.type == "cuda":
            torch.cuda.empty_cache()
        for execution in dict.fromkeys((fastest, "eager")):
            if execution != fastest and settings.left < _SERVICE_SECONDS:
                report.detail("left out", f"service, {execution}")
                break
            report.doing(f"measuring the service, {execution}")
            served = service(
                Path(folder),
                contents=contents,
                settings=settings,
                execution=execution,
                batch=batch,
                seconds=seconds,
            )
            report.detail(f"service, {execution}", served)
            over, alone = served["images_per_second"], tensors.get(execution, tensors[fastest])
            report.add(
                f"service over gRPC, {execution}",
                over,
                unit="images/s",
                note=f"{over / bytes_rate:.2f} of JPEG bytes in one process",
            )
            label = f"… over the encoder on host tensors, {execution}"
            report.add(label, over / alone, at_least=None if tiny else _BAR)
    return 0


def publish(folder: Path, *, tiny: bool) -> ModelVersion:
    """A version of random weights in a registry in `folder`."""
    model = Model(
        ModelSpec(
            name=NAME,
            network=network.spec(tiny=tiny),
            preprocessing=Preprocessing(size=network.side(tiny=tiny)),
            training={"note": "Random weights, for measuring speed only: it finds nothing."},
        ),
        network=network.random_network(tiny=tiny, device=torch.device("cpu")),
    )
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        model.save(Path(staging))
        return Registry(folder / "models").publish(Path(staging), name=NAME)


def load(version: ModelVersion, *, settings: Settings, execution: str, batch: int) -> Any:
    """An encoder as the service makes it, warm."""
    backend = TorchBackend(
        device=settings.device,
        threads=0,
        max_batch=batch,
        decoder=Decoder(max_pixels=_MAX_PIXELS, max_bytes=_MAX_BYTES),
        execution=execution,  # type: ignore[arg-type]  # one of the three
    )
    backend.prepare_device()
    encoder = backend.load(version)
    for step in encoder.warm_ups():
        step()
    return encoder


def from_host(encoder: Any, *, batch: int, tiny: bool, seconds: float) -> float:
    """Images a second when the next batch is staged while one is computed."""
    size = network.side(tiny=tiny)
    pixels = list(np.random.default_rng(1).integers(0, 256, (batch, size, size), dtype=np.uint8))
    with concurrent.futures.ThreadPoolExecutor(1) as stager:
        return _paced(
            encoder,
            stage=lambda: stager.submit(encoder.stage, pixels),
            batch=batch,
            seconds=seconds,
        )


def decoding(encoder: Any, *, contents: list[bytes], threads: int, seconds: float) -> float:
    """Images a second that so many threads decode and preprocess."""
    pictures = [InputImage(content=content) for content in contents]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(encoder.prepare, pictures))
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds / 2:
            done += len(list(pool.map(encoder.prepare, pictures)))
        return done / (time.perf_counter() - began)


def from_bytes(
    encoder: Any, *, contents: list[bytes], batch: int, threads: int, seconds: float
) -> float:
    """Images a second from JPEG bytes with no service around: decoded, staged, computed at once."""
    turning = itertools.cycle(InputImage(content=content) for content in contents)
    with (
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
        concurrent.futures.ThreadPoolExecutor(1) as stager,
    ):
        # Two batches are being decoded while one is staged and one computed.
        waiting: list[list[concurrent.futures.Future[Any]]] = []

        def decode() -> None:
            chosen = itertools.islice(turning, batch)
            waiting.append([pool.submit(encoder.prepare, each) for each in chosen])

        def stage() -> concurrent.futures.Future[Any]:
            decode()
            jobs = waiting.pop(0)
            return stager.submit(lambda: encoder.stage([job.result().pixels[0] for job in jobs]))

        decode()
        decode()
        return _paced(encoder, stage=stage, batch=batch, seconds=seconds)


def _paced(
    encoder: Any,
    *,
    stage: Callable[[], concurrent.futures.Future[Any]],
    batch: int,
    seconds: float,
) -> float:
    coming = stage()
    done, began = 0, 0.0
    while not began or time.perf_counter() - began < seconds:
        staged = coming.result()
        coming = stage()
        encoder.encode(staged)
        # The first one fills the pipe.
        done, began = (done + batch, began) if began else (0, time.perf_counter())
    rate = done / (time.perf_counter() - began)
    coming.result()
    return rate


def service(
    folder: Path,
    *,
    contents: list[bytes],
    settings: Settings,
    execution: str,
    batch: int,
    seconds: float,
) -> dict[str, Any]:
    """Images a second that the real embedder answers, driven by several client processes."""
    clients = 1 if settings.tiny else max(2, min(6, (os.cpu_count() or 2) // 3))
    context = multiprocessing.get_context("spawn")
    with (
        serving(folder, settings=settings, execution=execution, batch=batch) as address,
        concurrent.futures.ProcessPoolExecutor(clients, mp_context=context) as pool,
    ):
        callers = max(1, 4 * batch // _REQUEST_IMAGES // clients + 1)
        # All processes are up before anything counts.
        list(pool.map(_drive, *zip(*[(address, contents, callers, 0.5)] * clients, strict=True)))
        rates = list(
            pool.map(_drive, *zip(*[(address, contents, callers, seconds)] * clients, strict=True))
        )
    return {"images_per_second": sum(rates), "client_processes": clients, "callers": callers}


def _drive(address: str, contents: list[bytes], callers: int, seconds: float) -> float:
    """One client process: so many calls under way at a time; images a second."""
    request = pb.EmbedImagesRequest(
        images=[
            pb.ImageInput(content=content)
            for content in itertools.islice(itertools.cycle(contents), _REQUEST_IMAGES)
        ]
    )
    done = []
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        began = time.perf_counter()

        def call() -> None:
            while time.perf_counter() - began < seconds:
                response = stub.EmbedImages(request, timeout=60)
                wrong = [each for each in response.results if each.HasField("error")]
                if wrong:
                    raise RuntimeError(wrong[0].error.message)
                done.append(len(response.results))

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / (time.perf_counter() - began)


@contextlib.contextmanager
def serving(folder: Path, *, settings: Settings, execution: str, batch: int) -> Iterator[str]:
    """Run the embedder on free ports until the context ends; gives its address."""
    with (folder / f"service-{execution}.log").open("w+b") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "halftone.services.embedder"],
            env={
                **os.environ,
                "HALFTONE_MODELS_DIRECTORY": str(folder / "models"),
                "HALFTONE_EMBEDDER_PORT": "0",
                "HALFTONE_EMBEDDER_METRICS_PORT": "0",
                "HALFTONE_EMBEDDER_DEVICE": settings.device,
                "HALFTONE_EMBEDDER_EXECUTION": execution,
                "HALFTONE_EMBEDDER_MAX_BATCH": str(batch),
                "HALFTONE_EMBEDDER_MAX_QUEUE_ITEMS": str(64 * max(batch, _REQUEST_IMAGES)),
                "HALFTONE_EMBEDDER_MAX_QUEUE_BYTES": str(2 << 30),
                "HALFTONE_EMBEDDER_DRAIN_SECONDS": "1",
            },
            stdout=log,
            stderr=log,
        )
        try:
            yield _address(process, log=Path(log.name), seconds=settings.left - 5)
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], *, log: Path, seconds: float) -> str:
    address, ends = "", time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                event = json.loads(line)
                if event.get("event") == "listening":
                    address = f"127.0.0.1:{event['port']}"
        if address and is_serving(address):
            return address
        time.sleep(0.1)
    raise RuntimeError(f"The embedder did not come up:\n{log.read_text()[-2000:]}")


def jpegs(count: int, *, tiny: bool) -> list[bytes]:
    """JPEGs like cut-out press pictures: 800 x 600, grey, about 60 kB."""
    rng = np.random.default_rng(7)
    width, height = (160, 120) if tiny else (800, 600)
    contents = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grainy = (smooth + rng.normal(0, 9, (height, width))).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(grainy).save(buffer, "JPEG", quality=80)
        contents.append(buffer.getvalue())
    return contents


def _kind(contents: list[bytes]) -> str:
    with Image.open(io.BytesIO(contents[0])) as picture:
        return f"{picture.width} x {picture.height}, {len(contents[0]) / 1000:.0f} kB"
