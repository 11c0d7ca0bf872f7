"""`halftone fetch`: pictures of IIIF manifests and collections come into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from halftone.cli import output
from halftone.cli.fetching.harvest import Harvest, fetch_all
from halftone.cli.fetching.web import PoliteClient

_SHOWN: Final = 5


@click.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "-o",
    "--into",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to keep manifests and pictures in.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A host that may be asked, or .example.org for all below it. Name those of the pictures, "
    "too; no other host is asked.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="The most pictures in the folder.",
)
@click.option(
    "--documents",
    # An import reads no more of a folder.
    type=click.IntRange(min=1, max=5_000),
    default=1000,
    show_default=True,
    help="The most manifests and collections that are asked for. Collections within collections "
    "are followed 16 deep.",
)
@click.option(
    "--size",
    type=click.IntRange(min=64),
    help="The most pixels of the longer side, where a host scales.  [default: as the manifest has]",
)
@click.option(
    "--pause",
    type=click.FloatRange(min=0.1),
    default=0.5,
    show_default=True,
    help="Seconds between two requests to one host.",
)
def fetch(
    *,
    urls: tuple[str, ...],
    folder: Path,
    hosts: tuple[str, ...],
    limit: int,
    documents: int,
    size: int | None,
    pause: float,
) -> None:
    """Fetch the pictures of IIIF manifests and collections into a folder, to be imported from it.

    One request at a time is made, with a pause between them, and hosts are left alone for as long
    as they ask. Run the same command again to go on after it was cut off. Private addresses are
    never asked.

    Exit code: 0, or 1 when something could not be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = PoliteClient(
        hosts=frozenset(host.lower().rstrip(".") for host in hosts), pause=pause, say=output.remark
    )
    try:
        harvest = fetch_all(
            urls, folder=folder, client=client, limit=limit, documents=documents, size=size
        )
    except KeyboardInterrupt:
        output.remark("Stopped. The same command goes on from there.")
        raise SystemExit(output.INTERRUPTED) from None
    _report(harvest, folder=folder, limit=limit)
    if harvest.failed:
        raise SystemExit(1)


def _report(harvest: Harvest, *, folder: Path, limit: int) -> None:
    output.say(
        f"{harvest.fetched:,} pictures of {harvest.manifests:,} manifests and collections fetched, "
        f"{harvest.kept:,} were there. Import them with `halftone import {folder}`."
    )
    if harvest.left:
        output.remark(f"There are more than {limit:,} pictures; --limit allows more.")
    for address, why in harvest.failed[:_SHOWN]:
        output.remark(f"{address}: {why}")
    if len(harvest.failed) > _SHOWN:
        output.remark(f"… and {len(harvest.failed) - _SHOWN:,} more could not be fetched.")
