"""Starts a worker: `python -m halftone.services.trainer.worker`.

The worker is a Celery worker with one thread for jobs and runs one job at a time on its device. It
does not import torch: the loop runs in a separate process (`halftone.services.trainer.loop.train`).
Settings: `HALFTONE_TRAINER_…`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import signals

from halftone.core import errors, telemetry
from halftone.core.locks import LockHeldError, locked
from halftone.core.settings import AccessSettings, ModelSettings, TrainerSettings
from halftone.service.access import find_metrics_host
from halftone.services.trainer.jobs.inbox import Inbox
from halftone.services.trainer.jobs.intake import Intake
from halftone.services.trainer.jobs.queue import JobQueue, make_app
from halftone.services.trainer.jobs.reaper import Reaper
from halftone.services.trainer.jobs.store import JobStore
from halftone.services.trainer.worker import tasks
from halftone.services.trainer.worker.metrics import WorkerMetrics
from halftone.services.trainer.worker.promotion import Promoter
from halftone.services.trainer.worker.runner import CHILD, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = telemetry.get_logger(__name__)

_DEVICE_PATIENCE_SECONDS: Final = 30.0
_BROKER_PATIENCE_SECONDS: Final = 60.0
_SECONDS_PER_HOUR: Final = 3600


def run(settings: TrainerSettings, *, models: Path, module: str = CHILD) -> None:
    """Run a worker until SIGTERM. Its job then goes back to the queue.

    Args:
        settings: The settings of the trainer.
        models: The registry's directory.
        module: The module that the training process runs.

    Raises:
        errors.FailedPrecondition: Another worker has the device.
        errors.Unavailable: The broker does not answer.
    """
    store = JobStore.connect(settings)
    # Longer than the longest job, so that its message does not come back while it runs.
    visibility = (settings.max_job_hours + settings.promotion_hours + 1) * _SECONDS_PER_HOUR
    app = make_app(settings.broker, visibility_seconds=visibility)
    queue = JobQueue(app)
    intake = Intake(store=store, queue=queue, settings=settings, models=models)
    metrics = telemetry.Metrics(service="trainer")
    stop = threading.Event()
    with contextlib.ExitStack() as open_things:
        open_things.callback(store.close)
        device = open_things.enter_context(
            hold_device(settings.work_directory, device=settings.device)
        )
        _wait_for(store)
        # The previous worker of the device is gone, so end its lease instead of waiting for that.
        for job_id in store.break_leases(prefix=f"{device.holder}/"):
            _log.warning("lease_of_the_dead", job=job_id)
        runner = Runner(
            store=store,
            queue=queue,
            intake=intake,
            settings=settings,
            models=models,
            holder=device.holder,
            metrics=WorkerMetrics(metrics),
            promote=Promoter(
                search=settings.search,
                patience=settings.promotion_hours * _SECONDS_PER_HOUR,
                key=AccessSettings().service_key,
            ),
            module=module,
            inherited=(device.descriptor,),
        )
        tasks.register(app, runner=runner)
        reaper = Reaper(
            store=store, queue=queue, settings=settings, directory=settings.work_directory
        )
        reaper.go_round()
        inbox = Inbox(broker=settings.broker, intake=intake)
        for name, loop in (("reaper", reaper.run), ("inbox", inbox.run)):
            thread = threading.Thread(target=loop, args=(stop,), name=name, daemon=True)
            thread.start()
            open_things.callback(thread.join, 10)
        open_things.callback(stop.set)

        def on_ready(**_: Any) -> None:
            # The metrics answer only from here on, which shows others that the worker is ready.
            _port, stop_metrics = metrics.serve(
                host=find_metrics_host(settings, AccessSettings()),
                port=settings.worker_metrics_port,
            )
            open_things.callback(stop_metrics)
            _log.info("ready", device=settings.device, holder=device.holder)

        def on_stopping(**_: Any) -> None:
            # This is a signal handler: set a plain value, take no lock.
            runner.stopping = True

        def keep_our_logging(**_: Any) -> None:
            pass

        signals.setup_logging.connect(keep_our_logging, weak=False)
        signals.worker_ready.connect(on_ready, weak=False)
        signals.worker_shutting_down.connect(on_stopping, weak=False)
        worker = app.Worker(
            pool="threads",
            concurrency=1,
            hostname=f"{os.getpid()}@{socket.gethostname()}",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        _log.info("stopped", status=worker.exitcode or 0)


class Device(NamedTuple):
    """A device that this process holds.

    Attributes:
        descriptor: File descriptor of the lock. A process that inherits it also holds the device.
        holder: The name of this device. It stays the same, and no other device of any machine has
            it.
    """

    descriptor: int
    holder: str


@contextlib.contextmanager
def hold_device(
    directory: Path, *, device: str, patience: float = _DEVICE_PATIENCE_SECONDS
) -> Iterator[Device]:
    """Hold a device of this machine, so that only one worker, and so one job, uses it.

    The training process inherits the lock. So the device is free only after that process has ended
    and released its memory.

    Args:
        directory: The work directory, which has the locks.
        device: The device, such as `cpu` or `cuda:1`.
        patience: Seconds to wait for another worker to release the device.

    Raises:
        errors.FailedPrecondition: Another worker has it.
    """
    folder = directory.absolute() / ".devices"  # no job has a name with a dot
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{socket.gethostname()}-{device.replace(':', '-')}.lock"
    try:
        lock = locked(path, seconds=patience)
    except LockHeldError as error:
        raise errors.FailedPrecondition(
            f"Another worker holds {device}; {path} is locked. One worker runs one job "
            "on one device: give this one another with HALFTONE_TRAINER_DEVICE.",
            subject=str(path),
            reason="DEVICE_IN_USE",
        ) from error
    with lock:
        holder = lock.read_note()
        if not holder:
            holder = uuid.uuid4().hex
            lock.write_note(holder)
        yield Device(descriptor=lock.descriptor, holder=holder)


def _wait_for(store: JobStore) -> None:
    until = time.monotonic() + _BROKER_PATIENCE_SECONDS
    while True:
        try:
            return store.ping()
        except errors.Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def main() -> None:
    """Run the command."""
    settings = TrainerSettings()
    telemetry.configure_logging(
        service="trainer-worker", level=settings.log_level, style=settings.log_format
    )
    try:
        run(settings, models=ModelSettings().directory)
    except errors.HalftoneError as error:
        _log.error("cannot_run", reason=error.reason, error=error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
