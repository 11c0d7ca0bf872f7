"""The queue of training jobs: a Celery application, what is sent to it and what waits in it.

Celery only carries messages. Which jobs there are, what state they are in and who works on them is
in the store (`jobs_store`), so that a message that comes twice, late or never does no harm.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import celery
from kombu import exceptions
from redis import exceptions as redis_exceptions

from halftone.core import errors, training
from halftone.services.trainer.jobs.store import translated

if TYPE_CHECKING:
    from halftone.services.trainer.jobs.job import TrainingJob
    from halftone.services.trainer.jobs.store import JobStore

# The transport keeps a list for each of its four priorities.
_LISTS: Final = (training.QUEUE, *(f"{training.QUEUE}\x06\x16{level}" for level in (3, 6, 9)))
_TAKEN: Final = "unacked"
"""Where the transport keeps what is not acknowledged."""
_LOOKED_AT: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Message:
    """What waits on the queue: the id of a Celery task and its keyword arguments."""

    task_id: str
    arguments: dict[str, Any]


def make_app(broker: str, *, visibility_seconds: float = 3600.0) -> Any:
    """The Celery application.

    Args:
        broker: `redis://…`.
        visibility_seconds: After which a message that a worker took and never acknowledged comes
            back; above the longest job.
    """
    app = celery.Celery("halftone", broker=broker, set_as_current=False)
    app.conf.update(
        task_default_queue=training.QUEUE,
        # Only what is JSON is ever read or written.
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # A message is acknowledged when its job is over or back on the queue, one at a time.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        # A job goes on when the broker restarts: its lease says whose it is.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_transport_options={
            "visibility_timeout": round(visibility_seconds),
            "socket_connect_timeout": 2.0,
            "socket_timeout": 10.0,
            "socket_keepalive": True,
        },
    )
    return app


class JobQueue:
    """Sends jobs to the workers, and looks at what waits.

    All methods raise `errors.Unavailable` when the broker does not answer.
    """

    def __init__(self, app: Any, *, store: JobStore) -> None:
        self._app = app
        self._client = store.client

    def send(self, job: TrainingJob) -> None:
        """Puts a job on the queue. Twice does no harm."""
        try:
            self._app.send_task(
                training.TASK,
                kwargs={"spec": job.spec, "request_id": job.id},
                task_id=job.id,
                queue=training.QUEUE,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.05},
            )
        except (exceptions.OperationalError, redis_exceptions.RedisError, OSError) as error:
            raise errors.Unavailable(
                f"The queue of training jobs cannot be reached: {error}",
                reason="BROKER_UNAVAILABLE",
                retry_after=1.0,
            ) from error

    def length(self) -> int:
        """How many messages wait."""
        with translated():
            return sum(int(self._client.llen(name)) for name in _LISTS)

    def waiting(self, *, limit: int = _LOOKED_AT) -> tuple[tuple[Message, ...], bool]:
        """The first messages that wait for a worker, and whether these are all.

        What cannot be read is left out.
        """
        messages: list[Message] = []
        complete = True
        with translated():
            for name in _LISTS:
                # New messages come in on the left and are taken on the right.
                texts = self._client.lrange(name, -limit, -1)
                complete = complete and len(texts) < limit
                # So that the next one to be taken comes first.
                found = (_read(text) for text in reversed(texts))
                messages += [message for message in found if message is not None]
        return tuple(messages), complete

    def taken(self) -> tuple[Message, ...]:
        """The messages that workers have taken and not acknowledged.

        Of a worker that was killed they come back only after the visibility timeout.
        """
        with translated():
            texts = self._client.hvals(_TAKEN)
        found = (_read(text) for text in texts)
        return tuple(message for message in found if message is not None)


def _read(text: str) -> Message | None:
    try:
        message = json.loads(text)
        if isinstance(message, list):
            message = message[0]  # taken: beside it are the exchange and the routing key
        headers, body = message["headers"], message["body"]
        if headers["task"] != training.TASK:
            return None
        if message["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        _, arguments, _ = json.loads(body)
        return Message(task_id=str(headers["id"]), arguments=dict(arguments))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
