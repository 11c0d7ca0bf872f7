"""Lists records in the order of their names, over any store.

Stores can only sort by numbers. So a point carries its image id cut into pieces of six bytes, each
read as a big-endian number (48 bits, which the floating point of range filters represents exactly).
The order of these numbers, piece by piece, is the order of the ids. A page costs a few bounded
queries whatever the size of the archive, and does not shift when records are inserted before it.

Ids that agree in all pieces (their first 24 bytes) are read one by one for each page, about 30,000
a second. An archive with long addresses as ids is listed faster if the part that differs comes
first. More pieces would mean more indexes: eleven pieces, for 64 bytes, make it a third slower to
begin a new part of the store, even with short ids.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from halftone.services.search.store.port import (
    ORDER_KEYS,
    AnyOf,
    Between,
    Collection,
    Filter,
    Stored,
)

if TYPE_CHECKING:
    from halftone.archive.records import Name

_WIDTH: Final = 6
_ARCHIVES: Final = 10_000


def order_keys(image_id: str) -> dict[str, int]:
    """Return the numbers that order an image id, for its payload.

    The last piece is padded with zeros, which no id contains. An id that ends exactly with a piece
    gets one more, so that a piece without padding is always followed by another one.
    """
    raw = image_id.encode()
    pieces = range(min(len(raw) // _WIDTH + 1, ORDER_KEYS))
    return {
        f"order_{depth}": int.from_bytes(
            raw[depth * _WIDTH : (depth + 1) * _WIDTH].ljust(_WIDTH, b"\0"), "big"
        )
        for depth in pieces
    }


def list_by_name(
    collection: Collection, *, condition: Filter, after: Name | None, limit: int
) -> list[Stored]:
    """Return up to `limit` records that match a filter, in the order of their names.

    Args:
        collection: The collection to read.
        condition: The filter.
        after: The list begins with the name that follows this one; None begins with the first.
        limit: The most records to return.
    """
    records: list[Stored] = []
    # By name, `archives/a-b/images/…` comes before `archives/a/images/…`.
    for archive in sorted(_archives(collection, condition), key=lambda value: f"{value}/"):
        resumed = after is not None and archive == after.archive
        if after is not None and not resumed and f"{archive}/" < f"{after.archive}/":
            continue
        records += _walk(
            collection,
            condition=condition.also(AnyOf("archive", (archive,))),
            depth=0,
            after=after.image_id if after is not None and resumed else "",
            limit=limit - len(records),
        )
        if len(records) >= limit:
            break
    return records


def _archives(collection: Collection, condition: Filter) -> list[str]:
    limit = _ARCHIVES
    while len(facet := collection.facet("archive", filter=condition, limit=limit)) == limit:
        limit *= 4
    return [value for value, _ in facet]


def _walk(
    collection: Collection, *, condition: Filter, depth: int, after: str, limit: int
) -> list[Stored]:
    """List records that agree in `depth` pieces. `after` is empty or agrees in them, too."""
    if depth == ORDER_KEYS:
        rest = (each for each in collection.scan(filter=condition) if _image_id(each) > after)
        # A scan may yield a record twice if it is stored again meanwhile.
        first = heapq.nsmallest(2 * limit, rest, key=_image_id)
        return list({stored.id: stored for stored in first}.values())[:limit]
    key = f"order_{depth}"
    low = order_keys(after).get(key, 0) if after else 0
    resumed_at = low if after else None
    records: list[Stored] = []
    while len(records) < limit:
        # Ask for at least two, to see when a piece has only one record.
        asked = max(limit - len(records) + 1, 2)
        page = collection.smallest(
            key, filter=condition.also(Between(key=key, low=low)), limit=asked
        )
        complete = len(page) < asked
        last = page[-1].payload[key] if page else 0
        # A padded piece ends its id, so it has one record only.
        cut = not complete and last % 256 != 0
        whole = sorted(
            (stored for stored in page if not cut or stored.payload[key] != last), key=_image_id
        )
        records += [stored for stored in whole if _image_id(stored) > after]
        if complete or len(records) >= limit:
            break
        if cut:
            records += _walk(
                collection,
                condition=condition.also(Between(key=key, low=last, high=last)),
                depth=depth + 1,
                after=after if last == resumed_at else "",
                limit=limit - len(records),
            )
        low = last + 1
    return records[:limit]


def _image_id(stored: Stored) -> str:
    return str(stored.payload["image_id"])
