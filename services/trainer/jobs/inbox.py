"""Takes jobs from the queue on which clients put them, and records them.

An inbox runs in the service and in each worker; several may run at once. A message is acknowledged
when its job is recorded, so a process that is killed in between loses nothing: the message comes
back, and recording a job twice has the same effect as recording it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import kombu
from kombu import exceptions as kombu_exceptions
from redis import exceptions

from halftone.core import errors, telemetry, training
from halftone.services.trainer.jobs.intake import Message
from halftone.services.trainer.jobs.queue import connect_inbox

if TYPE_CHECKING:
    import threading

    from halftone.services.trainer.jobs.intake import Intake

_log = telemetry.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 1.0
_VISIBILITY_SECONDS: Final = 30.0
# Nobody can refuse a message as a call is refused, so its job is recorded in a full queue, too.
# The bound is there because every reaper reads all records of jobs that wait.
_EXTRA_JOBS: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Reads the clients' queue.

    Attributes:
        broker: The broker's URL, `redis://…`.
        intake: Records the jobs.
        poll: Seconds that one read of the queue waits for a message.
        visibility: Seconds after which a message comes back that was taken and never acknowledged.
        extra: How many more jobs than `max_queued_jobs` may wait before no more are recorded.
    """

    broker: str
    intake: Intake
    poll: float = _POLL_SECONDS
    visibility: float = _VISIBILITY_SECONDS
    extra: int = _EXTRA_JOBS

    def run(self, stop: threading.Event) -> None:
        """Record incoming jobs until `stop` is set. Errors are logged, and it tries again.

        It takes no more messages while `max_queued_jobs` + `extra` jobs or more are waiting. The
        messages then stay on the queue.
        """
        while not stop.is_set():
            try:
                if self.intake.is_full(extra=self.extra):
                    stop.wait(_PAUSE_SECONDS)
                    continue
                with connect_inbox(self.broker, visibility_seconds=self.visibility) as connection:
                    self._read(connection, stop=stop)
            except Exception as error:  # noqa: BLE001  # kombu lets many kinds of errors through
                _log.warning("inbox_not_read", error=str(error), kind=type(error).__name__)
                stop.wait(_PAUSE_SECONDS)

    def _read(self, connection: kombu.Connection, *, stop: threading.Event) -> None:
        exchange = kombu.Exchange(training.QUEUE, type="direct")
        queue = kombu.Queue(training.QUEUE, exchange, routing_key=training.QUEUE)

        def take(message: kombu.Message) -> None:
            self._take(message, stop=stop)

        def drop(message: kombu.Message, error: Exception) -> None:
            _log.warning("message_unreadable", error=str(error))
            message.reject()

        with (
            connection.channel() as channel,
            kombu.Consumer(
                channel,
                queues=[queue],
                accept=["json"],
                on_message=take,
                on_decode_error=drop,
                prefetch_count=1,
            ),
        ):
            while not stop.is_set() and not self.intake.is_full(extra=self.extra):
                try:
                    connection.drain_events(timeout=self.poll)
                except TimeoutError:
                    continue

    def _take(self, message: kombu.Message, *, stop: threading.Event) -> None:
        parsed = read_message(message)
        if parsed is None:
            _log.warning("message_unreadable", headers=repr(message.headers)[:200])
            message.reject()
            return
        while True:
            try:
                self.intake.receive(parsed)
            except (errors.HalftoneError, exceptions.RedisError) as error:
                # The intake records what is wrong with a message, so this is the broker's fault:
                # it is away, or it cannot write.
                _log.warning("message_waits", error=str(error), kind=type(error).__name__)
                if stop.wait(_PAUSE_SECONDS):
                    # The message was not acknowledged, so it comes back.
                    return
            except Exception:  # noqa: BLE001  # a message that breaks the inbox must not come back
                _log.exception("message_dropped", task=parsed.task_id)
                message.reject()
                return
            else:
                message.ack()
                return


def read_message(message: Any) -> Message | None:
    """Return the job in a Celery message; None if the message is not a `training.TASK`.

    Reads both versions of Celery's protocol. Positional arguments get names that are in no
    specification, so that they are refused as unknown fields.
    """
    try:
        if "task" in message.headers:
            task, task_id = message.headers["task"], message.headers["id"]
            positional, keywords, _ = message.payload
        else:
            body = message.payload
            task, task_id = body["task"], body["id"]
            positional, keywords = body.get("args", ()), body.get("kwargs", {})
        if task != training.TASK:
            return None
        arguments = dict(keywords)
        if positional:
            arguments = {f"argument {index}": value for index, value in enumerate(positional)}
        return Message(task_id=str(task_id), arguments=arguments)
    except (LookupError, TypeError, ValueError, AttributeError, kombu_exceptions.KombuError):
        return None
