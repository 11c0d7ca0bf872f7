"""The parts of an Edge collection: sealing, building graphs, and what happens meanwhile."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from halftone.archive.records import Name
from halftone.core import errors
from halftone.services.search.archive.listing import list_by_name, order_keys
from halftone.services.search.store.edge.collection import EdgeCollection, LastRead
from halftone.services.search.store.edge.store import FORMAT, EdgeStore
from halftone.services.search.store.port import (
    EVERYTHING,
    AnyOf,
    Channel,
    Filter,
    Point,
    Query,
    Words,
)

DIMENSION = 8


def point(number, *, generation=0, journal="A"):
    name = Name(archive="press", image_id=f"{number:05d}")
    chance = np.random.default_rng((number, generation))
    random_vector = chance.standard_normal(DIMENSION)
    # One in five has neither hash nor words.
    bare = number % 5 == 0
    indices = np.sort(chance.choice(200, 12, replace=False)).astype(np.uint32)
    return Point(
        id=name.point_id,
        vector=(random_vector / np.linalg.norm(random_vector)).astype(np.float32),
        payload={
            "archive": name.archive,
            "image_id": name.image_id,
            "journal": journal,
            "generation": generation,
            **order_keys(name.image_id),
        },
        pdq=None if bare else chance.choice([-1, 1], 256).astype(np.float32),
        words=None if bare else Words(indices, np.full(12, 12**-0.5, dtype=np.float32)),
    )


@pytest.fixture
def make(memory_path):
    opened = []

    def make(*, seal_points=50, min_free_bytes=0, name="collection", **settings):
        collection = EdgeCollection(
            memory_path / name,
            model_version="model/1",
            dimension=DIMENSION,
            min_free_bytes=min_free_bytes,
            seal_points=seal_points,
            **settings,
        )
        opened.append(collection)
        return collection

    yield make
    for collection in opened:
        collection.close()


def contents(collection):
    return {
        stored.payload["image_id"]: stored.payload for stored in collection.scan(filter=EVERYTHING)
    }


def assert_holds(collection, expected):
    """The collection answers every question as if it held exactly these points, each once."""
    assert contents(collection) == {each.payload["image_id"]: each.payload for each in expected}
    assert collection.count(EVERYTHING) == len(expected)
    journals = {}
    for each in expected:
        journals[each.payload["journal"]] = journals.get(each.payload["journal"], 0) + 1
    assert dict(collection.facet("journal", filter=EVERYTHING, limit=10)) == journals
    listed = list_by_name(collection, condition=EVERYTHING, after=None, limit=10_000)
    assert [each.payload["image_id"] for each in listed] == sorted(
        each.payload["image_id"] for each in expected
    )
    vectors = np.stack([each.vector for each in expected])
    for asked in expected[::17]:
        (hits,) = collection.query([Query(vector=asked.vector, limit=5)])
        best = np.argsort(-(vectors @ asked.vector), kind="stable")[:5]
        assert [hit.id for hit in hits] == [expected[at].id for at in best]
        if asked.pdq is None or asked.words is None:
            continue
        for query in (
            Query(vector=asked.pdq, limit=5, using=Channel.PDQ),
            Query(vector=asked.words, limit=5, using=Channel.WORDS),
        ):
            (hits,) = collection.query([query])
            assert hits[0].id == asked.id
            assert hits[0].score == pytest.approx(1, abs=1e-5)
    back = collection.retrieve([each.id for each in expected], vectors=True)
    assert len(back) == len(expected)
    for each in expected[::7]:
        np.testing.assert_allclose(back[each.id].vector, each.vector, atol=1e-6)
        if each.pdq is None:
            assert (back[each.id].pdq, back[each.id].words) == (None, None)
        else:
            np.testing.assert_array_equal(back[each.id].pdq, each.pdq)
            np.testing.assert_array_equal(back[each.id].words.indices, each.words.indices)
            np.testing.assert_allclose(back[each.id].words.values, each.words.values)


def test_points_move_into_few_parts_and_stay_what_they_are(make):
    collection = make(seal_points=50)
    points = [point(number, journal=f"j{number % 3}") for number in range(430)]
    for start in range(0, len(points), 30):
        collection.upsert(points[start : start + 30])
    assert collection.settle(seconds=60)
    sizes = collection.part_sizes()
    assert sum(sizes) == 430
    assert sizes[0] < 50
    assert 2 <= len(sizes) <= 4
    assert_holds(collection, points)


def test_what_is_changed_while_a_graph_is_built_is_kept(make):
    """Random changes run through many builds; the outcome is that of a plain dictionary."""
    collection = make(seal_points=40)
    chance = random.Random(7)
    expected = {}
    for step in itertools.count():
        kind = chance.random()
        if kind < 0.6 or len(expected) < 20:
            batch = [
                point(chance.randrange(600), generation=step, journal=f"j{step % 4}")
                for _ in range(15)
            ]
            batch = list({each.id: each for each in batch}.values())
            collection.upsert(batch)
            expected.update({each.id: each for each in batch})
        elif kind < 0.8:
            gone = chance.sample(sorted(expected), 5)
            collection.delete(gone)
            for each in gone:
                del expected[each]
        else:
            chosen = chance.sample(sorted(expected), 5)
            new = {
                each: {**expected[each].payload, "journal": "changed", "step": step}
                for each in chosen
            }
            collection.overwrite_payloads(new)
            for each in chosen:
                expected[each] = dataclasses.replace(expected[each], payload=new[each])
        if step == 150:
            break
    everything = list(expected.values())
    assert_holds(collection, everything)
    assert collection.settle(seconds=60)
    assert_holds(collection, everything)
    collection.close()
    again = make(seal_points=40)
    assert_holds(again, everything)


def test_an_end_between_storing_and_deleting_leaves_one_of_two(make, memory_path):
    collection = make(seal_points=10)
    old = [point(number) for number in range(20)]
    collection.upsert(old)
    assert collection.settle(seconds=60)
    # What a kill between the two writes of an upsert leaves: the point in two parts.
    new = [point(number, generation=1) for number in range(5)]
    collection._parts.opened.upsert(new)
    assert collection.count(EVERYTHING) == 25
    (hits,) = collection.query([Query(vector=new[0].vector, limit=25)])
    found = {hit.payload["image_id"]: hit.payload["generation"] for hit in hits}
    assert len(hits) == len(found) == 20
    assert [found[each.payload["image_id"]] for each in new] == [1] * 5
    collection.close()
    assert_holds(make(seal_points=1_000), new + old[5:])


def test_directories_that_do_not_count_are_removed(make, memory_path):
    collection = make()
    collection.upsert([point(1)])
    collection.close()
    stray = memory_path / "collection" / "part-stray"
    shutil.copytree(memory_path / "collection" / "empty", stray)
    again = make()
    assert not stray.exists()
    assert len(contents(again)) == 1


def test_a_part_full_of_holes_is_rebuilt(make):
    collection = make(seal_points=50)
    points = [point(number) for number in range(100)]
    collection.upsert(points)
    assert collection.settle(seconds=60)
    before = collection.part_sizes()
    collection.delete([each.id for each in points[:60]])
    assert collection.settle(seconds=60)
    assert before == [0, 100]
    assert collection.part_sizes() == [0, 40]
    described = json.loads((collection._directory / "parts.json").read_text())
    assert [part["built"] for part in described["sealed"]] == [40]
    assert_holds(collection, points[60:])


def test_reading_goes_on_in_a_part_that_was_replaced(make):
    collection = make(seal_points=50)
    collection.upsert([point(number) for number in range(60)])
    scan = collection.scan(filter=EVERYTHING, page=10)
    first = next(scan)
    assert collection.settle(seconds=60)
    rest = list(scan)
    assert len({first.id, *(stored.id for stored in rest)}) == 60
    del scan
    assert len(list((collection._directory).glob("part-*"))) == len(collection.part_sizes())


class Lasting(LastRead):
    """A read counts as one for a minute, however long this process waits before the next."""

    def note(self):
        self.at = time.monotonic() + 60


def flushed(collection, *, seconds):
    give_up = time.monotonic() + seconds
    while collection.unflushed and time.monotonic() < give_up:
        time.sleep(0.01)
    return not collection.unflushed


def test_nothing_is_flushed_while_another_collection_is_read(make):
    """A flush stops the process, and with it searches that this collection does not answer."""
    last_read = Lasting()
    answering, other = (
        make(name=name, last_read=last_read, idle_seconds=0.3) for name in ("answering", "other")
    )
    other.upsert([point(number) for number in range(5)])
    answering.count(EVERYTHING)
    time.sleep(1.2)
    assert other.unflushed == 5
    last_read.at = time.monotonic()
    assert flushed(other, seconds=60)


def test_after_many_changes_it_is_flushed_in_any_case(make):
    collection = make(idle_seconds=0.3, flush_changes=10, last_read=Lasting())
    collection.upsert([point(number) for number in range(6)])
    collection.overwrite_payloads({point(1).id: point(1).payload})
    collection.delete([point(2).id])
    assert collection.count(EVERYTHING) == 5
    time.sleep(1.2)
    assert collection.unflushed == 8
    collection.upsert([point(number) for number in range(6, 9)])
    until = time.monotonic() + 60
    while collection.unflushed and time.monotonic() < until:
        assert collection.count(EVERYTHING) == 8
    assert collection.unflushed == 0


def test_nothing_is_stored_on_a_disk_that_is_nearly_full(make):
    with pytest.raises(errors.StorageFull, match="kept free"):
        make(min_free_bytes=1 << 60)
    make().close()
    collection = make(min_free_bytes=1 << 60)
    with pytest.raises(errors.StorageFull, match="kept free"):
        collection.upsert([point(1)])
    with pytest.raises(errors.StorageFull):
        collection.overwrite_payloads({point(1).id: {}})
    # Even a deletion writes, and would end the process where nothing at all is left.
    with pytest.raises(errors.StorageFull):
        collection.delete([point(1).id])
    assert collection.count(EVERYTHING) == 0


def test_a_deletion_needs_less_room_than_an_import(make, memory_path):
    collection = make()
    collection.upsert([point(1), point(2)])
    collection.close()
    free = shutil.disk_usage(memory_path).free
    collection = make(min_free_bytes=4 * free)
    with pytest.raises(errors.StorageFull):
        collection.upsert([point(3)])
    collection.delete([point(1).id])
    assert collection.count(EVERYTHING) == 1


def test_one_process_at_a_time(memory_path):
    store = EdgeStore(memory_path, min_free_bytes=0)
    with pytest.raises(errors.DataDirectoryError, match="in use by another process") as raised:
        EdgeStore(memory_path, min_free_bytes=0)
    assert raised.value.reason == "DATA_DIRECTORY_IN_USE"
    program = (
        "import sys, pathlib; from halftone.services.search.store.edge.store import EdgeStore\n"
        "from halftone.core import errors\n"
        "try: EdgeStore(pathlib.Path(sys.argv[1]), min_free_bytes=0)\n"
        "except errors.DataDirectoryError as error: print(error.reason)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(memory_path)], capture_output=True, check=True
    )
    assert answer.stdout.decode().strip() == "DATA_DIRECTORY_IN_USE"
    store.close()
    EdgeStore(memory_path, min_free_bytes=0).close()


def test_a_directory_of_a_newer_release_is_left_alone(memory_path):
    EdgeStore(memory_path, min_free_bytes=0).close()
    (memory_path / "format.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(errors.DataDirectoryError, match="newer release") as raised:
        EdgeStore(memory_path, min_free_bytes=0)
    assert raised.value.reason == "DATA_DIRECTORY_NEWER"
    (memory_path / "format.json").write_text("{")
    with pytest.raises(errors.DataDirectoryError, match="damaged"):
        EdgeStore(memory_path, min_free_bytes=0)


def test_the_pointer_survives_a_restart(memory_path):
    store = EdgeStore(memory_path, min_free_bytes=0)
    store.open("model/1", dimension=DIMENSION).upsert([point(1)])
    store.set_active("model/1")
    store.close()
    again = EdgeStore(memory_path, min_free_bytes=0)
    assert again.active() == "model/1"
    assert again.open("model/1", dimension=None).count(EVERYTHING) == 1
    again.close()


def test_deleting_a_filter_leaves_the_rest(make):
    collection = make()
    collection.upsert([point(number, journal=f"j{number % 2}") for number in range(10)])
    ids = [each.id for each in collection.scan(filter=Filter(must=(AnyOf("journal", ("j0",)),)))]
    collection.delete([*ids, uuid.uuid4()])
    assert collection.count(EVERYTHING) == 5


class _Meanwhile(list):
    """A list that does something when it is gone through the second time: between two parts."""

    def __init__(self, items, action):
        super().__init__(items)
        self._action, self._count = action, 0

    def __iter__(self):
        self._count += 1
        if self._count == 2:
            self._action()
        return super().__iter__()


@pytest.mark.parametrize("sealing", [False, True])
def test_a_point_that_is_stored_anew_while_it_is_read_is_not_missed(make, sealing):
    """An upsert moves points from a sealed part to the open one; then that may be sealed too."""
    collection = make(seal_points=20)
    points = [point(number) for number in range(40)]
    collection.upsert(points)
    assert collection.settle(seconds=60)

    def store_anew():
        collection.upsert([point(number, generation=1) for number in range(5)])
        if sealing:
            collection.upsert([point(number) for number in range(100, 120)])
            assert collection.settle(seconds=60)
            collection.upsert([point(5, generation=1)])

    found = collection.retrieve(_Meanwhile([each.id for each in points[:10]], store_anew))
    assert len(found) == 10
    assert found[points[0].id].payload["generation"] == 1
    chosen = points[20:22]
    queries = [Query(vector=each.vector, limit=1) for each in chosen]
    again = _Meanwhile(queries, lambda: collection.upsert(chosen))
    assert [hits[0].id for hits in collection.query(again)] == [each.id for each in chosen]


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(errors.DataDirectoryError, match="cannot be locked: No locks available"):
        EdgeStore(tmp_path / "data", min_free_bytes=0)
