"""Writes a descriptor network as an ONNX graph, from its spec and weights alone. Needs no torch.

The graph computes what `network.DescriptorNetwork` computes in evaluation mode, with batch norms
folded into the convolutions before them. Resampling (pooling over cells, smooth interpolation) is
linear in each direction, so it is written as products with small matrices, which every runtime
computes alike. `tests/unit/vision/test_graph.py` compares the two for each kind of spec.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.core.backbones import BOTTLENECKS, DEPTHS, is_lite, lite_blocks
from halftone.vision.graph_builder import GraphBuilder
from halftone.vision.network_spec import (
    GREY_MEAN,
    GREY_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SIGN_SOFTNESS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from halftone.core.backbones import InvertedBlock
    from halftone.vision.network_spec import NetworkSpec

INPUT: Final = "pictures"
OUTPUT: Final = "descriptors"
BACKBONE: Final = "backbone/"
"""What the names of the backbone's nodes start with."""

_OPSET: Final = 18
_IR_VERSION: Final = 9
# What batch norm adds to a variance: torch's, and that of `efficientnet.EPSILON`.
_EPSILON: Final = 1e-5
_LITE_EPSILON: Final = 1e-3
# The denominators' floor of `torch.nn.functional.normalize`.
_SHORTEST: Final = 1e-12


def write_graph(spec: NetworkSpec, *, weights: Mapping[str, NDArray[Any]], size: int) -> bytes:
    """Write a network as a serialised ONNX model.

    Its input is uint8 [N, 1, size, size], luminance; its output float32 [N, dimension], rows of
    unit length. N may change from call to call.

    Args:
        spec: The architecture.
        weights: The network's `state_dict`, in any precision.
        size: The side of the input, in pixels.

    Raises:
        ImportError: The package `onnx` is not installed.
        KeyError: A weight is missing.
        ValueError: A weight has no place in the architecture, or another shape there.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415  # slow to import, and an extra

    graph = GraphBuilder(weights)
    pictures = graph.add("Cast", INPUT, to=TensorProto.FLOAT)
    signature = _add_embedding(graph, pictures, spec=spec, size=size)
    if spec.frequencies:
        low = _add_low_frequencies(graph, pictures, count=spec.frequencies, size=size)
        signature = graph.add("Concat", _add_unit(graph, signature), low, axis=1)
    descriptors = _add_whitening(graph, signature, spec=spec)
    graph.add("Identity", descriptors, output=OUTPUT)
    if graph.unused:
        raise ValueError(f"the architecture has no place for {graph.unused[0]}")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "descriptor network",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", 1, size, size])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", spec.dimension])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="halftone",
    )
    content: bytes = model.SerializeToString()
    return content


# ---- from pictures to the embedding


def _add_embedding(graph: GraphBuilder, pictures: str, *, spec: NetworkSpec, size: int) -> str:
    """Add what `DescriptorNetwork.project` computes: [N, 1, S, S] to [N, width]."""
    normalised = _add_normalisation(graph, pictures, spec=spec, size=size)
    parts = []
    if spec.thumbnail:
        low = _add_pooling(graph, normalised, cells=spec.thumbnail, size=size)
        parts.append(_add_unit(graph, graph.add("Flatten", low, axis=1)))
    graph.name_nodes(BACKBONE)
    add_backbone = _add_lite if is_lite(spec.backbone) else _add_resnet
    stages = list(add_backbone(graph, normalised, spec=spec, size=size))
    graph.name_nodes("")
    for number, stage in stages:
        side = _side_after(number, size=size)
        cells, exponent = spec.pooling(number)
        pooled = _add_gem(graph, stage, cells=cells, exponent=exponent, side=side)
        flat = graph.add("Flatten", pooled, axis=1)
        parts.append(_add_unit(graph, flat) if spec.unit_stages else flat)
    features = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    if not spec.width:
        return features
    matrix = graph.weight("projection.weight", shape=(spec.width, None))
    bias = graph.weight("projection.bias", shape=(spec.width,))
    product = graph.add("MatMul", features, graph.constant(matrix.T))
    return graph.add("Add", product, graph.constant(bias))


def _add_normalisation(graph: GraphBuilder, pictures: str, *, spec: NetworkSpec, size: int) -> str:
    """Add what `DescriptorNetwork.normalise` computes: [N, 1, S, S] to [N, channels, S, S]."""
    if spec.contrast == "imagenet":
        mean, std = (
            graph.constant(np.array(values, dtype=np.float32).reshape(1, 3, 1, 1) * np.float32(255))
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return graph.add("Div", graph.add("Sub", pictures, mean), std)
    if spec.contrast == "grey":
        centred = graph.add("Sub", pictures, graph.number(GREY_MEAN))
        return graph.add("Div", centred, graph.number(GREY_STD))
    x = graph.add("Div", pictures, graph.number(255))
    centred = graph.add("Sub", x, graph.reduce("ReduceMean", x, axes=(2, 3)))
    squares = graph.reduce("ReduceSumSquare", centred, axes=(2, 3))
    deviation = graph.add("Sqrt", graph.add("Div", squares, graph.number(size * size - 1)))
    whole = graph.add("Div", centred, graph.add("Add", deviation, graph.number(0.02)))
    return graph.add(
        "Concat",
        whole,
        _add_local_contrast(graph, whole, cells=4, size=size),
        _add_local_contrast(graph, whole, cells=12, size=size),
        axis=1,
    )


def _add_local_contrast(graph: GraphBuilder, x: str, *, cells: int, size: int) -> str:
    def smooth(value: str) -> str:
        pooled = _add_pooling(graph, value, cells=cells, size=size)
        return _add_resampling(graph, pooled, matrix=interpolation_matrix(cells, size=size))

    centred = graph.add("Sub", x, smooth(x))
    local = graph.add("Sqrt", smooth(graph.add("Mul", centred, centred)))
    return graph.add("Div", centred, graph.add("Add", local, graph.number(0.2)))


def _add_gem(graph: GraphBuilder, x: str, *, cells: int, exponent: float, side: int) -> str:
    """Add the generalised mean over the cells of a grid."""
    if exponent == 1:
        return _add_pooling(graph, x, cells=cells, size=side)
    positive = graph.add("Max", x, graph.number(1e-6))
    raised = graph.add("Pow", positive, graph.number(exponent))
    pooled = _add_pooling(graph, raised, cells=cells, size=side)
    return graph.add("Pow", pooled, graph.number(1 / exponent))


def _add_pooling(graph: GraphBuilder, x: str, *, cells: int, size: int) -> str:
    """Add the mean over each cell of a grid: [N, C, size, size] to [N, C, cells, cells]."""
    return _add_resampling(graph, x, matrix=pooling_matrix(cells, size=size))


def _add_resampling(graph: GraphBuilder, x: str, *, matrix: NDArray[np.float32]) -> str:
    """Add `matrix @ x @ matrix.T` for each channel."""
    across = graph.add("MatMul", x, graph.constant(matrix.T))
    return graph.add("MatMul", graph.constant(matrix), across)


# ---- the backbone


def _add_resnet(
    graph: GraphBuilder, x: str, *, spec: NetworkSpec, size: int
) -> Iterator[tuple[int, str]]:
    """Add stem and stages; yields the number and the output of each stage that is pooled."""
    del size
    x = graph.add("Relu", _add_convolution(graph, x, "stem.0", "stem.1", stride=2))
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for number, depth in enumerate(DEPTHS[spec.backbone][: spec.stages], start=1):
        for at in range(depth):
            stride = 2 if number > 1 and not at else 1
            block = f"stages.{number - 1}.{at}"
            bottleneck = spec.backbone in BOTTLENECKS
            x = _add_block(graph, x, block, stride=stride, bottleneck=bottleneck)
        if number in spec.pooled_stages:
            yield number, x


def _add_block(graph: GraphBuilder, x: str, block: str, *, stride: int, bottleneck: bool) -> str:
    """Add a block of two convolutions, or of three with the stride in the second."""
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    out = x
    for number, step in enumerate(strides, start=1):
        if number > 1:
            out = graph.add("Relu", out)
        names = f"{block}.conv{number}", f"{block}.bn{number}"
        out = _add_convolution(graph, out, *names, stride=step)
    if graph.has(f"{block}.downsample.0.weight"):
        names = f"{block}.downsample.0", f"{block}.downsample.1"
        x = _add_convolution(graph, x, *names, stride=stride)
    return graph.add("Relu", graph.add("Add", out, x))


def _add_lite(
    graph: GraphBuilder, x: str, *, spec: NetworkSpec, size: int
) -> Iterator[tuple[int, str]]:
    """Add stem and stages of an EfficientNet-Lite, as `_add_resnet` does."""
    x = _add_padded(graph, x, "stem.0", "stem.1", stride=2, side=size)
    x = _add_relu6(graph, x)
    stages = lite_blocks(spec.backbone)
    for number, blocks in enumerate(stages[: spec.stages], start=1):
        side = _side_after(number - 1, size=size)
        for at, block in enumerate(blocks):
            x = _add_inverted(graph, x, f"stages.{number - 1}.{at}", block=block, side=side)
            side = -(-side // block.stride)
        if number == len(stages):
            head = f"stages.{number - 1}.{len(blocks)}"
            x = _add_padded(graph, x, f"{head}.0", f"{head}.1")
            x = _add_relu6(graph, x)
        if number in spec.pooled_stages:
            yield number, x


def _add_inverted(
    graph: GraphBuilder, x: str, name: str, *, block: InvertedBlock, side: int
) -> str:
    """Add a block that widens, looks at each channel alone, and narrows."""
    out = x
    if block.expansion > 1:
        out = _add_relu6(graph, _add_padded(graph, out, f"{name}.conv1", f"{name}.bn1"))
    groups = block.channels * block.expansion
    out = _add_padded(
        graph,
        out,
        f"{name}.conv2",
        f"{name}.bn2",
        stride=block.stride,
        side=side,
        groups=groups,
    )
    out = _add_padded(graph, _add_relu6(graph, out), f"{name}.conv3", f"{name}.bn3")
    return graph.add("Add", out, x) if block.shortcut else out


def _add_relu6(graph: GraphBuilder, x: str) -> str:
    return graph.add("Clip", x, graph.number(0), graph.number(6))


def _add_padded(
    graph: GraphBuilder,
    x: str,
    convolution: str,
    norm: str,
    *,
    stride: int = 1,
    side: int = 1,
    groups: int = 1,
) -> str:
    """Add a convolution of `efficientnet.SamePadded`, which pads more after a side than before."""
    kernel = graph.weight(f"{convolution}.weight", shape=(None, None, None, None)).shape[-1]
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    pads = [total // 2] * 2 + [total - total // 2] * 2
    return _add_convolution(
        graph,
        x,
        convolution,
        norm,
        stride=stride,
        pads=pads if kernel > 1 else [0] * 4,
        groups=groups,
        epsilon=_LITE_EPSILON,
    )


def _add_convolution(
    graph: GraphBuilder,
    x: str,
    convolution: str,
    norm: str,
    *,
    stride: int,
    pads: Sequence[int] | None = None,
    groups: int = 1,
    epsilon: float = _EPSILON,
) -> str:
    """Add a convolution with the batch norm after it folded in.

    Args:
        graph: The graph.
        x: What it convolves.
        convolution: The name of its weights.
        norm: The name of the batch norm's.
        stride: Its stride.
        pads: Pixels to add on the top, the left, below and on the right; None adds half a kernel.
        groups: Groups of channels that are convolved by themselves.
        epsilon: What the batch norm adds to a variance.
    """
    kernels = graph.weight(f"{convolution}.weight", shape=(None, None, None, None))
    gain, bias, mean, variance = (
        graph.weight(f"{norm}.{part}", shape=(len(kernels),))
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + np.float32(epsilon))
    side = kernels.shape[-1]
    return graph.add(
        "Conv",
        x,
        graph.constant(kernels * gain[:, None, None, None]),
        graph.constant(bias - mean * gain),
        kernel_shape=[side, side],
        strides=[stride, stride],
        pads=[side // 2] * 4 if pads is None else list(pads),
        group=groups,
    )


def _side_after(stage: int, *, size: int) -> int:
    """Return the side of a stage's output, a quarter after the first; 0 is half way to it."""
    for _ in range(1 + stage):
        size = (size + 1) // 2
    return size


# ---- from the embedding to the descriptor


def _add_low_frequencies(graph: GraphBuilder, pictures: str, *, count: int, size: int) -> str:
    """Add what `DescriptorNetwork.low_frequencies` computes."""
    places = (np.arange(size) + 0.5) * (math.pi / size)
    waves = np.cos(np.arange(1, count + 1)[:, None] * places).astype(np.float32)
    coefficients = graph.add("Flatten", _add_resampling(graph, pictures, matrix=waves), axis=1)
    strength = graph.add("Abs", coefficients)
    mean = graph.reduce("ReduceMean", strength, axes=(1,))
    softness = graph.add(
        "Add", graph.add("Mul", mean, graph.number(SIGN_SOFTNESS)), graph.number(1e-6)
    )
    return _add_unit(graph, graph.add("Div", coefficients, graph.add("Add", strength, softness)))


def _add_whitening(graph: GraphBuilder, signature: str, *, spec: NetworkSpec) -> str:
    """Add what `whiten` and `suppress_background` compute."""
    matrix = graph.weight("whitening_matrix", shape=(spec.dimension, None))
    mean = graph.weight("whitening_mean", shape=(matrix.shape[1],))
    centred = graph.add("Sub", signature, graph.constant(mean))
    unit = _add_unit(graph, graph.add("MatMul", centred, graph.constant(matrix.T)))
    if not spec.background:
        return unit
    centres = graph.weight("background", shape=(spec.background, spec.dimension))
    logits = graph.add("MatMul", unit, graph.constant(centres.T))
    scaled = graph.add("Div", logits, graph.number(spec.background_temperature))
    shared = graph.add("MatMul", graph.add("Softmax", scaled, axis=1), graph.constant(centres))
    share = graph.add("Mul", shared, graph.number(spec.background_strength))
    return _add_unit(graph, graph.add("Sub", unit, share))


def _add_unit(graph: GraphBuilder, rows: str) -> str:
    """Add the scaling of rows to unit length."""
    length = graph.add("Max", graph.reduce("ReduceL2", rows, axes=(1,)), graph.number(_SHORTEST))
    return graph.add("Div", rows, length)


# ---- resampling in one direction


def pooling_matrix(cells: int, *, size: int) -> NDArray[np.float32]:
    """Return the means over `cells` stretches of a row: float32 [cells, size].

    As `adaptive_avg_pool2d`, whose stretches overlap where `size` is no multiple of `cells`.
    """
    matrix = np.zeros((cells, size))
    for cell in range(cells):
        start, end = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix.astype(np.float32)


def interpolation_matrix(cells: int, *, size: int) -> NDArray[np.float32]:
    """Return the bilinear interpolation of `cells` values to a row: float32 [size, cells].

    As `interpolate(mode="bilinear", align_corners=False)`.
    """
    matrix = np.zeros((size, cells))
    places = np.maximum((np.arange(size) + 0.5) * cells / size - 0.5, 0)
    lower = np.minimum(places.astype(int), cells - 1)
    upper = np.minimum(lower + 1, cells - 1)
    share = places - lower
    rows = np.arange(size)
    matrix[rows, lower] += 1 - share
    matrix[rows, upper] += share
    return matrix.astype(np.float32)
