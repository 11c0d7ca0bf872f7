"""The ONNX graph of a network computes what the network computes, by both runtimes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.vision.graph import interpolation_matrix, pooling_matrix, write_graph
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.portable import compile_network, list_runtimes

SPECS = {
    # All that a spec can ask for, with cells that do not divide the sides.
    "everything": (
        70,
        NetworkSpec(
            backbone="resnet18",
            stages=3,
            pooled_stages=(1, 3),
            grid=2,
            gem=1.0,
            thumbnail=4,
            width=24,
            frequencies=3,
            dimension=16,
            contrast="local",
            background=5,
        ),
    ),
    "generalised mean": (
        57,
        NetworkSpec(backbone="resnet18", stages=2, pooled_stages=(2,), grid=3, dimension=16),
    ),
    # Sides that are odd on the way, so that the padding is not the same before and after.
    "lite": (
        75,
        NetworkSpec(
            backbone="efficientnet_lite0",
            pooled_stages=(1, 3, 4),
            grids=(3, 2, 1),
            gem=3.0,
            thumbnail=4,
            width=24,
            dimension=16,
            contrast="grey",
        ),
    ),
    "lite in colour": (64, NetworkSpec(backbone="efficientnet_lite2", dimension=16)),
    "bottlenecks": (64, NetworkSpec(backbone="resnet50", grid=1, dimension=16, width=8)),
}


def make_network(spec: NetworkSpec) -> DescriptorNetwork:
    """A network of random weights whose statistics leave nothing out."""
    torch.manual_seed(0)
    network = DescriptorNetwork(spec).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, std=0.1)
    network.whitening_mean.normal_(std=0.01)
    network.whitening_matrix.normal_(std=0.1)
    network.background.copy_(F.normalize(torch.randn_like(network.background), dim=1))
    return network


@pytest.fixture(scope="module", params=SPECS.values(), ids=SPECS)
def case(request: pytest.FixtureRequest):
    size, spec = request.param
    network = make_network(spec)
    coarse = torch.rand(5, 1, 6, 6) * 255
    pictures = F.interpolate(coarse, size=size, mode="bilinear").to(torch.uint8)
    with torch.inference_mode():
        expected = network(pictures).numpy()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return write_graph(spec, weights=weights, size=size), pictures.numpy(), expected


@pytest.mark.parametrize("runtime", list_runtimes())
def test_it_computes_what_the_network_computes(case, runtime):
    content, pictures, expected = case
    network = compile_network(content, runtime=runtime)
    descriptors = network(pictures)
    assert (descriptors.dtype, network.runtime) == (np.float32, runtime)
    np.testing.assert_allclose(descriptors, expected, atol=5e-6)
    # The number of pictures may change, and a picture does not depend on its batch.
    np.testing.assert_allclose(network(pictures[3:4]), expected[3:4], atol=5e-6)


@pytest.mark.parametrize(("cells", "size"), [(4, 12), (5, 12), (12, 7), (1, 9)])
def test_matrices_resample_as_torch_does(cells, size):
    x = torch.rand(1, 1, size, size)
    pooled = F.adaptive_avg_pool2d(x, cells)
    smooth = F.interpolate(pooled, size=(size, size), mode="bilinear", align_corners=False)
    pool, interpolate = pooling_matrix(cells, size=size), interpolation_matrix(cells, size=size)
    ours = pool @ x[0, 0].numpy() @ pool.T
    np.testing.assert_allclose(ours, pooled[0, 0], atol=1e-6)
    np.testing.assert_allclose(interpolate @ ours @ interpolate.T, smooth[0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stem.0.weight", (3, 3)),
        ("stages.0.1.bn2.bias", (7,)),
        ("projection.weight", (23, 5)),
        ("whitening_mean", (5,)),
        ("whitening_matrix", (15, 33)),
        ("background", (5, 15)),
        ("stages.3.0.conv1.weight", (1, 1, 1, 1)),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(name, shape):
    size, spec = SPECS["everything"]
    weights = {key: tensor.numpy() for key, tensor in make_network(spec).state_dict().items()}
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        write_graph(spec, weights={**weights, name: np.zeros(shape)}, size=size)


def test_a_missing_weight_is_named():
    size, spec = SPECS["everything"]
    weights = {key: tensor.numpy() for key, tensor in make_network(spec).state_dict().items()}
    del weights["stages.1.0.bn2.bias"]
    with pytest.raises(KeyError, match=r"stages\.1\.0\.bn2\.bias"):
        write_graph(spec, weights=weights, size=size)
