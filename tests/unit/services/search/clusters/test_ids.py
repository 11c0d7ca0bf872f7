"""The ids of clusters whose members are deleted, imported again, parted and brought together."""

from __future__ import annotations

import itertools

import pytest

from halftone.archive import records
from halftone.core import errors
from halftone.services.search.clusters import groups, jobs, pictures, verdicts, views
from halftone.services.search.clusters.store import Database
from halftone.v1 import clusters_pb2
from tests.support.search.fake_cluster_archive import (
    VERSION,
    Archive,
    Comparer,
    pair,
    put,
    sha,
    steps_of,
)

Decision = clusters_pb2.Verdict.Decision
# By their points: ids come from the first of them.
BY_POINT = sorted(range(1, 9), key=lambda each: records.Name("press", str(each)).point_id.bytes)


class World:
    """An archive whose images are numbered in the order of their points, and its clusters."""

    def __init__(self, database, links):
        self.database = database
        self.archive = Archive()
        self.steps = steps_of(database, self.archive, Comparer())
        self.links = [tuple(map(int, link)) for link in links]
        with database.write() as connection:
            job, _ = jobs.create(
                connection, request_id="", from_scratch=False, model_version=VERSION
            )
        assert self.steps.regroup_all(job, 0, 0) is not None

    def point(self, number):
        return records.Name("press", str(BY_POINT[number])).point_id.bytes

    def bring(self, *numbers):
        """Imports images; what the worker does of it then."""
        for number in numbers:
            self.archive.put(BY_POINT[number], shows=BY_POINT[number])
        self._note(numbers)
        if waiting := self.steps.next_to_search(None, 100):
            with self.database.write() as connection:
                put(connection, *[pair(sha(BY_POINT[a]), sha(BY_POINT[b])) for a, b in self.links])
            self.steps.join(waiting)

    def drop(self, *numbers):
        """Deletes images."""
        for number in numbers:
            self.archive.remove(BY_POINT[number])
        self._note(numbers)

    def _note(self, numbers):
        points = [self.point(number) for number in numbers]
        there = self.archive.points
        shas = {
            name.bytes: bytes.fromhex(stored.payload["sha256"])
            for name, stored in there.items()
            if name.bytes in points
        }
        self.steps.apply_changes(points, shas, enabled=True)

    def job(self):
        """Runs one; it forgets the pairs of pictures that are gone."""
        with self.database.write() as connection:
            job, _ = jobs.create(
                connection, request_id="", from_scratch=False, model_version=VERSION
            )
            shown = connection.execute("SELECT sha256 FROM pictures").fetchall()
            pictures.mark_searched(connection, [each for (each,) in shown], job=job.number)
        assert self.steps.regroup_all(job, 0, 0) is not None

    def judge(self, a, b, decision):
        """Says something of two images; the verdict's number."""
        names = [records.Name("press", str(BY_POINT[each])) for each in (a, b)]
        with self.database.write() as connection:
            verdict = verdicts.judge(connection, *names, decision=decision, note="", author="")
            self._regroup(connection, a, b)
        return verdict.id

    def take_back(self, verdict, a, b):
        with self.database.write() as connection:
            verdicts.end(connection, verdict)
            self._regroup(connection, a, b)

    def _regroup(self, connection, *numbers):
        groups.regroup(connection, list(map(self.point, numbers)), describe=self.archive.describe)

    def clusters(self):
        """Ids of clusters and the numbers of their members."""
        numbers = {self.point(number): number for number in range(len(BY_POINT))}
        found = {}
        with self.database.read() as connection:
            for cluster, point in connection.execute("SELECT cluster, point FROM members"):
                found.setdefault(cluster, set()).add(numbers[point])
        return found

    def named(self, identifier):
        """The members of the cluster that an id leads to; none where it leads to none."""
        with self.database.read() as connection:
            try:
                row = views.find_cluster(
                    connection, f"clusters/{identifier}", holdings=self.archive
                )
            except errors.NotFound:
                return set()
        return self.clusters()[row.id]


@pytest.fixture
def world(memory_path_factory):
    made = []

    def make(*links):
        made.append(Database(memory_path_factory()))
        return World(made[-1], links)

    yield make
    for database in made:
        database.close()


def all_links(members):
    return [f"{a}{b}" for a, b in itertools.combinations(members, 2)]


@pytest.mark.soak
@pytest.mark.parametrize("with_jobs", [False, True], ids=["", "jobs"])
@pytest.mark.parametrize(
    ("links", "first"),
    [
        (["01"], "01"),
        (["01", "12"], "012"),
        (["01", "02"], "012"),
        (["01", "02", "12"], "012"),
        # It came from the second one; the first joined afterwards.
        (["01", "02", "12"], "12"),
        (all_links("0123"), "123"),
        (all_links("0123"), "23"),
    ],
)
def test_whoever_is_deleted_and_imported_again_the_id_is_the_old_one(
    world, links, first, with_jobs
):
    """Any number of members in any order, those included that the id came from."""
    here = world(*links)
    members = sorted({int(number) for link in links for number in link})
    here.bring(*map(int, first))
    here.bring(*members)
    ((cited, _),) = here.clusters().items()
    gone = [order for count in range(1, 4) for order in itertools.permutations(members, count)]
    for out in gone:
        for number in out:
            here.drop(number)
            if with_jobs:
                here.job()
        back = out[::-1] if len(out) > 2 else out
        for number in back:
            here.bring(number)
            grouped = set().union(*here.clusters().values())
            # Whatever part of it is together bears its name.
            assert here.clusters() == ({cited: grouped} if grouped else {}), (out, number)
        assert here.clusters() == {cited: set(members)}, out


def test_an_id_names_the_group_that_any_of_its_members_is_in(world):
    here = world("01", "12", "02", "13", "34")
    here.bring(0, 1)
    ((cited, _),) = here.clusters().items()
    here.drop(0)
    assert here.named(cited) == set()
    # One of two comes together with another picture's printing.
    here.bring(2)
    assert here.clusters() == {cited: {1, 2}}
    here.drop(1, 2)
    here.job()
    here.bring(3, 4)
    ((other, _),) = here.clusters().items()
    assert here.named(cited) == set()
    # The name that a group has is not taken from it, even by an older one.
    here.links.append((2, 3))
    here.links.append((2, 4))
    here.bring(2)
    assert here.clusters() == {other: {2, 3, 4}}
    assert here.named(cited) == {2, 3, 4}


def test_what_was_deleted_from_a_cluster_brings_its_name_back(world):
    here = world(*all_links("0123"), "04")
    here.bring(0, 1, 2, 3)
    ((cited, _),) = here.clusters().items()
    # It lived on without these, and is gone with the others.
    here.drop(0)
    here.drop(1)
    here.drop(2, 3)
    here.bring(4, 0)
    assert here.clusters() == {cited: {0, 4}}


def test_a_verdict_that_is_taken_back_and_said_again_makes_no_new_ids(world):
    here = world(*all_links("01"), *all_links("234"))
    here.bring(0, 1)
    here.bring(2, 3, 4)
    before = here.clusters()
    older, younger = sorted(before, key=lambda each: len(before[each]))
    for _ in range(3):
        joined = [here.judge(each, 2, Decision.SAME) for each in (0, 1)]
        assert here.clusters() == {older: {0, 1, 2, 3, 4}}
        assert here.named(younger) == {0, 1, 2, 3, 4}
        for each, verdict in enumerate(joined):
            here.take_back(verdict, each, 2)
        # Although those that came to it are the larger part.
        assert here.clusters() == before


def test_a_part_that_leaves_has_the_same_id_each_time(world):
    here = world(*all_links("01"), *all_links("23"), "02", "03", "12", "13")
    here.bring(0, 1, 2, 3)
    ((cited, _),) = here.clusters().items()
    seen = []
    for _ in range(3):
        apart = [here.judge(a, b, Decision.DIFFERENT) for a in (0, 1) for b in (2, 3)]
        assert sorted(here.clusters().values(), key=min) == [{0, 1}, {2, 3}]
        assert here.clusters()[cited] == {0, 1}
        seen.append(set(here.clusters()))
        for verdict, (a, b) in zip(apart, itertools.product((0, 1), (2, 3)), strict=True):
            here.take_back(verdict, a, b)
        assert here.clusters() == {cited: {0, 1, 2, 3}}
    assert seen[0] == seen[1] == seen[2]


def test_what_was_parted_from_a_cluster_never_bears_its_name(world):
    """A person said that it is another picture: who cited the id did not mean that."""
    here = world(*all_links("0123"), "34")
    here.bring(0, 1, 2, 3)
    ((cited, _),) = here.clusters().items()
    for a, b in itertools.product((0, 1), (2, 3)):
        here.judge(a, b, Decision.DIFFERENT)
    (other,) = set(here.clusters()) - {cited}
    assert here.named(cited) == {0, 1}
    here.drop(0)
    assert here.named(cited) == set()
    here.drop(2)
    here.bring(4)
    assert here.clusters() == {other: {3, 4}}
    assert here.named(cited) == set()
    here.bring(0)
    assert here.clusters() == {cited: {0, 1}, other: {3, 4}}


def test_a_picture_that_is_replaced_and_comes_back_finds_its_cluster(world):
    here = world("01")
    here.bring(0, 1)
    ((cited, _),) = here.clusters().items()
    here.archive.put(BY_POINT[1], shows=99)
    here._note([1])
    assert here.clusters() == {}
    # The id goes with the picture, not with the name.
    with here.database.read() as connection:
        held = [point for (point,) in connection.execute("SELECT point FROM former")]
    assert held == [here.point(0)]
    here.bring(1)
    assert here.clusters() == {cited: {0, 1}}


def test_nor_does_the_first_member_whose_id_it_was(world):
    here = world("01", "02", "12", "03")
    here.bring(0, 1, 2)
    ((cited, _),) = here.clusters().items()
    here.judge(0, 1, Decision.DIFFERENT)
    here.judge(0, 2, Decision.DIFFERENT)
    assert here.clusters() == {cited: {1, 2}}
    here.drop(1, 2)
    here.bring(3)
    ((other, members),) = here.clusters().items()
    assert members == {0, 3}
    assert other != cited
    here.bring(1, 2)
    assert here.clusters() == {cited: {1, 2}, other: {0, 3}}


@pytest.mark.parametrize("grouped", [False, True])
def test_an_image_that_shows_another_picture_takes_no_id_there(world, grouped):
    here = world("01", "23")
    here.bring(0, 1)
    ((cited, _),) = here.clusters().items()
    here.bring(*((2, 3) if grouped else (2,)))
    others = set(here.clusters()) - {cited}
    here.archive.put(BY_POINT[0], shows=BY_POINT[2])
    here._note([0])
    ((found, members),) = here.clusters().items()
    assert members == ({0, 2, 3} if grouped else {0, 2})
    assert found != cited
    if grouped:
        assert {found} == others
    assert here.named(cited) == set()
