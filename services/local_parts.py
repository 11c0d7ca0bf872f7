"""What the parts of the embedded stack are started with: commands, and ports that are free."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from halftone import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK: Final = "127.0.0.1"


def command(*arguments: str) -> tuple[str, ...]:
    """Runs a module, or `--exec` a program, as a child that does not outlive this process."""
    return (sys.executable, "-m", "services.child", str(os.getpid()), *arguments)


def reachable(host: str, port: int) -> str:
    """Where a service on this machine is reached, as `host:port`."""
    # A service that listens everywhere is reached over the loopback interface.
    return f"{LOOPBACK if host in {'0.0.0.0', '::', '[::]'} else host}:{port}"  # noqa: S104


@contextlib.contextmanager
def held_port(host: str, port: int, *, what: str, variable: str) -> Iterator[int]:
    """Checks that a port is free, or finds a free one, and keeps it until the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probing:
        # As gRPC does: a port whose old connections linger can be listened on.
        probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probing.bind((host, port))
            probing.listen(1)
        except OSError as error:
            why = "is in use by another process"
            if error.errno != errno.EADDRINUSE:
                why = f"cannot be listened on ({error.strerror})"
            raise errors.Unavailable(
                f"Port {port} on {host}, for the {what}, {why}. Stop that process, or choose "
                f"other ports with --port 0 (any free ones) or {variable}.",
                reason="PORT_IN_USE",
            ) from error
        yield probing.getsockname()[1]
