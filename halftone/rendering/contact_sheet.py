"""Contact sheets: a query on the left, its hits on the right; as one HTML page or one PNG.

The HTML page is self-contained: thumbnails are inlined, nothing is fetched, no script runs.
"""

from __future__ import annotations

import base64
import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw

import halftone
from halftone.client.types import probability_label
from halftone.core import errors, files, templates
from halftone.imaging import images
from halftone.rendering import fonts

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from halftone.client import Client, Hit, ImageRecord
    from halftone.imaging.images import Region

_CAPTION: Final = 140
_LOST_SIDE: Final = 240
"""Side in pixels of the picture that stands for a lost one."""
_MAX_PIXELS: Final = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture with the text around it.

    Attributes:
        picture: A small JPEG.
        title: The heading, for example the journal.
        lines: The lines below the title, for example date and page, then the caption.
        name: The name by which an image of the archive is cited; only in HTML.
        badge: A short remark, for example the probability and the relation.
        orientation: The orientation of the query in the picture, in words; empty if it lies as it
            is.
        verdict: An archivist's verdict on the query and a hit, in words; only in HTML.
        right: Whether a hit is right; None if that is not known.
    """

    picture: bytes
    title: str
    lines: tuple[str, ...] = ()
    name: str = ""
    badge: str = ""
    orientation: str = ""
    verdict: str = ""
    right: bool | None = None

    @property
    def data_uri(self) -> str:
        """Return the picture as a `data:` URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.picture).decode()


@dataclass(frozen=True, kw_only=True)
class SearchSection:
    """A search: its query and its hits, the most probable first."""

    title: str
    note: str
    query: Card
    hits: tuple[Card, ...]


def fetch_section(
    client: Client,
    *,
    query: Any,  # see Query; narrowed below
    hits: Sequence[Hit],
    title: str,
    note: str = "",
    crop: Region | None = None,
    is_right: Callable[[Hit], bool] | None = None,
) -> SearchSection:
    """Return the section of a search, with its thumbnails fetched from the service.

    Args:
        client: A client of the service that was searched.
        query: A path, an encoded image, a Pillow image, or an image's name.
        hits: The hits of the search.
        title: The heading of the section.
        note: The line below the heading, for example the filter.
        crop: The part that was searched by, in pixels of the query.
        is_right: Function that returns whether a hit is right, if that is known.
    """
    if isinstance(query, str) and query.startswith("archives/"):
        record = client.get(query)
        picture = _fetch_thumbnail(client, query)
        lines = _describe(record)
        heading = record.journal or record.image_id
        name = "" if record.name == title else record.name
        full = (record.width, record.height)
    else:
        image, full = _decode(query)
        picture = images.thumbnail(image)
        heading = "A picture" if not isinstance(query, str | Path) else Path(query).name
        lines = (f"{full[0]} x {full[1]} pixels",)
        name = ""
    if crop is not None:
        picture = _draw_frame(picture, crop=crop, full=full)
        part = f"{crop.x},{crop.y},{crop.width},{crop.height}"
        lines = (*lines, f"searched by the framed part, {part}")
    return SearchSection(
        title=title,
        note=note,
        query=Card(picture=picture, title=heading, lines=lines, name=name),
        hits=tuple(
            Card(
                picture=_fetch_thumbnail(client, hit.image.name),
                title=hit.image.journal or hit.image.image_id,
                lines=_describe(hit.image),
                name=hit.image.name,
                badge=f"{probability_label(hit.probability)} {hit.relation.label}",
                orientation=hit.lies,
                verdict=f"An archivist says: {hit.verdict.label}" if hit.verdict else "",
                right=None if is_right is None else is_right(hit),
            )
            for hit in hits
        ),
    )


def _describe(record: ImageRecord) -> tuple[str, ...]:
    where = ", ".join(part for part in (record.date, record.page and f"p. {record.page}") if part)
    caption = textwrap.shorten(record.caption, _CAPTION, placeholder=" …")
    return tuple(line for line in (where, caption) if line)


def _decode(query: Image.Image | bytes | str | Path) -> tuple[Image.Image, tuple[int, int]]:
    """Return the picture, large enough for a thumbnail, and its full size."""
    if isinstance(query, Image.Image):
        return query, query.size
    content = query if isinstance(query, bytes) else Path(query).read_bytes()
    # A JPEG is decoded at a fraction of its size, which a crop does not refer to.
    return images.decode(content, max_pixels=_MAX_PIXELS, target=512), images.size(content)


def _fetch_thumbnail(client: Client, name: str) -> bytes:
    """Return an image's thumbnail, or a plain picture that says that it is lost."""
    try:
        return client.thumbnail(name).content
    except (errors.NotFound, errors.DataLoss):
        blank = Image.new("L", (_LOST_SIDE, _LOST_SIDE), 225)
        words = "This picture is gone\nor damaged: import\nthe image again."
        font = fonts.load(20)
        ImageDraw.Draw(blank).text((20, 20), words, font=font, fill=60)
        return images.thumbnail(blank)


def _draw_frame(picture: bytes, *, crop: Region, full: tuple[int, int]) -> bytes:
    """Frame the part that was searched by and fade the rest."""
    image = images.decode(picture, max_pixels=_MAX_PIXELS).convert("RGB")
    across, down = image.width / full[0], image.height / full[1]
    left, top = int(crop.x * across), int(crop.y * down)
    # Even a sliver of a large picture gets a pixel.
    right = max(round((crop.x + crop.width) * across), left + 1)
    bottom = max(round((crop.y + crop.height) * down), top + 1)
    faded = Image.blend(image, Image.new("RGB", image.size, "white"), 0.6)
    faded.paste(image.crop((left, top, right, bottom)), (left, top))
    draw = ImageDraw.Draw(faded)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=_ACCENT, width=4)
    buffer = io.BytesIO()
    faded.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def make_colophon(model_version: str, *, now: dt.datetime) -> str:
    """Return the line by which a search is cited: when it was made, and by which versions."""
    return (
        f"Searched on {now:%Y-%m-%d} at {now:%H:%M} UTC · model version {model_version} · "
        f"Halftone {halftone.__version__}"
    )


def write_html(
    sections: Sequence[SearchSection], *, path: Path, title: str, note: str = "", colophon: str = ""
) -> None:
    """Write the sections as one self-contained HTML page.

    Args:
        sections: The searches.
        path: The file to write. Missing folders are created.
        title: The heading of the page.
        note: The line below the heading.
        colophon: The line below the sections; see `make_colophon`.
    """
    template = templates.load("contact-sheet.html.jinja", package="halftone.rendering")
    page = template.render(title=title, note=note, sections=sections, colophon=colophon)
    files.with_folders(path).write_text(page, encoding="utf-8")


_INK: Final = "#1d1b18"
_QUIET: Final = "#6f685d"
_PAPER: Final = "#faf7f1"
_RULE: Final = "#ddd5c6"
_ACCENT: Final = "#9c2f1f"
_RIGHT: Final = "#2c6e49"

# Geometry of the PNG, in pixels.
_CELL: Final = 168
_GAP: Final = 18
_MARGIN: Final = 36
_TEXT_LINES: Final = 4
_LINE: Final = 17


def write_png(
    sections: Sequence[SearchSection], *, path: Path, title: str, note: str = "", columns: int = 5
) -> None:
    """Write the sections as one PNG of a few hundred kB.

    Args:
        sections: The searches.
        path: The file to write.
        title: The heading.
        note: The line below the heading.
        columns: The most hits of a search that are drawn.
    """
    head = 78
    height_of_card = _CELL + _TEXT_LINES * _LINE + 8
    height_of_section = 62 + height_of_card + 14
    width = 2 * _MARGIN + (columns + 1) * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _MARGIN + head + len(sections) * height_of_section), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 8), title, fill=_INK, font=fonts.load(28))
    draw.text((_MARGIN, _MARGIN + 32), note, fill=_QUIET, font=fonts.load(15))
    top = _MARGIN + head
    for section in sections:
        draw.line((_MARGIN, top, width - _MARGIN, top), fill=_RULE)
        draw.text((_MARGIN, top + 10), section.title, fill=_INK, font=fonts.load(18))
        draw.text((_MARGIN, top + 34), section.note, fill=_QUIET, font=fonts.load(14))
        _draw_card(sheet, section.query, left=_MARGIN, top=top + 62, frame=_INK)
        for column, hit in enumerate(section.hits[:columns]):
            left = _MARGIN + 2 * _GAP + (column + 1) * (_CELL + _GAP)
            _draw_card(sheet, hit, left=left, top=top + 62, frame=_RULE)
        top += height_of_section
    # Photographs get a palette of 256 colours: it takes a third of the bytes, with no visible loss
    # here.
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def _draw_card(sheet: Image.Image, card: Card, *, left: int, top: int, frame: str) -> None:
    draw = ImageDraw.Draw(sheet)
    colour = frame if card.right is None else _RIGHT if card.right else _RULE
    width = 3 if card.right else 1
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill="white")
    picture = images.decode(card.picture, max_pixels=_MAX_PIXELS).convert("RGB")
    picture.thumbnail((_CELL - 10, _CELL - 10), Image.Resampling.LANCZOS)
    if card.right is False:
        picture = Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.5)
    sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), outline=colour, width=width)
    if card.badge:
        _draw_tag(draw, card.badge, left=left + 5, top=top + 5, fill=_INK)
    if card.orientation:
        _draw_tag(draw, card.orientation, left=left + 5, top=top + _CELL - 25, fill="#5a4fa2")
    lines = [
        (card.title, _INK, fonts.load(14)),
        *((line, _QUIET, fonts.load(13)) for line in card.lines),
    ]
    y = top + _CELL + 6
    for text, ink, font in lines[: _TEXT_LINES - 1]:
        draw.text((left, y), fonts.shorten(text, font=font, width=_CELL), fill=ink, font=font)
        y += _LINE
    if card.right is not None:
        verdict = "same picture" if card.right else "another picture"
        draw.text((left, y), verdict, fill=_RIGHT if card.right else _QUIET, font=fonts.load(13))


def _draw_tag(draw: ImageDraw.ImageDraw, text: str, *, left: int, top: int, fill: str) -> None:
    font = fonts.load(13)
    width = round(draw.textlength(text, font=font)) + 10
    draw.rectangle((left, top, left + width, top + 20), fill=fill)
    draw.text((left + 5, top + 2), text, fill="white", font=font)
