"""Makes the network that a run starts from: random, ImageNet's, or a published version's."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.core import errors
from halftone.registry.versions import Registry
from halftone.vision.initial_weights import load_backbone
from halftone.vision.model import Model, collect
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import pretrained_contrast
from halftone.vision.whitening import fit_whitening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.services.trainer.loop.config import TrainingConfig
    from halftone.vision.preprocessing import Preprocessing

CHUNK: Final = 128
_INITIAL_PICTURES: Final = 3000
# The embedding is normalised, so its scale is free. This one, about three times that of a fresh
# layer, keeps the optimizer's first steps small in comparison to the fitted weights.
_PROJECTION_SCALE: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network to train, and the origin of its weights.

    Attributes:
        network: The network, with the weights to start from.
        preprocessing: The preprocessing of the version to publish.
        parents: The ids of what the weights are from: a version, or ImageNet weights.
        initial_weights: The origin of the ImageNet weights it began with; see `ModelSpec`.
        parent: The version that the weights are from, if any.
        pretrained: Whether the backbone is trained already. Otherwise batch norm is calibrated
            first.
        projected: Whether the projection is trained already. Otherwise it is initialised from the
            data.
        fitted: Whether whitening, low frequencies and background are fitted already, too. If so,
            the run trains the descriptor that is served, through these layers. Otherwise it trains
            the embedding below them, and they are fitted afterwards.
    """

    network: DescriptorNetwork
    preprocessing: Preprocessing
    parents: tuple[str, ...] = ()
    initial_weights: Mapping[str, Any] = field(default_factory=dict)
    parent: Model | None = None
    pretrained: bool = False
    projected: bool = False
    fitted: bool = False

    def embed(self, network: DescriptorNetwork, pictures: Tensor) -> Tensor:
        """Compute what the run trains: pictures [N, 1, S, S] to float32 [N, D].

        If `fitted`, this is the descriptor, else the embedding below the layers that are fitted
        when the run ends.
        """
        embedded: Tensor = network(pictures) if self.fitted else network.project(pictures)
        return embedded.float()


def begin(config: TrainingConfig) -> Start:
    """Build the network that `config` names. A parent version keeps its kind and preprocessing.

    Raises:
        errors.NotFound: The parent version does not exist.
        errors.DataLoss: The parent version is damaged.
        errors.FailedPrecondition: ImageNet weights are not available, or the parent cannot be
            trained.
        errors.InvalidArgument: The file has weights of another network.
    """
    torch.manual_seed(config.seed)
    if config.init == "":
        return Start(network=DescriptorNetwork(config.network), preprocessing=config.preprocessing)
    if config.init == "imagenet":
        contrast = pretrained_contrast(config.backbone)
        network = DescriptorNetwork(replace(config.network, contrast=contrast))
        origin = load_backbone(network, path=config.weights)
        return Start(
            network=network,
            preprocessing=config.preprocessing,
            parents=(origin.name,),
            initial_weights=origin.to_dict(),
            pretrained=True,
        )
    registry = Registry(config.models)
    version = registry.resolve(config.init)
    registry.verify(version)
    parent = Model.load(version.directory)
    network, fitted = _trainable(parent)
    return Start(
        network=network,
        preprocessing=parent.spec.preprocessing,
        parents=(version.id,),
        initial_weights=parent.spec.initial_weights,
        parent=parent,
        pretrained=True,
        projected=True,
        fitted=fitted,
    )


def _trainable(parent: Model) -> tuple[DescriptorNetwork, bool]:
    """Return a copy of a parent to train, and whether its last layers stay in it.

    In a parent without projection, whitening is the only layer between features and descriptor; it
    becomes the projection and is trained.
    """
    spec = parent.spec.network
    if spec.width is not None:
        return copy.deepcopy(parent.network).train(), True
    if spec.frequencies or spec.background:
        raise errors.FailedPrecondition(
            "A version with low frequencies or a background but without a projection cannot be "
            "trained further.",
            reason="PARENT_NOT_TRAINABLE",
        )
    network = DescriptorNetwork(replace(spec, width=spec.dimension))
    for part in ("stem", "stages"):
        getattr(network, part).load_state_dict(getattr(parent.network, part).state_dict())
    _set_projection(
        network, matrix=parent.network.whitening_matrix, mean=parent.network.whitening_mean
    )
    return network, False


def initialise_projection(network: DescriptorNetwork, *, clean: Tensor, seed: int) -> None:
    """Set the projection of a network to the PCA-whitening of its present features.

    Does nothing if the network has no projection.

    Args:
        network: The network, changed in place.
        clean: Pictures, uint8 [N, S, S], more than the projection has dimensions.
        seed: Chooses the pictures, if there are more than are needed.
    """
    projection = network.projection
    if not isinstance(projection, nn.Linear):
        return
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    chosen = clean[order[:_INITIAL_PICTURES].to(clean.device)]
    features = collect(network.features, pictures=chosen, batch=CHUNK)
    whitening = fit_whitening(features, dimension=projection.out_features)
    _set_projection(
        network,
        matrix=torch.from_numpy(whitening.matrix),
        mean=torch.from_numpy(whitening.mean),
    )


def _set_projection(network: DescriptorNetwork, *, matrix: Tensor, mean: Tensor) -> None:
    projection = network.projection
    if isinstance(projection, nn.Linear):
        weight = matrix.to(projection.weight.device) * _PROJECTION_SCALE
        with torch.no_grad():
            projection.weight.copy_(weight)
            projection.bias.copy_(-(weight @ mean.to(weight.device)))


def likely_copies(embeddings: Tensor, *, above: float) -> Tensor:
    """Return pairs of unit rows with a cosine higher than `above`, in both orders: int64 [P, 2].

    Pools of press pictures contain copies. The network must not learn to tell them apart.
    """
    pairs = []
    for start in range(0, len(embeddings), 1024):  # a million pictures squared fit no memory
        cosine = embeddings[start : start + 1024] @ embeddings.T
        rows, columns = (cosine > above).nonzero(as_tuple=True)
        apart = rows + start != columns
        pairs.append(torch.stack([rows[apart] + start, columns[apart]], dim=1))
    return torch.cat(pairs)


def shrink(pixels: Tensor, *, size: int) -> Tensor:
    """Reduce pictures, uint8 [N, H, H], without aliasing to uint8 [N, size, size]."""
    parts = [torch.empty(0, size, size, dtype=torch.uint8, device=pixels.device)]
    for part in torch.split(pixels, CHUNK):
        if not len(part):
            continue
        smaller = F.interpolate(
            part.float().unsqueeze(1), size=size, mode="bilinear", antialias=True
        )
        parts.append(smaller.round().clamp(0, 255).to(torch.uint8).squeeze(1))
    return torch.cat(parts)
