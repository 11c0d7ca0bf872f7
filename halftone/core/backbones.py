"""The networks that a model version can be built on, by torchvision's names. Needs nothing."""

from __future__ import annotations

from typing import Final, Literal, get_args

Backbone = Literal["resnet18", "resnet50", "resnet152"]
BACKBONES: Final[tuple[Backbone, ...]] = get_args(Backbone)

DEPTHS: Final[dict[Backbone, tuple[int, int, int, int]]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnet152": (3, 8, 36, 3),
}
"""The number of blocks in each of the four stages."""
BOTTLENECKS: Final[frozenset[Backbone]] = frozenset({"resnet50", "resnet152"})
"""The networks whose blocks have three convolutions instead of two."""
