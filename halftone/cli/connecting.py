"""Finds the service that a command talks to, connects, and says why none answers.

`--server` and `--data` name a service. They may stand before a command's name or behind it, as in
`halftone clusters --data DIR list` and `halftone clusters list --data DIR`.
"""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output
from halftone.client import Client
from halftone.core import addresses, errors
from halftone.core.settings import ClientSettings
from halftone.stack import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeAlias, TypeVar

    from halftone.core.addresses import Service

    Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
    Connect: TypeAlias = Callable[[], AbstractContextManager[Client]]
    T = TypeVar("T")

# A running service accepts a connection at once, however busy it is.
_PROBE_SECONDS: Final = 1.0
TWO_TARGETS: Final = "--server and --data both name a service: give one of them."
_NAMES: Final = ("--server", "--data")


def add_target(kind: str, *, service: Service, variable: str) -> Decorator:
    """Return a decorator that adds `--server` and `--data`, which name a service to talk to.

    Args:
        kind: What the service is called, for example `Search service`.
        service: The service.
        variable: The name of the environment's variable for its address.
    """

    def check(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return addresses.check_address(value, service=service)
        except errors.InvalidArgument as error:
            raise click.BadParameter(error.message, param=parameter) from error

    server = click.option(
        "--server",
        metavar="HOST:PORT",
        callback=check,
        help=f"{kind} to talk to.  [default: {variable}, or what `halftone up` runs from the "
        "data directory]",
    )
    data = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Data directory of the stack to talk to.  [default: HALFTONE_DATA, or ./data]",
    )
    return lambda command: server(data(command))


def pass_connect(connect: Callable[..., AbstractContextManager[Client]]) -> Decorator:
    """Return a decorator that replaces a command's `server` and `data` by one value, `connect`.

    The command calls it for a client, once it has checked its other arguments.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*, server: str | None, data: Path | None, **options: Any) -> None:
            server, data = read_target(server=server, data=data)
            command(connect=functools.partial(connect, server=server, data=data), **options)

        return run

    return decorate


def read_target(*, server: str | None, data: Path | None) -> tuple[str | None, Path | None]:
    """Return a command's `--server` and `--data`, which may stand before its name.

    Raises:
        click.UsageError: Both are given.
    """
    server, data = inherit("server", server), inherit("data", data)
    if server is not None and data is not None:
        raise click.UsageError(TWO_TARGETS)
    return server, data


def inherit(name: str, value: T | None) -> T | None:
    """Return an option's value, or what it was given before the command's name; None: neither."""
    context = click.get_current_context().parent
    while value is None and context is not None:
        value = context.params.get(name)
        context = context.parent
    return value


class DefaultGroup(click.Group):
    """A group whose command `list` runs if no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` before options, or if there are no arguments."""
        target = 0
        while target < len(args) and args[target].partition("=")[0] in _NAMES:
            target += 1 if "=" in args[target] else 2
        before, rest = args[:target], args[target:]
        if not rest or (rest[0].startswith("-") and rest[0] not in ctx.help_option_names):
            rest = ["list", *rest]
        return super().parse_args(ctx, [*before, *rest])


def find_stack(data: Path | None, *, service: str) -> running.Addresses | None:
    """Return the stack that runs from a data directory, or None.

    Args:
        data: The directory, if a command named one; None: the environment's directory.
        service: `search` or `trainer`. If the environment names that service, it is not looked for
            in a stack unless a command names a directory.

    Raises:
        errors.FailedPrecondition: The option or the environment names a data directory from which
            no stack runs. The default address is not tried: another stack may answer there.
    """
    settings = ClientSettings()
    if data is None and service in settings.model_fields_set:
        return None
    directory = data or settings.data
    stack = running.find(directory)
    if stack is None and (data is not None or "data" in settings.model_fields_set):
        if running.is_starting(directory):
            raise errors.FailedPrecondition(
                f"The stack of {directory} is starting; `halftone up` says when it is ready.",
                subject=str(directory),
            )
        kind = "training service" if service == "trainer" else "service"
        raise errors.FailedPrecondition(
            f"No stack runs from {directory}. Start it with `halftone up --data {directory}`, or "
            f"name a {kind} with --server HOST:PORT.{suggest_stacks()}",
            subject=str(directory),
        )
    return stack


def connect(*, server: str | None, data: Path | None) -> Client:
    """Return a client of the service that the options, the environment or the data directory name.

    Raises:
        errors.FailedPrecondition: A data directory is named, and no stack runs from it.
    """
    if server is not None:
        return Client(server)
    stack = find_stack(data, service="search")
    if stack is None:
        address = ClientSettings().search
        tell_stack(address, data=data, service="search")
        return Client(address)
    tell_stack(stack.search, data=data, service="search")
    return Client(stack.search, embedder=stack.embedder, trainer=stack.trainer or None)


def tell_stack(address: str, *, data: Path | None, service: str) -> None:
    """Say which stack is asked, if several run here and neither option nor environment names one.

    Args:
        address: The address that is asked.
        data: The command's `--data`.
        service: `search` or `trainer`.
    """
    named = ClientSettings().model_fields_set
    if data is not None or service in named or "data" in named:
        return
    stacks = running.list_stacks()
    asked = [stack for stack in stacks if getattr(stack.addresses, service) == address]
    others = [stack for stack in stacks if stack not in asked]
    if not others or not (asked or is_listening(address)):
        return
    whose = f"the stack of {asked[0].data}" if asked else "which is not one of your stacks"
    output.remark(
        f"Asking {address}, {whose}. --data names another: "
        f"{', '.join(str(stack.data) for stack in others)}."
    )


def is_listening(address: str) -> bool:
    """Return whether anything accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def suggest_stacks() -> str:
    """Return a sentence, with a space before it, about the stacks that run here; "" if none do."""
    stacks = running.list_stacks()
    if not stacks:
        return ""
    where = ", ".join(str(stack.data) for stack in stacks)
    verb = "A stack runs" if len(stacks) == 1 else "Stacks run"
    return f" {verb} from {where}: `--data {stacks[0].data}` talks to it."


def explain_unreachable(error: errors.HalftoneError) -> str | None:
    """Return what to do where no service answers; None if the error says something else."""
    match error.reason:
        case addresses.NO_SERVICE:
            return (
                f"{error.message} Start one on this machine with `halftone up`, or name another "
                f"with --server HOST:PORT or HALFTONE_SEARCH.{suggest_stacks()}"
            )
        case addresses.NO_HOST:
            return f"{error.message} Name a service with --server HOST:PORT."
        case addresses.OTHER_SERVICE:
            return f"{error.message} Name the right one with --server HOST:PORT."
    return None


search_target = add_target("Search service", service="search", variable="HALFTONE_SEARCH")


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--server` and `--data`; the command gets `connect`, which returns a client."""
    return search_target(pass_connect(connect)(command))
