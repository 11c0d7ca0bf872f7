"""Grouping: chains, plates, verdicts, ids, and the same result from any order."""

from __future__ import annotations

import itertools
import random

import pytest

from halftone.services.search.clusters.grouping import ComparedPair, JudgedPair, group
from halftone.services.search.clusters.ids import Previous


def node(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def pair(names: str, probability=0.99, *, partial=False) -> ComparedPair:
    a, b = names.split("-")
    return ComparedPair(node(a), node(b), probability, partial)


def pairs(*names: str, probability=0.99, partial=False) -> list[ComparedPair]:
    return [pair(each, probability, partial=partial) for each in names]


def judged(order: int, names: str, *, same: bool) -> JudgedPair:
    a, b = names.split("-")
    return JudgedPair(order, node(a), node(b), same)


def sets(grouping) -> list[str]:
    """Clusters as words: members of one letter each, or joined by commas."""
    found = []
    for cluster in grouping.clusters:
        names = [member.rstrip(b"\0").decode() for member in cluster.members]
        found.append(("," if max(map(len, names)) > 1 else "").join(names))
    return found


def all_pairs(names: str, probability=0.99) -> list[ComparedPair]:
    return [pair(f"{a}-{b}", probability) for at, a in enumerate(names) for b in names[at + 1 :]]


def test_what_matches_throughout_is_a_cluster():
    found = group([*all_pairs("abcd"), pair("x-y"), pair("a-x", 0.2), pair("p-q", 0.89)])
    assert sets(found) == ["abcd", "xy"]
    assert [cluster.weakest for cluster in found.clusters] == [0.99, 0.99]


def test_a_chain_of_weak_edges_is_not_one_group():
    for far in ([], pairs("a-c", "b-d", "a-d", probability=0.02)):
        found = sets(group([*pairs("a-b", "b-c", "c-d", probability=0.91), *far]))
        assert all(len(cluster) < 4 for cluster in found), found
    assert found == ["ab", "cd"]


def test_a_long_chain_falls_into_small_pieces():
    names = [f"n{number:02d}" for number in range(40)]
    chain = [pair(f"{a}-{b}") for a, b in itertools.pairwise(names)]
    assert max(len(cluster.members) for cluster in group(chain).clusters) <= 3


def test_one_link_joins_no_two_groups_however_sure_it_is():
    two = [*all_pairs("abcd"), *all_pairs("pqrs")]
    assert sets(group([*two, pair("a-p", 1.0)])) == ["abcd", "pqrs"]
    # Links from one member to many are no better: that member is the odd one.
    star = pairs("a-p", "a-q", "a-r", "a-s", probability=1.0)
    assert max(map(len, sets(group([*two, *star])))) <= 5
    across = [pair(f"{x}-{y}", 0.95) for x in "abcd" for y in "pqrs"]
    assert sets(group([*two, *across])) == ["abcdpqrs"]


def test_pairs_that_were_compared_in_vain_speak_against():
    two = [*all_pairs("abcd"), *all_pairs("pqrs")]
    few = [
        pair(f"{x}-{y}", 0.95 if x == chr(ord(y) - 15) else 0.01) for x in "abcd" for y in "pqrs"
    ]
    assert sets(group([*two, *few])) == ["abcd", "pqrs"]
    # One failed comparison among good ones does no harm.
    nearly = [*all_pairs("abcd")[:-1], pair("c-d", 0.01)]
    assert sets(group(nearly)) == ["abcd"]


def test_a_plate_does_not_chain_its_two_pictures():
    """The plate goes with one of them; copies of the plate and of the pictures change nothing."""
    plate = pairs("a-p", "b-p", partial=True, probability=0.98)
    assert sets(group(plate)) == ["ap"]
    assert sets(group([*plate, pair("a-b", 0.01)])) == ["ap"]
    for copies in range(2, 12):
        plates = [f"p{number:02d}" for number in range(copies)]
        made = [pair(f"{x}-{y}") for at, x in enumerate(plates) for y in plates[at + 1 :]]
        made += [pair(f"{x}-{y}", 0.97, partial=True) for x in ("a", "b") for y in plates]
        assert sets(group(made)) == [",".join(["a", *plates])]
    families = [*all_pairs("abc"), *all_pairs("xyz"), *pairs("a-p", "x-p", partial=True)]
    families += pairs("b-p", "c-p", "y-p", partial=True)
    assert sets(group(families)) == ["abcp", "xyz"]


def test_a_crop_joins_the_picture_that_it_is_a_part_of():
    whole = all_pairs("abcd")
    crop = pairs("a-z", "b-z", "c-z", partial=True, probability=0.95)
    assert sets(group([*whole, *crop, pair("d-z", 0.05)])) == ["abcdz"]
    assert sets(group([*whole, pair("a-z", 0.95, partial=True)])) == ["abcd"]


def test_ten_thousand_printings_of_an_ornament_are_one_group():
    """Each was compared with a few others only; pictures that it stands on are not drawn in."""
    chance = random.Random(1)
    names = [f"o{number:05d}" for number in range(2_000)]
    made = [
        pair(f"{one}-{other}", 0.95)
        for one in names
        for other in chance.sample(names, 10)
        if one != other
    ]
    made += [pair(f"{chance.choice(names)}-page{at}", 0.97, partial=True) for at in range(50)]
    found = group(made).clusters
    assert max(len(cluster.members) for cluster in found) == 2_000
    assert sum(len(cluster.members) for cluster in found) <= 2_000


def test_verdicts_beat_edges():
    found = group(
        all_pairs("abcd"),
        verdicts=[judged(1, "a-d", same=False), judged(2, "a-x", same=True)],
    )
    assert sets(found) == ["abcx"]
    assert found.contradictions == ()


@pytest.mark.parametrize("partial", [False, True])
def test_no_way_of_joining_brings_together_what_is_different(partial):
    chance = random.Random(3)
    names = "abcdefghij"
    for _ in range(60):
        made = [
            pair(f"{x}-{y}", chance.uniform(0.9, 1), partial=partial and chance.random() < 0.5)
            for at, x in enumerate(names)
            for y in names[at + 1 :]
            if chance.random() < 0.8
        ]
        verdicts = [
            judged(at, "-".join(sorted(chance.sample(names, 2))), same=chance.random() < 0.4)
            for at in range(8)
        ]
        found = group(made, verdicts=verdicts)
        cluster_of = {
            member: cluster.id for cluster in found.clusters for member in cluster.members
        }
        for verdict in set(verdicts) - set(found.contradictions):
            one, other = (cluster_of.get(each, each) for each in (verdict.a, verdict.b))
            assert (one == other) is verdict.same


def test_of_contradicting_verdicts_the_later_wins():
    same = [judged(1, "a-b", same=True), judged(2, "b-c", same=True)]
    found = group([], verdicts=[*same, judged(3, "a-c", same=False)])
    assert sets(found) == ["bc"]
    assert found.contradictions == (same[0],)
    found = group([], verdicts=[judged(0, "a-c", same=False), *same])
    assert sets(found) == ["abc"]
    assert found.contradictions == (judged(0, "a-c", same=False),)


def test_a_must_link_speaks_for_both():
    """What the one matches the other belongs to, although it never matched it itself."""
    found = group(
        [pair("a-b", 0.01), pair("a-c", 0.95), pair("b-c", 0.01)],
        verdicts=[judged(1, "a-b", same=True)],
    )
    assert sets(found) == ["abc"]


def test_the_same_bytes_are_one():
    twins = [(node("a"), node("t")), (node("a"), node("u"))]
    assert sets(group([pair("a-b")], identical=twins)) == ["abtu"]
    apart = group([], identical=twins, verdicts=[judged(1, "t-a", same=False)])
    assert sets(apart) == ["au"]


def test_the_order_of_the_input_does_not_matter():
    chance = random.Random(5)
    names = [f"m{number:02d}" for number in range(60)]
    made = [
        ComparedPair(
            node(x), node(y), chance.choice([0.01, 0.3, 0.93, 0.97, 0.99]), chance.random() < 0.3
        )
        for at, x in enumerate(names)
        for y in names[at + 1 :]
        if chance.random() < 0.15
    ]
    verdicts = [
        JudgedPair(at, *map(node, chance.sample(names, 2)), chance.random() < 0.5)
        for at in range(20)
    ]
    before = [
        Previous(
            id=f"old{at}", created=at // 2, members=frozenset(map(node, chance.sample(names, 5)))
        )
        for at in range(8)
    ]
    expected = group(made, verdicts=verdicts, previous=before)
    assert len(expected.clusters) > 3
    for _ in range(10):
        turned = [
            ComparedPair(each.b, each.a, each.probability, each.partial)
            if chance.random() < 0.5
            else each
            for each in chance.sample(made, len(made))
        ]
        shuffled = chance.sample(verdicts, len(verdicts))
        assert (
            group(turned, verdicts=shuffled, previous=chance.sample(before, len(before)))
            == expected
        )


def test_a_connected_part_alone_is_grouped_as_in_the_whole():
    chance = random.Random(9)
    parts = [[f"{letter}{number}" for number in range(9)] for letter in "abc"]
    made = []
    for part in parts:
        made += [
            pair(f"{x}-{y}", chance.choice([0.1, 0.95, 0.99]))
            for at, x in enumerate(part)
            for y in part[at + 1 :]
            if chance.random() < 0.6
        ]
    across = [pair("a0-b0", 0.4), pair("b1-c1", 0.8)]
    whole = group([*made, *across]).clusters
    alone = [
        cluster
        for letter in b"abc"
        for cluster in group(each for each in made if each.a[0] == letter).clusters
    ]
    assert list(whole) == sorted(alone, key=lambda cluster: cluster.members)


def previous(identifier: str, created: int, names: str) -> Previous:
    return Previous(id=identifier, created=created, members=frozenset(node(name) for name in names))


def ids(grouping) -> dict[str, str]:
    return {
        cluster.id: name for cluster, name in zip(grouping.clusters, sets(grouping), strict=True)
    }


def test_ids_stay_when_a_cluster_grows_shrinks_or_changes():
    before = [previous("old", 1, "abc")]
    assert ids(group(all_pairs("abcd"), previous=before)) == {"old": "abcd"}
    assert ids(group(all_pairs("ab"), previous=before)) == {"old": "ab"}
    assert ids(group(all_pairs("cxyz"), previous=before)) == {"old": "cxyz"}
    gone = group([], previous=before)
    assert (gone.clusters, gone.retired) == ((), {"old": None})


def test_of_two_that_become_one_the_older_id_stays():
    before = [previous("young", 2, "abcd"), previous("old", 1, "xy")]
    found = group(all_pairs("abcdxy"), previous=before)
    assert ids(found) == {"old": "abcdxy"}
    assert found.retired == {"young": "old"}


def test_of_one_that_falls_apart_the_larger_part_keeps_the_id():
    before = [previous("old", 1, "abcde")]
    found = group([*all_pairs("ab"), *all_pairs("cde")], previous=before)
    named = ids(found)
    assert named["old"] == "cde"
    assert len(named) == 2
    assert found.retired == {}
    # The same again, from nothing: ids come from the members.
    assert group(all_pairs("ab")).clusters[0].id in named
    # An id that is taken is not given out twice.
    other = group(all_pairs("ab"), taken=named.__contains__).clusters[0].id
    assert other not in named


def test_the_weakest_link_is_that_of_the_outlier():
    made = [*all_pairs("abcd", 0.99), *pairs("a-z", "b-z", probability=0.92)]
    (cluster,) = group(made).clusters
    assert cluster.weakest == 0.92
    assert dict(zip(sets(group(made))[0], cluster.weakest_links, strict=True)) == {
        "a": 0.99,
        "b": 0.99,
        "c": 0.99,
        "d": 0.99,
        "z": 0.92,
    }


def on_page(**pages: str) -> dict[bytes, bytes]:
    """The page of each image, as `group` takes them: `on_page(i="P")`."""
    return {node(image): node(page) for image, page in pages.items()}


def test_a_page_is_in_no_cluster_with_a_picture_on_it():
    """It is left alone, however sure it is to share the picture, and so is a second scan of it."""
    pages = on_page(i="P", j="P")
    links = [
        *pairs("i-c", "j-d"),
        *pairs("P-c", "P-d", probability=1.0, partial=True),
        *pairs("P-i", "P-j", probability=1.0, partial=True),
    ]
    assert sets(group(links, pages=pages)) == ["ci", "dj"]
    # Without records of its pictures it is in one cluster, as a plate is.
    assert sets(group(links[:4])) == ["Pci", "dj"]


def test_two_pages_with_one_picture_are_joined_by_their_pictures():
    pages = on_page(i="P", j="Q")
    links = pairs("i-j", "P-j", "i-Q", "P-Q", "P-i", "Q-j")
    assert sets(group(links, pages=pages)) == ["ij"]


def test_what_no_picture_on_a_page_shares_the_page_shares_itself():
    """A picture that was not found on it, or a text: as if the page had no picture records."""
    pages = on_page(i="P")
    assert sets(group(pairs("P-c", "i-d"), pages=pages)) == ["Pc", "di"]
    # Where that leads to its picture, the surer one keeps the place.
    found = group([*pairs("i-c", "c-d", "i-d"), *pairs("P-d", probability=0.95)], pages=pages)
    assert sets(found) == ["cdi"]


def test_a_page_does_not_count_against_its_pictures():
    """Nor does what the page shares in vain with other images."""
    pages = on_page(i="P")
    links = [*all_pairs("abi"), *pairs("P-a", "P-b", "P-i", probability=0.01)]
    assert sets(group(links, pages=pages)) == ["abi"]


def test_records_with_the_bytes_of_a_page_or_of_a_picture_count_as_these():
    pages = on_page(i="P")
    identical = [(node("P"), node("Q")), (node("i"), node("k"))]
    links = pairs("i-c", "P-c", "P-i", probability=0.99)
    assert sets(group(links, identical=identical, pages=pages)) == ["PQ", "cik"]


def test_a_verdict_that_a_page_is_its_picture_has_no_effect():
    pages = on_page(i="P")
    verdicts = [judged(1, "P-i", same=True)]
    found = group(pairs("i-c"), verdicts=verdicts, pages=pages)
    assert (sets(found), found.contradictions) == (["ci"], ())
    # An archivist may put a page into a cluster; its pictures are in others then, or in none.
    verdicts = [judged(1, "P-c", same=True)]
    assert sets(group(pairs("i-c"), verdicts=verdicts, pages=pages)) == ["Pc"]
    verdicts = [judged(1, "P-c", same=True), judged(2, "i-c", same=True)]
    assert sets(group([], verdicts=verdicts, pages=pages)) == ["Pci"]


def test_with_pages_a_part_alone_gives_what_the_whole_gives():
    random_ = random.Random(5)
    for _ in range(200):
        names = "abcdefPQ"
        pages = {node(each): node(random_.choice("PQ")) for each in "abcd"}
        links = [
            pair(f"{a}-{b}", random_.choice([0.2, 0.92, 0.99]), partial=random_.random() < 0.4)
            for a, b in itertools.combinations(names, 2)
            if random_.random() < 0.4
        ]
        whole = group(links, pages=pages)
        for page, image in ((page, image) for image, page in pages.items()):
            assert not any({page, image} <= set(one.members) for one in whole.clusters)
        random_.shuffle(links)
        assert group(links, pages=dict(reversed(pages.items()))) == whole


def test_a_plate_on_a_page_and_a_picture_on_the_plate_are_in_no_cluster_together():
    """Both have records, and stand on the same place: the surer one has the clipping."""
    nested = [(node("i"), node("k"))]
    links = [*pairs("i-c", probability=0.99), *pairs("k-c", "k-i", probability=0.95)]
    assert sets(group(links, nested=nested)) == ["ci"]
    assert sets(group(links)) == ["cik"]
    # An archivist may say that they are one.
    found = group(links, nested=nested, verdicts=[judged(1, "i-k", same=True)])
    assert sets(found) == ["cik"]
