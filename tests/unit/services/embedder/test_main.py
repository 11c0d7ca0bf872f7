"""The wiring, in this process and with a dummy device: what a device that dies does to it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core import errors
from halftone.core.settings import EmbedderSettings, ModelSettings
from halftone.registry.versions import Registry
from halftone.services.embedder.__main__ import run
from halftone.v1 import embedder_pb2 as pb
from halftone.v1 import embedder_pb2_grpc
from tests.support.embedder.fake_encoder import DummyEncoder

if TYPE_CHECKING:
    from pathlib import Path

STATUS = health_pb2.HealthCheckResponse


class DyingBackend:
    """Works until it is told to break."""

    max_batch = 4
    workers = 1
    stages_ahead = True

    def __init__(self) -> None:
        self.broken = False

    def prepare_device(self) -> None:
        pass

    def load(self, version) -> DummyEncoder:
        return DummyEncoder(model_version=version.id, fails=lambda: self.broken)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    staging = tmp_path / "staging"
    staging.mkdir()
    content = base64.b64encode(b"3").decode()
    golden = {"min_cosine": 8.9, "images": [{"png_base64": content, "descriptor": [3, 0]}]}
    (staging / "golden.json").write_text(json.dumps(golden))
    (staging / "spec.json").write_text("{}")
    (staging / "model.safetensors").write_bytes(b"weights")
    Registry(tmp_path / "models").publish(staging, name="dummy")
    return tmp_path / "models"


class MissingBackend(DyingBackend):
    """Has no device."""

    def prepare_device(self) -> None:
        raise errors.FailedPrecondition("There is no such device.", reason="NO_DEVICE")


async def test_without_its_device_the_process_ends_with_the_reason(models: Path):
    with pytest.raises(errors.FailedPrecondition, match="no such device"):
        await asyncio.wait_for(
            run(
                EmbedderSettings(port=0, metrics_port=0, drain_seconds=0),
                models_settings=ModelSettings(directory=models),
                make_backend=lambda _settings, decoder: MissingBackend(),
            ),
            60,
        )


@pytest.fixture
def hidden(models: Path) -> Path:
    """The models' directory under another name, until it is renamed again."""
    return models.rename(models.with_name("hidden"))


async def test_where_no_version_answers_the_log_says_why_once(hidden: Path):
    models = hidden.with_name("models")
    with structlog.testing.capture_logs() as logs:

        async def until_logged(event: str) -> None:
            while event not in [each["event"] for each in logs]:
                await asyncio.sleep(0.01)

        service = asyncio.ensure_future(
            run(
                EmbedderSettings(port=0, metrics_port=0, reload_seconds=0.01, drain_seconds=0),
                models_settings=ModelSettings(directory=models),
                make_backend=lambda _settings, decoder: DyingBackend(),
            )
        )
        await asyncio.wait_for(until_logged("no_model_version"), 60)
        await asyncio.to_thread(hidden.rename, models)
        await asyncio.wait_for(until_logged("model_active"), 60)
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
    (told,) = [each for each in logs if each["event"] == "no_model_version"]
    assert told["error"] == "No model version is published and active yet."


class HealingBackend(DyingBackend):
    """Cannot load a version at the first look; its directory has changed by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 1

    def load(self, version) -> DummyEncoder:
        if self.failures:
            self.failures -= 1
            os.utime(version.directory / "MANIFEST.json", (0, 0))
            raise OSError("The disk did not answer.")
        return super().load(version)


async def test_a_problem_that_is_gone_at_the_second_look_is_not_told(models: Path):
    with structlog.testing.capture_logs() as logs:
        service = asyncio.ensure_future(
            run(
                EmbedderSettings(port=0, metrics_port=0, reload_seconds=0.01, drain_seconds=0),
                models_settings=ModelSettings(directory=models),
                make_backend=lambda _settings, decoder: HealingBackend(),
            )
        )

        async def until_active() -> None:
            while "model_active" not in [each["event"] for each in logs]:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until_active(), 60)
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
    told = [each["event"] for each in logs]
    assert "model_refused" in told
    assert "no_model_version" not in told


async def embed(stub: embedder_pb2_grpc.EmbedderServiceStub, *contents: bytes):
    images = [pb.ImageInput(content=content) for content in contents]
    return await stub.EmbedImages(pb.EmbedImagesRequest(images=images), timeout=60)


async def test_a_dead_device_fails_its_callers_is_reported_and_ends_the_process(models: Path):
    backend = DyingBackend()
    ports: asyncio.Queue[int] = asyncio.Queue()
    service = asyncio.ensure_future(
        run(
            EmbedderSettings(port=0, metrics_port=0, reload_seconds=0.05, drain_seconds=2),
            models_settings=ModelSettings(directory=models),
            make_backend=lambda _settings, decoder: backend,
            on_listening=lambda port, _metrics_port: ports.put_nowait(port),
        )
    )
    statuses: list[int] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await ports.get()}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        while STATUS.SERVING not in statuses:
            statuses.append((await watch.read()).status)
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        response = await embed(stub, b"7", b"bad")
        outcomes = [result.WhichOneof("outcome") for result in response.results]
        assert outcomes == ["embeddings", "error"]

        backend.broken = True
        calls = [asyncio.ensure_future(embed(stub, str(number).encode())) for number in range(30)]
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(failure, grpc.aio.AioRpcError)
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
        assert (await watch.read()).status == STATUS.NOT_SERVING
    with pytest.raises(RuntimeError, match="3 times in a row"):
        await asyncio.wait_for(service, 60)
