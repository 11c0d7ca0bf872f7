"""Training jobs on real processes: broker, service, workers; what happens, and what is lost.

The loop is the real one where its result counts, and `fake_training` where only its process
does: that keeps the same contract, needs no torch and notes each of its starts and steps.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import celery
import numpy as np
import pytest
from PIL import Image

from halftone.client import Client, JobState
from halftone.core import errors
from halftone.service import probe
from halftone.services.trainer.jobs.queue import WORK_QUEUE, WORK_TASK
from tests.support.system import is_alive
from tests.support.trainer.trainer_desk import write_data_set
from tests.support.trainer.valkey import ValkeyProcess, make_directory

ROOT = Path(__file__).parents[2]
SLOW, FAST = 0.2, 0.01
"""Seconds of a step: until what a test does in mid-job is done, and from then on."""
LEASE_SECONDS = 10.0
"""Where a lease is to run out; a worker that waits half of it for its turn lets go of its job."""


@pytest.fixture(scope="module")
def valkey():
    directory = make_directory()
    with ValkeyProcess(directory) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def site(valkey, tmp_path):
    valkey.clear()
    with contextlib.ExitStack() as processes:
        yield Site(tmp_path, valkey=valkey, processes=processes)


class Site:
    """A trainer of one's own; workers are started by the tests."""

    def __init__(self, folder: Path, *, valkey: ValkeyProcess, processes) -> None:
        self.folder, self.valkey, self._processes = folder, valkey, processes
        self.work = folder / "work"
        self.workers = 0
        write_data_set(folder / "sets" / "small", pictures=650, groups=0)
        self.environment = {
            "HALFTONE_TRAINER_BROKER": valkey.url,
            "HALFTONE_TRAINER_DATA_ROOTS": str(folder / "sets"),
            "HALFTONE_TRAINER_WORK_DIRECTORY": str(self.work),
            "HALFTONE_TRAINER_MIN_FREE_BYTES": "0",
            "HALFTONE_TRAINER_PORT": "0",
            "HALFTONE_TRAINER_METRICS_PORT": "0",
            "HALFTONE_TRAINER_WORKER_METRICS_PORT": "0",
            "HALFTONE_TRAINER_THREADS": "1",
            # Else the other tests of a busy machine come first, for minutes.
            "HALFTONE_TRAINER_NICE": "0",
            "HALFTONE_MODELS_DIRECTORY": str(folder / "models"),
            "FAKE_PACE": str(folder / "pace"),
        }
        self.pace(FAST)
        service = self._start("halftone.services.trainer", log=folder / "service.log")
        until(lambda: events(service.log, "listening") or service.poll() is not None)
        assert service.poll() is None, (service.returncode, service.log.read_text())
        (listening,) = events(service.log, "listening")
        self.address = f"127.0.0.1:{listening['port']}"
        until(lambda: probe.is_serving(self.address))
        self.client = processes.enter_context(Client(trainer=self.address))
        self.celery = celery.Celery(broker=valkey.url, set_as_current=False)
        processes.callback(self.celery.close)

    def pace(self, seconds: float) -> None:
        """Sets how long a step takes from now on."""
        (self.folder / "pace.new").write_text(str(seconds))
        (self.folder / "pace.new").replace(self.folder / "pace")

    def worker(self, module: str = "tests.support.trainer.fake_worker", **environment: str):
        self.workers += 1
        worker = self._start(module, log=self.folder / f"worker-{self.workers}.log", **environment)
        until(lambda: events(worker.log, "ready"))
        return worker

    def submit(self, name: str = "plain", *, steps: int = 20, request_id=None, **fields):
        return self.client.train(spec(name, steps=steps, **fields), request_id=request_id)

    def wait(self, job, *states: JobState, seconds: float = 120):
        wanted = states or (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)

        def reached():
            found = self.client.training_job(job.name)
            return found if found.state in wanted else None

        return until(reached, seconds=seconds)

    def wait_for_step(self, job, step: int):
        def reached():
            found = self.client.training_job(job.name)
            assert not found.state.is_over, found
            return found.progress.step >= step

        until(reached)

    def steps(self, job) -> list[int]:
        """The steps that the loop really made; from its own file."""
        return list(map(int, (self.work / job.id / "run" / "steps.txt").read_text().split()))

    def starts(self, job) -> list[list[str]]:
        lines = (self.work / job.id / "run" / "starts.txt").read_text().splitlines()
        return [line.split() for line in lines]

    def keep(self, job) -> None:
        """Keeps what is removed with the checkpoints of a job that succeeded."""
        run = self.work / job.id / "run"
        until(run.exists)
        for name in ("starts.txt", "steps.txt"):
            target = self.folder / f"{job.id}-{name}"
            until((run / name).exists)
            os.link(run / name, target)

    def kept(self, job, name: str) -> list[str]:
        return (self.folder / f"{job.id}-{name}").read_text().splitlines()

    def pids(self, number: int = 1) -> list[int]:
        """Of the training processes that a worker started."""
        log = self.folder / f"worker-{number}.log"
        return [event["pid"] for event in events(log, "started")]

    def _start(self, module: str, *, log: Path, **environment: str):
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "halftone.service.child", str(os.getpid()), module],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **environment},
                cwd=ROOT,
            )
        process.log = log
        self._processes.callback(process.wait)
        self._processes.callback(process.kill)
        return process


def spec(name: str = "plain", *, steps: int = 20, **fields) -> dict:
    return {
        "objective": "self_supervised",
        "datasets": ["small"],
        "model_name": name,
        "steps": steps,
        **fields,
    }


def events(log: Path, name: str) -> list[dict]:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    # The last one may be half written.
    parsed = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
    return [event for event in parsed if event.get("event") == name]


def until(condition, *, seconds: float = 120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.03)
    return found


def test_both_doors_lead_to_one_job(site):
    """What the contract and a message on the queue ask for under one id is done once."""
    site.worker()
    first = site.submit(request_id="both")
    assert first.name == "trainingJobs/both"
    for _ in range(2):
        site.celery.send_task(
            "halftone.train",
            kwargs={"spec": spec(), "request_id": "both"},
            queue="halftone.training",
        )
    assert site.submit(request_id="both").name == first.name
    job = site.wait(first)
    assert (job.state, job.attempts, job.model_version) == (JobState.SUCCEEDED, 1, "plain/1")
    assert job.progress.metrics == {"recall_at_1": 0.5}
    with pytest.raises(errors.AlreadyExists):
        site.submit(request_id="both", steps=21)
    # The same conflict on the queue: nobody waits for an answer, so a job of its own tells it.
    site.celery.send_task(
        "halftone.train",
        kwargs={"spec": spec(steps=22), "request_id": "both"},
        queue="halftone.training",
    )
    refused = until(lambda: list(site.client.training_jobs(states=[JobState.FAILED])))
    assert isinstance(refused[0].error, errors.AlreadyExists)
    assert len(site.pids()) == 1


def test_wrong_jobs_fail_with_the_field_and_leave_the_worker(site):
    site.worker()
    with pytest.raises(errors.InvalidArgument) as caught:
        site.submit(datasets=["../sets/small/../../work"])
    assert (caught.value.field, caught.value.reason) == ("spec.datasets[0]", "OUTSIDE_ROOTS")
    wrong = {
        "a": {"spec": spec(options={"learning_rate": "fast"}), "request_id": "a"},
        "b": {"spec": spec(datasets=["/etc"]), "request_id": "b"},
        "c": {"spec": {**spec(), "stpes": 3}, "request_id": "c"},
        "d": {"spec": spec(parent="nobody/7"), "request_id": "d"},
        "e": {"spec": "nonsense", "request_id": "e"},
    }
    for arguments in wrong.values():
        site.celery.send_task("halftone.train", kwargs=arguments, queue="halftone.training")
    last = site.submit("refuses")
    assert site.wait(last).error.field == "spec.datasets"
    # Clients' messages and gRPC's jobs come in side by side, in no order.
    until(lambda: len(list(site.client.training_jobs(states=[JobState.FAILED]))) == 1 + len(wrong))
    found = {name: site.client.training_job(f"trainingJobs/{name}") for name in wrong}
    assert {job.state for job in found.values()} == {JobState.FAILED}
    fields = {name: getattr(job.error, "field", "") for name, job in found.items()}
    assert fields == {
        "a": "spec.options.learning_rate",
        "b": "spec.datasets[0]",
        "c": "spec.stpes",
        "d": "",
        "e": "spec",
    }
    assert isinstance(found["d"].error, errors.NotFound)
    assert site.wait(site.submit()).state is JobState.SUCCEEDED


def test_a_crash_fails_the_job_with_its_last_lines_and_not_the_worker(site):
    worker = site.worker()
    job = site.wait(site.submit("crash"))
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error.reason == "TRAINING_CRASHED"
    assert job.log_tail[-1] == "RuntimeError: the network is a pear"
    assert "step 3" in job.log_tail
    assert worker.poll() is None
    assert site.wait(site.submit()).state is JobState.SUCCEEDED


def test_a_dataset_that_vanished_while_the_job_waited(site):
    job = site.submit()
    assert job.state is JobState.QUEUED
    shutil.rmtree(site.folder / "sets" / "small")
    site.worker()
    job = site.wait(job)
    assert (job.state, job.error.reason) == (JobState.FAILED, "DATASET_NOT_FOUND")


def test_a_queued_job_is_cancelled_at_once_and_never_runs(site):
    job = site.submit()
    assert site.client.cancel_training_job(job.name).state is JobState.CANCELLED
    with pytest.raises(errors.FailedPrecondition):
        site.client.cancel_training_job(job.name)
    site.worker()
    assert site.wait(site.submit()).state is JobState.SUCCEEDED
    assert len(site.pids()) == 1


def test_cancellation_takes_effect_within_a_step(site):
    site.worker()
    site.pace(0.05)
    job = site.submit(steps=100_000)
    site.keep(job)
    site.wait_for_step(job, 3)
    before = len(site.kept(job, "steps.txt"))
    site.client.cancel_training_job(job.name)
    job = site.wait(job)
    assert job.state is JobState.CANCELLED
    assert not is_alive(site.pids()[0])
    # A look at the state each 0.2 s, a step of 0.05 s, the end of a Python process, a busy machine:
    # three seconds on the loop's own clock.
    assert len(site.kept(job, "steps.txt")) - before < 60
    # The worker tidies up after it has recorded the state.
    until(lambda: not (site.work / job.id / "run").exists())


def test_a_process_that_does_not_hear_is_killed(site):
    site.worker(HALFTONE_TRAINER_CANCEL_SECONDS="0.5")
    job = site.submit("deaf", steps=100_000)
    site.wait_for_step(job, 3)
    site.client.cancel_training_job(job.name)
    assert site.wait(job).state is JobState.CANCELLED
    assert not is_alive(site.pids()[0])


def test_kill_of_the_worker(site):
    """Its process dies with it; a new worker on the same device goes on at once."""
    # So long that nobody waits for it.
    lease = {"HALFTONE_TRAINER_LEASE_SECONDS": "600"}
    worker = site.worker(**lease)
    site.pace(SLOW)
    job = site.submit(steps=200)
    site.keep(job)
    site.wait_for_step(job, 6)
    worker.kill()
    worker.wait()
    until(lambda: not is_alive(site.pids(1)[0]))
    site.worker(**lease)
    until(lambda: site.pids(2))
    site.pace(FAST)
    job = site.wait(job)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2), job
    steps = list(map(int, site.kept(job, "steps.txt")))
    # From the checkpoint of every fifth step, so at most four were made twice.
    assert set(steps) == set(range(1, 201))
    assert len(steps) <= 204


@pytest.mark.soak
def test_kill_of_a_worker_whose_machine_does_not_come_back(site):
    """Another device takes the job over when its lease has run out."""
    lease = {"HALFTONE_TRAINER_LEASE_SECONDS": str(LEASE_SECONDS)}
    worker = site.worker(**lease)
    site.pace(SLOW)
    job = site.submit(steps=200)
    site.wait_for_step(job, 6)
    other = site.worker(**lease, HALFTONE_TRAINER_DEVICE="cpu")
    worker.kill()
    until(lambda: events(other.log, "started"))
    site.pace(FAST)
    job = site.wait(job)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2), job


@pytest.mark.soak
@pytest.mark.parametrize(
    ("seconds", "lease"),
    [
        (0.5, 60.0),
        pytest.param(LEASE_SECONDS + 2.0, LEASE_SECONDS, marks=pytest.mark.soak),
    ],
)
def test_the_broker_is_restarted_in_mid_job(site, seconds, lease):
    """Shorter than the lease, and the job does not notice; longer, and it goes on afterwards.

    A second worker waits for its chance. Each start and step is in the loop's own files; two loops
    at once would fail the job, since each locks its directory.
    """
    settings = {"HALFTONE_TRAINER_LEASE_SECONDS": str(lease)}
    first = site.worker(**settings)
    site.pace(SLOW)
    job = site.submit(steps=300)
    site.keep(job)
    site.wait_for_step(job, 6)
    site.worker(**settings, HALFTONE_TRAINER_DEVICE="cpu")
    site.valkey.kill()
    until(lambda: not probe.is_serving(site.address))
    time.sleep(seconds)
    if seconds > lease:
        # It was asked to end in time, with a checkpoint.
        assert not is_alive(site.pids(1)[0])
        assert [event["why"] for event in events(first.log, "ended")] == ["away"]
    site.valkey.start()
    site.pace(FAST)
    job = site.wait(job)
    assert job.state is JobState.SUCCEEDED, job
    starts, steps = site.kept(job, "starts.txt"), list(map(int, site.kept(job, "steps.txt")))
    assert steps == list(range(1, 301))
    assert len(starts) == job.attempts == (1 if seconds < lease else 2)
    until(lambda: probe.is_serving(site.address))


@pytest.mark.soak
def test_a_message_that_comes_again(site):
    """While the job runs, on another worker, and after it is over; from clients and from us."""
    site.worker()
    site.pace(SLOW)
    job = site.submit(steps=200)
    site.keep(job)
    site.wait_for_step(job, 3)
    other = site.worker(HALFTONE_TRAINER_DEVICE="cpu")
    again = {"spec": dict(job.spec), "request_id": job.id}
    site.celery.send_task("halftone.train", kwargs=again, queue="halftone.training")
    site.celery.send_task(WORK_TASK, kwargs={"job_id": job.id}, queue=WORK_QUEUE)
    until(lambda: events(other.log, "not_run"))
    site.pace(FAST)
    job = site.wait(job)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    site.celery.send_task("halftone.train", kwargs=again, queue="halftone.training")
    site.celery.send_task(WORK_TASK, kwargs={"job_id": job.id}, queue=WORK_QUEUE)
    assert site.wait(site.submit()).state is JobState.SUCCEEDED
    assert len(site.kept(job, "starts.txt")) == 1
    assert site.client.training_job(job.name).attempts == 1


def test_jobs_of_a_bare_celery_client_are_listed_while_no_worker_is_there(site):
    for name in ("one", "two"):
        site.celery.send_task(
            "halftone.train",
            kwargs={"spec": spec(), "request_id": name},
            queue="halftone.training",
        )
    until(lambda: len(list(site.client.training_jobs(states=[JobState.QUEUED]))) == 2)
    assert site.client.cancel_training_job("trainingJobs/two").state is JobState.CANCELLED
    site.worker()
    job = until(lambda: site.client.training_job("trainingJobs/one"))
    assert site.wait(job).state is JobState.SUCCEEDED
    assert len(site.pids()) == 1


@pytest.mark.soak
def test_a_worker_that_is_stopped_gives_its_job_back(site):
    worker = site.worker()
    site.pace(SLOW)
    job = site.submit(steps=200)
    site.keep(job)
    site.wait_for_step(job, 6)
    worker.terminate()
    assert worker.wait(60) == 0
    site.pace(FAST)
    assert site.client.training_job(job.name).state is JobState.QUEUED
    site.worker()
    job = site.wait(job)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2), job
    # It wrote a checkpoint at the step that it was in, so none was made twice.
    assert list(map(int, site.kept(job, "steps.txt"))) == list(range(1, 201))


def test_watching_shows_each_change_and_ends(site):
    site.worker()
    site.pace(SLOW)
    job = site.submit(steps=60)
    seen = []
    for each in site.client.watch_training_job(job.name):
        seen.append(each)
        if each.progress.phase == "training":
            site.pace(FAST)
    assert seen[-1].state is JobState.SUCCEEDED
    assert [each.revision for each in seen] == sorted({each.revision for each in seen})
    assert {each.state for each in seen} >= {JobState.RUNNING, JobState.SUCCEEDED}
    assert {each.progress.phase for each in seen} >= {"training"}
    with pytest.raises(errors.NotFound):
        list(site.client.watch_training_job("trainingJobs/unknown"))


# ---- with the real loop


TINY = {
    "batch": 8, "size": 32, "stages": 1, "grid": 2, "thumbnail": 4, "dimension": 12,
    "background": 4, "frequencies": 0, "validation": 8, "warmup": 2, "checkpoint_seconds": 0.3,
}  # fmt: skip


def pictures(folder: Path) -> None:
    generator = np.random.default_rng(0)
    rows = ["image_id,file,journal,date,rights"]
    for number, block in enumerate(generator.integers(0, 255, (40, 6, 6), dtype=np.uint8)):
        pixels = np.kron(block, np.ones((10, 12), dtype=np.uint8))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"p{number},{number}.png,Journal {number % 2},1900,Public domain")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_the_real_loop_killed_in_every_way_ends_with_the_same_bits(site):
    """Once undisturbed, once with `kill -9` of the process and of the worker."""
    pictures(site.folder / "sets" / "small")
    worker = site.worker("halftone.services.trainer.worker")
    steps = 160
    whole = site.wait(site.submit("whole", steps=steps, options=TINY), seconds=120)
    assert whole.state is JobState.SUCCEEDED, whole
    job = site.submit("parts", steps=steps, options=TINY)
    checkpoint = site.work / job.id / "run" / "checkpoint.pt"

    def progressed(number: int) -> int:
        """Waits until the process that runs has made a new checkpoint; gives its pid."""
        until(lambda: len(site.pids(number)) > 0)
        before = checkpoint.stat().st_mtime if checkpoint.exists() else 0
        until(lambda: checkpoint.exists() and checkpoint.stat().st_mtime > before)
        return site.pids(number)[-1]

    os.kill(progressed(1), signal.SIGKILL)
    until(lambda: len(site.pids(1)) == 3)  # the first job's, and two of this one
    progressed(1)
    worker.kill()
    worker.wait()
    site.worker("halftone.services.trainer.worker")
    job = site.wait(job, seconds=120)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 3), job
    models = site.folder / "models"
    whole_bits, parts_bits = (
        (models / version / "model.safetensors").read_bytes() for version in ("whole/1", "parts/1")
    )
    assert whole_bits == parts_bits


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_becomes_full(site):
    pictures(site.folder / "sets" / "small")
    site.work.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(site.work)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        worker = site.worker("halftone.services.trainer.worker")
        job = site.wait(site.submit(steps=30, options=TINY))
        assert job.state is JobState.FAILED
        assert isinstance(job.error, errors.StorageFull), job
        assert worker.poll() is None
        worker.terminate()
        worker.wait(60)
    finally:
        subprocess.run(["umount", "-l", str(site.work)], check=False)
