"""Runs with labels: what they learn, what they hold out, how they go on."""

import json

import pytest
import torch

from halftone.core import errors
from halftone.evaluation.evaluate import evaluate
from halftone.evaluation.tracking import Tracker
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.checkpoint import CHECKPOINT, read_checkpoint
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.events import Events
from halftone.services.trainer.loop.initialise import begin, shrink
from halftone.services.trainer.loop.plan import read_plan
from halftone.services.trainer.loop.progress import Meter
from halftone.services.trainer.loop.state import Run
from halftone.services.trainer.loop.train import take_steps, train
from halftone.vision.model import Model
from tests.support.trainer.tiny_training import TINY

LABELLED = TINY | {
    "validation_share": 0.2,
    "test_share": 0.2,
    "batch": 16,
    "warmup": 2,
}


@pytest.fixture
def settings(scenes, tmp_path):
    def make(**changes) -> TrainingConfig:
        values = LABELLED | {
            "data": (scenes,),
            "work": tmp_path / "work",
            "models": tmp_path / "models",
            "name": "labelled",
            "objective": "metric",
            "epochs": 2.0,
        }
        return TrainingConfig(**(values | changes))

    return make


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(_line: str) -> None:
    """Discard progress lines."""


def stop_after(calls: int):
    asked = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) >= calls

    return stop


def learn(config: TrainingConfig, *, stop=lambda: False) -> Run | None:
    """A run up to its end, without fitting, evaluating and publishing; None if it was stopped."""
    config.work.mkdir(exist_ok=True)
    state, start = read_checkpoint(config), begin(config)
    plan = read_plan(config, start=start, resumes=state is not None)
    run = Run(plan, start=start, device=torch.device("cpu"), state=state)
    tracker = Tracker(uri="", experiment="", name="", params={})
    meter = Meter(run, log=quiet, events=Events(), tracker=tracker)
    return run if take_steps(run, meter=meter, stop=stop) else None


def found(run: Run) -> float:
    """The average precision of the training groups."""
    clean = shrink(run.plan.training.pixels, size=run.size)
    rows = run.collect(lambda part: run.start.embed(run.averaged_network(), part), clean)
    return evaluate(rows, truth=run.plan.training.truth, resamples=0)["micro_ap"]


def same(first, second) -> bool:
    """Whether two checkpoints hold the same bits, apart from clocks."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        clocks = {"elapsed", "images_per_second", "waiting", "settings"}
        return first.keys() == second.keys() and all(
            same(first[key], second[key]) for key in first if key not in clocks
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize(
    "objective",
    [
        "metric",
        pytest.param("classification", marks=pytest.mark.soak),
        pytest.param("self_supervised", marks=pytest.mark.soak),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(settings, trained, tmp_path, objective):
    """Frozen, thawed, validated, averaged and stopped early on the way."""
    shared = {
        "objective": objective,
        "models": trained,
        "init": "parent/1",
        "freeze_epochs": 0.5,
        "patience": 3,
        "epochs": 0.0,
        "steps": 7,
        "accumulate": 2,
        "koleo": 0.1,
    }
    learn(settings(**shared, work=tmp_path / "whole"))
    part = settings(**shared, work=tmp_path / "parts")
    stopped = 0
    while learn(part, stop=stop_after(2)) is None:
        stopped += 1

    assert stopped >= 2
    whole, resumed = (
        torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts")
    )
    assert whole["step"] >= 4
    assert whole["best"]["weights"] is not None
    assert same(whole, resumed)


@pytest.mark.parametrize(
    "changes",
    [
        {"metric_loss": "multi_similarity"},
        {"metric_loss": "supervised_contrastive"},
        {"objective": "classification"},
        {"objective": "classification", "balance": "sampling"},
    ],
    ids=["multi similarity", "contrastive", "classification", "balanced classification"],
)
def test_it_learns_from_random_weights(settings, changes):
    rates = {"learning_rate": 3e-3, "head_learning_rate": 3e-3, "average": 0.9}
    config = settings(epochs=0.0, steps=30, thumbnail=0, validate_epochs=9.0, **rates, **changes)

    run = learn(config)

    losses = [entry["loss"] for entry in run.history if "loss" in entry]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    # From where it began, with the same printed pictures: groups are found better.
    before = begin(config)
    initial = Run(run.plan, start=before, device=torch.device("cpu"))
    assert found(run) > found(initial) + 0.02


def test_a_version_tells_its_data_its_splits_and_its_parent(settings, trained, collection):
    config = settings(models=trained, init="parent/1", evaluate_on=collection)
    version = train(config, log=quiet)

    spec, metrics = version.spec(), version.metrics()
    assert spec["parents"] == ["parent/1"]
    assert spec["training"]["objective"] == "metric"
    assert spec["network"] == Registry(trained).resolve("parent/1").spec()["network"]
    facts = spec["training"]["splits"]
    assert len(facts["sha256"]) == 64
    assert facts["train"]["groups"] + facts["test"]["groups"] < 16
    # Thresholds are from the validation split, figures from the test split, the parent's beside.
    assert metrics["test"]["threshold"] <= metrics["validation"]["best_f1_threshold"]
    assert metrics["test"]["queries"] == 3 * facts["test"]["groups"]
    archive = metrics[collection.name]["metrics"]
    assert archive["threshold"] == metrics["test"]["threshold"]
    assert {"precision", "recall", "f1"} <= archive.keys() & archive["intervals"].keys()
    assert metrics["parent"]["version"] == "parent/1"
    assert metrics["parent"]["test"]["queries"] == metrics["test"]["queries"]
    assert Model.load(version.directory).check_golden(version.directory) > 0.999
    assert (version.directory / "report" / "index.html").exists()


def test_a_run_that_does_not_improve_publishes_its_parents_weights(settings, trained):
    """A rate of nearly nothing and a validation that cannot rise: step 0 stays the best."""
    config = settings(
        models=trained,
        init="parent/1",
        learning_rate=1e-12,
        head_learning_rate=1e-12,
        weight_decay=0.0,
        freeze_epochs=100.0,
        patience=2,
        epochs=0.0,
        steps=50,
    )

    said: list[str] = []
    version = train(config, log=said.append)

    parent = Model.load(Registry(trained).resolve("parent/1").directory).network
    assert version.spec()["training"]["published_step"] == 0
    assert said[-1].startswith("No step was better")
    assert version.spec()["training"]["steps"] < 50
    ours = Model.load(version.directory).network.state_dict()
    for name, tensor in parent.state_dict().items():
        assert name.startswith(("whitening", "background")) or torch.equal(tensor, ours[name]), name


def test_the_backbone_keeps_still_until_it_is_thawed(settings, trained):
    """Weights and batch norm's statistics; afterwards they move, the first layers least."""
    parent = Model.load(Registry(trained).resolve("parent/1").directory).network.state_dict()
    shared = {"models": trained, "init": "parent/1", "epochs": 2.0, "work": settings().work}

    def moved(freeze_epochs: float) -> dict[str, float]:
        config = settings(**shared, freeze_epochs=freeze_epochs)
        learn(config)
        found = torch.load(config.work / CHECKPOINT, weights_only=True)["network"]
        (config.work / CHECKPOINT).unlink()
        return {
            name: float((tensor.float() - parent[name].float()).abs().max())
            for name, tensor in found.items()
        }

    frozen, thawed = moved(9.0), moved(0.0)

    still = [name for name in frozen if name.startswith(("stem", "stages"))]
    assert all(frozen[name] == 0 for name in still)
    assert frozen["projection.weight"] > 0
    assert all(thawed[name] > 0 for name in still if name.endswith("weight"))
    assert thawed["stem.1.running_mean"] > 0
    assert thawed["stages.0.0.bn1.weight"] > thawed["stem.1.weight"]


def test_splits_are_written_and_reused(settings, tmp_path):
    learn(settings(epochs=0.0, steps=1))
    first = json.loads((tmp_path / "work" / "splits.json").read_text())
    again = settings(
        epochs=0.0, steps=1, seed=9, work=tmp_path / "other", splits=tmp_path / "work/splits.json"
    )

    learn(again)

    assert first["images"] == json.loads((tmp_path / "other/splits.json").read_text())["images"]
    assert set(first["images"].values()) == {"train", "validation", "test"}
    by_scene = {}
    for image_id, split in first["images"].items():
        if "-" in image_id:
            by_scene.setdefault(image_id.split("-")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in by_scene.values())


def test_classification_is_measured_on_pictures_it_did_not_see(settings):
    version = train(settings(objective="classification"), log=quiet)

    found = version.metrics()["classification"]
    facts = version.spec()["training"]["splits"]
    assert found["on"] == "pictures left out"
    assert found["images"] == found["classes"] == facts["train"]["groups"]
    assert facts["train"]["images"] == 2 * facts["train"]["groups"]  # of three, one is left out


def test_weights_of_imagenet_are_taken_from_a_file(settings, tmp_path):
    import torchvision  # noqa: PLC0415  # slow to import

    weights = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    config = settings(init="imagenet", weights=tmp_path / "resnet18.pth", epochs=0.0, steps=1)

    run = learn(config)

    assert run.start.parents == ("resnet18.pth",)
    assert run.network.spec.contrast == "imagenet"
    assert torch.equal(run.network.state_dict()["stem.0.weight"], weights["conv1.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_column": "nothing"}, "0 groups"),
        ({"validation_share": 0.02}, "validation"),
        ({"learning_rate": 1e30, "head_learning_rate": 1e30, "clip": 1e30}, "loss is"),
    ],
)
def test_what_cannot_be_trained_is_explained(settings, changes, message):
    with pytest.raises((errors.InvalidArgument, errors.FailedPrecondition), match=message):
        learn(settings(**changes))


def test_changed_data_ends_a_run_that_would_go_on(settings, scenes, tmp_path):
    lines = (scenes / "manifest.csv").read_text().splitlines()
    manifest = scenes / "part.csv"
    manifest.write_text("\n".join(lines))
    config = settings(data=(manifest,))
    learn(config, stop=stop_after(2))
    manifest.write_text("\n".join(lines[:-3]))

    with pytest.raises(errors.FailedPrecondition, match="data changed"):
        learn(config)
