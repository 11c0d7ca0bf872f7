"""The real worker with `tests.fake_training` for a loop: `python -m tests.fake_worker`."""

from __future__ import annotations

from halftone.core import telemetry
from halftone.core.settings import ModelSettings, TrainerSettings
from halftone.services.trainer.worker import __main__ as worker

if __name__ == "__main__":
    telemetry.configure_logging(service="trainer-worker", level="info", style="json")
    worker.run(TrainerSettings(), models=ModelSettings().directory, module="tests.fake_training")
