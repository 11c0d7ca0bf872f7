"""Searches by an embedding: those that wait go to the store together."""

from __future__ import annotations

import asyncio
import threading
import types

import pytest

from halftone.core import errors, telemetry
from halftone.matching.probability import Calibration
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.query import embeddings
from halftone.services.search.query.embeddings import EmbeddingSearches
from halftone.services.search.query.plans import Planner
from halftone.v1 import embedder_pb2, search_pb2
from tests.support.search.exact_collection import DIMENSION, Exact, unit


class Slow(Exact):
    """Keeps every call waiting until it is released, and notes how many searches each one has."""

    def __init__(self):
        super().__init__()
        self.release = threading.Event()
        self.sizes = []
        self.poison = self.failure = None

    def query(self, queries):
        self.sizes.append(len(queries))
        self.release.wait(10)
        if any(each.limit == self.poison for each in queries):
            raise self.failure
        return super().query(queries)


def by_embedding(seed, *, version=Exact.model_version, limit=1):
    return search_pb2.SearchImagesRequest(
        embedding=embedder_pb2.Embedding(
            values=unit(1_000 + seed).tobytes(), dimension=DIMENSION, model_version=version
        ),
        limit=limit,
    )


def found(answers):
    return [hit.image.name.rpartition("/")[2] for answer in answers for hit in answer.hits]


@pytest.fixture
def collection():
    made = Slow()
    for number in range(40):
        made.add(number)
    return made


@pytest.fixture
async def searches(collection, monkeypatch):
    monkeypatch.setattr(embeddings, "_CALLS", 2)
    holdings = Holdings.of(None, metrics=telemetry.Metrics(service="test"))
    holdings.collections.open(collection)
    yield EmbeddingSearches(
        holdings,
        planner=Planner(types.SimpleNamespace(max_image_bytes=1)),
        calibrations=types.SimpleNamespace(of=lambda _version: Calibration.default()),
    )
    collection.release.set()
    holdings.threads.close()


async def started(searches, collection, *, requests):
    """Starts searches one by one; the first two are in the store, the others wait."""
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(searches.search([request], collection=collection)))
        calls = min(len(tasks), embeddings._CALLS)
        while len(collection.sizes) < calls:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    return tasks


async def test_searches_that_wait_are_answered_together(searches, collection):
    tasks = await started(searches, collection, requests=map(by_embedding, range(30)))
    assert collection.sizes == [1, 1]
    collection.release.set()
    answers = await asyncio.gather(*tasks)
    assert [found(each) for each in answers] == [[f"{number:05}"] for number in range(30)]
    # Either call may be the first to note its size.
    assert sorted(collection.sizes) == [1, 1, 12, 16]


async def test_a_search_that_is_refused_leaves_the_others_be(searches, collection):
    requests = [
        by_embedding(number, version="" if number == 3 else "test/1") for number in range(6)
    ]
    tasks = await started(searches, collection, requests=requests)
    collection.release.set()
    answers = [answer for (answer,) in await asyncio.gather(*tasks)]
    assert isinstance(answers[3], errors.ModelVersionMismatch)
    assert found(answers[:3] + answers[4:]) == ["00000", "00001", "00002", "00004", "00005"]


@pytest.mark.parametrize("failure", [errors.Internal("A bug."), ValueError("a bug")])
async def test_a_search_that_fails_fails_alone(searches, collection, failure):
    # Asked for two hits, and one more to know whether there are more.
    collection.poison, collection.failure = 3, failure
    requests = [by_embedding(number, limit=2 if number == 3 else 1) for number in range(6)]
    tasks = await started(searches, collection, requests=requests)
    collection.release.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers.pop(3) in ([failure], failure)
    assert [found(each) for each in answers] == [[f"{number:05}"] for number in (0, 1, 2, 4, 5)]


async def test_a_store_that_does_not_answer_is_asked_once(searches, collection):
    collection.poison, collection.failure = 2, errors.Unavailable("The store does not answer.")
    tasks = await started(searches, collection, requests=map(by_embedding, range(6)))
    collection.release.set()
    assert await asyncio.gather(*tasks) == [[collection.failure]] * 6
    assert collection.sizes == [1, 1, 4]


async def test_a_search_that_comes_as_the_calls_end_is_not_forgotten(searches, collection):
    """Both calls end, and it comes, in one iteration of the event loop."""
    loop = asyncio.get_running_loop()
    gates = []

    async def read(_operation, call, *arguments, **named):
        gates.append(loop.create_future())
        await gates[-1]
        return call(*arguments, **named)

    collection.release.set()
    searches._holdings.threads.read = read
    tasks = []
    for number in range(2):
        search = searches.search([by_embedding(number)], collection=collection)
        tasks.append(asyncio.create_task(search))
        while len(gates) == number:
            await asyncio.sleep(0)
    late = searches.search([by_embedding(2)], collection=collection)
    for gate in gates:
        gate.set_result(None)
    loop.call_soon(late.send, None)  # right after the last steps of both
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.01)
    assert len(gates) == 3
    gates[2].set_result(None)
    late.close()


async def test_nobody_waits_for_a_search_that_was_given_up(searches, collection):
    tasks = await started(searches, collection, requests=map(by_embedding, range(6)))
    tasks[0].cancel()  # in the store
    tasks[3].cancel()  # waits
    await asyncio.sleep(0)
    collection.release.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in answers] == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]
    assert collection.sizes == [1, 1, 3]


async def test_another_collection_is_not_asked_for_these(searches, collection):
    other = Slow()
    other.add(7)
    other.release.set()
    tasks = await started(searches, collection, requests=map(by_embedding, range(3)))
    tasks.append(asyncio.create_task(searches.search([by_embedding(7)], collection=other)))
    await asyncio.sleep(0.01)
    collection.release.set()
    answers = await asyncio.gather(*tasks)
    assert found(answers[3]) == ["00007"]
    assert (collection.sizes, other.sizes) == ([1, 1, 1], [1])
