"""Joined sets, and how well the members of a cluster are held."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T", bytes, int)


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
