"""Disjoint sets, the joining of groups by their links, and the strength of clusters."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from halftone.services.search.clusters.grouping import Rules

T = TypeVar("T", bytes, int)

Node = bytes
"""A point's id, 16 bytes."""

MILLION: Final = 1_000_000
"""The scale of probabilities: they are summed as whole millionths, in any order."""


class Forest(Generic[T]):
    """Disjoint sets. The least member of a set represents it."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, node: T) -> T:
        """Return the least member of a node's set."""
        root = node
        while (above := self._parent.get(root, root)) != root:
            root = above
        while node != root:
            self._parent[node], node = root, self._parent.get(node, node)
        return root

    def join(self, a: T, b: T) -> tuple[T, T]:
        """Join the sets of two roots. Returns the root that remains and the one that is gone."""
        kept, gone = min(a, b), max(a, b)
        self._parent[gone] = kept
        return kept, gone


def weakest_links(
    groups: Sequence[tuple[bytes, ...]], *, links: Mapping[tuple[bytes, bytes], float]
) -> list[tuple[float, tuple[float, ...]]]:
    """Return the weakest link of each group and of each of its members.

    Imagine that links are removed in order of ascending probability. A group's weakest link is the
    link whose removal splits the group. A member's weakest link is the link after whose removal the
    member can no longer reach half of the others. So an outlier shows its own weak link, and the
    members of a firm core do not.

    Args:
        groups: The members of each group.
        links: The probability of each link, by pair.

    Returns:
        For each group the probability of its weakest link, and the probabilities of the weakest
        links of its members, in the order of the members.
    """
    group_of = {node: number for number, members in enumerate(groups) for node in members}
    inside: dict[int, list[tuple[float, bytes, bytes]]] = defaultdict(list)
    for (a, b), probability in links.items():
        number = group_of.get(a)
        if number is not None and number == group_of.get(b):
            inside[number].append((-probability, a, b))
    return [_measure_hold(members, sorted(inside[number])) for number, members in enumerate(groups)]


def _measure_hold(
    members: tuple[bytes, ...], links: list[tuple[float, bytes, bytes]]
) -> tuple[float, tuple[float, ...]]:
    forest: Forest[bytes] = Forest()
    reached = {node: [node] for node in members}
    held: dict[bytes, float] = {}
    enough = 1 + len(members) // 2  # itself, and half of the others, rounded up
    weakest = 0.0
    for negative, a, b in links:
        one, other = forest.find(a), forest.find(b)
        if one == other:
            continue
        kept, gone = forest.join(one, other)
        reached[kept] += reached.pop(gone)
        weakest = -negative
        if len(reached[kept]) >= enough:
            for node in reached[kept]:
                held.setdefault(node, weakest)
    return weakest, tuple(held[node] for node in members)


@dataclass(slots=True)
class _Between:
    """The comparisons between two groups. `ends` has the units with links, by group."""

    total: int = 0
    count: int = 0
    firmness: int = 0
    """The sum over the links of their probability times the share of neighbours common to both
    ends."""
    changes: int = 0
    ends: dict[int, set[int]] = field(default_factory=dict)

    def mean(self) -> float:
        return self.total / self.count

    def rank(self) -> float:
        return -self.firmness / self.count


class Blocks:
    """Joins groups of units, the firmest join first. A group has the number of one of its units."""

    def __init__(
        self,
        units: Sequence[Sequence[Node]],
        *,
        pairs: Mapping[tuple[Node, Node], tuple[int, bool]],
        different: Collection[tuple[Node, Node]],
        rules: Rules,
    ) -> None:
        """Make a group of each unit. `join` joins them.

        Args:
            units: The images of each unit. No image is in two units.
            pairs: The compared pairs of images: the probability in millionths, and whether the two
                share only a part.
            different: Pairs of images that archivists judged to be different. Their groups are
                never joined.
            rules: The conditions under which groups are joined.
        """
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
        """Return one compared pair for every two units that a chain of links connects.

        A pair is (first unit, second unit, probability in millionths, True if it is not a whole
        link). Of several compared pairs a whole link is preferred, then the higher probability.
        """
        best: dict[tuple[int, int], tuple[int, bool]] = {}
        parts: Forest[int] = Forest()
        least = self._rules.link * MILLION
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
        # Units that no links connect are never joined. Most compared pairs are of this kind.
        return tuple(
            (x, y, probability, partial)
            for (x, y), (probability, partial) in sorted(best.items())
            if parts.find(x) == parts.find(y)
        )

    def join(self) -> None:
        """Join groups, as far as the rules allow."""
        whole = self._adjacency(partial=False)
        self._join_whole(whole)
        self._join_parts()

    def groups(self) -> Iterator[list[Node]]:
        """Yield the nodes of each group."""
        for members in self._members.values():
            yield [node for unit in members for node in self._units[unit]]

    def _adjacency(self, *, partial: bool) -> dict[int, dict[int, _Between]]:
        """Return the comparisons between groups. With `partial`, partial links count, too."""
        group_of = {unit: number for number, units in self._members.items() for unit in units}
        near: dict[int, dict[int, _Between]] = defaultdict(dict)
        least = self._rules.link * MILLION
        links: dict[int, set[int]] = defaultdict(set)
        for x, y, probability, is_partial in self._between:
            if probability >= least and (partial or not is_partial):
                links[x] |= {x, y}
                links[y] |= {x, y}
        for x, y, probability, is_partial in self._between:
            one, other = group_of[x], group_of[y]
            if one == other:
                continue
            between = near[one].get(other)
            if between is None:
                between = near[one][other] = near[other][one] = _Between(
                    ends={one: set(), other: set()}
                )
            between.total += probability
            between.count += 1
            if probability >= least and (partial or not is_partial):
                between.ends[one].add(x)
                between.ends[other].add(y)
                shared = len(links[x] & links[y]) / len(links[x] | links[y])
                between.firmness += round(probability * shared)
        return near

    def _may_join(self, x: int, y: int, between: _Between) -> bool:
        if y in self._apart[x] or between.mean() < self._rules.mean * MILLION:
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
            # Skip an outdated offer: it was made again, or the groups grew and need more links.
            if between_them is None or between_them.changes != changes:
                continue
            if not self._may_join(x, y, between_them):
                continue
            # The group with fewer neighbours goes into the other, so that few pairs of groups are
            # carried over: an ornament may have 10,000 printings.
            kept, gone = (x, y) if len(near[x]) >= len(near[y]) else (y, x)
            self._merge(kept, gone)
            for z in _absorb(near, kept=kept, gone=gone):
                offer(kept, z, near[kept][z])

    def _join_parts(self) -> None:
        """Join blocks by partial links (complete linkage)."""
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
        """Merge group y into x."""
        self._members[x] += self._members.pop(y)
        for other in self._apart.pop(y, set()):
            self._apart[other].discard(y)
            self._apart[other].add(x)
            self._apart[x].add(other)


def _absorb(near: dict[int, dict[int, _Between]], *, kept: int, gone: int) -> list[int]:
    """Move the comparisons of a merged group to the group that remains.

    Returns the groups that it was compared with.
    """
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
    """Return how many members on either side must have links to the other side.

    A side with fewer members needs links from all of them.
    """
    smaller, larger = min(first, second), max(first, second)
    if larger <= 2:  # noqa: PLR2004 - see below
        # One link makes a pair; a third image may match only one of the two.
        return smaller
    return min(most, max(2, math.isqrt(smaller - 1) + 1))
