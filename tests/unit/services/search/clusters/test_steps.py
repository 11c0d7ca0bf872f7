"""Steps of the clusters' worker and of the service while images change under them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import types

import pytest

from halftone.core import errors, telemetry
from halftone.core.settings import SearchSettings
from halftone.services.search.api.clusters_servicer import ClusterServicer
from halftone.services.search.archive.pace import Traffic
from halftone.services.search.clusters import groups, jobs, pairs, pictures, views
from halftone.services.search.clusters.store import Database
from halftone.services.search.clusters.worker import ClusterWorker
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.fake_cluster_archive import (
    VERSION,
    Archive,
    Comparer,
    count_images,
    pair,
    put,
    sha,
    steps_of,
)


@pytest.fixture
def database(tmp_path):
    found = Database(tmp_path)
    yield found
    found.close()


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def comparer():
    return Comparer()


@pytest.fixture
def steps(database, archive, comparer):
    return steps_of(database, archive, comparer)


def kept(database):
    with database.read() as connection:
        return connection.execute("SELECT probability, evidence FROM pairs").fetchall()


def test_an_image_that_shows_another_picture_by_now_speaks_for_none(database, archive, steps):
    one, other = archive.put(1, shows=1), archive.put(2, shows=2)
    with database.write() as connection:
        pictures.put_images(connection, [(one, sha(1)), (other, sha(2))])
    # Imported anew; clusters have not taken note of it yet.
    archive.put(2, shows=7)
    assert steps.compare_some([(sha(1), sha(2))], archive, 1) == 0
    assert kept(database) == []
    archive.put(2, shows=2)
    assert steps.compare_some([(sha(1), sha(2))], archive, 1) == 1


def test_a_pair_whose_picture_is_gone_keeps_its_score(database, archive, comparer, steps):
    one, other = archive.put(1, shows=1), archive.put(2, shows=2)
    with database.write() as connection:
        pictures.put_images(connection, [(one, sha(1)), (other, sha(2))])
        put(connection, pair(sha(1), sha(2)), version="model/1")
    archive.put(2, shows=7)
    assert steps.rescore_some(archive, (-1, -1), regroup=False) is not None
    assert (comparer.rescores, kept(database)) == (0, [(0.99, b"")])
    # Back again, so that the next job scores it.
    archive.put(2, shows=2)
    steps.rescore_some(archive, (-1, -1), regroup=False)
    assert (comparer.rescores, kept(database)) == (1, [(0.5, b"anew")])


def test_a_job_from_scratch_forgets_what_is_no_candidate_any_more(database, archive, steps):
    for from_scratch, left in ((False, 2), (True, 1)):
        with database.write() as connection:
            points = [(archive.put(number, shows=number), sha(number)) for number in (1, 2, 3)]
            pictures.put_images(connection, points)
            job, _ = jobs.create(
                connection, request_id="", from_scratch=from_scratch, model_version=VERSION
            )
            pictures.mark_searched(connection, [key for _, key in points], job=job.number)
            pairs.put_pairs(
                connection,
                [pair(sha(1), sha(3))],
                model_version=VERSION,
                matching="1",
                job=job.number - 1,
            )
            pairs.put_pairs(
                connection,
                [pair(sha(1), sha(2))],
                model_version=VERSION,
                matching="1",
                job=job.number,
            )
        ended = steps.regroup_all(job, 0, 0)
        assert ended.clustered == left + 1
        assert len(kept(database)) == left


def test_what_table_and_collection_do_not_agree_on_is_found(database, archive, steps):
    same, changed = archive.put(1, shows=1), archive.put(2, shows=7)
    new, gone = archive.put(3, shows=3), b"\xff" * 16
    with database.write() as connection:
        pictures.put_images(connection, [(same, sha(1)), (changed, sha(2))])
    assert set().union(*steps.find_differing(archive)) == {changed, new}
    with database.write() as connection:
        pictures.put_images(connection, [(gone, sha(4)), (b"\0" * 16, sha(4))])
        pictures.put_images(connection, [(changed, sha(7)), (new, sha(3))])
    assert set().union(*steps.find_differing(archive)) == {gone, b"\0" * 16}


@pytest.mark.parametrize("meanwhile", ["stored anew", "deleted again"])
def test_what_changes_while_it_is_gone_through_hides_nothing_that_is_gone(
    database, archive, steps, meanwhile
):
    one, gone = archive.put(1, shows=1), b"\xff" * 16
    with database.write() as connection:
        pictures.put_images(connection, [(one, sha(1)), (gone, sha(4))])
    there = list(archive.points.values())
    if meanwhile == "stored anew":
        # It comes twice.
        archive.scan = lambda **_condition: iter(there * 600)
        expected = [set(), set(), {gone}]
    else:
        new = archive.put(2, shows=2)
        there = list(archive.points.values())
        archive.scan = lambda **_condition: iter(there)
        # Nothing is to be taken note of by the time that it is asked for.
        archive.remove(2)
        expected = [{new}, {gone}]
    assert list(steps.find_differing(archive)) == expected


async def test_what_differs_is_taken_in_piece_by_piece(database, archive, comparer):
    """So that an end in the midst leaves what was gone through, and none of it waits in memory."""
    for number in range(1_100):
        archive.put(number, shows=number % 256)
    whole = archive.scan

    def scan(**condition):
        yield from itertools.islice(whole(**condition), 1_000)
        raise errors.Unavailable("gone away")

    archive.scan = scan
    with database.write() as connection:
        jobs.create(connection, request_id="", from_scratch=False, model_version=VERSION)
    parts = types.SimpleNamespace(
        holdings=archive,
        traffic=Traffic(),
        settings=SearchSettings(),
        metrics=telemetry.Metrics(service="test"),
    )
    worker = ClusterWorker(parts, database=database, comparer=comparer)
    working = asyncio.create_task(worker.watch())
    async with asyncio.timeout(60):
        while True:
            with database.read() as connection:
                if count_images(connection) == 1_000:
                    break
            await asyncio.sleep(0.02)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    worker.close()


class FullDisk(Database):
    """Refuses some transactions after a job has ended."""

    refuses = 0

    @contextlib.contextmanager
    def write(self):
        with super().write() as connection:
            if self.refuses and jobs.get_running(connection) is None:
                self.refuses -= 1
                raise errors.StorageFull("The disk is full.")
            yield connection


class NothingToSearch(Comparer):
    """Must not be asked for the candidates of a picture."""

    def changed_words(self, _sha):
        raise AssertionError


@pytest.mark.soak
async def test_a_disk_that_is_full_after_a_job_delays_only_the_tidying(tmp_path, archive):
    database = FullDisk(tmp_path)
    parts = types.SimpleNamespace(
        holdings=archive,
        traffic=Traffic(),
        settings=SearchSettings(),
        metrics=telemetry.Metrics(service="test"),
    )
    worker = ClusterWorker(parts, database=database, comparer=NothingToSearch())

    async def run_job(number, *, refuses=0):
        """Import a picture, which a new job has searched for; work until nothing is left.

        The worker rests meanwhile: between two of its looks at the database, the picture would be
        one that no job searches for.
        """
        point = archive.put(number, shows=number)
        with database.write() as connection:
            pictures.put_images(connection, [(point, sha(number))])
            # A picture that no image shows any more.
            pictures.put_images(connection, [(b"gone", sha(100 + number))])
            pictures.drop_images(connection, [b"gone"])
            job, _ = jobs.create(
                connection, request_id="", from_scratch=False, model_version=VERSION
            )
            seen = connection.execute("SELECT sha256 FROM pictures").fetchall()
            pictures.mark_searched(connection, [key for (key,) in seen], job=job.number)
            database.refuses = refuses
        working = asyncio.create_task(worker.watch())
        async with asyncio.timeout(60):
            while True:
                with database.read() as connection:
                    waiting = pictures.next_to_search(connection, job=None, limit=10)
                    unseen = pictures.find_unseen(connection)
                    if not jobs.get_running(connection) and not waiting and not unseen:
                        break
                await asyncio.sleep(0.02)
        with database.read() as connection:
            assert jobs.get(connection, job.name).state == jobs.State.SUCCEEDED
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    await run_job(1)
    # The end of the regrouping and the first step of the tidying.
    await run_job(2, refuses=2)
    assert database.refuses == 0
    worker.close()
    database.close()


async def test_what_was_judged_is_looked_at_again(database, archive):
    """It may have been deleted since it was found, and the verdict put it back."""
    points = {archive.put(1, shows=1), archive.put(2, shows=2)}
    noted: set[bytes] = set()
    worker = types.SimpleNamespace(
        describe=archive.describe, note=lambda ids: noted.update(each.bytes for each in ids)
    )
    servicer = ClusterServicer(database=database, worker=worker, holdings=archive)
    request = clusters_pb2.JudgePairRequest(
        a="archives/press/images/1",
        b="archives/press/images/2",
        decision=clusters_pb2.Verdict.SAME,
    )
    await servicer.JudgePair(request, None)
    assert noted == points
    servicer.close()


@pytest.fixture
def cluster(database, archive):
    """Three printings; of the pairs one is another exposure of the scene."""
    points = {sha(number): archive.put(number, shows=number) for number in (1, 2, 3)}
    with database.write() as connection:
        pictures.put_images(connection, [(each, key) for key, each in points.items()])
        put(
            connection,
            pair(sha(1), sha(2)),
            pair(sha(2), sha(3)),
            pair(sha(1), sha(3), relation=search_pb2.Hit.SAME_SCENE),
        )
        groups.regroup(connection, points.values(), describe=archive.describe)
        return views.find_cluster(connection, "archives/press/images/1", holdings=archive)


def test_another_exposure_is_no_link(database, archive, cluster):
    with database.read() as connection:
        found = views.to_cluster(connection, cluster, holdings=archive)
    assert (found.size, len(found.members)) == (3, 3)
    assert [link.relation for link in found.links] == [search_pb2.Hit.REPRINT] * 2
    assert sorted(member.link_count for member in found.members) == [1, 1, 2]


def test_a_cluster_of_which_nothing_is_left_is_not_found(database, archive, cluster):
    archive.points.clear()
    with database.read() as connection, pytest.raises(errors.NotFound):
        views.to_cluster(connection, cluster, holdings=archive)
