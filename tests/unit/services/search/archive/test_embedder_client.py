"""The embedder's client: retries, deadlines, results that do not fit."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from halftone.core import errors, telemetry
from halftone.imaging.orientations import UPRIGHT
from halftone.services.search.archive.embedder_client import Embedder, to_vector
from halftone.v1 import embedder_pb2
from tests.support.embedder.fake_embedder import DIMENSION, VERSION
from tests.support.search.search_service import picture


@pytest.fixture
async def client(embedder):
    made = Embedder(embedder.address, timeout=60.0, metrics=telemetry.Metrics(service="test"))
    yield made
    await made.close()


def inputs(*contents):
    return [embedder_pb2.ImageInput(content=content) for content in contents]


async def embed(client, *contents, patience=0.0, **options):
    options.setdefault("model_version", VERSION)
    return await client.embed(inputs(*contents), patience=patience, **options)


async def test_each_image_has_its_result(client):
    first, broken, second = await embed(client, picture(1), b"no image", picture(2))
    assert isinstance(broken, errors.ImageRejected)
    assert broken.field == "content"  # not where it stood in what the embedder was asked
    for result in (first, second):
        assert (result.width, result.height) == (64, 48)
        assert np.linalg.norm(result.vectors[UPRIGHT]) == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(first.vectors[UPRIGHT], second.vectors[UPRIGHT])


async def test_the_active_model(client, embedder):
    model = await client.active_model(seconds=60)
    assert (model.model_version, model.dimension) == (VERSION, DIMENSION)
    embedder.refusing = errors.Unavailable("loading")
    with pytest.raises(errors.Unavailable, match="loading"):
        await client.active_model(seconds=60)


async def test_a_full_embedder_is_asked_again_when_it_said(client, embedder):
    embedder.refusing = errors.ResourceExhausted("full", retry_after=1.0)
    started = time.monotonic()
    running = asyncio.create_task(embed(client, picture(1), patience=60))
    async with asyncio.timeout(60):
        while not embedder.request_ids:
            await asyncio.sleep(0.01)
    embedder.refusing = None
    await running
    # Not before the pause that it asked for, and once.
    assert time.monotonic() - started > 1.0
    assert len(embedder.request_ids) == 2


async def test_patience_ends(client, embedder):
    embedder.refusing = errors.Unavailable("down")
    with pytest.raises(errors.Unavailable):
        await embed(client, picture(1), patience=1.5)
    # Pauses grow from 0.1 s: 0.1, 0.2, 0.4, and a fifth attempt with 0.8.
    assert 2 <= len(embedder.request_ids) <= 5


async def test_without_patience_there_is_one_attempt(client, embedder):
    embedder.refusing = errors.Unavailable("down")
    with pytest.raises(errors.Unavailable):
        await embed(client, picture(1))
    assert len(embedder.request_ids) == 1


async def test_what_waiting_does_not_help_is_not_tried_again(client, embedder):
    for error in (errors.InvalidArgument("bad"), errors.Internal("bug"), errors.NotFound("gone")):
        embedder.request_ids.clear()
        embedder.refusing = error
        with pytest.raises(type(error)):
            await embed(client, picture(1), patience=5)
        assert len(embedder.request_ids) == 1


async def test_an_embedder_that_hangs_is_left(client, embedder):
    embedder.before_answer = asyncio.Event().wait
    started = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        await embed(client, picture(1), deadline=time.monotonic() + 0.3)
    assert time.monotonic() - started < 50, "not after the 60 s of a call"


async def test_another_version_is_an_error(client):
    with pytest.raises(errors.NotFound):
        await embed(client, picture(1), model_version="other/1")


async def test_nobody_there():
    client = Embedder("127.0.0.1:1", timeout=1.0, metrics=telemetry.Metrics(service="test"))
    with pytest.raises(errors.Unavailable):
        await embed(client, picture(1), patience=0.3)
    await client.close()


def test_vectors_are_normalised_and_checked():
    vector = np.full(4, 1e30, dtype="<f4")
    message = embedder_pb2.Embedding(values=vector.tobytes(), dimension=4)
    np.testing.assert_allclose(to_vector(message), np.full(4, 0.5), atol=1e-6)
    for values, dimension in ((b"", 0), (b"123", 1), (vector.tobytes(), 5), (bytes(16), 4)):
        with pytest.raises(errors.InvalidArgument, match=r"query\.values"):
            to_vector(embedder_pb2.Embedding(values=values, dimension=dimension), field="query")


@pytest.fixture
def process():
    """A fake embedder as a process of its own, which can be stopped like any other."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.support.embedder.fake_embedder", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    started.address = started.stdout.readline().strip()
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


async def test_an_embedder_that_hangs_is_told_from_a_busy_one(process):
    client = Embedder(
        process.address, timeout=60.0, liveness=0.3, metrics=telemetry.Metrics(service="test")
    )
    assert len(await embed(client, picture(1), patience=30)) == 1
    process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(errors.Unavailable, match=process.address) as raised:
        await embed(client, picture(1))
    assert raised.value.reason == "EMBEDDER_DOES_NOT_ANSWER"
    assert time.monotonic() - started < 20  # and not 60
    running = asyncio.create_task(embed(client, picture(1), patience=60))
    await asyncio.sleep(0)
    process.send_signal(signal.SIGCONT)
    assert len(await running) == 1
    await client.close()


async def test_a_busy_embedder_is_waited_for(embedder):
    """It works for much longer than it has to answer whether it is alive."""
    client = Embedder(
        embedder.address, timeout=60.0, liveness=0.05, metrics=telemetry.Metrics(service="test")
    )
    embedder.seconds = 1.0
    assert len(await embed(client, picture(1))) == 1
    await client.close()
