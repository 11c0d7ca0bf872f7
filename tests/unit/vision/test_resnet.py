"""Halftone's ResNet beside torchvision's: the same weights, the same bits."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from halftone.core.backbones import DEPTHS
from halftone.vision import resnet


@pytest.mark.parametrize("backbone", DEPTHS)
@torch.inference_mode()
def test_it_computes_what_torchvisions_computes(backbone):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, backbone)(weights=None).eval()
    for layer in theirs.modules():
        # Fresh ones leave everything as it is.
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.0)
            layer.bias.normal_(0, 0.1)
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2.0)
    stem, stages = resnet.make_stem().eval(), resnet.make_stages(backbone, count=4).eval()
    x = torch.rand(2, 3, 64, 80)

    theirs_x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    stem[0].load_state_dict(theirs.conv1.state_dict())
    stem[1].load_state_dict(theirs.bn1.state_dict())
    x = stem(x)
    assert torch.equal(x, theirs_x)
    for number, stage in enumerate(stages, start=1):
        same = getattr(theirs, f"layer{number}")
        stage.load_state_dict(same.state_dict())
        x, theirs_x = stage(x), same(theirs_x)
        assert torch.equal(x, theirs_x), number
        assert x.shape[1] == resnet.stage_channels(backbone, stage=number)
        assert x.isfinite().all()
        assert x.any()


def test_only_the_first_stages_are_made():
    assert len(resnet.make_stages("resnet50", count=2)) == 2
