"""The clusters' file: refused when newer or in use, transactions, resumption, what is kept."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading

import pytest

from halftone.archive.records import Name
from halftone.core import errors
from halftone.services.search.clusters import groups, jobs, pictures, verdicts
from halftone.services.search.clusters import pairs as cluster_pairs
from halftone.services.search.clusters.chronology import DatedPrinting
from halftone.services.search.clusters.pairs import PairComparison
from halftone.services.search.clusters.store import FILE, SCHEMA, Database, open_database
from halftone.v1 import clusters_pb2
from tests.support.search.fake_cluster_archive import count_images

Decision = clusters_pb2.Verdict.Decision
State = clusters_pb2.ClusterJob.State


def point(number: int) -> bytes:
    return number.to_bytes(16, "big")


def sha(number: int) -> bytes:
    return number.to_bytes(32, "big")


def compared(a: int, b: int, probability=0.99) -> PairComparison:
    return PairComparison(
        a=sha(min(a, b)),
        b=sha(max(a, b)),
        probability=probability,
        share=1.0,
        relation=2,
        evidence=b"",
        verification=b"",
    )


def put(connection, *pairs, job=1):
    cluster_pairs.put_pairs(connection, pairs, model_version="m/1", matching="f", job=job)


def describe(points):
    return {
        each: DatedPrinting(
            point=each, name=each.hex(), journal="J", earliest=700_000 + each[-1], latest=None
        )
        for each in points
    }


def regroup(connection, *numbers):
    return groups.regroup(connection, list(map(point, numbers)), describe=describe)


def clusters(connection):
    found = {}
    for member, cluster in connection.execute("SELECT point, cluster FROM members"):
        found.setdefault(cluster, []).append(int.from_bytes(member, "big"))
    return sorted(sorted(members) for members in found.values())


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    yield made
    made.close()


def test_a_newer_file_is_refused_and_left_alone(tmp_path):
    Database(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
    connection.close()
    with pytest.raises(errors.DataDirectoryError, match="newer release") as caught:
        Database(tmp_path)
    assert caught.value.metadata == {"schema": str(SCHEMA + 1)}
    # The lock was let go.
    with pytest.raises(errors.DataDirectoryError, match="newer release"):
        Database(tmp_path)


def test_a_second_process_is_refused(tmp_path, database):
    with pytest.raises(errors.DataDirectoryError) as caught:
        Database(tmp_path)
    assert caught.value.reason == "CLUSTERS_ELSEWHERE"
    database.close()
    Database(tmp_path).close()


def test_a_file_that_is_none_is_told_as_damage(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(errors.DataLoss):
        Database(tmp_path)


def test_a_transaction_that_fails_leaves_nothing(database):
    def fail():
        with database.write() as connection:
            pictures.put_images(connection, [(point(1), sha(1))])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as connection:
        assert count_images(connection) == 0
    with database.write() as connection, database.write() as inner:
        assert inner is connection
        pictures.put_images(connection, [(point(1), sha(1))])
    with database.read() as connection:
        assert count_images(connection) == 1
        assert pictures.shas_of(connection, [point(1)]) == {point(1): sha(1)}


def test_verdicts_are_on_disk_when_the_transaction_ends(database):
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_threads_write_and_read(database):
    failures = []

    def work(number):
        try:
            for at in range(20):
                with database.write() as connection:
                    pictures.put_images(connection, [(point(100 * number + at), sha(at))])
                with database.read() as connection:
                    assert pictures.shas_of(connection, [point(100 * number + at)])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with database.read() as connection:
        assert count_images(connection) == 120


def test_pairs_outlive_images_and_are_compared_once_for_a_format(database):
    with database.write() as connection:
        pictures.put_images(connection, [(point(each), sha(each)) for each in (1, 2, 3)])
        put(connection, compared(1, 2), compared(2, 3, 0.1), job=4)
        wanted = [(sha(1), sha(2)), (sha(1), sha(3)), (sha(2), sha(3))]

        def missing(**changes):
            options = {"matching": "f", "since_job": 0} | changes
            return cluster_pairs.find_missing(connection, wanted, **options)

        assert missing() == [(sha(1), sha(3))]
        assert missing(matching="another") == wanted
        assert missing(since_job=5) == wanted
        pictures.drop_images(connection, [point(2)])
        assert missing() == [(sha(1), sha(3))]
        cluster_pairs.drop_unseen(connection, pictures.find_unseen(connection))
        assert missing() == wanted


def settle(connection):
    """Have the latest job succeed, and take note of what it grouped."""
    for number in (1, 2):
        connection.execute(
            "INSERT OR REPLACE INTO jobs (number, id, from_scratch, state, model_version,"
            " create_time) VALUES (?, ?, 0, ?, '', 0)",
            (number, str(number), int(State.SUCCEEDED)),
        )
    assert not pictures.settle_some(connection, succeeded=int(State.SUCCEEDED))


def test_what_was_searched_is_searched_again_after_it_was_gone(database):
    with database.write() as connection:
        pictures.put_images(connection, [(point(1), sha(1)), (point(2), sha(1))])
        assert pictures.next_to_search(connection, job=None, limit=9) == [(point(1), sha(1))]
        pictures.mark_searched(connection, [sha(1)], job=1)
        assert pictures.count_searched(connection, job=1) == (2, 2)
        assert pictures.count_searched(connection, job=2) == (2, 0)
        settle(connection)
        pictures.drop_images(connection, [point(1)])
        assert pictures.next_to_search(connection, job=None, limit=9) == []
        pictures.drop_images(connection, [point(2)])
        pictures.put_images(connection, [(point(3), sha(1))])
        assert pictures.next_to_search(connection, job=None, limit=9) == [(point(3), sha(1))]


def test_what_a_job_searched_for_and_did_not_group_is_searched_again(database):
    with database.write() as connection:
        pictures.put_images(connection, [(point(1), sha(1))])
        pictures.mark_joined(connection, [sha(1)], job=1)
        # Imported while the second job runs, which is then cancelled.
        pictures.put_images(connection, [(point(2), sha(2))])
        pictures.mark_searched(connection, [sha(1), sha(2)], job=2)
        assert pictures.next_to_search(connection, job=2, limit=9) == []
        assert pictures.count_searched(connection, job=2) == (2, 2)
        assert pictures.next_to_search(connection, job=None, limit=9) == [(point(2), sha(2))]
        assert len(pictures.next_to_search(connection, job=3, limit=9)) == 2
        settle(connection)
        assert pictures.next_to_search(connection, job=None, limit=9) == []


def test_regrouping_a_part_keeps_ids_and_leaves_the_rest(database):
    with database.write() as connection:
        pictures.put_images(connection, [(point(each), sha(each)) for each in range(1, 9)])
        put(connection, compared(1, 2), compared(3, 4), compared(5, 6))
        assert len(regroup(connection, *range(1, 9)).changed) == 3
        before = dict(connection.execute("SELECT point, cluster FROM members"))
        times = dict(connection.execute("SELECT id, update_time FROM clusters"))
        put(connection, compared(1, 3), compared(1, 4), compared(2, 3), compared(2, 4))
        assert regroup(connection, 1).points == set(map(point, (1, 2, 3, 4)))
        assert clusters(connection) == [[1, 2, 3, 4], [5, 6]]
        after = dict(connection.execute("SELECT point, cluster FROM members"))
        assert after[point(1)] in {before[point(1)], before[point(3)]}
        assert after[point(5)] == before[point(5)]
        assert (
            dict(connection.execute("SELECT id, update_time FROM clusters"))[after[point(5)]]
            == times[after[point(5)]]
        )
        # The one that is gone leads to the one that stays.
        gone = ({before[point(1)], before[point(3)]} - {after[point(1)]}).pop()
        assert connection.execute(
            "SELECT successor, end_time IS NULL FROM clusters WHERE id = ?", (gone,)
        ).fetchone() == (after[point(1)], False)
        # The same again changes nothing.
        assert regroup(connection, *range(1, 9)).changed == set()


def test_verdicts_have_a_history_and_bind_what_was_never_compared(database):
    names = [Name("press", letter) for letter in "abc"]
    with database.write() as connection:
        pictures.put_images(
            connection, [(name.point_id.bytes, sha(at)) for at, name in enumerate(names)]
        )
        options = {"note": "", "author": ""}
        first = verdicts.judge(connection, names[1], names[0], decision=Decision.SAME, **options)
        assert (first.a, first.b) == (str(names[0]), str(names[1]))
        again = verdicts.judge(
            connection, names[0], names[1], decision=Decision.DIFFERENT, **options
        )
        held = verdicts.list_verdicts(connection, point=None, history=False, before=None, limit=9)
        assert [each.id for each in held] == [again.id]
        every = verdicts.list_verdicts(connection, point=None, history=True, before=None, limit=9)
        assert [each.id for each in every] == [again.id, first.id]
        assert every[1].end_time is not None
        points = [name.point_id.bytes for name in names]
        assert verdicts.find_bound(connection, points[:1]) == set()
        assert [each.same for each in verdicts.list_holding(connection, points)] == [False]


def test_verdicts_between_an_image_and_many_others_are_found_from_either_side(database):
    names = [Name("press", str(number)) for number in range(1_100)]
    points = [each.point_id.bytes for each in names]
    middle = sorted(names, key=lambda each: each.point_id.bytes)[550]
    with database.write() as connection:
        made = {
            other.point_id.bytes: verdicts.judge(
                connection, middle, other, decision=Decision.UNSURE, note="", author=""
            )
            for other in names
            if other != middle
        }
        # Between two others.
        verdicts.judge(connection, names[0], names[1], decision=Decision.SAME, note="", author="")
        found = verdicts.find_between(connection, middle.point_id.bytes, points)
        assert found == made
        (other, verdict), *_ = made.items()
        verdicts.end(connection, verdict.id)
        assert verdicts.find_between(connection, middle.point_id.bytes, [other]) == {}


def test_one_job_runs_at_a_time_and_a_request_is_answered_once(database):
    with database.write() as connection:
        options = {"from_scratch": False, "model_version": "m/1"}
        job, new = jobs.create(connection, request_id="r", **options)
        assert new
        assert jobs.create(connection, request_id="", **options) == (job, False)
        assert jobs.create(connection, request_id="meanwhile", **options) == (job, False)
        assert not jobs.any_succeeded(connection)
        ended = jobs.end(connection, job.number, state=State.SUCCEEDED)
        assert jobs.any_succeeded(connection)
        for repeated in ("r", "meanwhile"):
            assert jobs.create(connection, request_id=repeated, **options) == (ended, False)
        # An ended job stays as it is.
        assert jobs.end(connection, job.number, state=State.CANCELLED) == ended
        assert jobs.create(connection, request_id="s", **options)[1]


def test_imports_join_however_many_jobs_fail_afterwards(database):
    with database.write() as connection:
        for number in range(1_003):
            job, _ = jobs.create(connection, request_id="", from_scratch=False, model_version="m/1")
            state = State.FAILED if number else State.SUCCEEDED
            jobs.end(connection, job.number, state=state)
        assert jobs.any_succeeded(connection)
        # The newest thousand, and that one.
        assert len(jobs.list_jobs(connection, before=None, limit=2_000)) == 1_001


def test_a_file_system_without_locks_leaves_the_service_without_clusters(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(errors.DataDirectoryError, match="cannot be locked: No locks available"):
        open_database(tmp_path).read()
