"""Makes texts of the archive fit for a line and for a terminal.

Captions and journals hold what somebody typed or a scanner read: line breaks, tabs, and at worst
the codes by which a terminal is told to clear its screen or to rename its window.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from halftone.client import ImageRecord

_FIRST_PICTURE: Final = 0x2400
"""The code point from which Unicode has a visible picture of each control character."""
# A terminal takes the codes from 0x80 to 0x9f for the beginning of commands, too.
_VISIBLE: Final = {
    **{code: chr(_FIRST_PICTURE + code) for code in range(0x20)},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}"),
    # These turn the order of what is shown: `exe.gpj` can be made to look like `jpg.exe`.
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}"),
    **dict.fromkeys((0x2028, 0x2029), "\n"),
    ord("\t"): " ",
    ord("\n"): "\n",
}


def flatten(text: str) -> str:
    """Return a text on one line, with a space in place of line breaks, tabs and several spaces."""
    return " ".join(text.split())


def flatten_record(record: ImageRecord) -> ImageRecord:
    """Return a record whose fields that tables show stand on one line each."""
    return dataclasses.replace(
        record,
        journal=flatten(record.journal),
        date=flatten(record.date),
        page=flatten(record.page),
        caption=flatten(record.caption),
    )


def show_controls(text: str) -> str:
    """Return a text that can tell a terminal nothing: control characters become visible ones.

    Line breaks stay. A tab, whose width depends on where it stands, becomes a space.
    """
    return text.replace("\r\n", "\n").translate(_VISIBLE)
