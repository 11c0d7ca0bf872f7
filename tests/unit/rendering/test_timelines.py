"""Dates, gaps and alignments of a cluster's printings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from halftone.archive import dates
from halftone.client import (
    Client,
    Cluster,
    ClusterMember,
    Decision,
    ImageRecord,
    Link,
    Overlap,
    Relation,
    Verification,
)
from halftone.rendering import alignments, timelines, wording
from tests.support.client.fake_clusters import FakeClusters


def record(date="", name="archives/a/images/x"):
    days = dates.parse(date) if date else None
    return ImageRecord(
        name=name,
        date=date,
        earliest_date=days and days.earliest,
        latest_date=days and days.latest,
        width=100,
        height=100,
    )


def link(a, b, probability=0.9, homography=None, verdict=None):
    overlaps = ()
    if homography is not None:
        flat = tuple(np.asarray(homography, dtype=float).ravel())
        overlaps = (Overlap(inlier_count=20, homography=flat),)
    verification = Verification(overlaps=overlaps)
    return Link(a=a, b=b, probability=probability, verification=verification, verdict=verdict)


def cluster(*links, first="a"):
    names = dict.fromkeys([first, *(name for each in links for name in (each.a, each.b))])
    members = tuple(ClusterMember(image=record(name=name)) for name in names)
    return Cluster(
        name="clusters/1",
        size=len(members),
        first_image=members[0].image,
        members=members,
        links=links,
    )


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("1914-08-02", "2 August 1914"),
        ("1914-08", "August 1914"),
        ("1914", "1914"),
        ("1914~", "about 1914"),
        ("1914-08?", "perhaps August 1914"),
        ("191X", "the 1910s"),
        ("18XX", "the 1800s"),
        ("1914/1916", "1914 to 1916"),
        ("1914/1914", "1914"),
        ("../1916", "../1916"),
        ("", "undated"),
    ],
)
def test_dates_in_words(date, words):
    assert wording.describe_date(record(date)) == words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("1914-08-02", "1914-08-02", "the same day"),
        ("1914-08-02", "1914-08-03", "1 day later"),
        ("1914-08-02", "1914-08-30", "4 weeks later"),
        ("1914-08-02", "1915-01-30", "6 months later"),
        ("1914-08-02", "1917-11-02", "3 years and 3 months later"),
        ("1898-05-01", "1909-06-11", "11 years later"),
        ("1903", "1915", "about 12 years later"),
        ("1903", "1904", "about 1 year later"),
        ("1903-12-30", "1904-01-02", "3 days later"),
        ("1909", "1909", "the same year"),
        ("1909-03", "1909-03", "the same month"),
        ("190X", "190X", "the same years"),
        ("1909", "1909-04-01", "about the same time"),
        ("1909-01", "1909-06", "about 5 months later"),
        ("1909", "", ""),
    ],
)
def test_gaps_say_no_more_than_the_dates(before, after, words):
    assert wording.describe_gap(record(before), record(after)) == words


def test_an_imprecise_date_may_be_the_earliest():
    with FakeClusters() as fake, Client(fake.address) as client:
        a = fake.add_printing("a", date="1909", journal="A")
        b = fake.add_printing("b", date="1909-06-01", journal="B")
        c = fake.add_printing("c", date="1910", journal="C")
        fake.link(a, b)
        fake.link(b, c)
        found = timelines.list_printings(client.cluster(a))
    assert [printing.is_earliest for printing in found] == [True, False, False]
    assert [printing.may_be_earliest for printing in found] == [False, True, False]


def test_the_weakest_link_is_the_one_that_is_needed():
    needed, spare = link("b", "c", 0.8), link("a", "d", 0.3)
    found = cluster(link("a", "b", 0.9), needed, link("c", "d", 0.95), spare)
    assert timelines.find_weakest_link(found) is needed
    said = dataclasses.replace(needed, verdict=Decision.SAME)
    assert timelines.find_weakest_link(cluster(link("a", "b", 0.9), said)).a == "a"
    assert timelines.find_weakest_link(cluster()) is None


def test_what_an_archivist_said_is_never_the_weakest_link():
    said = [
        link("a", "c", None, verdict=Decision.SAME),
        link("b", "c", 1.0, verdict=Decision.SAME),
    ]
    held = cluster(link("a", "b", 0.7), *said)
    assert timelines.find_weakest_link(held) is None
    assert not any(printing.is_weakest for printing in timelines.list_printings(held))
    # A measured probability may be 1 as well.
    certain = link("a", "b", 1.0)
    for each in said:
        assert timelines.find_weakest_link(cluster(certain, each)) is certain


def test_alignment_goes_by_links_in_either_direction():
    shift, double = [[1, 0, 10], [0, 1, 0], [0, 0, 1]], [[2, 0, 0], [0, 2, 0], [0, 0, 1]]
    # a -> b by `shift`, c -> b by `double`: from c to a it is double, then back.
    ways = alignments.align_members(
        cluster(link("a", "b", 0.9, shift), link("c", "b", 0.9, double)), to="a"
    )
    assert ways["b"].steps == 1
    assert ways["c"].steps == 2
    point = alignments.project(ways["c"].homography, np.array([[7.0, 3.0]]))
    assert point.tolist() == [[4.0, 6.0]]


def test_the_direct_way_is_taken_and_of_equals_the_surer():
    one, two = np.eye(3), np.diag([2.0, 2.0, 1.0])
    direct = cluster(link("a", "b", 0.99, one), link("b", "c", 0.99, one), link("c", "a", 0.6, two))
    assert alignments.align_members(direct, to="a")["c"].homography[0, 0] == 2
    ways = cluster(
        *(link("a", "b", 0.7, one), link("b", "d", 0.99, one)),
        *(link("a", "c", 0.9, two), link("c", "d", 0.9, one)),
    )
    assert alignments.align_members(ways, to="a")["d"].homography[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize("homography", [None, np.zeros((3, 3)), np.full((3, 3), np.nan), [[1, 0]]])
def test_a_link_without_a_usable_homography_leads_nowhere(homography):
    assert set(alignments.align_members(cluster(link("a", "b", 0.9, homography)), to="a")) == {"a"}


def test_points_beyond_the_horizon_have_no_place():
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    assert alignments.project(matrix, np.array([[50.0, 0.0]])).tolist() == [[100.0, 0.0]]
    assert alignments.project(matrix, np.array([[150.0, 0.0]])) is None


def test_ticks_are_round_years():
    assert wording.choose_ticks(1897.3, 1923.9, most=8) == (1900, 1905, 1910, 1915, 1920)
    assert wording.choose_ticks(1900, 1901, most=8) == (1900, 1901)
    assert wording.choose_ticks(1900.2, 1900.4, most=8) == (1900,)


def test_the_longest_gap_is_a_year_at_least():
    with FakeClusters() as fake, Client(fake.address) as client:
        names = fake.story()
        found = timelines.find_longest_gap(timelines.list_printings(client.cluster(names[0])))
        assert found.image.name == names[2]
        assert found.gap == "about 11 years later"
        short = [fake.add_printing(f"s{day}", date=f"1900-01-0{day}") for day in (1, 2)]
        fake.link(*short)
        assert (
            timelines.find_longest_gap(timelines.list_printings(client.cluster(short[0]))) is None
        )


def test_of_a_huge_cluster_only_what_came_is_told():
    whole = cluster(link("a", "b", 0.9), link("b", "c", 0.8))
    part = dataclasses.replace(whole, members=whole.members[:2], size=9000)
    assert [each.b for each in timelines.list_inner_links(part)] == ["b"]
    assert timelines.find_weakest_link(part).b == "b"
    assert timelines.describe_left_out(part) == "The first 2 of 9,000 printings are shown."
    assert timelines.describe_left_out(whole) == ""


def test_undated_printings_are_not_counted_into_the_years():
    members = tuple(ClusterMember(image=record(date, name=date)) for date in ("1905", "", ""))
    found = Cluster(
        name="clusters/1",
        size=3,
        journal_count=2,
        earliest_date=members[0].image.earliest_date,
        latest_date=members[0].image.latest_date,
        first_image=members[0].image,
        members=members,
    )
    assert timelines.summarize(found) == "3 printings in 2 journals, 1905, 2 undated"
    # A list has no members, but the service counts.
    listed = dataclasses.replace(found, members=(), undated_count=2)
    assert timelines.summarize(listed) == timelines.summarize(found)
    undated = dataclasses.replace(found, members=members[1:], size=2, earliest_date=None)
    assert timelines.summarize(undated) == "2 printings in 2 journals"


@pytest.mark.parametrize(
    ("dates_of", "span", "words"),
    [
        (("1898-05-01", "1909-05-02"), 11, "1898 to 1909 (11 years)"),
        (("1898-05-01", "1909-04-02"), 10, "1898 to 1909 (10 years)"),
        (("1905", "191X"), 9, "1905 to 1919 (about 9 years)"),
        (("191X", "1914"), 0, "1910 to 1919"),
        (("1914-01", "1914-02"), 0, "1914"),
        (("", ""), 0, ""),
    ],
)
def test_the_years_of_a_cluster(dates_of, span, words):
    images = [record(date) for date in dates_of]
    found = dataclasses.replace(
        cluster(),
        earliest_date=images[0].earliest_date,
        latest_date=max((each.latest_date for each in images if each.latest_date), default=None),
        span_years=span,
    )
    assert wording.describe_years(found) == words


def test_two_copies_of_a_file_are_no_link_to_doubt():
    copies = dataclasses.replace(link("a", "b", 1.0), relation=Relation.SAME_SCAN)
    probable = link("b", "c", 0.9, np.eye(3))
    assert timelines.find_weakest_link(cluster(copies)) is None
    assert timelines.describe_certainty(cluster(copies)) == "They are copies of one file."
    assert timelines.find_weakest_link(cluster(copies, probable)) is probable
    # Where others are as certain, the copies hold the cluster, and not these.
    certain = link("a", "b", 1.0, np.eye(3))
    assert timelines.find_weakest_link(cluster(certain, copies)) is None
    judged = link("b", "c", None, verdict=Decision.SAME)
    said = "Nothing but equal files and what archivists said holds them together."
    assert timelines.describe_certainty(cluster(copies, judged)) == said


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        *(("5", "p. 5"), ("12r", "p. 12r"), ("A5", "p. A5"), ("[5]", "p. [5]"), ("4-5", "p. 4-5")),
        *(("xii", "p. xii"), ("IV", "p. IV"), ("стр. 5", "стр. 5"), ("S. 5", "S. 5")),
        *(("p.5", "p.5"), ("p5", "p5"), ("Seite 5", "Seite 5"), ("cover", "cover"), ("", "")),
        *(("s. 5", "s. 5"), ("Bl. 3", "Bl. 3"), ("Titel", "Titel"), ("ill. 5", "ill. 5")),
    ],
)
def test_a_page_has_one_word_before_it(page, shown):
    assert wording.describe_page(page, word="p.") == shown
