"""Sheets of page scans with the boxes of what is on them, as one HTML page.

It is self-contained as a contact sheet is: pictures are inlined, nothing is fetched, no script
runs.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import halftone
from halftone.core import files, templates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE: Final = 900
"""The longer side in pixels of a page on a sheet."""


KINDS: Final = ("picture", "caption", "advertisement", "table", "text", "other")
"""The kinds of boxes, which are drawn differently."""


@dataclass(frozen=True, kw_only=True)
class DrawnBox:
    """A box on a page, in pixels of the scan.

    Attributes:
        x: The left edge.
        y: The upper edge.
        width: The width.
        height: The height.
        kind: What is in it, for example `picture` or `text`.
        label: What is written beside it; empty for nothing.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class DrawnPage:
    """A page with its boxes.

    Attributes:
        picture: A small JPEG of the scan; empty if the scan cannot be used.
        size: The width and height of the scan in pixels.
        title: The heading, for example the image id.
        lines: What is known of the page, a line each.
        boxes: The boxes on it.
        captions: The captions of its pictures, a line each.
    """

    picture: bytes
    size: tuple[int, int]
    title: str
    lines: tuple[str, ...] = ()
    boxes: tuple[DrawnBox, ...] = ()
    captions: tuple[str, ...] = ()

    @property
    def data_uri(self) -> str:
        """Return the scan as a `data:` URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.picture).decode()


def write_html(
    pages: Sequence[DrawnPage],
    path: Path,
    *,
    title: str,
    note: str,
    remarks: Sequence[str] = (),
) -> None:
    """Write a sheet of pages as one HTML page.

    Args:
        pages: The pages in their order.
        path: The file; its folder is made if it is missing.
        title: The heading.
        note: The line below the heading.
        remarks: What was noticed, for example that boxes lie outside of their pages.
    """
    template = templates.load("page-sheet.html.jinja", package="halftone.rendering")
    page = template.render(
        title=title,
        note=note,
        pages=pages,
        kinds=KINDS,
        remarks=remarks,
        version=halftone.__version__,
    )
    files.write_output(path, page.encode())
