"""Makes a model of the published weights of SSCD, a copy detector (Pizzi et al. 2022).

*A Self-Supervised Descriptor for Image Copy Detection*, arXiv 2202.10261: a ResNet, GeM pooling
with an exponent of 3 over the last stage, a projection with a bias, and unit length. The authors
publish each model in three forms (https://github.com/facebookresearch/sscd-copy-detection, MIT):
weights with the names of torchvision, weights with those of Classy Vision, and TorchScript. All
three are read. They recommend either 288 pixels for the shorter side or a square of 320; ours is
the square, since pictures are embedded in batches. Pictures are taken as grey, as everywhere here.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from typing import TYPE_CHECKING, Final

import torch

from halftone.core import errors
from halftone.vision.initial_weights import (
    OTHER_WEIGHTS,
    WEIGHTS_UNREADABLE,
    WeightsOrigin,
    set_backbone,
)
from halftone.vision.model import Model
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from halftone.core.backbones import Backbone

SIZE: Final = 320
"""The side of the square that the authors recommend for batches."""
SOURCE: Final = "https://github.com/facebookresearch/sscd-copy-detection"

_NAME: Final = "sscd"
_PROJECTIONS: Final = ("fc", "embeddings.1")
"""The projection's name with torchvision's backbone, and with Classy Vision's."""
_IMAGENET_CLASSES: Final = 1000
_WIDTHS: Final[Mapping[int, Backbone]] = {512: "resnet18", 2048: "resnet50"}

# Classy Vision's names. The convolutions of a block and the batch norms between them are numbered
# through; the last batch norm stands beside them.
_CLASSY_BLOCK: Final = re.compile(
    r"blocks\.(?P<stage>\d+)\.block\d+-(?P<block>\d+)\."
    r"(?:convolutional_block\.(?P<layer>\d+)|(?P<norm>bn)|(?P<shortcut>downsample\.\d))\."
)
_CLASSY_STEM: Final = "initial_block._module."


def import_sscd(path: Path, *, size: int = SIZE) -> Model:
    """Make a model of a file with weights of SSCD.

    Args:
        path: A file as published: `….torchvision.pt`, `….classy.pt` or `….torchscript.pt`. It is
            unpickled by torch's reader for weights alone; of TorchScript nothing is run.
        size: The side of the square input in pixels.

    Raises:
        errors.FailedPrecondition: The file cannot be read.
        errors.InvalidArgument: The weights are of another network. The ResNeXt-101 among the
            published models is one.
    """
    content, weights = _read(path)
    plain = {name.removeprefix("backbone."): value for name, value in weights.items()}
    # A bottleneck's third convolution is the seventh layer of its block.
    layers = 3 if any(".convolutional_block.6." in name for name in plain) else 2
    named = {_rename(name, layers=layers): value for name, value in plain.items()}
    matrix, bias = _find_projection(named, name=path.name)
    backbone = _WIDTHS.get(matrix.shape[1])
    if backbone is None:
        raise errors.InvalidArgument(
            f"{path.name} projects {matrix.shape[1]} features; of SSCD's networks only "
            f"{' and '.join(_WIDTHS.values())} can be used here.",
            field="path",
            reason=OTHER_WEIGHTS,
        )
    spec = NetworkSpec(
        backbone=backbone,
        pooled_stages=(4,),
        grid=1,
        gem=3.0,
        unit_stages=False,
        width=len(matrix),
        dimension=len(matrix),
        contrast="imagenet",
    )
    network = DescriptorNetwork(spec)
    set_backbone(network, named, name=path.name)
    network.projection.load_state_dict({"weight": matrix, "bias": bias})
    network.eval()
    origin = WeightsOrigin(
        name=path.name, source=SOURCE, licence="MIT", sha256=hashlib.sha256(content).hexdigest()
    )
    return Model(
        ModelSpec(
            name=_NAME,
            network=spec,
            preprocessing=Preprocessing(size=size),
            whitening={"method": "none"},
            parents=(origin.name,),
            initial_weights=origin.to_dict(),
        ),
        network=network,
    )


def _read(path: Path) -> tuple[bytes, dict[str, torch.Tensor]]:
    """Return the bytes of a file, and its weights by name."""
    try:
        content = path.read_bytes()
        if _is_script(path):
            loaded = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            loaded = loaded.get("state_dict", loaded)
        tensors = {
            str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)
        }
    except Exception as error:  # unpicklers and file systems raise anything
        raise errors.FailedPrecondition(
            f"The weights in {path} cannot be read ({error}). Give a file as {SOURCE} "
            "publishes it.",
            reason=WEIGHTS_UNREADABLE,
        ) from error
    return content, tensors


def _find_projection(
    weights: Mapping[str, torch.Tensor], *, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the projection's matrix, float32 [D, F], and its bias, float32 [D].

    Raises:
        errors.InvalidArgument: There is none, as in a file of ImageNet weights with a classifier.
    """
    for layer in _PROJECTIONS:
        matrix, bias = weights.get(f"{layer}.weight"), weights.get(f"{layer}.bias")
        if matrix is None or bias is None or matrix.ndim != len("DF") or len(bias) != len(matrix):
            continue
        if len(matrix) == _IMAGENET_CLASSES:
            break
        return matrix.float(), bias.float()
    raise errors.InvalidArgument(
        f"{name} has no projection to a descriptor: no weights of SSCD as {SOURCE} publishes them.",
        field="path",
        reason=OTHER_WEIGHTS,
    )


def _is_script(path: Path) -> bool:
    """Return whether a file is TorchScript: a zip file with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _rename(name: str, *, layers: int) -> str:
    """Return torchvision's name of a weight; other names than Classy Vision's stay.

    Args:
        name: The name.
        layers: The number of convolutions of a block.
    """
    if name.startswith(_CLASSY_STEM):
        kind, _, rest = name.removeprefix(_CLASSY_STEM).partition(".")
        return f"{('conv1', 'bn1')[int(kind)]}.{rest}" if kind in {"0", "1"} else name
    found = _CLASSY_BLOCK.match(name)
    if not found:
        return name
    block = f"layer{int(found['stage']) + 1}.{found['block']}"
    rest = name[found.end() :]
    if found["shortcut"]:
        return f"{block}.{found['shortcut']}.{rest}"
    if found["norm"]:
        return f"{block}.bn{layers}.{rest}"
    # Convolution, batch norm and ReLU alternate.
    number, place = divmod(int(found["layer"]), 3)
    return f"{block}.{'bn' if place else 'conv'}{number + 1}.{rest}"
