"""A fused network computes what the network computes."""

import pytest
import torch
from torch import nn

from halftone.vision.inference import fuse, runner
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec

CPU = torch.device("cpu")


def network(backbone: str = "resnet18", **settings) -> DescriptorNetwork:
    """Random weights, and statistics of batch norm that leave nothing out."""
    torch.manual_seed(3)
    built = DescriptorNetwork(
        NetworkSpec(backbone=backbone, dimension=16, contrast="local", grid=2, **settings)
    )
    with torch.no_grad():
        for part in built.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.2, 0.2)
        built.train().features(pictures(12, seed=1).unsqueeze(1))
        # What all pictures have in common would hide differences.
        signatures = built.eval().signature(pictures(12, seed=1).unsqueeze(1))
        built.whitening_mean.copy_(signatures.mean(dim=0))
        built.whitening_matrix.normal_()
    return built


def pictures(count: int, *, seed: int = 2) -> torch.Tensor:
    coarse = torch.randint(
        0, 256, (count, 1, 6, 6), generator=torch.Generator().manual_seed(seed)
    ).float()
    fine = nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 255)
    return fine.to(torch.uint8).squeeze(1)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_a_fused_network_gives_the_same_descriptors(backbone):
    whole = network(backbone)
    eager = runner(whole, execution="eager", device=CPU)(pictures(6))
    fused = runner(whole, execution="fused", device=CPU)(pictures(6))

    assert not [part for part in fuse(whole).modules() if isinstance(part, nn.BatchNorm2d)]
    # They differ among each other, so agreement means something.
    assert (eager @ eager.T).fill_diagonal_(0).max() < 0.9
    assert (eager * fused).sum(dim=1).min() > 0.99999


def test_the_network_that_is_fused_stays_as_it_is():
    whole = network()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}

    fuse(whole)

    after = whole.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_only_the_backbone_is_in_half_precision():
    fused = fuse(network(width=8))

    assert {tensor.dtype for tensor in fused.stages.parameters()} == {torch.bfloat16}
    assert fused.projection.weight.dtype == fused.whitening_matrix.dtype == torch.float32


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="training"):
        fuse(network().train())


def test_graphs_need_cuda():
    with pytest.raises(ValueError, match="cpu"):
        runner(network(), execution="graphs", device=CPU)
