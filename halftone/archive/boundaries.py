"""Keeps data sets from naming files outside the directories that they may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Boundary:
    """Tells which files lie below one of the roots, with symbolic links resolved.

    Each root and each folder is resolved once, since that asks the disk for every part of a path.

    Args:
        roots: The directories; without any, every file lies within the boundary.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._folders: dict[Path, Path] = {}

    def has(self, path: Path) -> bool:
        """Return whether a file lies below one of the roots."""
        if not self._roots:
            return True
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = path.parent.resolve()
        found = folder / path.name
        if path.name == ".." or found.is_symlink():
            found = path.resolve()
        return any(found.is_relative_to(root) for root in self._roots)
