"""The commands for training jobs, against a small training service over real gRPC."""

from __future__ import annotations

import json
import os
from concurrent import futures

import grpc
import pytest
from click.testing import CliRunner
from grpc_status import rpc_status

from halftone.cli import train as cli_train
from halftone.cli.app import main
from halftone.client import AsyncClient, Client, JobState, RetryPolicy
from halftone.core import errors
from halftone.stack import running
from halftone.v1 import trainer_pb2 as pb
from halftone.v1 import trainer_pb2_grpc

QUICK = RetryPolicy(attempts=4, first_pause=0.01, longest_pause=0.02)


class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """Keeps jobs in memory; watching one makes it go from step to step to its end.

    Attributes:
        breaks: How many of the next streams end with an error after their second message.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, pb.TrainingJob] = {}
        self.breaks = 0
        self.fails = False
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def CreateTrainingJob(self, request, context):
        name = f"trainingJobs/{request.request_id}"
        job = self.jobs.setdefault(
            name, pb.TrainingJob(name=name, spec=request.spec, state="QUEUED", revision=1)
        )
        if job.spec != request.spec:
            abort(context, errors.AlreadyExists("Used before."))
        return job

    def GetTrainingJob(self, request, context):
        if request.name not in self.jobs:
            abort(context, errors.NotFound("There is no such training job."))
        return self.jobs[request.name]

    def ListTrainingJobs(self, request, context):
        names = sorted(self.jobs)
        start = names.index(request.page_token) if request.page_token else 0
        page = names[start : start + request.page_size]
        wanted = [
            self.jobs[name]
            for name in page
            if not request.states or self.jobs[name].state in request.states
        ]
        following = names[start + len(page) : start + len(page) + 1]
        return pb.ListTrainingJobsResponse(jobs=wanted, next_page_token="".join(following))

    def WatchTrainingJob(self, request, context):
        job = self.jobs[request.name]
        for number, step in enumerate((0, 50, 100)):
            job.state = "RUNNING" if step < 100 else ("FAILED" if self.fails else "SUCCEEDED")
            job.revision = 2 + step
            job.progress.phase, job.progress.step = "training", step
            job.progress.fraction, job.progress.loss = step / 100, 0.25
            job.progress.seconds_left = 3725
            if step == 100 and self.fails:
                job.error.CopyFrom(errors.to_status(errors.Internal("It broke.", reason="BROKE")))
                job.log_tail.extend(["[a] line"])
            elif step == 100:
                job.model_version = f"{job.spec.model_name}/1"
                job.log_tail.append(f"published {job.model_version} in models")
                job.log_tail.append("No step was better.")
            yield job
            if self.breaks and number == 1:
                self.breaks -= 1
                abort(context, errors.Unavailable("Draining.", retry_after=0.0))

    def CancelTrainingJob(self, request, context):
        self.jobs[request.name].state = "CANCELLED"
        return self.jobs[request.name]


def abort(context, error):
    context.abort_with_status(rpc_status.to_status(errors.to_status(error)))


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
        cli_train._watched(Interrupted(), "trainingJobs/a")
    assert ended.value.code == 130
    assert "The job goes on: halftone jobs watch a shows it again" in capsys.readouterr().err


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
    with running.announced(tmp_path, addresses):
        result = run("jobs", "list", "--data", str(tmp_path), server=None)
    assert "runs without training" in result.stderr
    result = run("jobs", "list", server="127.0.0.1:1")
    assert "No training service answers at 127.0.0.1:1." in result.stderr


def test_watching_goes_on_after_a_lost_connection(fake):
    fake.breaks = 2
    with Client(trainer=fake.address, retries=QUICK) as client:
        job = client.train(
            {"objective": "metric", "datasets": ["a"], "model_name": "x", "steps": 9}
        )
        seen = [each.revision for each in client.watch_training_job(job.name)]
        assert seen == [2, 52, 102]
        assert client.retry_count == 2
        fake.breaks = 50
        with pytest.raises(errors.Unavailable):
            list(client.watch_training_job(job.name))
        assert client.retry_count < 8


async def test_the_same_for_asyncio(fake):
    fake.breaks = 1
    async with AsyncClient(trainer=fake.address, retries=QUICK) as client:
        spec = {"objective": "metric", "datasets": ["a"], "model_name": "x", "steps": 9}
        job = await client.train(spec, request_id="r")
        assert (job.name, job.state, job.spec) == ("trainingJobs/r", JobState.QUEUED, spec)
        states = [each.state async for each in client.watch_training_job(job.name)]
        assert states[-1] is JobState.SUCCEEDED
        assert [each.id async for each in client.training_jobs(page_size=1)] == ["r"]
        assert (await client.training_job(job.name)).model_version == "x/1"
        assert (await client.cancel_training_job(job.name)).state is JobState.CANCELLED


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
