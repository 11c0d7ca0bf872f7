"""The target of `halftone models …`: a directory of versions, and the service that uses them."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from halftone.cli.connecting import TWO_TARGETS, is_listening, search_target, tell_stack
from halftone.client import Client
from halftone.core import errors
from halftone.core.settings import ClientSettings, ModelSettings
from halftone.registry.versions import Registry
from halftone.stack import running

if TYPE_CHECKING:
    from collections.abc import Callable


def default_directory() -> Path:
    """Return `HALFTONE_MODELS_DIRECTORY`, or the directory in which `halftone up` keeps models."""
    settings = ModelSettings()
    if "directory" in settings.model_fields_set:
        return settings.directory
    return ClientSettings().data / "models"


def find_service(
    *, server: str | None, data: Path | None, settings: ClientSettings | None = None
) -> Client | None:
    """Return a client of the search service that is named or that runs here, or None.

    If nothing is named, it is the service that runs from the default data directory. If none runs
    from there, it is the service at the default address, as with the other commands. If a data
    directory is named and no stack runs from it, there is no service: its models are files.

    Args:
        server: The service's `host:port`; None if a command names none.
        data: The data directory of a stack; None if a command names none.
        settings: Default: the settings of the environment.
    """
    settings = ClientSettings() if settings is None else settings
    if server is not None:
        return Client(server)
    if data is None and "search" in settings.model_fields_set:
        return Client(settings.search)
    addresses = running.find(data or settings.data)
    if addresses is not None:
        tell_stack(addresses.search, data=data, service="search")
        return Client(addresses.search)
    # A directory that is named excludes the stack at the default address.
    named = (
        data is not None
        or "data" in settings.model_fields_set
        or "directory" in ModelSettings().model_fields_set
    )
    if named or not is_listening(settings.search):
        return None
    tell_stack(settings.search, data=data, service="search")
    return Client(settings.search)


@dataclass(frozen=True, kw_only=True)
class Context:
    """The target of the commands: a directory, and the service that uses it, if one runs.

    Attributes:
        is_named: Whether the directory was named, rather than taken from a stack.
        options: The options that name the target, for commands that are suggested.
    """

    registry: Registry
    service: Client | None
    is_named: bool
    options: TargetOptions

    def write_command(self, *words: str) -> str:
        """Return a command of `halftone models` that acts on the same target, to be pasted."""
        named = {
            "--directory": self.options.directory,
            "--server": self.options.server,
            "--data": self.options.data,
        }
        target = [str(part) for pair in named.items() if pair[1] is not None for part in pair]
        return shlex.join(["halftone", "models", *words, *target])

    def describe_empty(self) -> str:
        """Return what to do where the directory has no versions."""
        return (
            f"No model versions in {self.registry.directory} yet: `halftone up` puts the starter "
            f"there, as does `{self.write_command('install')}`."
        )

    @property
    def files(self) -> Registry:
        """Return the directory, for commands that read or write its files.

        Raises:
            errors.FailedPrecondition: The running service keeps its models elsewhere.
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
class TargetOptions:
    """The options that name the target; None: the option was not given."""

    directory: Path | None
    server: str | None
    data: Path | None

    def open(self, context: click.Context) -> Context:
        """Return the target; the connection is closed at the end of the command."""
        directory, server, data = self.directory, self.server, self.data
        if directory is not None and (server is not None or data is not None):
            raise click.UsageError(
                "--directory acts without a service: leave out --server and --data."
            )
        if server is not None and data is not None:
            raise click.UsageError(TWO_TARGETS)
        service = None if directory is not None else find_service(server=server, data=data)
        if service is not None:
            context.call_on_close(service.close)
        is_named = (
            directory is not None
            or data is not None
            or "directory" in ModelSettings().model_fields_set
        )
        if directory is None:
            directory = default_directory() if data is None else data / "models"
        return Context(
            registry=Registry(directory), service=service, is_named=is_named, options=self
        )


directory_option = click.option(
    "--directory",
    "--models",  # as in `halftone eval`
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Act on this directory of versions alone, without a search service.  [default: "
    "HALFTONE_MODELS_DIRECTORY, or that of `halftone up`]",
)


def with_context(command: Callable[..., None]) -> Callable[..., None]:
    """Pass a command its `Context`; the command takes the group's options, too."""

    @directory_option
    @search_target
    @functools.wraps(command)
    def run_with_context(
        *, directory: Path | None, server: str | None, data: Path | None, **options: Any
    ) -> None:
        context = click.get_current_context()
        named: TargetOptions = context.obj
        where = dataclasses.replace(
            named,
            directory=directory or named.directory,
            server=server or named.server,
            data=data or named.data,
        )
        target = where.open(context)
        try:
            command(target, **options)
        except errors.NotFound as error:
            if target.service is not None or target.registry.list():
                raise
            raise errors.NotFound(
                f"{error.message} {target.describe_empty()}",
                resource_name=error.resource_name,
            ) from error

    return run_with_context
