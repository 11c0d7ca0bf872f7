"""The loop: what it learns, publishes, keeps and continues."""

import json
import shutil

import pytest
import torch

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.checkpoint import CHECKPOINT
from halftone.services.trainer.loop.config import TrainingConfig, parse
from halftone.services.trainer.loop.initialise import likely_copies
from halftone.services.trainer.loop.train import main, train
from halftone.vision.model import Model
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def settings(collection, tmp_path):
    def make(**changes) -> TrainingConfig:
        values = {
            "data": (collection,),
            "work": tmp_path / "work",
            "models": tmp_path / "models",
            "name": "tiny",
            "steps": 6,
            "batch": 8,
            "size": 32,
            "stages": 1,
            "grid": 2,
            "thumbnail": 4,
            "dimension": 12,
            "background": 4,
            "validation": 8,
            "warmup": 2,
            "report_seconds": 0.0,
        }
        return TrainingConfig(**(values | changes))

    return make


def quiet(_line: str) -> None:
    """Discard progress lines."""


def stop_after(calls: int):
    """A stop function that says so once it was asked `calls` times."""
    asked = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) >= calls

    return stop


def weights(version) -> dict[str, torch.Tensor]:
    return Model.load(version.directory).network.state_dict()


def test_an_interrupted_run_ends_with_the_same_bits(settings, tmp_path):
    whole = train(settings(work=tmp_path / "whole"), log=quiet)
    for _ in range(2):  # interrupted twice, in the first and in the second epoch
        stopped = train(settings(work=tmp_path / "parts"), log=quiet, stop=stop_after(2))
        assert stopped is None
    resumed = train(settings(work=tmp_path / "parts"), log=quiet)

    first = torch.load(tmp_path / "whole" / CHECKPOINT, weights_only=True)
    second = torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)
    for part in ("network", "averaged", "objective"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), (part, name)
    assert first["step"] == second["step"] == 6
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


@pytest.mark.soak
def test_an_efficientnet_is_refined_above_the_stages_that_keep_still(settings, tmp_path):
    """From the weights of a file, and through an interruption."""
    network = DescriptorNetwork(NetworkSpec(backbone="efficientnet_lite0", dimension=8))
    torch.save(network.state_dict(), tmp_path / "lite.pth")
    before = network.state_dict()
    lite = {
        "init": "imagenet",
        "weights": tmp_path / "lite.pth",
        "backbone": "efficientnet_lite0",
        "stages": 3,
        "pooled_stages": (2, 3),
        "grids": (2, 1),
        "frozen_stages": 2,
        "freeze_epochs": 0.0,
        "norms": "keep",
        "part": 0.5,
        "composite": 0.5,
        "koleo": 1.0,
        "steps": 3,
    }

    version = train(settings(work=tmp_path / "whole", **lite), log=quiet)
    assert train(settings(work=tmp_path / "parts", **lite), log=quiet, stop=stop_after(2)) is None
    resumed = train(settings(work=tmp_path / "parts", **lite), log=quiet)

    first, second = (
        torch.load(tmp_path / work / CHECKPOINT, weights_only=True)["network"]
        for work in ("whole", "parts")
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    before["stem.0.weight"] = before["stem.0.weight"].sum(dim=1, keepdim=True)
    changed = {
        name.partition(".conv")[0].rpartition(".")[0]
        for name, tensor in first.items()
        if name in before and ".conv" in name and not torch.equal(tensor, before[name])
    }
    assert changed == {"stages.2"}
    assert torch.equal(first["stem.0.weight"], before["stem.0.weight"])
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in first.items() if "running_" in name
    )
    spec = resumed.spec()
    assert spec["initial_weights"]["name"] == "lite.pth"
    assert spec["initial_weights"]["licence"] == "not stated"
    assert spec["network"]["contrast"] == "grey"
    assert resumed.metrics()["cosine_without_torch"] > 0.9999
    # A version that is trained further still says where its weights began.
    child = train(
        settings(work=tmp_path / "child", init=version.id, steps=1, name="child"), log=quiet
    )
    assert child.spec()["parents"] == [version.id]
    assert child.spec()["initial_weights"] == spec["initial_weights"]


def test_training_changes_the_network_and_lowers_the_loss(settings):
    config = settings(steps=40, learning_rate=3e-3, head_learning_rate=3e-3)

    version = train(config, log=quiet)

    history = version.metrics()["history"]
    losses = [entry["loss"] for entry in history]
    assert len(losses) == 40
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_publishes_a_version_that_says_how_it_came_about(settings, collection):
    config = settings(
        evaluate_on=collection, command="python -m halftone.services.trainer.loop.train …"
    )
    lines = []

    version = train(config, log=lines.append)

    assert version.id == "tiny/1"
    Registry(config.models).verify(version)
    spec = version.spec()
    assert spec["dimension"] == 12
    assert spec["training"]["command"] == config.command
    assert spec["training"]["data"][0]["images"] == 40
    assert spec["training"]["data"][0]["rights"] == ["Public domain"]
    assert spec["training"]["configuration"]["seed"] == 0
    found = version.metrics()[collection.name]["metrics"]
    assert (found["queries"], found["pairs"]) == (2, 1)
    assert (
        f"32 pictures of {collection.name} are trained on: figures on it will be too good" in lines
    )
    turned = version.metrics()[collection.name]["variants"]["query turned four ways"]
    assert turned["queries"] == 2
    page = (version.directory / "report" / "index.html").read_text()
    pictures = list((version.directory / "report").glob("*.png"))
    assert len(pictures) > 2
    assert all(f'src="{picture.name}"' in page for picture in pictures)
    assert Model.load(version.directory).check_golden(version.directory) > 0.999


def test_a_manifest_of_a_spreadsheet_is_published_with_its_rights(settings, collection, tmp_path):
    """As Windows saves it; what is read at the start is not read otherwise at the end."""
    folder = shutil.copytree(collection, tmp_path / "windows")
    text = (folder / "manifest.csv").read_text().replace("Public domain", "Öffentlich")
    (folder / "manifest.csv").write_bytes(text.replace(",", ";").encode("cp1252"))

    version = train(settings(data=(folder,), steps=1), log=quiet)

    assert version.spec()["training"]["data"] == [
        {"name": "windows", "images": 40, "rights": ["Öffentlich"]}
    ]


def test_manifests_do_not_lead_out_of_the_roots(settings, collection, tmp_path):
    folder = shutil.copytree(collection, tmp_path / "sets" / "press")
    manifest = folder / "manifest.csv"
    secret = shutil.copy(collection / "2.png", tmp_path / "secret.png")
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to(secret)
    manifest.write_text(
        f"{manifest.read_text()}p98,../../secret.png,J,1900,\np99,{secret},J,1900,\n"
    )
    config = settings(data=(folder,), roots=(tmp_path / "sets",), steps=1)
    lines = []
    version = train(config, log=lines.append)
    assert version.spec()["training"]["data"][0]["images"] == 39
    assert sum("not below the data roots" in line for line in lines) == 3

    with pytest.raises(errors.InvalidArgument, match=r"2\.png is not below the data roots"):
        train(settings(evaluate_on=folder, roots=config.roots), log=quiet)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "takes a manifest"),
        ({"manifest.csv": "image_id,file,journal\n"}, "takes a manifest"),
        (
            {"manifest.csv": "image_id,file,journal\n", "groups.json": "[]"},
            "no picture has a match in another publication",
        ),
        (
            {"manifest.csv": "image_id,file,journal\na,groups.json,J\n", "groups.json": "[]"},
            "no picture has a match",
        ),
        (
            {"manifest.csv": "image_id,file,journal\na,a.png,J\n", "groups.json": "[]"},
            "a.png is not there",
        ),
        (
            {
                "manifest.csv": "image_id,file,journal\na,groups.json,J\na,groups.json,J\n",
                "groups.json": "[]",
            },
            "a is listed twice",
        ),
    ],
)
def test_an_archive_that_cannot_judge_is_refused_before_the_run(settings, tmp_path, files, message):
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(errors.InvalidArgument, match=message) as caught:
        train(settings(evaluate_on=folder), log=quiet)
    assert caught.value.field == "evaluate_on"
    assert not (tmp_path / "work" / CHECKPOINT).exists()


def test_a_small_collection_gets_fewer_background_centres(settings):
    version = train(settings(background=2048, steps=1), log=quiet)

    assert version.spec()["network"]["background"] == 10  # of 32 pictures


def test_repeating_a_finished_run_only_publishes_again(settings):
    lines = []
    train(settings(), log=quiet)

    again = train(settings(), log=lines.append)

    assert again.id == "tiny/2"
    assert not [line for line in lines if line.startswith("step ")]
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            weights(again).values(),
            weights(Registry(settings().models).resolve("tiny/1")).values(),
            strict=True,
        )
    )


def test_a_time_limit_ends_the_run(settings):
    version = train(settings(steps=0, time_limit=0.01), log=quiet)

    entry = version.metrics()["history"][-1]
    assert 0.6 <= entry["elapsed"] < 60


def test_progress_lines_tell_speed_loss_and_time_left(settings):
    lines = []

    train(settings(steps=2), log=lines.append)

    steps = [line for line in lines if line.startswith("step ")]
    assert len(steps) == 2
    assert "loss " in steps[0]
    assert "images/s" in steps[0]
    assert steps[1].split("left")[0].endswith("0:00:00 ")
    assert "copy_recall_at_1" in steps[1]


def test_another_runs_checkpoint_is_refused(settings):
    train(settings(), log=quiet, stop=stop_after(1))

    with pytest.raises(errors.FailedPrecondition, match="other settings"):
        train(settings(batch=4), log=quiet)


def test_a_collection_smaller_than_the_batch_is_refused(settings):
    with pytest.raises(errors.InvalidArgument, match="batch of 64"):
        train(settings(batch=64), log=quiet)


def test_the_other_precision_trains_too(settings):
    assert train(settings(precision="bf16", steps=2), log=quiet) is not None


def test_likely_copies_are_pairs_both_ways_round_and_never_a_picture_with_itself():
    rows = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [1.0, 0.0]]), dim=1
    )

    pairs = likely_copies(rows, above=0.9).tolist()

    assert sorted(pairs) == [[0, 1], [0, 3], [1, 0], [1, 3], [3, 0], [3, 1]]


def test_the_command_line_is_generated_from_the_settings():
    config = parse(
        ["--data", "a", "b", "--steps", "5", "--pooled-stages", "2", "3", "--backbone", "resnet50"]
    )

    assert [str(path) for path in config.data] == ["a", "b"]
    assert config.pooled_stages == (2, 3)
    assert config.version is None
    assert config.network.backbone == "resnet50"
    assert json.loads(json.dumps(config.to_dict()))["steps"] == 5


@pytest.mark.parametrize("stages", [1, 4])
def test_the_last_stage_is_pooled_unless_others_are_named(stages):
    config = parse(["--data", "a", "--steps", "5", "--stages", str(stages)])

    assert config.network.pooled_stages == (stages,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "5"], "data set"),
        (["--data", "a"], "steps or time_limit"),
        (["--data", "a", "--steps", "1", "--batch", "8", "--accumulate", "3"], "3 parts"),
        (["--data", "a", "--steps", "1", "--stages", "2", "--pooled-stages", "4"], "pooled_stages"),
        (["--data", "a", "--steps", "1", "--size", "4"], "size"),
    ],
)
def test_bad_settings_are_explained(arguments, message):
    with pytest.raises(errors.InvalidArgument, match=message):
        parse(arguments)


def test_an_unknown_option_is_explained(capsys):
    with pytest.raises(SystemExit) as exit_info:
        parse(["--data", "a", "--steps", "1", "--backbone", "vgg"])

    assert exit_info.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_only_settings_that_shape_the_weights_tie_a_checkpoint(settings, tmp_path):
    assert settings(threads=3, work=tmp_path).identity() == settings().identity()
    assert settings(seed=1).identity() != settings().identity()


def test_the_command_reports_bad_data_without_a_trace(tmp_path, collection, capsys):
    status = main(
        ["--data", str(collection), "--steps", "1", "--batch", "999", "--work", str(tmp_path)]
    )

    assert status == 2
    assert "batch of 999" in capsys.readouterr().err


def test_at_most_a_fifth_is_held_out(settings):
    config = settings(validation=400, steps=1)
    version = train(config, log=quiet)
    splits = list(json.loads((config.work / "splits.json").read_text())["images"].values())
    assert version is not None
    assert (splits.count("validation"), splits.count("train")) == (8, 32)


def test_too_few_pictures_are_refused_with_what_became_of_them_and_what_helps(settings):
    with pytest.raises(errors.InvalidArgument) as raised:
        train(settings(batch=64, dimension=34, validation=400), log=quiet)
    assert raised.value.message == (
        "A batch of 64 and 34 dimensions need at least 64 pictures to train on; there are 32. "
        "40 different ones were read, 0 could not be read, 8 were held out. "
        "Give more pictures, or lower batch to at most 32 and dimension to at most 31."
    )
    with pytest.raises(errors.InvalidArgument, match="or hold out fewer with validation"):
        train(settings(dimension=36), log=quiet)
