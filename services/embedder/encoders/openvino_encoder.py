"""Runs a model version's int8 form with OpenVINO, on the CPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from halftone.core import errors, telemetry
from halftone.vision import quantizing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.encoders.decoding import Decoder
    from halftone.services.embedder.encoders.encoder import Encoder, InputImage, PreparedImage
    from halftone.services.embedder.encoders.torch_encoder import TorchBackend
    from halftone.vision.model import Model

_MAX_BATCH: Final = 8
_MOST_WORKERS: Final = 4

_log = telemetry.get_logger(__name__)


class OpenVinoBackend:
    """Loads the int8 forms of model versions; see `halftone.vision.quantizing`."""

    def __init__(self, *, threads: int, max_batch: int, decoder: Decoder) -> None:
        """Prepare the backend. No model is read yet.

        Args:
            threads: The threads of all workers together; 0 means one per core.
            max_batch: The most items in a batch; 0 means 8.
            decoder: The decoder of images.
        """
        self._threads = threads or os.cpu_count() or 1
        self._decoder = decoder
        self.max_batch = max_batch or _MAX_BATCH
        self.workers = min(self._threads, _MOST_WORKERS)
        self.stages_ahead = False

    def prepare_device(self) -> None:
        """Do nothing: the CPU is always there."""

    def load(self, version: ModelVersion) -> OpenVinoEncoder:
        """Read a version's int8 form and return its encoder.

        Raises:
            errors.HalftoneError: The int8 form is missing or damaged; see `quantizing.load`.
        """
        model = quantizing.load(version, streams=self.workers, threads=self._threads)
        return OpenVinoEncoder(model, version=version, decoder=self._decoder)


class OpenVinoEncoder:
    """One model version in int8, run by several workers at a time."""

    backend = "openvino"
    device = "cpu"

    def __init__(self, model: Model, *, version: ModelVersion, decoder: Decoder) -> None:
        self.model_version = version.id
        self.dimension = model.spec.dimension
        # Descriptors in int8 are close to the published ones, but not equal.
        self.golden = quantizing.place(version)
        self._model = model
        self._decoder = decoder

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the one call that warms up the network."""
        return (self._warm_up,)

    def _warm_up(self) -> None:
        size = self._model.spec.preprocessing.size
        self.encode(torch.zeros((1, size, size), dtype=torch.uint8))

    def prepare(self, picture: InputImage) -> PreparedImage:
        """Decode and preprocess an image."""
        return self._decoder.prepare(picture, preprocessing=self._model.spec.preprocessing)

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Stack the inputs of a batch. Nothing is copied to a device."""
        return torch.from_numpy(np.stack(pixels))

    def encode(self, staged: torch.Tensor, *, alone: bool = True) -> NDArray[np.float32]:  # noqa: ARG002  # each stream has its own threads
        """Run the int8 network on a batch and return its descriptors."""
        # Torch runs only a small rest of the network; OpenVINO has its own threads.
        torch.set_num_threads(1)
        return self._model.embed(staged)


class PreferringInt8:
    """Loads the int8 form of a version if there is a usable one, otherwise the version itself.

    Both run on the CPU with the same number of workers.
    """

    def __init__(self, *, int8: OpenVinoBackend, plain: TorchBackend) -> None:
        self._int8 = int8
        self._plain = plain
        self.max_batch = plain.max_batch
        self.workers = plain.workers
        self.stages_ahead = plain.stages_ahead

    def prepare_device(self) -> None:
        """Prepare the device, which is the CPU."""
        self._plain.prepare_device()

    def load(self, version: ModelVersion) -> Encoder:
        """Return the encoder of the int8 form; of the version itself if that cannot be loaded."""
        if quantizing.place(version).is_dir():
            try:
                return self._int8.load(version)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the form, the version is served
                expected = isinstance(error, errors.HalftoneError)
                _log.error(
                    "int8_refused",
                    model_version=version.id,
                    error=str(error),
                    exc_info=None if expected else error,
                )
        return self._plain.load(version)
