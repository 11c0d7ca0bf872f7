"""Disjoint sets, the joining of groups by their links, and how well clusters hold together."""

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
"""Probabilities are summed as whole millionths, so that the order makes no difference."""


class Forest(Generic[T]):
    """Disjoint sets; the least member of each stands for it."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, node: T) -> T:
        """The least member of its set."""
        root = node
        while (above := self._parent.get(root, root)) != root:
            root = above
        while node != root:
            self._parent[node], node = root, self._parent.get(node, node)
        return root

    def join(self, a: T, b: T) -> tuple[T, T]:
        """Joins the sets of two roots: the root that stays and the one that is gone."""
        kept, gone = min(a, b), max(a, b)
        self._parent[gone] = kept
        return kept, gone


def weakest_links(
    groups: Sequence[tuple[bytes, ...]], *, links: Mapping[tuple[bytes, bytes], float]
) -> list[tuple[float, tuple[float, ...]]]:
    """For each group how well it holds together, and how well each of its members is held.

    Links are taken away from the least probable upwards. What holds a group together is the link
    after which it falls apart for good; what holds a member is the one after which fewer than half
    of the others can be reached from it. So an outlier shows its own weak link, and the members of
    a firm core are not blamed for it.
    """
    group_of = {node: number for number, members in enumerate(groups) for node in members}
    inside: dict[int, list[tuple[float, bytes, bytes]]] = defaultdict(list)
    for (a, b), probability in links.items():
        number = group_of.get(a)
        if number is not None and number == group_of.get(b):
            inside[number].append((-probability, a, b))
    return [_held(members, sorted(inside[number])) for number, members in enumerate(groups)]


def _held(
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


class Blocks:
    """Groups of units, joined from the firmest downwards. A group has the number of one of them."""

    def __init__(
        self,
        units: Sequence[Sequence[Node]],
        *,
        pairs: Mapping[tuple[Node, Node], tuple[int, bool]],
        different: Collection[tuple[Node, Node]],
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
