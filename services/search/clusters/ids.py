"""Decides which ids clusters get: the ids of the clusters that they come from.

An id that was shown once continues to name a group as long as any of the id's own images is in a
group. An id's own images are the images that its cluster had when it ended, and the images that
were deleted from it before. Images that a verdict or a comparison separated from it do not count: a
person may have said that they show another picture. So ids depend on present and earlier clusters:

1. A group keeps the id of the cluster whose largest part it holds; if it holds several such parts,
   the id of the oldest cluster. When a cluster splits, images that had joined it from another id do
   not count, unless there are no others.
2. A group without an id takes the id of an ended cluster if most of that id's own images are in the
   group. Among several such ids it takes the one with the most images in it, then the oldest.
3. Any other group gets a new id, derived from its first member.
4. An id that no group has leads to the group with its own images.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ID_LENGTH: Final = 10
_NONE: Final[frozenset[bytes]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """A cluster before the regrouping, or an id whose cluster has ended.

    Attributes:
        id: The id.
        created: A number that orders clusters by age: the older of two has the lower one.
        members: Its members; empty after it ended.
        former: The members that it had when it ended, and members that were deleted from it before.
        ended: Whether the cluster has ended.
        leads_to: The id that an ended cluster's id leads to, if any.
    """

    id: str
    created: int
    members: frozenset[bytes]
    former: frozenset[bytes] = _NONE
    ended: bool = False
    leads_to: str | None = None


def assign_ids(
    groups: Sequence[tuple[bytes, ...]],
    *,
    previous: Sequence[Previous],
    elsewhere: Mapping[bytes, str],
    taken: Callable[[str], bool],
) -> tuple[list[str], dict[str, str | None]]:
    """Return an id for each group, and the ids that lead to another id from now on.

    Args:
        groups: The images of each group in ascending order.
        previous: The clusters that the images were in, and the ids that they were under before.
        elsewhere: The present clusters of images that are in no group here, by image.
        taken: Whether an id must not be used for a new cluster. Ids in `previous` are never used
            for one.

    Returns:
        The ids in the order of the groups. And the ids in `previous` that no group has and that
        lead to another id than before, with the id that each leads to; None if it leads to none.
    """
    group_of = {node: number for number, members in enumerate(groups) for node in members}
    lent: dict[str, set[bytes]] = defaultdict(set)
    for before in previous:
        if before.leads_to is not None:
            lent[before.leads_to] |= before.former
    ids, heirs = _keep_ids(previous, group_of=group_of, lent=lent, count=len(groups))
    leads_to = _take_up_ids(previous, ids, heirs, group_of=group_of, lent=lent, elsewhere=elsewhere)
    used = {before.id for before in previous}
    for number, members in enumerate(groups):
        if not ids[number]:
            ids[number] = _new_id(members[0], used=used, taken=taken)
            used.add(ids[number])
    leads_to.update((each, ids[heir]) for each, heir in heirs.items())
    retired: dict[str, str | None] = {}
    for before in previous:
        if before.id in ids:
            continue
        heir = leads_to.get(before.id, before.leads_to)
        if not before.ended or heir != before.leads_to:
            retired[before.id] = heir
    return ids, retired


def _keep_ids(
    previous: Sequence[Previous],
    *,
    group_of: Mapping[bytes, int],
    lent: Mapping[str, set[bytes]],
    count: int,
) -> tuple[list[str], dict[str, int]]:
    """Return the id that each group keeps, and the group that each cluster became.

    The id is empty if a group keeps none.
    """
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    heirs: dict[str, int] = {}
    for before in previous:
        for own in (before.members.difference(lent.get(before.id, ())), before.members):
            shares = Counter(group_of[node] for node in own if node in group_of)
            if shares:
                # The larger part wins; of equal parts, the one with the first member.
                heir = min(shares, key=lambda number: (-shares[number], number))
                heirs[before.id] = heir
                claims[heir].append((before.created, before.id))
                break
    return [min(claims[number])[1] if number in claims else "" for number in range(count)], heirs


def _take_up_ids(
    previous: Sequence[Previous],
    ids: list[str],
    heirs: dict[str, int],
    *,
    group_of: Mapping[bytes, int],
    lent: Mapping[str, set[bytes]],
    elsewhere: Mapping[bytes, str],
) -> dict[str, str]:
    """Give groups without an id the ids of ended clusters, and add the heirs of these ids.

    Returns:
        For each id that leads to a cluster elsewhere, the id of that cluster.
    """
    leads_to: dict[str, str] = {}
    wishes: dict[int, list[tuple[int, int, int, str]]] = defaultdict(list)
    for before in previous:
        if before.id in heirs:
            continue
        gone = before.members | before.former
        for rank, own in enumerate((gone.difference(lent.get(before.id, ())), gone)):
            here = Counter(group_of[node] for node in own if node in group_of)
            there = Counter(elsewhere[node] for node in own if node in elsewhere)
            most = max((*here.values(), *there.values()), default=0)
            if not most:
                continue
            found = [number for number in here if here[number] == most]
            if found:
                # Prefer a group that has no id yet.
                heir = min(found, key=lambda number: (ids[number] != "", number))
                heirs[before.id] = heir
                if not ids[heir]:
                    wishes[heir].append((rank, -most, before.created, before.id))
            else:
                leads_to[before.id] = min(each for each in there if there[each] == most)
            break
    for heir, some in wishes.items():
        ids[heir] = min(some)[-1]
    return leads_to


def _new_id(first: bytes, *, used: set[str], taken: Callable[[str], bool]) -> str:
    """Derive an id of ten characters from a group's first member, so that it is repeatable."""
    attempt = 0
    while True:
        digest = hashlib.blake2b(
            first + attempt.to_bytes(4, "big"), digest_size=_ID_LENGTH
        ).digest()
        found = base64.b32encode(digest).decode().lower()[:_ID_LENGTH]
        if found not in used and not taken(found):
            return found
        attempt += 1
