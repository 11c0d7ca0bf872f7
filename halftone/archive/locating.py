"""Finds the files that rows name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from halftone.core import errors, wire
from halftone.core.spelling import find_spelling, suggest_spelling, tidy

DOCUMENT_SUFFIXES: Final = frozenset({".pdf", ".tif", ".tiff"})
"""How the names of files end that may have several pages."""
MAX_DOCUMENT_BYTES: Final = 1 << 30
"""The largest file that may have several pages."""


def file_below(root: Path, *, relative: str, field: str = "file", links: bool = False) -> Path:
    """Return a regular, readable, non-empty file below a folder.

    A name that the folder has in another of Unicode's normal forms is found, too, and one that is
    written with blanks at its ends.

    Args:
        root: The folder, already resolved.
        relative: The file's path relative to it.
        field: The field's name in errors.
        links: Whether symbolic links that stay below the folder may lead to the file. The path that
            is returned leads through none.

    Raises:
        errors.InvalidArgument: The path leads out of the folder or through a link that is not
            allowed, or the file is missing, empty, larger than 32 MiB (a PDF or TIFF: 1 GiB), or
            no regular file. The message says which file may be meant, if one differs in case only.
    """
    meant = tidy(relative)
    if not meant or "\0" in relative:
        raise errors.InvalidArgument(f"{field}: no path is given.", field=field)
    inside = _place(root, relative, field=field)
    if meant != relative and not os.path.lexists(inside):
        relative, inside = meant, _place(root, meant, field=field)
    try:
        real = inside.resolve()
        if real != inside and not links:
            raise errors.InvalidArgument(
                f"{field}: {relative!r} leads through a symbolic link.",
                field=field,
                reason="SYMBOLIC_LINK",
            )
        if not real.is_relative_to(root):
            raise errors.InvalidArgument(
                f"{field}: {relative!r} leads through a symbolic link out of the folder {root}; "
                "copy the file, or import the folder that holds both.",
                field=field,
                reason="SYMBOLIC_LINK",
            )
        status = real.stat(follow_symlinks=False)
    except (OSError, RuntimeError) as error:
        hint = _suggest(root, inside)
        raise errors.InvalidArgument(
            f"{field}: {relative!r} cannot be read: {getattr(error, 'strerror', '') or error}"
            f"{hint}.",
            field=field,
            reason="MISSING_FILE",
        ) from error
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a file"
    elif status.st_size == 0:
        problem = "is empty"
    elif status.st_size > _find_limit(real):
        problem = wire.describe_excess(status.st_size, limit=_find_limit(real))
    if problem:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} {problem}.", field=field, reason="BAD_FILE"
        )
    return real


def _find_limit(path: Path) -> int:
    """Return the most bytes that a file may have, by its name: its pages are sent one by one."""
    several = path.suffix.lower() in DOCUMENT_SUFFIXES
    return MAX_DOCUMENT_BYTES if several else wire.MAX_IMAGE_BYTES


def _place(root: Path, relative: str, *, field: str) -> Path:
    """Return the path that a relative one means, as its folders spell it.

    Raises:
        errors.InvalidArgument: It lies outside of the folder.
    """
    # Backslashes come from manifests written on Windows; few files elsewhere have one.
    path = root / relative
    if "\\" in relative and not os.path.lexists(path):
        path = root / relative.replace("\\", "/")
    inside = Path(os.path.normpath(path))
    if not inside.is_relative_to(root) or inside == root:
        raise errors.InvalidArgument(
            f"{field}: {relative!r} lies outside of the folder {root}.",
            field=field,
            reason="OUTSIDE_FOLDER",
        )
    return find_spelling(inside)


def _suggest(root: Path, inside: Path) -> str:
    """Return which file below a folder may be meant by one that is not there, or ""."""
    try:
        meant = suggest_spelling(inside, root=root)
    except OSError:
        return ""
    return f"; there is {meant.relative_to(root).as_posix()!r}" if meant else ""
