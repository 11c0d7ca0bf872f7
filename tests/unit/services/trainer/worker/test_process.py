"""The training process: how it starts beside services that have work to do."""

from __future__ import annotations

import os

from halftone.services.trainer.worker.process import TrainingProcess


def test_training_gives_way_to_other_processes(tmp_path):
    """It would take a core from the embedder otherwise, whose threads give way to its own loop."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    process = TrainingProcess(
        tmp_path / "config.json",
        log=tmp_path / "log.txt",
        module="tests.support.trainer.fake_training",
        environment={},
        nice=3,
    )
    try:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == own + 3
    finally:
        process.kill()
        process.close()
