"""Reads queues that anybody with the broker's password can write to, whatever is on them.

kombu decodes what it takes off a list of Redis before it calls anybody: bytes that are no UTF-8, no
JSON, no envelope or no base64 raise where they are read, which ends a worker for good and stops a
reader until it connects again. And Celery trusts the headers of a message. Here, what cannot be
read is logged and dropped, and the next message is read.
"""

from __future__ import annotations

import ssl
from typing import Any, Final, cast
from urllib.parse import urlsplit

import redis
from celery.worker import consumer
from kombu import exceptions as kombu_exceptions
from kombu.transport import redis as kombu_redis
from kombu.utils.json import loads

from halftone.core import telemetry

_log = telemetry.get_logger(__name__)

WORK_TASK: Final = "halftone.run"
"""The task of the work queue: `{"job_id": …}`."""

# The broker's faults are no message's: the connection is made again, and the message comes back.
_BROKER_ERRORS: Final = (kombu_exceptions.OperationalError, redis.RedisError, OSError)
_SHOWN: Final = 200
"""Bytes of an unreadable message that the log shows."""


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel of kombu that drops what it cannot read."""

    def _get_client(self) -> Any:
        channel = self

        class Client(redis.Redis):
            """A client whose answers hold only messages that kombu can read."""

            def parse_response(
                self, connection: Any, command_name: str | bytes, **options: Any
            ) -> Any:
                answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]  # redis
                if command_name == "BRPOP" and answer and not channel.can_read(answer[1]):
                    # As if nothing had been on the list.
                    return None
                return answer

        return Client

    def can_read(self, item: bytes) -> bool:
        """Return whether bytes of a list are a message; log them if they are not."""
        try:
            envelope = loads(item.decode())
            if not isinstance(self.Message(envelope, channel=self).delivery_tag, str):
                raise TypeError("the delivery tag is no text")  # noqa: TRY301 - as below
            # What `basic_reject` and a restored message need.
            for field in ("exchange", "routing_key"):
                _ = envelope["properties"]["delivery_info"][field]
            if not isinstance(envelope.get("headers") or {}, dict):
                raise TypeError("the headers are no object")  # noqa: TRY301 - ends like the others
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is to blame
            _log.warning(
                "message_dropped", error=type(error).__name__, bytes=len(item), start=item[:_SHOWN]
            )
            return False
        return True


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """The transport of kombu with such channels."""

    Channel = Channel


class Consumer(consumer.Consumer):  # type: ignore[misc]  # celery has no types
    """A worker's consumer that a message cannot break."""

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """Return the function that takes each message."""
        take = super().create_task_handler(*args, **options)

        def take_or_drop(message: Any) -> Any:
            try:
                message.headers = _make_headers(message)
                return take(message)
            except _BROKER_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning(
                    "message_dropped",
                    error=type(error).__name__,
                    headers=repr(message.headers)[:_SHOWN],
                )
                if not message.acknowledged:
                    message.reject()
                return None

        return take_or_drop


def _make_headers(message: Any) -> dict[str, Any]:
    """Return the headers of one of our own messages, with nothing else that its sender wrote there.

    Celery reads times, limits, retries and groups from them, and trusts their types.

    Raises:
        ValueError: The message is none of ours.
    """
    headers = message.headers
    if headers.get("task") != WORK_TASK or not isinstance(headers.get("id"), str):
        raise ValueError("it is no task of this queue")
    arguments, _keywords, _ = message.decode()
    if arguments:
        raise ValueError("the task has arguments without names")
    task_id = headers["id"]
    return {
        "lang": "py",
        "task": WORK_TASK,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "",
        "ignore_result": True,
    }


def make_connection_options(broker: str) -> dict[str, Any]:
    """Return the options with which kombu and Celery connect to a broker by this transport.

    Args:
        broker: The broker's URL, `redis://…` or `rediss://…`.
    """
    # kombu does the same for `rediss`, which it does not see once it is given a transport.
    is_tls = urlsplit(broker).scheme == "rediss"
    return {"transport": Transport, "ssl": {"ssl_cert_reqs": ssl.CERT_NONE} if is_tls else False}


def read_job_id(value: object) -> str | None:
    """Return the id of a job from the argument of a task; None if it cannot be one."""
    is_text = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _SHOWN
    return cast("str", value) if is_text else None
