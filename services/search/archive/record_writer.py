"""Stores, changes and deletes records in the open collections.

Records are written to the active collection. While another version is being promoted they are also
written to its collection, the target, if there are vectors of that version. The ids of records that
the target misses are remembered for the promotion. Deletions go to every collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.core import errors, telemetry
from halftone.services.search.archive.payload import is_same, keep_show
from halftone.services.search.store.port import AnyOf, Filter, Payload, Point, Stored

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np

    from halftone.core.telemetry import Metrics
    from halftone.services.search.archive.open_collections import OpenCollections
    from halftone.services.search.archive.originals import Originals
    from halftone.services.search.store.port import Collection, Words

_log = telemetry.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A record to store.

    Attributes:
        id: The record's point id.
        payload: The record's fields.
        vectors: Its descriptors by model version, float32 of that version's dimension.
        pdq: The PDQ hash, as in a `Point`.
        words: The visual words, as in a `Point`.
    """

    id: uuid.UUID
    payload: Payload
    vectors: dict[str, np.ndarray]
    pdq: np.ndarray | None = None
    words: Words | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upserted:
    """What became of records.

    Attributes:
        replaced: The ids of those that existed before, and were changed.
        outdated: Those that were not stored, because the active version has changed since they were
            embedded.
        same: Those that existed just so.
    """

    replaced: set[uuid.UUID]
    outdated: set[uuid.UUID]
    same: set[uuid.UUID]


class RecordWriter:
    """Changes records. Its calls block and must run in the thread for writes."""

    def __init__(
        self, *, collections: OpenCollections, originals: Originals, metrics: Metrics
    ) -> None:
        self._collections = collections
        self._originals = originals
        self._listeners: list[Callable[[Iterable[uuid.UUID]], None]] = []
        self._missed = metrics.counter(
            "dual_write_failures_total",
            "Records that a collection being promoted did not get with their import or change",
        )

    def listen(self, tell: Callable[[Iterable[uuid.UUID]], None]) -> None:
        """Register a function that is called with the ids of stored, changed or deleted records.

        It is called in the thread for writes, after the change.
        """
        self._listeners.append(tell)

    def upsert(self, drafts: Sequence[Draft]) -> Upserted:
        """Store records, and delete the picture bytes that they replaced.

        An existing record keeps its creation time, and its `show` if no other is given. Records
        with the same bytes are marked `shared`. A record that has come to be just so, by another
        import at the same time, is left alone.
        """
        collection = self._collections.active
        version = collection.model_version
        outdated = {draft.id for draft in drafts if version not in draft.vectors}
        drafts = [draft for draft in drafts if draft.id not in outdated]
        replaced = collection.retrieve([draft.id for draft in drafts]) if drafts else {}
        same = {
            draft.id
            for draft in drafts
            if draft.id in replaced and is_same(replaced[draft.id].payload, draft.payload)
        }
        drafts = [draft for draft in drafts if draft.id not in same]
        if not drafts:
            return Upserted(replaced=set(), outdated=outdated, same=same)
        for draft in drafts:
            if draft.id in replaced:
                stored = replaced[draft.id].payload
                draft.payload.update(keep_show(stored, draft.payload))
                draft.payload["create_time"] = stored["create_time"]
        # Mark first: a mark without an equal record is harmless, the opposite is not.
        marked = _mark_shared({draft.id: draft.payload for draft in drafts}, collection=collection)
        if marked:
            self.overwrite_payloads(marked)
        collection.upsert(_points(drafts, version=version))
        self._tell([draft.id for draft in drafts])
        self._upsert_target(drafts)
        kept = {str(draft.payload["sha256"]) for draft in drafts}
        self._originals.drop_unused(
            {str(stored.payload["sha256"]) for stored in replaced.values()} - kept
        )
        return Upserted(replaced=set(replaced) - same, outdated=outdated, same=same)

    def _upsert_target(self, drafts: Sequence[Draft]) -> None:
        target = self._collections.target
        if target is None:
            return
        points = _points(drafts, version=target.model_version)
        missed = {draft.id for draft in drafts} - {point.id for point in points}
        try:
            if points:
                target.upsert(points)
        except errors.HalftoneError as error:
            # The record is stored and can be found. Only the promotion has work left.
            _log.warning("dual_write_failed", model_version=target.model_version, error=str(error))
            missed |= {point.id for point in points}
        self._note_missed(missed)

    def overwrite_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of existing records."""
        self._collections.active.overwrite_payloads(payloads)
        self._tell(payloads)
        target = self._collections.target
        if target is None:
            return
        try:
            # The promotion will copy the payload of a record that the target does not have yet.
            present = target.retrieve(list(payloads))
            target.overwrite_payloads({point_id: payloads[point_id] for point_id in present})
        except errors.HalftoneError as error:
            _log.warning("dual_write_failed", error=str(error))
            self._note_missed(set(payloads))

    def _note_missed(self, ids: set[uuid.UUID]) -> None:
        self._missed.inc(len(ids))
        self._collections.note_changed(ids)

    def delete(self, stored: Sequence[Stored]) -> None:
        """Delete records from every collection, and the bytes that no record refers to any more."""
        ids = [record.id for record in stored]
        # The active collection comes last, so that a deletion that fails before can be repeated:
        # the records can still be found.
        for other in self._collections.others:
            try:
                other.delete(ids)
            except errors.NotFound:
                # Another process has dropped the collection.
                self._collections.forget(other.model_version)
        self._collections.active.delete(ids)
        self._tell(ids)
        self._originals.drop_unused({str(record.payload["sha256"]) for record in stored})

    def _tell(self, ids: Iterable[uuid.UUID]) -> None:
        for tell in self._listeners:
            tell(ids)


def _mark_shared(
    payloads: Mapping[uuid.UUID, Payload], *, collection: Collection
) -> dict[uuid.UUID, Payload]:
    """Mark payloads whose bytes other records have too. Returns the stored records to mark.

    A mark only says that it is worth looking for the others, and is never removed. If two or more
    stored records have the same bytes, all of them are marked already.
    """
    by_sha: dict[str, list[Payload]] = {}
    for payload in payloads.values():
        by_sha.setdefault(payload["sha256"], []).append(payload)
    condition = Filter(must=(AnyOf("sha256", tuple(sorted(by_sha))),))
    counts = dict(collection.facet("sha256", filter=condition, limit=len(by_sha)))
    single = tuple(sorted(sha for sha, count in counts.items() if count == 1))
    others: dict[uuid.UUID, Payload] = {}
    if single:
        for stored in collection.scan(filter=Filter(must=(AnyOf("sha256", single),))):
            if stored.id in payloads:
                counts[stored.payload["sha256"]] = 0
            elif not stored.payload.get("shared"):
                others[stored.id] = {**stored.payload, "shared": True}
    for sha256, equal in by_sha.items():
        if len(equal) > 1 or counts.get(sha256, 0) > 0:
            for payload in equal:
                payload["shared"] = True
    return others


def _points(drafts: Sequence[Draft], *, version: str) -> list[Point]:
    """Return the points of the drafts that have a vector of a version."""
    return [
        Point(
            id=draft.id,
            vector=draft.vectors[version],
            payload=dict(draft.payload),
            pdq=draft.pdq,
            words=draft.words,
        )
        for draft in drafts
        if version in draft.vectors
    ]
