"""A training step: images a second, beside its parts and beside waiting for data."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image

from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.initialise import begin
from halftone.services.trainer.loop.plan import read_plan
from halftone.services.trainer.loop.state import Run
from tests.gpu import network
from tests.gpu.pictures import smooth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tests.gpu.report import Report
    from tests.gpu.stages import Settings

_OVER_BARE: Final = 0.95
_WAITING: Final = 0.05
# Compiling forwards and backwards takes minutes; it is left out where there is less.
_COMPILE_SECONDS: Final = 150.0


def configuration(*, tiny: bool, batch: int, data: Path, work: Path) -> TrainingConfig:
    """A self-supervised run of ResNet-152 at 224 pixels."""
    sizes: dict[str, Any] = {"backbone": "resnet152", "size": 224, "stages": 4}
    if tiny:
        sizes = {"size": 32, "stages": 1, "grid": 2, "thumbnail": 4, "dimension": 12}
    return TrainingConfig(data=(data,), work=work, steps=10_000, batch=batch, validation=0, **sizes)


def begun(config: TrainingConfig, *, device: torch.device) -> Run:
    """The run as the loop has it before its first step."""
    config.work.mkdir(parents=True, exist_ok=True)
    start = begin(config)
    return Run(read_plan(config, start=start, resumes=False), start=start, device=device)


def run(report: Report, *, settings: Settings) -> None:
    """Measure `Run.advance`, its parts, and a loop of the network alone."""
    device, tiny = torch.device(settings.device), settings.tiny
    seconds = 0.3 if tiny else 4.0
    work = settings.work / "step"
    report.doing("writing pictures")
    data = random_pictures(work / "data", count=48 if tiny else 1024, size=48 if tiny else 336)
    rates: dict[int, float] = {}
    for batch in (16,) if tiny else (128, 256, 64):
        if rates and settings.left < 4 * seconds + 10:
            report.detail("left out", f"batch {batch} and more")
            break
        report.doing(f"initialising a run of batch {batch}")
        config = configuration(tiny=tiny, batch=batch, data=data, work=work)
        try:
            state = begun(config, device=device)
            report.doing(f"measuring steps of batch {batch}")
            found = measure(state, seconds=seconds)
        except torch.OutOfMemoryError as error:
            report.add(
                f"step, batch {batch}", "out of memory", note=str(error).splitlines()[0][:100]
            )
            continue
        rates[batch] = found["images_per_second"]
        report.detail(f"batch {batch}", found)
        _tell(report, found, batch=batch, settings=settings)
    if rates:
        report.detail("best", max(rates.items(), key=lambda each: each[1]))
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 2**30
        report.add("memory at most", memory, unit="GiB")
    if rates and settings.left > _COMPILE_SECONDS:
        batch = max(rates, key=rates.__getitem__)
        report.doing(f"compiling the training step, batch {batch}")
        state = begun(configuration(tiny=tiny, batch=batch, data=data, work=work), device=device)
        _compile(state, tiny=tiny)
        began = time.perf_counter()
        _advance(state, seconds=0.0)
        took = time.perf_counter() - began
        compiled = _advance(state, seconds=seconds)["images_per_second"]
        note = f"{compiled / rates[batch]:.2f} of eager, compiled in {took:.0f} s"
        report.add(f"step compiled, batch {batch}", compiled, unit="images/s", note=note)
    else:
        report.detail("compile", f"left out: it takes up to {_COMPILE_SECONDS:.0f} s")


def measure(state: Run, *, seconds: float) -> dict[str, float]:
    """Rates of whole steps, of the network's loop alone and of the simulation alone."""
    _advance(state, seconds=0.0)
    whole = _advance(state, seconds=seconds)
    device = state.device
    rows = torch.arange(state.config.batch, device=device)
    presses = torch.Generator(device).manual_seed(1)

    def simulated() -> Tensor:
        return state.simulation(state.pixels[rows], generator=presses)

    printings = simulated()
    simulate = _rate(simulated, batch=len(rows), device=device, seconds=seconds / 2)
    bare = _rate(
        lambda: _bare_step(state, printings, rows=rows),
        batch=len(rows),
        device=device,
        seconds=seconds,
    )
    return {**whole, "simulation_images_per_second": simulate, "bare_images_per_second": bare}


def _advance(state: Run, *, seconds: float) -> dict[str, float]:
    """Steps as the loop takes them, with the time spent on getting rows."""
    rows_of = state.plan.batches(start=state.step)
    done, waited, began = 0, 0.0, time.perf_counter()
    while not done or time.perf_counter() - began < seconds:
        asked = time.perf_counter()
        rows = next(rows_of)
        waited += time.perf_counter() - asked
        state.advance(rows, rate=0.1)
        done += len(rows)
    network.synchronise(state.device)
    took = time.perf_counter() - began
    return {"images_per_second": done / took, "waiting": waited / took}


def _bare_step(state: Run, printings: Tensor, *, rows: Tensor) -> None:
    """Forward, loss, backward and optimizer, and nothing else."""
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.device.type == "cuda"):
        embeddings = state.start.embed(state.network, printings.unsqueeze(1))
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(state.objective(embeddings.float(), rows=rows))
    state.optimizer.step()


def _rate(call: Callable[[], Any], *, batch: int, device: torch.device, seconds: float) -> float:
    call()
    network.synchronise(device)
    done, began = 0, time.perf_counter()
    while not done or time.perf_counter() - began < seconds:
        call()
        done += batch
        network.synchronise(device)
    return done / (time.perf_counter() - began)


def _compile(state: Run, *, tiny: bool) -> None:
    options: dict[str, Any] = {"backend": "eager"} if tiny else {}
    state.network.project = torch.compile(state.network.project, **options)  # type: ignore[method-assign]


def _tell(report: Report, found: dict[str, float], *, batch: int, settings: Settings) -> None:
    whole, bare = found["images_per_second"], found["bare_images_per_second"]
    simulated = found["simulation_images_per_second"]
    # What the same work would take one after the other with nothing around it.
    both = 1 / (1 / bare + 1 / simulated)
    report.add(
        f"training step, batch {batch}",
        whole,
        unit="images/s",
        note=f"network alone {bare:,.0f}, simulation alone {simulated:,.0f}",
    )
    bar = None if settings.tiny else _OVER_BARE
    report.add("… over network and simulation in a loop", whole / both, at_least=bar)
    most = None if settings.tiny else _WAITING
    report.add("… share of time waiting for data", found["waiting"], at_most=most)


def random_pictures(folder: Path, *, count: int, size: int) -> Path:
    """A data set of smooth pictures, all different."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = ["image_id,file,journal,date"]
    for number, picture in enumerate(smooth(count, size=size)):
        Image.fromarray(picture).save(folder / f"{number}.jpg", quality=85)
        rows.append(f"{number},{number}.jpg,None,1900")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder
