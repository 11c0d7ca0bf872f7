"""`halftone search`: the other printings of a picture."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from halftone.cli import hits, output
from halftone.cli.completion import complete_files
from halftone.cli.connecting import server_options
from halftone.cli.options import (
    check_filter,
    complete_name,
    describe_search,
    filter_options,
    read_crop,
    read_filter,
)
from halftone.core import wire
from halftone.imaging import images
from halftone.imaging.formats import tiff_pages
from halftone.rendering import json_forms

if TYPE_CHECKING:
    from halftone.cli.connecting import Connect
    from halftone.client import Client, Query, Region, SearchPage

_UNLIKELY: Final = (
    "What is a small part of a larger picture is found with --crop; --verify-count 200 compares "
    "more candidates."
)


@click.command(short_help="Find the other printings of a picture.")
@click.argument("query", metavar="FILE|IMAGE", shell_complete=complete_files)
@filter_options
@click.option("--crop", metavar="X,Y,W,H", help="Search by this part: pixels, or pct:x,y,w,h.")
@click.option("--limit", type=int, help="At most so many hits, 1 to 1000.  [default: 20]")
@click.option(
    "--min-probability",
    type=float,
    help="Only hits that are at least so probably the same picture, 0 to 1. All are listed.",
)
@click.option(
    "--min-similarity",
    type=float,
    help="Only hits whose descriptors are at least so similar, cosine, -1 to 1.",
)
@click.option(
    "--verify-count",
    type=int,
    help="Candidates compared by local features, 0 to 200.  [default: 50]",
)
@click.option(
    "--all", "everything", is_flag=True, help="List the unlikely hits, too, not only their number."
)
@click.option(
    "--explain", "explained", is_flag=True, help="Say of each hit what it shares with the picture."
)
@click.option("--no-mirrored", is_flag=True, help="Do not look for the mirrored picture.")
@click.option("--no-rotated", is_flag=True, help="Do not look for the picture turned by quarters.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet of all hits as well; the unlikely ones are dimmed.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: all hits, the unlikely ones as well."
)
@server_options
def search(
    *,
    query: str,
    crop: str | None,
    limit: int | None,
    min_probability: float | None,
    min_similarity: float | None,
    verify_count: int | None,
    everything: bool,
    explained: bool,
    no_mirrored: bool,
    no_rotated: bool,
    html: Path | None,
    as_json: bool,
    connect: Connect,
    **options: Any,  # the filter's options
) -> None:
    """Find the other printings of a picture.

    It is a FILE of at most 32 MiB, or an IMAGE of the archive: archives/ARCHIVE/images/ID, or an ID
    with --archive, which is then searched alone.

    Hits that are likely to be the same picture are listed, with a probability of at least 0.5, and
    one line counts the others.
    """
    archives = options["archive"]
    where = read_filter(options)
    with connect() as client:
        wanted = _read_query(query, archives=archives)
        output.remark(*_describe_pages(wanted))
        region = None
        if crop is not None:
            region = read_crop(crop, size=lambda: _find_size(wanted, client=client))
        page = client.search(
            wanted,
            filter=where,
            crop=region,
            limit=limit,
            min_probability=min_probability,
            min_similarity=min_similarity,
            verify_count=verify_count,
            mirrored=not no_mirrored,
            rotated=not no_rotated,
        )
        # The hits are printed before anything else that may fail, so that they are not lost.
        if as_json:
            output.print_json(json_forms.page_to_json(page))
        else:
            hits.print_hits(
                page.hits,
                explained=explained,
                everything=everything or min_probability is not None,
            )
            if page.next_page_token and page.hits[-1].is_likely:
                output.remark_more(len(page.hits))
            if page.out_of_time_count:
                late = page.out_of_time_count
                were = "was" if late == 1 else "were"
                output.remark(f"{output.count_images(late)} {were} not compared for want of time.")
            if page.verdicts_unavailable:
                output.remark(output.VERDICTS_UNAVAILABLE)
            unlikely = page.hits and not any(hit.is_likely for hit in page.hits)
            if unlikely and verify_count is None:
                output.remark(_UNLIKELY)
        output.remark(*check_filter(client, where=where, nothing=not page.hits))
        if html is not None:
            said = describe_search(
                where,
                min_probability=min_probability,
                min_similarity=min_similarity,
                verify_count=verify_count,
                mirrored=not no_mirrored,
                rotated=not no_rotated,
            )
            _write_sheet(client, page, query=wanted, crop=region, title=query, said=said, path=html)


def _write_sheet(
    client: Client,
    page: SearchPage,
    *,
    query: Query,
    crop: Region | None,
    title: str,
    said: list[str],
    path: Path,
) -> None:
    """Write the hits as a contact sheet, with what is said about the search below its title."""
    from halftone.rendering import contact_sheet  # noqa: PLC0415  # only where it is asked for

    if page.next_page_token:
        said.append(f"the first {len(page.hits)}, of more")
    if any(not hit.is_likely for hit in page.hits):
        said.append("faded ones are probably other pictures")
    if page.verdicts_unavailable:
        said.append("without archivists' verdicts, which could not be read")
    section = contact_sheet.fetch_section(
        client, query=query, hits=page.hits, title=title, note="; ".join(said), crop=crop
    )
    contact_sheet.write_html(
        [section],
        path=output.make_folder(path),
        title="Halftone search",
        colophon=contact_sheet.make_colophon(page.model_version, now=dt.datetime.now(dt.UTC)),
    )
    output.remark(f"Wrote {path}.")


def _read_query(text: str, *, archives: tuple[str, ...]) -> Query:
    if not text.startswith("archives/") and Path(text).exists() and not Path(text).is_dir():
        return Path(text)
    if not text.startswith("archives/") and len(archives) != 1:
        raise click.BadParameter(
            f"{text} is neither a file nor an image's name, archives/ARCHIVE/images/ID.",
            param_hint="FILE|IMAGE",
        )
    return complete_name(text, archives=archives)


def _describe_pages(query: Query) -> list[str]:
    """Return a sentence about the pages of a file that are not searched by."""
    # The client says what is wrong with a file that cannot be read.
    with contextlib.suppress(OSError):
        if isinstance(query, Path) and query.stat().st_size <= wire.MAX_IMAGE_BYTES:
            pages = tiff_pages.count_pages(query.read_bytes())
            if pages > 1:
                return [f"{query} has {pages} pages; only the first is searched by."]
    return []


def _find_size(query: Query, *, client: Client) -> tuple[int, int]:
    if isinstance(query, Path):
        return images.size(query.read_bytes())
    record = client.get(str(query))
    return record.width, record.height
