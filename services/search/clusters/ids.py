"""Which ids clusters have: those of the clusters that they come from.

An id that was shown once goes on naming a group as long as any of its own images is in one. So ids
depend on the clusters as they were, and on those that there were before them:

1. A group keeps the id of the oldest of the clusters whose largest part it has. Where one falls
   apart, what came to it with another id is not counted, as far as anything else is left.
2. A group that has no id by that takes one up again whose own are here rather than elsewhere: the
   images that its cluster had when it ended, and those that were deleted from it. What was parted
   from it while it went on is not its own: it may be another picture, as a person said. Of several
   such ids that of which most images are here, then the oldest.
3. Any other group gets a new one, from its first member.
4. An id that no group has leads to the group that its own are in.
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
    """A cluster as it was, or the id of one that there was before.

    Attributes:
        id: Its id.
        created: Any number that says which is older.
        members: Those that it has; none where there is no such cluster any more.
        former: Those that it had when it ended, and those that were deleted from it.
        ended: Whether there is no such cluster any more.
        leads_to: The id that the one of an ended cluster leads to, if to any.
    """

    id: str
    created: int
    members: frozenset[bytes]
    former: frozenset[bytes] = _NONE
    ended: bool = False
    leads_to: str | None = None


def identified(
    groups: Sequence[tuple[bytes, ...]],
    *,
    previous: Sequence[Previous],
    elsewhere: Mapping[bytes, str],
    taken: Callable[[str], bool],
) -> tuple[list[str], dict[str, str | None]]:
    """An id for each group, and where the ids lead that none has, as far as that is new.

    Args:
        groups: Images that are together.
        previous: The clusters that they were in, and the ids that they were under before.
        elsewhere: The clusters of images that are not looked at, by image.
        taken: Whether an id is not to be given out, besides the previous ones.
    """
    group_of = {node: number for number, members in enumerate(groups) for node in members}
    lent: dict[str, set[bytes]] = defaultdict(set)
    for before in previous:
        if before.leads_to is not None:
            lent[before.leads_to] |= before.former
    ids, heirs = _kept(previous, group_of=group_of, lent=lent, count=len(groups))
    leads_to = _taken_up(previous, ids, heirs, group_of=group_of, lent=lent, elsewhere=elsewhere)
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


def _kept(
    previous: Sequence[Previous],
    *,
    group_of: Mapping[bytes, int],
    lent: Mapping[str, set[bytes]],
    count: int,
) -> tuple[list[str], dict[str, int]]:
    """The ids that groups keep, empty for those that keep none; the group of each cluster."""
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    heirs: dict[str, int] = {}
    for before in previous:
        for own in (before.members.difference(lent.get(before.id, ())), before.members):
            shares = Counter(group_of[node] for node in own if node in group_of)
            if shares:
                # The larger part; of equal parts that of the first member.
                heir = min(shares, key=lambda number: (-shares[number], number))
                heirs[before.id] = heir
                claims[heir].append((before.created, before.id))
                break
    return [min(claims[number])[1] if number in claims else "" for number in range(count)], heirs


def _taken_up(
    previous: Sequence[Previous],
    ids: list[str],
    heirs: dict[str, int],
    *,
    group_of: Mapping[bytes, int],
    lent: Mapping[str, set[bytes]],
    elsewhere: Mapping[bytes, str],
) -> dict[str, str]:
    """Gives groups without an id those that no cluster has, and these their heirs.

    Returns:
        Those that lead to a cluster that is not looked at.
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
                # One that has no id is better served.
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
    """Ten to type, from the first member: the same again where everything is made anew."""
    attempt = 0
    while True:
        digest = hashlib.blake2b(
            first + attempt.to_bytes(4, "big"), digest_size=_ID_LENGTH
        ).digest()
        found = base64.b32encode(digest).decode().lower()[:_ID_LENGTH]
        if found not in used and not taken(found):
            return found
        attempt += 1
