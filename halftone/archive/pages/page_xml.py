"""Reads PAGE XML (PRImA): Transkribus, OCR-D, Aletheia, eScriptorium.

Versions differ in how they write outlines: `<Coords points="x,y x,y">` since 2013, `<Point>`
elements before. Numbers are pixels of the image that the file names.
See https://github.com/PRImA-Research-Lab/PAGE-XML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from halftone.archive.pages import markup
from halftone.archive.pages.model import Block, Box, Kind, Page, unite
from halftone.archive.pages.vocabulary import classify, find_language

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

_PICTURES: Final = ("ImageRegion", "LineDrawingRegion", "GraphicRegion", "ChartRegion", "MapRegion")
_KINDS: Final = {
    **dict.fromkeys(_PICTURES, Kind.PICTURE),
    "AdvertRegion": Kind.ADVERTISEMENT,
    "TableRegion": Kind.TABLE,
    "TextRegion": Kind.TEXT,
}
_CUSTOM: Final = re.compile(r"structure\s*\{[^}]*type\s*:\s*([^;}]+)")


def parse(root: Element) -> list[Page]:
    """Return the page of a PAGE file, or none if it has none.

    Args:
        root: The root element `PcGts`, see `markup.read`.
    """
    return [_read_page(page) for page in root.iter("Page")]


def _read_page(page: Element) -> Page:
    width, height = (markup.parse_number(page.get(side)) for side in ("imageWidth", "imageHeight"))
    size = markup.parse_size(width, height)
    return Page(
        image_name=page.get("imageFilename", ""),
        size=size,
        image_size=(round(size[0]), round(size[1])) if size else None,
        blocks=tuple(_read_regions(page)),
        language=find_language(page.get("primaryLanguage")),
    )


def _read_regions(parent: Element) -> Iterator[Block]:
    for region in parent:
        if not region.tag.endswith("Region"):
            continue
        kind, profile = _classify(region)
        coordinates = region.find("Coords")
        points = [] if coordinates is None else _read_points(coordinates)
        box = unite(Box(x, y, 0, 0) for x, y in points)
        if box is not None and coordinates is not None:
            yield Block(
                id=region.get("id", ""),
                kind=kind,
                box=box,
                text=_read_text(region),
                lines=tuple(_read_lines(region)),
                confidence=markup.parse_number(coordinates.get("conf")),
                profile=profile,
            )
        yield from _read_regions(region)


def _classify(region: Element) -> tuple[Kind, str]:
    kind = _KINDS.get(region.tag, Kind.OTHER)
    # Transkribus keeps what a person called the region in a text of its own syntax.
    custom = _CUSTOM.search(region.get("custom", ""))
    for word in (region.get("type"), custom[1] if custom else None):
        named = classify(word)
        if named is None:
            continue
        if region.tag == "TextRegion" and named in (Kind.PICTURE, Kind.CAPTION):
            return named, "page:type"
        # A graphic may be a barcode or a stamp.
        if kind is Kind.PICTURE and named in (Kind.OTHER, Kind.ADVERTISEMENT, Kind.TABLE):
            return named, "page:type"
    return kind, f"page:{region.tag}"


def _read_points(coordinates: Element) -> list[tuple[float, float]]:
    if points := markup.parse_points(coordinates.get("points")):
        return points
    old = (
        (markup.parse_number(point.get("x")), markup.parse_number(point.get("y")))
        for point in coordinates.iter("Point")
    )
    return [(x, y) for x, y in old if x is not None and y is not None]


def _read_lines(region: Element) -> Iterator[Box]:
    for line in region.findall("TextLine"):
        coordinates = line.find("Coords")
        points = [] if coordinates is None else _read_points(coordinates)
        box = unite(Box(x, y, 0, 0) for x, y in points)
        if box is not None:
            yield box


def _read_text(region: Element) -> str:
    """Return a region's text: its own, else that of its lines."""
    own = _find_equivalent(region)
    if own:
        return own
    return "\n".join(filter(None, (_find_equivalent(line) for line in region.findall("TextLine"))))


def _find_equivalent(element: Element) -> str:
    # The best of several readings has the lowest index.
    readings = sorted(
        element.findall("TextEquiv"), key=lambda each: markup.parse_number(each.get("index")) or 0
    )
    texts = (each.findtext("Unicode") or each.findtext("PlainText") or "" for each in readings)
    return next((text.strip() for text in texts if text.strip()), "")
