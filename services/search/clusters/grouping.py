"""Which printings are one picture: verified pairs in, clusters out. Pure, and always the same.

A pair that was compared has a probability. Pairs above `Rules.link` are links, all others that were
compared speak against. Groups are built from the firmest join downwards, in three steps:

1. Units: what archivists said is the same, and records with the very same bytes. What any part of a
   unit shows speaks for the whole of it.
2. Blocks: units joined by links between whole pictures. Two groups are joined when the mean of all
   pairs compared between them is `Rules.mean` or more (average linkage over the compared pairs),
   and when enough members on both sides have links to the other side. So a single link joins no
   two groups, however sure it is, and a chain of links falls apart. Links whose ends have the same
   neighbours come first: one that leads out of a group, however sure, comes after all within it.
3. Blocks joined by partial links (a crop, a plate, a page): only when every block of the one has
   such a link to every block of the other (complete linkage). A plate that holds two pictures
   joins one of them, the surer one, and never chains them together.

What archivists said is different beats all of this: two such images are in no cluster together. Of
verdicts that contradict each other the later wins, and the others are reported.

The result depends neither on the order of the input nor on the arithmetic: probabilities are summed
as whole millionths, ties are broken by the images' ids. It falls into the connected parts of the
links: grouping such a part alone gives what grouping everything gives, which is how one import or
one verdict regroups only what it touches.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from halftone.services.search.clusters.ids import Previous, identified
from halftone.services.search.clusters.linkage import MILLION, Blocks, Forest, Node, weakest_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When groups are joined.

    Attributes:
        link: The probability from which a pair is a link.
        mean: What the compared pairs between two groups must have on average.
        most_support: Members on either side that must have links to the other, at most; it grows
            with the square root of the smaller group, so that two large groups need more than two
            chance hits.
    """

    link: float = 0.9
    mean: float = 0.5
    most_support: int = 8


RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """Two images that were compared. `partial`: one is a part of the other, or shares a part."""

    a: Node
    b: Node
    probability: float
    partial: bool = False


@dataclass(frozen=True, slots=True, order=True)
class JudgedPair:
    """An archivist's verdict. `order` says which came later."""

    order: int
    a: Node
    b: Node
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A cluster: two members or more, ascending, and the weakest link of each.

    `weakest` is the least probable link without which the whole would fall apart.
    """

    id: str
    members: tuple[Node, ...]
    weakest: float
    weakest_links: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """All clusters, by their first member.

    Attributes:
        clusters: Those that there are.
        retired: Ids that lead elsewhere from now on, and the ids that they lead to; None where they
            lead to none. See `ids`.
        contradictions: Verdicts that a later one overrules, the latest first.
    """

    clusters: tuple[Group, ...]
    retired: dict[str, str | None]
    contradictions: tuple[JudgedPair, ...]


def group(
    compared: Iterable[ComparedPair],
    *,
    verdicts: Iterable[JudgedPair] = (),
    identical: Iterable[tuple[Node, Node]] = (),
    previous: Iterable[Previous] = (),
    elsewhere: Mapping[Node, str] | None = None,
    taken: Callable[[str], bool] = lambda _id: False,
    rules: Rules = RULES,
) -> Grouping:
    """Groups images.

    Args:
        compared: Each pair once; of a pair that is there twice the surer counts.
        verdicts: Those that hold.
        identical: Pairs of records with the same bytes; enough to connect all of them.
        previous: The clusters before, from which ids are taken over, and the ids before these.
        elsewhere: The clusters of other images, by image, as far as these were under such an id.
        taken: Whether an id is not to be given out, besides the previous ones.
        rules: When groups are joined.
    """
    pairs = _surest(compared)
    same, different, contradictions = _settled(verdicts)
    twins = {(min(pair), max(pair)) for pair in identical if pair[0] != pair[1]}
    nodes = sorted({node for pair in (*pairs, *same, *different, *twins) for node in pair})
    units = _units(nodes, same=same, different=different, twins=sorted(twins))
    blocks = Blocks(units, pairs=pairs, different=different, rules=rules)
    blocks.join()
    links = {pair: p / MILLION for pair, (p, _) in pairs.items() if p >= rules.link * MILLION}
    links.update(dict.fromkeys((*twins, *same), 1.0))
    groups = [tuple(sorted(found)) for found in blocks.groups() if len(found) > 1]
    groups.sort()
    ids, retired = identified(
        groups, previous=list(previous), elsewhere=elsewhere or {}, taken=taken
    )
    weakest = weakest_links(groups, links=links)
    clusters = tuple(
        Group(id=one, members=members, weakest=least, weakest_links=each)
        for one, members, (least, each) in zip(ids, groups, weakest, strict=True)
    )
    return Grouping(clusters=clusters, retired=retired, contradictions=tuple(contradictions))


def _surest(compared: Iterable[ComparedPair]) -> dict[tuple[Node, Node], tuple[int, bool]]:
    """Millionths and whether partial, by pair, the lesser first, in order."""
    found: dict[tuple[Node, Node], tuple[int, bool]] = {}
    for each in compared:
        if each.a == each.b:
            continue
        pair = (min(each.a, each.b), max(each.a, each.b))
        value = (round(each.probability * MILLION), each.partial)
        known = found.get(pair)
        # Whole pictures before parts, where they are equally sure.
        if known is None or (value[0], not value[1]) > (known[0], not known[1]):
            found[pair] = value
    return dict(sorted(found.items()))


_Pairs = set[tuple[Node, Node]]


def _settled(verdicts: Iterable[JudgedPair]) -> tuple[_Pairs, _Pairs, list[JudgedPair]]:
    """What holds of the verdicts: SAME pairs, DIFFERENT pairs, and what a later one overrules."""
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
    """Return whether a pair of a probability is a link; grouping sees millionths."""
    return round(probability * MILLION) >= rules.link * MILLION


def overruled_orders(verdicts: Iterable[JudgedPair]) -> set[int]:
    """Return the orders of those verdicts that later ones contradict."""
    return {each.order for each in _settled(verdicts)[2]}


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
