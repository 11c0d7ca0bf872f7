"""Notices that data was deleted or replaced under a running service.

A process goes on with files that are deleted while it has them open: searches are answered and
imports acknowledged, and all of it is gone with the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GONE: Final = "DATA_GONE"
"""The reason of the error if data was deleted under the service."""


class Landmarks:
    """Files and folders that stay the same ones for as long as the service runs."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Choose the landmarks.

        Args:
            paths: The paths. One that is not there yet counts from the first check that sees it.
        """
        self._seen: dict[Path, tuple[int, int] | None] = dict.fromkeys(paths)

    def check(self) -> None:
        """Check that every landmark that was seen before is there. Blocks.

        Raises:
            errors.Unavailable: One is gone, or another file or folder has taken its place.
        """
        for path, before in self._seen.items():
            try:
                status = path.stat()
            except FileNotFoundError:
                if before is not None:
                    raise _make_error(path, what="is gone") from None
                continue
            except OSError as error:
                raise _make_error(path, what=f"cannot be read ({error.strerror})") from error
            now = (status.st_dev, status.st_ino)
            if before is not None and before != now:
                raise _make_error(path, what="was replaced by another one")
            self._seen[path] = now


def _make_error(path: Path, *, what: str) -> errors.Unavailable:
    return errors.Unavailable(
        f"{path} {what}. What is stored from now on would be lost: restore the data, and start the "
        "service again.",
        reason=GONE,
    )
