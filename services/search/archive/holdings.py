"""The parts of an archive that a search process holds, created once and handed down.

    collections   which collections are open, which one is active, which one is being promoted
    writer        stores, changes and deletes records in them, and tells listeners
    blobs         picture bytes, thumbnails and local features
    originals     which picture bytes are still needed
    threads       runs all of this beside the event loop

Single records are read by the functions of `lookups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.services.search.archive.open_collections import OpenCollections
from halftone.services.search.archive.originals import Originals
from halftone.services.search.archive.record_writer import RecordWriter
from halftone.services.search.archive.threads import Threads

if TYPE_CHECKING:
    from halftone.core.telemetry import Metrics
    from halftone.services.search.archive.blobs import Blobs
    from halftone.services.search.store.port import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The parts of the archive that this process holds."""

    blobs: Blobs
    collections: OpenCollections
    originals: Originals
    writer: RecordWriter
    threads: Threads

    @classmethod
    def of(cls, blobs: Blobs, *, metrics: Metrics) -> Holdings:
        """Create the parts over a blob store. `collections.open` sets the collection."""
        collections = OpenCollections()
        originals = Originals(blobs=blobs, collections=collections)
        return cls(
            blobs=blobs,
            collections=collections,
            originals=originals,
            writer=RecordWriter(collections=collections, originals=originals, metrics=metrics),
            threads=Threads(metrics=metrics),
        )

    @property
    def collection(self) -> Collection:
        """The active collection.

        Raises:
            errors.Unavailable: The service is starting.
        """
        return self.collections.active
