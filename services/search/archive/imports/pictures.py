"""Keeps the bytes and fingerprints of imported pictures, which are needed besides embeddings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.core.bugs import conceal_bug

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any, TypeVar

    from halftone.services.search.archive.fingerprints import Fingerprints, Print
    from halftone.services.search.archive.holdings import Holdings
    from halftone.services.search.archive.imports.entry import Entry

    T = TypeVar("T")

_log = telemetry.get_logger(__name__)


class PictureKeeper:
    """Keeps the bytes and fingerprints of pictures that are imported."""

    def __init__(self, *, holdings: Holdings, fingerprints: Fingerprints) -> None:
        self._blobs = holdings.blobs
        self._originals = holdings.originals
        self._threads = holdings.threads
        self._fingerprints = fingerprints

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Write pictures to the blob store. If one fails, the error becomes its entry's outcome.

        The caller must have pinned the bytes (`Originals.pin`), or a stored record must have them.
        """

        async def keep_one(entry: Entry) -> None:
            try:
                await self._threads.complete(self._blobs.put, entry.content, sha256=entry.sha256)
            except Exception as error:  # noqa: BLE001 - every record is answered
                entry.outcome = conceal_bug(error, image=entry.name)

        await _run_all(keep_one, entries)

    async def keep_lost(self, entries: Sequence[Entry]) -> None:
        """Write the pictures of stored records again if they are missing or damaged.

        The check costs one call to the file system for each record.
        """

        async def is_lost(entry: Entry) -> bool:
            try:
                return not await self._threads.in_thread(
                    self._blobs.is_intact, entry.sha256, size=len(entry.content)
                )
            except errors.HalftoneError as error:
                entry.outcome = error
                return False

        answers = await asyncio.gather(*map(is_lost, entries))
        lost = [entry for entry, answer in zip(entries, answers, strict=True) if answer]
        if not lost:
            return
        _log.warning("bytes_kept_again", images=[entry.name for entry in lost])
        pinned = [entry.sha256 for entry in lost]

        def unpin() -> None:
            self._originals.unpin(pinned)
            # The records may have been deleted meanwhile.
            self._originals.drop_unused(set(pinned))

        try:
            await self._threads.complete(self._originals.pin, pinned)
            await self.keep(lost)
        finally:
            await self._threads.write("unpin", unpin)

    async def fingerprint(self, entries: Sequence[Entry]) -> list[Print | None]:
        """Return the fingerprints of pictures, and keep their local features.

        A picture that cannot be fingerprinted has None: its record is stored all the same and can
        be found by its descriptor, and its features are computed when they are needed.
        """

        async def fingerprint_one(entry: Entry) -> Print | None:
            made: Print | None = None
            try:
                made = await self._threads.compute(
                    self._fingerprints.of_archive, entry.content, sha256=entry.sha256
                )
                if made.unkept is not None:
                    await self._threads.complete(
                        self._fingerprints.keep, made.unkept, sha256=entry.sha256
                    )
            except errors.ImageRejected:
                # The embedder reports the reason. If it accepts the picture, it is imported.
                _log.info("not_fingerprinted", image=entry.name)
            except Exception as error:  # noqa: BLE001 - see above
                _log.exception("not_fingerprinted", image=entry.name, error=str(error))
            return made

        return await _run_all(fingerprint_one, entries)


async def _run_all(
    call: Callable[[Entry], Coroutine[Any, Any, T]], entries: Sequence[Entry]
) -> list[T]:
    """Call a function for all entries at a time. All calls end, even if this is cancelled."""
    results: list[T] = []
    for result in await asyncio.gather(*map(call, entries), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results
