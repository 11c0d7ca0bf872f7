"""The parts of a collection: which count, and when one that was replaced goes."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest

from halftone.services.search.store import port
from halftone.services.search.store.edge.part import Part
from halftone.services.search.store.edge.part_set import PartSet
from halftone.services.search.store.port import AnyOf, Filter, Point


def make(directory, *ids):
    part = Part.create(directory / PartSet.new_name(), dimension=2)
    part.upsert(
        [Point(id=uuid.UUID(int=each), vector=np.ones(2, np.float32), payload={}) for each in ids]
    )
    return part


@pytest.fixture
def parts(tmp_path):
    first = make(tmp_path, 1)
    first.close()
    PartSet.create(tmp_path, opened=first.path.name)
    made = PartSet(tmp_path)
    yield made
    made.close()


def test_a_replaced_part_goes_with_its_last_reader(parts, tmp_path):
    old, new = parts.opened, make(tmp_path, 2)
    with parts.reading() as outer:
        with parts.reading():
            parts.replace(opened=new, sealed=())
        assert outer == (old,)
        assert old.path.exists()
        assert old.size() == 1
    assert not old.path.exists()
    assert parts.all() == (new,)


def test_without_readers_a_replaced_part_goes_at_once(parts, tmp_path):
    old = parts.opened
    parts.replace(opened=make(tmp_path, 2), sealed=())
    assert not old.path.exists()


def test_the_parts_that_count_are_there_after_a_restart(parts, tmp_path):
    sealed = parts.opened
    parts.built[sealed.path.name] = 1
    parts.replace(opened=make(tmp_path, 2), sealed=(sealed,))
    stray = make(tmp_path, 3)
    for part in (*parts.all(), stray):
        part.close()
    again = PartSet(tmp_path)
    assert [part.path for part in again.all()] == [part.path for part in parts.all()]
    assert again.built == {sealed.path.name: 1}
    assert not stray.path.exists()
    parts.opened, parts.sealed = again.opened, again.sealed


def test_of_a_point_that_two_parts_have_the_open_one_counts(parts, tmp_path):
    """The process ended between storing a point anew and deleting what it replaced."""
    sealed = parts.opened
    parts.replace(opened=make(tmp_path, 1, 2), sealed=(sealed,))
    parts.close()
    again = PartSet(tmp_path)
    assert again.opened.size() == 2
    assert again.sealed[0].size() == 0
    parts.opened, parts.sealed = again.opened, again.sealed
    assert json.loads((tmp_path / "parts.json").read_text())["open"] == again.opened.path.name


def test_a_part_of_an_earlier_release_gets_the_indexes_that_it_lacks(tmp_path, monkeypatch):
    """Its points, which have none of the new fields, are filtered as those that come later."""
    condition = Filter(must=(AnyOf("page_image", ("page",)),))
    with monkeypatch.context() as earlier:
        earlier.delitem(port.INDEXES, "page_image")
        earlier.delitem(port.INDEXES, "kind")
        part = make(tmp_path, *range(20))
        part.optimize()
        part.flush()
        assert not {"page_image", "kind"} & part.list_indexes()
        part.close()
    again = Part.load(part.path)
    assert again.list_indexes() == set(port.INDEXES)
    assert again.count(condition) == 0
    point = Point(
        id=uuid.UUID(int=50), vector=np.ones(2, np.float32), payload={"page_image": "page"}
    )
    again.upsert([point])
    again.sync()
    again.close()
    last = Part.load(part.path)
    assert [stored.id for stored in last.scan(condition=condition, page=10)] == [point.id]
    assert last.count(port.EVERYTHING) == 21
    last.close()
