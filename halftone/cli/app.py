"""The command line: `halftone up | demo | import | search | facets | show | list | delete | …`.

Exit codes: 0 done; 1 not done, or an import with rejected rows; 2 unusable input; 130 stopped.
"""

from __future__ import annotations

import importlib
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

import halftone
from halftone.cli import hits, output
from halftone.cli.connecting import server_options
from halftone.cli.numbers import Whole
from halftone.cli.options import (
    archive_option,
    check_filter,
    complete_name,
    filter_options,
    json_option,
    limit_option,
    read_filter,
)
from halftone.cli.terminal import failures, streams
from halftone.cli.terminal.failures import needs_extra
from halftone.core import errors, files
from halftone.core.settings import ClientSettings
from halftone.rendering import json_forms, texts

if TYPE_CHECKING:
    from halftone.cli.connecting import Connect

# These commands have modules of their own, which are imported when they are used: the others work
# even if their packages are not installed.
_LAZY: Final = {
    "audit": ("halftone.cli.audit", "show_audit", "Show who changed what."),
    "compare": ("halftone.cli.compare", "compare", "Compare two images of the archive."),
    "cluster": ("halftone.cli.clusters", "cluster", "Show the life of a picture as a timeline."),
    "clusters": ("halftone.cli.clusters", "clusters", "Group, list and export printings."),
    "completion": (
        "halftone.cli.completion",
        "completion",
        "Print what makes a shell complete commands.",
    ),
    "delete": ("halftone.cli.delete", "delete", "Delete images, by name or by filter."),
    "demo": ("halftone.cli.demo", "demo", "Show everything on a sample archive, or on your own."),
    "eval": (
        "halftone.cli.evaluation.evaluate",
        "evaluate",
        "Judge model versions on known reprints.",
    ),
    "fetch": ("halftone.cli.fetch", "fetch", "Fetch pictures of IIIF manifests into a folder."),
    "import": (
        "halftone.cli.import_archive",
        "import_",
        "Import a folder of pictures with a manifest.",
    ),
    "jobs": ("halftone.cli.train", "jobs", "List, show, watch and cancel training jobs."),
    "judge": ("halftone.cli.verdicts", "judge", "Say whether two images are the same picture."),
    "keys": ("halftone.cli.keys", "keys_group", "Make, list and revoke keys to the services."),
    "search": ("halftone.cli.search", "search", "Find the other printings of a picture."),
    "train": ("halftone.cli.train", "train", "Train a model version."),
    "models": (
        "halftone.cli.models.commands",
        "models",
        "List, import, install and promote models.",
    ),
    "verdicts": ("halftone.cli.verdicts", "verdicts", "List, take back and export verdicts."),
}


class _Group(click.Group):
    """Turns errors into one sentence and an exit code, and imports some commands late."""

    def main(self, *args: Any, **options: Any) -> Any:  # click's signature
        """Run a command; its output has no characters that end it with a traceback."""
        with streams.escaping():
            return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:  # click's signature
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.remark("Stopped.")
            raise click.exceptions.Exit(output.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of the output, for example `head`, has closed it; click ends silently.
            raise
        except click.ClickException as error:
            # It may quote what was typed.
            vars(error)["message"] = texts.show_controls(error.message)
            raise
        except failures.EXPLAINED as error:
            failure = failures.make_failure(error, command=ctx.invoked_subcommand or "")
            if failure is None or ctx.params.get("debug"):
                raise
            vars(failure)["message"] = texts.show_controls(failure.message)
            raise failure from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LAZY})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LAZY:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = _LAZY[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._describe_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self._describe_command(ctx, name)) for name in names]
        # The group's own would import every command.
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def _describe_command(self, ctx: click.Context, name: str) -> str:
        command = super().get_command(ctx, name)
        return command.get_short_help_str(80) if command else _LAZY[name][2]


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(halftone.__version__, prog_name="halftone")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:  # read from the context where errors end
    """Find every reprint of a photograph across newspaper and journal archives."""


@main.command(short_help="Run the services on this machine until Ctrl-C.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Everything is kept there.  [default: HALFTONE_DATA, or ./data]",
)
@click.option(
    "--port",
    type=Whole(0, 65535),
    help="gRPC port of the search service; 0 picks free ports for everything.  "
    "[default: HALFTONE_SEARCH_PORT, or 7102]",
)
@click.option(
    "--embedder-port",
    type=Whole(0, 65535),
    help="gRPC port of the embedder.  [default: HALFTONE_EMBEDDER_PORT, or 7101]",
)
@click.option(
    "--page-port",
    type=Whole(0, 65535),
    help="HTTP port of the page.  [default: HALFTONE_WEB_PORT, or 7100]",
)
@click.option("--no-trainer", is_flag=True, help="Without training jobs.")
@click.option("--no-page", is_flag=True, help="Without the page for browsers.")
@click.option(
    "--datasets",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Directory below which data sets to train on lie; repeat for more.  "
    "[default: HALFTONE_TRAINER_DATA_ROOTS, or datasets/ in the data directory]",
)
@needs_extra("local")
def up(
    *,
    data: Path | None,
    port: int | None,
    embedder_port: int | None,
    page_port: int | None,
    no_trainer: bool,
    no_page: bool,
    datasets: tuple[Path, ...],
) -> None:
    """Run the page, search, the embedder and training jobs on this machine until Ctrl-C."""
    from halftone.stack import local  # noqa: PLC0415  # need the server's packages
    from halftone.stack import training as local_training  # noqa: PLC0415
    from halftone.stack.page import find_scheme  # noqa: PLC0415

    ports = local.Ports.any_free() if port == 0 else local.Ports(search=port)
    if embedder_port is not None:
        ports = replace(ports, embedder=embedder_port)
    if page_port is not None:
        ports = replace(ports, page=page_port)
    notes = output.make_notes()
    directory = data or ClientSettings().data
    training = None if no_trainer else local_training.Training(datasets=datasets)
    stack = local.LocalStack(
        directory, ports=ports, report=notes.print, training=training, with_page=not no_page
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stack.request_stop())
    notes.print(f"Starting in {directory.absolute()} …")
    try:
        with stack:
            addresses = stack.addresses
            output.say(
                f"search    gRPC {addresses.search}    metrics http://{addresses.search_metrics}"
            )
            output.say(
                f"embedder  gRPC {addresses.embedder}    metrics http://{addresses.embedder_metrics}"
            )
            if addresses.trainer:
                output.say(
                    f"trainer   gRPC {addresses.trainer}    metrics "
                    f"http://{addresses.trainer_metrics}    queue {addresses.broker}"
                )
                password = directory.absolute() / "queue" / "password"
                if password.is_file():
                    output.say(f"queue     its password is in {password}")
            output.say(f"logs      {directory.absolute() / 'logs'}")
            if addresses.page:
                output.say(f"page      {find_scheme()}://{addresses.page}/")
            output.say("Ready. Ctrl-C stops.")
            stack.wait()
            notes.print("Stopping …")
    except errors.Cancelled:
        pass
    notes.print("Stopped.")


@main.command()
@filter_options
@click.option("--limit", type=int, help="At most so many of each, 1 to 1000.  [default: 100]")
@click.option("--labels", is_flag=True, help="By label, too: the columns of your own.")
@json_option
@server_options
def facets(
    *,
    limit: int | None,
    labels: bool,
    as_json: bool,
    connect: Connect,
    **options: Any,  # the filter's options
) -> None:
    """Count images by archive, journal, year, language and label."""
    where = read_filter(options)
    with connect() as client:
        counts = client.facets(filter=where, limit=limit, labels=labels)
        remarks = check_filter(client, where=where, nothing=not counts.total)
    if as_json:
        values = {
            "journals": dict(counts.journals),
            "years": dict(counts.years),
            "languages": dict(counts.languages),
        }
        without = {
            name: output.count_others(counts.total, counts=found, limit=limit)
            for name, found in values.items()
        }
        facts = {"total": counts.total, "archives": dict(counts.archives), **values}
        if labels:
            facts["labels"] = {key: dict(found) for key, found in counts.labels.items()}
        output.print_json({**facts, "without": without})
    else:
        output.print_facets(counts, limit=limit)
    output.remark(*remarks)


@main.command()
@click.argument("name", metavar="IMAGE")
@archive_option
@json_option
@server_options
def show(*, name: str, archive: tuple[str, ...], as_json: bool, connect: Connect) -> None:
    """Show the record of an image.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.
    """
    with connect() as client:
        record = client.get(complete_name(name, archives=archive))
    if as_json:
        output.print_json(json_forms.record_to_json(record))
    else:
        hits.print_record(record)


@main.command(name="list")
@filter_options
@limit_option("images", default=50)
@json_option
@server_options
def list_(
    *,
    limit: int,
    as_json: bool,
    connect: Connect,
    **options: Any,  # the filter's options
) -> None:
    """List images in the order of their names."""
    where = read_filter(options)
    with connect() as client:
        records, more = output.take(
            client.list(filter=where, page_size=min(limit + 1, 1000)), limit
        )
        remarks = check_filter(client, where=where, nothing=not records)
    if as_json:
        output.print_json([json_forms.record_to_json(record) for record in records])
    else:
        hits.print_records(records)
    if more:
        output.remark_more(limit, hint=", `halftone facets` counts them")
    output.remark(*remarks)


@main.command()
@click.argument("name", metavar="IMAGE")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="JPEG file to write.",
)
@archive_option
@server_options
def thumbnail(*, name: str, path: Path, archive: tuple[str, ...], connect: Connect) -> None:
    """Save a picture, at most 512 pixels a side.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.
    """
    with connect() as client:
        found = client.thumbnail(complete_name(name, archives=archive))
    files.write_output(output.make_folder(path), found.content)
