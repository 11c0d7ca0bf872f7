"""Converts records that were read to the messages of answers.

A record alone does not tell what its answer says: the names of other records with the same bytes
come from the store, and so does the page of a picture, which limits what is shown of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from halftone.services.search.archive import lookups
from halftone.services.search.archive import payload as payloads

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from halftone.services.search.store.port import Collection, Stored
    from halftone.v1 import search_pb2


class Answers(NamedTuple):
    """The messages of records, and those of the pages that they stand on, by the records' ids."""

    images: dict[uuid.UUID, search_pb2.Image]
    pages: dict[uuid.UUID, search_pb2.Image]


def to_answers(
    collection: Collection, records: Sequence[Stored], *, same_content: bool = True
) -> Answers:
    """Convert records to messages. Blocks: the store is read.

    Args:
        collection: The collection that has the records.
        records: The records; vectors are not needed.
        same_content: Whether the messages name other records with the same bytes.
    """
    same = lookups.find_same_content(collection, records) if same_content else {}
    pages = lookups.find_pages(collection, records)
    return Answers(
        images={
            record.id: payloads.to_image(
                payloads.inherit(record.payload, page=pages[record.id].payload)
                if record.id in pages
                else record.payload,
                same_content=same.get(record.id),
            )
            for record in records
        },
        pages={each: payloads.to_image(page.payload) for each, page in pages.items()},
    )
