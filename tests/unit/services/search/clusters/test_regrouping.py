"""The whole archive grouped anew while verdicts are written, and what a cancel leaves."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
import time

import pytest

from halftone.archive.records import Name
from halftone.services.search.clusters import groups, jobs, pairs, pictures, verdicts
from halftone.services.search.clusters.jobs import State
from halftone.services.search.clusters.regrouping import WholeRegrouping
from halftone.services.search.clusters.store import Database
from halftone.v1 import clusters_pb2
from tests.support.search.fake_cluster_archive import (
    VERSION,
    Archive,
    Comparer,
    pair,
    put,
    steps_of,
)

Decision = clusters_pb2.Verdict.Decision
IMAGES = 300
MEMBERS = "SELECT cluster, point, weakest FROM members ORDER BY point"
TABLES = (
    MEMBERS,
    (
        "SELECT id, successor, end_time IS NULL, size, weakest, first, journals FROM clusters"
        " ORDER BY id"
    ),
    "SELECT point, cluster FROM former ORDER BY point, cluster",
    "SELECT id, overruled FROM verdicts ORDER BY id",
)


def names():
    return [Name("press", str(number)) for number in range(IMAGES)]


def sha(number: int) -> bytes:
    return number.to_bytes(32, "big")


def tables(database):
    with database.read() as connection:
        return [connection.execute(query).fetchall() for query in TABLES]


class World:
    """An archive with random pairs, verdicts and a past, the same for the same seed."""

    def __init__(self, database, *, seed):
        self.database = database
        self.archive = Archive()
        self.chance = random.Random(seed)
        self.names = names()
        for number in range(IMAGES):
            self.archive.put(number, shows=number % 256)
        self.steps = steps_of(database, self.archive, Comparer())
        # Some with the same bytes.
        shown = [(name.point_id.bytes, sha(at - at % 17 % 2)) for at, name in enumerate(self.names)]
        with database.write() as connection:
            for _ in range(4):
                # Images come back, pairs find something else, images go: so that ids have a past.
                pictures.put_images(connection, shown)
                self.put_pairs(connection, 250, job=1)
                self.regroup(connection, [point for point, _ in shown])
                gone = [point for point, _ in self.chance.sample(shown, 60)]
                pictures.drop_images(connection, gone)
                self.regroup(connection, gone)
            for _ in range(20):
                self.judge(connection)
            pictures.put_images(connection, shown)
            # Clusters of other pictures than those that the next grouping finds.
            self.put_pairs(connection, 250, job=2)

    def regroup(self, connection, points, **fields):
        groups.regroup(connection, points, describe=self.archive.describe, **fields)

    def put_pairs(self, connection, count, *, job):
        chosen = {
            tuple(sorted(self.chance.sample(range(at, at + 5), 2)))
            for at in self.chance.choices(range(IMAGES - 5), k=count)
        }
        pairs.put_pairs(
            connection,
            [
                pairs.PairComparison(
                    a=sha(a),
                    b=sha(b),
                    probability=self.chance.choice((0.1, 0.92, 0.99)),
                    share=self.chance.choice((1.0, 0.3)),
                    relation=2,
                    evidence=b"",
                    verification=b"",
                )
                for a, b in sorted(chosen)
            ],
            model_version=VERSION,
            matching="1",
            job=job,
        )

    def judge(self, connection):
        a = self.chance.randrange(IMAGES - 9)
        b = a + self.chance.randrange(1, 9)
        decision = self.chance.choice((Decision.SAME, Decision.DIFFERENT, Decision.UNSURE))
        options = {"decision": decision, "note": "", "author": ""}
        verdict = verdicts.judge(connection, self.names[a], self.names[b], **options)
        points = [self.names[each].point_id.bytes for each in (a, b)]
        self.regroup(connection, points, said=verdict.id)

    def group_at_once(self, *, since_job=None):
        """All in one transaction, as a reference."""
        with self.database.write() as connection:
            if since_job is not None:
                connection.execute("DELETE FROM pairs WHERE job < ?", (since_job,))
            self.regroup(connection, list(groups.all_seeds(connection)))

    def whole(self, *, since_job=None, describe=None, is_wanted=lambda _: True):
        return WholeRegrouping(
            self.database,
            describe=describe or self.archive.describe,
            is_wanted=is_wanted,
            since_job=since_job,
        )


@pytest.fixture
def world(memory_path_factory):
    made = []

    def make(seed):
        directory = memory_path_factory()
        made.append(Database(directory))
        here = World(made[-1], seed=seed)
        here.directory = directory
        return here

    yield make
    for database in made:
        database.close()


@pytest.mark.parametrize("since_job", [None, 2])
@pytest.mark.parametrize("seed", range(3))
def test_piece_by_piece_gives_what_one_transaction_gives(world, seed, since_job):
    """Ids, names that lead elsewhere, images of past ids and overruled verdicts included."""
    at_once, in_pieces = world(seed), world(seed)
    before = tables(at_once.database)
    assert before == tables(in_pieces.database)
    at_once.group_at_once(since_job=since_job)
    assert in_pieces.whole(since_job=since_job).run(lambda _: True)
    expected = tables(at_once.database)
    assert expected != before
    assert tables(in_pieces.database) == expected


@pytest.mark.soak
@pytest.mark.parametrize("since_job", [None, 2])
@pytest.mark.parametrize("seed", range(3))
def test_verdicts_that_come_meanwhile_count(world, seed, since_job):
    """The result is as if they had been said before."""
    meanwhile, before = world(seed), world(seed)
    said = 0

    def describe(points):
        nonlocal said
        # Between the read of a part and the next one; the verdicts themselves describe, too.
        if said < 30 and not meanwhile.database._writer.in_transaction:
            said += 1
            with meanwhile.database.write() as connection:
                meanwhile.judge(connection)
        return meanwhile.archive.describe(points)

    assert meanwhile.whole(since_job=since_job, describe=describe).run(lambda _: True)
    assert said > 5
    with before.database.write() as connection:
        for _ in range(said):
            before.judge(connection)
    before.group_at_once(since_job=since_job)
    assert tables(meanwhile.database) == tables(before.database)


class Interrupted(Database):
    """Lets others write just before certain reads."""

    def __init__(self, directory):
        super().__init__(directory)
        self.reads = 0
        self.before = {}

    @contextlib.contextmanager
    def read(self):
        self.reads += 1
        if write := self.before.pop(self.reads, None):
            write()
        with super().read() as connection:
            yield connection


@pytest.mark.parametrize("during", ["pieces", "switch"])
def test_what_a_picture_leaves_behind_is_planned_again(tmp_path, during):
    """X has the bytes of Y, which is like Q, until a verdict on X and S brings its new bytes."""
    archive = Archive()
    # X comes first by its point, so it alone stands for both among the seeds.
    x, y = sorted(range(2), key=lambda number: names()[number].point_id.bytes)
    q, s, t = range(2, 5)
    # So many others that S is in the second piece.
    others = range(5, 5 + 20 * (during == "pieces"))

    def fill(directory):
        directory.mkdir()
        database = Interrupted(directory)
        with database.write() as connection:
            for number in (x, y, q, *others, s, t):
                shown = y if number == x else number
                point = archive.put(number, shows=shown)
                pictures.put_images(connection, [(point, sha(shown))])
            links = [(y, q), *zip(others[::2], others[1::2], strict=True), (s, t)]
            put(connection, *[pair(sha(a), sha(b)) for a, b in links])
        return database

    def judge(database, a, b):
        with database.write() as connection:
            points = [archive.put(number, shows=number) for number in (a, b)]
            pictures.put_images(connection, zip(points, map(sha, (a, b)), strict=True))
            names = [Name("press", str(number)) for number in (a, b)]
            verdicts.judge(connection, *names, decision=Decision.SAME, note="", author="")
            groups.regroup(connection, points, describe=archive.describe)

    meanwhile, before = fill(tmp_path / "meanwhile"), fill(tmp_path / "before")
    # The first read is that of the seeds, the second one that of the first piece.
    meanwhile.reads = 0
    if during == "switch":
        meanwhile.before[2] = lambda: judge(meanwhile, s, t)
        judge(before, s, t)
    meanwhile.before[3] = lambda: judge(meanwhile, x, s)
    judge(before, x, s)
    whole = WholeRegrouping(meanwhile, describe=archive.describe, is_wanted=lambda _: True)
    assert whole.run(lambda _: True)
    assert not meanwhile.before
    with before.write() as connection:
        groups.regroup(connection, list(groups.all_seeds(connection)), describe=archive.describe)
    assert tables(meanwhile) == tables(before)
    meanwhile.close()
    before.close()


def test_one_that_is_no_longer_wanted_leaves_everything_as_it_was(world):
    here = world(0)
    before = tables(here.database)
    asked = iter([True, True, False])
    assert here.whole(is_wanted=lambda _: next(asked)).run(lambda _: True) is None
    assert tables(here.database) == before
    # Nor does one that fails, at its very end.
    with pytest.raises(ZeroDivisionError):
        here.whole().run(lambda _: 1 / 0)
    assert tables(here.database) == before
    assert here.whole().run(lambda _: True)
    assert tables(here.database) != before


def test_a_process_that_is_killed_in_the_midst_leaves_the_old_clusters(world, tmp_path):
    """Its file as it is on the disk then; the next process groups from the beginning."""
    killed, reference = world(1), world(1)
    reads = 0

    def describe(points):
        nonlocal reads
        reads += 1
        if reads == 4:
            for path in killed.directory.iterdir():
                shutil.copy(path, tmp_path)
        return killed.archive.describe(points)

    before = tables(killed.database)
    assert killed.whole(describe=describe).run(lambda _: True)
    killed.database.close()
    killed.database = Database(tmp_path)
    assert tables(killed.database) == before
    assert killed.whole().run(lambda _: True)
    reference.group_at_once()
    assert tables(killed.database) == tables(reference.database)
    killed.database.close()


def test_verdicts_and_a_cancel_do_not_wait_for_the_grouping_of_everything(world):
    """Half a second of reading records: nothing that writes waits for it."""
    here = world(1)
    with here.database.write() as connection:
        job, _ = jobs.create(connection, request_id="", from_scratch=False, model_version=VERSION)
        everything = connection.execute("SELECT sha256 FROM pictures").fetchall()
        pictures.mark_searched(connection, [key for (key,) in everything], job=job.number)
    before = tables(here.database)
    reading = threading.Event()

    def describe(points):
        reading.set()
        time.sleep(0.1)
        return here.archive.describe(points)

    here.steps.describe = describe
    results = []
    thread = threading.Thread(target=lambda: results.append(here.steps.regroup_all(job, 0, 0)))
    thread.start()
    assert reading.wait(10)
    waits = []
    for _ in range(5):
        started = time.monotonic()
        with here.database.write() as connection:
            waits.append(time.monotonic() - started)
            connection.execute("UPDATE verdicts SET note = 'seen' WHERE id = 1")
    with here.database.write() as connection:
        jobs.end(connection, job.number, state=State.CANCELLED)
    started = time.monotonic()
    thread.join(10)
    assert time.monotonic() - started < 1
    assert results == [None]
    assert max(waits) < 0.1
    assert tables(here.database) == before


def test_a_job_that_ends_in_the_midst_of_tidying_leaves_it_to_the_next_process(world):
    here = world(2)
    with here.database.write() as connection:
        # Its number comes after those of the pairs.
        connection.execute("INSERT INTO sqlite_sequence VALUES ('jobs', 2)")
        job, _ = jobs.create(connection, request_id="", from_scratch=True, model_version=VERSION)
        everything = connection.execute("SELECT sha256 FROM pictures").fetchall()
        pictures.mark_searched(connection, [key for (key,) in everything], job=job.number)
        here.put_pairs(connection, 50, job=job.number)
    tidy, here.steps.tidy = here.steps.tidy, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        here.steps.regroup_all(job, 0, 0)
    ended = tables(here.database)
    with here.database.read() as connection:
        assert jobs.get(connection, job.name).state == State.SUCCEEDED
        kept = connection.execute("SELECT count(*) FROM pairs").fetchone()
        assert pictures.next_to_search(connection, job=None, limit=1)
    # What was not compared again counts no more, although it is still there.
    here.group_at_once()
    assert tables(here.database) == ended
    tidy()
    with here.database.read() as connection:
        assert connection.execute("SELECT count(*) FROM pairs").fetchone() < kept
        assert not pictures.next_to_search(connection, job=None, limit=1)
    here.group_at_once()
    assert tables(here.database) == ended
