"""The descriptor network: backbone, pooling that keeps the layout, projection, whitening, L2.

The backbone, a ResNet or an EfficientNet-Lite, is cut after the last stage in use. GeM pooling:
Radenovic et al. 2018. A grid of cells instead of one global average keeps the composition, which a
reprint shares with its original whatever its screen and tone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.core.backbones import is_lite
from halftone.vision import efficientnet, resnet
from halftone.vision.network_spec import (
    GREY_MEAN,
    GREY_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SIGN_SOFTNESS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from halftone.core.backbones import Backbone
    from halftone.vision.network_spec import NetworkSpec


class DescriptorNetwork(nn.Module):
    """Pictures [N, 1 or 3, S, S], uint8 or float in 0..255, to unit descriptors [N, dimension].

    `features` gives what is pooled, `project` the embedding that training shapes, `signature` adds
    low frequencies; `forward` whitens and suppresses the background.
    """

    def __init__(self, spec: NetworkSpec, *, weights: Mapping[str, Tensor] | None = None) -> None:
        """Build a network.

        Args:
            spec: The architecture.
            weights: The `state_dict` of such a network, whose tensors become the network's own,
                without a copy. None draws random weights.

        Raises:
            RuntimeError: Weights are missing, superfluous or of another shape.
        """
        super().__init__()
        self.spec = spec
        pooled = sum(
            _layers(spec.backbone).stage_channels(spec.backbone, stage=stage)
            * spec.pooling(stage)[0] ** 2
            for stage in spec.pooled_stages
        )
        self.feature_width = pooled + spec.channels * spec.thumbnail**2
        # Without memory at first: drawing random weights takes longer than reading those of a file.
        with torch.device("meta"):
            self.stem, self.stages = make_backbone(
                spec.backbone, channels=spec.channels, stages=spec.stages
            )
            self.projection: nn.Module = (
                nn.Linear(self.feature_width, spec.width) if spec.width else nn.Identity()
            )
        self.register_buffer(
            "input_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False
        )
        self.register_buffer(
            "input_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255, persistent=False
        )
        self.reset_last_layers(frequencies=spec.frequencies, background=spec.background)
        if weights is None:
            self._draw_weights()
        else:
            self.load_state_dict(weights, assign=True)

    def _draw_weights(self) -> None:
        """Draw weights at random, as torchvision does."""
        for part in (self.stem, self.stages, self.projection):
            part.to_empty(device="cpu")
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(layer, nn.BatchNorm2d | nn.Linear):
                    layer.reset_parameters()
                elif any(True for _ in layer.parameters(recurse=False)):
                    raise TypeError(f"no rule for the weights of {type(layer).__name__}")

    def reset_last_layers(self, *, frequencies: int, background: int) -> None:
        """Forget whitening and background, and make room for others.

        Args:
            frequencies: As in the spec.
            background: As in the spec.
        """
        spec = replace(self.spec, frequencies=frequencies, background=background)
        self.spec, device = spec, self.input_mean.device
        width = (spec.width or self.feature_width) + frequencies**2
        matrix = torch.eye(spec.dimension, width, device=device)
        self.register_buffer("whitening_mean", torch.zeros(width, device=device))
        self.register_buffer("whitening_matrix", matrix)
        centres = torch.zeros(background, spec.dimension, device=device)
        self.register_buffer("background", centres)

    input_mean: Tensor
    input_std: Tensor
    whitening_mean: Tensor
    whitening_matrix: Tensor
    background: Tensor

    def normalise(self, pictures: Tensor) -> Tensor:
        """Turn uint8 or float [N, 1 or 3, S, S] in 0..255 into the backbone's channels."""
        if pictures.ndim != self.input_mean.ndim or pictures.shape[1] not in (1, 3):
            raise ValueError(f"pictures must be [N, 1 or 3, S, S], not {tuple(pictures.shape)}")
        x = pictures.float()
        if self.spec.contrast == "imagenet":
            return (x.expand(-1, 3, -1, -1) - self.input_mean) / self.input_std
        x = x.mean(dim=1, keepdim=True)
        if self.spec.contrast == "grey":
            return (x - GREY_MEAN) / GREY_STD
        x = x / 255
        deviation = x.std(dim=(2, 3), keepdim=True)
        whole = (x - x.mean(dim=(2, 3), keepdim=True)) / (deviation + 0.02)
        return torch.cat(
            [whole, _local_contrast(whole, cells=4), _local_contrast(whole, cells=12)], dim=1
        )

    def features(self, pictures: Tensor) -> Tensor:
        """Return pooled features, [N, feature_width], scaled as `NetworkSpec.unit_stages` says."""
        x = self.normalise(pictures)
        parts = []
        if self.spec.thumbnail:
            low = F.adaptive_avg_pool2d(x, self.spec.thumbnail).flatten(1)
            parts.append(F.normalize(low.float(), dim=1))
        stages = sorted(set(self.spec.pooled_stages))
        for stage, output in zip(stages, self.backbone(x), strict=True):
            pooled = self._pool(output.float(), stage=stage).flatten(1)
            parts.append(F.normalize(pooled, dim=1) if self.spec.unit_stages else pooled)
        return torch.cat(parts, dim=1)

    def backbone(self, x: Tensor) -> list[Tensor]:
        """Return the output [N, C, H, W] of each pooled stage for [N, channels, S, S]."""
        # Channels last is twice as fast on CPUs too. The backbone may have another precision.
        precision = next(self.stem.parameters()).dtype
        x = self.stem(x.to(precision).contiguous(memory_format=torch.channels_last))
        outputs = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number in self.spec.pooled_stages:
                outputs.append(x)
        return outputs

    def project(self, pictures: Tensor) -> Tensor:
        """Return the embedding that training shapes, float32 [N, width] of any length."""
        embedding: Tensor = self.projection(self.features(pictures))
        return embedding.float()

    def low_frequencies(self, pictures: Tensor) -> Tensor:
        """Return the lowest cosine coefficients of pictures as soft signs, in rows of unit length.

        The result is float32 [N, frequencies * frequencies]. The idea is taken from PDQ (Facebook
        2019, *The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm*): the signs
        of a cosine transform's coefficients survive every tone curve. Here the signs fade out
        towards zero instead of flipping, so that a small change of a picture stays a small change.
        """
        count, size = self.spec.frequencies, pictures.shape[-1]
        x = pictures.float().mean(dim=1)
        places = (torch.arange(size, device=x.device) + 0.5) * (math.pi / size)
        waves = torch.cos(torch.arange(1, count + 1, device=x.device)[:, None] * places)
        coefficients = (waves @ x @ waves.T).flatten(1)
        strength = coefficients.abs()
        softness = SIGN_SOFTNESS * strength.mean(dim=1, keepdim=True) + 1e-6
        return F.normalize(coefficients / (strength + softness), dim=1)

    def signature(self, pictures: Tensor) -> Tensor:
        """Return what `whiten` takes, float32 [N, F].

        This is the embedding from `project`. If the spec has `frequencies`, the embedding is scaled
        to unit length and the result of `low_frequencies` is appended.
        """
        embedding = self.project(pictures)
        if not self.spec.frequencies:
            return embedding
        with torch.autocast(embedding.device.type, enabled=False):
            low = self.low_frequencies(pictures)
            return torch.cat([F.normalize(embedding, dim=1), low], dim=1)

    def whiten(self, signature: Tensor) -> Tensor:
        """Return unit descriptors [N, dimension] of float32 [N, F] from `signature`."""
        return F.normalize((signature - self.whitening_mean) @ self.whitening_matrix.T, dim=1)

    def suppress_background(self, descriptors: Tensor) -> Tensor:
        """Subtract from unit descriptors [N, D] what pictures of their kind have in common.

        Portraits in an oval lie close together whoever they show. Each descriptor loses a share
        of the softmax-weighted mean of the background's centres, so that a score tells what two
        pictures share beyond their kind. It is a function of one picture alone: scores stay
        cosines and do not depend on what an index holds.
        """
        if not len(self.background):
            return descriptors
        logits = descriptors @ self.background.T / self.spec.background_temperature
        shared = logits.softmax(dim=1) @ self.background
        return F.normalize(descriptors - self.spec.background_strength * shared, dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return descriptors, float32 [N, dimension] of unit length."""
        signature = self.signature(pictures)
        # float32 is used here, because whitening magnifies weak directions and bfloat16's rounding
        # with them; it costs nothing.
        with torch.autocast(signature.device.type, enabled=False):
            return self.suppress_background(self.whiten(signature))

    def _pool(self, x: Tensor, *, stage: int) -> Tensor:
        cells, exponent = self.spec.pooling(stage)
        if exponent == 1:
            return F.adaptive_avg_pool2d(x, cells)
        return F.adaptive_avg_pool2d(x.clamp(min=1e-6).pow(exponent), cells).pow(1 / exponent)


def make_backbone(
    backbone: Backbone, *, channels: int, stages: int = 4
) -> tuple[nn.Sequential, nn.ModuleList]:
    """Make the stem and the first `stages` of the four stages of a backbone."""
    layers = _layers(backbone)
    return layers.make_stem(channels=channels), layers.make_stages(backbone, count=stages)


def _layers(backbone: Backbone) -> ModuleType:
    """Return the module that has the layers of a backbone."""
    return efficientnet if is_lite(backbone) else resnet


def _local_contrast(x: Tensor, *, cells: int) -> Tensor:
    """Subtract the local mean, divide by the local deviation, both smooth over cells."""
    size = x.shape[-2:]

    def smooth(value: Tensor) -> Tensor:
        return F.interpolate(
            F.adaptive_avg_pool2d(value, cells), size=size, mode="bilinear", align_corners=False
        )

    centred = x - smooth(x)
    # The floor, a fifth of the whole picture's deviation, keeps blank paper blank.
    return centred / (smooth(centred.square()).sqrt() + 0.2)
