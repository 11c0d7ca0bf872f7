"""Records with the same bytes: all of a pair beside a logo, and never all of a logo."""

from __future__ import annotations

import uuid

import pytest

from halftone.archive import records as names
from halftone.core import errors
from halftone.services.search.archive.lookups import find_same_content, get_record
from halftone.services.search.store.port import Stored


class _Records:
    """A collection that is only scanned, and says how large the pages were."""

    model_version = "fake/1"

    def __init__(self, counts):
        self.stored = [
            Stored(
                id=uuid.uuid5(uuid.NAMESPACE_OID, f"{sha256} {at}"),
                payload={
                    "archive": "press",
                    "image_id": f"{sha256}-{at:05}",
                    "sha256": sha256,
                    "shared": True,
                },
            )
            for sha256, count in counts.items()
            for at in range(count)
        ]
        self.pages = set()
        self.scanned = 0

    def scan(self, *, filter, page=1_000):  # noqa: A002 - the field's name
        self.pages.add(page)
        (condition,) = filter.must
        for stored in self.stored:
            if stored.payload["sha256"] in condition.values:
                self.scanned += 1
                yield stored

    def some(self):
        """The first record of each content."""
        return list({each.payload["sha256"]: each for each in reversed(self.stored)}.values())


def test_a_pair_is_known_beside_a_logo():
    records = _Records({"logo": 10_000, "pair": 2, "other": 2})
    same = {
        stored.payload["sha256"]: find_same_content(records, [*records.some()])[stored.id]
        for stored in records.some()
    }
    assert same["pair"] == ["archives/press/images/pair-00001"]
    assert same["other"] == ["archives/press/images/other-00001"]
    assert same["logo"] == [f"archives/press/images/logo-{at:05}" for at in range(1, 101)]


def test_records_with_equal_bytes_are_read_in_small_pieces_and_not_all():
    records = _Records({f"logo {at}": 1_000 for at in range(5)})
    same = find_same_content(records, records.some())
    assert [len(names) for names in same.values()] == [100] * 5
    assert max(records.pages) <= 100
    assert records.scanned <= 2 * 500 + 5


def test_a_record_is_read_by_its_name_or_is_not_found():
    name = names.Name("press", "1")
    record = Stored(id=name.point_id, payload={})

    class Collection:
        def retrieve(self, ids, *, vectors):
            return {record.id: record} if record.id in ids else {}

    assert get_record(Collection(), name) is record
    with pytest.raises(errors.NotFound, match="archives/press/images/2"):
        get_record(Collection(), names.Name("press", "2"))
