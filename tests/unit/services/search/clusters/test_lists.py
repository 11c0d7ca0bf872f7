"""Lists of clusters: what a filter matches is looked up once for all pages."""

from __future__ import annotations

import dataclasses

import pytest

from halftone.archive.records import Name
from halftone.core import errors
from halftone.services.search.clusters import groups, pictures, verdicts
from halftone.services.search.clusters.lists import ClusterLists
from halftone.services.search.clusters.store import Database
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.fake_cluster_archive import Archive, pair, put, sha


class Counted(Archive):
    """Counts how often it is gone through."""

    scans = 0

    def count(self, _condition):
        return len(self.points)

    def scan(self, **condition):
        self.scans += 1
        return super().scan(**condition)


@pytest.fixture
def archive():
    return Counted()


@pytest.fixture
def database(tmp_path, archive):
    made = Database(tmp_path)
    with made.write() as connection:
        points = [(archive.put(number, shows=number), sha(number)) for number in range(10)]
        pictures.put_images(connection, points)
        put(connection, *[pair(sha(number), sha(number + 1)) for number in range(0, 10, 2)])
        groups.regroup(connection, [point for point, _ in points], describe=archive.describe)
    yield made
    made.close()


def pages(database, lists, **fields):
    """Ids by page, from the first to the last."""
    found, token = [], ""
    while True:
        request = clusters_pb2.ListClustersRequest(page_size=2, page_token=token, **fields)
        with database.read() as connection:
            response = lists.read(connection, request)
        assert response.total_count == 5
        found.append([cluster.name for cluster in response.clusters])
        token = response.next_page_token
        if not token:
            return found


def test_what_a_filter_matches_is_looked_up_for_the_first_page_alone(database, archive):
    lists = ClusterLists(archive)
    every = pages(database, lists)
    assert [len(page) for page in every] == [2, 2, 1]
    assert archive.scans == 0
    condition = search_pb2.Filter(journals=["any"])
    assert pages(database, lists, filter=condition) == every
    assert archive.scans == 1
    # Another first page sees what has changed since, another filter has matches of its own.
    assert pages(database, lists, filter=condition) == every
    assert archive.scans == 2
    assert pages(database, lists, filter=search_pb2.Filter(journals=["other"])) == every
    assert archive.scans == 3


def test_a_page_is_found_where_nothing_is_kept(database, archive):
    """The service was started anew, or others have listed by many filters since."""
    condition = search_pb2.Filter(journals=["any"])
    request = clusters_pb2.ListClustersRequest(page_size=2, filter=condition)
    with database.read() as connection:
        lists = ClusterLists(archive)
        request.page_token = lists.read(connection, request).next_page_token
        expected = lists.read(connection, request)
        assert ClusterLists(archive).read(connection, request) == expected
        for number in range(20):
            other = clusters_pb2.ListClustersRequest(
                filter=search_pb2.Filter(journals=[str(number)])
            )
            lists.read(connection, other)
        assert len(lists._kept) < 20
        assert lists.read(connection, request) == expected


class TestWeakestAndUnjudged:
    """Five clusters of two, whose links are less and less probable."""

    @pytest.fixture
    def graded(self, tmp_path, archive):
        made = Database(tmp_path / "graded")
        with made.write() as connection:
            points = [(archive.put(number, shows=number), sha(number)) for number in range(10)]
            pictures.put_images(connection, points)
            put(
                connection,
                *[
                    dataclasses.replace(
                        pair(sha(number), sha(number + 1)), probability=0.99 - number / 100
                    )
                    for number in range(0, 10, 2)
                ],
            )
            groups.regroup(connection, [point for point, _ in points], describe=archive.describe)
        yield made
        made.close()

    def judge(self, database, number):
        with database.write() as connection:
            verdicts.judge(
                connection,
                Name("press", str(number)),
                Name("press", str(number + 1)),
                decision=clusters_pb2.Verdict.SAME,
                note="",
                author="",
            )

    def read(self, database, archive, **fields):
        found, token = [], ""
        while True:
            request = clusters_pb2.ListClustersRequest(page_size=2, page_token=token, **fields)
            with database.read() as connection:
                response = ClusterLists(archive).read(connection, request)
            found += [round(cluster.weakest_link, 2) for cluster in response.clusters]
            token = response.next_page_token
            if not token:
                assert response.total_count == len(found)
                return found

    def test_the_least_probable_link_comes_first(self, graded, archive):
        assert self.read(graded, archive, order="WEAKEST_LINK") == [0.91, 0.93, 0.95, 0.97, 0.99]

    def test_only_weak_ones(self, graded, archive):
        weak = self.read(graded, archive, order="WEAKEST_LINK", max_weakest_link=0.95)
        assert weak == [0.91, 0.93, 0.95]
        for value in (-0.1, 1.1, float("nan")):
            with pytest.raises(errors.InvalidArgument):
                self.read(graded, archive, max_weakest_link=value)

    def test_those_that_nobody_has_judged_come_first_or_alone(self, graded, archive):
        self.judge(graded, 8)
        self.judge(graded, 4)
        fields = {"order": "WEAKEST_LINK"}
        first = self.read(graded, archive, unjudged_first=True, **fields)
        assert first == [0.93, 0.97, 0.99, 0.91, 0.95]
        assert self.read(graded, archive, only_unjudged=True, **fields) == [0.93, 0.97, 0.99]
        sizes = self.read(graded, archive, unjudged_first=True)
        assert set(sizes[:3]) == {0.93, 0.97, 0.99}
