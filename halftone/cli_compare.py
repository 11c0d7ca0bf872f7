"""`halftone compare`: two images of the archive beside each other."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click
from PIL import Image

from halftone import cli_output as output
from halftone import overlay
from halftone.cli_options import connect, crop_from, full_name, json_option, server_options

if TYPE_CHECKING:
    from halftone.client import Client, Compared, ImageRecord
    from halftone.images import Region


@click.command()
@click.argument("query", metavar="NAME")
@click.argument("image", metavar="NAME")
@click.option("--archive", multiple=True, metavar="NAME", help="Archive of ids without one.")
@click.option("--crop", metavar="X,Y,W,H", help="Compare this part of the first: pixels, or pct:…")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JPEG or PNG to write: both with what they share, and the second laid upon the first.",
)
@json_option
@server_options
def compare(
    *,
    query: str,
    image: str,
    archive: tuple[str, ...],
    crop: str | None,
    out: Path | None,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """Compare two images of the archive: how probably they are the same picture, and why."""
    if out is not None and out.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise click.BadParameter("It is to end in .jpg or .png.", param_hint="--out")
    with connect(server=server, data=data) as client:
        name, other = (full_name(each, archives=archive) for each in (query, image))
        record = client.get(name) if crop is not None or out is not None else None
        region = None
        if crop is not None and record is not None:
            full = (record.width, record.height)
            region = crop_from(crop, size=lambda: full)
        found = client.compare(name, other, crop=region)
        if out is not None and record is not None:
            _picture(client, record=record, found=found, region=region).save(out, quality=90)
    if as_json:
        output.print_json({"model_version": found.model_version, **output.hit_json(found.hit)})
    else:
        output.print_hits([found.hit], explained=True)
    if out is not None:
        output.notes().print(f"Wrote {out}.")


def _picture(
    client: Client, *, record: ImageRecord, found: Compared, region: Region | None
) -> Image.Image:
    hit = found.hit
    query = _thumbnail(client, record)
    size = (record.width, record.height)
    if region is not None:
        across, down = query.width / size[0], query.height / size[1]
        left, top = round(region.x * across), round(region.y * down)
        right = max(left + 1, round((region.x + region.width) * across))
        bottom = max(top + 1, round((region.y + region.height) * down))
        query = query.crop((left, top, right, bottom))
        size = (region.width, region.height)
    return overlay.sheet(
        query,
        _thumbnail(client, hit.image),
        overlaps=hit.overlaps,
        query_size=size,
        image_size=(hit.image.width, hit.image.height),
        titles=(_title(record), _title(hit.image)),
        lines=[output.overlap_text(each) for each in hit.overlaps],
    )


def _thumbnail(client: Client, record: ImageRecord) -> Image.Image:
    return Image.open(io.BytesIO(client.thumbnail(record.name).content))


def _title(record: ImageRecord) -> str:
    return ", ".join(part for part in (record.journal or record.image_id, record.date) if part)
