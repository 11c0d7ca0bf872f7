"""Starts the service of training jobs: `python -m halftone.services.trainer`.

The service accepts jobs and reports their state; workers (`halftone.services.trainer.worker`) run
them. Settings: `HALFTONE_TRAINER_…`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry, training
from halftone.core.settings import ModelSettings, TrainerSettings
from halftone.service import server
from halftone.service.limits import Limit
from halftone.service.watchdog import run_watched
from halftone.services.trainer.jobs.changes import Changes
from halftone.services.trainer.jobs.inbox import Inbox
from halftone.services.trainer.jobs.intake import Intake
from halftone.services.trainer.jobs.queue import JobQueue, make_app
from halftone.services.trainer.jobs.reaper import Reaper
from halftone.services.trainer.jobs.store import JobStore
from halftone.services.trainer.servicer import TrainerServicer
from halftone.v1 import trainer_pb2, trainer_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_SERVICE = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name
_WATCH_SECONDS = 2.0

_log = telemetry.get_logger(__name__)


async def run(
    settings: TrainerSettings,
    *,
    models: Path,
    on_listening: Callable[[int, int], None] = lambda _port, _metrics_port: None,
) -> None:
    """Run the service until SIGTERM.

    Args:
        settings: The settings of the trainer.
        models: The registry's directory.
        on_listening: Called with the gRPC port and the metrics' port once both are open.
    """
    metrics = telemetry.Metrics(service="trainer")
    store = JobStore.connect(settings)
    queue = JobQueue(make_app(settings.broker))
    intake = Intake(store=store, queue=queue, settings=settings, models=models)
    changes = Changes(store)
    reaper = Reaper(store=store, queue=queue, settings=settings, directory=settings.work_directory)
    inbox = Inbox(broker=settings.broker, intake=intake)
    gauges = _Gauges(metrics, store=store, queue=queue)
    ending = threading.Event()
    threads = [
        threading.Thread(target=loop, args=(ending,), name=name, daemon=True)
        for name, loop in (("reaper", reaper.run), ("inbox", inbox.run))
    ]

    async def start(health: server.Health) -> None:
        changes.start()
        for thread in threads:
            thread.start()
        while True:
            try:
                await asyncio.to_thread(gauges.read)
            except errors.HalftoneError as error:
                if health.serving:
                    _log.warning("broker_lost", error=error.message)
                await health.set_serving(serving=False)
            else:
                await health.set_serving(serving=True)
            await asyncio.sleep(_WATCH_SECONDS)

    async def stop() -> None:
        ending.set()
        await changes.stop()
        for thread in threads:
            if thread.ident is not None:
                await asyncio.to_thread(thread.join, 10)
        store.close()

    await server.serve(
        server.Service(
            name="trainer",
            full_names=(_SERVICE,),
            register=lambda grpc_server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
                TrainerServicer(store=store, intake=intake, changes=changes), grpc_server
            ),
            start=start,
            stop=stop,
            # A page has up to a thousand jobs, each of which is read from the broker.
            limits=(
                Limit(
                    name="lists",
                    most=settings.max_concurrent_lists,
                    methods=frozenset({"ListTrainingJobs"}),
                ),
            ),
            drain=changes.end_streams,
            on_listening=on_listening,
            settings=settings,
            metrics=metrics,
        )
    )


class _Gauges:
    """Metrics of the jobs and messages in the broker. Reading them shows that it answers."""

    def __init__(self, metrics: telemetry.Metrics, *, store: JobStore, queue: JobQueue) -> None:
        self._store, self._queue = store, queue
        self._jobs = metrics.gauge("jobs", "Training jobs by state", labels=("state",))
        self._length = metrics.gauge("queue_messages", "Messages that wait for a worker")
        self._up = metrics.gauge("broker_up", "1 while the broker answers")

    def read(self) -> None:
        """Read the metrics again.

        Raises:
            errors.Unavailable: The broker does not answer.
        """
        try:
            for state, count in self._store.counts().items():
                self._jobs.labels(state.value).set(count)
            self._length.set(self._queue.length() + self._queue.length(training.QUEUE))
        except errors.HalftoneError:
            self._up.set(0)
            raise
        self._up.set(1)


def main() -> None:
    """Run the command."""
    settings = TrainerSettings()
    telemetry.configure_logging(
        service="trainer", level=settings.log_level, style=settings.log_format
    )
    try:
        asyncio.run(
            run_watched(
                run(settings, models=ModelSettings().directory), seconds=settings.hang_seconds
            )
        )
    except errors.HalftoneError as error:
        _log.error("cannot_run", reason=error.reason, error=error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
