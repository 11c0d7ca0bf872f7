"""Issues, their pages and the blocks on these, as plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Kind(enum.Enum):
    """What a block of a page holds."""

    PICTURE = "picture"
    ADVERTISEMENT = "advertisement"
    TABLE = "table"
    TEXT = "text"
    CAPTION = "caption"
    OTHER = "other"
    """Rules, frames of rules, noise, containers of other blocks."""


class Box(NamedTuple):
    """A rectangle. Its unit is that of the description that it is from, or pixels once placed."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Return the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Return the lower edge."""
        return self.y + self.height

    @property
    def area(self) -> float:
        """Return the area; 0 for a box without extent."""
        return max(0.0, self.width) * max(0.0, self.height)

    def scale(self, x: float, y: float) -> Box:
        """Return the box with its horizontal and vertical numbers multiplied."""
        return Box(self.x * x, self.y * y, self.width * x, self.height * y)

    def intersect(self, other: Box) -> Box:
        """Return what both boxes cover; without extent if they do not touch."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


def unite(boxes: Iterable[Box]) -> Box | None:
    """Return the smallest box around all boxes; None if there are none."""
    every = list(boxes)
    if not every:
        return None
    left, top = min(box.x for box in every), min(box.y for box in every)
    right, bottom = max(box.right for box in every), max(box.bottom for box in every)
    return Box(left, top, right - left, bottom - top)


class Unit(enum.Enum):
    """The unit of a description's numbers; the values are ALTO's names."""

    PIXEL = "pixel"
    MM10 = "mm10"
    INCH1200 = "inch1200"

    @property
    def per_inch(self) -> float | None:
        """Return how many there are in an inch; None for pixels, whose size is another's."""
        return {Unit.PIXEL: None, Unit.MM10: 254.0, Unit.INCH1200: 1200.0}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a page.

    Attributes:
        id: The block's own id, unique on its page; empty if it has none.
        kind: What it holds.
        box: Where it is.
        text: What was read in it; of a picture, the text that its description calls its caption.
        lines: The boxes of its lines of text.
        confidence: How sure the reading of the text is, 0 to 1; None if that is not said.
        profile: Whose description it is from: `alto`, `mets`, `page`, `iiif` or `layout`, and
            behind a colon the habit by which the block was recognised, for example
            `alto:ComposedBlock`.
    """

    id: str = ""
    kind: Kind
    box: Box
    text: str = ""
    lines: tuple[Box, ...] = ()
    confidence: float | None = None
    profile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, as its description has it.

    Attributes:
        image: The scan; None while none was found.
        image_name: What the description calls the scan; empty if it does not name one.
        description: The file that the blocks are from; None if there is none.
        number: The page's number as it is printed or counted; empty if it is not known.
        size: Its width and height in `unit`; None if the description does not say.
        unit: The unit of `size` and of the blocks' boxes.
        dpi: Pixels of the scan in an inch, horizontally and vertically, if the description knows.
        image_size: The pixels of the image that was described, which may be another one than
            `image`; None if that is not known.
        blocks: The blocks in the order of the description.
        language: The language of most text, as it is written there.
    """

    image: Path | None = None
    image_name: str = ""
    description: Path | None = None
    number: str = ""
    size: tuple[float, float] | None = None
    unit: Unit = Unit.PIXEL
    dpi: tuple[float, float] | None = None
    image_size: tuple[int, int] | None = None
    blocks: tuple[Block, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """An issue, or a folder of pages that belong together.

    Attributes:
        id: Its place: the folder relative to where reading began; empty for that folder itself.
        title: The journal's title.
        date: The date as EDTF; empty if none is known or none could be read.
        date_text: The date as it is written, if it could not be read.
        language: A BCP 47 tag; empty if it is not known.
        rights: What the description says of them.
        pages: The pages in their order.
        notes: Sentences about what could not be used.
    """

    id: str = ""
    title: str = ""
    date: str = ""
    date_text: str = ""
    language: str = ""
    rights: str = ""
    pages: tuple[Page, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def has_pictures(self) -> bool:
        """Return whether any page's description has a picture.

        A description without any, over a whole issue, holds words only.
        """
        return any(block.kind is Kind.PICTURE for page in self.pages for block in page.blocks)
