"""Starts the page: `python -m halftone.services.web`. Settings: `HALFTONE_WEB_…`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from halftone.client import AsyncClient
from halftone.core import errors, system, telemetry
from halftone.core.settings import AccessSettings, TlsSettings, WebSettings
from halftone.imaging import images
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from halftone.service.access import OPEN_ADDRESS, Access, find_metrics_host
from halftone.service.certificates import ServerCertificate
from halftone.service.watchdog import run_watched
from halftone.services.web.app import make_app

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_log = telemetry.get_logger(__name__)
_BACKLOG = 512
_LOOK_SECONDS = 1.0


class _Server(uvicorn.Server):
    """Leaves signals to `run`. Uvicorn would raise them again, and the process die of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(
    settings: WebSettings,
    *,
    access: AccessSettings | None = None,
    tls: TlsSettings | None = None,
    on_listening: Callable[[int, int], None] = lambda _port, _metrics_port: None,
) -> None:
    """Run the page until SIGTERM.

    Args:
        settings: The settings of the page.
        access: Who may use it; None: what the environment says.
        tls: The certificates of this installation; None: what the environment says.
        on_listening: Called with the HTTP port and the metrics' port once both are open.

    Raises:
        errors.FailedPrecondition: Strangers could use it (`OPEN_ADDRESS`), or its certificate
            cannot be used (`TLS`).
        errors.Unavailable: The port is in use.
    """
    access = access or AccessSettings()
    certificate = await asyncio.to_thread(_read_certificate, settings, tls or TlsSettings())
    visitors = make_access(settings, access, has_tls=certificate is not None)
    await visitors.check_start()
    client = AsyncClient(
        settings.search,
        embedder=settings.embedder,
        trainer=settings.trainer,
        # Never the key of whoever starts the page.
        key=access.service_key,
    )
    metrics = telemetry.Metrics(service="web")
    pool = Pool(
        limits=Limits(memory_bytes=settings.decode_memory_bytes, seconds=settings.decode_seconds),
        workers=settings.decode_processes,
        modules=(images.__name__,),
    )
    app = make_app(settings, client=client, access=visitors, metrics=metrics, runner=pool)
    listening = _listen(settings.host, settings.port)
    metrics_host = find_metrics_host(settings, access)
    try:
        metrics_port, stop_metrics = metrics.serve(host=metrics_host, port=settings.metrics_port)
    except OSError as error:
        listening.close()
        raise _make_refusal(metrics_host, settings.metrics_port) from error
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        h11_max_incomplete_event_size=1 << 16,
    )
    config.load()
    following = None
    if certificate is not None:
        config.ssl = certificate.make_context()
        following = asyncio.create_task(_follow(certificate, config.ssl))
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    port = listening.getsockname()[1]
    _log.info("listening", port=port, metrics_port=metrics_port)
    on_listening(port, metrics_port)
    try:
        await asyncio.to_thread(pool.start)
        await server.serve(sockets=[listening])
    finally:
        if following is not None:
            following.cancel()
        await asyncio.to_thread(pool.close)
        await asyncio.to_thread(stop_metrics)
        _log.info("stopped")


def make_access(settings: WebSettings, access: AccessSettings, *, has_tls: bool = False) -> Access:
    """Return who may use the page, where it listens.

    Args:
        settings: The address to listen on, and what stands in front of it.
        access: The file of keys, and the secret with which the page calls the services.
        has_tls: Whether the page speaks TLS.

    Raises:
        errors.FailedPrecondition: The page would let everybody act with that secret, because it
            does not know the keys.
    """
    if access.service_key and access.keys_file is None and not settings.proxy:
        raise errors.FailedPrecondition(
            "With HALFTONE_SERVICE_KEY the page may do everything, so it has to know who may use "
            "it. Name the file of keys in HALFTONE_KEYS_FILE; it need not exist yet.",
            subject="HALFTONE_KEYS_FILE",
            reason=OPEN_ADDRESS,
        )
    return Access(access, host=settings.host, has_tls=has_tls, has_proxy=bool(settings.proxy))


def _read_certificate(settings: WebSettings, tls: TlsSettings) -> ServerCertificate | None:
    """Return the certificate that browsers see; None if there is none.

    Raises:
        errors.FailedPrecondition: It cannot be used (`TLS`).
    """
    file = settings.tls_certificate or tls.certificate
    key = settings.tls_key or tls.key
    if file is None or key is None:
        return None
    return ServerCertificate(file, key, authorities=settings.tls_ca)


async def _follow(certificate: ServerCertificate, context: ssl.SSLContext) -> None:
    """Show browsers a renewed certificate as soon as its files change."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(certificate.refresh, context)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _make_refusal(host, port) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _make_refusal(host, port) from error
    listening.setblocking(False)  # noqa: FBT003 - the standard library's argument
    return listening


def _make_refusal(host: str, port: int) -> errors.Unavailable:
    return errors.Unavailable(
        f"Cannot listen on {host}:{port}: another process has that port, or the address is not "
        "one of this machine's.",
        reason="PORT_IN_USE",
    )


def main() -> None:
    """Run the command."""
    settings = WebSettings()
    telemetry.configure_logging(service="web", level=settings.log_level, style=settings.log_format)
    system.return_large_memory()
    try:
        asyncio.run(run_watched(run(settings), seconds=settings.hang_seconds))
    except errors.HalftoneError as error:
        _log.error("cannot_run", reason=error.reason, error=error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
