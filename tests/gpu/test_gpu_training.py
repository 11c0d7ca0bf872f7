"""Training on a GPU: it learns, resumes, prints on the device, and gives its memory back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from halftone.registry.versions import Registry
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.train import main
from halftone.vision.model import Model
from halftone.vision.simulation import PressSimulation
from tests.gpu import step

pytestmark = pytest.mark.gpu

SIZES = {
    "--size": "32", "--stages": "1", "--grid": "2", "--thumbnail": "4", "--dimension": "12",
    "--batch": "16", "--validation": "8", "--background": "4", "--warmup": "2",
    "--report-seconds": "0",
}  # fmt: skip


@pytest.fixture
def config(collection, tmp_path):
    def make(**changes):
        values = {
            "data": (collection,), "work": tmp_path / "work", "models": tmp_path / "models",
            "name": "tiny", "steps": 40, "batch": 16, "size": 32, "stages": 1, "grid": 2,
            "thumbnail": 4, "dimension": 12, "validation": 8, "warmup": 2,
        }  # fmt: skip
        return TrainingConfig(**(values | changes))

    return make


def command(collection, tmp_path, **changes):
    options = {
        **SIZES,
        "--data": str(collection),
        "--work": str(tmp_path / "work"),
        "--models": str(tmp_path / "models"),
        "--name": "tiny",
        **{f"--{name.replace('_', '-')}": str(value) for name, value in changes.items()},
    }
    return [
        *(sys.executable, "-m", "halftone.services.trainer.loop.train"),
        *(word for pair in options.items() for word in pair),
    ]


def environment(device):
    """As the command would find the machine if the tested device were its only one."""
    shown = "" if device.type == "cpu" else str(device.index or 0)
    return {**os.environ, "CUDA_VISIBLE_DEVICES": shown}


def test_steps_on_the_device_lower_the_loss(config, device):
    run = step.begun(config(learning_rate=3e-3, head_learning_rate=3e-3), device=device)
    rows = run.plan.batches(start=0)

    losses = [float(run.advance(next(rows), rate=1.0)) for _ in range(40)]

    assert {parameter.device.type for parameter in run.network.parameters()} == {device.type}
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_printings_are_made_on_the_device_and_the_same_for_a_seed(device):
    pictures = torch.randint(0, 256, (6, 48, 48), dtype=torch.uint8, device=device)
    press = PressSimulation(size=32)

    first, second, other = (
        press(pictures, generator=torch.Generator(device).manual_seed(seed)) for seed in (1, 1, 2)
    )

    assert first.device.type == device.type
    assert first.shape == (6, 32, 32)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_a_run_that_was_stopped_continues(collection, tmp_path, device):
    whole = command(collection, tmp_path, steps=30, checkpoint_seconds=0)
    with subprocess.Popen(
        whole, env=environment(device), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step 3 "):
                process.send_signal(signal.SIGTERM)
        stopped = process.wait(60)
    assert stopped == 128 + signal.SIGTERM

    again = subprocess.run(
        whole, env=environment(device), capture_output=True, text=True, check=False, timeout=120
    )

    assert again.returncode == 0, again.stderr
    steps = [int(line.split()[1]) for line in again.stdout.splitlines() if line.startswith("step ")]
    assert steps[0] > 3
    assert steps[-1] == 30
    version = Registry(tmp_path / "models").resolve("tiny/1")
    assert Model.load(version.directory, device=device).check_golden(version.directory) > 0.99


@pytest.mark.gpu(only=True)
def test_the_same_seed_trains_alike(config, device):
    ends = []
    for name in ("a", "b"):
        run = step.begun(config(work=config().work / name), device=device)
        rows = run.plan.batches(start=0)
        ends.append([float(run.advance(next(rows), rate=1.0)) for _ in range(10)])

    # Sums on a GPU come in any order: alike, not equal.
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


@pytest.mark.gpu(only=True)
def test_a_cancelled_run_gives_its_memory_back(collection, tmp_path, device):
    free = torch.cuda.mem_get_info(device)[0]
    # Large enough to be seen.
    whole = command(collection, tmp_path, time_limit=5, size=224, backbone="resnet50", stages=4)
    with subprocess.Popen(
        whole, env=environment(device), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step "):
                break
        held = free - torch.cuda.mem_get_info(device)[0]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        took = time.monotonic() - began

    assert held > 500 << 20
    assert process.returncode == 128 + signal.SIGTERM
    # A step, and a checkpoint.
    assert took < 20
    assert free - torch.cuda.mem_get_info(device)[0] < 64 << 20


@pytest.fixture
def handlers():
    """The command installs its own."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.gpu(only=True)
@pytest.mark.usefixtures("handlers")
def test_too_little_memory_is_told_in_a_sentence(collection, tmp_path, device, capsys):
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved(device) + (256 << 20)
    total = torch.cuda.get_device_properties(device).total_memory
    whole = command(collection, tmp_path, steps=2, size=224, backbone="resnet50", stages=4)
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
    try:
        status = main(whole[3:])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)

    assert status == 2
    assert "error: The device's memory is too small" in capsys.readouterr().err
    assert Registry(tmp_path / "models").list() == []
