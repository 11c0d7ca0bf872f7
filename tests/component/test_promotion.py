"""Promotions of real processes: killed in every state, under searches, from the command line."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import grpc
import pytest
from click.testing import CliRunner

from halftone.cli.app import main
from halftone.registry.versions import Registry
from halftone.v1 import models_pb2, models_pb2_grpc, search_pb2
from tests.component.test_search import Stack
from tests.support.embedder.fake_embedder import DIMENSION
from tests.support.search.search_service import name, picture, record

State = models_pb2.Promotion.State
OLD, NEW = "fake/1", "fake/2"
IMAGES = 120


@pytest.fixture
def registry(memory_path):
    staging = memory_path / "staging"
    staging.mkdir()
    (staging / "spec.json").write_text(json.dumps({"dimension": DIMENSION}))
    # Hashing it takes a moment, in which a switch can be interrupted.
    (staging / "model.safetensors").write_bytes(bytes(100_000_000))
    (staging / "golden.json").write_text("{}")
    made = Registry(memory_path / "models")
    for version in (1, 2):
        made.publish(staging, name="fake", version=version)
    return made


@pytest.fixture
def embedder_seconds():
    return 0.0


@pytest.fixture
def stack(memory_path, registry, embedder_seconds):
    made = Stack(memory_path)
    made.search.environment["HALFTONE_MODELS_DIRECTORY"] = str(registry.directory)
    made.embedder.command.append(NEW)
    made.embedder.environment["FAKE_EMBEDDER_SECONDS"] = str(embedder_seconds)
    made.start()
    yield made
    made.stop()


def models(stack):
    return models_pb2_grpc.ModelServiceStub(stack.channel)


def watched(stack, *, until):
    """The first state of the promotion that `until` takes."""
    with contextlib.suppress(grpc.RpcError):
        for promotion in models(stack).WatchPromotion(
            models_pb2.WatchPromotionRequest(), timeout=150
        ):
            if until(promotion):
                return promotion
    raise AssertionError


def search(stack):
    request = search_pb2.SearchImagesRequest(content=picture(7), limit=1)
    return stack.stub.SearchImages(request, timeout=60)


def is_over(promotion):
    return promotion.state not in {State.EMBEDDING, State.COMPARING, State.SWITCHING}


# So that a state lasts longer than this process may have to wait for its turn.
@pytest.mark.parametrize("embedder_seconds", [0.03])
@pytest.mark.soak
def test_a_promotion_that_is_killed_in_any_state_is_completed(stack, registry):
    records = [record(number, row=number) for number in range(IMAGES)]
    assert len(list(stack.stub.ImportImages(iter(records), timeout=60))) == IMAGES
    kills = {
        "before the first image": lambda promotion: True,
        "embedding": lambda promotion: 0 < promotion.images_done < IMAGES,
        "comparing": lambda promotion: promotion.state == State.COMPARING,
        "switching": lambda promotion: promotion.state == State.SWITCHING,
    }
    killed = set()
    goal, other = NEW, OLD
    for what, reached in kills.items():
        models(stack).PromoteModelVersion(
            models_pb2.PromoteModelVersionRequest(name=goal), timeout=60
        )
        stop = time.monotonic() + 60
        while time.monotonic() < stop:
            promotion = models(stack).GetPromotion(models_pb2.GetPromotionRequest(), timeout=60)
            if reached(promotion) or is_over(promotion):
                break
        if not is_over(promotion):
            killed.add(what)
        stack.search.end()
        stack.search.start()
        stack.wait()
        # Whichever answers, it answers; and the promotion goes on by itself.
        found = search(stack)
        assert found.hits[0].image.name == name(7)
        assert found.model_version in {goal, other}
        ended = watched(stack, until=is_over)
        assert (ended.state, ended.model_version) == (State.SUCCEEDED, goal), what
        assert search(stack).model_version == goal
        pointer = registry.pointer()
        assert (pointer.active, pointer.previous) == (goal, other)
        assert stack.total() == IMAGES
        goal, other = other, goal
    assert {"before the first image", "embedding"} <= killed


@pytest.mark.soak
def test_searches_go_on_and_the_command_line_shows_it(stack, registry):
    images = 40
    records = [record(number, row=number) for number in range(images)]
    list(stack.stub.ImportImages(iter(records), timeout=60))
    stopping = threading.Event()
    versions, failures = set(), []

    def searching():
        while not stopping.is_set():
            try:
                versions.add(search(stack).model_version)
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=searching) for _ in range(2)]
    for thread in threads:
        thread.start()

    def command(*words, code=0):
        arguments = ["models", "--server", stack.address, *words]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, (words, result.output)
        return result.output

    try:
        assert f"{NEW} is active; before it: {OLD}." in command("promote", NEW)
        assert json.loads(command("list", "--json"))[1]["images"] == images
        assert "active already" in command("promote", NEW, code=1)
        rolled = json.loads(command("rollback", "--json").partition("\n{")[2].join(("{", "")))
        assert (rolled["state"], rolled["roll_back"]) == ("succeeded", True)
        assert rolled["comparison"]["top10_agreement"] == 1.0
        assert f"{OLD} is active" in command("promotion")
        assert json.loads(command("show", NEW))["spec"]["dimension"] == DIMENSION
        command("delete", NEW, "--yes")
        assert [version.id for version in registry.list()] == [OLD]
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert versions == {OLD, NEW}
