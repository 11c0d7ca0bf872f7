"""Write the page of a report: sections of text, tables and pictures in one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.core import files, templates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ReportPicture:
    """A picture of the page; `alt` describes it to people who cannot see it."""

    file: str
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table, with small text below it; `mark` is `better`, `worse` or empty."""

    text: str
    small: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first row and first column are headings.

    Attributes:
        head: The headings of the columns.
        rows: The cells of each row, with its heading first.
        caption: A sentence above the table.
        prose: Whether the cells hold texts, which are aligned to the left; numbers are to the
            right.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    prose: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page; its parts appear in the order of the fields.

    Attributes:
        title: Its heading.
        text: Paragraphs below the title.
        tables: Tables below the text.
        pictures: Pictures below the tables.
        code: Titles, each with a text that is shown verbatim.
        links: Addresses relative to the page, each with its text.
        level: Level of the heading, 2 or 3.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[ReportPicture] = ()
    code: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()
    level: int = 2


def write_page(folder: Path, *, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Write the page of a report, `index.html`.

    Args:
        folder: The report's folder. The image files must be there already.
        title: The heading of the page.
        subtitle: The line below it.
        sections: The sections, in order.
    """
    template = templates.load("page.html.jinja", package="halftone.evaluation.report")
    page = template.render(title=title, subtitle=subtitle, sections=sections)
    files.replace_file(folder / "index.html", page.encode())
