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

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from halftone.services.search.clusters.ids import Previous, identified
from halftone.services.search.clusters.links import Forest, weakest_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Node = bytes
"""A point's id, 16 bytes."""

_MILLION: Final = 1_000_000


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
class Compared:
    """Two images that were compared. `partial`: one is a part of the other, or shares a part."""

    a: Node
    b: Node
    probability: float
    partial: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Judged:
    """An archivist's verdict. `order` says which came later."""

    order: int
    a: Node
    b: Node
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
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
        retired: Ids that lead elsewhere from now on, and those of the clusters to which they lead;
            empty where they lead to none. See `clustering_ids`.
        contradictions: Verdicts that a later one overrules, the latest first.
    """

    clusters: tuple[Grouped, ...]
    retired: dict[str, str]
    contradictions: tuple[Judged, ...]


def group(
    compared: Iterable[Compared],
    *,
    verdicts: Iterable[Judged] = (),
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
    blocks = _Blocks(units, pairs=pairs, different=different, rules=rules)
    blocks.join()
    links = {pair: p / _MILLION for pair, (p, _) in pairs.items() if p >= rules.link * _MILLION}
    links.update(dict.fromkeys((*twins, *same), 1.0))
    groups = [tuple(sorted(found)) for found in blocks.groups() if len(found) > 1]
    groups.sort()
    ids, retired = identified(
        groups, previous=list(previous), elsewhere=elsewhere or {}, taken=taken
    )
    weakest = weakest_links(groups, links=links)
    clusters = tuple(
        Grouped(id=one, members=members, weakest=least, weakest_links=each)
        for one, members, (least, each) in zip(ids, groups, weakest, strict=True)
    )
    return Grouping(clusters=clusters, retired=retired, contradictions=tuple(contradictions))


def _surest(compared: Iterable[Compared]) -> dict[tuple[Node, Node], tuple[int, bool]]:
    """Millionths and whether partial, by pair, the lesser first, in order."""
    found: dict[tuple[Node, Node], tuple[int, bool]] = {}
    for each in compared:
        if each.a == each.b:
            continue
        pair = (min(each.a, each.b), max(each.a, each.b))
        value = (round(each.probability * _MILLION), each.partial)
        known = found.get(pair)
        # Whole pictures before parts, where they are equally sure.
        if known is None or (value[0], not value[1]) > (known[0], not known[1]):
            found[pair] = value
    return dict(sorted(found.items()))


_Pairs = set[tuple[Node, Node]]


def _settled(verdicts: Iterable[Judged]) -> tuple[_Pairs, _Pairs, list[Judged]]:
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


def overruled(verdicts: Iterable[Judged]) -> set[int]:
    """Which verdicts later ones contradict, by their order."""
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


@dataclass(slots=True)
class _Between:
    """What is known between two groups; `ends` are the units with links, by group."""

    total: int = 0
    count: int = 0
    firmness: int = 0
    """Sum over the links of their probability times the share of neighbours that both ends have."""
    changes: int = 0
    ends: dict[int, set[int]] = field(default_factory=dict)

    def mean(self) -> float:
        return self.total / self.count

    def rank(self) -> float:
        return -self.firmness / self.count


class _Blocks:
    """Groups of units, joined from the firmest downwards. A group has the number of one of them."""

    def __init__(
        self,
        units: Sequence[Sequence[Node]],
        *,
        pairs: Mapping[tuple[Node, Node], tuple[int, bool]],
        different: _Pairs,
        rules: Rules,
    ) -> None:
        self._units = units
        self._rules = rules
        unit_of = {node: number for number, unit in enumerate(units) for node in unit}
        self._members: dict[int, list[int]] = {number: [number] for number in range(len(units))}
        self._between = self._evidence(pairs, unit_of=unit_of)
        self._apart: dict[int, set[int]] = defaultdict(set)
        for a, b in different:
            self._apart[unit_of[a]].add(unit_of[b])
            self._apart[unit_of[b]].add(unit_of[a])

    def _evidence(
        self,
        pairs: Mapping[tuple[Node, Node], tuple[int, bool]],
        *,
        unit_of: Mapping[Node, int],
    ) -> tuple[tuple[int, int, int, bool], ...]:
        """The surest of the pairs between two units: first, second, millionths, partial."""
        best: dict[tuple[int, int], tuple[int, bool]] = {}
        parts: Forest[int] = Forest()
        least = self._rules.link * _MILLION
        for (a, b), (probability, partial) in pairs.items():
            x, y = sorted((unit_of[a], unit_of[b]))
            if x == y:
                continue
            if probability >= least:
                parts.join(parts.find(x), parts.find(y))
            whole_link = probability >= least and not partial
            known = best.get((x, y))
            value = (probability, not whole_link)
            if known is None or (whole_link, probability) > (not known[1], known[0]):
                best[x, y] = value
        # What no link connects is never joined: most of what was compared.
        return tuple(
            (x, y, probability, partial)
            for (x, y), (probability, partial) in sorted(best.items())
            if parts.find(x) == parts.find(y)
        )

    def join(self) -> None:
        """Joins what is to be joined."""
        whole = self._adjacency(partial=False)
        self._join_whole(whole)
        self._join_parts()

    def groups(self) -> Iterator[list[Node]]:
        """The nodes of each group."""
        for members in self._members.values():
            yield [node for unit in members for node in self._units[unit]]

    def _adjacency(self, *, partial: bool) -> dict[int, dict[int, _Between]]:
        """What lies between the groups; links of parts count as support where `partial`."""
        group_of = {unit: number for number, units in self._members.items() for unit in units}
        found: dict[int, dict[int, _Between]] = defaultdict(dict)
        least = self._rules.link * _MILLION
        links: dict[int, set[int]] = defaultdict(set)
        for x, y, probability, is_partial in self._between:
            if probability >= least and (partial or not is_partial):
                links[x] |= {x, y}
                links[y] |= {x, y}
        for x, y, probability, is_partial in self._between:
            one, other = group_of[x], group_of[y]
            if one == other:
                continue
            between = found[one].get(other)
            if between is None:
                between = found[one][other] = found[other][one] = _Between(
                    ends={one: set(), other: set()}
                )
            between.total += probability
            between.count += 1
            if probability >= least and (partial or not is_partial):
                between.ends[one].add(x)
                between.ends[other].add(y)
                shared = len(links[x] & links[y]) / len(links[x] | links[y])
                between.firmness += round(probability * shared)
        return found

    def _may_join(self, x: int, y: int, between: _Between) -> bool:
        if y in self._apart[x] or between.mean() < self._rules.mean * _MILLION:
            return False
        sizes = {x: len(self._members[x]), y: len(self._members[y])}
        needed = _support(*sizes.values(), most=self._rules.most_support)
        return all(len(between.ends[each]) >= min(needed, size) for each, size in sizes.items())

    def _join_whole(self, near: dict[int, dict[int, _Between]]) -> None:
        heap: list[tuple[float, int, int, int]] = []

        def offer(x: int, y: int, between: _Between) -> None:
            if between.ends[x] and self._may_join(x, y, between):
                entry = (between.rank(), min(x, y), max(x, y), between.changes)
                heapq.heappush(heap, entry)

        for x, others in near.items():
            for y, between in others.items():
                if x < y:
                    offer(x, y, between)
        while heap:
            _, x, y, changes = heapq.heappop(heap)
            between_them = near.get(x, {}).get(y)
            # It has changed since, and was offered again; or more is asked of groups that grew.
            if between_them is None or between_them.changes != changes:
                continue
            if not self._may_join(x, y, between_them):
                continue
            # The one with fewer neighbours goes into the other, so that each pair of groups is
            # carried over a few times only: an ornament may have 10,000 printings.
            kept, gone = (x, y) if len(near[x]) >= len(near[y]) else (y, x)
            self._merge(kept, gone)
            for z in _absorb(near, kept=kept, gone=gone):
                offer(kept, z, near[kept][z])

    def _join_parts(self) -> None:
        """Complete linkage of the blocks."""
        score: dict[int, dict[int, float]] = defaultdict(dict)
        for x, near in self._adjacency(partial=True).items():
            for y, between in near.items():
                if between.ends[x] and self._may_join(x, y, between):
                    score[x][y] = between.mean()
        heap = [
            (-value, x, y) for x, others in score.items() for y, value in others.items() if x < y
        ]
        heapq.heapify(heap)
        while heap:
            value, x, y = heapq.heappop(heap)
            if score.get(x, {}).get(y) != -value or y in self._apart[x]:
                continue
            self._merge(x, y)
            theirs = score.pop(y)
            score[x].pop(y)
            for z in list(score[x]):
                if z in theirs and z not in self._apart[x]:
                    least = min(score[x][z], theirs[z])
                    score[x][z] = score[z][x] = least
                    heapq.heappush(heap, (-least, min(x, z), max(x, z)))
                else:
                    score[x].pop(z)
                    score[z].pop(x)
            for z in theirs:
                score[z].pop(y, None)

    def _merge(self, x: int, y: int) -> None:
        """Takes group y into x."""
        self._members[x] += self._members.pop(y)
        for other in self._apart.pop(y, set()):
            self._apart[other].discard(y)
            self._apart[other].add(x)
            self._apart[x].add(other)


def _absorb(near: dict[int, dict[int, _Between]], *, kept: int, gone: int) -> list[int]:
    """What lay between one group and others lies between another and them; those others."""
    near[kept].pop(gone)
    others = near.pop(gone)
    del others[kept]
    for z, between in others.items():
        del near[z][gone]
        between.ends[kept] = between.ends.pop(gone)
        known = near[kept].get(z)
        if known is None:
            known = near[kept][z] = near[z][kept] = between
        else:
            known.total += between.total
            known.count += between.count
            known.firmness += between.firmness
            known.ends[kept] |= between.ends[kept]
            known.ends[z] |= between.ends[z]
        known.changes += 1
    return list(others)


def _support(first: int, second: int, *, most: int) -> int:
    """Members on either side, as far as there are so many, that must have links to the other."""
    smaller, larger = min(first, second), max(first, second)
    if larger <= 2:  # noqa: PLR2004 - see below
        # A pair has one link; two pairs, or a pair and a third, which one of the two may not match.
        return smaller
    return min(most, max(2, math.isqrt(smaller - 1) + 1))
