"""Reads records of a collection: one by its name, the others with the same bytes, and pages."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from halftone.archive import records as archive_records
from halftone.core import errors
from halftone.services.search.archive import payload as payloads
from halftone.services.search.store.port import AnyOf, Filter, Stored

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from halftone.archive.records import Name
    from halftone.services.search.store.port import Collection, Payload

_MAX_SHARED: Final = 100
_MAX_LOOKED_AT: Final = 500
"""The most records with equal bytes that are read at once. A logo may have 10,000 copies, and a
thousand records take 10 to 60 ms."""
_LOOKED_AT_EACH: Final = 3
"""Records read for each of many pictures. Most bytes that several records share, two share."""
_MOST_PAGES: Final = 4
"""How many pages are looked up from a picture: its own, and what that stands on by mistake."""
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


def find_page_id(payload: Payload) -> uuid.UUID | None:
    """Return the point id of the page that a picture stands on; None if its record names none."""
    name = payload.get("page_image")
    return archive_records.parse_name(name).point_id if name else None


def find_pages(collection: Collection, records: Sequence[Stored]) -> dict[uuid.UUID, Stored]:
    """Return for each picture the page that it stands on, with what that inherits itself.

    Records that name no page, and those whose page is not in the collection, are left out.
    """
    there: dict[uuid.UUID, Stored] = {}
    wanted = {find_page_id(record.payload) for record in records}
    for _ in range(_MOST_PAGES):
        ids = [each for each in wanted if each is not None and each not in there]
        if not ids:
            break
        found = collection.retrieve(ids)
        there |= found
        wanted = {find_page_id(page.payload) for page in found.values()}

    def complete(page: Stored, *, most: int = _MOST_PAGES) -> Stored:
        above = there.get(find_page_id(page.payload) or page.id)
        if above is None or above.id == page.id or most == 0:
            return page
        payload = payloads.inherit(page.payload, page=complete(above, most=most - 1).payload)
        return Stored(id=page.id, payload=payload)

    pages = (
        (record.id, there.get(find_page_id(record.payload) or record.id)) for record in records
    )
    return {each: complete(page) for each, page in pages if page is not None and page.id != each}


def find_one_printing(collection: Collection, stored: Stored) -> set[uuid.UUID]:
    """Return a record's id, that of its page, and those of pictures around it or within it.

    Pictures that stand on the record are not among them: they are found by their `page_image`.
    """
    page = find_page_id(stored.payload)
    place = stored.payload.get("page_region")
    if page is None or place is None:
        return {stored.id} if page is None else {stored.id, page}
    condition = Filter(must=(AnyOf("page_image", (stored.payload["page_image"],)),))
    beside = itertools.islice(collection.scan(filter=condition, page=_PAGE), _MAX_LOOKED_AT)
    nested = {
        other.id
        for other in beside
        if "page_region" in other.payload
        and payloads.are_nested(place, other.payload["page_region"])
    }
    return {stored.id, page, *nested}


def get_shown(collection: Collection, name: Name) -> Payload:
    """Return the payload of a record with what the page that it stands on says for it.

    Raises:
        errors.NotFound: The collection has no such record.
    """
    stored = get_record(collection, name)
    page = find_pages(collection, [stored]).get(stored.id)
    return stored.payload if page is None else payloads.inherit(stored.payload, page=page.payload)
