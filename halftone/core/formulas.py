"""Guards cells of tables: a spreadsheet runs what looks like a formula to it.

A caption of the archive is written by anybody, and `=HYPERLINK(…)` in it would be run with the
rights of whoever opens the table. A guarded cell has an apostrophe before it, by which spreadsheets
mark texts; `unguard` takes it off again.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

GUARDED: Final = "guarded"
"""The column of a table of ours that is read again: `1` in a row with guarded cells."""

# The last four are the full-width forms, which East Asian versions of spreadsheets take for the
# others.
_SIGNS: Final = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
_FULL_WIDTH: Final = ("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")
_MARK: Final = "'"
_BLANK: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def guard(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"{_MARK}{text}" if _is_dangerous(text) else text


def unguard(text: str) -> str:
    """Return the text of which `guard` has made this one."""
    return text[1:] if text.startswith(_MARK) and _is_dangerous(text[1:]) else text


def guard_row(cells: Iterable[str]) -> list[str]:
    """Return the cells of a row, guarded, and that of the column `GUARDED` behind them."""
    plain = list(cells)
    row = [guard(cell) for cell in plain]
    return [*row, "1" if row != plain else ""]


def _is_dangerous(text: str) -> bool:
    """Return whether a text, or what marks lie before, is a formula to some spreadsheet.

    Some drop blanks, line breaks and invisible characters first. A text that begins with one of our
    marks counts by what follows, so that a guarded text can be told from one that was so before.
    """
    start = 0
    while start < len(text) and (
        text[start] == _MARK or unicodedata.category(text[start]) in _BLANK
    ):
        start += 1
    # A tab or a line break before anything may begin a cell of its own.
    return text[start:].startswith((*_SIGNS, *_FULL_WIDTH)) or text.lstrip(_MARK)[:1] in {
        "\t",
        "\r",
        "\n",
    }
