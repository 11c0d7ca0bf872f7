"""The search service with keys: calls, streams, verdicts, and the embedder behind it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
import structlog

from halftone.core import errors, keys, wire
from halftone.core.keys import Scope
from halftone.v1 import clusters_pb2, clusters_pb2_grpc, models_pb2, search_pb2
from tests.support.search.search_service import Service, error_of, name, record

SERVICE_KEY = "k" * 40


@pytest.fixture
def file(memory_path):
    return memory_path / "keys.json"


@pytest.fixture
async def guarded(settings, embedder, file, monkeypatch):
    """A service whose keys are in `file`, which has none yet."""
    monkeypatch.setenv("HALFTONE_KEYS_FILE", str(file))
    monkeypatch.setenv("HALFTONE_SERVICE_KEY", SERVICE_KEY)
    running = Service(settings, embedder=embedder)
    await running.start()
    yield running
    await running.stop()


def with_key(secret):
    return wire.make_authorization(secret)


def get(service, secret=""):
    request = search_pb2.GetImageRequest(name=name(1))
    return service.stub.GetImage(request, metadata=with_key(secret))


async def until_refused(call, *, reason):
    """Wait until a call is refused, for at most the second that is promised, and some."""
    async with asyncio.timeout(10):
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError as raised:
                if errors.from_rpc_error(raised).reason == reason:
                    return
            await asyncio.sleep(0.02)


async def test_from_the_first_key_on_every_call_needs_one(guarded, file, embedder):
    await guarded.add(record(1))
    key, secret = keys.create(file, label="Eva", scopes=[Scope.READ, Scope.JUDGE])
    await until_refused(lambda: get(guarded), reason="NO_KEY")
    with structlog.testing.capture_logs() as logged:
        assert (await get(guarded, secret)).name == name(1)
        delete = guarded.stub.DeleteImages(
            search_pb2.DeleteImagesRequest(names=[name(1)]), metadata=with_key(secret)
        )
        denied = await error_of(delete)
        assert isinstance(denied, errors.PermissionDenied)
        assert denied.metadata == {"scope": "admin", "key": key.id}
        stream = guarded.stub.ImportImages(iter([record(2)]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in stream:
                pass
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        keys.revoke(file, key.id)
        await until_refused(lambda: get(guarded, secret), reason="INVALID_KEY")
    assert secret not in str(logged)
    assert next(call["code"] for call in logged if call["event"] == "call") == "OK"


async def test_a_stream_ends_with_its_key(guarded, file):
    key, secret = keys.create(file, label="Eva", scopes=[Scope.IMPORT])
    await until_refused(lambda: get(guarded), reason="NO_KEY")
    left = asyncio.Event()

    async def records():
        yield record(1)
        await left.wait()
        yield record(2)

    stream = guarded.stub.ImportImages(records(), metadata=with_key(secret))
    assert (await stream.read()).state == search_pb2.ImportImagesResponse.CREATED
    keys.revoke(file, key.id)
    await until_refused(lambda: get(guarded, secret), reason="INVALID_KEY")
    left.set()
    with pytest.raises(grpc.aio.AioRpcError):
        await stream.read()
    assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_verdict_is_signed_by_its_key(guarded, file):
    await guarded.add(record(1), record(2))
    _, secret = keys.create(file, label="Eva", scopes=[Scope.JUDGE])
    await until_refused(lambda: get(guarded), reason="NO_KEY")
    async with grpc.aio.insecure_channel(guarded.address) as channel:
        stub = clusters_pb2_grpc.ClusterServiceStub(channel)
        request = clusters_pb2.JudgePairRequest(
            a=name(1), b=name(2), decision="SAME", author="Somebody else"
        )
        verdict = await stub.JudgePair(request, metadata=with_key(secret))
        assert verdict.author == "Eva"
        by_service = await stub.JudgePair(request, metadata=with_key(SERVICE_KEY))
        assert by_service.author == "Somebody else"


async def test_the_embedder_is_called_with_the_secret_of_the_services(guarded, embedder):
    await guarded.add(record(1))
    assert ("authorization", f"Bearer {SERVICE_KEY}") in embedder.metadata[-1]


async def test_health_needs_no_key(guarded, file):
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    keys.create(file, label="Eva", scopes=[Scope.READ])
    await until_refused(lambda: get(guarded), reason="NO_KEY")
    async with grpc.aio.insecure_channel(guarded.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert await error_of(guarded.models.ListModelVersions(models_pb2.ListModelVersionsRequest()))
