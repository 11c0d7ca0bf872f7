"""What a published version goes through before it answers: load, warm up, golden vectors."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone import errors, files, telemetry
from services.embedder.encoder import Picture

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.registry import ModelVersion
    from services.embedder.batcher import Batcher
    from services.embedder.encoder import Backend, Encoder

GOLDEN: Final = "golden.json"

_log = telemetry.get_logger(__name__)


class Loader:
    """Makes an encoder of a version whose hashes were verified, ready to serve."""

    def __init__(self, *, backend: Backend, batcher: Batcher) -> None:
        self._backend = backend
        self._batcher = batcher
        self._prepared = False

    def __call__(self, version: ModelVersion) -> Encoder:
        """Blocks until the version is warm. Requests to other versions go on meanwhile.

        Raises:
            errors.DataLoss: The version's files are damaged, or it does not give the descriptors
                that were published with it.
            errors.Unavailable: The batcher has ended.
        """
        started = time.perf_counter()
        if not self._prepared:
            self._batcher.run(self._backend.prepare_device).result()
            self._prepared = True
        encoder = self._backend.load(version)
        # On the thread that owns the device, so that nothing else runs there at the same time.
        self._batcher.run(encoder.warm_up).result()
        lowest = self._batcher.run(lambda: check_golden(encoder, version.directory)).result()
        _log.info(
            "model_ready",
            model_version=version.id,
            golden_cosine=round(lowest, 5),
            seconds=round(time.perf_counter() - started, 3),
        )
        return encoder


def check_golden(encoder: Encoder, directory: Path) -> float:
    """Embeds a version's golden pictures the way requests are, and compares the descriptors.

    Returns:
        The lowest cosine.

    Raises:
        errors.DataLoss: It is lower than the version allows, or `golden.json` cannot be used.
    """
    try:
        golden = files.read_object(directory / GOLDEN)
        limit = float(golden["min_cosine"])
        entries = golden["images"]
        expected = np.array([entry["descriptor"] for entry in entries], dtype=np.float32)
        contents = [base64.b64decode(entry["png_base64"]) for entry in entries]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise errors.DataLoss(
            f"{directory / GOLDEN} cannot be used: {error}", reason="GOLDEN_DAMAGED"
        ) from error
    if expected.ndim != 2 or expected.shape[1] != encoder.dimension:  # noqa: PLR2004  # [N, D]
        raise errors.DataLoss(
            f"{directory / GOLDEN} has descriptors of shape {expected.shape}, not [N, "
            f"{encoder.dimension}].",
            reason="GOLDEN_DAMAGED",
        )
    inputs = [encoder.prepare(Picture(content=content)).pixels[0] for content in contents]
    vectors = encoder.encode(encoder.stage(inputs))
    lowest = float((vectors * expected).sum(axis=1).min())
    if not lowest >= limit:  # also true of NaN
        raise errors.DataLoss(
            f"Model version {encoder.model_version} gives descriptors with a cosine of "
            f"{lowest:.4f} to the published ones; at least {limit} is required.",
            reason="GOLDEN_MISMATCH",
        )
    return lowest
