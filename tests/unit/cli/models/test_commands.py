"""`halftone models …` against a directory."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image

from halftone.cli import app
from halftone.cli.models.context import find_service
from halftone.core.settings import ClientSettings
from halftone.registry.manifest import MANIFEST
from halftone.registry.starter import find_starter
from halftone.registry.versions import Registry
from halftone.stack.data_directory import prepare_models
from tests.support.client.fake_search import FakeSearch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    staging = tmp_path / "staging"
    staging.mkdir()
    network = {"network": {"backbone": "resnet18"}, "preprocessing": {"size": 128}, "dimension": 8}
    (staging / "spec.json").write_text(json.dumps(network))
    (staging / "model.safetensors").write_bytes(b"weights")
    (staging / "golden.json").write_text("{}")
    (staging / "metrics.json").write_text('{"recall_at_1": 0.9}')
    registry = Registry(tmp_path / "models")
    registry.publish(staging, name="a")
    registry.publish(staging, name="a")
    return registry.directory


def run(directory: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app.main, ["models", "--directory", str(directory), *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_list_and_show(directory: Path):
    listing = run(directory, "list")
    assert "a/1" in listing
    assert listing.count("active") == 2, "the column and one version"
    rows = json.loads(run(directory, "list", "--json"))
    assert [(row["name"], row["active"]) for row in rows] == [("a/1", True), ("a/2", False)]
    facts = json.loads(run(directory, "show", "a"))
    assert (facts["name"], facts["metrics"]) == ("a/2", {"recall_at_1": 0.9})
    assert "No model versions" in run(directory / "none", "list")
    assert "no model version 'b'" in run(directory, "show", "b", code=1)


def test_a_broken_version_hides_no_other_and_can_be_deleted(directory: Path):
    (directory / "a" / "2" / "spec.json").write_text("{")
    listing = run(directory, "list").splitlines()
    assert "damaged" in listing[2]
    assert "damaged" not in listing[1]
    rows = json.loads(run(directory, "list", "--json"))
    assert [(row["name"], row["damaged"]) for row in rows] == [("a/1", False), ("a/2", True)]
    assert "a/2 is deleted" in run(directory, "delete", "a/2", "--yes")


def test_promote_roll_back_and_delete(directory: Path):
    assert "a/2 is active; before it: a/1" in run(directory, "promote", "a/2")
    assert "active" in run(directory, "delete", "a/2", "--yes", code=1)
    assert "a/1 is active again, instead of a/2." in run(directory, "rollback")
    run(directory, "delete", "a/2", "--yes")
    assert [version.id for version in Registry(directory).list()] == ["a/1"]
    assert "No model version was active" in run(directory, "rollback", code=1)


def test_delete_asks_at_a_terminal_and_refuses_elsewhere(directory: Path):
    refused = run(directory, "delete", "a/2", code=2)
    assert "There is no terminal to ask at" in refused
    assert "--yes" in refused
    assert [version.id for version in Registry(directory).list()] == ["a/1", "a/2"]


def test_without_a_service_only_the_pointer_moves_and_that_is_said(directory: Path):
    assert "Only the pointer in" in run(directory, "promote", "a/2")
    assert json.loads(run(directory, "rollback", "--json").partition("}")[0] + "}") == {
        "active": "a/1",
        "previous": None,
        "before": [],
    }
    assert "none runs here" in run(directory, "promote", "a/2", "--force", code=2)
    assert "halftone up" in run(directory, "promotion", code=1)


def test_verify_names_the_damaged_file(directory: Path):
    assert run(directory, "verify").splitlines() == ["a/1 is whole.", "a/2 is whole."]
    (directory / "a" / "2" / "golden.json").write_text("[]")
    assert "golden.json differs" in run(directory, "verify", "a/2", code=1)
    assert run(directory, "verify", "a/1").splitlines() == ["a/1 is whole."]


def test_verify_says_where_there_is_nothing(tmp_path: Path):
    said = run(tmp_path / "none", "verify")
    assert said.startswith(f"No model versions in {tmp_path / 'none'} yet: `halftone up` puts")


@pytest.mark.parametrize(
    "words",
    [
        ("show", "starter/1"),
        ("verify", "starter/1"),
        ("delete", "x/1", "--yes"),
        ("promote", "x/1"),
    ],
)
def test_where_there_is_no_version_yet_it_is_said_what_to_do(tmp_path: Path, words):
    said = run(tmp_path / "none", *words, code=1)
    assert f"There is no model version {words[1]!r}." in said
    assert f"`halftone models install --directory {tmp_path / 'none'}`" in said


def test_verify_goes_on_after_a_damaged_version(directory: Path):
    (directory / "a" / "1" / "golden.json").write_text("[]")
    (directory / "a" / "2" / "spec.json").unlink()
    Registry(directory).publish(directory.parent / "staging", name="b")
    assert run(directory, "verify", code=1).splitlines() == [
        "Model version a/1: golden.json differs from its manifest.",
        "Model version a/2: spec.json is missing.",
        "b/1 is whole.",
    ]


def test_install(directory: Path, tmp_path: Path):
    other = tmp_path / "other"
    assert "a/2 is published" in run(other, "install", str(directory / "a" / "2"), "--promote")
    assert Registry(other).active.id == "a/2"
    (other / "a" / "2" / "golden.json").write_text("[]")
    again = run(other, "install", str(directory / "a" / "2"))
    assert "golden.json differs" in again
    assert "repaired" in again
    assert run(other, "verify") == "a/2 is whole.\n"


def test_installing_a_directory_of_versions_never_stands_in_the_way(
    directory: Path, tmp_path: Path
):
    """As the stack's containers do at each start, also after the image brought other weights."""
    other = tmp_path / "other"
    for _ in range(2):
        assert "a/2 is published" in run(other, "install", str(directory / "a"))
    assert [version.id for version in Registry(other).list()] == ["a/2"]

    shutil.copytree(tmp_path / "staging", tmp_path / "changed")
    (tmp_path / "changed" / "model.safetensors").write_bytes(b"other weights")
    changed = Registry(tmp_path / "x").publish(tmp_path / "changed", name="a", version=2).directory
    assert "with other files" in run(other, "install", str(changed), code=1)
    assert "with other files" in run(other, "install", str(changed.parent))
    assert "with other files" in run(other, "install", str(changed.parent), "--promote", code=1)
    assert (other / "a" / "2" / "model.safetensors").read_bytes() == b"weights"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(10):
        blocks = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8))
        blocks.resize((60, 50), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_importing_weights_publishes_a_version(directory: Path, pictures: Path, tmp_path: Path):
    torch.manual_seed(1)
    weights = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    whitening = ("--whiten-on", str(pictures), "--dimension", "4")
    arguments = ("import", "resnet18", "--weights", str(weights), *whitening)
    output = run(directory, *arguments, "--name", "mine", "--promote")
    assert "mine/1 is published" in output
    registry = Registry(directory)
    assert registry.active.id == "mine/1"
    registry.verify("mine/1")
    spec = registry.active.spec()
    assert (spec["name"], spec["version"], spec["dimension"]) == ("mine", 1, 4)
    assert spec["whitening"]["images"] == 10
    assert (registry.active.directory / MANIFEST).exists()


def test_too_few_pictures_are_named_before_any_weights_are_read(directory: Path, pictures: Path):
    output = run(directory, "import", "resnet18", "--whiten-on", str(pictures), code=2)
    assert "10 usable pictures" in output


def test_weights_of_something_else_are_refused(directory: Path, pictures: Path, tmp_path: Path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"not weights")
    whitening = ("--whiten-on", str(pictures), "--dimension", "4")
    output = run(directory, "import", "resnet18", "--weights", str(weights), *whitening, code=1)
    assert "weights.pth cannot be read" in output
    assert len(Registry(directory).list()) == 2


def test_the_group_s_options_are_taken_after_a_command_as_well(directory: Path, tmp_path: Path):
    for named in (["--data", str(tmp_path)], ["--directory", str(directory)]):
        for arguments in ([*named, "list"], ["list", *named]):
            result = CliRunner().invoke(app.main, ["models", *arguments])
            assert result.exit_code == 0
            assert "a/1" in result.stdout
    for arguments in (
        ["--directory", str(tmp_path), "list", "--server", "127.0.0.1:1"],
        ["--data", str(tmp_path), "list", "--directory", str(directory)],
    ):
        assert CliRunner().invoke(app.main, ["models", *arguments]).exit_code == 2


def test_the_starter_is_installed_where_a_stack_will_look_for_it(tmp_path: Path):
    """Before its first start, by the option that `halftone up` has."""
    data = tmp_path / "data"
    install = ["models", "install", "--data", str(data)]
    result = CliRunner().invoke(app.main, install)
    assert result.exit_code == 0, result.output
    starter = find_starter()
    assert f"{starter.id} is published in {data / 'models'} (active)" in result.stdout
    prepare_models(data / "models")
    registry = Registry(data / "models")
    assert [version.id for version in registry.list()] == [starter.id]
    registry.verify(starter.id)
    assert CliRunner().invoke(app.main, install).exit_code == 0


def test_a_command_that_is_suggested_does_what_it_says(directory: Path, tmp_path: Path):
    named = ("--data", str(tmp_path))
    source = Registry(tmp_path / "elsewhere").publish(tmp_path / "staging", name="b").directory
    said = CliRunner().invoke(app.main, ["models", "install", str(source), *named]).stdout
    command = said[said.index("`halftone ") + 1 :].partition("`")[0]
    assert CliRunner().invoke(app.main, shlex.split(command)[1:]).exit_code == 0
    assert Registry(directory).active.id == "b/1"


def test_what_listens_at_the_default_address_is_found_as_by_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("HALFTONE_SEARCH", "HALFTONE_DATA", "HALFTONE_MODELS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    with FakeSearch() as server:

        class Here(ClientSettings):
            search: str = server.address

        def find(data: Path | None = None) -> bool:
            found = find_service(server=None, data=data, settings=Here())
            if found is not None:
                found.close()
            return found is not None

        assert find()
        assert not find(tmp_path), "another stack's is named, which does not run"
        monkeypatch.setenv("HALFTONE_MODELS_DIRECTORY", str(tmp_path))
        assert not find(), "a directory is named"
        monkeypatch.delenv("HALFTONE_MODELS_DIRECTORY")
        monkeypatch.setenv("HALFTONE_DATA", str(tmp_path))
        assert not find(), "another stack's is named"
        monkeypatch.delenv("HALFTONE_DATA")
    assert not find(), "nothing listens any more"


def test_nothing_is_installed_where_the_running_service_has_no_models(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("HALFTONE_MODELS_DIRECTORY", raising=False)
    monkeypatch.delenv("HALFTONE_DATA", raising=False)
    with FakeSearch() as server:
        install = ["models", "install", str(directory / "a"), "--server", server.address]
        result = CliRunner().invoke(app.main, install)
        assert result.exit_code == 1
        assert "keeps its models elsewhere: there is no data/models here" in result.stderr
        assert not list(place.iterdir())
        monkeypatch.setenv("HALFTONE_MODELS_DIRECTORY", "here")
        assert "a/2 is published in here" in CliRunner().invoke(app.main, install).stdout
