"""A trainer's service and worker in one process, over a real Valkey."""

from __future__ import annotations

import contextlib
import threading
import time

from halftone.core import telemetry, training
from halftone.core.settings import TrainerSettings
from halftone.services.trainer.jobs.inbox import Inbox
from halftone.services.trainer.jobs.intake import Intake
from halftone.services.trainer.jobs.queue import WORK_QUEUE, JobQueue, make_app
from halftone.services.trainer.jobs.reaper import Reaper
from halftone.services.trainer.jobs.store import JobStore
from halftone.services.trainer.worker.metrics import WorkerMetrics
from halftone.services.trainer.worker.runner import Runner


class Desk:
    """Everything that a worker and the service have, in this process."""

    def __init__(self, folder, *, url):
        write_data_set(folder / "sets" / "small")
        self.settings = TrainerSettings(
            broker=url,
            data_roots=(folder / "sets",),
            work_directory=folder / "work",
            # A worker that does not come to run for half of it lets go of its job.
            lease_seconds=120,
            max_crashes=2,
            min_free_bytes=0,
        )
        self.store = JobStore.connect(self.settings)
        self.app = make_app(url)
        self.queue = JobQueue(self.app)
        self.intake = Intake(
            store=self.store, queue=self.queue, settings=self.settings, models=folder / "models"
        )
        self.inbox = Inbox(broker=url, intake=self.intake, poll=0.05, visibility=1.0)
        self.now = 0.0
        self.reaper = Reaper(
            store=self.store,
            queue=self.queue,
            settings=self.settings,
            directory=folder / "work",
            clock=lambda: self.now,
        )

    def runner(self, promote=None, **changes):
        return Runner(
            store=self.store,
            queue=self.queue,
            intake=self.intake,
            settings=self.settings.model_copy(update=changes),
            models=self.settings.work_directory.parent / "models",
            holder="here",
            metrics=WorkerMetrics(telemetry.Metrics(service="trainer")),
            promote=promote,
            module="tests.support.trainer.fake_training",
        )

    def submit(self, name="plain", *, job_id="", **fields):
        return self.intake.submit(training.parse_spec(spec(name, **fields)), request_id=job_id)

    @contextlib.contextmanager
    def reading(self, inbox=None):
        """Run an inbox meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=(inbox or self.inbox).run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()

    def take(self, name=WORK_QUEUE):
        """Take the next message off a queue and acknowledge it, as if it got lost afterwards."""
        with self.app.connection_for_read() as connection, connection.SimpleQueue(name) as waiting:
            message = waiting.get(timeout=60)
            message.ack()
            return message.headers["id"]

    def put(self, arguments, *, task_id=None, task=training.TASK):
        """Put a job on the clients' queue, as a program does that has nothing but Celery."""
        self.app.send_task(task, kwargs=arguments, task_id=task_id, queue=training.QUEUE)


def write_data_set(folder, *, pictures=513, groups=3, per_group=2):
    """Writes a manifest with its groups, and files that are no pictures: nobody opens them."""
    folder.mkdir(parents=True)
    rows = ["image_id,file,journal,group"]
    for number in range(pictures):
        (folder / f"{number}.jpg").touch()
        group = f"g{number // per_group}" if number < groups * per_group else ""
        rows.append(f"p{number},{number}.jpg,J{number % 2},{group}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def spec(name="plain", **fields):
    return {
        "objective": "metric",
        "datasets": ["small"],
        "model_name": name,
        "steps": 12,
        **fields,
    }


def run_out(desk):
    """Lets the lease on job `a` run out now."""
    key = "halftone:training:lease:a"
    assert 0 < desk.store.client.pttl(key) <= 60_000
    desk.store.client.pexpire(key, 1)
    until(lambda: not desk.store.client.exists(key))


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
