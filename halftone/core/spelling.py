"""Texts and names of files that differ by Unicode's normal form only.

An é can be one character or an e with an accent behind it, as Macs often have it. Records
and groups are kept in normal form C, and files are found whatever form their names have.
"""

from __future__ import annotations

import contextlib
import functools
import os
import unicodedata
from pathlib import Path
from typing import Any


def compose(text: str) -> str:
    """Return a text in normal form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def compose_all(value: Any) -> Any:
    """Return a value of JSON with all its texts, those of keys too, in normal form C."""
    if isinstance(value, str):
        return compose(value)
    if isinstance(value, list):
        return [compose_all(each) for each in value]
    if isinstance(value, dict):
        return {compose(key): compose_all(each) for key, each in value.items()}
    return value


def find_spelling(path: Path) -> Path:
    """Return a path as its folders spell it, if the two differ by normal form only.

    Each part that is not there as it is written is looked for in other forms. A part that is not
    there in any form, and what follows it, is returned as it is written.

    Args:
        path: An absolute path, or one that is relative to the working directory.
    """
    if path.as_posix().isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        spelling = part
        if not os.path.lexists(found / part):
            with contextlib.suppress(OSError):
                names = _list_composed(found, found.stat().st_mtime_ns)
                spelling = names.get(compose(part), part)
        found /= spelling
    return found


# Rows of a manifest name files of a few folders, one after the other.
@functools.lru_cache(maxsize=4)
def _list_composed(folder: Path, changed: int) -> dict[str, str]:
    """Return the names of what is in a folder, by their composed forms.

    Args:
        folder: The folder.
        changed: When it last changed, so that it is listed again after a change.
    """
    del changed
    return {compose(path.name): path.name for path in folder.iterdir()}
