"""The Celery task that hands a job to the runner.

The message is acknowledged after the task, whatever happens: the outcome is in the job's record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from halftone.core import errors, telemetry
from halftone.services.trainer.jobs.messages import WORK_TASK, read_job_id

if TYPE_CHECKING:
    from halftone.services.trainer.worker.runner import Runner

_log = telemetry.get_logger(__name__)


def register(app: Any, *, runner: Runner) -> None:
    """Add the task of the work queue, which `runner` does, to a Celery application."""

    @app.task(name=WORK_TASK)  # type: ignore[untyped-decorator]  # celery's
    def run(job_id: object = None, *others: object, **unknown: object) -> None:
        job = read_job_id(job_id)
        if job is None or others or unknown:
            _log.warning("message_dropped", error="its arguments are none of ours")
            return
        runner.metrics.busy.set(1)
        try:
            runner.run(job)
        except errors.HalftoneError as error:
            # The broker is away. The reaper resumes the job when the broker is back.
            _log.warning("job_left", reason=error.reason, error=error.message)
        finally:
            runner.metrics.busy.set(0)
