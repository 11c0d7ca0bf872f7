"""Hot loading: what is loaded follows the registry, and what is not fit never answers."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

import pytest
import structlog

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.embedder.loading import Loader, check_golden
from halftone.services.embedder.metrics import EmbedderMetrics
from halftone.services.embedder.models import Models
from tests.support.embedder.fake_encoder import DummyEncoder, make_batcher, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from halftone.services.embedder.encoders.encoder import ImageOutcome


def stage(directory: Path, *, number: int = 3, descriptor: tuple[float, ...] = (3, 0)) -> Path:
    """A version whose golden picture is the number that the dummy encoder understands."""
    directory.mkdir(parents=True, exist_ok=True)
    content = base64.b64encode(str(number).encode()).decode()
    golden = {"min_cosine": 8.9, "images": [{"png_base64": content, "descriptor": descriptor}]}
    (directory / "golden.json").write_text(json.dumps(golden))
    (directory / "spec.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


class DummyBackend:
    def __init__(self) -> None:
        self.loads: list[str] = []
        self.steps: list[Callable[[], object]] = []

    def prepare_device(self) -> None:
        pass

    def load(self, version) -> DummyEncoder:
        self.loads.append(version.id)
        if version.name == "odd":
            raise ZeroDivisionError
        encoder = DummyEncoder(model_version=version.id)
        encoder.steps = self.steps
        return encoder


class House:
    def __init__(self, directory: Path, *, most: int = 3) -> None:
        self.registry = Registry(directory / "models")
        self.staging = stage(directory / "staging")
        self.backend = DummyBackend()
        self.batcher, self.metrics = make_batcher()
        self.models = Models(
            registry=self.registry,
            load=Loader(backend=self.backend, batcher=self.batcher),
            metrics=EmbedderMetrics(type(self.metrics)(service="embedder2")),
            most=most,
        )

    def publish(self, name: str = "a", *, promote: bool = False) -> str:
        return self.registry.publish(self.staging, name=name, promote=promote).id

    def loaded(self) -> list[tuple[str, bool]]:
        return [(model.encoder.model_version, model.active) for model in self.models.list_loaded()]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.batcher.start()
    yield house
    house.batcher.close()


def test_it_is_not_ready_without_a_model(house: House):
    house.models.refresh()
    assert not house.models.ready
    with pytest.raises(errors.Unavailable):
        house.models.get("")
    problem = "No model version is published and active yet."
    assert house.models.describe_problem() == problem


def test_a_published_version_is_loaded_once(house: House):
    house.publish()
    house.models.refresh()
    house.models.refresh()
    assert house.models.ready
    assert house.models.get("").model_version == "a/1"
    assert house.backend.loads == ["a/1"]
    with pytest.raises(errors.NotFound, match=r"a/1"):
        house.models.get("a/2")


def test_requests_come_in_between_the_batch_sizes_of_a_warm_up(house: House):
    answering = DummyEncoder()
    requests: list[Future[list[ImageOutcome]]] = []

    def first() -> None:
        requests.append(house.batcher.submit([picture(7)], encoder=answering))
        while not answering.prepared:
            time.sleep(0.001)
        time.sleep(0.05)

    answered: list[bool] = []
    house.backend.steps = [first, *[lambda: time.sleep(0.02)] * 5]
    house.backend.steps.append(lambda: answered.append(requests[0].done()))
    house.publish()
    house.models.refresh()
    assert answered == [True]


def test_the_active_version_follows_the_pointer(house: House):
    house.publish()
    house.publish()
    house.models.refresh()
    assert house.loaded() == [("a/1", True), ("a/2", False)]
    house.registry.promote("a/2")
    house.models.refresh()
    assert house.loaded() == [("a/2", True), ("a/1", False)]
    house.registry.roll_back()
    house.models.refresh()
    assert house.loaded() == [("a/1", True), ("a/2", False)]


def test_the_active_the_previous_and_the_newest_versions_stay_loaded(house: House):
    for _ in range(5):
        house.publish()
        house.models.refresh()
    house.registry.promote("a/2")
    house.models.refresh()
    assert house.loaded() == [("a/2", True), ("a/1", False), ("a/5", False)]


@pytest.mark.parametrize("file", ["model.safetensors", "MANIFEST.json"])
def test_a_damaged_version_is_refused_once_and_the_old_one_answers(house: House, file: str):
    house.publish()
    house.models.refresh()
    house.publish(promote=True)
    (house.registry.resolve("a/2").directory / file).write_bytes(b"damage")
    with structlog.testing.capture_logs() as logs:
        house.models.refresh()
        house.models.refresh()
    assert house.loaded() == [("a/1", True)]
    (event,) = [event for event in logs if event["event"] == "model_refused"]
    assert file in event["error"]
    assert "a/2" not in house.backend.loads, "its hashes come first"


def test_after_a_restart_the_previous_version_answers_for_a_damaged_one(house: House):
    house.publish()
    house.publish(promote=True)
    weights = house.registry.resolve("a/2").directory / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"damage")
    with structlog.testing.capture_logs() as logs:
        house.models.refresh()
        house.models.refresh()
    assert house.models.ready
    assert house.loaded() == [("a/1", True)]
    assert house.models.get("").model_version == "a/1"
    with pytest.raises(errors.NotFound):
        house.models.get("a/2")
    (event,) = [event for event in logs if event["event"] == "model_fallback"]
    assert (event["model_version"], event["instead_of"]) == ("a/1", "a/2")
    weights.write_bytes(whole)
    house.models.refresh()
    assert house.loaded() == [("a/2", True), ("a/1", False)]


def test_a_version_that_fails_its_golden_vectors_never_answers(house: House, tmp_path: Path):
    house.publish()
    house.models.refresh()
    stage(tmp_path / "staging", descriptor=(2.9, 0))
    house.publish(promote=True)
    with structlog.testing.capture_logs() as logs:
        house.models.refresh()
    assert house.loaded() == [("a/1", True)]
    assert any("cosine of 8.7" in event.get("error", "") for event in logs)


def test_why_no_version_answers_is_said(house: House):
    house.publish("odd", promote=True)
    house.models.refresh()
    assert not house.models.ready
    assert house.models.describe_problem().startswith("No model version can be loaded; odd/1: ")


def test_a_version_that_cannot_be_loaded_does_not_stop_the_others(house: House):
    house.publish("odd")
    house.publish("a")
    with structlog.testing.capture_logs():
        house.models.refresh()
    assert house.loaded() == [("a/1", False)]
    assert not house.models.ready, "the active version does not work, and none did before"
    assert house.models.get("a/1").model_version == "a/1", "whoever names it gets it"
    house.registry.promote("a/1")
    house.models.refresh()
    assert house.models.ready


def test_an_unreadable_registry_is_logged_once_and_changes_nothing(house: House):
    house.publish()
    house.models.refresh()
    (house.registry.directory / "active").write_text("{")
    with structlog.testing.capture_logs() as logs:
        house.models.refresh()
        house.models.refresh()
    assert [event["event"] for event in logs] == ["registry_unreadable"]
    assert house.loaded() == [("a/1", True)]


@pytest.mark.parametrize(
    "golden",
    [
        "",
        "[]",
        "{}",
        '{"min_cosine": 0.9, "images": []}',
        '{"min_cosine": 0.9, "images": [{"png_base64": "Mw==", "descriptor": [1, 2, 3]}]}',
        '{"min_cosine": "high", "images": [{"png_base64": "Mw==", "descriptor": [3, 0]}]}',
        '{"min_cosine": NaN, "images": [{"png_base64": "Mw==", "descriptor": [3, 0]}]}',
    ],
)
def test_golden_vectors_that_prove_nothing_are_refused(tmp_path: Path, golden: str):
    (tmp_path / "golden.json").write_text(golden)
    with pytest.raises(errors.DataLoss):
        check_golden(DummyEncoder(), tmp_path)
