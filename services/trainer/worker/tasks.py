"""The Celery task: takes a message and hands its job to the runner.

Whatever happens, the message is acknowledged after it; the job's record says what became of it.
Only one whose job was not recorded goes back to the queue: it is all there is of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from celery import exceptions

from halftone.core import errors, telemetry, training
from halftone.services.trainer.jobs.queue import Message

if TYPE_CHECKING:
    from halftone.services.trainer.jobs.intake import Intake
    from halftone.services.trainer.jobs.job import TrainingJob
    from halftone.services.trainer.worker.runner import Runner

_log = telemetry.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.5


def register(app: Any, *, intake: Intake, runner: Runner) -> None:
    """Adds the task `halftone.train` to an application: `{"spec": …, "request_id": …}`."""

    @app.task(name=training.TASK, bind=True)  # type: ignore[untyped-decorator]  # celery's
    def train(task: Any, *arguments: Any, **keywords: Any) -> None:
        if arguments:
            # Refused with the name of the field that is missing.
            keywords = {f"argument {index}": value for index, value in enumerate(arguments)}
        runner.metrics.busy.set(1)
        try:
            message = Message(task_id=str(task.request.id), arguments=keywords)
            runner.run(_received(message, intake=intake, runner=runner).id)
        except errors.HalftoneError as error:
            # The broker is away. The job is in it and is taken up again when it is back.
            _log.warning("job_left", reason=error.reason, error=error.message)
        finally:
            runner.metrics.busy.set(0)


def _received(message: Message, *, intake: Intake, runner: Runner) -> TrainingJob:
    """The job of a message, however long the broker is away.

    Raises:
        celery.exceptions.Reject: The worker ends before; the message goes back.
    """
    while True:
        try:
            return intake.receive(message)
        except errors.HalftoneError as error:
            _log.warning("message_waits", reason=error.reason, error=error.message)
            if runner.stopping:
                raise exceptions.Reject(error.reason, requeue=True) from error
            time.sleep(_PAUSE_SECONDS)
