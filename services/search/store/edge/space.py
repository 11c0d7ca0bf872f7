"""Refuses writes before the disk is full.

Edge writes through mapped memory, where a full disk ends the process (SIGBUS) instead of failing a
call. On a file system in memory (tmpfs) that goes for every page that was never written, in old
files, too.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from pathlib import Path

SMALL_SHARE: Final = 8
"""Changes that need little room, above all deletions, may use all but an eighth of what is kept
free: otherwise a full archive could never be made smaller."""


def check_space(directory: Path, *, least: int) -> None:
    """Check that there is room for a write.

    Args:
        directory: A directory on the disk.
        least: The bytes that have to be free.

    Raises:
        errors.StorageFull: Less is free.
        errors.Unavailable: The directory was deleted while the service ran.
    """
    try:
        free = shutil.disk_usage(directory).free
    except FileNotFoundError as error:
        # Written to files that nobody can open again, it would be acknowledged and lost.
        raise errors.Unavailable(
            f"{directory} was deleted while the service ran.", reason="DATA_GONE"
        ) from error
    if free < least:
        raise errors.StorageFull(
            f"The disk of the data directory has {free // 1024**2} MiB left, less than the "
            f"{least // 1024**2} MiB that are kept free; "
            "what was acknowledged is safe, the rest was not stored."
        )
