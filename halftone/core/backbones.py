"""The networks that a model version can be built on, by torchvision's names. Needs nothing."""

from __future__ import annotations

from typing import Final, Literal, get_args

Backbone = Literal["resnet18", "resnet50", "resnet152"]
BACKBONES: Final[tuple[Backbone, ...]] = get_args(Backbone)
