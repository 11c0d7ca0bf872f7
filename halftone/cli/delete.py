"""`halftone delete`: deletes images, by name or by filter."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import output
from halftone.cli.connecting import server_options
from halftone.cli.options import (
    check_filter,
    complete_name,
    confirm,
    filter_options,
    read_filter,
    yes_option,
)
from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from halftone.cli.connecting import Connect
    from halftone.client import Client, Filter

_GROUP: Final = 500
"""The number of images in a call: one call for a large archive would exceed its deadline."""


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
    connect: Connect,
    **options: Any,  # the filter's options
) -> None:
    """Delete images, by name or by filter.

    IMAGE is archives/ARCHIVE/images/ID, or an ID with --archive.

    Exit code: 0, or 1 when there is no image of a name; the others are deleted.
    """
    archives = options["archive"]
    where = read_filter(options)
    if names:
        names = tuple(dict.fromkeys(complete_name(name, archives=archives) for name in names))
        where = None
    elif where is None and not everything:
        raise click.UsageError("Name the images, give a filter, or say --everything.")
    with connect() as client:
        if names:
            unknown = list(_find_unknown(client, names))
            count = len(names) - len(unknown)
            output.remark(*(f"There is no image {name}." for name in unknown))
        else:
            unknown = []
            count = client.delete(filter=where, everything=everything, dry_run=True)
            output.remark(*check_filter(client, where=where, nothing=not count))
        if dry_run:
            output.say(f"{output.count_images(count)} would be deleted.")
        else:
            if count:
                confirm(f"Delete {output.count_images(count)}?", yes=yes)
                groups = _split(names) if names else _list_groups(client, where)
                count = _delete_groups(client, groups)
            output.say(f"{output.count_images(count)} deleted.")
    if unknown:
        raise SystemExit(1)


def _find_unknown(client: Client, names: Sequence[str]) -> Iterator[str]:
    """Iterate over the names that no image has."""
    for group in _split(names):
        if client.delete(group, dry_run=True) == len(group):
            continue
        for name in group:
            try:
                client.get(name)
            except errors.NotFound:
                yield name


def _split(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _GROUP):
        yield names[start : start + _GROUP]


def _list_groups(client: Client, where: Filter | None) -> Iterator[Sequence[str]]:
    """Iterate over the names under a filter in groups; delete each group before the next."""
    while names := [
        each.name for each in itertools.islice(client.list(filter=where, page_size=_GROUP), _GROUP)
    ]:
        yield names


def _delete_groups(client: Client, groups: Iterable[Sequence[str]]) -> int:
    """Delete group by group and return the count; a failure first reports the count so far."""
    count = 0
    try:
        for group in groups:
            count += client.delete(group)
    except BaseException:
        output.remark(f"Not finished; {output.count_images(count)} deleted so far.")
        raise
    return count
