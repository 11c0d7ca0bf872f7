"""A worker, as a process of its own, outlives every message on its queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from halftone.services.trainer.jobs.job import State
from halftone.services.trainer.jobs.queue import WORK_QUEUE
from tests.support.trainer.hostile_messages import make_hostile_messages
from tests.support.trainer.trainer_desk import until


def test_a_worker_outlives_every_message(desk, tmp_path):
    log = tmp_path / "worker.log"
    environment = {
        "HALFTONE_TRAINER_BROKER": desk.settings.broker,
        "HALFTONE_TRAINER_DATA_ROOTS": str(desk.settings.data_roots[0]),
        "HALFTONE_TRAINER_WORK_DIRECTORY": str(desk.settings.work_directory),
        "HALFTONE_TRAINER_MIN_FREE_BYTES": "0",
        "HALFTONE_TRAINER_WORKER_METRICS_PORT": "0",
        "HALFTONE_TRAINER_NICE": "0",
        "HALFTONE_MODELS_DIRECTORY": str(tmp_path / "models"),
    }
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.trainer.fake_worker"],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as worker,
    ):
        try:
            until(lambda: '"ready"' in log.read_text())
            # The last on the list is taken first; what is pushed last, last.
            for item in make_hostile_messages(WORK_QUEUE):
                desk.store.client.lpush(WORK_QUEUE, item)
            job = desk.submit(job_id="after")
            until(lambda: desk.store.get(job.id).state is not State.QUEUED)
            until(lambda: desk.queue.length() == 0)
            assert worker.poll() is None, log.read_text()
        finally:
            worker.terminate()
            worker.wait(60)
    text = log.read_text()
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert sum(event["event"] == "message_dropped" for event in events) >= 15
    # One worker, which was never started again within, took them all.
    assert sum(event["event"] == "ready" for event in events) == 1
    assert "Traceback" not in text
