"""The architecture of a descriptor network. Needs nothing but the names of the backbones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.core.backbones import BACKBONES, Backbone, ends_active, is_lite

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
GREY_MEAN: Final = 127.0
GREY_STD: Final = 128.0
"""What EfficientNet-Lite was trained with, for each colour alike."""
SIGN_SOFTNESS: Final = 0.3
"""A third of a coefficient's mean strength; between 0.03 and 1 results hardly differ."""
Contrast = Literal["imagenet", "grey", "local"]

_STAGES: Final = (1, 2, 3, 4)


def pretrained_contrast(backbone: str) -> Contrast:
    """Return the contrast that the ImageNet weights of a backbone were trained with."""
    return "grey" if is_lite(backbone) else "imagenet"


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """The architecture of a `DescriptorNetwork`.

    Attributes:
        backbone: Name of a network, one of `BACKBONES`.
        stages: The number of its four stages that run.
        pooled_stages: The stages that the descriptor sees, each from 1 to `stages`.
        grid: Cells per side of the pooled layout; 1 pools globally.
        grids: The same for each of `pooled_stages`, if they differ; empty otherwise. Late stages
            say what there is, and early ones, with more cells, where it is.
        gem: Exponent of the generalised mean; 1 is the average. Stages that do not end in an
            activation, the first three of an EfficientNet-Lite, are always averaged.
        unit_stages: Whether what is pooled of each stage is scaled to unit length. A projection
            that was trained elsewhere, as SSCD's, takes it as it is.
        thumbnail: Side of the low-pass picture beside the pooled features; 0 for none. Low
            frequencies alone, which PDQ hashes, find most reprints, so a small network need not
            learn them again.
        width: Dimension of the projection; None whitens the pooled features themselves.
        frequencies: Lowest frequencies per direction whose signs join the embedding before it is
            whitened, see `low_frequencies`; 0 for none.
        dimension: Dimension of the descriptor.
        contrast: "imagenet" subtracts ImageNet's mean from luminance, in three channels; "grey"
            takes luminance to about -1 to 1, in one channel; "local" normalises the picture as a
            whole and within two neighbourhoods, which cancels most of a plate's tone curve.
        background: Number of centres that descriptors are freed from, see `suppress_background`; 0
            for none.
        background_temperature: Temperature of the softmax over the centres.
        background_strength: The share of the background that is subtracted.
    """

    backbone: Backbone = "resnet152"
    stages: int = 4
    pooled_stages: tuple[int, ...] = (4,)
    grid: int = 1
    grids: tuple[int, ...] = ()
    gem: float = 3.0
    unit_stages: bool = True
    thumbnail: int = 0
    width: int | None = None
    frequencies: int = 0
    dimension: int = 512
    contrast: Contrast = "imagenet"
    background: int = 0
    background_temperature: float = 0.05
    background_strength: float = 0.8

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(
                f"network.backbone must be one of {', '.join(BACKBONES)}, not {self.backbone!r}"
            )
        if self.stages not in _STAGES:
            raise ValueError(f"network.stages must lie between 1 and 4, not {self.stages}")
        if not self.pooled_stages or not set(self.pooled_stages) <= set(range(1, self.stages + 1)):
            raise ValueError(
                f"network.pooled_stages must lie between 1 and {self.stages}, "
                f"not {self.pooled_stages}"
            )
        if self.grids and (len(self.grids) != len(self.pooled_stages) or min(self.grids) < 1):
            raise ValueError(
                f"network.grids must give at least 1 for each of {len(self.pooled_stages)} pooled "
                f"stages, not {self.grids}"
            )
        if (
            self.grid < 1
            or self.gem < 1
            or min(self.thumbnail, self.frequencies) < 0
            or self.dimension < 1
        ):
            raise ValueError(
                "network.grid, gem and dimension must be at least 1, thumbnail at least 0"
            )

    @property
    def channels(self) -> int:
        """The number of channels that the backbone takes."""
        return 1 if self.contrast == "grey" else 3

    def pooling(self, stage: int) -> tuple[int, float]:
        """Return the cells per side and the exponent with which a pooled stage is pooled."""
        cells = self.grids[self.pooled_stages.index(stage)] if self.grids else self.grid
        return cells, self.gem if ends_active(self.backbone, stage=stage) else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        lists = {"pooled_stages": list(self.pooled_stages), "grids": list(self.grids)}
        return {**asdict(self), **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Build the spec from the result of `to_dict()`. Raises ValueError on an unknown field."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown network fields: {', '.join(sorted(unknown))}")
        tuples = {"pooled_stages": (4,), "grids": ()}
        return cls(**{**values, **{name: tuple(values.get(name, tuples[name])) for name in tuples}})
