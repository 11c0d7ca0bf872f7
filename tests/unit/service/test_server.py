"""The server harness: statuses, request ids, truthful health, draining on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2

from halftone.core import errors, telemetry
from halftone.core.settings import EmbedderSettings
from halftone.service.server import Service, serve
from halftone.v1 import embedder_pb2_grpc
from tests.support.served import NAME, Running, ask, wait_for


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

        # A caller has a call's error a moment before the call ends, which is when it is counted.
        async def ended():
            return count("halftone_test_rpcs_in_flight") == 0

        await wait_for(ended)
        for code in ("OK", "NOT_FOUND"):
            labels = {"method": f"/{NAME}/EmbedImages", "code": code}
            assert count("halftone_test_rpc_seconds_count", labels) == 1


GARBAGE = b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("unary_unary", f"{NAME}/EmbedImages"),
        ("unary_stream", "halftone.v1.TrainerService/WatchTrainingJob"),
        ("unary_unary", "grpc.health.v1.Health/Check"),
        ("unary_stream", "grpc.health.v1.Health/Watch"),
        ("stream_stream", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    ],
)
async def test_a_message_that_cannot_be_decoded_is_a_wrong_argument(kind, method, caplog):
    async with Running() as running:
        call = getattr(running.channel, kind)(f"/{method}")
        answered = call(iter([GARBAGE]) if kind == "stream_stream" else GARBAGE, timeout=60)
        count = running.metrics.registry.get_sample_value

        async def ended():
            return count("halftone_test_rpcs_in_flight") == 0

        with structlog.testing.capture_logs() as logged:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (answered if kind == "unary_unary" else anext(aiter(answered)))
            # A caller has a call's error a moment before the call ends, which is when it is logged.
            await wait_for(ended)
        error = errors.from_rpc_error(caught.value)
        assert (type(error), error.reason) == (errors.InvalidArgument, "UNDECODABLE")
        assert [event["event"] for event in logged] == ([] if "grpc." in method else ["call"])
        assert "Traceback" not in caplog.text
        # The process is as well as before.
        await running.stub.EmbedImages(ask(""), timeout=60)
        assert await running.status() == "SERVING"


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
