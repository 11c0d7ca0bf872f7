"""Published weights of SSCD, in each form, give what its own network gives. Weights are made up."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.core import errors
from halftone.vision import portable
from halftone.vision.sscd import SIZE, SOURCE, import_sscd

DIMENSION = 24


class Pooling(nn.Module):
    """The generalised mean, as the paper has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)


class Published(nn.Module):
    """SSCD on torchvision's networks: pooling and projection take the classifier's place."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        torch.manual_seed(depth)
        self.backbone = getattr(torchvision.models, f"resnet{depth}")(num_classes=DIMENSION)
        self.backbone.avgpool = Pooling()
        for part in self.backbone.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 2)
        nn.init.normal_(self.backbone.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.backbone(x))


def classy_name(name: str, *, layers: int) -> str:
    """The name of a weight in the files for Classy Vision."""
    name = name.removeprefix("backbone.")
    if name.startswith("fc."):
        return name.replace("fc.", "embeddings.1.")
    if not name.startswith("layer"):
        kind, rest = name.split(".", 1)
        return f"backbone.initial_block._module.{('conv1', 'bn1').index(kind)}.{rest}"
    stage, block, part, rest = name.split(".", 3)
    place = f"backbone.blocks.{int(stage[-1]) - 1}.block{int(stage[-1]) - 1}-{block}."
    if part == "downsample":
        return f"{place}downsample.{rest}"
    number = int(part[-1])
    if part == f"bn{layers}":
        return f"{place}bn.{rest}"
    return f"{place}convolutional_block.{3 * (number - 1) + part.startswith('bn')}.{rest}"


@pytest.fixture
def plate() -> Image.Image:
    """A grey picture that is wider than high."""
    coarse = np.random.default_rng(5).integers(0, 255, (9, 13), dtype=np.uint8)
    return Image.fromarray(coarse).resize((520, 360), Image.Resampling.BICUBIC)


def embed_as_published(model: Published, picture: Image.Image, *, size: int) -> np.ndarray:
    """What the authors' page does with a picture."""
    steps = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize([size, size]),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with torch.inference_mode():
        return model(steps(picture.convert("RGB")).unsqueeze(0))[0].numpy()


# The published TorchScript was made by an older torch; a new one says that it will be gone one day.
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("depth", "form"),
    [(18, "torchvision"), (18, "bare"), (18, "classy"), (18, "torchscript"), (50, "classy")],
)
def test_it_embeds_as_published(plate, tmp_path, depth, form):
    published, path = Published(depth).eval(), tmp_path / f"sscd.{form}.pt"
    weights = published.state_dict()
    if form == "torchscript":
        torch.jit.trace(published, torch.zeros(1, 3, 64, 64)).save(path)
    elif form == "classy":
        layers = 3 if "backbone.layer1.0.conv3.weight" in weights else 2
        torch.save({classy_name(k, layers=layers): v for k, v in weights.items()}, path)
    elif form == "bare":
        torch.save({k.removeprefix("backbone."): v for k, v in weights.items()}, path)
    else:
        torch.save(weights, path)

    model = import_sscd(path, size=96)

    (descriptor,) = model.embed_images([plate])
    expected = embed_as_published(published, plate, size=96)
    assert float(descriptor @ expected) > 0.9999
    assert model.spec.initial_weights["source"] == SOURCE
    assert model.spec.initial_weights["licence"] == "MIT"
    assert len(model.spec.initial_weights["sha256"]) == 64


def test_its_version_runs_without_torch(tmp_path):
    torch.save(Published(18).eval().state_dict(), tmp_path / "sscd.pt")
    model = import_sscd(tmp_path / "sscd.pt", size=64)
    (tmp_path / "version").mkdir()

    model.save(tmp_path / "version")

    assert portable.check_golden(tmp_path / "version") > 0.9999
    spec = json.loads((tmp_path / "version" / "spec.json").read_text())
    assert (spec["dimension"], spec["network"]["unit_stages"]) == (DIMENSION, False)


def test_the_input_is_the_square_that_the_authors_recommend(tmp_path):
    torch.save(Published(18).eval().state_dict(), tmp_path / "sscd.pt")

    assert import_sscd(tmp_path / "sscd.pt").spec.preprocessing.size == SIZE == 320


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (torchvision.models.resnet18(weights=None).state_dict(), "no projection"),
        ({"fc.weight": torch.zeros(4, 1536), "fc.bias": torch.zeros(4)}, "1536 features"),
        ({"fc.weight": torch.zeros(4, 2048), "fc.bias": torch.zeros(4)}, "are missing"),
    ],
)
def test_other_weights_are_refused(tmp_path, weights, words):
    torch.save(weights, tmp_path / "other.pt")

    with pytest.raises(errors.InvalidArgument, match=words):
        import_sscd(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_what_holds_no_weights_is_refused(tmp_path, content):
    (tmp_path / "sscd.pt").write_bytes(content)

    with pytest.raises(errors.FailedPrecondition, match="cannot be read"):
        import_sscd(tmp_path / "sscd.pt")
