"""The network alone, from uint8 tensors on the device: what a service could reach at most."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from halftone.vision.inference import fuse, runner
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from tests.gpu.hardware import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from tests.gpu.report import Report
    from tests.gpu.stages import Settings

BAR: Final = 12_000.0
"""Images a second on one H200, where 34,100 are its bare operations at 790 TFLOP/s."""
_BARE: Final = 34_100.0
_H200_CLASS: Final = 900.0
_INPUTS: Final = 4
_SAMPLES: Final = 5
# The most interesting size first, in case that the time runs out.
_BATCHES: Final = (128, 256, 64, 512, 32, 16, 8)


def spec(*, tiny: bool) -> NetworkSpec:
    """The default network of ImageNet's weights: ResNet-152, GeM over 3 x 3 cells, whitened."""
    if tiny:
        return NetworkSpec(backbone="resnet18", grid=2, dimension=32)
    return NetworkSpec(backbone="resnet152", grid=3, dimension=512)


def side(*, tiny: bool) -> int:
    """Of the input in pixels."""
    return 32 if tiny else 224


def random_network(*, tiny: bool, device: torch.device) -> DescriptorNetwork:
    """Random weights with statistics of their own: without these activations overflow."""
    torch.manual_seed(0)
    network = DescriptorNetwork(spec(tiny=tiny)).to(device)
    network.to(memory_format=torch.channels_last)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        network.train().features(inputs(16, tiny=tiny, device=device)[0].unsqueeze(1))
        nn.init.orthogonal_(network.whitening_matrix)
    return network.eval().requires_grad_(requires_grad=False)


def inputs(batch: int, *, tiny: bool, device: torch.device, sets: int = 1) -> list[Tensor]:
    """Random uint8 [batch, S, S] on the device, several sets."""
    size = side(tiny=tiny)
    generator = torch.Generator(device).manual_seed(batch)
    shape = (batch, size, size)
    return [
        torch.randint(0, 256, shape, generator=generator, device=device, dtype=torch.uint8)
        for _ in range(sets)
    ]


def run(report: Report, *, settings: Settings) -> None:
    """The batch sweep: as it is, fused, and as CUDA graphs."""
    device, tiny = torch.device(settings.device), settings.tiny
    seconds = 0.05 if tiny else 0.5
    reached = _bare_operation(report, settings=settings)
    report.doing("building the network")
    network = random_network(tiny=tiny, device=device)
    flops = flops_of(network, tiny=tiny, device=device)
    report.detail("flops_per_image", flops)
    modes = ("eager", "fused", "graphs") if device.type == "cuda" else ("eager", "fused")
    sweep: dict[str, dict[int, float]] = {mode: {} for mode in modes}
    calls = {mode: runner(network, execution=mode, device=device) for mode in modes}
    for batch in (4, 2) if tiny else _BATCHES:
        sets = inputs(batch, tiny=tiny, device=device, sets=_INPUTS)
        for mode, call in calls.items():
            if settings.left < 10 * seconds + 2:
                report.detail("left out", f"{mode} at batch {batch} and what follows")
                return _conclude(report, sweep, flops=flops, reached=reached, settings=settings)
            report.doing(f"measuring {mode} at batch {batch}")
            with told(report, f"{mode} at batch {batch}"):
                sweep[mode][batch] = rate(call, sets=sets, seconds=seconds)
            report.detail("images_per_second", sweep)
    if device.type == "cuda":
        _tuned(report, network, sweep=sweep, seconds=seconds)
    return _conclude(report, sweep, flops=flops, reached=reached, settings=settings)


def run_compiled(report: Report, *, settings: Settings) -> None:
    """`torch.compile`, whose compilations are slow: each counts with the time it took."""
    device, tiny = torch.device(settings.device), settings.tiny
    report.doing("building the network")
    network = random_network(tiny=tiny, device=device)
    half = device.type == "cuda"
    fused = fuse(network, dtype=torch.bfloat16 if half else torch.float32)
    flops = flops_of(network, tiny=tiny, device=device)
    batch = 4 if tiny else 256
    sets = inputs(batch, tiny=tiny, device=device, sets=_INPUTS)
    # Without a GPU the way through is checked, and nothing compiled.
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        (("backend eager", {"backend": "eager"}),)
        if tiny
        else tuple(
            (mode, {"mode": mode}) for mode in ("reduce-overhead", "max-autotune-no-cudagraphs")
        )
    )
    for name, options in ways:
        report.doing(f"compiling with {name}")
        torch._dynamo.reset()  # torch documents it so
        compiled = torch.compile(fused, dynamic=False, **options)
        call = _precise(compiled, half=half)
        with told(report, name):
            began = time.perf_counter()
            call(sets[0])
            synchronise(device)
            took = time.perf_counter() - began
            found = rate(call, sets=sets, seconds=0.05 if tiny else 1.0)
            note = f"{found * flops / 1e12:.3g} TFLOP/s, compiled in {took:.0f} s"
            report.add(f"compiled, {name}, batch {batch}", found, unit="images/s", note=note)


def rate(call: Callable[[Tensor], Tensor], *, sets: list[Tensor], seconds: float) -> float:
    """Images a second, the median of several samples after a warm-up."""
    device, batch = sets[0].device, len(sets[0])
    for each in sets[:2]:
        call(each)
    synchronise(device)
    began = time.perf_counter()
    call(sets[0])
    synchronise(device)
    once = time.perf_counter() - began
    repeats = max(2, math.ceil(seconds / _SAMPLES / max(once, 1e-6)))
    samples = []
    for _ in range(_SAMPLES):
        began = time.perf_counter()
        for turn in range(repeats):
            call(sets[turn % len(sets)])
        synchronise(device)
        samples.append(repeats * batch / (time.perf_counter() - began))
    return statistics.median(samples)


def flops_of(network: DescriptorNetwork, *, tiny: bool, device: torch.device) -> int:
    """Floating-point operations for one image; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs(1, tiny=tiny, device=device)[0].unsqueeze(1))
    return int(counter.get_total_flops())


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _bare_operation(report: Report, *, settings: Settings) -> float:
    """TFLOP/s of a large matrix product on random data: what the device really reaches."""
    device = torch.device(settings.device)
    report.doing("multiplying matrices")
    width = 256 if settings.tiny else 8192
    left, right = (torch.randn(width, width, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronise(device)
    began = time.perf_counter()
    for _ in range(10):
        left @ right
    synchronise(device)
    reached = 10 * 2 * width**3 / (time.perf_counter() - began) / 1e12
    report.add("matrix product, bf16", reached, unit="TFLOP/s", note=f"{width} x {width}")
    return reached


def _tuned(
    report: Report,
    network: DescriptorNetwork,
    *,
    sweep: dict[str, dict[int, float]],
    seconds: float,
) -> None:
    """Whether cuDNN finds better plans when it may try them out."""
    batch = max(sweep["graphs"] or sweep["eager"], key=lambda size: sweep["eager"].get(size, 0.0))
    device = next(network.parameters()).device
    report.doing(f"measuring graphs with cuDNN's search at batch {batch}")
    torch.backends.cudnn.benchmark = True
    try:
        call = runner(network, execution="graphs", device=device)
        with told(report, "cuDNN's search"):
            sets = inputs(batch, tiny=False, device=device, sets=_INPUTS)
            found = rate(call, sets=sets, seconds=seconds)
            report.add(f"graphs, cuDNN searches, batch {batch}", found, unit="images/s")
    finally:
        torch.backends.cudnn.benchmark = False


def _conclude(
    report: Report,
    sweep: dict[str, dict[int, float]],
    *,
    flops: int,
    reached: float,
    settings: Settings,
) -> None:
    """A row for each way at its best batch, and the best of all beside the bar."""
    device = torch.device(settings.device)
    known = peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    best = ("", 0, 0.0)
    for mode, rates in sweep.items():
        if not rates:
            continue
        batch = max(rates, key=rates.__getitem__)
        best = max(best, (mode, batch, rates[batch]), key=lambda found: found[2])
        tflops = rates[batch] * flops / 1e12
        beside = f"{tflops / reached:.0%} of the matrix product"
        if known:
            beside += f", {tflops / known:.0%} of {known:.0f}"
        report.add(
            f"{mode}, best batch {batch}",
            rates[batch],
            unit="images/s",
            note=f"{tflops:.3g} TFLOP/s, {beside}",
        )
    if best[0] and not settings.tiny:
        report.detail("best", {"execution": best[0], "batch": best[1]})
        # The same share of the matrix product's rate on a device of another class.
        bar = BAR if (known or 0.0) >= _H200_CLASS else BAR / _BARE * reached * 1e12 / flops
        report.add("the best of them", best[2], unit="images/s", note=f"{best[0]}", at_least=bar)
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 2**30
        report.add("memory at most", memory, unit="GiB")


@contextlib.contextmanager
def told(report: Report, what: str) -> Iterator[None]:
    """A way that fails, for want of memory or of a compiler, does not take the others with it."""
    try:
        yield
    except (RuntimeError, torch.OutOfMemoryError) as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        report.add(
            what,
            "failed",
            note=(str(error).strip().splitlines() or [type(error).__name__])[0][:100],
        )


def _precise(network: Any, *, half: bool) -> Callable[[Tensor], Tensor]:
    def call(pictures: Tensor) -> Tensor:
        with (
            torch.inference_mode(),
            torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False),
        ):
            descriptors: Tensor = network(pictures.unsqueeze(1))
            return descriptors

    return call
