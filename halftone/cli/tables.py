"""Prints tables that fit the terminal, and never cuts what the next command needs.

A table that is too broad is laid out again: by another layout that its caller gives, at last with
several lines for each row. Names, ids and figures stand whole in every layout, so that they can be
copied.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.table import Table
from rich.text import Text

from halftone.rendering import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

_LEAST_TEXT: Final = 24
"""The fewest characters of a column of text that is wrapped beside others."""
_GAP: Final = 2
_INDENT: Final = 6


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: The heading.
        right: Whether the cells are aligned to the right, as figures are.
        wraps: Whether a cell may be wrapped.
        least: The fewest characters of a column that wraps.
        most: The characters after which a cell is cut. Only for texts that nobody types again.
    """

    title: str = ""
    right: bool = False
    wraps: bool = False
    least: int = _LEAST_TEXT
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a table, and the cells of its rows.

    Attributes:
        columns: The columns from left to right.
        rows: The cells of each row. A cell may have several lines.
        styles: Rich's style of each row; empty if no row has one.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str] = ()

    def fits(self, width: int) -> bool:
        """Return whether a terminal of `width` characters has room for all columns."""
        return sum(map(self._find_least, range(len(self.columns)))) <= width

    def _find_least(self, column: int) -> int:
        """Return the characters that a column needs at least, with its margins."""
        widest = self.find_width(column)
        if self.columns[column].wraps:
            widest = min(widest, self.columns[column].least)
        return widest + _GAP

    def find_width(self, column: int) -> int:
        """Return the width of a column whose cells are not wrapped, in characters."""
        cells = (self.columns[column].title, *(row[column] for row in self.rows))
        widest = measure(line for cell in cells for line in cell.split("\n"))
        most = self.columns[column].most
        return widest if most is None else min(widest, most)


def print_table(console: Console, *layouts: Layout) -> None:
    """Print a table in the first of its layouts that fits.

    If none fits, each row of the last one takes several lines.

    Args:
        console: The console to print on.
        layouts: The same table, the broadest layout first.
    """
    cleaned = [
        dataclasses.replace(
            layout, rows=[[texts.show_controls(cell) for cell in row] for row in layout.rows]
        )
        for layout in layouts
    ]
    for layout in cleaned:
        if layout.fits(console.width):
            console.print(_make_table(layout))
            return
    _print_stacked(console, cleaned[-1])


def print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Print the facts of one thing: the name of each on the left, its value on the right.

    Values are wrapped between words. A word that is longer than the line, for example an image's
    name, is left whole for the terminal to wrap.

    Args:
        console: The console to print on.
        facts: The names and values. A value may have several lines.
    """
    pairs = [(texts.show_controls(name), texts.show_controls(value)) for name, value in facts]
    left = measure(name for name, _ in pairs) + _GAP
    for name, value in pairs:
        lines = _wrap(value, width=console.width - left)
        key = (set_cell_size(name, left), "dim")
        console.print(Text.assemble(key, lines[0]), soft_wrap=True)
        for line in lines[1:]:
            console.print(" " * left + line, soft_wrap=True)


def _make_table(layout: Layout) -> Table:
    table = Table(box=None)
    for column in layout.columns:
        options: dict[str, Any] = {"justify": "right"} if column.right else {}
        if column.wraps:
            options["overflow"] = "fold"
        else:
            options |= {"no_wrap": True, "overflow": "ellipsis"}
        table.add_column(column.title, max_width=column.most, **options)
    for at, row in enumerate(layout.rows):
        table.add_row(*row, style=layout.styles[at] if layout.styles else None)
    return table


def _print_stacked(console: Console, layout: Layout) -> None:
    """Print each row on several lines: as many columns beside each other as there is room for."""
    lines = _pack(layout, width=console.width)
    titles = [column.title for column in layout.columns]
    styles = layout.styles or [""] * len(layout.rows)
    for cells, style in ((titles, "bold"), *zip(layout.rows, styles, strict=True)):
        for number, columns in enumerate(lines):
            indent = _INDENT if number else 1
            for line in _draw(layout, cells, columns=columns, console=console, indent=indent):
                if line.strip():
                    console.print(" " * indent + line.rstrip(), style=style, soft_wrap=True)


def _pack(layout: Layout, *, width: int) -> list[list[int]]:
    """Return the columns of each line. A column that wraps has a line of its own."""
    lines: list[list[int]] = [[]]
    used = 1
    for number, column in enumerate(layout.columns):
        room = layout.find_width(number) + _GAP
        own_line = column.wraps or (lines[-1] and layout.columns[lines[-1][-1]].wraps)
        if lines[-1] and (own_line or used + room - _GAP > width):
            lines.append([])
            used = _INDENT
        lines[-1].append(number)
        used += room
    return lines


def _draw(
    layout: Layout, cells: Sequence[str], *, columns: Sequence[int], console: Console, indent: int
) -> list[str]:
    """Return the lines on which some cells of a row stand beside each other."""
    room = console.width - indent
    if len(columns) == 1 and layout.columns[columns[0]].wraps:
        return _wrap(cells[columns[0]], width=room)
    parts = [cells[column].split("\n") for column in columns]
    lines = []
    for at in range(max(map(len, parts))):
        line = ""
        for column, part in zip(columns, parts, strict=True):
            text = part[at] if at < len(part) else ""
            width = layout.find_width(column)
            most = layout.columns[column].most
            if most is not None and cell_len(text) > min(most, room):
                text = set_cell_size(text, min(most, room) - 1) + "…"
            blank = " " * max(width - cell_len(text), 0)
            line += (blank + text if layout.columns[column].right else text + blank) + " " * _GAP
        lines.append(line)
    return lines


def _wrap(text: str, *, width: int) -> list[str]:
    """Return the lines of a text, broken between words, and between wide characters.

    Chinese and Japanese have no spaces. Unlike with `textwrap`, their characters count two cells.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if cell_len(line) <= width:
            lines.append(line)
            continue
        lines.append("")
        for word in line.split():
            longer = f"{lines[-1]} {word}".lstrip()
            if cell_len(longer) <= width:
                lines[-1] = longer
                continue
            # What has a slash is a name, whatever it is written in.
            broken = chop_cells(word, width) if _is_wide(word) and "/" not in word else [word]
            lines += [""] * bool(lines[-1])
            lines[-1:] = broken
    return lines


def _is_wide(word: str) -> bool:
    return cell_len(word) > len(word)


def measure(lines: Iterable[str]) -> int:
    """Return the cells that the longest of some lines takes; a wide character takes two."""
    return max(map(cell_len, lines), default=0)
