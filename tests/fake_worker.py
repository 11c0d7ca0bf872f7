"""The real worker with `tests.fake_training` for a loop: `python -m tests.fake_worker`."""

from __future__ import annotations

from halftone import telemetry
from halftone.services.trainer import worker
from halftone.settings import ModelSettings, TrainerSettings

if __name__ == "__main__":
    telemetry.configure_logging(service="trainer-worker", level="info", style="json")
    worker.run(TrainerSettings(), models=ModelSettings().directory, module="tests.fake_training")
