"""Asks a service for its health: `python -m halftone.service.probe HOST:PORT`.

It trusts, shows and sends what the environment says: HALFTONE_TLS_…, and HALFTONE_SERVICE_KEY or
HALFTONE_KEY, for services that tell their health only to who has a key.

Exits with 0 when the service reports SERVING, otherwise with 1.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from halftone.core.settings import AccessSettings, TlsSettings, read_client_settings
from halftone.core.tls import open_channel
from halftone.core.wire import make_authorization


def is_serving(
    address: str, *, timeout_seconds: float = 3.0, tls: TlsSettings | None = None, key: str = ""
) -> bool:
    """Return whether the process at `host:port` reports SERVING within the time.

    Args:
        address: The service.
        timeout_seconds: The time that it has.
        tls: Whom to trust, and the certificate to show; None: as the environment says.
        key: The secret that is sent; empty: what the environment says.
    """
    status = _ask(address, timeout_seconds=timeout_seconds, tls=tls, key=key)
    return status == health_pb2.HealthCheckResponse.SERVING


def is_answering(address: str, *, timeout_seconds: float = 5.0, key: str = "") -> bool:
    """Return whether the process at `host:port` answers within the time, whatever its health.

    A service that waits for another one is not SERVING, but it does not hang.

    Args:
        address: The service.
        timeout_seconds: The time that it has.
        key: The secret that is sent; empty: what the environment says.
    """
    return _ask(address, timeout_seconds=timeout_seconds, tls=None, key=key) is not None


def _ask(address: str, *, timeout_seconds: float, tls: TlsSettings | None, key: str) -> int | None:
    """Return the status that a process reports; None if it does not answer."""
    key = key or AccessSettings().service_key or read_client_settings().key
    with open_channel(address, tls=tls or TlsSettings(), options=()) as channel:
        # The stubs' types declare no methods.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(
                health_pb2.HealthCheckRequest(),
                timeout=timeout_seconds,
                metadata=make_authorization(key),
            )
        except grpc.RpcError as error:
            # A refusal is an answer.
            silent = error.code() in {
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            }
            return None if silent else int(health_pb2.HealthCheckResponse.UNKNOWN)
    return int(response.status)


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m halftone.service.probe HOST:PORT")
    sys.exit(0 if is_serving(sys.argv[1]) else 1)


if __name__ == "__main__":
    main()
