"""Reads records of a collection: one by its name, or the others with the same bytes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.services.search.store.port import AnyOf, Filter, Stored

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from halftone.archive.records import Name
    from halftone.services.search.store.port import Collection

_MAX_SHARED: Final = 100
_MAX_LOOKED_AT: Final = 500
"""The most records with equal bytes that are read at once. A logo may have 10,000 copies, and a
thousand records take 10 to 60 ms."""
_LOOKED_AT_EACH: Final = 3
"""Records read for each of many pictures. Most bytes that several records share, two share."""
_PAGE: Final = 100
"""Records read at a time, so that the embedded store releases the interpreter lock in between."""


def get_record(collection: Collection, name: Name, *, vectors: bool = False) -> Stored:
    """Return the record with a name.

    Args:
        collection: The collection to read.
        name: The record's name.
        vectors: Whether to read its vectors, too.

    Raises:
        errors.NotFound: The collection has no such record.
    """
    found = collection.retrieve([name.point_id], vectors=vectors)
    if name.point_id not in found:
        raise errors.NotFound(
            f"There is no image {name}.", resource_type="image", resource_name=str(name)
        )
    return found[name.point_id]


def find_same_content(
    collection: Collection, records: Sequence[Stored]
) -> dict[uuid.UUID, list[str]]:
    """Return for each record the names of up to 100 others with the same bytes.

    These are the first 100 in the order of their names. Only a bounded number of records is read
    (`_MAX_LOOKED_AT`). If more have the same bytes, the names are any 100.
    """
    shas = {record.payload["sha256"] for record in records if record.payload.get("shared")}
    if not shas:
        return {}
    names: dict[str, set[tuple[str, uuid.UUID]]] = {}

    def look(looked_for: Iterable[str], *, limit: int) -> int:
        condition = Filter(must=(AnyOf("sha256", tuple(sorted(looked_for))),))
        scan = collection.scan(filter=condition, page=_PAGE)
        seen = 0
        for other in itertools.islice(scan, limit):
            name = f"archives/{other.payload['archive']}/images/{other.payload['image_id']}"
            names.setdefault(other.payload["sha256"], set()).add((name, other.id))
            seen += 1
        return seen

    limit = max(_MAX_LOOKED_AT, _LOOKED_AT_EACH * len(shas))
    if look(shas, limit=limit) == limit and len(shas) > 1:
        # Bytes with very many records may have left no room for the others.
        share = max(_MAX_SHARED + 1, _MAX_LOOKED_AT // len(shas))
        for sha256 in shas:
            look((sha256,), limit=share)
    return {
        record.id: [
            name
            for name, point_id in sorted(names.get(record.payload["sha256"], ()))
            if point_id != record.id
        ][:_MAX_SHARED]
        for record in records
    }
