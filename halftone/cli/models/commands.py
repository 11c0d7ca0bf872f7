"""`halftone models …`: model versions, in a directory and in the service that uses them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output, tables
from halftone.cli.connecting import search_target
from halftone.cli.models import making
from halftone.cli.models.context import TargetOptions, directory_option, with_context
from halftone.cli.models.promotions import read_groups, report, run_promotion
from halftone.cli.options import confirm, json_option, yes_option
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halftone.cli.models.context import Context
    from halftone.client import Client, Promotion
    from halftone.client import ModelVersion as PublishedVersion
    from halftone.registry.pointer import Pointer
    from halftone.registry.version import ModelVersion
    from halftone.registry.versions import Registry

_MARKS: Final = ("active", "previous", "damaged")


@click.group()
@directory_option
@search_target
@click.pass_context
def models(
    context: click.Context, directory: Path | None, server: str | None, data: Path | None
) -> None:
    """List, import, install, promote and delete model versions.

    Promoting embeds the archive anew, so where a search service runs it is asked to do it: the one
    named with --server or HALFTONE_SEARCH, or that of the stack that runs from the data directory
    or listens at the default address. Without one, or with --directory, only files are changed.
    """
    context.obj = TargetOptions(directory=directory, server=server, data=data)


for _command in (making.install, making.import_, making.quantize, making.calibrate):
    models.add_command(_command)


@models.command("list")
@json_option
@with_context
def list_(context: Context, *, as_json: bool) -> None:
    """List all versions."""
    registry, service = context.registry, context.service
    rows = (
        _list_rows(registry)
        if service is None
        else [_make_row(each) for each in service.model_versions()]
    )
    if as_json:
        output.print_json(rows)
        return
    if not rows:
        output.say(context.describe_empty())
        return
    keys = [key for key in rows[0] if key not in _MARKS]
    titles = [key.replace("_", " ") for key in keys]
    layout = tables.Layout(
        columns=[tables.Column(title=title) for title in (titles[0], "active", *titles[1:])],
        rows=[
            [
                str(row[keys[0]]),
                ", ".join(key for key in _MARKS if row[key]),
                *(str(row[key]) for key in keys[1:]),
            ]
            for row in rows
        ],
    )
    tables.print_table(output.make_console(), layout)


@models.command()
@click.argument("version")
@with_context
def show(context: Context, *, version: str) -> None:
    """Print a version's spec and metrics as JSON. VERSION is `name/version` or `name`."""
    if context.service is not None:
        got = context.service.model_version(version)
        facts = {**_make_row(got), "spec": dict(got.spec), "metrics": dict(got.metrics)}
    else:
        resolved = context.registry.resolve(version)
        summary = _summarize(resolved, pointer=context.registry.pointer())
        facts = {**summary, "spec": resolved.spec(), "metrics": resolved.metrics()}
    output.print_json(facts)


@models.command()
@click.argument("version", required=False, default="")
@with_context
def verify(context: Context, *, version: str) -> None:
    """Compare the files of a version, or of all, with their hashes."""
    registry = context.files
    if version:
        resolved = registry.resolve(version)
        registry.verify(resolved)
        output.say(f"{resolved.id} is whole.")
        return
    damaged = False
    versions = registry.list()
    if not versions:
        output.say(context.describe_empty())
    for each in versions:
        try:
            registry.verify(each)
        except errors.DataLoss as error:
            # The other versions are verified all the same: there may be more to repair.
            output.say(error.message)
            damaged = True
        else:
            output.say(f"{each.id} is whole.")
    if damaged:
        raise click.exceptions.Exit(1)


@models.command()
@click.argument("version")
@click.option("--force", is_flag=True, help="Switch even if the version is worse.")
@click.option(
    "--groups",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of groups of images that show the same picture, to compare the versions on.  "
    "[default: the images with the label `group`]",
)
@click.option("--archive", default="", metavar="NAME", help="Of the image ids in the groups.")
@json_option
@with_context
def promote(
    context: Context,
    *,
    version: str,
    force: bool,
    groups: Path | None,
    archive: str,
    as_json: bool,
) -> None:
    """Make a version the one that answers.

    A search service embeds its archive anew meanwhile, compares the two versions, and refuses one
    that is worse. Without a service only the pointer in the directory is moved.
    """
    if context.service is None:
        if force or groups:
            raise click.UsageError(
                "--force and --groups are for a search service, and none runs here."
            )
        _promote_offline(context.registry, version, as_json=as_json)
        return
    known = read_groups(groups, archive=archive) if groups else ()
    _promote(context.service, version, force=force, groups=known, as_json=as_json)


@models.command(short_help="Go back to the version that answered before.")
@json_option
@with_context
def rollback(context: Context, *, as_json: bool) -> None:
    """Make the version that answered before the active one active again.

    Done twice, it goes further back; `promote` takes up a version again that this went back from.
    What was imported since is embedded first. Without a service only the pointer in the directory
    is moved.
    """
    if context.service is None:
        left = context.registry.pointer().active
        version = context.registry.roll_back()
        text = f"{version.id} is active again, instead of {left}."
        _report_offline(context.registry, as_json=as_json, text=text)
    elif not run_promotion(context.service, context.service.roll_back, as_json=as_json):
        raise click.exceptions.Exit(1)


@models.command()
@json_option
@with_context
def promotion(context: Context, *, as_json: bool) -> None:
    """Show the promotion that runs, or the last one."""
    report(_require_service(context).promotion(), as_json=as_json)


@models.command()
@json_option
@with_context
def cancel(context: Context, *, as_json: bool) -> None:
    """Stop the promotion that runs."""
    report(_require_service(context).cancel_promotion(), as_json=as_json)


@models.command()
@click.argument("version")
@yes_option
@with_context
def delete(context: Context, *, version: str, yes: bool) -> None:
    """Delete a version that is not active, and its collection."""
    service, registry = context.service, context.registry
    if service is not None:
        name = service.model_version(version).name
        confirm(f"Delete {name} and the images' vectors of it?", yes=yes)
        service.delete_model_version(name)
    else:
        name = registry.resolve(version).id
        confirm(f"Delete {name} from {registry.directory}?", yes=yes)
        registry.delete(name)
    output.say(f"{name} is deleted.")


def _list_rows(registry: Registry) -> list[dict[str, Any]]:
    pointer = registry.pointer()
    return [_summarize(version, pointer=pointer) for version in registry.list()]


def _summarize(version: ModelVersion, *, pointer: Pointer) -> dict[str, Any]:
    summary = version.summary()
    published = dt.datetime.fromtimestamp(version.published, tz=dt.UTC)
    return {
        "name": version.id,
        "active": version.id == pointer.active,
        "previous": version.id == pointer.previous,
        "damaged": bool(summary.damage),
        "backbone": summary.backbone,
        "size": summary.size or "",
        "dimension": summary.dimension or "",
        "publish_time": published.isoformat(timespec="seconds"),
    }


def _make_row(version: PublishedVersion) -> dict[str, Any]:
    published = version.publish_time
    return {
        "name": version.name,
        "active": version.active,
        "previous": version.previous,
        # The service lists damaged versions, too, but without a dimension.
        "damaged": not version.dimension,
        "backbone": version.backbone,
        "dimension": version.dimension,
        "images": version.image_count,
        "publish_time": published.isoformat(timespec="seconds") if published else "",
    }


def _require_service(context: Context) -> Client:
    if context.service is None:
        raise errors.FailedPrecondition(
            "Promotions are run by a search service, and none runs here. Start one with `halftone "
            "up`, or name another with --server HOST:PORT.",
            subject="search",
        )
    return context.service


def _promote(
    service: Client,
    version: str,
    *,
    force: bool = False,
    groups: Sequence[Sequence[str]] = (),
    as_json: bool = False,
) -> None:
    def start() -> Promotion:
        return service.promote(version, force=force, groups=groups)

    if not run_promotion(service, start, as_json=as_json):
        raise click.exceptions.Exit(1)


def _promote_offline(registry: Registry, version: str, *, as_json: bool = False) -> None:
    promoted = registry.promote(version)
    before = registry.pointer().previous or "none"
    text = f"{promoted.id} is active; before it: {before}."
    _report_offline(registry, as_json=as_json, text=text)


def _report_offline(registry: Registry, *, as_json: bool, text: str) -> None:
    if as_json:
        output.print_json(registry.pointer().to_json())
    else:
        output.say(text)
    output.make_notes().print(
        f"Only the pointer in {registry.directory} was moved. An archive that was embedded by "
        "another version goes on being answered by that one until this one is promoted while its "
        "search service runs."
    )
