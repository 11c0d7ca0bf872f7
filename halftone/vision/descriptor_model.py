"""What every form of a model version can do, and the choice of a form. Needs no torch itself."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from abc import ABC, abstractmethod
from importlib import metadata
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from halftone.registry import golden

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.vision.spec import ModelSpec

_BATCH: Final = 32


class DescriptorModel(ABC):
    """A model version that is ready to embed pictures.

    `model.Model` runs it with torch, `portable.PortableModel` without.

    Attributes:
        spec: What the version is made of.
    """

    spec: ModelSpec

    @abstractmethod
    def embed(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the descriptors of preprocessed pictures.

        Args:
            batch: uint8 [N, S, S], luminance from `spec.preprocessing`.

        Returns:
            float32 [N, D], rows of unit length.
        """

    def embed_images(self, images: Iterable[Image.Image]) -> NDArray[np.float32]:
        """Preprocess and embed decoded, upright pictures: float32 [N, D]."""
        prepared = np.stack([self.spec.preprocessing(image) for image in images])
        return self.embed_all(prepared)

    def embed_all(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed any number of preprocessed pictures in batches; see `embed`."""
        parts = [
            self.embed(pictures[row : row + _BATCH]) for row in range(0, len(pictures), _BATCH)
        ]
        return np.concatenate(parts)

    def check_golden(self, directory: Path) -> float:
        """Compare this model with `golden.json` and return the lowest cosine.

        Raises:
            errors.DataLoss: The lowest cosine is too low, or the file is damaged; see
                `golden.check_golden`.
        """

        def embed(contents: Sequence[bytes]) -> NDArray[np.float32]:
            return self.embed_images(Image.open(io.BytesIO(content)) for content in contents)

        return golden.check_golden(directory, embed=embed, dimension=self.spec.dimension)


def is_torch_installed() -> bool:
    """Return whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def list_runtimes() -> dict[str, str]:
    """Return the installed libraries that can run a version, with their releases."""
    found = {}
    for name in ("torch", "openvino", "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def open_model(directory: Path) -> DescriptorModel:
    """Load a version in the form that is fastest here: on a GPU if there is one, else portable.

    Raises:
        errors.DataLoss: A file is missing, damaged, or does not fit the spec.
        errors.FailedPrecondition: The version is in the format of another release.
    """
    if is_torch_installed():
        from halftone.vision.model import Model, best_device  # noqa: PLC0415  # slow to import

        device = best_device()
        if device != "cpu":
            return Model.load(directory, device=device)
    from halftone.vision.portable import PortableModel  # noqa: PLC0415  # an extra

    return PortableModel.load(directory)
