"""What the parts of the embedded stack are started with: commands, and ports that are free."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from typing import Self

LOOPBACK: Final = "127.0.0.1"


def command(*arguments: str) -> tuple[str, ...]:
    """Runs a module, or `--exec` a program, as a child that does not outlive this process."""
    return (sys.executable, "-m", "halftone.service.child", str(os.getpid()), *arguments)


def reachable(host: str, port: int) -> str:
    """Where a service on this machine is reached, as `host:port`."""
    # A service that listens everywhere is reached over the loopback interface.
    return f"{LOOPBACK if host in {'0.0.0.0', '::', '[::]'} else host}:{port}"  # noqa: S104


class HeldPorts:
    """Ports for the stack's children, kept from everybody else until the context ends.

    Between the check and a child that listens seconds pass, and again when one is restarted; in
    them the kernel may give a port that nobody has to whoever asks for any. A socket that is bound
    keeps it from that, and as long as it does not listen, those that name the port can.
    """

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for keeping in self._sockets.values():
            keeping.close()
        self._sockets.clear()

    def hold(self, host: str, port: int, /, *, what: str, variable: str) -> int:
        """Checks that a port is free, or finds a free one, and keeps it; gives its number.

        Raises:
            errors.Unavailable: Somebody listens on it, or it is held for another child.
        """
        try:
            if port:
                with _bound(host, port, shared=(host, port) not in self._sockets) as probing:
                    probing.listen(1)
            keeping = _bound(host, port)
        except OSError as error:
            why = "is in use by another process"
            if error.errno != errno.EADDRINUSE:
                why = f"cannot be listened on ({error.strerror})"
            raise errors.Unavailable(
                f"Port {port} on {host}, for the {what}, {why}. Stop that process, or choose "
                f"other ports with --port 0 (any free ones) or {variable}.",
                reason="PORT_IN_USE",
            ) from error
        number = int(keeping.getsockname()[1])
        self._sockets[host, number] = keeping
        return number

    def let_children_in(self) -> None:
        """To be called before the children start: only Linux shares ports as described above."""
        if sys.platform != "linux":
            self.__exit__()


def _bound(host: str, port: int, *, shared: bool = True) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # As gRPC does: a port whose old connections linger can be listened on.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
