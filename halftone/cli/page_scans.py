"""What `halftone import` knows of page scans: its options, and the sheet of `--dry-run`."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from halftone.archive.pages import Kind
from halftone.archive.pages.model import Unit
from halftone.archive.pages.placing import Override
from halftone.archive.sources import Layout, PageOptions, find_kind
from halftone.archive.sources.pages import PAGES, PageReader
from halftone.cli import output
from halftone.core import errors
from halftone.imaging import images
from halftone.rendering import page_sheet
from halftone.rendering.page_sheet import DrawnBox, DrawnPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from halftone.archive.pages import Issue
    from halftone.archive.sources.pages import ReadPage

F = TypeVar("F", bound="Callable[..., Any]")

_DRAWN: Final = 12
_QUALITY: Final = 70

_OPTIONS: Final = (
    click.option(
        "--pages",
        "is_pages",
        is_flag=True,
        help="DIR holds page scans, with or without descriptions.",
    ),
    click.option(
        "--layout",
        type=click.Choice([each.value for each in Layout]),
        default=None,
        help="Find pictures on pages by layout: auto (where no picture of an issue is described), "
        "always or never.  [default: auto]",
    ),
    click.option(
        "--also",
        type=click.Choice([Kind.ADVERTISEMENT.value, Kind.TABLE.value]),
        multiple=True,
        help="What besides pictures becomes a record. May be given twice.",
    ),
    click.option(
        "--alto-unit",
        type=click.Choice([each.value for each in Unit]),
        help="The unit of all boxes, where the descriptions say it wrongly.",
    ),
    click.option(
        "--alto-scale",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="The pixels of a scan in one of the descriptions' units.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Draw the first pages with their boxes and send nothing."
    ),
    click.option(
        "--sheet",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The HTML file that --dry-run writes.  [default: DIR-pages.html, here]",
    ),
)


def page_options(command: F) -> F:
    """Add the options of page scans, which reach the command as `pages` and `sheet`.

    `pages` are the `PageOptions`, or None if none was given; `sheet` is the file that is to be
    written instead of an import, or None.
    """

    @functools.wraps(command)
    def wrapped(
        *,
        is_pages: bool,
        layout: str | None,
        also: tuple[str, ...],
        alto_unit: str | None,
        alto_scale: float | None,
        dry_run: bool,
        sheet: Path | None,
        **others: Any,
    ) -> Any:
        pages = None
        if is_pages or layout or also or alto_unit or alto_scale:
            pages = PageOptions(
                layout=Layout(layout or Layout.AUTO.value),
                kinds=tuple(Kind(each) for each in also),
                override=Override(unit=Unit(alto_unit) if alto_unit else None, scale=alto_scale),
            )
        if sheet is not None and not dry_run:
            raise click.UsageError("--sheet is the file of --dry-run.")
        if dry_run and sheet is None:
            sheet = Path(f"{others['source'].resolve().name}-pages.html")
        return command(pages=pages, sheet=sheet, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # it takes the options instead


def write_sheet(source: Path, *, pages: PageOptions | None, sheet: Path) -> None:
    """Write a sheet of the first pages of a folder, and say what is on it.

    Raises:
        errors.InvalidArgument: The folder holds no page scans.
        SystemExit: Boxes do not fit their scans, or scans cannot be used (1).
    """
    if pages is None and find_kind(source) is not PAGES:
        raise errors.InvalidArgument(
            f"{source} has no descriptions of page scans; --pages takes its pictures for pages. "
            "--dry-run draws page scans.",
            field="path",
        )
    remarks: list[str] = []
    reader = PageReader(folder=source, options=pages or PageOptions(), remarks=remarks)
    drawn = list(itertools.islice(_draw_pages(reader), _DRAWN))
    if not drawn:
        raise errors.InvalidArgument(f"{source} holds no scans of pages.", field="path")
    pictures = sum(len(page.captions) for page in drawn)
    first = "The first page" if len(drawn) == 1 else f"The first {len(drawn)} pages"
    note = f"{first}, with {pictures} {'picture' if pictures == 1 else 'pictures'}."
    title = f"{source.resolve().name}: pages and what is on them"
    page_sheet.write_html(drawn, sheet, title=title, note=note, remarks=remarks)
    output.say(f"{sheet}: {note} Nothing was imported.")
    output.remark(*remarks)
    if remarks:
        raise SystemExit(1)


def _draw_pages(reader: PageReader) -> Iterator[DrawnPage]:
    for issue, pages in reader.read(check=False):
        for page in pages:
            yield _draw(page, issue=issue, reader=reader)


def _draw(read: ReadPage, *, issue: Issue, reader: PageReader) -> DrawnPage:
    number = f"page {read.page.number}" if read.page.number else ""
    about = ", ".join(filter(None, (issue.title, issue.date or issue.date_text, number)))
    image = read.page.image
    if read.error is None and image is not None:
        try:
            scan, full = reader.scans.shrink(image, side=page_sheet.SIDE)
        except errors.InvalidArgument as error:
            return _refuse(read, about=about, reason=error.message)
        return DrawnPage(
            picture=images.thumbnail(scan, longest_side=page_sheet.SIDE, quality=_QUALITY),
            size=full,
            title=read.id,
            lines=(about,) if about else (),
            boxes=tuple(_draw_boxes(read)),
            captions=tuple(
                f"{picture.name}: {picture.caption or 'no text near it'}"
                for picture in read.pictures
            ),
        )
    return _refuse(read, about=about, reason=read.error.message if read.error else "no scan")


def _refuse(read: ReadPage, *, about: str, reason: str) -> DrawnPage:
    lines = tuple(filter(None, (about, reason)))
    return DrawnPage(picture=b"", size=(1, 1), title=read.id, lines=lines)


def _draw_boxes(read: ReadPage) -> Iterator[DrawnBox]:
    blocks = read.placed.blocks if read.placed else ()
    taken = [picture.block for picture in read.pictures]
    others = [(block, "") for block in blocks if block not in taken]
    named = [(picture.block, picture.name) for picture in read.pictures]
    for block, name in (*others, *named):
        x, y, width, height = block.box
        kind = block.kind.value
        yield DrawnBox(x=x, y=y, width=width, height=height, kind=kind, label=name)
