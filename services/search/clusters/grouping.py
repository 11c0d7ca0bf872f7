"""Decides which printings show one picture: takes compared pairs, returns clusters. Pure.

Each compared pair has a probability. Pairs of at least `Rules.link` are links; all other compared
pairs count against joining. Groups are joined in three steps, the firmest join first:

1. Units: images that archivists judged to be the same, and records with the very same bytes. A
   comparison or verdict on any image of a unit counts for the whole unit.
2. Blocks: units joined by links between whole pictures. Two groups are joined when the mean of all
   pairs compared between them is `Rules.mean` or more (average linkage over the compared pairs),
   and when enough members on both sides have links to the other side. So a single link joins no
   two groups, however sure it is, and a chain of links falls apart. Links whose ends have the same
   neighbours come first: a link that leads out of a group comes after all links within it.
3. Blocks joined by partial links (a crop, a plate, a page): only if every block on one side has
   such a link to every block on the other side (complete linkage). A plate that holds two pictures
   joins one of them, the surer one, and never chains them together.

A page scan and the pictures on it are one printing, so no cluster has both; nor has it a picture on
a page and one that lies within it there. A page takes no part in
pairs in which a picture on it does: what it shares with another image, the picture shares, too.

Two images that archivists judged to be different are never in one cluster. If verdicts contradict
each other, the latest one wins, and the others are reported.

The result does not depend on the order of the input or on rounding: probabilities are summed as
whole millionths, and ties are broken by the ids of the images. Grouping one connected part of the
links alone gives the same clusters as grouping everything, so one import or one verdict regroups
only what it touches.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.services.search.clusters.ids import Previous, assign_ids
from halftone.services.search.clusters.linkage import MILLION, Blocks, Forest, Node, weakest_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The conditions under which groups are joined.

    Attributes:
        link: The lowest probability of a link.
        mean: The lowest mean probability of the compared pairs between two groups that are joined.
        most_support: The most members on either side that must have links to the other. The number
            grows with the square root of the smaller group up to this, so that two large groups
            need more than two chance hits.
    """

    link: float = 0.9
    mean: float = 0.5
    most_support: int = 8


RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """Two images that were compared. `partial` means that they share only a part of one of them."""

    a: Node
    b: Node
    probability: float
    partial: bool = False


@dataclass(frozen=True, slots=True, order=True)
class JudgedPair:
    """An archivist's verdict on two images. The later of two verdicts has the greater `order`."""

    order: int
    a: Node
    b: Node
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A cluster: two or more members in ascending order, and the weakest link of each.

    `weakest` is the lowest probability of a link that holds the whole group together.
    """

    id: str
    members: tuple[Node, ...]
    weakest: float
    weakest_links: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The result of grouping.

    Attributes:
        clusters: The clusters, in the order of their first members.
        retired: Ids that no cluster has any more and that lead to another id than before, with the
            id that each leads to; None if it leads to none. See `ids`.
        contradictions: Verdicts that a later verdict overrules, the latest first.
    """

    clusters: tuple[Group, ...]
    retired: dict[str, str | None]
    contradictions: tuple[JudgedPair, ...]


def group(
    compared: Iterable[ComparedPair],
    *,
    verdicts: Iterable[JudgedPair] = (),
    identical: Iterable[tuple[Node, Node]] = (),
    pages: Mapping[Node, Node] | None = None,
    nested: Iterable[tuple[Node, Node]] = (),
    previous: Iterable[Previous] = (),
    elsewhere: Mapping[Node, str] | None = None,
    taken: Callable[[str], bool] = lambda _id: False,
    rules: Rules = RULES,
) -> Grouping:
    """Group images into clusters.

    Args:
        compared: The compared pairs. If a pair occurs twice, the higher probability counts.
        verdicts: The verdicts that hold, except UNSURE.
        identical: Pairs of records with the same bytes, enough to connect all such records.
        pages: The page of each image that stands on one, if both are grouped here.
        nested: Pairs of images that are one place on a page, or one lies within the other.
        previous: The clusters before the grouping, and the ids of ended clusters. New clusters take
            over their ids.
        elsewhere: Images outside this grouping that an id in `previous` had, with the cluster that
            each is in now.
        taken: Whether an id must not be used for a new cluster. Ids in `previous` are never used
            for one.
        rules: The conditions under which groups are joined.
    """
    pages, nested = pages or {}, list(nested)
    twins = {(min(pair), max(pair)) for pair in identical if pair[0] != pair[1]}
    pairs = _leave_out_pages(
        _take_surest(compared), pages=pages, nested=nested, twins=twins, rules=rules
    )
    same, different, contradictions = _settle(
        each for each in verdicts if not (each.same and _are_one_printing(each, pages))
    )
    different |= _part_printings([*pages.items(), *nested], same=same)
    nodes = sorted({node for pair in (*pairs, *same, *different, *twins) for node in pair})
    units = _units(nodes, same=same, different=different, twins=sorted(twins))
    blocks = Blocks(units, pairs=pairs, different=different, rules=rules)
    blocks.join()
    links = {pair: p / MILLION for pair, (p, _) in pairs.items() if p >= rules.link * MILLION}
    links.update(dict.fromkeys((*twins, *same), 1.0))
    groups = [tuple(sorted(found)) for found in blocks.groups() if len(found) > 1]
    groups.sort()
    ids, retired = assign_ids(
        groups, previous=list(previous), elsewhere=elsewhere or {}, taken=taken
    )
    weakest = weakest_links(groups, links=links)
    clusters = tuple(
        Group(id=one, members=members, weakest=least, weakest_links=each)
        for one, members, (least, each) in zip(ids, groups, weakest, strict=True)
    )
    return Grouping(clusters=clusters, retired=retired, contradictions=tuple(contradictions))


def _take_surest(compared: Iterable[ComparedPair]) -> dict[tuple[Node, Node], tuple[int, bool]]:
    """Return millionths and `partial` of each pair, sorted, with the lesser image first."""
    surest: dict[tuple[Node, Node], tuple[int, bool]] = {}
    for each in compared:
        if each.a == each.b:
            continue
        pair = (min(each.a, each.b), max(each.a, each.b))
        value = (round(each.probability * MILLION), each.partial)
        known = surest.get(pair)
        # If they are equally sure, whole pictures come before parts.
        if known is None or (value[0], not value[1]) > (known[0], not known[1]):
            surest[pair] = value
    return dict(sorted(surest.items()))


_Pairs = set[tuple[Node, Node]]


def _leave_out_pages(
    pairs: dict[tuple[Node, Node], tuple[int, bool]],
    *,
    pages: Mapping[Node, Node],
    nested: Sequence[tuple[Node, Node]],
    twins: _Pairs,
    rules: Rules,
) -> dict[tuple[Node, Node], tuple[int, bool]]:
    """Return pairs without those of a page in which a picture on it takes part.

    A page and its picture are no pair either, nor are nested ones. Records with the same bytes
    count as one.
    """
    if not pages and not nested:
        return pairs
    forest: Forest[Node] = Forest()
    for a, b in twins:
        one, other = forest.find(a), forest.find(b)
        if one != other:
            forest.join(one, other)
    above: dict[Node, set[Node]] = defaultdict(set)
    for image, page in pages.items():
        above[forest.find(image)].add(forest.find(page))
    inside = {frozenset((forest.find(a), forest.find(b))) for a, b in nested}
    own, explained = set(), set()
    for a, b in pairs:
        one, other = forest.find(a), forest.find(b)
        if one in above[other] or other in above[one] or frozenset((one, other)) in inside:
            own.add((a, b))
        elif pairs[a, b][0] >= rules.link * MILLION:
            lifted = {(x, y) for x in {one, *above[one]} for y in {other, *above[other]}}
            explained |= {(min(each), max(each)) for each in lifted - {(one, other)}}

    def is_explained(a: Node, b: Node) -> bool:
        one, other = forest.find(a), forest.find(b)
        return (min(one, other), max(one, other)) in explained

    return {
        pair: value for pair, value in pairs.items() if pair not in own and not is_explained(*pair)
    }


def _are_one_printing(pair: JudgedPair, pages: Mapping[Node, Node]) -> bool:
    return pages.get(pair.a) == pair.b or pages.get(pair.b) == pair.a


def _part_printings(recorded_twice: Iterable[tuple[Node, Node]], *, same: _Pairs) -> _Pairs:
    """Return the pairs of records of one printing that nobody has judged to be the same."""
    forest: Forest[Node] = Forest()
    for a, b in same:
        one, other = forest.find(a), forest.find(b)
        if one != other:
            forest.join(one, other)
    return {(min(a, b), max(a, b)) for a, b in recorded_twice if forest.find(a) != forest.find(b)}


def _settle(verdicts: Iterable[JudgedPair]) -> tuple[_Pairs, _Pairs, list[JudgedPair]]:
    """Return the pairs judged SAME, the pairs judged DIFFERENT, and the overruled verdicts.

    The pairs of overruled verdicts are left out.
    """
    forest: Forest[Node] = Forest()
    apart: dict[Node, set[Node]] = defaultdict(set)
    same: _Pairs = set()
    different: _Pairs = set()
    contradictions = []
    for verdict in sorted(verdicts, reverse=True):
        a, b = forest.find(verdict.a), forest.find(verdict.b)
        pair = (min(verdict.a, verdict.b), max(verdict.a, verdict.b))
        if verdict.same:
            if b in apart[a]:
                contradictions.append(verdict)
                continue
            same.add(pair)
            if a != b:
                kept, gone = forest.join(a, b)
                _move(apart, gone=gone, kept=kept)
        elif a == b:
            contradictions.append(verdict)
        else:
            different.add(pair)
            apart[a].add(b)
            apart[b].add(a)
    return same, different, contradictions


def is_link(probability: float, *, rules: Rules = RULES) -> bool:
    """Return whether a probability makes a link. It is rounded to millionths, as in grouping."""
    return round(probability * MILLION) >= rules.link * MILLION


def overruled_orders(verdicts: Iterable[JudgedPair]) -> set[int]:
    """Return the `order` of each verdict that a later verdict overrules."""
    return {each.order for each in _settle(verdicts)[2]}


def _move(apart: dict[Node, set[Node]], *, gone: Node, kept: Node) -> None:
    for other in apart.pop(gone, set()):
        apart[other].discard(gone)
        apart[other].add(kept)
        apart[kept].add(other)


def _units(
    nodes: Sequence[Node], *, same: _Pairs, different: _Pairs, twins: Sequence[tuple[Node, Node]]
) -> list[list[Node]]:
    forest: Forest[Node] = Forest()
    for a, b in sorted(same):
        forest.join(forest.find(a), forest.find(b))
    apart: dict[Node, set[Node]] = defaultdict(set)
    for a, b in different:
        apart[forest.find(a)].add(forest.find(b))
        apart[forest.find(b)].add(forest.find(a))
    for a, b in twins:
        one, other = forest.find(a), forest.find(b)
        if one != other and other not in apart[one]:
            kept, gone = forest.join(one, other)
            _move(apart, gone=gone, kept=kept)
    parts: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        parts[forest.find(node)].append(node)
    return sorted(parts.values())
