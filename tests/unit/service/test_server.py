"""The server harness: statuses, request ids, truthful health, draining on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core import errors, telemetry
from halftone.core.settings import EmbedderSettings
from halftone.service.server import Service, serve
from halftone.v1 import embedder_pb2, embedder_pb2_grpc

NAME = "halftone.v1.EmbedderService"


class Servicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """Answers by the model version it is asked for."""

    def __init__(self):
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def EmbedImages(self, request, context):
        match request.model_version:
            case "missing":
                raise errors.NotFound("No such version.", resource_name="missing")
            case "bug":
                raise ZeroDivisionError("secret detail")
            case "store":
                raise errors.Internal("The store failed: secret detail")
            case "slow":
                self.entered.set()
                await self.release.wait()
        return embedder_pb2.EmbedImagesResponse()


class Running:
    """A served service and a channel to it."""

    def __init__(self, *, start=None, drain_seconds=100.0):
        self.servicer = Servicer()
        self.stopped = False
        self.metrics = telemetry.Metrics(service="test")
        self._ports = asyncio.get_running_loop().create_future()

        async def default_start(health):
            await health.set_serving(serving=True)

        async def stop():
            self.stopped = True

        self.task = asyncio.create_task(
            serve(
                Service(
                    name="test",
                    full_names=(NAME,),
                    register=lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(
                        self.servicer, server
                    ),
                    start=start or default_start,
                    stop=stop,
                    settings=EmbedderSettings(port=0, metrics_port=0, drain_seconds=drain_seconds),
                    metrics=self.metrics,
                    on_listening=lambda *ports: self._ports.set_result(ports),
                )
            )
        )

    async def __aenter__(self):
        done, _ = await asyncio.wait({self.task, self._ports}, return_when=asyncio.FIRST_COMPLETED)
        if self.task in done:
            self.task.result()
        self.port, self.metrics_port = await self._ports
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub = embedder_pb2_grpc.EmbedderServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        return self

    async def __aexit__(self, *_):
        self.servicer.release.set()
        if not self.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({self.task}, timeout=120)
        await self.channel.close()

    async def status(self):
        response = await self.health.Check(health_pb2.HealthCheckRequest(service=NAME))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def ask(version):
    return embedder_pb2.EmbedImagesRequest(model_version=version)


async def wait_for(condition):
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_an_error_becomes_a_rich_status_with_the_callers_request_id():
    async with Running() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.stub.EmbedImages(
                ask("missing"), metadata=((telemetry.REQUEST_ID_KEY, "id-7"),), timeout=60
            )
        error = errors.from_rpc_error(caught.value)
        assert type(error) is errors.NotFound
        assert (error.resource_name, error.request_id) == ("missing", "id-7")


@pytest.mark.parametrize("bug", ["bug", "store"])
async def test_a_bug_is_generic_outside_and_traced_inside(bug):
    async with Running() as running:
        with (
            structlog.testing.capture_logs() as logged,
            pytest.raises(grpc.aio.AioRpcError) as caught,
        ):
            await running.stub.EmbedImages(ask(bug), timeout=60)
        (failed,) = (event for event in logged if event["event"] == "failed")
        assert failed["log_level"] == "error"
        assert "secret detail" in str(failed["exc_info"])
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(caught.value)
        assert errors.from_rpc_error(caught.value).request_id in caught.value.details()


async def test_calls_are_counted_by_code():
    async with Running() as running:
        await running.stub.EmbedImages(ask(""), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.EmbedImages(ask("missing"), timeout=60)
        count = running.metrics.registry.get_sample_value
        for code in ("OK", "NOT_FOUND"):
            labels = {"method": f"/{NAME}/EmbedImages", "code": code}
            assert count("halftone_test_rpc_seconds_count", labels) == 1
        assert count("halftone_test_rpcs_in_flight") == 0


async def test_not_serving_until_started():
    started = asyncio.Event()

    async def start(health):
        await started.wait()
        await health.set_serving(serving=True)

    async with Running(start=start) as running:
        assert await running.status() == "NOT_SERVING"
        started.set()

        async def serving():
            return await running.status() == "SERVING"

        await wait_for(serving)


async def test_sigterm_lets_accepted_calls_finish_and_refuses_new_ones():
    async with Running() as running:
        call = running.stub.EmbedImages(ask("slow"), timeout=100)
        accepted = asyncio.ensure_future(call)
        await asyncio.wait_for(running.servicer.entered.wait(), 60)
        os.kill(os.getpid(), signal.SIGTERM)

        async def refused():
            async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as other:
                try:
                    await embedder_pb2_grpc.EmbedderServiceStub(other).EmbedImages(
                        ask(""), timeout=20
                    )
                except grpc.aio.AioRpcError as error:
                    return error.code() is grpc.StatusCode.UNAVAILABLE
            return False

        await wait_for(refused)
        assert not accepted.done()
        running.servicer.release.set()
        await accepted
        await asyncio.wait_for(running.task, 60)
        assert running.stopped


async def test_streams_that_never_end_do_not_hold_the_end_up():
    async with Running(drain_seconds=300.0) as running:
        watch = running.health.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert await watch.read() is not grpc.aio.EOF
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.shield(running.task), 100)
        assert running.stopped


async def test_a_failed_start_ends_the_process_with_its_error():
    async def start(_health):
        raise errors.DataLoss("The model is damaged.")

    async with Running(start=start) as running:
        with pytest.raises(errors.DataLoss):
            await asyncio.wait_for(asyncio.shield(running.task), 60)
        assert running.stopped


async def test_a_port_in_use_is_said():
    async with Running() as running:
        metrics = telemetry.Metrics(service="second")

        async def nothing(*_):
            raise AssertionError("must not start")

        async def stop():
            pass

        second = Service(
            name="second",
            full_names=(NAME,),
            register=lambda _server: None,
            start=nothing,
            stop=stop,
            settings=EmbedderSettings(port=running.port, metrics_port=0),
            metrics=metrics,
        )
        with pytest.raises(errors.Unavailable, match=f"127.0.0.1:{running.port}") as caught:
            await serve(second)
        assert caught.value.reason == "PORT_IN_USE"
