"""The Celery task: takes a message and hands its job to the runner.

Whatever happens, the message is acknowledged after it; the job's record says what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from halftone import errors, telemetry, training
from services.trainer.jobs_queue import Message

if TYPE_CHECKING:
    from services.trainer.jobs_intake import Intake
    from services.trainer.runner import Runner

_log = telemetry.get_logger(__name__)


def register(app: Any, *, intake: Intake, runner: Runner) -> None:
    """Adds the task `halftone.train` to an application: `{"spec": …, "request_id": …}`."""

    @app.task(name=training.TASK, bind=True)  # type: ignore[untyped-decorator]  # celery's
    def train(task: Any, *arguments: Any, **keywords: Any) -> None:
        if arguments:
            # Refused with the name of the field that is missing.
            keywords = {f"argument {index}": value for index, value in enumerate(arguments)}
        runner.metrics.busy.set(1)
        try:
            job = intake.receive(Message(task_id=str(task.request.id), arguments=keywords))
            runner.run(job.id)
        except errors.HalftoneError as error:
            # The broker is away. The job is in it and is taken up again when it is back.
            _log.warning("job_left", reason=error.reason, error=error.message)
        finally:
            runner.metrics.busy.set(0)
