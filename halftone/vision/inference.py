"""Runs a network for inference alone: as it is, fused, or as CUDA graphs.

`eager` is the network as it is.

`fused` runs a copy that moves fewer bytes. Its batch norms are folded into the convolutions before
them: a batch norm of its own reads and writes each activation once more. On CUDA the weights of its
backbone are bfloat16: autocast would convert them from float32 for every batch. On a device with
790 TFLOP/s and a memory of 4.3 TB/s, moving these bytes takes longer than the arithmetic of a
ResNet-152.

`graphs` replays the fused network as a CUDA graph, one for each batch size, so that
its hundreds of kernels are launched by one call.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.vision.network import DescriptorNetwork

Execution = Literal["eager", "fused", "graphs"]

# cuDNN chooses its plans and allocates its workspace in the first calls; none of it may happen
# while a graph is captured.
_WARM_UPS: Final = 3


def fuse(network: DescriptorNetwork, *, dtype: torch.dtype = torch.bfloat16) -> DescriptorNetwork:
    """Copy a network for inference: batch norms folded away, the backbone's weights in `dtype`.

    The folding is computed in float32. What comes after the backbone stays as it is.

    Args:
        network: A network in evaluation mode.
        dtype: The type in which the convolutions compute. Use the copy under autocast to the same
            type.

    Raises:
        ValueError: The network is in training mode, or a batch norm follows no convolution.
    """
    if network.training:
        raise ValueError("a network in training mode has no statistics to fold")
    fused = copy.deepcopy(network)
    _fold(fused.stem)
    _fold(fused.stages)
    left = [name for name, part in fused.named_modules() if isinstance(part, nn.BatchNorm2d)]
    if left:
        raise ValueError(f"no convolution lies before {left[0]}")
    for part in (fused.stem, fused.stages):
        part.to(dtype).to(memory_format=torch.channels_last)
    return fused.eval().requires_grad_(requires_grad=False)


def runner(
    network: DescriptorNetwork, *, execution: Execution, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a network on pictures on a device.

    The function takes uint8 [N, S, S] and returns float32 [N, D] of unit length, both on the
    device. On CUDA it computes in bfloat16, on the CPU in the precision of `network`.

    Args:
        network: The network, in evaluation mode.
        execution: How it runs; see above. With `graphs`, the next call with any batch size
            overwrites the result, and all calls must come from one thread.
        device: The device.

    Raises:
        ValueError: CUDA graphs were requested on another device.
    """
    if execution == "graphs" and device.type != "cuda":
        raise ValueError(f"CUDA graphs run on CUDA only, not on {device.type}")
    half = device.type == "cuda"
    if execution != "eager":
        network = fuse(network, dtype=torch.bfloat16 if half else torch.float32)

    def run(pictures: Tensor) -> Tensor:
        # A graph must not refer to weights that autocast's cache frees.
        with (
            torch.inference_mode(),
            torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False),
        ):
            descriptors: Tensor = network(pictures.unsqueeze(1))
            return descriptors.float()

    return _Graphs(run, device=device) if execution == "graphs" else run


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    pictures: Tensor
    descriptors: Tensor


class _Graphs:
    """Captures a function at its first call with a shape, and replays it from then on."""

    def __init__(self, run: Callable[[Tensor], Tensor], *, device: torch.device) -> None:
        self._run = run
        self._device = device
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        # The graphs run one after another, so all of them may use the same memory.
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Run the function on a batch; see `runner`."""
        found = self._graphs.get(tuple(pictures.shape)) or self._capture(pictures)
        found.pictures.copy_(pictures, non_blocking=True)
        found.graph.replay()
        return found.descriptors

    def _capture(self, pictures: Tensor) -> _Graph:
        given = torch.zeros_like(pictures)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                self._run(given)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Another thread may be copying the next batch of another model at the same time.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            descriptors = self._run(given)
        captured = _Graph(graph, given, descriptors)
        self._graphs[tuple(pictures.shape)] = captured
        return captured


def _fold(module: nn.Module) -> None:
    """Fold each batch norm below a module into the convolution that is listed before it.

    The blocks of `resnet` list `conv1, bn1, conv2, bn2 …` and their shortcuts are sequences, so the
    order of the children is the order of the computation.
    """
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        elif not isinstance(child, nn.Conv2d):
            _fold(child)
        before = (name, child) if isinstance(child, nn.Conv2d) else None
