"""What a model version is made of, as its `spec.json` says. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from halftone.core import errors, files
from halftone.registry.manifest import SPEC
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT: Final = 1
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The contents of a version's `spec.json`.

    Attributes:
        name: The model's name.
        version: The version within the name; the registry sets both when it publishes.
        network: The architecture to build.
        preprocessing: The preprocessing that turns a picture into the network's input.
        whitening: Facts about the last layer: how it was fitted and on what.
        calibration: The mapping from evidence to a probability; None until it was fitted.
        parents: Model versions or weights that training started from.
        initial_weights: Name, source, licence and hash of the ImageNet weights that the version, or
            the first of its ancestors, started from; empty if that began at random or does not say.
        training: Data, licence, command and configuration of the training.
    """

    name: str = "model"
    version: int = 1
    network: NetworkSpec
    preprocessing: Preprocessing
    whitening: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    parents: tuple[str, ...] = ()
    initial_weights: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Return the dimension of the descriptors."""
        return self.network.dimension

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "format": FORMAT,
            **asdict(self),
            "dimension": self.dimension,
            "network": self.network.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "parents": list(self.parents),
        }

    @classmethod
    def read(cls, directory: Path) -> ModelSpec:
        """Read a version's `spec.json`; see `from_dict`.

        Raises:
            FileNotFoundError: There is none.
        """
        return cls.from_dict(files.read_object(directory / SPEC))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Build from what `to_dict` returned; fields that this release does not know are left out.

        Raises:
            errors.FailedPrecondition: The format is another one.
            errors.DataLoss: A field is missing or wrong.
        """
        if values.get("format") != FORMAT:
            raise errors.FailedPrecondition(
                f"This model has format {values.get('format')!r}; this release reads {FORMAT}.",
                reason="MODEL_FORMAT",
            )
        try:
            known = {entry.name for entry in fields(cls)}
            chosen = {name: value for name, value in values.items() if name in known}
            chosen["network"] = NetworkSpec.from_dict(values["network"])
            chosen["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
            chosen["parents"] = tuple(values.get("parents", ()))
            return cls(**chosen)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.DataLoss(
                f"spec.json cannot be used: {error!s}.", reason="MODEL_SPEC"
            ) from error
