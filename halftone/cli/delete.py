"""`halftone delete`: images go, by name or by filter."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output
from halftone.cli.options import (
    confirm,
    connect,
    filter_from,
    filter_options,
    filter_remarks,
    full_name,
    server_options,
    yes_option,
)
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from halftone.client import Client, Filter

_GROUP: Final = 500
"""Images of one call. A call that deleted a large archive would meet its deadline."""


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE]…")
@filter_options
@click.option("--everything", is_flag=True, help="All images: needed where there is no filter.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@yes_option
@server_options
def delete(
    *,
    names: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    server: str | None,
    data: Path | None,
    **options: Any,  # the filter's options
) -> None:
    """Delete images, by name or by filter.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.

    Exit code: 0, or 1 when there is no image of a name; the others are deleted.
    """
    archives = options["archive"]
    where = filter_from(options)
    if names:
        names = tuple(dict.fromkeys(full_name(name, archives=archives) for name in names))
        where = None
    elif where is None and not everything:
        raise click.UsageError("Name the images, give a filter, or say --everything.")
    with connect(server=server, data=data) as client:
        if names:
            unknown = list(_unknown(client, names))
            count = len(names) - len(unknown)
            output.remark(*(f"There is no image {name}." for name in unknown))
        else:
            unknown = []
            count = client.delete(filter=where, everything=everything, dry_run=True)
            output.remark(*filter_remarks(client, where=where, nothing=not count))
        if dry_run:
            click.echo(f"{output.counted(count)} would be deleted.")
        else:
            if count:
                confirm(f"Delete {output.counted(count)}?", yes=yes)
                groups = _groups(names) if names else _listed(client, where)
                count = _delete(client, groups)
            click.echo(f"{output.counted(count)} deleted.")
    if unknown:
        raise SystemExit(1)


def _unknown(client: Client, names: Sequence[str]) -> Iterator[str]:
    """The names that no image has."""
    for group in _groups(names):
        if client.delete(group, dry_run=True) == len(group):
            continue
        for name in group:
            try:
                client.get(name)
            except errors.NotFound:
                yield name


def _groups(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _GROUP):
        yield names[start : start + _GROUP]


def _listed(client: Client, where: Filter | None) -> Iterator[Sequence[str]]:
    """The names under a filter, group by group; each group is to be deleted before the next."""
    while names := [
        each.name for each in itertools.islice(client.list(filter=where, page_size=_GROUP), _GROUP)
    ]:
        yield names


def _delete(client: Client, groups: Iterable[Sequence[str]]) -> int:
    """Deletes group by group; gives the count, which is told also where that ends too early."""
    count = 0
    try:
        for group in groups:
            count += client.delete(group)
    except BaseException:
        output.remark(f"Not finished; {output.counted(count)} deleted so far.")
        raise
    return count
