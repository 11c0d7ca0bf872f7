"""Sends a run's figures to MLflow, where `MLFLOW_TRACKING_URI` names a server.

Training never waits for the server and never fails with it: everything is sent by a thread of its
own, what cannot be sent is dropped with one warning, and the end of a run waits a bounded time.
"""

from __future__ import annotations

import math
import queue
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from halftone.core.settings import TrackingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# A run of a day with a progress line each half minute has 2,880 steps.
_WAITING: Final = 10_000
_FINISH_SECONDS: Final = 30.0
# MLflow takes at most so many at a time, and so long a value.
_BATCH: Final = 100
_VALUE: Final = 500
_JOB_TAG: Final = "halftone.job"
_FOREIGN: Final = re.compile(r"[^\w./ -]")


@dataclass(frozen=True, kw_only=True)
class _Start:
    name: str
    params: Mapping[str, Any]
    job: str


@dataclass(frozen=True, kw_only=True)
class _Metrics:
    values: Mapping[str, float]
    step: int


@dataclass(frozen=True, kw_only=True)
class _Finish:
    status: str
    tags: Mapping[str, str]
    report: Path | None


class Tracker:
    """One run. Without a tracking URI it does nothing.

    Args:
        uri: Of the MLflow server; empty: nothing is tracked.
        experiment: Is made if it does not exist.
        name: Of the run.
        params: The settings; nested ones get names with a dot.
        job: The id of a training job. A run with this id is continued, so that a job that was
            interrupted is one run; empty: always a new run.
        warn: Takes one sentence, once, if something cannot be tracked.
        finish_seconds: How long `finish` waits.
    """

    def __init__(
        self,
        *,
        uri: str,
        experiment: str,
        name: str,
        params: Mapping[str, Any],
        job: str = "",
        warn: Callable[[str], None] = print,
        finish_seconds: float = _FINISH_SECONDS,
    ) -> None:
        self._uri, self._experiment = uri, experiment
        self._warn, self._finish_seconds = warn, finish_seconds
        self._failed = threading.Event()
        self._waiting: queue.Queue[_Start | _Metrics | _Finish] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        if uri:
            self._waiting.put(_Start(name=name, params=params, job=job))
            self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
            self._thread.start()

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None:
        """Take figures of a step; returns at once. What is no finite number is left out."""
        if self._thread is None or self._failed.is_set():
            return
        try:
            self._waiting.put_nowait(_Metrics(values=dict(_numbers(metrics)), step=step))
        except queue.Full:
            self._fail("it is too slow; what follows is not sent")

    def finish(
        self,
        metrics: Mapping[str, Any] | None = None,
        *,
        step: int = 0,
        report: Path | None = None,
        tags: Mapping[str, str] | None = None,
        succeeded: bool = True,
        seconds: float | None = None,
    ) -> None:
        """End the run: final figures, the report's folder as an artifact. May be called twice.

        Args:
            metrics: Nested dictionaries get names with a slash; lists are left out.
            step: Of the final figures.
            report: A folder.
            tags: For example the model version.
            succeeded: Whether the run is marked FINISHED, or FAILED.
            seconds: To wait at most; those that were given at first if None.
        """
        if self._thread is None:
            return
        patience = self._finish_seconds if seconds is None else seconds
        if metrics:
            self.log(metrics, step=step)
        status = "FINISHED" if succeeded else "FAILED"
        if not self._failed.is_set():
            try:
                self._waiting.put_nowait(_Finish(status=status, tags=tags or {}, report=report))
            except queue.Full:
                self._fail("it is too slow; the end of the run is not sent")
            self._thread.join(patience)
            if self._thread.is_alive():
                self._fail(f"it did not take everything within {patience:.0f} seconds")
        self._thread = None

    def _send(self) -> None:
        """The thread: the run is made first, then fed."""
        try:
            # Slow to import, and may not be installed: only where a server is named.
            from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415
            from mlflow.tracking import MlflowClient  # noqa: PLC0415

            client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            run = ""
            while not self._failed.is_set():
                entry = self._waiting.get()
                if isinstance(entry, _Start):
                    run, is_new = self._open(client, start=entry)
                    params = [
                        Param(key=key, value=value[:_VALUE]) for key, value in _texts(entry.params)
                    ]
                    for at in range(0, len(params) if is_new else 0, _BATCH):
                        client.log_batch(run, params=params[at : at + _BATCH])
                elif isinstance(entry, _Metrics):
                    now = time.time_ns() // 1_000_000
                    metrics = [
                        Metric(key=key, value=value, timestamp=now, step=entry.step)
                        for key, value in entry.values.items()
                    ]
                    for at in range(0, len(metrics), _BATCH):
                        client.log_batch(run, metrics=metrics[at : at + _BATCH])
                else:
                    tags = [RunTag(key=key, value=value) for key, value in entry.tags.items()]
                    client.log_batch(run, tags=tags)
                    if entry.report is not None:
                        client.log_artifacts(run, str(entry.report), artifact_path="report")
                    client.set_terminated(run, status=entry.status)
                    return
        except ModuleNotFoundError as error:
            self._fail(f"the package {error.name} is not installed: pip install 'halftone[mlflow]'")
        except Exception as error:  # noqa: BLE001 - whatever a client raises, training goes on
            self._fail(str(error).strip().partition("\n")[0] or type(error).__name__)

    def _open(self, client: Any, *, start: _Start) -> tuple[str, bool]:
        """The id of the run, and whether it is new."""
        found = client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else client.create_experiment(self._experiment)
        if start.job:
            wanted = f"tags.`{_JOB_TAG}` = '{start.job}'"
            runs = client.search_runs([experiment], filter_string=wanted, max_results=1)
            if runs:
                run = str(runs[0].info.run_id)
                client.update_run(run, status="RUNNING")
                return run, False
        tags = {_JOB_TAG: start.job} if start.job else {}
        return str(client.create_run(experiment, run_name=start.name, tags=tags).info.run_id), True

    def _fail(self, reason: str) -> None:
        if not self._failed.is_set():
            self._failed.set()
            self._warn(
                f"MLflow at {_without_password(self._uri)} does not get the figures: {reason}"
            )


def start(
    *,
    name: str,
    params: Mapping[str, Any],
    job: str = "",
    warn: Callable[[str], None] = print,
    settings: TrackingSettings | None = None,
) -> Tracker:
    """A tracker for the server that `MLFLOW_TRACKING_URI` names; see `Tracker`."""
    settings = settings or TrackingSettings()
    return Tracker(
        uri=settings.tracking_uri,
        experiment=settings.experiment_name,
        name=name,
        params=params,
        job=job,
        warn=warn,
    )


def _numbers(values: Mapping[str, Any], *, prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        name = prefix + _FOREIGN.sub("_", str(key))
        if isinstance(value, dict):
            yield from _numbers(value, prefix=f"{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)
        elif _is_interval(value):
            yield f"{name}/low", float(value[0])
            yield f"{name}/high", float(value[1])


def _is_interval(value: Any) -> bool:
    """Whether it is what `intervals` holds: two numbers."""
    two = isinstance(value, list | tuple) and len(value) == 2  # noqa: PLR2004
    return two and all(isinstance(end, int | float) and math.isfinite(end) for end in value)


def _texts(values: Mapping[str, Any], *, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = prefix + _FOREIGN.sub("_", str(key))
        if isinstance(value, dict):
            yield from _texts(value, prefix=f"{name}.")
        else:
            yield name, str(value)


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)
