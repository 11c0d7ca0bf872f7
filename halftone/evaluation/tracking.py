"""Sends a run's figures to MLflow, if `MLFLOW_TRACKING_URI` names a server.

Training never waits for the server and never fails with it: a separate thread sends everything,
figures that cannot be sent are dropped with one warning, and the end of a run waits for a bounded
time.

MLflow's own asynchronous logging cannot promise that: it covers only figures, not the beginning and
the end of a run; its queue has no bound; and at the process's end it waits until a server that does
not answer has been tried again seven times for two minutes each.
"""

from __future__ import annotations

import functools
import math
import queue
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from halftone.core.extras import make_install_command
from halftone.core.settings import TrackingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# A run of a day with a progress line each half minute has 2,880 steps.
_WAITING: Final = 10_000
_FINISH_SECONDS: Final = 30.0
# MLflow takes at most this many figures at a time, and values of at most this length.
_BATCH: Final = 100
_VALUE: Final = 500
_JOB_TAG: Final = "halftone.job"
_FOREIGN: Final = re.compile(r"[^\w./ -]")


class _Run:
    """A run on the tracking server.

    Its methods may wait for the server, so the tracker's thread calls them.
    """

    def __init__(
        self, uri: str, *, experiment: str, name: str, params: Mapping[str, Any], job: str
    ) -> None:
        # Imported here because it is slow to import and may not be installed.
        from mlflow.entities import Param  # noqa: PLC0415
        from mlflow.tracking import MlflowClient  # noqa: PLC0415

        self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        known = self._client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self._client.create_experiment(experiment)
        if job:
            wanted = f"tags.`{_JOB_TAG}` = '{job}'"
            runs = self._client.search_runs([number], filter_string=wanted, max_results=1)
            if runs:
                self._id = str(runs[0].info.run_id)
                self._client.update_run(self._id, status="RUNNING")
                return
        run = self._client.create_run(number, run_name=name, tags={_JOB_TAG: job} if job else {})
        self._id = str(run.info.run_id)
        entries = [Param(key=key, value=value[:_VALUE]) for key, value in _texts(params)]
        for at in range(0, len(entries), _BATCH):
            self._client.log_batch(self._id, params=entries[at : at + _BATCH])

    def log(self, values: Mapping[str, float], *, step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415

        entries = [
            Metric(key=key, value=value, timestamp=milliseconds, step=step)
            for key, value in values.items()
        ]
        for at in range(0, len(entries), _BATCH):
            self._client.log_batch(self._id, metrics=entries[at : at + _BATCH])

    def finish(self, *, status: str, tags: Mapping[str, str], report: Path | None) -> None:
        from mlflow.entities import RunTag  # noqa: PLC0415

        entries = [RunTag(key=key, value=value) for key, value in tags.items()]
        self._client.log_batch(self._id, tags=entries)
        if report is not None:
            self._client.log_artifacts(self._id, str(report), artifact_path="report")
        self._client.set_terminated(self._id, status=status)


class Tracker:
    """Sends the figures of one run. Without a tracking URI it sends nothing.

    Args:
        uri: Address of the MLflow server; empty for no tracking.
        experiment: The experiment, which is created if it does not exist.
        name: The run's name.
        params: The run's settings; nested settings get names with a dot.
        job: The id of a training job. A run with this id is continued, so that an interrupted job
            is one run. Empty always starts a new run.
        warn: Called once, with one sentence, if something cannot be tracked.
        finish_seconds: The most seconds that `finish` waits.
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
        self._uri, self._warn, self._finish_seconds = uri, warn, finish_seconds
        self._failed = threading.Event()
        self._calls: queue.Queue[tuple[Callable[[_Run], None], bool]] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        if uri:
            begin = functools.partial(
                _Run, uri, experiment=experiment, name=name, params=params, job=job
            )
            # The thread is a daemon, so that the process may end while the server still does not
            # answer.
            self._thread = threading.Thread(
                target=self._send, args=(begin,), name="mlflow", daemon=True
            )
            self._thread.start()

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None:
        """Put the figures of a step into the queue and return at once.

        Values that are not finite numbers are left out.
        """
        values, now = dict(_numbers(metrics)), time.time_ns() // 1_000_000
        self._put(lambda run: run.log(values, step=step, milliseconds=now))

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
        """End the run: send final figures, and a report as artifacts. May be called twice.

        Args:
            metrics: The final figures; nested dictionaries get names with a slash, lists are left
                out.
            step: The step of the final figures.
            report: The folder of the report.
            tags: Tags of the run, for example the model version.
            succeeded: Whether the run is marked FINISHED, or FAILED.
            seconds: The most seconds to wait; None takes `finish_seconds`.
        """
        if self._thread is None:
            return
        patience = self._finish_seconds if seconds is None else seconds
        values, now = dict(_numbers(metrics or {})), time.time_ns() // 1_000_000
        status = "FINISHED" if succeeded else "FAILED"

        def end(run: _Run) -> None:
            run.log(values, step=step, milliseconds=now)
            run.finish(status=status, tags=tags or {}, report=report)

        # One call, since the queue may have room for one more only.
        self._put(end, is_last=True)
        if not self._failed.is_set():
            self._thread.join(patience)
            if self._thread.is_alive():
                self._fail(f"it did not take everything within {patience:.0f} seconds")
        self._thread = None

    def _put(self, call: Callable[[_Run], None], *, is_last: bool = False) -> None:
        if self._thread is None or self._failed.is_set():
            return
        try:
            self._calls.put_nowait((call, is_last))
        except queue.Full:
            self._fail("it is too slow; what follows is not sent")

    def _send(self, begin: Callable[[], _Run]) -> None:
        """Begin the run, then make the queued calls one after the other. Runs in the thread."""
        try:
            run, is_last = begin(), False
            while not is_last:
                call, is_last = self._calls.get()
                if self._failed.is_set():
                    return
                call(run)
        except ModuleNotFoundError as error:
            command = make_install_command("mlflow")
            self._fail(f"the package {error.name} is not installed: {command}")
        except Exception as error:  # noqa: BLE001 - whatever a client raises, training goes on
            self._fail(str(error).strip().partition("\n")[0] or type(error).__name__)

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
    wanted: bool = True,
) -> Tracker:
    """Return a tracker for the server that `MLFLOW_TRACKING_URI` names.

    Args:
        name: As in `Tracker`.
        params: As in `Tracker`.
        job: As in `Tracker`.
        warn: As in `Tracker`.
        settings: The settings of the server; None reads them from the environment.
        wanted: Whether to track at all; if not, the tracker does nothing.
    """
    settings = settings or TrackingSettings()
    return Tracker(
        uri=settings.tracking_uri if wanted else "",
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
    """Return whether a value is an interval: two finite numbers."""
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
