"""What the embedded stack checks before it starts anything."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from halftone.cli import app
from halftone.core import errors
from halftone.core import settings as settings_module
from halftone.core.locks import locked
from halftone.stack import data_directory, local, running
from halftone.stack import training as local_training
from halftone.stack.parts import HeldPorts


def start(data, *, ports=None, training=None, copied=()):
    """Enters a stack whose services must not come into it."""

    def prepare(models):
        for name in copied:
            models.mkdir()
            (models / name).touch()
        raise LookupError("as far as it should come")

    with local.LocalStack(
        data,
        ports=ports or local.Ports.any_free(),
        report=print,
        prepare=prepare,
        training=training,
    ):
        pass


def test_a_new_directory_gets_its_format(tmp_path):
    with pytest.raises(LookupError):
        start(tmp_path / "deep" / "data", copied=["a version"])
    content = json.loads((tmp_path / "deep" / "data" / "format.json").read_text())
    assert content["format"] == data_directory.FORMAT
    with pytest.raises(LookupError):
        start(tmp_path / "deep" / "data")


@pytest.mark.parametrize("which", ["embedder", "trainer"])
def test_a_start_that_is_refused_leaves_nothing_behind(tmp_path, which):
    (tmp_path / "old").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = local.Ports(**{**vars(local.Ports.any_free()), which: taken.getsockname()[1]})
        for data in (tmp_path / "new", tmp_path / "old"):
            with pytest.raises(errors.Unavailable, match="in use"):
                start(data, ports=ports, training=local_training.Training(), copied=["a version"])
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert not (tmp_path / "old" / "models").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": 99, "written_by": "7.0"}', "newer release .Halftone 7.0, format 99"),
        ("{}", "cannot be understood"),
        ("nonsense", "cannot be understood"),
    ],
)
def test_a_directory_of_another_release_is_left_alone(tmp_path, content, words):
    (tmp_path / "format.json").write_text(content)
    with pytest.raises(errors.DataDirectoryError, match=words):
        start(tmp_path)
    assert (tmp_path / "format.json").read_text() == content


def test_a_directory_in_use_is_refused_and_its_holder_named(tmp_path):
    with (
        data_directory.lock_directory(tmp_path),
        pytest.raises(errors.DataDirectoryError) as caught,
    ):
        start(tmp_path)
    assert f"process {os.getpid()}" in caught.value.message
    with pytest.raises(LookupError):
        start(tmp_path)


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("search", "for the search service, is in use"),
        ("embedder", r"for the embedder, is in use .* or --embedder-port .HALFTONE_EMBEDDER_PORT"),
        ("search_metrics", "for the search service's metrics, is in use"),
        ("embedder_metrics", "for the embedder's metrics, is in use"),
    ],
)
def test_a_port_in_use_is_named(tmp_path, which, words):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = local.Ports(**{**vars(local.Ports.any_free()), which: taken.getsockname()[1]})
        with pytest.raises(errors.Unavailable, match=words) as caught:
            start(tmp_path, ports=ports)
    assert caught.value.reason == "PORT_IN_USE"


def test_two_services_on_one_port_are_noticed(tmp_path):
    with HeldPorts() as held:
        number = held.hold("127.0.0.1", 0, what="test", variable="X")
    ports = local.Ports(search=number, embedder=number, search_metrics=0, embedder_metrics=0)
    with pytest.raises(errors.Unavailable, match="in use"):
        start(tmp_path, ports=ports)


def test_a_port_that_is_held_is_given_to_nobody_and_its_child_listens_on_it():
    with HeldPorts() as held:
        number = held.hold("127.0.0.1", 0, what="test", variable="X")
        # Binding without the option fails as the kernel's own choice does.
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", number))
        held.let_children_in()
        for _ in "a child", "and after its restart":
            with (
                socket.create_server(("127.0.0.1", number)),
                pytest.raises(errors.Unavailable, match="in use by another process"),
            ):
                HeldPorts().hold("127.0.0.1", number, what="test", variable="X")
    with socket.create_server(("127.0.0.1", number)):
        pass


def test_settings_are_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HALFTONE_SEARCH_BLOBS", "s3://bucket/x")
    with HeldPorts() as held:
        settings = local._read_settings(tmp_path, ports=local.Ports.any_free(), held=held)
    embedder, search = local._make_children(settings, logs=tmp_path, key="k" * 40)
    assert search.environment["HALFTONE_SEARCH_BLOBS"] == "s3://bucket/x"
    assert search.environment["HALFTONE_SEARCH_DATA_DIRECTORY"] == str(tmp_path / "search")
    for child in (embedder, search):
        assert child.environment["HALFTONE_MODELS_DIRECTORY"] == str(tmp_path / "models")
    assert search.environment["HALFTONE_SEARCH_EMBEDDER"].endswith(
        embedder.environment["HALFTONE_EMBEDDER_PORT"]
    )
    ports = {
        child.environment[f"HALFTONE_{child.name.upper()}_{kind}"]
        for child in (embedder, search)
        for kind in ("PORT", "METRICS_PORT")
    }
    assert len(ports) == 4
    assert "0" not in ports
    assert {"waiting_for_store", "waiting_for_embedder"} < search.phases.keys()


def test_training_is_added_and_takes_nothing_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HALFTONE_TRAINER_LEASE_SECONDS", "30")
    names = {"broker", "trainer", "trainer_metrics", "worker_metrics"}
    parts = local_training.prepare(
        local_training.Training(datasets=(tmp_path / "sets",)),
        data=tmp_path / "data",
        ports=local_training.TrainingPorts(**dict.fromkeys(names, 0)),
        models=tmp_path / "models",
        search="here:1",
        key="k" * 40,
        hold_port=lambda host, number, *, what, variable: 4000 + len(what),
    )
    queue, trainer, worker = parts.children
    # Stopped in the reverse order: a worker gives its job back while the queue is still there.
    assert [queue.name, trainer.name, worker.name] == ["queue", "trainer", "worker"]
    assert not any(child.essential for child in parts.children)
    assert worker.stop_seconds > settings_module.TrainerSettings().cancel_seconds
    environment = worker.environment
    broker = urlsplit(environment["HALFTONE_TRAINER_BROKER"])
    folder = tmp_path / "data" / "queue"
    assert broker.password == (folder / "password").read_text().strip()
    assert f"redis://{broker.hostname}:{broker.port}/0" == parts.broker
    # Nobody else can read it: not among the arguments of a process, not in a file.
    assert broker.password not in " ".join(queue.command)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert f"--port {urlsplit(parts.broker).port} " in " ".join(queue.command)
    roots = environment["HALFTONE_TRAINER_DATA_ROOTS"].split(os.pathsep)
    assert roots == [str(tmp_path / "sets"), str(tmp_path / "data" / "datasets")]
    assert Path(roots[1]).is_dir()
    assert environment["HALFTONE_TRAINER_SEARCH"] == "here:1"
    fields = set(settings_module.TrainerSettings.model_fields)
    for variable in environment:
        if variable.startswith("HALFTONE_TRAINER_"):
            assert variable.removeprefix("HALFTONE_TRAINER_").lower() in fields


def test_a_data_directory_is_its_owners_alone(tmp_path):
    for data in (tmp_path / "new", tmp_path / "old"):
        if data.name == "old":
            data.mkdir(mode=0o755)
        data_directory.make_private(data)
        assert data.stat().st_mode & 0o777 == 0o700


def test_without_its_packages_the_stack_starts_without_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    said: list[str] = []
    stack = local.LocalStack(
        tmp_path,
        ports=local.Ports.any_free(),
        report=said.append,
        prepare=lambda _models: None,
        training=local_training.Training(),
    )
    stack.request_stop()
    with pytest.raises(errors.Cancelled), stack:
        pass
    assert "Starting without training jobs. Training needs celery" in said[0]
    assert not stack.addresses.trainer


def test_a_broker_of_ones_own_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HALFTONE_TRAINER_BROKER", "redis://elsewhere:1/0")
    monkeypatch.setenv("HALFTONE_TRAINER_DATA_ROOTS", "/sets")
    parts = local_training.prepare(
        local_training.Training(),
        data=tmp_path,
        ports=local_training.TrainingPorts(
            broker=None, trainer=None, trainer_metrics=None, worker_metrics=None
        ),
        models=tmp_path,
        search="here:1",
        key="k" * 40,
        hold_port=lambda host, number, *, what, variable: number,
    )
    assert [child.name for child in parts.children] == ["trainer", "worker"]
    assert parts.broker == "redis://elsewhere:1/0"
    assert parts.children[1].environment["HALFTONE_TRAINER_DATA_ROOTS"] == "/sets"
    assert parts.trainer.endswith(":7103")


def test_the_file_of_a_running_stack_comes_and_goes(tmp_path):
    addresses = running.Addresses(
        search="a:1", embedder="b:2", search_metrics="c:3", embedder_metrics="d:4", pid=os.getpid()
    )
    assert running.find(tmp_path) is None
    with locked(tmp_path / running.LOCK), running.announce(tmp_path, addresses):
        assert running.find(tmp_path) == addresses
    assert running.find(tmp_path) is None


def test_the_starter_is_installed_once(tmp_path):
    data_directory.prepare_models(tmp_path)
    weights = next((tmp_path / "starter").glob("*/model.safetensors"))
    data_directory.prepare_models(tmp_path)
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.seek(1000)
        file.write(b"damaged")
    with pytest.raises(errors.DataLoss, match=r"model\.safetensors"):
        data_directory.prepare_models(tmp_path)


def test_versions_without_an_active_one_are_not_guessed_about(tmp_path):
    data_directory.prepare_models(tmp_path)
    version = next((tmp_path / "starter").glob("[0-9]*"))
    shutil.copytree(version, tmp_path / "other" / "1")
    (tmp_path / "active").unlink()
    with pytest.raises(errors.FailedPrecondition, match="is active") as caught:
        data_directory.prepare_models(tmp_path)
    command = caught.value.message.split("`")[1]
    assert CliRunner().invoke(app.main, shlex.split(command)[1:]).exit_code == 0
    data_directory.prepare_models(tmp_path)
