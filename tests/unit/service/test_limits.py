"""The bounds on calls at a time, on a real server: refusals, their hint, and who is not starved."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from grpc_health.v1 import health_pb2

from halftone.core import errors
from halftone.service.limits import RESERVED_RPCS, Limit
from halftone.v1 import embedder_pb2, trainer_pb2
from tests.support.served import NAME, Running, ask, wait_for

EMBEDS = Limit(name="embeds", most=1, methods=frozenset({"EmbedImages"}), retry_seconds=1.5)


@contextlib.asynccontextmanager
async def busy(running, *, calls):
    """Calls that are being answered and stay so."""
    slow = [
        asyncio.ensure_future(running.stub.EmbedImages(ask("slow"), timeout=60))
        for _ in range(calls)
    ]

    async def entered():
        return running.servicer.waiting == calls

    await wait_for(entered)
    yield slow
    running.servicer.release.set()
    await asyncio.gather(*slow)


async def refusal_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = errors.from_rpc_error(caught.value)
    assert type(error) is errors.ResourceExhausted
    assert error.reason == "TOO_MANY_CALLS"
    return error


async def test_a_call_too_many_is_refused_with_a_hint_and_health_still_answers():
    async with Running(max_concurrent_calls=2) as running:
        async with busy(running, calls=2):
            error = await refusal_of(running.stub.EmbedImages(ask(""), timeout=60))
            assert (error.retry_after, error.metadata["limit"]) == (0.2, "calls")
            assert await running.status() == "SERVING"
        # There is room again once those have ended, also after a refusal and an error.
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.EmbedImages(ask("missing"), timeout=60)
        for _ in range(3):
            await running.stub.EmbedImages(ask(""), timeout=60)
        labels = {"method": f"/{NAME}/EmbedImages", "limit": "calls"}
        counted = running.metrics.registry.get_sample_value
        assert counted("halftone_test_rpcs_refused_total", labels) == 1


async def test_a_call_that_is_given_up_makes_room():
    async with Running(max_concurrent_calls=1) as running:
        call = running.stub.EmbedImages(ask("slow"), timeout=60)
        await asyncio.wait_for(running.servicer.entered.wait(), 60)
        await refusal_of(running.stub.EmbedImages(ask(""), timeout=60))
        call.cancel()

        async def answered():
            try:
                await running.stub.EmbedImages(ask(""), timeout=60)
            except grpc.aio.AioRpcError:
                return False
            return True

        await wait_for(answered)


async def test_methods_with_a_limit_leave_others_room():
    async with Running(limits=(EMBEDS,)) as running, busy(running, calls=1):
        error = await refusal_of(running.stub.EmbedImages(ask(""), timeout=60))
        assert (error.retry_after, error.metadata["limit"]) == (1.5, "embeds")
        await running.stub.ListModels(embedder_pb2.ListModelsRequest(), timeout=60)


async def test_streams_and_calls_do_not_starve_each_other():
    async with Running(
        max_concurrent_calls=1, max_concurrent_streams=2, drain_seconds=0.1
    ) as running:

        def watch():
            request = trainer_pb2.WatchTrainingJobRequest(name="trainingJobs/1")
            return running.watches.WatchTrainingJob(request, timeout=60)

        open_streams = [watch(), watch()]
        for stream in open_streams:
            assert (await stream.read()).name == "trainingJobs/1"
        error = await refusal_of(watch().read())
        assert (error.retry_after, error.metadata["limit"]) == (2.0, "streams")
        # Both streams are open, and a call is answered.
        await running.stub.EmbedImages(ask(""), timeout=60)
        async with busy(running, calls=1):
            open_streams.pop().cancel()

            async def admitted():
                try:
                    return (await watch().read()).name == "trainingJobs/1"
                except grpc.aio.AioRpcError:
                    return False

            await wait_for(admitted)


async def test_the_server_takes_no_more_than_all_limits_together():
    """Streams of health have no limit of their own; the server's bound holds for them too."""
    most = 1 + 1 + RESERVED_RPCS
    async with Running(max_concurrent_calls=1, max_concurrent_streams=1) as running:
        request = health_pb2.HealthCheckRequest(service=NAME)
        watches = [running.health.Watch(request, timeout=60) for _ in range(most)]
        for watch in watches:
            assert await watch.read() is not grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.health.Watch(request, timeout=60).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
