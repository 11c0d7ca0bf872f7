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
from halftone.archive.showing import NOT_SHOWN
from halftone.client.types import probability_label
from halftone.core import errors, files, templates
from halftone.core.settings import read_max_pixels
from halftone.imaging import images
from halftone.rendering import fonts, overlaps, texts, wording

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from halftone.client import Client, Hit, ImageRecord
    from halftone.imaging.images import Region

_CAPTION: Final = 140
_RIGHTS: Final = 120
_LOST_SIDE: Final = 240
"""Side in pixels of the picture that stands for a lost one."""


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
        differing: In how many places a hit differs from the query, in words; empty if in none.
        verdict: An archivist's verdict on the query and a hit, in words; only in HTML.
        rights: The rights of an image of the archive.
        right: Whether a hit is right; None if that is not known.
        faint: Whether the picture is dimmed, because it is probably or certainly another one.
    """

    picture: bytes
    title: str
    lines: tuple[str, ...] = ()
    name: str = ""
    badge: str = ""
    orientation: str = ""
    differing: str = ""
    verdict: str = ""
    rights: str = ""
    right: bool | None = None
    faint: bool = False

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
        rights = _read_rights(record)
        heading = texts.flatten(record.journal) or record.image_id
        name = "" if record.name == title else record.name
        full = (record.width, record.height)
    else:
        image, full = _decode(query)
        picture = images.thumbnail(image)
        heading = "A picture" if not isinstance(query, str | Path) else Path(query).name
        lines = (f"{full[0]} x {full[1]} pixels",)
        rights = ""
        name = ""
    if crop is not None:
        picture = _draw_frame(picture, crop=crop, full=full)
        part = f"{crop.x},{crop.y},{crop.width},{crop.height}"
        lines = (*lines, f"searched by the framed part, {part}")
    return SearchSection(
        title=title,
        note=note,
        query=Card(picture=picture, title=heading, lines=lines, name=name, rights=rights),
        hits=tuple(
            _make_card(client, hit, right=None if is_right is None else is_right(hit))
            for hit in hits
        ),
    )


def _make_card(client: Client, hit: Hit, *, right: bool | None) -> Card:
    return Card(
        picture=_fetch_thumbnail(client, hit.image.name),
        title=texts.flatten(hit.image.journal) or hit.image.image_id,
        lines=_describe(hit.image),
        name=hit.image.name,
        badge=f"{probability_label(hit.probability)} {hit.relation.label}",
        orientation=hit.lies,
        # Of different pictures it goes without saying.
        differing=overlaps.count_differences(overlaps.list_differences(hit)) * hit.is_likely,
        verdict=f"An archivist says: {hit.verdict.label}" if hit.verdict else "",
        rights=_read_rights(hit.image),
        right=right,
        faint=not (hit.is_likely if right is None else right),
    )


def _describe(record: ImageRecord) -> tuple[str, ...]:
    record = texts.flatten_record(record)
    page = wording.describe_page(record.page, word="p.")
    where = ", ".join(part for part in (record.date, page) if part)
    caption = textwrap.shorten(record.caption, _CAPTION, placeholder=" …")
    return tuple(line for line in (where, caption) if line)


def _read_rights(record: ImageRecord) -> str:
    return textwrap.shorten(texts.flatten(record.rights), _RIGHTS, placeholder=" …")


def _decode(query: Image.Image | bytes | str | Path) -> tuple[Image.Image, tuple[int, int]]:
    """Return the picture, large enough for a thumbnail, and its full size."""
    if isinstance(query, Image.Image):
        return query, query.size
    content = query if isinstance(query, bytes) else Path(query).read_bytes()
    # A JPEG is decoded at a fraction of its size, which a crop does not refer to.
    return images.decode(content, max_pixels=read_max_pixels(), target=512), images.size(content)


def _fetch_thumbnail(client: Client, name: str) -> bytes:
    """Return an image's thumbnail, or a plain picture that says why there is none."""
    try:
        return client.thumbnail(name).content
    except errors.PermissionDenied as error:
        if error.reason != NOT_SHOWN:
            raise
        return _write_blank("The archive does not\nshow this picture.")
    except (errors.NotFound, errors.DataLoss):
        return _write_blank("This picture is gone\nor damaged: import\nthe image again.")


def _write_blank(words: str) -> bytes:
    blank = Image.new("L", (_LOST_SIDE, _LOST_SIDE), 225)
    ImageDraw.Draw(blank).text((20, 20), words, font=fonts.load(20), fill=60)
    return images.thumbnail(blank)


def _draw_frame(picture: bytes, *, crop: Region, full: tuple[int, int]) -> bytes:
    """Frame the part that was searched by and fade the rest."""
    image = images.decode(picture, max_pixels=read_max_pixels()).convert("RGB")
    across, down = image.width / full[0], image.height / full[1]
    left, top = int(crop.x * across), int(crop.y * down)
    # Even a sliver of a large picture gets a pixel.
    right = max(round((crop.x + crop.width) * across), left + 1)
    bottom = max(round((crop.y + crop.height) * down), top + 1)
    faded = Image.blend(image, Image.new("RGB", image.size, "white"), 0.6)
    faded.paste(image.crop((left, top, right, bottom)), (left, top))
    draw = ImageDraw.Draw(faded)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=_ACCENT, width=4)
    return images.encode(faded, "JPEG", quality=88)


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
    files.write_output(path, page.encode())


_INK: Final = "#1d1b18"
_QUIET: Final = "#6f685d"
_PAPER: Final = "#faf7f1"
_RULE: Final = "#ddd5c6"
_ACCENT: Final = "#9c2f1f"
_RIGHT: Final = "#2c6e49"
_TURNED: Final = "#5a4fa2"
_DIFFERING: Final = "#8a1fb0"

# Geometry of the PNG, in pixels.
_CELL: Final = 168
_GAP: Final = 18
_MARGIN: Final = 36
_BADGE: Final = 22
_TEXT_LINES: Final = 5
_LINE: Final = 17
_LEADING: Final = 1.2


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
    text_lines = _TEXT_LINES + any(hit.differing for each in sections for hit in each.hits)
    text_lines += any(card.rights for each in sections for card in (each.query, *each.hits))
    height_of_card = _BADGE + _CELL + text_lines * _LINE + 8
    width = 2 * _MARGIN + (columns + 1) * (_CELL + _GAP) + _GAP
    headings = [_wrap_heading(section, width=width - 2 * _MARGIN) for section in sections]
    height = _MARGIN + head + sum(28 + height_of_card + 14 for _ in headings)
    height += sum(_find_line(font) for heading in headings for _, _, font in heading)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 8), title, fill=_INK, font=fonts.load(28))
    draw.text((_MARGIN, _MARGIN + 32), note, fill=_QUIET, font=fonts.load(15))
    top = _MARGIN + head
    for section, heading in zip(sections, headings, strict=True):
        draw.line((_MARGIN, top, width - _MARGIN, top), fill=_RULE)
        top += 10
        for text, ink, font in heading:
            draw.text((_MARGIN, top), text, fill=ink, font=font)
            top += _find_line(font)
        top += 18
        _draw_card(sheet, section.query, left=_MARGIN, top=top, frame=_INK)
        for column, hit in enumerate(section.hits[:columns]):
            left = _MARGIN + 2 * _GAP + (column + 1) * (_CELL + _GAP)
            _draw_card(sheet, hit, left=left, top=top, frame=_RULE)
        top += height_of_card + 14
    # Photographs get a palette of 256 colours: it takes a third of the bytes, with no visible loss
    # here.
    buffer = io.BytesIO()
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "PNG", optimize=True)
    files.write_output(path, buffer.getvalue())


def _find_line(font: fonts.Font) -> int:
    """Return the height of a line of a heading in pixels."""
    return round(_LEADING * sum(font.getmetrics()))


def _wrap_heading(section: SearchSection, *, width: int) -> list[tuple[str, str, fonts.Font]]:
    """Return the lines above a search, with their colours and fonts: its title, then its note."""
    lines = []
    for text, ink, size in ((section.title, _INK, 18), (section.note, _QUIET, 14)):
        font = fonts.load(size)
        lines += [(line, ink, font) for line in fonts.wrap(text, font=font, width=width)]
    return lines


def _draw_card(sheet: Image.Image, card: Card, *, left: int, top: int, frame: str) -> None:
    draw = ImageDraw.Draw(sheet)
    colour = frame if card.right is None else _RIGHT if card.right else _RULE
    box = (left, top, left + _CELL - 1, top + _BADGE + _CELL - 1)
    draw.rectangle(box, fill="white")
    # The badge has a strip of its own, because pictures of people have their heads at the top.
    strip = _BADGE if card.badge else 0
    room = (_CELL - 10, _BADGE + _CELL - strip - 10)
    picture = images.decode(card.picture, max_pixels=read_max_pixels()).convert("RGB")
    picture.thumbnail(room, Image.Resampling.LANCZOS)
    if card.faint:
        picture = Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.5)
    place = (room[0] - picture.width) // 2, (room[1] - picture.height) // 2
    sheet.paste(picture, (left + 5 + place[0], top + strip + 5 + place[1]))
    draw.rectangle(box, outline=colour, width=3 if card.right else 1)
    if card.badge:
        font = fonts.load(13)
        draw.rectangle((left, top, left + _CELL - 1, top + _BADGE - 1), fill=_INK)
        badge = fonts.shorten(card.badge, font=font, width=_CELL - 10)
        draw.text((left + 6, top + 3), badge, fill="white", font=font)
    rights = [(card.rights, _QUIET, fonts.load(11))] if card.rights else []
    lines = [
        (card.title, _INK, fonts.load(14)),
        *((line, _QUIET, fonts.load(13)) for line in card.lines[:2]),
        *([(card.orientation, _TURNED, fonts.load(13))] if card.orientation else []),
        *([(card.differing, _DIFFERING, fonts.load(13))] if card.differing else []),
    ]
    if card.right is not None:
        verdict = "same picture" if card.right else "another picture"
        lines.append((verdict, _RIGHT if card.right else _QUIET, fonts.load(13)))
    lines += rights
    y = top + _BADGE + _CELL + 6
    for text, ink, font in lines:
        draw.text((left, y), fonts.shorten(text, font=font, width=_CELL), fill=ink, font=font)
        y += _LINE
