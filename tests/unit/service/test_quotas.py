"""Quotas on a real server: what is used up, when there is more, and who has none."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.core.quotas import Kind, parse_quota, parse_quotas
from halftone.core.settings import AccessSettings
from halftone.service.quotas import Budget, Quotas
from halftone.v1 import embedder_pb2
from tests.support.served import Running

PICTURE = embedder_pb2.ImageInput(content=b"x")


@pytest.mark.parametrize(
    "text", ["searches=60/minute", "megapixels=5000/day", "imports=1/hour", "concurrency=4"]
)
def test_a_quota_is_read_and_written(text):
    assert str(parse_quota(f" {text.upper()} ")) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "searches", "searches=60", "searches=0/day", "searches=-1/day"),
        *("concurrency=4/day", "pictures=4/day", "searches=4/week", "searches=4/day/day"),
    ],
)
def test_what_is_no_quota_is_refused(text):
    with pytest.raises(errors.InvalidArgument):
        parse_quota(text)
    if text:
        with pytest.raises(ValueError, match=r"quota|counted"):
            AccessSettings(quotas=text)


async def refusal_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = errors.from_rpc_error(raised.value)
    assert (type(error), error.reason) == (errors.ResourceExhausted, "QUOTA")
    return error


async def test_a_key_is_refused_beyond_its_quota_and_others_are_not(tmp_path):
    file = tmp_path / "keys.json"
    bearer = {}
    for label, quotas in (("few", ["searches=3/day"]), ("many", [])):
        _, secret = keys.create(
            file, label=label, scopes=[Scope.SEARCH], quotas=parse_quotas(quotas)
        )
        bearer[label] = (("authorization", f"Bearer {secret}"),)
    settings = AccessSettings(keys_file=file, quotas="searches=5/minute")

    async with Running(access=settings) as running:

        def embed(label, count=1):
            request = embedder_pb2.EmbedImagesRequest(images=[PICTURE] * count)
            return running.stub.EmbedImages(request, timeout=30, metadata=bearer[label])

        await embed("few", 2)
        await embed("few")
        error = await refusal_of(embed("few"))
        assert error.metadata["quota"] == "searches=3/day"
        assert 1 < error.retry_after <= 86_400
        # A key without quotas of its own has those of the settings.
        await embed("many", 5)
        error = await refusal_of(embed("many"))
        assert error.metadata["quota"] == "searches=5/minute"
        assert error.retry_after <= 60


async def test_calls_at_a_time_are_bounded(tmp_path):
    file = tmp_path / "keys.json"
    _, secret = keys.create(
        file, label="Eva", scopes=[Scope.SEARCH], quotas=parse_quotas(["concurrency=1"])
    )
    bearer = (("authorization", f"Bearer {secret}"),)
    async with Running(access=AccessSettings(keys_file=file)) as running:
        slow = embedder_pb2.EmbedImagesRequest(model_version="slow", images=[PICTURE])
        call = asyncio.ensure_future(running.stub.EmbedImages(slow, metadata=bearer))
        await asyncio.wait_for(running.servicer.entered.wait(), 60)
        other = embedder_pb2.EmbedImagesRequest(images=[PICTURE])
        await refusal_of(running.stub.EmbedImages(other, metadata=bearer))
        running.servicer.release.set()
        await call
        await running.stub.EmbedImages(other, metadata=bearer)


async def test_pixels_are_counted_afterwards_and_refuse_the_next():
    limits = parse_quotas(["megapixels=2/day"])
    budget = Budget(Quotas(), caller="key:1", limits=limits)
    for _ in range(2):
        async with budget.spend_on("SearchImages", None):
            await budget.note_pixels(1_500_000)
    with pytest.raises(errors.ResourceExhausted):
        async with budget.spend_on("SearchImages", None):
            pass
    async with budget.spend_on("GetImage", None):
        pass


async def test_without_its_storage_calls_go_on_uncounted():
    quotas = Quotas("redis://127.0.0.1:1/0")
    limits = parse_quotas(["searches=1/day"])
    for _ in range(3):
        await quotas.spend("key:1", limits, Kind.SEARCHES, 1)


@pytest.mark.parametrize("url", ["memcached://x", "nothing", "redis+what://x"])
def test_another_storage_is_refused_without_repeating_it(url):
    with pytest.raises(errors.FailedPrecondition) as raised:
        Quotas(url)
    assert url not in raised.value.message
