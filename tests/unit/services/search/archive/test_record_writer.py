"""Records are written to the collection that answers, and to the one that is promoted."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from halftone.core import errors, telemetry
from halftone.services.search.archive.blobs import Blobs
from halftone.services.search.archive.holdings import Holdings
from halftone.services.search.archive.record_writer import Draft, Upserted
from halftone.services.search.store.port import Stored

A, B = uuid.UUID(int=1), uuid.UUID(int=2)
VECTOR = np.ones(2, dtype=np.float32)
CONTENTS = {"a": b"first", "b": b"second"}


class Collection:
    """Points in a dictionary."""

    def __init__(self, model_version):
        self.model_version = model_version
        self.points = {}
        self.broken = False

    def upsert(self, points):
        if self.broken:
            raise errors.Unavailable("gone")
        self.points |= {point.id: point.payload for point in points}

    def overwrite_payloads(self, payloads):
        assert payloads.keys() <= self.points.keys()
        self.points |= payloads

    def delete(self, ids):
        if self.broken:
            raise errors.NotFound("dropped")
        for each in ids:
            self.points.pop(each, None)

    def retrieve(self, ids):
        if self.broken:
            raise errors.Unavailable("gone")
        return {
            each: Stored(id=each, payload=self.points[each]) for each in ids if each in self.points
        }

    def scan(self, *, filter):  # noqa: A002 - the field's name
        (condition,) = filter.must
        for each, payload in self.points.items():
            if payload["sha256"] in condition.values:
                yield Stored(id=each, payload=payload)

    def facet(self, key, *, filter, limit):  # noqa: A002 - the field's name
        found = [stored.payload[key] for stored in self.scan(filter=filter)]
        return [(value, found.count(value)) for value in set(found)]

    def count(self, filter):  # noqa: A002 - the field's name
        return len(list(self.scan(filter=filter)))


@pytest.fixture
def holdings(tmp_path):
    made = Holdings.of(Blobs(str(tmp_path)), metrics=telemetry.Metrics(service="test"))
    made.collections.open(Collection("model/1"))
    yield made
    made.threads.close()


def sha(content):
    return {"a": "aa" * 32, "b": "bb" * 32}[content]


def draft(point_id, content, *, versions=("model/1", "model/2"), created=1):
    return Draft(
        id=point_id,
        payload={"sha256": sha(content), "create_time": created},
        vectors=dict.fromkeys(versions, VECTOR),
    )


def upserted(*, replaced=(), outdated=(), same=()):
    return Upserted(replaced=set(replaced), outdated=set(outdated), same=set(same))


def keep(holdings, content):
    # Not by `put`, which would ask for the true hash.
    holdings.blobs.put(CONTENTS[content], sha256=sha(content))


def test_a_record_that_is_stored_again_keeps_its_creation_time(holdings):
    assert holdings.writer.upsert([draft(A, "a")]) == upserted()
    assert holdings.writer.upsert([draft(A, "b", created=2)]) == upserted(replaced={A})
    assert holdings.collection.points[A]["create_time"] == 1


def test_a_record_that_came_to_be_just_so_meanwhile_is_left_alone(holdings):
    holdings.writer.upsert([draft(A, "a")])
    told = []
    holdings.writer.listen(told.extend)
    assert holdings.writer.upsert([draft(A, "a", created=2)]) == upserted(same={A})
    assert holdings.collection.points[A]["create_time"] == 1
    assert told == []
    again = draft(A, "a", created=2)
    again.payload["caption"] = "new"
    assert holdings.writer.upsert([again, draft(B, "a")]) == upserted(replaced={A})
    assert sorted(told) == [A, B]


def test_records_of_another_version_than_answers_are_not_stored(holdings):
    drafts = [draft(A, "a", versions=["model/2"]), draft(B, "b")]
    assert holdings.writer.upsert(drafts) == upserted(outdated={A})
    assert holdings.collection.points.keys() == {B}


def test_the_bytes_that_a_record_replaced_go_unless_they_are_pinned(holdings):
    for content in "ab":
        keep(holdings, content)
        holdings.writer.upsert([draft(A, content)])
    assert [holdings.blobs.has(sha(content)) for content in "ab"] == [False, True]
    keep(holdings, "a")
    holdings.originals.pin([sha("b"), sha("b")])
    holdings.writer.upsert([draft(A, "a")])
    holdings.originals.unpin([sha("b")])
    holdings.originals.drop_unused([sha("b")])
    assert holdings.blobs.has(sha("b"))
    holdings.originals.unpin([sha("b")])
    holdings.originals.drop_unused([sha("a"), sha("b")])
    assert [holdings.blobs.has(sha(content)) for content in "ab"] == [True, False]


def test_records_with_equal_bytes_are_marked_on_both_sides(holdings):
    holdings.writer.upsert([draft(A, "a")])
    assert "shared" not in holdings.collection.points[A]
    holdings.writer.upsert([draft(B, "a")])
    assert all(payload["shared"] for payload in holdings.collection.points.values())


@pytest.mark.parametrize("why", ["no vector", "broken"])
def test_a_record_that_the_promoted_collection_misses_is_noted(holdings, why):
    target = Collection("model/2")
    holdings.collections.follow(target)
    holdings.writer.upsert([draft(A, "a")])
    assert target.points.keys() == {A}
    target.broken = why == "broken"
    versions = ["model/1"] if why == "no vector" else ["model/1", "model/2"]
    holdings.writer.upsert([draft(B, "b", versions=versions)])
    assert holdings.collection.points.keys() == {A, B}
    assert target.points.keys() == {A}
    assert holdings.collections.take_changed() == [B]


def test_changes_reach_the_promoted_collection_or_are_noted(holdings):
    target = Collection("model/2")
    holdings.collections.follow(target)
    holdings.writer.upsert([draft(A, "a"), draft(B, "b", versions=["model/1"])])
    holdings.collections.take_changed()
    changed = {each: {"sha256": sha("a"), "page": "2"} for each in (A, B)}
    holdings.writer.overwrite_payloads(changed)
    # What the target does not have yet, it gets with this payload.
    assert target.points == {A: changed[A]}
    assert holdings.collections.changed == 0
    target.broken = True
    holdings.writer.overwrite_payloads(changed)
    assert set(holdings.collections.take_changed()) == {A, B}


def test_deletions_reach_every_collection_that_is_there(holdings):
    other, dropped = Collection("model/0"), Collection("model/9")
    holdings.collections.open(holdings.collection, others=[other, dropped])
    other.points[A] = {"sha256": sha("a")}
    dropped.broken = True
    keep(holdings, "a")
    holdings.writer.upsert([draft(A, "a")])
    holdings.writer.delete([Stored(id=A, payload={"sha256": sha("a")})])
    assert not other.points
    assert not holdings.collection.points
    assert not holdings.blobs.has(sha("a"))
    assert holdings.collections.others == (other,)


def test_listeners_are_told_of_every_change(holdings):
    told = []
    holdings.writer.listen(lambda ids: told.append(list(ids)))
    holdings.writer.upsert([draft(A, "a")])
    holdings.writer.overwrite_payloads({A: {"sha256": sha("a")}})
    holdings.writer.delete([Stored(id=A, payload={"sha256": sha("a")})])
    assert told == [[A], [A], [A]]
