"""Reports a run's events to the process that started it: one JSON object per line.

Also has the lock of the work directory.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from halftone.core import errors
from halftone.core.locks import LockHeldError, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Phase = Literal["reading", "training", "evaluating", "publishing"]
LOCK: Final = ".lock"
_SECONDS_BETWEEN: Final = 0.5


class Events:
    """Writes events to a file descriptor; does nothing without one.

    Progress is written at most twice a second, a change of phase always. If the reader is gone the
    run continues without: the process that started it decides what happens to it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._phase: Phase | None = None
        self._written = -math.inf

    def progress(
        self, phase: Phase, *, metrics: Mapping[str, float] | None = None, **numbers: float
    ) -> None:
        """Report the progress of a phase: `fraction`, `epoch`, `step`, `loss` and so on.

        Numbers that are not finite are left out. New metrics are written at once.
        """
        now = time.monotonic()
        if phase == self._phase and not metrics and now - self._written < _SECONDS_BETWEEN:
            return
        self._phase, self._written = phase, now
        event: dict[str, Any] = {"event": "progress", "phase": phase, **_finite(numbers)}
        if metrics:
            event["metrics"] = _finite(metrics)
        self._write(event)

    def due(self) -> bool:
        """Return whether a progress event within a phase would be written now."""
        return self._descriptor is not None and time.monotonic() - self._written >= _SECONDS_BETWEEN

    def warning(self, message: str) -> None:
        """Report an oddity that a person should know and that does not stop the run."""
        self._write({"event": "warning", "message": message})

    def publication(self, model_version: str) -> None:
        """Report which version was published, for example `name/3`."""
        self._write({"event": "published", "model_version": model_version})

    def error(self, error: errors.HalftoneError) -> None:
        """Report why the run ends."""
        self._write(
            {
                "event": "error",
                "code": errors.code_of(error).name,
                "reason": error.reason,
                "message": error.message,
                "field": getattr(error, "field", ""),
            }
        )

    def _write(self, event: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        line = (json.dumps(event, ensure_ascii=False) + "\n").encode()
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            self._descriptor = None


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


@contextlib.contextmanager
def exclusive(work: Path) -> Iterator[None]:
    """Hold a work directory for this process alone, creating it if it is missing.

    Raises:
        errors.FailedPrecondition: Another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    try:
        lock = locked(work / LOCK)
    except LockHeldError as error:
        raise errors.FailedPrecondition(
            f"Another process trains in {work}.", reason="WORK_DIRECTORY_IN_USE"
        ) from error
    with lock:
        yield
