"""Two processes do what one does in two parts."""

import json
import os
import subprocess
import sys

import pytest
import torch

from halftone.registry.versions import Registry
from halftone.services.trainer.loop.checkpoint import CHECKPOINT
from tests.support.trainer.tiny_training import TINY


@pytest.mark.soak
def test_two_processes_learn_what_one_does(scenes, tmp_path):
    def run(name: str, *launcher: str) -> dict:
        settings = TINY | {
            "objective": "metric",
            "data": [str(scenes)],
            "work": str(tmp_path / name),
            "models": str(tmp_path / name / "models"),
            "name": "tiny",
            "batch": 16,
            "accumulate": 2,
            "steps": 4,
            "validation_share": 0.2,
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(settings))
        subprocess.run(
            [
                sys.executable,
                *launcher,
                "-m",
                "halftone.services.trainer.loop.train",
                "--config",
                str(path),
            ],
            check=True,
            timeout=280,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return torch.load(tmp_path / name / CHECKPOINT, weights_only=True)

    one = run("one")
    two = run("two", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")

    losses = [
        [entry["loss"] for entry in state["history"] if "loss" in entry] for state in (one, two)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert two["step"] == one["step"] == 4
    for part in ("network", "averaged", "objective"):
        for name, tensor in one[part].items():
            if "running" not in name and "tracked" not in name:  # of a process's own parts
                torch.testing.assert_close(two[part][name], tensor, rtol=1e-3, atol=1e-4)
    # One of them published.
    assert [version.id for version in Registry(tmp_path / "two" / "models").list()] == ["tiny/1"]
