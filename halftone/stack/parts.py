"""Commands and free ports for the children of the embedded stack."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from halftone.core import errors, system
from halftone.stack import running

if TYPE_CHECKING:
    from typing import Self

LOOPBACK: Final = "127.0.0.1"


def make_command(*arguments: str) -> tuple[str, ...]:
    """Return the command of a child that does not outlive this process.

    Args:
        arguments: A module and its arguments, or `--exec`, a program and its arguments.
    """
    return (sys.executable, "-m", "halftone.service.child", str(os.getpid()), *arguments)


def make_address(host: str, port: int) -> str:
    """Return the address, as `host:port`, at which a service on this machine is reached."""
    # A service that listens everywhere is reached over the loopback interface.
    return f"{LOOPBACK if host in {'0.0.0.0', '::', '[::]'} else host}:{port}"  # noqa: S104


class HeldPorts:
    """Ports for the stack's children, kept from other processes until the context ends.

    Seconds pass between the check of a port and the child that listens on it, and again whenever
    the child is restarted. Meanwhile the kernel could give the port to a process that asks for any
    free one. A bound socket prevents that; as long as it does not listen, a child can listen on the
    same port by naming it.
    """

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for keeper in self._sockets.values():
            keeper.close()
        self._sockets.clear()

    def hold(self, host: str, port: int, /, *, what: str, variable: str) -> int:
        """Check that a port is free, or find a free one, and keep it.

        Args:
            host: The address to listen on.
            port: The port's number; 0: any free port.
            what: The port's purpose, named in errors.
            variable: The setting that chooses the port, named in an error.

        Returns:
            The port's number.

        Raises:
            errors.Unavailable: Another process listens on the port, or it is held for another
                child.
        """
        try:
            if port:
                with _bind(host, port, shared=(host, port) not in self._sockets) as probe:
                    probe.listen(1)
            keeper = _bind(host, port)
        except OSError as error:
            why = "is in use by another process"
            if error.errno != errno.EADDRINUSE:
                why = f"cannot be listened on ({error.strerror})"
            raise errors.Unavailable(
                f"Port {port} on {host}, for the {what}, {why}.{_find_owner(host, port)} Stop that "
                f"process, or choose other ports with --port 0 (any free ones) or {variable}.",
                reason="PORT_IN_USE",
            ) from error
        number = int(keeper.getsockname()[1])
        self._sockets[host, number] = keeper
        return number

    def let_children_in(self) -> None:
        """Make the ports usable for the children; call it before they start.

        Where a port cannot be shared as described above, it is released.
        """
        if not system.shares_ports():
            self.__exit__()


def _find_owner(host: str, port: int) -> str:
    """Return a sentence about the stack of this user that listens on a port; "" if none does."""
    address = make_address(host, port)
    for stack in running.list_stacks():
        if address in vars(stack.addresses).values():
            return f" It belongs to the stack of {stack.data}."
    return ""


def _bind(host: str, port: int, *, shared: bool = True) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # The socket is bound as gRPC does it: a port whose old connections linger can be listened
        # on.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
