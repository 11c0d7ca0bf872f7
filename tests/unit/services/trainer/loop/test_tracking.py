"""Figures on their way to MLflow; training never waits for it and never fails with it."""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow.tracking import MlflowClient

from halftone.core import errors
from halftone.core.settings import TrackingSettings
from halftone.evaluation import tracking
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.train import train


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A tracking URI that needs no server; MLflow wants to be asked for it by name."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file:{tmp_path / 'mlruns'}"


def begin(uri, *, warn=print, **options):
    options = {"name": "run", "params": {}, "finish_seconds": 20.0} | options
    return tracking.Tracker(uri=uri, experiment="halftone", warn=warn, **options)


def runs_of(uri):
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("halftone")
    return client, client.search_runs([experiment.experiment_id])


@pytest.mark.filterwarnings("default")  # MLflow's own
def test_settings_figures_and_report_arrive(store, tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "index.html").write_text("<p>figures</p>")
    warnings = []
    tracker = begin(store, warn=warnings.append, params={"batch": 64, "printing": {"crop": 0.2}})

    for step in range(3):
        tracker.log({"loss": 1 / (step + 1), "left": float("nan")}, step=step)
    final = {"archive": {"map": 0.9, "queries": 4, "intervals": {"map": [0.8, 0.95]}}}
    tracker.finish(final, step=3, report=report, tags={"model_version": "model/1"})

    assert warnings == []
    client, (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"batch": "64", "printing.crop": "0.2"}
    assert run.data.tags["model_version"] == "model/1"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(entry.step, entry.value) for entry in losses] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert "left" not in run.data.metrics
    assert run.data.metrics["archive/map"] == 0.9
    assert run.data.metrics["archive/intervals/map/low"] == 0.8
    (artifact,) = client.list_artifacts(run.info.run_id, "report")
    assert artifact.path == "report/index.html"


@pytest.mark.filterwarnings("default")
def test_a_job_that_was_interrupted_stays_one_run(store):
    first = begin(store, job="job-1", params={"batch": 64})
    first.log({"loss": 2.0}, step=1)
    first.finish(succeeded=False)
    again = begin(store, job="job-1", params={"batch": 32})
    again.log({"loss": 1.0}, step=2)
    again.finish()
    begin(store, job="job-2").finish()

    _, runs = runs_of(store)
    by_job = {run.data.tags["halftone.job"]: run for run in runs}
    assert set(by_job) == {"job-1", "job-2"}
    assert by_job["job-1"].info.status == "FINISHED"
    assert by_job["job-1"].data.metrics["loss"] == 1.0
    assert by_job["job-1"].data.params == {"batch": "64"}


@pytest.mark.filterwarnings("default")
def test_a_run_that_fails_is_marked_so(store, collection, tmp_path, monkeypatch):
    """Not for ever running."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    settings = {"size": 32, "stages": 1, "grid": 2, "dimension": 12, "batch": 8, "warmup": 1}
    rates = {"learning_rate": 1e30, "head_learning_rate": 1e30, "clip": 1e30}
    config = TrainingConfig(
        data=(collection,), work=tmp_path / "work", models=tmp_path / "models", steps=4,
        validation=8, thumbnail=4, background=4, threads=1, **settings, **rates,
    )  # fmt: skip
    with pytest.raises(errors.FailedPrecondition):
        train(config, log=lambda _line: None)

    _, (run,) = runs_of(store)
    assert run.info.status == "FAILED"


def test_nothing_happens_without_a_uri():
    before = threading.active_count()
    tracker = tracking.start(name="run", params={}, settings=TrackingSettings(tracking_uri=""))
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish({"map": 1.0})
    assert threading.active_count() == before


def test_the_environment_names_the_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "plates")
    settings = TrackingSettings()
    assert (settings.tracking_uri, settings.experiment_name) == ("http://mlflow:5000", "plates")


def test_a_server_that_never_answers_costs_a_bounded_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        warnings = []
        tracker = begin(
            f"http://user:secret@127.0.0.1:{port}", warn=warnings.append, finish_seconds=0.5
        )
        began = time.monotonic()
        for step in range(100):
            tracker.log({"loss": 1.0}, step=step)
        tracker.finish({"map": 1.0})
        tracker.finish()
        assert time.monotonic() - began < 60
    (warning,) = warnings
    assert "does not get the figures" in warning
    assert "secret" not in warning


class _Refusing(BaseHTTPRequestHandler):
    """Answers every call with an error that no client repeats."""

    def do_GET(self):
        body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "not you"}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - as http.server names it

    def log_message(self, *arguments):
        pass


@pytest.mark.filterwarnings("default")
def test_a_server_that_refuses_is_named_once():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        warnings = []
        tracker = begin(f"http://127.0.0.1:{server.server_port}", warn=warnings.append)
        tracker.log({"loss": 1.0}, step=0)
        tracker.finish({"map": 1.0})
        server.shutdown()
    (warning,) = warnings
    assert "not you" in warning


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.entities", None)
    warnings = []
    tracker = begin("http://127.0.0.1:1", warn=warnings.append)
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish()
    (warning,) = warnings
    assert "halftone-search[mlflow]" in warning


class _SlowRun:
    """A run whose first call waits until it may go on; notes what it was told."""

    def __init__(self):
        self.busy, self.go_on, self.told = threading.Event(), threading.Event(), []

    def log(self, values, *, step, milliseconds):
        self.busy.set()
        assert self.go_on.wait(60)
        self.told.append((step, values))

    def finish(self, *, status, tags, report):
        self.told.append(status)


def test_the_last_free_place_in_the_queue_is_enough_for_the_end(monkeypatch):
    run, warnings = _SlowRun(), []
    monkeypatch.setattr(tracking, "_WAITING", 2)
    monkeypatch.setattr(tracking, "_Run", lambda *_args, **_options: run)
    tracker = begin("http://127.0.0.1:1", warn=warnings.append)
    tracker.log({"loss": 3.0}, step=0)
    assert run.busy.wait(60)
    tracker.log({"loss": 2.0}, step=1)

    threading.Timer(0.2, run.go_on.set).start()
    tracker.finish({"map": 1.0}, step=2)

    assert warnings == []
    assert run.told == [(0, {"loss": 3.0}), (1, {"loss": 2.0}), (2, {"map": 1.0}), "FINISHED"]
