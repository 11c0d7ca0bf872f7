"""Asks a service for its health: `python -m halftone.service.probe HOST:PORT`.

Exits with 0 when the service reports SERVING, otherwise with 1.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def is_serving(address: str, *, timeout_seconds: float = 3.0) -> bool:
    """Return whether the process at `host:port` reports SERVING within the time."""
    with grpc.insecure_channel(address) as channel:
        # The stubs' types declare no methods.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m halftone.service.probe HOST:PORT")
    sys.exit(0 if is_serving(sys.argv[1]) else 1)


if __name__ == "__main__":
    main()
