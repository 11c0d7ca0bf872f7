"""What `halftone models …` acts on: a directory of versions, and the service that uses them."""

from __future__ import annotations

import dataclasses
import functools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli.options import server_options
from halftone.client import Client
from halftone.core import errors
from halftone.core.settings import ClientSettings, ModelSettings
from halftone.registry.versions import Registry
from halftone.stack import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# For the connection; a service that is there accepts it at once, however busy it is.
_PROBE_SECONDS: Final = 1.0


def default_directory() -> Path:
    """`HALFTONE_MODELS_DIRECTORY`, or where `halftone up` keeps its models."""
    settings = ModelSettings()
    if "directory" in settings.model_fields_set:
        return settings.directory
    return ClientSettings().data / "models"


def find_service(
    *, server: str | None, data: Path | None, settings: ClientSettings | None = None
) -> Client | None:
    """A client of the search service that was named or that runs here, if any.

    Where nothing is named that is the one of the data directory, or else what listens at the
    default address, where the other commands look as well.

    Args:
        server: Its `host:port`.
        data: The data directory of a stack.
        settings: By default those of the environment.

    Raises:
        errors.FailedPrecondition: A data directory was named from which no stack runs.
    """
    settings = ClientSettings() if settings is None else settings
    if server is not None:
        return Client(server)
    if data is None and "search" in settings.model_fields_set:
        return Client(settings.search)
    found = running.find(data or settings.data)
    if found is not None:
        return Client(found.search)
    if data is not None:
        raise errors.FailedPrecondition(
            f"No stack runs from {data}. To change the models' directory alone, name it with "
            "--directory.",
            subject=str(data),
        )
    # Whoever names a directory in the environment means no other stack's.
    named = "data" in settings.model_fields_set or "directory" in ModelSettings().model_fields_set
    return Client(settings.search) if not named and _listens(settings.search) else None


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the commands act on: a directory, and the service that answers for it, if one runs.

    Attributes:
        is_named: The directory was named as such, not taken from where a stack keeps its own.
    """

    registry: Registry
    service: Client | None
    is_named: bool

    @property
    def files(self) -> Registry:
        """The directory, for commands that read or write its files.

        Raises:
            errors.FailedPrecondition: A service runs whose models lie elsewhere.
        """
        directory = self.registry.directory
        if self.service is not None and not self.is_named and not directory.is_dir():
            raise errors.FailedPrecondition(
                f"The search service keeps its models elsewhere: there is no {directory} here. "
                "Name its data directory with --data, or a directory of models with --directory.",
                subject=str(directory),
            )
        return self.registry


@dataclass(frozen=True, kw_only=True)
class Where:
    """The options that say what to act on."""

    directory: Path | None
    server: str | None
    data: Path | None

    def open(self, context: click.Context) -> Context:
        """Connects, until the end of the command.

        Raises:
            errors.FailedPrecondition: A data directory was named from which no stack runs.
        """
        directory, server, data = self.directory, self.server, self.data
        if directory is not None and (server is not None or data is not None):
            raise click.UsageError(
                "--directory acts without a service: leave out --server and --data."
            )
        service = None if directory is not None else find_service(server=server, data=data)
        if service is not None:
            context.call_on_close(service.close)
        is_named = directory is not None or "directory" in ModelSettings().model_fields_set
        if directory is None:
            directory = default_directory() if data is None else data / "models"
        return Context(registry=Registry(directory), service=service, is_named=is_named)


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """Hands a command what it acts on. It takes the group's options as well, after its name."""

    @server_options
    @functools.wraps(command)
    def acts(*, server: str | None, data: Path | None, **options: Any) -> None:
        context = click.get_current_context()
        named: Where = context.obj
        where = dataclasses.replace(named, server=server or named.server, data=data or named.data)
        command(where.open(context), **options)

    return acts
