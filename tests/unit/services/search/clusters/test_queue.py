"""The queue of pairs to judge: which pairs are in it, in which order; its place is kept."""

from __future__ import annotations

import pytest

from halftone.archive.records import Name
from halftone.core import errors
from halftone.services.search.clusters import groups, pairs, pictures, verdicts
from halftone.services.search.clusters.pairs import PairComparison
from halftone.services.search.clusters.queue import (
    JudgingQueue,
    doubt_probability,
    measure_disagreement,
)
from halftone.services.search.clusters.store import Database
from halftone.v1 import clusters_pb2, search_pb2
from tests.support.search.fake_cluster_archive import VERSION, Archive, sha

Reason = clusters_pb2.PairToJudge.Reason
NEAR, WEAKEST, DISAGREES = Reason.NEAR_THRESHOLD, Reason.WEAKEST_LINK, Reason.DISAGREEMENT


def verification(**fields):
    overlap = search_pb2.Overlap(query_share=1, image_share=1, **fields)
    return search_pb2.Verification(overlaps=[overlap]).SerializeToString()


def compared(a, b, probability, *, kept=b""):
    one, other = sorted((sha(a), sha(b)))
    return PairComparison(
        a=one,
        b=other,
        probability=probability,
        share=1.0,
        relation=search_pb2.Hit.REPRINT,
        evidence=b"",
        verification=kept,
    )


class Desk:
    """Images 0 to 29, each of a picture of its own, their comparisons, and the queue over them."""

    def __init__(self, directory):
        self.archive = Archive()
        self.database = Database(directory)
        self.queue = JudgingQueue(self.archive)
        with self.database.write() as connection:
            self.points = [self.archive.put(number, shows=number) for number in range(30)]
            pictures.put_images(
                connection, [(point, sha(number)) for number, point in enumerate(self.points)]
            )

    def compare(self, *found):
        with self.database.write() as connection:
            pairs.put_pairs(connection, found, model_version=VERSION, matching="1", job=0)
            groups.regroup(connection, self.points, describe=self.archive.describe)

    def judge(self, a, b, decision="SAME"):
        with self.database.write() as connection:
            verdicts.judge(
                connection,
                Name("press", str(a)),
                Name("press", str(b)),
                decision=clusters_pb2.Verdict.Decision.Value(decision),
                note="",
                author="Eva",
            )

    def read(self, **fields):
        request = clusters_pb2.ListPairsToJudgeRequest(**fields)
        with self.database.read() as connection:
            return self.queue.read(connection, request)

    def list(self, **fields):
        return [numbers(pair) for pair in self.read(**fields).pairs]


def numbers(pair):
    return tuple(sorted(int(image.name.rpartition("/")[2]) for image in (pair.a, pair.b)))


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.database.close()


def test_pairs_near_the_threshold_come_first_and_certain_ones_not_at_all(desk):
    desk.compare(
        compared(0, 1, 0.9),
        compared(2, 3, 0.999),
        compared(4, 5, 0.5),
        compared(6, 7, 0.01),
        compared(8, 9, 0.98),
        compared(10, 11, 0.15),
    )
    assert desk.list() == [(0, 1), (4, 5), (8, 9), (10, 11)]
    response = desk.read()
    first = response.pairs[0]
    assert (first.reason, first.relation) == (NEAR, search_pb2.Hit.REPRINT)
    assert first.probability == pytest.approx(0.9)
    assert (response.remaining_count, response.total_count) == (4, 4)
    assert first.priority > response.pairs[1].priority > 0


def test_a_pair_on_which_many_images_depend_comes_before_a_lonely_one(desk):
    chain = [compared(at, at + 1, 0.97) for at in range(2, 10)]
    desk.compare(compared(0, 1, 0.85), compared(2, 20, 0.85), *chain)
    first, second, *_ = desk.read(reasons=[NEAR]).pairs
    assert (numbers(first), numbers(second)) == ((2, 20), (0, 1))
    assert first.affected_count > second.affected_count == 2
    assert first.a_cluster or first.b_cluster


def test_the_weakest_link_of_a_cluster_is_asked_about(desk):
    """A cluster of two has no other link to hold it together."""
    desk.compare(compared(0, 1, 0.995), compared(1, 2, 0.97), compared(5, 6, 0.97))
    (pair,) = desk.read(reasons=[WEAKEST]).pairs
    assert numbers(pair) == (1, 2)
    assert pair.a_cluster == pair.b_cluster != ""
    assert pair.affected_count == 3


def test_members_that_were_found_to_differ_are_asked_about(desk):
    desk.compare(compared(0, 1, 0.99), compared(1, 2, 0.99), compared(0, 2, 0.55))
    pairs_ = desk.read(reasons=[DISAGREES]).pairs
    assert [numbers(pair) for pair in pairs_] == [(0, 2)]


def test_diagrams_that_hardly_anything_speaks_for_do_not_flood_the_queue(desk):
    """Chess boards share their grid, and all of them are compared with each other."""
    alike = verification(contradicting_share=0.0, agreeing_share=0.9)
    boards = [compared(a, b, 0.015, kept=alike) for a in range(20) for b in range(a + 1, 20)]
    desk.compare(compared(20, 21, 0.88), *boards)
    assert desk.list() == [(20, 21)]


def test_a_cluster_is_asked_about_in_few_pairs(desk):
    """Some of its members were found to differ from each other."""
    links = [compared(a, b, 0.999) for a in range(8) for b in range(8, 16)]
    differing = [compared(a, b, 0.6 + a / 100) for a in range(8) for b in range(a + 1, 8)]
    desk.compare(*links, *differing)
    pairs_ = desk.read(reasons=[DISAGREES], page_size=100).pairs
    assert len(pairs_) <= 3


def test_evidence_that_speaks_against_itself_is_asked_about(desk):
    against = verification(contradicting_share=0.6, agreeing_share=0.2)
    for_it = verification(contradicting_share=0.0, agreeing_share=0.9)
    desk.compare(
        compared(0, 1, 0.999, kept=against),
        compared(2, 3, 0.12, kept=for_it),
        compared(4, 5, 0.999, kept=for_it),
        compared(6, 7, 0.12, kept=against),
    )
    assert desk.list(reasons=[DISAGREES]) == [(2, 3), (0, 1)]
    assert desk.read().pairs[0].verification.overlaps[0].agreeing_share == pytest.approx(0.9)


def test_what_speaks_against_a_probability():
    assert measure_disagreement(0.99, verification=None) == 0
    assert measure_disagreement(0.99, verification=verification()) == 0
    assert measure_disagreement(0.99, verification=verification(contradicting_share=0.1)) == 0
    assert measure_disagreement(0.99, verification=verification(contradicting_share=0.5)) == 0.5
    assert doubt_probability(0.9) == pytest.approx(1)
    assert doubt_probability(1.0) == doubt_probability(0.0) == 0


@pytest.mark.parametrize("decision", ["SAME", "DIFFERENT", "UNSURE"])
def test_a_judged_pair_leaves_the_queue_at_once(desk, decision):
    desk.compare(compared(0, 1, 0.9), compared(2, 3, 0.8))
    assert desk.list() == [(0, 1), (2, 3)]
    desk.judge(1, 0, decision)
    response = desk.read()
    assert [numbers(pair) for pair in response.pairs] == [(2, 3)]
    assert response.total_count == 1


def test_a_verdict_on_a_copy_with_the_same_bytes_counts(desk):
    desk.compare(compared(0, 1, 0.9))
    with desk.database.write() as connection:
        copy = desk.archive.put(40, shows=0)
        pictures.put_images(connection, [(copy, sha(0))])
    desk.judge(40, 1, "DIFFERENT")
    assert desk.list() == []


def test_a_page_token_keeps_its_place_when_pairs_are_judged(desk):
    desk.compare(*(compared(2 * at, 2 * at + 1, 0.9 - at / 100) for at in range(8)))
    first = desk.read(page_size=3)
    assert [numbers(pair) for pair in first.pairs] == [(0, 1), (2, 3), (4, 5)]
    assert first.remaining_count == 8
    for a, b in ((0, 1), (4, 5), (8, 9)):
        desk.judge(a, b)
    second = desk.read(page_size=3, page_token=first.next_page_token)
    assert [numbers(pair) for pair in second.pairs] == [(6, 7), (10, 11), (12, 13)]
    assert (second.remaining_count, second.total_count) == (4, 5)
    last = desk.read(page_size=3, page_token=second.next_page_token)
    assert [numbers(pair) for pair in last.pairs] == [(14, 15)]
    assert not last.next_page_token


def test_the_queue_of_one_cluster(desk):
    desk.compare(compared(0, 1, 0.95), compared(2, 3, 0.96))
    cluster = desk.read().pairs[0].a_cluster
    (pair,) = desk.read(cluster=cluster).pairs
    assert cluster in {pair.a_cluster, pair.b_cluster}


def test_pairs_of_pictures_that_no_image_shows_are_left_out(desk):
    desk.compare(compared(0, 1, 0.9), compared(100, 101, 0.9))
    assert desk.list() == [(0, 1)]
    desk.archive.remove(0)
    assert desk.list() == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reasons": [0]}, "reasons"),
        ({"reasons": [9]}, "reasons"),
        ({"cluster": "abc"}, "cluster"),
        ({"cluster": "clusters/"}, "cluster"),
        ({"page_size": 0}, "page_size"),
        ({"page_token": "abc"}, "page_token"),
    ],
)
def test_what_is_refused(desk, fields, field):
    with pytest.raises(errors.InvalidArgument) as raised:
        desk.read(**fields)
    assert raised.value.field == field
