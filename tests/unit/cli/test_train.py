"""The commands for training jobs, against a small training service over real gRPC."""

from __future__ import annotations

import io
import json
import os

import pytest
from click.testing import CliRunner
from rich.console import Console

from halftone.cli import tables
from halftone.cli import train as cli_train
from halftone.cli.app import main
from halftone.client import JobState, RetryPolicy, TrainingJob, TrainingProgress
from halftone.core.locks import locked
from halftone.stack import running
from tests.support.client.fake_trainer import FakeTrainer

QUICK = RetryPolicy(attempts=4, first_pause=0.01, longest_pause=0.02)


@pytest.fixture
def fake():
    with FakeTrainer() as server:
        yield server


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, server=fake.address):
        words = [*arguments, *(["--server", server] if server else [])]
        return CliRunner().invoke(main, words)

    return invoke


TRAIN = ("train", "small", "--name", "press", "--steps", "100", "--request-id", "a")


def test_what_is_asked_for_arrives(run, fake):
    result = run(
        *TRAIN, "--objective", "metric", "--option", "batch=32", "--option", "freeze-epochs=0.5",
        "--parent", "starter/4", "--promote", "--evaluate-on", "archive",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    spec = fake.jobs["trainingJobs/a"].spec
    assert dict(spec.options) == {"batch": "32", "freeze_epochs": "0.5"}
    assert (spec.objective, spec.parent, spec.promote) == (spec.METRIC, "starter/4", True)
    assert (list(spec.datasets), spec.evaluation_archive) == (["small"], "archive")
    assert "trainingJobs/a" in result.stdout
    assert run(*TRAIN).exit_code == 1  # another specification


@pytest.mark.parametrize(
    "wrong",
    [("--option", "batch=many"), ("--option", "batch"), ("--epochs", "3"), ("--option", "x=1")],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(run, fake, wrong):
    assert run(*TRAIN, *wrong).exit_code == 2
    assert not fake.jobs


def test_watch_shows_how_it_goes(run):
    result = run(*TRAIN, "--watch")
    assert result.exit_code == 0, result.output
    assert result.stdout == "press/1 is published.\nNo step was better.\n"
    assert "50%  training  step 50" in result.stderr
    assert "loss 0.250  1:02:05 left" in result.stderr


def test_interrupting_the_showing_says_that_the_job_goes_on(capsys):
    class Interrupted:
        def watch_training_job(self, name):
            raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        cli_train._watch(Interrupted(), "trainingJobs/a")
    assert ended.value.code == 130
    assert "The job goes on: halftone jobs watch a shows it again" in capsys.readouterr().err


class TestAJobByTheBeginningOfItsId:
    @pytest.fixture
    def jobs(self, run):
        for name in ("night-0001", "night-0002", "a2f3", "a2"):
            assert run(*TRAIN[:-1], name).exit_code == 0
        return run

    @pytest.mark.parametrize("command", ["show", "watch", "cancel"])
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("night-0002", "night-0002"),
            ("a2f", "a2f3"),
            ("trainingJobs/a2f", "a2f3"),
            ("a2", "a2"),  # a whole id, though others begin with it
        ],
    )
    def test_that_only_one_has(self, jobs, command, text, name):
        result = jobs("jobs", command, text, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["name"] == f"trainingJobs/{name}"

    @pytest.mark.parametrize("command", ["show", "watch", "cancel"])
    def test_that_several_have(self, jobs, fake, command):
        result = jobs("jobs", command, "night")
        assert result.exit_code == 2
        # The box around it breaks the lines.
        said = " ".join(result.stderr.replace("│", " ").split())
        assert "2 ids begin with 'night': night-0001, night-0002." in said
        assert all(job.state == job.QUEUED for job in fake.jobs.values())

    @pytest.mark.parametrize(
        ("text", "code", "said"),
        [
            ("b", 1, "No job's id is 'b' or begins so"),
            ("a2f4", 1, "No job's id is 'a2f4'"),
            ("no id", 2, "'no id' is no job's id"),
            ("trainingJobs/", 2, "'trainingJobs/' is no job's id"),
        ],
    )
    def test_that_none_has(self, jobs, text, code, said):
        result = jobs("jobs", "show", text)
        assert result.exit_code == code
        assert said in result.stderr


def test_a_list_keeps_the_ids_whole(fake):
    ids = [f"{number:032x}" for number in range(3)] + ["a-name-that-somebody-chose-" + "x" * 30]
    jobs = [
        TrainingJob(
            name=f"trainingJobs/{each}",
            state=JobState.RUNNING,
            spec={"model_name": "mine", "objective": "self_supervised"},
            progress=TrainingProgress(),
        )
        for each in ids
    ]
    for width in (40, 60, 80, 120):
        out = io.StringIO()
        tables.print_table(Console(file=out, width=width), cli_train.lay_out_jobs(jobs))
        assert set(ids) <= set(out.getvalue().split())


def test_a_watched_job_that_fails_is_an_error_of_the_command(run, fake):
    fake.fails = True
    result = run(*TRAIN, "--watch")
    assert result.exit_code == 1
    assert "It broke.  (BROKE)" in result.stdout
    assert "[a] line" in result.stdout


def test_jobs(run, fake):
    run(*TRAIN)
    run(*TRAIN[:-1], "b")
    listed = json.loads(run("jobs", "list", "--json").stdout)
    assert [job["name"] for job in listed] == ["trainingJobs/a", "trainingJobs/b"]
    one = run("jobs", "list", "--limit", "1")
    assert "press" in one.stdout
    assert "--limit shows more" in one.stderr
    assert one.output.endswith(one.stderr)
    assert run("jobs", "watch", "b").exit_code == 0
    shown = json.loads(run("jobs", "show", "trainingJobs/b", "--json").stdout)
    assert (shown["state"], shown["model_version"]) == ("succeeded", "press/1")
    assert shown["spec"]["steps"] == 100
    assert "is cancelled" in run("jobs", "cancel", "a").stdout
    cancelled = json.loads(run("jobs", "list", "--state", "cancelled", "--json").stdout)
    assert [job["name"] for job in cancelled] == ["trainingJobs/a"]
    assert run("jobs", "list", "--state", "failed").stdout == "No training jobs in that state.\n"
    assert run("jobs", "show", "unknown").exit_code == 1


def test_nobody_is_there(run, tmp_path):
    result = run("jobs", "list", "--data", str(tmp_path), server=None)
    assert "No stack runs from" in result.stderr
    addresses = running.Addresses(
        search="a:1", embedder="b:2", search_metrics="c:3", embedder_metrics="d:4", pid=os.getpid()
    )
    with locked(tmp_path / running.LOCK), running.announce(tmp_path, addresses):
        result = run("jobs", "list", "--data", str(tmp_path), server=None)
    assert "runs without training" in result.stderr
    result = run("jobs", "list", server="127.0.0.1:1")
    assert "No training service answers at 127.0.0.1:1." in result.stderr


def test_refusals_speak_of_what_was_typed(run):
    train = ("train", "press", "--name", "mine")
    for words, said in (
        ([], "exactly one of --epochs, --steps and --minutes"),
        (["--steps", "5", "--minutes", "1"], "exactly one of --epochs, --steps and --minutes"),
        (["--steps", "5", "--option", "batch=1"], "--option batch: it must be at least 2, not 1."),
        (["--steps", "5", "--parent", "x"], "--parent: it must be a version's name/number, not x."),
    ):
        result = run(*train, *words)
        assert result.exit_code == 2
        assert said in result.stderr
    result = run("jobs", "show", "a b")
    assert result.exit_code == 2
    assert "'a b' is no job's id" in result.stderr
