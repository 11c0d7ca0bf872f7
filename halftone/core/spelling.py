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
from typing import Any, Final

# Byte order mark, zero-width space, word joiner, marks of direction.
_INVISIBLE: Final = "\ufeff\u200b\u2060\u200e\u200f"


def compose(text: str) -> str:
    """Return a text in normal form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def tidy(text: str) -> str:
    """Return a text in normal form C, without blanks and invisible marks at its ends.

    Byte order marks come into the middle of files that were put together of several.
    """
    composed = compose(text).strip()
    while composed and composed[0] in _INVISIBLE:
        composed = composed[1:].lstrip()
    while composed and composed[-1] in _INVISIBLE:
        composed = composed[:-1].rstrip()
    return composed


def collapse(text: str) -> str:
    """Return a text on one line, with one space where it has several, tabs or line breaks.

    What is counted by its text, as journals are, shall not count twice for a second space.
    """
    return " ".join(text.split())


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


def suggest_spelling(path: Path, *, root: Path) -> Path | None:
    """Return the file that a path may mean: another case, or another suffix for the same format.

    Args:
        path: The path of a file that is not there.
        root: A folder above it, which is spelled rightly.

    Returns:
        A file that is there; None if there is none, or more than one.
    """
    found = [root]
    for part in path.relative_to(root).parts:
        following: list[Path] = []
        for folder in found:
            with contextlib.suppress(OSError):
                if (folder / part).exists():
                    following.append(folder / part)
                    continue
                names = _list_folded(folder, folder.stat().st_mtime_ns)
                following += [folder / name for name in names.get(_fold(part), ())]
        found = following
    if not found:
        found = _list_other_suffixes(path)
    return found[0] if len(found) == 1 else None


def _list_other_suffixes(path: Path) -> list[Path]:
    same = next((group for group in _SUFFIXES if path.suffix.lower() in group), ())
    return [other for suffix in same if (other := path.with_suffix(suffix)).is_file()]


_SUFFIXES: Final = ((".jpg", ".jpeg", ".JPG", ".JPEG"), (".tif", ".tiff", ".TIF", ".TIFF"))


def _fold(name: str) -> str:
    return compose(compose(name).casefold())


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


@functools.lru_cache(maxsize=4)
def _list_folded(folder: Path, changed: int) -> dict[str, list[str]]:
    """Return the names of what is in a folder, by their forms without case; see above."""
    del changed
    names: dict[str, list[str]] = {}
    for path in folder.iterdir():
        names.setdefault(_fold(path.name), []).append(path.name)
    return names
