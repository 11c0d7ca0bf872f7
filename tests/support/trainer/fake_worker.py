"""The real worker with `fake_training` for a loop.

Run it with `python -m tests.support.trainer.fake_worker`.
"""

from __future__ import annotations

from halftone.core import telemetry
from halftone.core.settings import ModelSettings, TrainerSettings
from halftone.services.trainer.worker import __main__ as worker

if __name__ == "__main__":
    telemetry.configure_logging(service="trainer-worker", level="info", style="json")
    worker.run(
        TrainerSettings(),
        models=ModelSettings().directory,
        module="tests.support.trainer.fake_training",
    )
