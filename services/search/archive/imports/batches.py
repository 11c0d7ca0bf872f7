"""Stores one batch of records.

A record may be stored already, under the same name and with the same picture. Then only its fields
are written, and only if they differ. The pictures of all other records are embedded and
fingerprinted while their bytes are written. Then these records are stored in one call.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.core import errors
from halftone.core.bugs import conceal_bug
from halftone.imaging.orientations import UPRIGHT
from halftone.services.search.archive import payload as payloads
from halftone.services.search.archive.imports.embedding import PictureEmbedder
from halftone.services.search.archive.imports.entry import State, finish
from halftone.services.search.archive.imports.pictures import PictureKeeper
from halftone.services.search.archive.patience import CHANGED_MEANWHILE, insist
from halftone.services.search.archive.record_writer import Draft

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    from halftone.services.search.archive.fingerprints import Print
    from halftone.services.search.archive.imports.embedding import Vectors
    from halftone.services.search.archive.imports.entry import Entry
    from halftone.services.search.archive.parts import Parts
    from halftone.services.search.archive.patience import Outage
    from halftone.services.search.store.port import Payload

    T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outages:
    """The outages that the batches of one import share, so that together they wait only once.

    Attributes:
        embedder: The outage of the embedder.
        store: The outage of the store.
    """

    embedder: Outage
    store: Outage


class BatchImporter:
    """Stores batches of records."""

    def __init__(self, parts: Parts) -> None:
        holdings = parts.holdings
        self._collections = holdings.collections
        self._originals = holdings.originals
        self._threads = holdings.threads
        self._writer = holdings.writer
        self._embedder = PictureEmbedder(parts.embedder, collections=holdings.collections)
        self._keeper = PictureKeeper(holdings=holdings, fingerprints=parts.fingerprints)
        self._without_fingerprint = parts.metrics.counter(
            "import_fingerprint_failures_total",
            "Imported records whose picture could not be fingerprinted: found by descriptor alone",
        )
        self._retries = parts.metrics.counter(
            "import_store_retries_total",
            "Calls to the store that imports made again, since it did not answer",
            labels=("reason",),
        )

    async def store(self, batch: Sequence[Entry], *, outages: Outages) -> None:
        """Store the records of a batch and give every entry an outcome.

        A store or an embedder that does not answer is asked again for as long as its outage
        allows. An error that concerns the whole batch becomes the outcome of each entry that has
        none.
        """
        try:
            await self._store(batch, outages=outages)
        except Exception as error:  # noqa: BLE001 - every record is answered, also when there is a bug
            finish(batch, conceal_bug(error, images=f"{len(batch)} records"))

    async def _insist(self, call: Callable[[], Awaitable[T]], *, outages: Outages) -> T:
        """Make a call to the store, again and again while the store does not answer."""
        return await insist(
            call,
            outage=outages.store,
            on_retry=lambda error: self._retries.labels(error.reason).inc(),
        )

    async def _store(self, batch: Sequence[Entry], *, outages: Outages) -> None:
        ids = [entry.point_id for entry in batch if entry.is_open and entry.point_id]
        if not ids:
            return
        stored = await self._insist(
            # The active collection may be another one at the next try.
            lambda: self._threads.read("retrieve", self._collections.active.retrieve, ids),
            outages=outages,
        )
        changed: list[Entry] = []
        known: list[Entry] = []
        for entry in batch:
            if not entry.is_open or entry.point_id is None:
                continue
            entry.existing = stored.get(entry.point_id)
            if entry.existing is None or entry.existing.payload["sha256"] != entry.sha256:
                changed.append(entry)
            else:
                known.append(entry)
        await self._keeper.keep_lost(known)
        await self._overwrite_fields(known, outages=outages)
        if changed:
            await self._embed_and_commit(changed, outages=outages)

    async def _overwrite_fields(self, entries: Sequence[Entry], *, outages: Outages) -> None:
        """Write the fields of records whose pictures are stored already, if they differ."""
        differing: list[Entry] = []
        for entry in entries:
            if not entry.is_open or entry.existing is None:
                continue
            if payloads.describes(entry.existing.payload, entry.payload):
                entry.outcome = State.UNCHANGED
            else:
                differing.append(entry)
        if not differing:
            return

        def write() -> None:
            ids = [entry.point_id for entry in differing if entry.point_id]
            current = self._collections.active.retrieve(ids)
            new: dict[uuid.UUID, Payload] = {}
            for entry in differing:
                stored = current.get(entry.point_id) if entry.point_id else None
                if stored is None or stored.payload["sha256"] != entry.sha256:
                    entry.outcome = errors.Unavailable(
                        f"{entry.name} was changed by somebody else meanwhile; import it again.",
                        reason=CHANGED_MEANWHILE,
                    )
                elif payloads.describes(stored.payload, entry.payload):
                    # Another import has written the same meanwhile.
                    entry.outcome = State.UNCHANGED
                else:
                    new[stored.id] = payloads.replace_fields(stored.payload, entry.payload)
            if new:
                self._writer.overwrite_payloads(new)

        await self._insist(
            lambda: self._threads.write("overwrite_payloads", write), outages=outages
        )
        finish(differing, State.UPDATED)

    async def _embed_and_commit(self, entries: Sequence[Entry], *, outages: Outages) -> None:
        pinned = [entry.sha256 for entry in entries]
        unused = set(pinned)
        updated: set[uuid.UUID] = set()
        same: set[uuid.UUID] = set()
        outdated: set[uuid.UUID] = set()

        def commit() -> None:
            upserted = self._writer.upsert(drafts)
            updated.update(upserted.replaced)
            same.update(upserted.same)
            outdated.update(upserted.outdated)
            unused.difference_update(
                draft.payload["sha256"] for draft in drafts if draft.id not in outdated
            )

        def release() -> None:
            self._originals.unpin(pinned)
            self._originals.drop_unused(unused)

        try:
            # Runs to its end even if cancelled, like the release of the pins.
            await self._threads.complete(self._originals.pin, pinned)
            drafts = await self._make_drafts(entries, outages=outages)
            self._without_fingerprint.inc(sum(draft.pdq is None for draft in drafts))
            if drafts:
                await self._insist(lambda: self._threads.write("upsert", commit), outages=outages)
        finally:
            await self._threads.write("release", release)
        # Another process that looked before this commit may have deleted the bytes after it.
        await self._keeper.keep_lost(
            [entry for entry in entries if entry.is_open and entry.point_id not in outdated]
        )
        for entry in entries:
            if entry.is_open and entry.point_id not in outdated:
                entry.outcome = State.UPDATED if entry.point_id in updated else State.CREATED
                if entry.point_id in same:
                    entry.outcome = State.UNCHANGED
        if outdated:
            # The active version changed after these were embedded.
            left = [entry for entry in entries if entry.is_open]
            await self._embed_and_commit(left, outages=outages)

    async def _make_drafts(self, entries: Sequence[Entry], *, outages: Outages) -> list[Draft]:
        """Keep, embed and fingerprint pictures side by side. Returns the records to store."""
        kept = asyncio.ensure_future(self._keeper.keep(entries))
        embedded = asyncio.ensure_future(self._embedder.embed(entries, outage=outages.embedder))
        for_target = asyncio.ensure_future(self._embedder.embed_for_target(entries))
        prints = asyncio.ensure_future(self._keeper.fingerprint(entries))
        # Wait for all of them: bytes that are still being written could not be deleted.
        await asyncio.gather(kept, embedded, for_target, prints, return_exceptions=True)
        kept.result()
        return to_drafts(
            entries,
            embedded=embedded.result(),
            for_target=for_target.result(),
            prints=prints.result(),
        )


def to_drafts(
    entries: Sequence[Entry],
    *,
    embedded: Vectors,
    for_target: Vectors | None,
    prints: Sequence[Print | None],
) -> list[Draft]:
    """Return the records to store. Entries that were refused are left out.

    Args:
        entries: The entries of a batch.
        embedded: The descriptors by the active version, one for each entry.
        for_target: The descriptors by the version that is being promoted; None without one.
        prints: The fingerprint of each entry's picture; None if there is none.
    """
    now = time.time_ns() // 1000
    drafts = []
    for at, entry in enumerate(entries):
        picture = embedded.results[at]
        if not entry.is_open or isinstance(picture, errors.HalftoneError):
            continue
        assert entry.point_id is not None  # noqa: S101 - only checked records come here
        payload = {
            **entry.payload,
            "sha256": entry.sha256,
            "width": picture.width,
            "height": picture.height,
            "create_time": now,
            "update_time": now,
        }
        vectors = {}
        for version, results in (embedded, for_target) if for_target else (embedded,):
            result = results[at]
            if not isinstance(result, errors.HalftoneError):
                vectors[version] = result.vectors[UPRIGHT]
        pdq, words, _ = prints[at] or (None, None, None)
        drafts.append(
            Draft(id=entry.point_id, payload=payload, vectors=vectors, pdq=pdq, words=words)
        )
    return drafts
