"""The queues of training jobs, which Celery carries: the clients' queue and the work queue.

Clients put jobs on `training.QUEUE` with nothing but Celery; `inbox` makes records of them within
seconds. Workers take jobs from `WORK_QUEUE`, whose messages are our own and contain only the id of
a job. The store knows which jobs exist, in what state, and who works on them, so that a message
that comes twice, late or never does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import celery
import kombu
from kombu import exceptions as kombu_exceptions
from redis import exceptions

from halftone.core import errors, training
from halftone.services.trainer.jobs.messages import (
    WORK_TASK,
    Consumer,
    make_connection_options,
)

if TYPE_CHECKING:
    from halftone.services.trainer.jobs.job import TrainingJob

WORK_QUEUE: Final = f"{training.QUEUE}.work"
"""The queue on which recorded jobs wait for a worker."""

_BROKEN: Final = (kombu_exceptions.OperationalError, exceptions.RedisError, OSError)
_SOCKET_OPTIONS: Final = {
    "socket_connect_timeout": 2.0,
    "socket_timeout": 10.0,
    "socket_keepalive": True,
}


def make_app(broker: str, *, visibility_seconds: float = 3600.0) -> Any:
    """Create the Celery application of the work queue.

    Args:
        broker: The broker's URL, `redis://…`.
        visibility_seconds: Seconds after which a message comes back that a worker took and never
            acknowledged. Must exceed the longest job.
    """
    app = celery.Celery("halftone", broker=broker, set_as_current=False)
    options = make_connection_options(broker)
    app.conf.update(
        task_default_queue=WORK_QUEUE,
        # Only JSON is ever read or written.
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # Take one message at a time, and acknowledge it when its job is over or back on the queue.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        # A job continues when the broker restarts: its lease says which worker has it.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_consumer=Consumer,
        broker_transport=options["transport"],
        broker_use_ssl=options["ssl"],
        broker_transport_options={
            "visibility_timeout": round(visibility_seconds),
            **_SOCKET_OPTIONS,
        },
    )
    return app


def connect_inbox(broker: str, *, visibility_seconds: float) -> kombu.Connection:
    """Create a connection, not yet open, for taking messages from the clients' queue.

    Its unacknowledged messages are kept apart from the workers' messages. So they can come back
    within seconds after a process is killed, while the workers' messages are held for days.

    Args:
        broker: The broker's URL, `redis://…`.
        visibility_seconds: Seconds after which an unacknowledged message comes back.
    """
    prefix = f"{training.QUEUE}.inbox"
    return kombu.Connection(
        broker,
        **make_connection_options(broker),
        transport_options={
            "visibility_timeout": visibility_seconds,
            "unacked_key": f"{prefix}.unacked",
            "unacked_index_key": f"{prefix}.unacked_index",
            "unacked_mutex_key": f"{prefix}.unacked_mutex",
            **_SOCKET_OPTIONS,
        },
    )


class JobQueue:
    """Sends jobs to the workers and counts the messages that wait."""

    def __init__(self, app: Any) -> None:
        """Create a queue, which connects when it is first used.

        Args:
            app: The application from `make_app`.
        """
        self._app = app

    def send(self, job: TrainingJob) -> None:
        """Put a job on the work queue. Sending it twice does no harm.

        Raises:
            errors.Unavailable: The broker does not answer.
        """
        try:
            self._app.send_task(
                WORK_TASK,
                kwargs={"job_id": job.id},
                task_id=job.id,
                queue=WORK_QUEUE,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.05},
            )
        except _BROKEN as error:
            raise _unavailable(error) from error

    def length(self, name: str = WORK_QUEUE) -> int:
        """Return the number of messages that wait on a queue.

        Raises:
            errors.Unavailable: The broker does not answer.
        """
        try:
            with self._app.connection_or_acquire() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
                with connection.channel() as channel:
                    try:
                        return int(channel.queue_declare(queue=name, passive=True).message_count)
                    except kombu_exceptions.ChannelError:
                        # An empty queue does not exist. (`connection.channel_errors` has all
                        # refusals of the broker.)
                        return 0
        except _BROKEN as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> errors.Unavailable:
    return errors.Unavailable(
        f"The queue of training jobs cannot be reached: {error}",
        reason="BROKER_UNAVAILABLE",
        retry_after=1.0,
    )
