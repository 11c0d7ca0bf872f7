"""Reads METS: which files belong to a page, and what blocks of ALTO are called.

The physical structure groups files by page; the logical one names parts, whose areas point to
blocks of ALTO (`BETYPE="IDREF"`) or hold coordinates (`SHAPE="RECT"`). Structures seen:

- ENMAP, docWorks (METAe), BnL: a page is a `div` with its files in `fptr/par/area`; pictures are
  `ILLUSTRATION` with `IMAGE` and `CAPTION`.
- BL: a page's `div` holds its parts; logical parts (`picture`, `advert`) are linked to them by
  `structLink`.
- NDNP: pages are `np:page`, and nothing is said of what is on them.

See https://www.loc.gov/standards/mets/.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.archive.pages import descriptive, markup
from halftone.archive.pages.model import Block, Box, Kind, Page
from halftone.archive.pages.vocabulary import classify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from halftone.archive.pages.descriptive import Description

_IMAGE_SUFFIX: Final = re.compile(
    r"\.(jpe?g|jp2|j2k|jpf|jpx|png|tiff?|webp|gif|bmp|avif|heic)$", re.IGNORECASE
)
_TEXT_SUFFIX: Final = re.compile(r"\.xml$", re.IGNORECASE)
_PAGE_TYPES: Final = ("page", "leaf", "image", "surface", "side")
_WHOLE_TYPES: Final = ("issue", "physsequence", "newspaper", "serial", "volume", "periodical")
_UNTITLED: Final = re.compile(r"untitled|illustration|picture|image|adv\. .*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that METS lists.

    Attributes:
        id: Its id.
        href: Where it is, as it is written.
        is_image: Whether it is a picture; otherwise it is XML of some sort.
        size: Its pixels, if they are told.
        dpi: Its pixels in an inch, if they are told.
    """

    id: str
    href: str
    is_image: bool
    size: tuple[int, int] | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFiles:
    """The files of a page.

    Attributes:
        number: The page's number; empty if there is none.
        images: The scans, in the order of the document.
        texts: The files of XML.
    """

    number: str
    images: tuple[File, ...]
    texts: tuple[File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What METS calls a block.

    Attributes:
        kind: What the block holds.
        title: Its title; empty if it has none.
        captions: The ids of the blocks that are its caption.
    """

    kind: Kind
    title: str = ""
    captions: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Document:
    """A METS file.

    Attributes:
        description: What is known of the issue.
        pages: The files of its pages, in their order.
        marks: What blocks are called, by the id of their file and their own id.
        boxes: Blocks that METS itself places, by the id of the file in whose numbers they are.
    """

    description: Description
    pages: list[PageFiles]
    marks: dict[tuple[str, str], Mark] = field(default_factory=dict)
    boxes: dict[str, list[Block]] = field(default_factory=lambda: defaultdict(list))


def parse(root: Element) -> Document:
    """Return what a METS file says.

    Args:
        root: The root element `mets`, see `markup.read`.
    """
    files = _read_files(root)
    structures = list(root.iter("structMap"))
    sections = {section.get("ID", ""): descriptive.read(section) for section in root.iter("dmdSec")}
    document = Document(
        description=_describe(root, structures=structures, sections=sections),
        pages=_read_pages(structures, files=files, sections=sections),
    )
    reader = _Parts(document=document, links=_read_links(root), structures=structures)
    for structure in structures:
        for div in structure.findall("div"):
            reader.walk(div)
    return document


def mark(page: Page, *, marks: dict[str, Mark], boxes: Sequence[Block]) -> Page:
    """Return a page whose blocks are what METS calls them.

    Args:
        page: The page, from ALTO.
        marks: What blocks are called, by their ids.
        boxes: Further blocks of the page.
    """
    texts = {block.id: block.text for block in page.blocks if block.id}
    blocks = []
    for block in page.blocks:
        known = marks.get(block.id) if block.id else None
        if known is None or (known.kind is Kind.TEXT and block.kind is not Kind.TEXT):
            blocks.append(block)
            continue
        # What ALTO itself calls a picture is one also within an advertisement.
        keeps = block.kind is Kind.PICTURE and known.kind is Kind.ADVERTISEMENT
        caption = "\n".join(filter(None, (texts.get(each) for each in known.captions)))
        is_new = known.kind is not block.kind and not keeps
        blocks.append(
            dataclasses.replace(
                block,
                kind=block.kind if keeps else known.kind,
                text=caption or block.text or known.title,
                profile="mets:div" if is_new else block.profile,
            )
        )
    return dataclasses.replace(page, blocks=(*blocks, *boxes))


def _read_files(root: Element) -> dict[str, File]:
    technical = {
        section.get("ID", ""): section
        for name in ("amdSec", "techMD")
        for section in root.iter(name)
    }
    files = {}
    for element in root.iter("file"):
        place = element.find("FLocat")
        if place is None:
            continue
        href = place.get("href", "")
        kind = element.get("MIMETYPE", "").lower()
        is_image = kind.startswith("image/") or bool(_IMAGE_SUFFIX.search(href))
        if not is_image and "xml" not in kind and not _TEXT_SUFFIX.search(href):
            continue
        size, dpi = None, None
        for reference in element.get("ADMID", "").split():
            if is_image and reference in technical:
                found_size, found_dpi = _read_technical(technical[reference])
                size, dpi = size or found_size, dpi or found_dpi
        identifier = element.get("ID", "")
        files[identifier] = File(id=identifier, href=href, is_image=is_image, size=size, dpi=dpi)
    return files


def _read_technical(section: Element) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """Return the pixels and the resolution that MIX tells of a scan."""

    def number(*names: str) -> float | None:
        for name in names:
            for element in section.iter(name):
                over = markup.parse_number(element.findtext("denominator")) or 1
                text = element.findtext("numerator") or element.text
                value = markup.parse_number(text)
                if value and value > 0 and over > 0:
                    return value / over
        return None

    width, height = number("imageWidth", "ImageWidth"), number("imageHeight", "ImageHeight")
    unit = next((markup.read_text(each) for each in section.iter("samplingFrequencyUnit")), "")
    factor = 2.54 if unit.lower().startswith(("cm", "3", "centi")) else 1.0
    across = number("xOpticalResolution", "xSamplingFrequency", "XSamplingFrequency")
    down = number("yOpticalResolution", "ySamplingFrequency", "YSamplingFrequency") or across
    size = markup.parse_size(width, height)
    return (
        (round(size[0]), round(size[1])) if size else None,
        (across * factor, down * factor) if across and down else None,
    )


def _describe(
    root: Element, *, structures: Sequence[Element], sections: dict[str, Description]
) -> Description:
    """Return what is said of the whole, and not of one of its parts."""
    wholes = []
    for structure in structures:
        for div in structure.iter("div"):
            kind = _fold(div.get("TYPE"))
            if kind in _WHOLE_TYPES:
                known = [sections[each] for each in _references(div) if each in sections]
                wholes += [(_WHOLE_TYPES.index(kind), each) for each in known]
    wholes.sort(key=lambda each: each[0])
    ordered = [each for _, each in wholes]
    if not any(each.title and each.date for each in ordered):
        ordered += [each for each in sections.values() if each.date] + list(sections.values())[:1]
    return descriptive.merge(ordered, label=root.get("LABEL", ""))


def _fold(text: str | None) -> str:
    return re.sub(r"[^a-z]", "", (text or "").lower().rpartition(":")[2])


def _references(div: Element) -> list[str]:
    return div.get("DMDID", "").split()


def _is_page(div: Element) -> bool:
    kind = _fold(div.get("TYPE"))
    return kind in _PAGE_TYPES or kind.endswith("page")


def _read_pages(
    structures: Sequence[Element], *, files: dict[str, File], sections: dict[str, Description]
) -> list[PageFiles]:
    physical = [each for each in structures if _fold(each.get("TYPE")) == "physical"]
    for structure in physical or structures:
        divs = [div for div in structure.iter("div") if _is_page(div)]
        inner = {id(each) for div in divs for each in div.iter("div") if each is not div}
        pages = [
            _read_page(div, files=files, sections=sections) for div in divs if id(div) not in inner
        ]
        pages = [page for page in pages if page.images or page.texts]
        if pages:
            return pages
    return []


def _read_page(
    div: Element, *, files: dict[str, File], sections: dict[str, Description]
) -> PageFiles:
    pointers = [each for each in div.iter() if each.tag in {"fptr", "area"}]
    ids = dict.fromkeys(each.get("FILEID", "") for each in pointers)
    own = [files[each] for each in ids if each in files]
    described = (sections[each].page for each in _references(div) if each in sections)
    number = next(filter(None, described), "") or div.get("ORDERLABEL") or div.get("ORDER") or ""
    return PageFiles(
        number=" ".join(number.split()),
        images=tuple(file for file in own if file.is_image),
        texts=tuple(file for file in own if not file.is_image),
    )


def _read_links(root: Element) -> dict[str, list[str]]:
    """Return which parts belong together, by their ids, in both directions."""
    links: dict[str, list[str]] = defaultdict(list)
    for link in root.iter("smLink"):
        begin, end = link.get("from", "").lstrip("#"), link.get("to", "").lstrip("#")
        links[begin].append(end)
        links[end].append(begin)
    for group in root.iter("smLinkGrp"):
        ends = [each.get("href", "").lstrip("#") for each in group.iter("smLocatorLink")]
        for end in ends:
            links[end] += [other for other in ends if other != end]
    return links


@dataclass(kw_only=True)
class _Parts:
    """Collects what parts of the logical structure are called."""

    document: Document
    links: dict[str, list[str]]
    structures: Sequence[Element]
    divs: dict[str, Element] = field(init=False)

    def __post_init__(self) -> None:
        self.divs = {
            div.get("ID", ""): div for structure in self.structures for div in structure.iter("div")
        }

    def walk(self, div: Element) -> None:
        kind = classify(div.get("TYPE"))
        if kind is Kind.CAPTION:
            kind = None
        if kind in (Kind.PICTURE, Kind.ADVERTISEMENT, Kind.TABLE):
            self._add(div, kind=kind)
        for child in div.findall("div"):
            # The image of a table is the table.
            if kind is None or classify(child.get("TYPE")) is not Kind.PICTURE:
                self.walk(child)

    def _add(self, div: Element, *, kind: Kind) -> None:
        label = div.get("LABEL", "").strip()
        title = "" if _UNTITLED.fullmatch(label) else label
        captions, places = [], []
        for area, role in self._list_areas(div):
            block = area.get("BEGIN", "")
            file = area.get("FILEID", "")
            if role is Kind.CAPTION:
                captions.append(block)
            elif box := _read_rectangle(area):
                self.document.boxes[file].append(
                    Block(id=div.get("ID", ""), kind=kind, box=box, text=title, profile="mets:area")
                )
            elif block:
                places.append((file, block))
        for place in places:
            known = Mark(kind=kind, title=title, captions=tuple(captions))
            self.document.marks.setdefault(place, known)

    def _list_areas(self, div: Element) -> Iterator[tuple[Element, Kind | None]]:
        """Yield the areas of a part and of what it is linked to; captions are said to be some."""
        linked = (self.divs.get(each) for each in self.links.get(div.get("ID", ""), ()))
        yield from _walk_areas(div, role=None)
        for part in linked:
            # A link to a whole page says nothing of where on it.
            if part is not None and not _is_page(part):
                yield from _walk_areas(part, role=None)


def _walk_areas(div: Element, *, role: Kind | None) -> Iterator[tuple[Element, Kind | None]]:
    for pointer in div.findall("fptr"):
        yield from ((area, role) for area in pointer.iter("area"))
    for child in div.findall("div"):
        kind = classify(child.get("TYPE"))
        yield from _walk_areas(child, role=Kind.CAPTION if kind is Kind.CAPTION else role)


def _read_rectangle(area: Element) -> Box | None:
    """Return the box of an area: METS gives the upper left and the lower right corner."""
    if area.get("SHAPE", "").upper() != "RECT":
        return None
    points = markup.parse_points(area.get("COORDS"))
    if len(points) != 2:  # noqa: PLR2004 - corners
        return None
    (x0, y0), (x1, y1) = points
    return Box(min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
