"""The embedder as its own process, over gRPC, with the starter version."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image, ImageOps

from halftone.core import errors
from halftone.core.wire import CHANNEL_OPTIONS
from halftone.imaging import images
from halftone.registry.versions import Registry
from halftone.v1 import embedder_pb2 as pb
from halftone.v1 import embedder_pb2_grpc
from halftone.vision.portable import list_runtimes

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "models" / "starter" / "1"
TIMEOUT = 120


class Embedder:
    """A process of one's own."""

    def __init__(self, models: Path, log: Path, **settings: object) -> None:
        self._log = log
        self._settings = {"PORT": 0, "METRICS_PORT": 0, "RELOAD_SECONDS": 0.2, **settings}
        environment = {
            **os.environ,
            "HALFTONE_MODELS_DIRECTORY": str(models),
            **{f"HALFTONE_EMBEDDER_{name}": str(value) for name, value in self._settings.items()},
        }
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "halftone.services.embedder"],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=file,
            )

    def __enter__(self):
        try:
            until(lambda: self.events("listening") or self.process.poll() is not None)
            (listening,) = self.events("listening")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.metrics_port = listening["metrics_port"]
        self.address = f"127.0.0.1:{listening['port']}"
        self.channel = grpc.insecure_channel(self.address, options=CHANNEL_OPTIONS)
        self.stub = embedder_pb2_grpc.EmbedderServiceStub(self.channel)
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    def events(self, name: str) -> list[dict]:
        found = []
        for line in self._log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == name:
                    found.append(event)
        return found

    def health(self, service: str = "") -> str:
        stub = health_pb2_grpc.HealthStub(self.channel)
        response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

    def wait_serving(self):
        until(lambda: self.health() == "SERVING")
        return self

    def embed(self, *contents: bytes, model_version: str = "", timeout: float = TIMEOUT):
        request = pb.EmbedImagesRequest(
            images=[pb.ImageInput(content=content) for content in contents],
            model_version=model_version,
        )
        return self.stub.EmbedImages(request, timeout=timeout)

    def loaded(self) -> dict[str, bool]:
        models = self.stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
        return {model.model_version: model.active for model in models}

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as page:
            lines = page.read().decode().splitlines()
        name = f"halftone_embedder_{name}"
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{"))
        )


def until(condition, *, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def picture(seed: int, *, size: tuple[int, int] = (300, 200)) -> Image.Image:
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (5, 7), dtype=np.uint8))
    return blocks.resize(size, Image.Resampling.BICUBIC)


def jpeg(seed: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def vector(embedding: pb.Embedding) -> np.ndarray:
    values = np.frombuffer(embedding.values, dtype="<f4")
    assert len(values) == embedding.dimension
    return values


def vectors(response: pb.EmbedImagesResponse) -> np.ndarray:
    return np.stack([vector(result.embeddings.embedding) for result in response.results])


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """One process for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("embedder")
    Registry(folder / "models").install(STARTER)
    with Embedder(folder / "models", folder / "log") as running:
        yield running.wait_serving()


@pytest.fixture
def models(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    registry.install(STARTER)
    return registry


def status_of(error: grpc.RpcError) -> errors.HalftoneError:
    return errors.from_rpc_error(error)


def test_pictures_become_descriptors_in_order(embedder: Embedder):
    contents = [jpeg(seed) for seed in range(40)]
    together = vectors(embedder.embed(*contents))
    assert together.shape == (40, 512)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-4)
    alone = np.concatenate([vectors(embedder.embed(content)) for content in contents[:5]])
    # The same picture has the same descriptor in whatever batch it travels.
    np.testing.assert_allclose(alone, together[:5], atol=1e-4)
    assert np.abs(together @ together.T - np.eye(40)).max() < 0.99


def test_a_copy_is_close_and_its_mirror_image_is_found_by_orientation(embedder: Embedder):
    buffer = io.BytesIO()
    ImageOps.mirror(picture(1)).resize((150, 100)).save(buffer, "PNG")
    request = pb.EmbedImagesRequest(
        images=[
            pb.ImageInput(content=jpeg(1), include_mirrored=True),
            pb.ImageInput(content=buffer.getvalue()),
        ]
    )
    original, mirrored = embedder.stub.EmbedImages(request, timeout=TIMEOUT).results
    assert (original.embeddings.width, original.embeddings.height) == (300, 200)
    (oriented,) = original.embeddings.oriented_embeddings
    found = vector(mirrored.embeddings.embedding)
    assert vector(oriented.embedding) @ found > 0.95
    assert vector(original.embeddings.embedding) @ found < 0.9


def test_a_region_is_embedded_like_the_part_itself(embedder: Embedder):
    large = picture(3, size=(2400, 1600))
    buffer, part = io.BytesIO(), io.BytesIO()
    large.save(buffer, "JPEG", quality=95)
    large.crop((800, 400, 1100, 700)).save(part, "PNG")
    region = pb.Region(x=800, y=400, width=300, height=300)
    request = pb.EmbedImagesRequest(
        images=[
            pb.ImageInput(content=buffer.getvalue(), region=region),
            pb.ImageInput(content=part.getvalue()),
        ]
    )
    response = embedder.stub.EmbedImages(request, timeout=TIMEOUT)
    cropped, itself = vectors(response)
    assert cropped @ itself > 0.98
    assert response.results[0].embeddings.width == 2400


def test_each_refused_image_says_why_and_hurts_no_other(embedder: Embedder):
    outside = pb.Region(x=290, y=0, width=20, height=20)
    request = pb.EmbedImagesRequest(
        images=[
            pb.ImageInput(content=jpeg(1)),
            pb.ImageInput(content=b""),
            pb.ImageInput(content=b"not an image"),
            pb.ImageInput(content=jpeg(1)[:500]),
            pb.ImageInput(content=jpeg(1), region=outside),
            pb.ImageInput(content=jpeg(2)),
        ]
    )
    results = embedder.stub.EmbedImages(request, timeout=TIMEOUT).results
    outcomes = [result.WhichOneof("outcome") for result in results]
    assert outcomes == ["embeddings", "error", "error", "error", "error", "embeddings"]
    refusals = [errors.from_status(result.error) for result in results[1:5]]
    assert all(isinstance(refusal, errors.ImageRejected) for refusal in refusals)
    assert [(refusal.reason, refusal.field) for refusal in refusals] == [
        (images.EMPTY, "images[1].content"),
        (images.NOT_AN_IMAGE, "images[2].content"),
        (images.TRUNCATED, "images[3].content"),
        (images.REGION_OUTSIDE, "images[4].region"),
    ]


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (pb.EmbedImagesRequest(), errors.InvalidArgument, "images"),
        (
            pb.EmbedImagesRequest(images=[pb.ImageInput(content=b"x")] * 65),
            errors.InvalidArgument,
            "images",
        ),
        (
            pb.EmbedImagesRequest(images=[pb.ImageInput(content=bytes(17 << 20))] * 2),
            errors.InvalidArgument,
            "images",
        ),
        (
            pb.EmbedImagesRequest(images=[pb.ImageInput(content=b"x")], model_version="starter/9"),
            errors.NotFound,
            "",
        ),
    ],
)
def test_a_bad_request_is_refused_as_a_whole(embedder: Embedder, request_, error, field):
    with pytest.raises(grpc.RpcError) as refusal:
        embedder.stub.EmbedImages(request_, timeout=TIMEOUT)
    found = errors.from_rpc_error(refusal.value)
    assert isinstance(found, error)
    assert getattr(found, "field", "") == field


def test_it_tells_its_models_health_and_metrics(embedder: Embedder):
    (model,) = embedder.stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
    assert (model.model_version, model.dimension, model.active) == ("starter/1", 512, True)
    assert model.backend in list_runtimes()
    assert embedder.health("halftone.v1.EmbedderService") == "SERVING"
    before = embedder.metric("images_total")
    embedder.embed(jpeg(1), jpeg(2))
    assert embedder.metric("images_total") == before + 2
    assert embedder.metric("model_loads_total") == 1
    for name in ("queue_seconds", "batch_items", "decode_seconds", "inference_seconds"):
        assert embedder.metric(f"{name}_count") > 0


def test_what_the_caller_gives_up_is_dropped(embedder: Embedder):
    contents = [jpeg(seed) for seed in range(64)]
    began = time.monotonic()
    embedder.embed(*contents)
    # Of this very moment: time enough for them to arrive, and too little for all to be embedded.
    part = (time.monotonic() - began) / 5
    expired, cancelled = embedder.metric("expired_total"), embedder.metric("cancelled_total")

    def is_dropped():
        nonlocal part
        try:
            embedder.embed(*contents, timeout=part)
        except grpc.RpcError as late:
            assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # noqa: PT017
        else:
            part /= 2
            return False
        until(lambda: embedder.metric("queue_items") == 0)
        part *= 1.5
        given_up = embedder.metric("expired_total") + embedder.metric("cancelled_total")
        return given_up > expired + cancelled

    until(is_dropped)
    embedder.embed(jpeg(1))


def test_not_serving_until_there_is_a_model_and_hot_loading(tmp_path: Path):
    registry = Registry(tmp_path / "models")
    with Embedder(registry.directory, tmp_path / "log") as embedder:
        until(lambda: embedder.events("listening"))
        assert embedder.health() == "NOT_SERVING"
        with pytest.raises(grpc.RpcError) as early:
            embedder.embed(jpeg(1))
        assert status_of(early.value).reason == "NO_MODEL"
        assert early.value.code() is grpc.StatusCode.UNAVAILABLE

        registry.install(STARTER)
        embedder.wait_serving()
        first = vectors(embedder.embed(jpeg(1)))

        # A newly published version can be asked for at once; the active one goes on answering.
        registry.publish(STARTER, name="starter")
        until(lambda: "starter/2" in embedder.loaded())
        assert embedder.loaded() == {"starter/1": True, "starter/2": False}
        response = embedder.embed(jpeg(1), model_version="starter/2")
        assert response.results[0].embeddings.embedding.model_version == "starter/2"
        np.testing.assert_allclose(vectors(response), first, atol=1e-5)

        registry.promote("starter/2")
        until(lambda: embedder.loaded() == {"starter/1": False, "starter/2": True})
        response = embedder.embed(jpeg(1))
        assert response.results[0].embeddings.embedding.model_version == "starter/2"
        registry.roll_back()
        until(lambda: embedder.loaded() == {"starter/1": True, "starter/2": False})


@pytest.mark.soak
def test_a_damaged_version_never_replaces_one_that_works(models: Registry, tmp_path: Path):
    with Embedder(models.directory, tmp_path / "log") as embedder:
        embedder.wait_serving()
        # One whose bytes differ, one that gives other descriptors than it was published with.
        damaged = Registry(tmp_path / "elsewhere").publish(STARTER, name="damaged")
        weights = damaged.directory / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        damaged.directory.parent.rename(models.directory / "damaged")
        staging = tmp_path / "staging"
        shutil.copytree(STARTER, staging)
        golden = json.loads((staging / "golden.json").read_text())
        golden["images"][0]["descriptor"].reverse()
        (staging / "golden.json").write_text(json.dumps(golden))
        models.publish(staging, name="forged", promote=True)
        good = models.publish(STARTER, name="good")

        until(lambda: good.id in embedder.loaded())
        until(
            lambda: (
                "forged/1" in {each["model_version"] for each in embedder.events("model_refused")}
            )
        )
        time.sleep(0.6)  # three more rounds
        refused = {event["model_version"]: event for event in embedder.events("model_refused")}
        assert "cosine" in refused["forged/1"]["error"]
        assert len(embedder.events("model_refused")) == len(refused), "once each"
        # The active pointer names a version that cannot answer: the old one does.
        assert embedder.loaded()["starter/1"] is True
        assert "forged/1" not in embedder.loaded()
        assert embedder.health() == "SERVING"
        embedder.embed(jpeg(1))
        assert "model.safetensors differs" in refused["damaged/1"]["error"]
        assert "damaged/1" not in embedder.loaded()


@pytest.mark.soak
def test_sigterm_finishes_what_was_accepted_and_refuses_the_rest(models: Registry, tmp_path: Path):
    settings = {"MAX_BATCH": 4, "MAX_QUEUE_ITEMS": 512, "DRAIN_SECONDS": 200}
    with Embedder(models.directory, tmp_path / "log", **settings) as embedder:
        embedder.wait_serving()
        contents = [jpeg(seed) for seed in range(16)]
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            calls = [pool.submit(embedder.embed, *contents, timeout=500) for _ in range(24)]
            # So many that they are still being worked on when the late one comes.
            until(lambda: embedder.metric("queue_items") > 192)
            embedder.process.send_signal(signal.SIGTERM)
            until(lambda: embedder.events("draining"))
            late = pool.submit(embedder.embed, *contents)
            accepted = 0
            for call in calls:
                try:
                    assert len(call.result().results) == 16
                    accepted += 1
                except grpc.RpcError as error:
                    assert status_of(error).reason == "DRAINING"  # noqa: PT017
            assert accepted >= 4
            with pytest.raises(grpc.RpcError) as refusal:
                late.result()
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert status_of(refusal.value).retry_after == 1
        assert embedder.process.wait(TIMEOUT) == 0
        assert embedder.events("stopped")


def test_overload_is_refused_with_a_time_to_come_back(models: Registry, tmp_path: Path):
    with Embedder(models.directory, tmp_path / "log", MAX_QUEUE_ITEMS=16) as embedder:
        embedder.wait_serving()
        contents = [jpeg(seed) for seed in range(16)]
        embedder.embed(*contents)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(embedder.embed, *contents) for _ in range(8)]
            concurrent.futures.wait(calls)
        refusals = [call.exception() for call in calls if call.exception() is not None]
        assert 0 < len(refusals) < 8
        for refusal in refusals:
            assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            details = rpc_status.from_call(refusal).details
            assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in details)
            assert status_of(refusal).retry_after > 0
        assert embedder.metric("rejected_total") == len(refusals)


def test_a_port_in_use_ends_it_with_one_clear_line(embedder: Embedder, tmp_path: Path):
    port = embedder.address.rpartition(":")[2]
    second = Embedder(tmp_path, tmp_path / "log", PORT=port)
    assert second.process.wait(TIMEOUT) == 1
    # grpc's own remark may come before it.
    line = (tmp_path / "log").read_text().splitlines()[-1]
    assert f"Cannot listen on 127.0.0.1:{port}" in json.loads(line)["error"]
