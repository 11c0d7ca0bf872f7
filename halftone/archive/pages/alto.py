"""Reads ALTO, versions 1 to 4, with and without a namespace.

What a picture is called differs between libraries:

- `Illustration`: the BnF, the Staatsbibliothek zu Berlin, FineReader and Tesseract.
- `ComposedBlock` of TYPE `Illustration` around a `GraphicalElement`: docWorks (METAe), and so the
  BnL and many others. A `GraphicalElement` alone is a rule.
- any block with a tag (`TAGREFS`) such as `GraphicZone`: eScriptorium, Kraken (version 4).
- words only: Chronicling America (NDNP). METS may know more (`mets`), or nobody does.

`ComposedBlock` means advertisements, tables and boxes of rules as well.
See https://www.loc.gov/standards/alto/.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.archive.pages import markup
from halftone.archive.pages.model import Block, Box, Kind, Page, Unit, unite
from halftone.archive.pages.vocabulary import classify, find_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

_BLOCKS: Final = ("TextBlock", "Illustration", "GraphicalElement", "ComposedBlock")
_TAG_KINDS: Final = ("LayoutTag", "StructureTag", "RoleTag", "OtherTag", "NamedEntityTag")


def parse(root: Element) -> list[Page]:
    """Return the pages of an ALTO file; most have one.

    Args:
        root: The root element `alto`, see `markup.read`.
    """
    description = root.find("Description")
    unit, image_name = Unit.PIXEL, ""
    if description is not None:
        unit = _parse_unit(markup.read_text(description.find("MeasurementUnit")))
        source = description.find("sourceImageInformation")
        if source is not None:
            image_name = markup.read_text(source.find("fileName"))
    tags = _read_tags(root)
    return [
        _read_page(page, unit=unit, image_name=image_name, tags=tags) for page in root.iter("Page")
    ]


def _parse_unit(text: str) -> Unit:
    try:
        return Unit(text.strip().lower())
    except ValueError:
        return Unit.PIXEL


def _read_tags(root: Element) -> dict[str, str]:
    """Return the labels of tags by their ids."""
    return {
        tag.get("ID", ""): tag.get("LABEL") or tag.get("TYPE") or ""
        for tags in root.iter("Tags")
        for tag in tags
        if tag.tag in _TAG_KINDS
    }


def _read_page(page: Element, *, unit: Unit, image_name: str, tags: dict[str, str]) -> Page:
    width, height = (markup.parse_number(page.get(side)) for side in ("WIDTH", "HEIGHT"))
    reader = _Reader(tags=tags)
    for space in page:
        reader.walk(space)
    return Page(
        image_name=image_name,
        number=(page.get("PRINTED_IMG_NR") or "").strip(),
        size=markup.parse_size(width, height),
        unit=unit,
        blocks=tuple(reader.blocks),
        language=_find_most(reader.languages) or find_language(page.get("LANG")),
    )


def _find_most(words: Counter[str]) -> str:
    return find_language(words.most_common(1)[0][0]) if words else ""


@dataclass(kw_only=True)
class _Reader:
    """Collects the blocks of a page."""

    tags: dict[str, str]
    blocks: list[Block] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)

    def walk(self, parent: Element) -> None:
        for element in parent:
            if element.tag in _BLOCKS:
                self._add(element)

    def _add(self, element: Element) -> None:
        kind, profile = self._classify(element)
        if element.tag == "ComposedBlock" and kind is Kind.PICTURE:
            self._add_composed_picture(element, profile=profile)
            return
        block = self._make(element, kind=kind, profile=profile)
        if block is not None:
            self.blocks.append(block)
        if element.tag == "ComposedBlock":
            self.walk(element)

    def _classify(self, element: Element) -> tuple[Kind, str]:
        """Return what a block holds, and by what that was recognised."""
        for reference in (element.get("TAGREFS") or "").split():
            if kind := classify(self.tags.get(reference)):
                return kind, "alto:tag"
        profile = f"alto:{element.tag}"
        kind = classify(element.get("TYPE"))
        match element.tag:
            case "TextBlock":
                # Some have a type for what is printed in them; a paragraph in a picture is text.
                return kind if kind in (Kind.CAPTION, Kind.ADVERTISEMENT) else Kind.TEXT, profile
            case "Illustration":
                return kind or Kind.PICTURE, profile
            case "ComposedBlock":
                return kind or Kind.OTHER, profile
        return Kind.OTHER, profile

    def _add_composed_picture(self, element: Element, *, profile: str) -> None:
        """Add a picture, or each of several, with the text in their block as its caption."""
        texts = [block for block in self._make_texts(element) if block.text]
        caption = "\n".join(block.text for block in texts)
        pictures = list(element.iter("Illustration"))
        if len(pictures) > 1:
            made = [self._make(each, kind=Kind.PICTURE, profile=profile) for each in pictures]
        else:
            graphics = (_find_box(each) for each in (*pictures, *element.iter("GraphicalElement")))
            box = unite(box for box in graphics if box and box.area) or _find_box(element)
            made = [self._make(element, kind=Kind.PICTURE, profile=profile, box=box)]
        self.blocks += [_with_text(block, text=caption) for block in made if block is not None]
        self.blocks += texts

    def _make_texts(self, element: Element) -> Iterator[Block]:
        for text in element.iter("TextBlock"):
            block = self._make(text, kind=Kind.CAPTION, profile="alto:TextBlock")
            if block is not None:
                yield block

    def _make(
        self, element: Element, *, kind: Kind, profile: str, box: Box | None = None
    ) -> Block | None:
        box = box or _find_box(element)
        if box is None:
            return None
        text, confidence = "", None
        lines: list[Box] = []
        if element.tag == "TextBlock":
            text, lines, confidence = _read_lines(element)
            if language := element.get("LANG") or element.get("language"):
                self.languages[language] += len(text)
        return Block(
            id=element.get("ID", ""),
            kind=kind,
            box=box,
            text=text,
            lines=tuple(lines),
            confidence=confidence,
            profile=profile,
        )


def _with_text(block: Block, *, text: str) -> Block:
    return Block(
        id=block.id, kind=block.kind, box=block.box, text=text or block.text, profile=block.profile
    )


def _find_box(element: Element) -> Box | None:
    """Return a block's box: its own, else that of its shape, else that of what is in it."""
    x, y, width, height = (
        markup.parse_number(element.get(key)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")
    )
    if x is not None and y is not None and width is not None and height is not None:
        return Box(x, y, width, height)
    shape = element.find("Shape")
    polygon = None if shape is None else shape.find("Polygon")
    if polygon is not None and (points := markup.parse_points(polygon.get("POINTS"))):
        return unite(Box(x, y, 0, 0) for x, y in points)
    children: Iterable[Box | None] = (
        _find_box(child) for child in element if child.tag in (*_BLOCKS, "TextLine", "String")
    )
    return unite(box for box in children if box is not None)


def _read_lines(block: Element) -> tuple[str, list[Box], float | None]:
    """Return a block's text, a line of text a line, the boxes of its lines, and confidence."""
    lines, boxes, confidences = [], [], []
    for line in block.iter("TextLine"):
        words = []
        for string in line.iter("String"):
            # A word that is divided between lines is given whole with both parts.
            part = string.get("SUBS_TYPE", "")
            whole = string.get("SUBS_CONTENT")
            if part == "HypPart2" and whole:
                continue
            words.append((whole if part == "HypPart1" and whole else string.get("CONTENT")) or "")
            confidence = markup.parse_number(string.get("WC"))
            if confidence is not None:
                confidences.append(confidence)
        text = " ".join(" ".join(words).split())
        if text:
            lines.append(text)
        if (box := _find_box(line)) is not None:
            boxes.append(box)
    mean = sum(confidences) / len(confidences) if confidences else None
    return "\n".join(lines), boxes, mean
