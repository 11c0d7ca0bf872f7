"""The process as its parent sees it: settings in a file, events, exit codes, the lock."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.services.trainer.loop.checkpoint import CHECKPOINT
from halftone.services.trainer.loop.config import TrainingConfig, parse
from halftone.services.trainer.loop.events import Events
from halftone.services.trainer.loop.train import main
from tests.support.trainer.tiny_training import TINY


@pytest.fixture
def settings(collection, tmp_path):
    """Writes a configuration; returns its path."""

    def write(**changes):
        values = TINY | {
            "data": [str(collection)],
            "work": str(tmp_path / "work"),
            "models": str(tmp_path / "models"),
            "name": "tiny",
            "steps": 3,
        }
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values | changes))
        return path

    return write


@pytest.fixture
def run(settings, tmp_path):
    """Runs the command in this process: its exit status and its events."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def start(**changes):
        path = tmp_path / "events"
        with path.open("w") as file:
            arguments = ["--config", str(settings(**changes)), "--events-fd", str(file.fileno())]
            status = main(arguments)
        return status, [json.loads(line) for line in path.read_text().splitlines()]

    yield start
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_run_tells_its_phases_its_figures_and_its_version(run, tmp_path):
    status, events = run()

    assert status == 0
    assert events[-1] == {"event": "published", "model_version": "tiny/1"}
    progress = [event for event in events if event["event"] == "progress"]
    phases = list(dict.fromkeys(event["phase"] for event in progress))
    assert phases == ["reading", "training", "evaluating", "publishing"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    last = [event for event in progress if event["phase"] == "training"][-1]
    assert last["step"] == 3
    assert last["loss"] > 0
    assert last["images_per_second"] > 0
    assert last["seconds_left"] == 0
    assert "copy_recall_at_1" in last["metrics"]


def test_a_job_is_published_once(run):
    run(job="j1")

    status, events = run(job="j1")

    assert status == 0
    assert events == [{"event": "published", "model_version": "tiny/1"}]
    assert run(job="j2")[1][-1]["model_version"] == "tiny/2"


def test_a_job_is_recorded_in_the_version(run, tmp_path):
    run(job="j1")

    spec = Registry(tmp_path / "models").resolve("tiny/1").spec()
    assert spec["training"]["job"] == "j1"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"nonsense": 1}, "nonsense", "no setting"),
        ({"steps": "3"}, "steps", "int"),
        ({"steps": True}, "steps", "int"),
        ({"learning_rate": "fast"}, "learning_rate", "float"),
        ({"data": "folder"}, "data", "tuple"),
        ({"objective": "guessing"}, "objective", "metric"),
        ({"steps": 0}, "steps", "length"),
        ({"patience": -1}, "patience", "negative"),
        ({"objective": "metric", "per_group": 3}, "accumulate", "whole groups of 3"),
        ({"data": ["/nonexistent"]}, "data", "nonexistent"),
        ({"batch": 999}, "data", "batch of 999"),
    ],
)
def test_wrong_settings_are_told_with_their_field(run, changes, field, message):
    status, events = run(**changes)

    assert status == 2
    assert events[-1]["event"] == "error"
    assert events[-1]["code"] == "INVALID_ARGUMENT"
    assert events[-1]["field"] == field
    assert message in events[-1]["message"]


def test_a_missing_parent_is_told(run):
    status, events = run(init="nobody/7")

    assert status == 2
    assert (events[-1]["code"], events[-1]["reason"]) == ("NOT_FOUND", "NOT_FOUND")


def test_findings_are_warnings(run, tmp_path, collection):
    manifest = collection / "part.csv"
    manifest.write_text((collection / "manifest.csv").read_text() + "p99,none.png,J,1900,\n")

    _, events = run(data=[str(manifest)])

    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert len(warnings) == 1
    assert "p99" in warnings[0]


def test_a_second_process_on_a_work_directory_is_refused(run, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with (work / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        status, events = run()

    assert status == 2
    assert events[-1]["reason"] == "WORK_DIRECTORY_IN_USE"
    assert run()[0] == 0


def test_a_full_disk_is_told_and_keeps_the_checkpoint_before(run, tmp_path, monkeypatch):
    """A checkpoint that finds no space: the file system says so, not our code."""
    assert run(steps=1)[0] == 0
    kept = (tmp_path / "work" / CHECKPOINT).read_bytes()

    def full(_file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, events = run(steps=1)

    assert status == 2
    assert (events[-1]["code"], events[-1]["reason"]) == ("RESOURCE_EXHAUSTED", "STORAGE_FULL")
    assert (tmp_path / "work" / CHECKPOINT).read_bytes() == kept


def test_options_override_the_file(settings):
    config = parse(["--config", str(settings(seed=3)), "--seed", "4", "--batch", "6"])

    assert (config.seed, config.batch, config.size) == (4, 6, 32)


def test_a_checkpoint_of_an_older_release_is_continued():
    config = TrainingConfig(batch=8)
    values = json.loads(config.identity())
    del values["objective"], values["koleo"]

    assert config.continues(json.dumps(values))
    assert not TrainingConfig(koleo=0.5, batch=8).continues(json.dumps(values))


def test_numbers_that_are_unknown_are_left_out_and_progress_is_held_back(tmp_path):
    with (tmp_path / "events").open("w") as file:
        events = Events(file.fileno())
        events.progress("training", fraction=0.1, loss=float("nan"))
        events.progress("training", fraction=0.2)
        events.progress("training", fraction=0.3, metrics={"a": 1.0, "b": float("inf")})
        events.progress("evaluating", fraction=0.4)

    told = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [event["fraction"] for event in told] == [0.1, 0.3, 0.4]
    assert "loss" not in told[0]
    assert told[1]["metrics"] == {"a": 1.0}


def test_a_reader_that_went_away_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    events = Events(writing)

    events.error(errors.InvalidArgument("x"))
    events.publication("a/1")

    os.close(writing)


@pytest.mark.soak
def test_a_signal_ends_the_process_with_a_checkpoint_and_the_next_goes_on(settings, tmp_path):
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "halftone.services.trainer.loop.train",
        "--events-fd",
        str(writing),
    ]
    path = settings(steps=100_000)
    process = subprocess.Popen([*command, "--config", str(path)], pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            if json.loads(line).get("step", 0) > 0:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 128 + signal.SIGTERM
        told = [json.loads(line) for line in lines]
    assert not [event for event in told if event["event"] in ("error", "published")]
    assert (tmp_path / "work" / CHECKPOINT).exists()
