"""The training loop against a bare one: `python -m tests.bench.trainer`.

Bare is what a step cannot do without: print the batch, embed, loss, gradients, clip, optimizer. The
trainer adds the order of the pictures, averaged weights, losses and clocks, and progress events.
Both take turns on the same machine, so that what else runs there slows both. Checkpoints, one in
five minutes of a run, are left out here, where there would be one after each few steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from halftone.archive.data_sets import Entry
from halftone.evaluation.tracking import Tracker
from halftone.services.trainer.data.dataset import SceneDataset
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.events import Events
from halftone.services.trainer.loop.initialise import begin
from halftone.services.trainer.loop.plan import TrainingPlan
from halftone.services.trainer.loop.progress import Meter
from halftone.services.trainer.loop.state import Run
from halftone.services.trainer.loop.train import take_steps


def run(
    *,
    rounds: int = 5,
    steps: int = 4,
    batch: int = 64,
    pictures: int = 1024,
    backbone: str = "resnet18",
    threads: int = 0,
) -> dict[str, Any]:
    """Take turns; figures in images per second, medians over rounds."""
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(
            work=Path(folder), batch=batch, steps=10**9, backbone=backbone, report_seconds=1.0
        )
        plan = _plan(config, pictures=pictures, size=round(config.size * 1.5))
        trained = _Run(plan, start=begin(config), device=device)
        bare = Run(plan, start=begin(config), device=device)
        with Path(os.devnull).open("wb") as nowhere:
            events = Events(nowhere.fileno())
            meter = Meter(
                trained,
                log=lambda _line: None,
                events=events,
                tracker=Tracker(uri="", experiment="", name="", params={}),
            )
            waiting, ours, theirs = 0.0, [], []
            for number in range(rounds + 1):
                meter.restart_clock()
                saving, begun = trained.saving, time.monotonic()
                asked = itertools.count()
                take_steps(trained, meter=meter, stop=lambda: next(asked) >= steps)  # noqa: B023
                # By a clock outside; before it saves, the loop waits for the device.
                spent = time.monotonic() - begun - (trained.saving - saving)
                took = _bare(bare, steps=steps)
                if number:  # the first warms up
                    ours.append(steps * batch / spent)
                    theirs.append(steps * batch / took)
        meter.report({})
        waiting = trained.history[-1]["waiting"]
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "backbone": backbone,
        "batch": batch,
        "trainer": statistics.median(ours),
        "bare": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "waiting_for_data": waiting,
    }


class _Run(Run):
    """Keeps account of the seconds that checkpoints take."""

    saving = 0.0

    def save(self) -> None:
        """See `Run`."""
        begun = time.monotonic()
        super().save()
        self.saving += time.monotonic() - begun


def show(found: dict[str, Any]) -> None:
    """Print a table for people."""
    print(f"trainer, {found['backbone']}, batch {found['batch']}, {found['device']}")
    print(f"  trainer            {found['trainer']:8.1f} images/s")
    print(f"  bare loop          {found['bare']:8.1f} images/s")
    print(f"  trainer over bare  {found['ratio']:8.3f}")
    print(f"  waiting for data   {found['waiting_for_data']:8.2%}")


def _bare(run: Run, *, steps: int) -> float:
    """Seconds of the same steps without anything around them."""
    config = run.config
    generator = torch.Generator(run.device).manual_seed(0)
    orders = [torch.randperm(len(run.pixels))[: config.batch].to(run.device) for _ in range(steps)]
    run.network.train()
    begun = time.monotonic()
    for rows in orders:
        printings = run.simulation(run.pixels[rows], generator=generator)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=run.device.type == "cuda"):
            embeddings = run.network.project(printings.unsqueeze(1))
        loss = run.objective(embeddings.float(), rows=rows)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.network.parameters(), config.clip)
        run.optimizer.step()
    if run.device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - begun


def _plan(config: TrainingConfig, *, pictures: int, size: int) -> TrainingPlan:
    """Smooth noise instead of pictures: a step takes as long."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(pictures, 1, 12, 12, generator=generator)
    pixels = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    data = SceneDataset(
        ids=tuple(str(number) for number in range(pictures)),
        entries=tuple(Entry(image_id=str(n), path=Path()) for n in range(pictures)),
        pixels=pixels.squeeze(1).mul(255).clamp(0, 255).to(torch.uint8),
        families=np.arange(pictures),
        names=("",) * pictures,
        composite=np.zeros(pictures, dtype=bool),
        links=np.empty((0, 2), dtype=np.int64),
    )
    nothing = data.select([])
    return TrainingPlan(
        config=config,
        training=data,
        validation=nothing,
        test=nothing,
        known=nothing,
        findings=(),
        facts={"sha256": ""},
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = vars(parser.parse_args())
    file = arguments.pop("json")
    found = run(**arguments)
    show(found)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
