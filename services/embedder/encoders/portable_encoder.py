"""Runs a model version on the CPU without torch: as it was published, or its int8 form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from halftone.vision import quantizing
from halftone.vision.portable import PortableModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.encoders.decoding import Decoder
    from halftone.services.embedder.encoders.encoder import InputImage, PreparedImage

_MAX_BATCH: Final = 8
_MOST_WORKERS: Final = 4


class PortableBackend:
    """Loads model versions for the CPU; see `halftone.vision.portable`."""

    stages_ahead = False

    def __init__(
        self,
        *,
        threads: int,
        max_batch: int,
        decoder: Decoder,
        precision: Literal["float32", "int8"] = "float32",
        runtime: str | None = None,
    ) -> None:
        """Prepare the backend. No model is read yet.

        Args:
            threads: The threads of all workers together; 0 means one per core.
            max_batch: The most items in a batch; 0 means 8.
            decoder: The decoder of images.
            precision: Which form of a version to load: the version itself, or its int8 form.
            runtime: `openvino` or `onnxruntime`; None takes the first one that is installed.
        """
        self._threads = threads or os.cpu_count() or 1
        self._decoder = decoder
        self._precision = precision
        self._runtime = runtime
        self.max_batch = max_batch or _MAX_BATCH
        self.workers = min(self._threads, _MOST_WORKERS)

    def prepare_device(self) -> None:
        """Do nothing: the CPU is always there."""

    def load(self, version: ModelVersion) -> PortableEncoder:
        """Read a version and return its encoder.

        Raises:
            errors.HalftoneError: The version or its int8 form is missing or damaged, or no runtime
                is installed; see `PortableModel.load` and `quantizing.load`.
        """
        if self._precision == "int8":
            model = quantizing.load(version, threads=self._threads, streams=self.workers)
            # Descriptors in int8 are close to the published ones, but not equal.
            golden, backend = quantizing.place(version), f"{model.runtime}-int8"
        else:
            model = PortableModel.load(
                version.directory,
                threads=self._threads,
                streams=self.workers,
                runtime=self._runtime,
            )
            golden, backend = None, model.runtime
        return PortableEncoder(
            model,
            version=version,
            backend=backend,
            golden=golden,
            decoder=self._decoder,
            streams=self.workers,
        )


class PortableEncoder:
    """One model version on the CPU, run by several workers at a time."""

    device = "cpu"

    def __init__(
        self,
        model: PortableModel,
        *,
        version: ModelVersion,
        backend: str,
        golden: Path | None,
        decoder: Decoder,
        streams: int,
    ) -> None:
        self.model_version = version.id
        self.dimension = model.spec.dimension
        self.backend = backend
        self.golden = golden
        self._model = model
        self._decoder = decoder
        self._streams = streams

    def warm_ups(self) -> Sequence[Callable[[], object]]:
        """Return the one call that warms up the network."""
        return (self._warm_up,)

    def _warm_up(self) -> None:
        size = self._model.spec.preprocessing.size
        self.encode(np.zeros((1, size, size), dtype=np.uint8))

    def prepare(
        self, picture: InputImage, *, is_over: Callable[[], bool] | None = None
    ) -> PreparedImage:
        """Decode and preprocess an image."""
        return self._decoder.prepare(
            picture, preprocessing=self._model.spec.preprocessing, is_over=is_over
        )

    def stage(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Stack the inputs of a batch: uint8 [N, S, S]."""
        return np.stack(pixels)

    def encode(self, staged: NDArray[np.uint8], *, alone: bool = True) -> NDArray[np.float32]:
        """Run the network on a batch: on all streams if `alone`, otherwise on one of them."""
        return self._model.embed(staged, parts=self._streams if alone else 1)
