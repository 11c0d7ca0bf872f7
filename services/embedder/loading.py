"""Makes a published version ready to serve: loads it, warms it up, checks its golden vectors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from halftone.core import telemetry
from halftone.registry import golden
from halftone.services.embedder.encoders.encoder import InputImage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.batching.batcher import Batcher
    from halftone.services.embedder.encoders.encoder import Backend, Encoder

_log = telemetry.get_logger(__name__)


class Loader:
    """Loads versions whose hashes were verified.

    Args:
        backend: Makes the encoders.
        batcher: Runs calls on the threads of the device.
    """

    def __init__(self, *, backend: Backend, batcher: Batcher) -> None:
        self._backend = backend
        self._batcher = batcher

    def prepare_device(self) -> None:
        """Make the device ready. Call it once, before the first version is loaded. Blocks.

        Raises:
            errors.FailedPrecondition: The device does not exist.
        """
        self._batcher.run(self._backend.prepare_device).result()

    def __call__(self, version: ModelVersion) -> Encoder:
        """Load a version, warm it up, check its golden vectors, and return its encoder. Blocks.

        Requests to other versions wait meanwhile for one step at most.

        Raises:
            errors.DataLoss: The version's files are damaged, or it does not compute the descriptors
                that were published with it.
            errors.Unavailable: The batcher has ended.
        """
        started = time.perf_counter()
        encoder = self._backend.load(version)
        # On a thread of the device, one batch size at a time, so that batches can run in between.
        for step in encoder.warm_ups():
            self._batcher.run(step).result()
        directory = encoder.golden or version.directory
        lowest = self._batcher.run(lambda: check_golden(encoder, directory)).result()
        _log.info(
            "model_ready",
            model_version=version.id,
            golden_cosine=round(lowest, 5),
            seconds=round(time.perf_counter() - started, 3),
        )
        return encoder


def check_golden(encoder: Encoder, directory: Path) -> float:
    """Embed a version's golden pictures as a request would, and compare the descriptors.

    Args:
        encoder: The encoder of the version.
        directory: The directory of the golden pictures and descriptors.

    Returns:
        The lowest cosine to a published descriptor.

    Raises:
        errors.DataLoss: The descriptors differ too much; see `golden.check_golden`.
    """

    def embed(contents: Sequence[bytes]) -> NDArray[np.float32]:
        inputs = [encoder.prepare(InputImage(content=content)).pixels[0] for content in contents]
        return encoder.encode(encoder.stage(inputs))

    return golden.check_golden(directory, embed=embed, dimension=encoder.dimension)
