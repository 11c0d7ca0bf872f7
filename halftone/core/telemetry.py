"""Structured logs with request ids, and Prometheus metrics on their own port."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
import socket
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from halftone.core.wire import REQUEST_ID_KEY as REQUEST_ID_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from typing import Any

_VALID_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

# In seconds, from a cached lookup on a laptop to a batch on a busy CPU.
BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


def request_id() -> str:
    """Return the id of the request that is being answered, or an empty string outside of one."""
    return _request_id.get()


def bind_request_id(candidate: str | None) -> str:
    """Set and return the id of this request: `candidate` if it is well-formed, else a new id."""
    value = candidate if candidate and _VALID_ID.fullmatch(candidate) else uuid.uuid4().hex
    _request_id.set(value)
    return value


@contextlib.contextmanager
def request_id_bound(value: str) -> Iterator[None]:
    """Log under a request's id while the block runs, for threads that work for a request."""
    token = _request_id.set(value)
    try:
        yield
    finally:
        _request_id.reset(token)


def _add_request_id(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    value = _request_id.get()
    if value:
        event.setdefault("request_id", value)
    return event


def configure_logging(*, service: str, level: str, style: str) -> None:
    """Send the logs of structlog and of the standard library to stderr, one event a line.

    Args:
        service: The service's name, which every event carries.
        level: `debug`, `info`, `warning` or `error`.
        style: `json`, or `console` for a person at a terminal.
    """

    # This is not a context variable, because threads start with a context of their own.
    def add_service(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    shared: list[structlog.typing.Processor] = [
        add_service,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; its events are written as `logger.info("event_name", key=value)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class Metrics:
    """The Prometheus metrics of one process, named `halftone_<service>_<what>_<unit>`.

    Names are given without `halftone_<service>_`; Prometheus adds `_total` to counters.
    """

    def __init__(self, *, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.rpc_seconds = self.histogram(
            "rpc_seconds", "Time to answer a call", labels=("method", "code")
        )
        self.rpcs_in_flight = self.gauge("rpcs_in_flight", "Calls being answered")

    def counter(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Counter:
        """Add a counter.

        Args:
            name: The name, without `halftone_<service>_` and `_total`.
            text: What it counts, for people.
            labels: The names of its labels.
        """
        return Counter(self._full(name), text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Gauge:
        """Add a gauge.

        Args:
            name: The name, without `halftone_<service>_`.
            text: What it shows, for people.
            labels: The names of its labels.
        """
        return Gauge(self._full(name), text, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        text: str,
        *,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = BUCKETS,
    ) -> Histogram:
        """Add a histogram.

        Args:
            name: The name, without `halftone_<service>_`.
            text: What it measures, for people.
            labels: The names of its labels.
            buckets: The upper bounds of the buckets. The default suits seconds.
        """
        return Histogram(self._full(name), text, labels, registry=self.registry, buckets=buckets)

    def _full(self, name: str) -> str:
        return f"halftone_{self.service}_{name}"

    def serve(self, *, host: str, port: int) -> tuple[int, Any]:
        """Serve the metrics over HTTP from a thread of its own.

        Returns:
            The port, and a function that stops the server.

        Raises:
            OSError: The port is in use.
        """
        # `start_http_server` is not used, because it takes half a second to stop.
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server: ThreadingWSGIServer = make_server(
            str(address[0]),
            port,
            make_wsgi_app(self.registry),
            type("Server", (ThreadingWSGIServer,), {"address_family": family}),
            handler_class=_Silent,
        )
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return int(server.server_port), stop


class _Silent(WSGIRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Log nothing: a scrape is no event."""
