"""The networks that a model version can be built on, by torchvision's names. Needs nothing.

torchvision has no EfficientNet-Lite; its names are formed as that of `efficientnet_b0` is.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, get_args

Backbone = Literal["resnet18", "resnet50", "resnet152", "efficientnet_lite0", "efficientnet_lite2"]
BACKBONES: Final[tuple[Backbone, ...]] = get_args(Backbone)

DEPTHS: Final[dict[Backbone, tuple[int, int, int, int]]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnet152": (3, 8, 36, 3),
}
"""The number of blocks in each of the four stages of a ResNet."""
BOTTLENECKS: Final[frozenset[Backbone]] = frozenset({"resnet50", "resnet152"})
"""The ResNets whose blocks have three convolutions instead of two."""


class InvertedBlock(NamedTuple):
    """A block of an EfficientNet-Lite.

    Attributes:
        channels: Channels that come in.
        out: Channels that go out.
        expansion: The block computes on so many times `channels`; 1 leaves the widening out.
        kernel: Side of the kernels that look at each channel alone.
        stride: 2 halves height and width.
    """

    channels: int
    out: int
    expansion: int
    kernel: int
    stride: int

    @property
    def shortcut(self) -> bool:
        """Whether what comes in is added to what goes out."""
        return self.stride == 1 and self.channels == self.out


LITE_STEM: Final = 32
"""Channels after the stem of every EfficientNet-Lite."""
LITE_HEAD: Final = 1280
"""Channels after the convolution that ends the fourth stage of every EfficientNet-Lite."""

# Out, repetitions, expansion, kernel and stride of the groups of blocks (Tan and Le 2019, table 1;
# Liu 2020 for Lite). Each stage ends before the next stride of 2; so a stage halves height and
# width, as a ResNet's does.
_GROUPS: Final = (
    ((16, 1, 1, 3, 1), (24, 2, 6, 3, 2)),
    ((40, 2, 6, 5, 2),),
    ((80, 3, 6, 3, 2), (112, 3, 6, 5, 1)),
    ((192, 4, 6, 5, 2), (320, 1, 6, 3, 1)),
)
# Factors of width and depth.
_SCALES: Final[dict[Backbone, tuple[float, float]]] = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite2": (1.1, 1.2),
}


def is_lite(backbone: str) -> bool:
    """Return whether a backbone is an EfficientNet-Lite rather than a ResNet."""
    return backbone in _SCALES


def ends_active(backbone: str, *, stage: int) -> bool:
    """Return whether a stage, counted from 1, ends in an activation: nothing is negative."""
    return not is_lite(backbone) or stage == len(_GROUPS)


def lite_blocks(backbone: Backbone) -> tuple[tuple[InvertedBlock, ...], ...]:
    """Return the blocks of the four stages of an EfficientNet-Lite.

    The convolution that ends the fourth stage (`LITE_HEAD`) is not among them.
    """
    width, depth = _SCALES[backbone]
    channels, stages = LITE_STEM, []
    for groups in _GROUPS:
        blocks = []
        for group in groups:
            out, repetitions, expansion, kernel, stride = group
            # The first and the last group keep their depth in every size.
            if group not in (_GROUPS[0][0], _GROUPS[-1][-1]):
                repetitions = math.ceil(repetitions * depth)
            for number in range(repetitions):
                blocks.append(
                    InvertedBlock(
                        channels, _round(out * width), expansion, kernel, 1 if number else stride
                    )
                )
                channels = blocks[-1].out
        stages.append(tuple(blocks))
    return tuple(stages)


def _round(channels: float) -> int:
    """Round to a multiple of 8 that is at least nine tenths of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
