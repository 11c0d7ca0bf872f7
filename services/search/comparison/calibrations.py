"""Reads the calibration of each model version from the registry, once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from halftone.core import errors, telemetry
from halftone.matching.probability import Calibration

if TYPE_CHECKING:
    from halftone.registry.versions import Registry

_UNKNOWN_SECONDS: Final = 60.0
"""Seconds until a version without a readable calibration is tried again."""

_log = telemetry.get_logger(__name__)


class Calibrations:
    """The calibrations that were published with the model versions. Thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Calibration] = {}
        self._unknown: dict[str, float] = {}

    def of(self, model_version: str) -> Calibration:
        """Return a version's calibration, or the default one, which ignores similarities.

        Reads a file the first time; blocks.
        """
        if (known := self._known.get(model_version)) is not None:
            return known
        now = time.monotonic()
        if now < self._unknown.get(model_version, 0.0):
            return Calibration.default()
        try:
            values = self._registry.resolve(model_version).spec().get("calibration")
            calibration = Calibration.default() if values is None else Calibration.from_dict(values)
        except (errors.HalftoneError, KeyError, TypeError, ValueError) as error:
            # Searches go on and ignore this model's similarities.
            if model_version not in self._unknown:
                _log.warning("calibration_missing", model_version=model_version, error=str(error))
            self._unknown[model_version] = now + _UNKNOWN_SECONDS
            return Calibration.default()
        # A published version never changes.
        self._known[model_version] = calibration
        return calibration
