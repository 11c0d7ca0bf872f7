"""The page as a child of the embedded stack."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from halftone.core import errors, extras
from halftone.core.settings import AccessSettings, TlsSettings, WebSettings
from halftone.service.access import find_metrics_host
from halftone.stack.parts import make_address, make_command
from halftone.stack.supervisor import Child

if TYPE_CHECKING:
    from pathlib import Path

    from halftone.stack.running import Addresses
    from halftone.stack.training import HoldPort

NOT_INSTALLED: Final = "PAGE_NOT_INSTALLED"
"""The reason of the error if the packages of the page are not installed."""
_PACKAGES: Final = ("babel", "multipart", "starlette", "uvicorn")
_HTTP_OK: Final = 200


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of a stack.

    Attributes:
        child: Its process.
        address: `host:port` at which browsers reach it.
        metrics: `host:port` of its metrics.
    """

    child: Child
    address: str
    metrics: str


def prepare(
    *,
    data: Path,
    port: int | None,
    metrics_port: int | None,
    addresses: Addresses,
    hold_port: HoldPort,
) -> Page:
    """Describe the child that serves the page.

    Args:
        data: The data directory of the stack.
        port: The port to listen on; None takes that of the settings.
        metrics_port: The port of the metrics; likewise.
        addresses: The services that it asks.
        hold_port: Keeps a port until the stack ends.

    Raises:
        errors.FailedPrecondition: A package is not installed.
        errors.Unavailable: A port is in use.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise errors.FailedPrecondition(
            f"It needs {', '.join(missing)}: {extras.make_install_command('web')}",
            subject="page",
            reason=NOT_INSTALLED,
        )
    settings = WebSettings()
    number = hold_port(
        settings.host,
        settings.port if port is None else port,
        what="page",
        variable="--page-port (HALFTONE_WEB_PORT)",
    )
    metrics_host = find_metrics_host(settings, AccessSettings())
    metrics = hold_port(
        metrics_host,
        settings.metrics_port if metrics_port is None else metrics_port,
        what="page's metrics",
        variable="HALFTONE_WEB_METRICS_PORT",
    )
    address = make_address(settings.host, number)
    environment = {
        "HALFTONE_WEB_PORT": str(number),
        "HALFTONE_WEB_METRICS_PORT": str(metrics),
    }
    # Explicit settings of the operator are kept.
    given = {
        "search": addresses.search,
        "embedder": addresses.embedder,
        "trainer": addresses.trainer,
        "data_directory": str(data / "web"),
    }
    # An empty address is one, too: without a trainer the page says so, and asks nobody else's.
    for name, value in given.items():
        if name not in settings.model_fields_set:
            environment[f"HALFTONE_WEB_{name.upper()}"] = value
    return Page(
        child=Child(
            name="web",
            command=make_command("halftone.services.web"),
            log=data / "logs" / "web.log",
            is_ready=lambda: is_answering(address),
            is_alive=lambda: is_answering(address, timeout_seconds=5),
            environment=environment,
            stop_seconds=settings.drain_seconds + 10,
            # Searches from programs go on without a page.
            essential=False,
        ),
        address=address,
        metrics=make_address(metrics_host, metrics),
    )


def find_scheme() -> str:
    """Return `https` if the environment gives the page a certificate, otherwise `http`."""
    return "https" if WebSettings().tls_certificate or TlsSettings().certificate else "http"


def is_answering(address: str, *, timeout_seconds: float = 1.0) -> bool:
    """Return whether a page answers at `host:port` within the time."""
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    if find_scheme() == "https":
        # It is asked whether this process answers, and not whether it is trusted: its certificate
        # bears the name by which browsers call it.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, timeout=timeout_seconds, context=context)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == _HTTP_OK
    except ssl.SSLError:
        # It asks browsers for a certificate, which this process has not.
        return WebSettings().tls_ca is not None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
