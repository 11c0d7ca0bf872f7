"""Decides which picture bytes are kept: a record has them, or an import is storing them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.services.search.store.port import AnyOf, Filter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from halftone.services.search.archive.blobs import Blobs
    from halftone.services.search.archive.open_collections import OpenCollections

_log = telemetry.get_logger(__name__)


class Originals:
    """Deletes picture bytes that are no longer needed. Its calls block; run them in threads."""

    def __init__(self, *, blobs: Blobs, collections: OpenCollections) -> None:
        self._blobs = blobs
        self._collections = collections
        self._pins: Counter[str] = Counter()
        self._lock = threading.Lock()

    def pin(self, shas: Iterable[str]) -> None:
        """Keep bytes until `unpin`, even if no record refers to them yet.

        Args:
            shas: The SHA-256 of each picture. Pinning one twice requires unpinning it twice.
        """
        with self._lock:
            self._pins.update(shas)

    def unpin(self, shas: Iterable[str]) -> None:
        """Release pins. The bytes stay; see `drop_unused`."""
        with self._lock:
            self._pins.subtract(shas)
            self._pins += Counter()

    def drop_unused(self, shas: Iterable[str]) -> None:
        """Delete the bytes with these hashes, unless a record refers to them or they are pinned.

        A failure to delete is only logged: the records have been changed by then, and the caller
        must not be told that the change failed.
        """
        for sha256 in shas:
            # The lock is held during the deletion. So an import that pins the bytes after this
            # check stores them again after they are gone.
            with self._lock:
                if self._pins[sha256]:
                    continue
                try:
                    condition = Filter(must=(AnyOf("sha256", (sha256,)),))
                    if self._collections.active.count(condition) == 0:
                        self._blobs.delete(sha256)
                except errors.HalftoneError as error:
                    _log.warning("bytes_not_dropped", sha256=sha256, error=error.message)
                    if isinstance(error, errors.Unavailable):
                        # The store would be waited for once more for each of the others.
                        return
