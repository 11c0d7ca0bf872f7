"""Reads the fields of rows as they are meant, whichever program wrote them.

pandas writes `NaN` for what is missing and `3.0` for 3, spreadsheets leave blanks and `#N/A`, and
files that were put together of several have byte order marks in the middle.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from halftone.core.spelling import compose, tidy

if TYPE_CHECKING:
    from collections.abc import Collection

MISSING: Final = frozenset({"nan", "NaN", "NAN", "NaT", "<NA>", "#N/A"})
"""The words that pandas and spreadsheets write where there is nothing.

`None`, `null` and `NA` are left: they are words of their own, `none` even in a column of ours.
"""
_WHOLE: Final = re.compile(r"([0-9]+)[.,]0+")


def tidy_fields(row: dict[str, Any], *, known: Collection[str]) -> dict[str, Any]:
    """Return the fields of a row as they are meant.

    Texts are in Unicode's normal form C and without blanks at their ends, what is missing is None,
    and whole numbers are whole. The field `file` keeps its text: a name may begin with a blank.

    Args:
        row: The fields by name.
        known: Names in lower case. A field that is called so in another case is one of them, if the
            row has no other value for it.
    """
    tidied: dict[str, Any] = {}
    for key, value in row.items():
        name = tidy(key)
        if name.lower() in known:
            name = name.lower()
        meant = _tidy_path(value) if name == "file" else tidy_value(value)
        before = tidied.get(name)
        if before is None:
            tidied[name] = meant
        elif meant is not None and meant != before:
            values = [*(before if isinstance(before, list) else [before])]
            tidied[name] = [*values, *(meant if isinstance(meant, list) else [meant])]
    return tidied


def tidy_value(value: Any) -> Any:
    """Return a value of JSON, or a cell, as it is meant; None where it says that it is missing."""
    if isinstance(value, str):
        text = tidy(value)
        return None if not text or text in MISSING else text
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [meant for each in value if (meant := tidy_value(each)) is not None]
    if isinstance(value, dict):
        return {tidy(key): tidy_value(each) for key, each in value.items()}
    return value


def _tidy_path(value: Any) -> Any:
    # The file may be there under the name as it is written only.
    meant = tidy_value(value)
    return value if isinstance(value, str) and isinstance(meant, str) else meant


def read_whole(text: str) -> str | None:
    """Return the whole number that a text such as `3.0` means, or None."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else None


def to_text(value: object) -> str:
    """Return a value of JSON as the text that a record keeps."""
    if isinstance(value, bool):
        return str(value).lower()
    return compose(str(value)).strip()
